"""What an export is checked on: every element, every periodicity; and a fault in any of them is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule

from matgraft.core.errors import OptionError, RunError
from matgraft.core.registry import save_folder
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.exports import export, verify_export
from matgraft.potentials.exports.repulsion import CLOSEST, keep_closest, reach_of_pairs
from matgraft.potentials.exports.structures import FILE, SHARES, Structures, choose_frames, crystals_of, keep
from matgraft.potentials.exports.zbl import repulsion
from matgraft.potentials.models.calculator import PotentialCalculator
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.tuning.adapt import shift_references
from matgraft.potentials.tuning.references import ReferenceShift


def data(*frames: Atoms) -> Dataset:
    return Dataset(tuple(Sample(atoms, {}) for atoms in frames))


def frames() -> Dataset:
    """A sheet without its third vector, a left-handed crystal, a molecule, and two sizes of SiGe."""
    silicon = bulk("Si", "diamond", a=5.5)
    silicon.set_cell(silicon.cell[:][[1, 0, 2]])
    alloy = bulk("SiGe", "zincblende", a=5.6)
    return data(graphene(vacuum=None), silicon, molecule("H2O"), alloy, alloy * (2, 2, 1), Atoms("He"))


@pytest.fixture
def tuned(chgnet: Potential) -> Potential:
    model = copy.deepcopy(chgnet)
    model.card = chgnet.card.model_copy(update={"elements": ("H", "C", "O", "Si", "Ge")})
    return model


def test_the_frames_kept_have_every_element_and_periodicity() -> None:
    train = frames()
    chosen = [train[i].content.get_chemical_formula() for i in choose_frames(train)]
    assert chosen == ["C2", "Si2", "H2O", "GeSi"]
    many = data(*(bulk(symbol, "fcc", a=4, cubic=True) for symbol in ("Cu", "Ni", "Pd")), bulk("CuNi", "rocksalt", a=4))
    assert {symbol for i in choose_frames(many) for symbol in many[i].content.symbols} == {"Cu", "Ni", "Pd"}
    assert choose_frames(data(Atoms("He"))) == []


@pytest.mark.parametrize("n", [1, 2, 4, 5, 9, 89])
def test_the_crystals_have_every_element(n: int) -> None:
    from ase.data import chemical_symbols

    elements = chemical_symbols[1 : n + 1]
    made = crystals_of(elements)
    assert {symbol for atoms in made for symbol in atoms.symbols} == set(elements)
    counts = np.array([[atoms.symbols.count(symbol) for symbol in elements] for atoms in made])
    if n <= len(SHARES):
        assert np.linalg.matrix_rank(counts) == n  # no errors of references cancel
    assert all(np.allclose(np.triu(atoms.cell[:], 1), 0, atol=1e-9) for atoms in made)


def test_every_frame_is_boxed_and_right_handed(tuned: Potential, tmp_path: Path) -> None:
    keep(frames(), tmp_path)
    trained = Structures.of(tuned, tmp_path).trained
    assert [atoms.get_chemical_formula() for atoms in trained] == ["C2", "Si2", "H2O", "GeSi"]
    assert all(atoms.pbc.all() and np.linalg.det(atoms.cell[:]) > 1 for atoms in trained)
    before = predict_samples(tuned, frames()[[0, 1, 2, 3]].samples, ("energy", "forces"))
    after = predict_samples(tuned, [Sample(atoms, {}) for atoms in trained], ("energy", "forces"))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other["energy"], one["energy"], atol=2e-5)
        np.testing.assert_allclose(other["forces"], one["forces"], atol=2e-4)


def shift_germanium(model: Potential) -> None:
    model.references[31] += 1.0


def shift_both(model: Potential) -> None:
    """Off by opposite amounts, which cancel in every frame of SiGe."""
    shift = ReferenceShift(mode="given", shift_eV={"Si": 3.0, "Ge": -3.0}, rank=2, n_elements=2)
    shift_references(model, shift)


def spoil_silicon(model: Potential) -> None:
    with torch.no_grad():
        model.module.atom_embedding.embedding.weight[13] += 1.0  # type: ignore[union-attr, operator, index]


@pytest.mark.parametrize("fault", [shift_germanium, shift_both, spoil_silicon])
@pytest.mark.parametrize("run", [True, False])
def test_a_file_that_is_wrong_for_one_element_is_found(
    tuned: Potential, tmp_path: Path, fault: Callable[[Potential], None], run: bool
) -> None:
    wrong = copy.deepcopy(tuned)
    fault(wrong)
    wrong.save(tmp_path / tuned.native_file)
    if run:
        keep(frames(), tmp_path)
    with pytest.raises(RunError, match=r"does not give the model's predictions: energy .* on "):
        verify_export(tuned, tmp_path)


def test_an_export_says_what_it_was_verified_on(tuned: Potential, tmp_path: Path) -> None:
    """All-electron references too: they stand beside the vendor's float32, which loses nothing."""
    shift = ReferenceShift(mode="given", shift_eV={"Ge": -57164.123456789}, rank=1, n_elements=1)
    shift_references(tuned, shift)
    elements = tuned.card.elements
    save_folder(tuned, tmp_path / "model", lambda card: card.model_copy(update={"elements": elements}))
    keep(frames(), tmp_path / "model")
    exported = export(tmp_path / "model", "ase", tmp_path / "out")
    assert exported.verified and exported.elements == ("H", "C", "O", "Si", "Ge")
    assert exported.difference["energy"] < 1e-6
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "On 4 training frames (C2, Si2, H2O, GeSi) and 2 small distorted crystals of H, C, O, Si, Ge." in readme
    assert "leaves out the reference energies of Ge, since float32 resolves 6.8 meV at the -57169 eV of Ge" in readme
    assert "wrong sign where the cell is left-h" in readme and "meV/atom (0.1 allowed)" in readme
    assert (tmp_path / "out" / FILE).is_file()
    assert exported.facts()["notes"] == list(exported.notes)


