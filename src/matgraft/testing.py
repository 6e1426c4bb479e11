"""The conformance suite: what every potential must pass, ours and yours. Public.

    class TestMyPotential(PotentialConformance):
        @classmethod
        def make(cls) -> Potential:
            return MyPotential.shipped()

Each test says one sentence of the contract in `matgraft.core.model`. Structures are made here; nothing is read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from matgraft.core.errors import OptionError, RunError
from matgraft.core.quantities import MAGMOM, Array
from matgraft.core.training.strategy import STRATEGIES, make_strategy, through_network
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import HEAD_TAG
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.exports import verify_export
from matgraft.potentials.exports.standalone import TunedCalculator
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.models.references import read_added_references
from matgraft.potentials.tuning.adapt import shift_references
from matgraft.potentials.tuning.heads import MultiHeadPotential
from matgraft.potentials.tuning.references import HeadShifts, ReferenceShift
from matgraft.potentials.tuning.step_zero import check_step_zero
from matgraft.potentials.uncertainty.fit import Simulations, fit_uncertainty

WANTED = ("energy", "forces", "stress")


def crystals() -> list[Atoms]:
    """Return distorted cells of 2, 8 and 4 atoms: covalent, metallic, ionic; nothing in them is zero by symmetry."""
    frames = [
        bulk("Si", "diamond", a=5.47),
        bulk("Mo", "bcc", a=3.16, cubic=True) * (2, 2, 1),
        bulk("MgO", "rocksalt", a=4.21),
    ]
    rng = np.random.default_rng(0)
    for atoms in frames:
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.02 * rng.standard_normal((3, 3))), scale_atoms=True)
        atoms.positions += 0.06 * rng.standard_normal(atoms.positions.shape)
    return frames


def sheets() -> list[tuple[Atoms, Array]]:
    """Return one buckled sheet written in several ways, and the matrix (3, 3) that turned each of them."""
    a = 3.87
    flat = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, 0]])
    atoms = Atoms("SiO", positions=[[0, 0, 0], [0.1, a / 3**0.5, 0.55]], cell=flat, pbc=[True, True, False])
    forms = [atoms]
    for third, pbc in (([0, 0, 30], False), ([0, 0, 30], True), ([2, -3, 30], False)):
        other = atoms.copy()
        other.set_cell(np.vstack([flat[:2], [third]]))
        other.pbc = [True, True, pbc]
        forms.append(other)
    return [(form, np.eye(3)) for form in (*forms, *_rewritten(atoms))] + _turned(atoms)


def wires() -> list[tuple[Atoms, Array]]:
    """Return one wire along x, as `sheets` does."""
    cell = np.array([[3.6, 0, 0], [0, 0, 0], [0, 0, 0]])
    atoms = Atoms("SiO", positions=[[0, 0, 0], [1.7, 0.6, 0.3]], cell=cell, pbc=[True, False, False])
    forms = [atoms]
    for across, pbc in ((25.0, False), (25.0, True)):
        other = atoms.copy()
        other.set_cell(cell + np.diag([0, across, across + 2]))
        other.pbc = [True, pbc, pbc]
        forms.append(other)
    return [(form, np.eye(3)) for form in (*forms, *_rewritten(atoms))] + _turned(atoms)


def molecules() -> list[Atoms]:
    """Return one molecule without a cell, in boxes, in a cell smaller than it, and far away, whatever pbc says."""
    bare = Atoms("SiO2", positions=[[0, 0, 0], [1.5, 0.3, 0], [-1.2, 0.9, 0.4]])
    forms = [bare]
    for cell, pbc in ((0.0, True), (30.0, False), (30.0, True), (1.5, False)):
        other = bare.copy()
        other.set_cell(cell * np.eye(3))
        other.pbc = pbc
        forms.append(other)
    forms[-1].positions += 800.0
    return forms


def lattices() -> list[Atoms]:
    """Return one crystal by other vectors of its lattice, in another order of them, an atom in another cell."""
    crystal = crystals()[2]
    forms = [crystal]
    for change in ([[1, 0, 0], [2, 1, 0], [-1, 1, 1]], [[0, 1, 0], [0, 0, 1], [1, 0, 0]]):
        other = crystal.copy()
        other.set_cell(np.array(change) @ crystal.cell[:])
        forms.append(other)
    forms[1].positions[0] += [2, -1, 3] @ crystal.cell[:]
    return forms


def _rewritten(atoms: Atoms) -> list[Atoms]:
    """Return the same with pbc where there is no vector, far away, and with the vectors in another order."""
    everywhere, away, order = atoms.copy(), atoms.copy(), atoms.copy()
    everywhere.pbc = True
    away.positions += [0, 0, 61.3]
    order.set_cell(atoms.cell[:][[2, 0, 1]])
    order.pbc = atoms.pbc[[2, 0, 1]]
    return [everywhere, away, order]


def _turned(atoms: Atoms) -> list[tuple[Atoms, Array]]:
    """Return the same with the normal along x, and turned at random."""
    any_turn, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((3, 3)))
    forms = []
    for turn in (np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), any_turn):
        other = atoms.copy()
        other.set_cell(atoms.cell[:] @ turn.T)
        other.positions = atoms.positions @ turn.T
        forms.append((other, turn))
    return forms


class PotentialConformance:
    """Inherit, say which potential, and pytest does the rest."""

    # float32 networks; in eV/atom, eV/Å, eV/Å³. Override for other precisions.
    tolerance: Mapping[str, float] = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-5}

    @classmethod
    def make(cls) -> Potential:
        """Return the potential under test."""
        raise OptionError(f"{cls.__name__} does not say which potential to test", remedy="override make")

    @pytest.fixture(scope="class")
    @classmethod
    def potential(cls) -> Potential:
        """Load the potential once a class."""
        return cls.make()

    def test_a_silent_readout_says_nothing(self, potential: Potential, tmp_path: Path) -> None:
        """A correction to another method begins at zero, and is trained from there: the last layers have a gradient."""
        silent = copy.deepcopy(potential)
        silent.silence()
        for layer in silent.last_layers():
            layer.requires_grad_(True)
        for found in _predict(silent, crystals()):
            assert all(np.abs(found[name]).max() < 1e-6 for name in WANTED)
        batch = silent.collate(encode_all(silent, [Sample(atoms, {}) for atoms in crystals()]))
        silent.forward(batch, ("energy",))["energy"].sum().backward()
        assert any(
            p.grad is not None and p.grad.abs().max() > 0 for one in silent.last_layers() for p in one.parameters()
        )

    def test_equals_the_vendors_calculator(self, potential: Potential, tmp_path: Path) -> None:
        """Energies, forces and stresses are the vendor's own, by way of the vendor's own file."""
        calculator = _exported(potential, tmp_path)
        for atoms, ours in zip(crystals(), _predict(potential, crystals()), strict=True):
            atoms.calc = calculator
            theirs = {
                "energy": np.array(atoms.get_potential_energy()),
                "forces": atoms.get_forces(),
                "stress": atoms.get_stress(voigt=False),
            }
            self._agree(ours, theirs, len(atoms))

    def test_magnetic_moments_are_the_vendors(self, potential: Potential, tmp_path: Path) -> None:
        """Their sizes, where the model predicts them; where it does not, asking gives nothing."""
        atoms = crystals()[2]
        (found,) = predict_samples(potential, [Sample(atoms, {})], ("energy", MAGMOM.name))
        assert (MAGMOM.name in found) == (MAGMOM.name in potential.quantities) == bool(potential.other_readouts)
        if MAGMOM.name in found:
            atoms.calc = _exported(potential, tmp_path)
            theirs = atoms.get_magnetic_moments()
            assert found[MAGMOM.name].shape == (len(atoms),)
            np.testing.assert_allclose(found[MAGMOM.name], np.abs(theirs), atol=1e-4)

    def test_batched_equals_single(self, potential: Potential) -> None:
        """What stands beside a frame in a batch does not matter."""
        together = _predict(potential, crystals())
        for atoms, ours in zip(crystals(), together, strict=True):
            self._agree(ours, _predict(potential, [atoms])[0], len(atoms))

    def test_changes_no_input(self, potential: Potential) -> None:
        """Prediction leaves structures and encoded graphs as they are."""
        samples = [Sample(atoms, {}) for atoms in crystals()]
        encoded = encode_all(potential, samples)
        before = [{name: tensor.clone() for name, tensor in one.tensors.items()} for one in encoded]
        predict_samples(potential, samples, WANTED, encoded=encoded)
        for one, old, sample, atoms in zip(encoded, before, samples, crystals(), strict=True):
            assert all((one.tensors[name] == old[name]).all() for name in old)
            assert sample.content == atoms

    def test_translation(self, potential: Potential) -> None:
        """Moving all atoms changes nothing."""
        moved = crystals()
        for atoms in moved:
            atoms.translate([0.31, -1.7, 5.3])
            atoms.wrap()
        self._agree_all(potential, moved, lambda value: value)

    def test_a_crystal_far_from_the_origin(self, potential: Potential) -> None:
        """Where atoms stand in space, or in which cell, changes nothing, in few digits neither."""
        far = crystals()
        for atoms in far:
            atoms.translate([700.0, -700.0, 300.0])
            atoms.positions[0] += [20, -7, 3] @ atoms.cell[:]
        self._agree_all(potential, far, lambda value: value)

    def test_rotation(self, potential: Potential) -> None:
        """Turning the crystal turns forces and stresses with it."""
        turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))
        turned = crystals()
        for atoms in turned:
            atoms.set_cell(atoms.cell[:] @ turn.T, scale_atoms=True)

        def back(value: Mapping[str, Array]) -> Mapping[str, Array]:
            forces, stress = value["forces"] @ turn, turn.T @ value["stress"] @ turn
            return {"energy": value["energy"], "forces": forces, "stress": stress}

        self._agree_all(potential, turned, back)

    def test_permutation(self, potential: Potential) -> None:
        """The order of the atoms does not matter."""
        reversed_frames = [atoms[::-1] for atoms in crystals()]
        self._agree_all(potential, reversed_frames, lambda value: {**value, "forces": value["forces"][::-1]})

    def test_supercell(self, potential: Potential) -> None:
        """Twice the cell has twice the energy and the same stress."""
        for atoms, single in zip(crystals(), _predict(potential, crystals()), strict=True):
            (double,) = _predict(potential, [atoms * (2, 1, 1)])
            assert float(double["energy"]) == pytest.approx(2 * float(single["energy"]), abs=2e-5 * len(atoms))
            np.testing.assert_allclose(double["stress"], single["stress"], atol=self.tolerance["stress"])

    def test_forces_are_the_derivative_of_the_energy(self, potential: Potential) -> None:
        """Central differences along a random direction give the projected force."""
        rng = np.random.default_rng(2)
        for atoms, ours in zip(crystals(), _predict(potential, crystals()), strict=True):
            move = rng.standard_normal(atoms.positions.shape)
            slope = _slope(potential, [_moved(atoms, step * move) for step in _STEPS])
            assert slope == pytest.approx(-float((ours["forces"] * move).sum()), abs=0.02, rel=0.02)

    def test_stress_is_the_derivative_of_the_energy(self, potential: Potential) -> None:
        """Central differences along a random strain give volume times stress."""
        rng = np.random.default_rng(3)
        for atoms, ours in zip(crystals(), _predict(potential, crystals()), strict=True):
            strain = rng.standard_normal((3, 3))
            strain = (strain + strain.T) / 2
            slope = _slope(potential, [_strained(atoms, step * strain) for step in _STEPS])
            expected = atoms.get_volume() * float((ours["stress"] * strain).sum())
            assert slope == pytest.approx(expected, abs=0.05, rel=0.02)

    def test_the_handedness_of_the_cell_does_not_matter(self, potential: Potential) -> None:
        """Two cell vectors exchanged, or all three turned round: energies, forces and stresses stay."""
        for change in ([1, 0, 2], [0, 2, 1], -1):
            changed = crystals()
            for atoms in changed:
                atoms.set_cell(-atoms.cell[:] if change == -1 else atoms.cell[:][change], scale_atoms=False)
                assert np.linalg.det(atoms.cell[:]) < 0
            self._agree_all(potential, changed, lambda value: value)

    def test_a_sheet_is_a_sheet_however_it_is_written(self, potential: Potential) -> None:
        """Third vector zero, vacuum or leaning, pbc or not, moved or turned: the same energy and forces."""
        self._one_structure(potential, sheets())
        self._repeats(potential, sheets()[0][0])

    def test_a_wire_is_a_wire_however_it_is_written(self, potential: Potential) -> None:
        """The same of a structure that is periodic in one direction."""
        self._one_structure(potential, wires())
        self._repeats(potential, wires()[0][0])

    def test_a_molecule_or_a_crystal_is_the_same_however_it_is_written(self, potential: Potential) -> None:
        """A box, its size and its pbc mean nothing to a molecule; any vectors of a lattice are that lattice."""
        for forms in (molecules(), lattices()):
            self._one_structure(potential, [(form, np.eye(3)) for form in forms])
        for other in (found := _predict(potential, lattices()))[1:]:
            np.testing.assert_allclose(other["stress"], found[0]["stress"], atol=self.tolerance["stress"])

    def test_a_slab_in_a_full_cell_has_the_stress_of_that_cell(self, potential: Potential) -> None:
        """Whatever pbc says of the vacuum: (1/V) dE/dstrain, V of the cell; without the third vector there is none."""
        frames = [atoms for atoms, _ in sheets()[1:4]]
        found = _predict(potential, frames)
        strain = np.array([[0.6, 0.3, 0], [0.3, -0.4, 0], [0, 0, 0.5]])
        for atoms, ours in zip(frames, found, strict=True):
            slope = _slope(potential, [_strained(atoms, step * strain) for step in _STEPS])
            expected = atoms.get_volume() * float((ours["stress"] * strain).sum())
            assert slope == pytest.approx(expected, abs=0.05, rel=0.02)
        np.testing.assert_allclose(found[0]["stress"], found[1]["stress"], atol=self.tolerance["stress"])
        (open_,) = _predict(potential, [sheets()[0][0]])
        assert set(open_) == {"energy", "forces"}

    def _one_structure(self, potential: Potential, forms: list[tuple[Atoms, Array]]) -> None:
        first, *others = _predict(potential, [atoms for atoms, _ in forms])
        for (atoms, turn), other in zip(forms[1:], others, strict=True):
            assert abs(float(other["energy"] - first["energy"])) / len(atoms) < self.tolerance["energy"]
            np.testing.assert_allclose(other["forces"] @ turn, first["forces"], atol=self.tolerance["forces"])

    def _repeats(self, potential: Potential, atoms: Atoms) -> None:
        """Hold twice the cell against twice its energy, and its bonds against those of a fragment."""
        fragment = Atoms(atoms.numbers, atoms.positions)
        whole, part = (potential.encode(Sample(one, {})).n_edges for one in (atoms, fragment))
        assert whole > part
        one, two = (float(found["energy"]) for found in _predict(potential, [atoms, atoms * (2, 1, 1)]))
        assert two == pytest.approx(2 * one, abs=2e-5 * len(atoms))

    def test_how_sure_it_is_does_not_depend_on_how_a_crystal_is_written(self, potential: Potential) -> None:
        """Atoms of training frames are known; others are as strange renumbered in a cell twice as large."""
        rng = np.random.default_rng(3)
        strange = crystals()
        for atoms in strange:
            atoms.positions += 0.1 * rng.standard_normal(atoms.positions.shape)
        train, held = (
            Dataset([Sample(a, {"energy": np.array(0.0), "forces": rng.standard_normal((len(a), 3))}) for a in frames])
            for frames in (crystals(), strange)
        )
        found = fit_uncertainty(potential, train, held, simulations=Simulations("abc", "def"))
        known = predict_samples(potential, train, uncertainty=found)
        assert all(one["extrapolation"].max() < 0.02 for one in known)
        once = predict_samples(potential, held, uncertainty=found)
        twice = predict_samples(
            potential, [Sample(atoms[::-1] * (2, 1, 1), {}) for atoms in strange], uncertainty=found
        )
        for one, other in zip(once, twice, strict=True):
            assert other["energy_std"] == pytest.approx(2 * one["energy_std"], rel=1e-2)
            for name in ("forces_std", "forces_interval", "extrapolation"):
                assert other[name] == pytest.approx(np.tile(one[name][::-1], 2), rel=1e-2), name

    def test_what_was_not_asked_for_is_absent(self, potential: Potential) -> None:
        """Only the wanted quantities are returned; a molecule has no stress."""
        (only_energy,) = predict_samples(potential, [Sample(crystals()[0], {})], ("energy",))
        assert set(only_energy) == {"energy"}
        dimer = Atoms("O2", positions=[[0, 0, 0], [0, 0, 1.3]])
        (molecule,) = predict_samples(potential, [Sample(dimer, {})], WANTED)
        assert set(molecule) == {"energy", "forces"}

    def test_stages_name_the_network_once(self, potential: Potential) -> None:
        """Stages share no parameter, know real parameters, and end with the head's."""
        stages = potential.stages()
        names = [name for stage in stages for name in stage.parameters()]
        assert len(names) == len(set(names)) > 0
        assert set(names) <= {name for name, _ in potential.module.named_parameters()}
        head = {id(parameter) for parameter in potential.head.parameters()}
        assert {id(parameter) for parameter in stages[-1].parameters().values()} == head

    def test_references_shift_the_energy_alone(self, potential: Potential) -> None:
        """One eV on an element is one eV an atom of it, and no force."""
        shifted = copy.deepcopy(potential)
        shift = ReferenceShift(mode="given", shift_eV={"O": 1.0}, rank=1, n_elements=1)
        shift_references(shifted, shift)
        atoms = crystals()[2]
        before, after = (_predict(model, [atoms])[0] for model in (potential, shifted))
        assert float(after["energy"] - before["energy"]) == pytest.approx(atoms.symbols.count("O"), abs=1e-5)
        np.testing.assert_array_equal(after["forces"], before["forces"])

    def test_references_of_an_all_electron_code_keep_their_digits(self, potential: Potential) -> None:
        """At -57,000 eV an atom, where float32 resolves 4 meV, the shifted model is the shifted foundation to 1e-6."""
        all_electron = -57164.123456789
        shift = ReferenceShift(mode="given", shift_eV={"Si": all_electron}, rank=1, n_elements=1)
        model = copy.deepcopy(potential)
        shift_references(model, shift)
        assert model.references.dtype == torch.float64
        samples = [Sample(crystals()[0], {})]
        (before,), (after,) = (predict_samples(one, samples, ("energy",)) for one in (potential, model))
        assert abs(float(after["energy"] - before["energy"]) / 2 - all_electron) < 1e-6

    def test_the_file_of_an_all_electron_model_keeps_its_digits(self, potential: Potential, tmp_path: Path) -> None:
        """515,000 eV an atom more: the vendor's file has the same forces, stress, slopes and energies but for these."""
        shift = ReferenceShift(mode="given", shift_eV={"Si": -515000.123456789}, rank=1, n_elements=1)
        model, atoms = copy.deepcopy(potential), crystals()[0]
        shift_references(model, shift)
        found = []
        for i, one in enumerate((potential, model)):
            calculator, energies = _exported(one, tmp_path / str(i)), []
            for step in _STEPS[1:3]:
                moved = _strained(atoms, step * np.diag([1.0, -0.4, 0.3]))
                moved.calc = calculator
                energies.append(moved.get_potential_energy())
            found.append((moved.get_forces(), moved.get_stress(), np.array(energies)))
        for one, same in zip(found[0][:2], found[1][:2], strict=True):
            np.testing.assert_array_equal(same, one)
        np.testing.assert_allclose(found[1][2] + 2 * 515000.123456789, found[0][2], rtol=0, atol=2e-5)

    def test_the_file_takes_a_sheet_for_a_sheet_however_it_is_written(
        self, potential: Potential, tmp_path: Path
    ) -> None:
        """As `test_a_sheet_is_a_sheet_however_it_is_written`, by the calculator that is exported."""
        calculator = _exported(potential, tmp_path)
        frames = [forms[i][0] for forms in (sheets(), wires()) for i in (0, 1, -1)]
        for atoms, ours in zip(frames, _predict(potential, frames), strict=True):
            atoms.calc = calculator
            theirs = {"energy": np.array(atoms.get_potential_energy()), "forces": atoms.get_forces()}
            theirs |= {"stress": atoms.get_stress(voigt=False)} if "stress" in ours else {}
            assert abs(float(theirs["energy"] - ours["energy"])) / len(atoms) < self.tolerance["energy"]
            for name in theirs.keys() - {"energy"}:
                np.testing.assert_allclose(theirs[name], ours[name], atol=self.tolerance[name], err_msg=name)

    @pytest.mark.parametrize("symbol", ["Si", "O"])
    def test_a_file_that_is_wrong_for_one_element_is_not_verified(
        self, potential: Potential, tmp_path: Path, symbol: str
    ) -> None:
        """The comparison of an exported file covers every element of the card."""
        wrong = copy.deepcopy(potential)
        shift_references(wrong, ReferenceShift(mode="given", shift_eV={symbol: 1.0}, rank=1, n_elements=1))
        wrong.save(tmp_path / potential.native_file)
        with pytest.raises(RunError, match="does not give the model's predictions: energy"):
            verify_export(potential, tmp_path)

    @pytest.mark.parametrize(
        ("name", "several"),
        [*((name, False) for name in sorted(STRATEGIES)), *((name, True) for name in sorted(through_network()))],
    )
    def test_every_strategy_starts_as_the_foundation(self, potential: Potential, name: str, several: bool) -> None:
        """Preparation freezes and injects without changing a prediction, under one head or under each of several."""
        dataset = Dataset(tuple(Sample(atoms, {}, {HEAD_TAG: "ab"[i % 2]}) for i, atoms in enumerate(crystals())))
        strategy = make_strategy(name)
        prepared = copy.deepcopy(potential)
        prepared = MultiHeadPotential(prepared, ["a", "b"]) if several else prepared
        shift = ReferenceShift(mode="given", shift_eV={"Si": -3.5}, rank=1, n_elements=1)
        shift_references(prepared, HeadShifts(heads={"a": shift, "b": shift}) if several else shift)
        groups = strategy.prepare(prepared)
        learning = {id(p) for group in groups for p in group.parameters.values()}
        assert learning == {id(p) for p in prepared.module.parameters() if p.requires_grad}
        assert learning
        found = check_step_zero(potential, prepared, shift, dataset, encode_all(prepared, dataset))
        assert found.max_energy_difference_eV_per_atom < 1e-5

    def _agree_all(self, potential: Potential, changed: list[Atoms], back: object) -> None:
        assert callable(back)
        for atoms, ours, other in zip(
            changed, _predict(potential, crystals()), _predict(potential, changed), strict=True
        ):
            self._agree(ours, back(other), len(atoms))

    def _agree(self, ours: Mapping[str, Array], theirs: Mapping[str, Array], n_atoms: int) -> None:
        assert set(ours) == set(theirs) == set(WANTED)
        per_atom = float(np.abs(ours["energy"] - theirs["energy"])) / n_atoms
        assert per_atom < self.tolerance["energy"], f"energies differ by {per_atom} eV/atom"
        for name in ("forces", "stress"):
            np.testing.assert_allclose(ours[name], theirs[name], atol=self.tolerance[name], err_msg=name)


_STEPS = (-2e-3, -1e-3, 1e-3, 2e-3)
"""Four points, whose error is of fourth order: an energy surface with sharp cutoffs bends within 1e-3."""


def _exported(potential: Potential, folder: Path) -> TunedCalculator:
    """Return the calculator that is exported, on the vendor's own file."""
    folder.mkdir(exist_ok=True)
    potential.save(folder / potential.native_file)
    vendor = potential.vendor_calculator(folder / potential.native_file)
    return TunedCalculator(vendor, read_added_references(folder), float(potential.card.cutoff_A or 0))


def _predict(potential: Potential, frames: list[Atoms]) -> list[dict[str, Array]]:
    return predict_samples(potential, [Sample(atoms, {}) for atoms in frames], WANTED)


def _slope(potential: Potential, ends: list[Atoms]) -> float:
    lowest, low, high, highest = (float(one["energy"]) for one in _predict(potential, ends))
    return (8 * (high - low) - (highest - lowest)) / (12 * _STEPS[2])


def _moved(atoms: Atoms, displacement: Array) -> Atoms:
    moved = atoms.copy()
    moved.positions += displacement
    return moved


def _strained(atoms: Atoms, strain: Array) -> Atoms:
    strained = atoms.copy()
    strained.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    return strained