def test_a_repulsion_is_added_below_all_data_and_bonds_and_nowhere_else(tuned: Potential, tmp_path: Path) -> None:
    elements = ("Si", "Ge")
    save_folder(tuned, tmp_path / "model", lambda card: card.model_copy(update={"elements": elements}))
    with pytest.raises(OptionError, match=r"closest\.json is missing"):
        export(tmp_path / "model", "ase", tmp_path / "out", repulsion=True)
    close = Atoms("SiGe", positions=[[0, 0, 0], [0, 0, 1.7]])
    keep(data(close), tmp_path / "model")
    keep_closest(data(close, bulk("Si")), tmp_path / "model")
    assert CLOSEST.read(tmp_path / "model").distance_A == {"Ge-Si": 1.7}  # 2.35 Å is a bond
    reaches = reach_of_pairs(tmp_path / "model", elements)
    assert reaches == pytest.approx({"Ge-Ge": 0.75 * 2.40, "Ge-Si": 0.95 * 1.7, "Si-Si": 0.75 * 2.22})
    with pytest.raises(OptionError, match="--repulsion is not read with --to native"):
        export(tmp_path / "model", "native", tmp_path / "out", repulsion=True)
    exported = export(tmp_path / "model", "ase", tmp_path / "out", repulsion=True)
    assert exported.verified and any("ZBL" in note and "Ge-Si" in note for note in exported.notes)
    scope = {"__file__": str(tmp_path / "out" / "calculator.py")}
    exec((tmp_path / "out" / "calculator.py").read_text(), scope)
    repelled, plain = scope["calculator"](), PotentialCalculator(tuned)  # type: ignore[operator]
    reach = reaches["Ge-Si"]
    for distance, more in ((reach + 0.01, 0.0), (0.5 * reach, None)):
        pair = Atoms("SiGe", positions=[[0, 0, 0], [0, 0, distance]])
        added = repelled.get_potential_energy(pair) - plain.get_potential_energy(pair)
        expected = repulsion(pair, {"Ge-Si": reach})[0] if more is None else more
        assert added == pytest.approx(expected, abs=1e-4) and (more == 0.0 or expected > 20)


def test_chgnets_calculator_has_the_stress_of_a_slab(tuned: Potential, tmp_path: Path) -> None:
    """With pbc T T F and a full cell it computes one: (1/V) dE/dstrain, as ours."""
    slab = fcc111("Si", (1, 1, 3), a=4.6, vacuum=6.0)
    slab.rattle(0.1, seed=1)
    assert slab.pbc.tolist() == [True, True, False]
    tuned.save(tmp_path / tuned.native_file)
    (ours,) = predict_samples(tuned, [Sample(slab, {})])
    slab.calc = tuned.vendor_calculator(tmp_path / tuned.native_file)
    assert slab.get_potential_energy() == pytest.approx(float(ours["energy"]), abs=1e-5)
    np.testing.assert_allclose(slab.get_stress(voigt=False), ours["stress"], atol=1e-6)
    assert np.abs(ours["stress"]).max() > 1e-3


def test_chgnets_calculator_script_gives_the_stress_of_a_left_handed_cell(tuned: Potential, tmp_path: Path) -> None:
    """By central differences of its own energies; chgnet's calculator has the opposite sign there."""
    save_folder(tuned, tmp_path / "model", lambda card: card.model_copy(update={"elements": ("Si", "O")}))
    export(tmp_path / "model", "ase", tmp_path / "out")
    scope = {"__file__": str(tmp_path / "out" / "calculator.py")}
    exec((tmp_path / "out" / "calculator.py").read_text(), scope)
    calculator = scope["calculator"]()  # type: ignore[operator]
    atoms = bulk("SiO", "rocksalt", a=4.4)
    atoms.set_cell(-atoms.cell[:])
    assert atoms.cell.handedness in (-1, 1)
    if atoms.cell.handedness > 0:
        atoms.set_cell(-atoms.cell[:])
    energies = []
    for step in (-2e-3, 2e-3):
        strained = atoms.copy()
        strained.set_cell(atoms.cell[:] * (1 + step), scale_atoms=True)
        strained.calc = calculator
        energies.append(strained.get_potential_energy())
    atoms.calc = calculator
    trace = np.trace(atoms.get_stress(voigt=False)) * abs(atoms.get_volume())
    assert trace == pytest.approx((energies[1] - energies[0]) / 4e-3, rel=0.02)
    atoms.calc = tuned.vendor_calculator(tmp_path / "out" / tuned.native_file)
    assert np.trace(atoms.get_stress(voigt=False)) * trace < 0
