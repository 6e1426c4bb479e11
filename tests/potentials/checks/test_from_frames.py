"""What labelled frames hold: values of EMT copper are found again, and what frames do not determine is absent."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.calculators.tersoff import Tersoff, TersoffParameters
from ase.eos import EquationOfState
from ase.optimize import BFGS
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.findings import Finding
from matgraft.potentials.checks.from_frames import Held, held_of, properties_in, references_in
from matgraft.potentials.checks.own_frames import (
    ElasticFramesCheck,
    FrameValue,
    FrameValues,
    PhaseFramesCheck,
    SurfaceFramesCheck,
    VacancyFramesCheck,
)
from matgraft.potentials.checks.physical import Case, Seen
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.simulation.subject import Subject, one_prediction


def labelled(*structures: Atoms) -> Dataset:
    samples = [Sample(one, one_prediction(one, EMT()), {}, file="x.xyz", index=i) for i, one in enumerate(structures)]
    return Dataset(tuple(samples))


def cubic(a=None) -> Atoms:
    return bulk("Cu", a=a or lattice_constant(), cubic=True)


@cache
def lattice_constant() -> float:
    lengths = np.linspace(3.5, 3.7, 9)
    energies = [one_prediction(bulk("Cu", a=a), EMT())["energy"] for a in lengths]
    volume, _, _ = EquationOfState(lengths**3 / 4, energies, eos="birchmurnaghan").fit()
    return float((4 * volume) ** (1 / 3))


def strained(atoms: Atoms, i: int, k: int, size: float) -> Atoms:
    strain = np.zeros((3, 3))
    strain[i, k] = strain[k, i] = size if i == k else size / 2
    copy = atoms.copy()
    copy.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def relaxed(atoms: Atoms) -> Atoms:
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=60)
    atoms.calc = None
    return atoms


def copper(name="Cu4") -> Structure:
    return Structure(name, cubic(), "bulk", "a test")


def found_in(frames: Dataset, structure=None) -> dict[str, float]:
    references, _ = references_in(frames, [structure or copper()])
    return {key: one.value for values in references.values() for key, one in values.items()}


def test_a_crystal_at_rest_gives_its_lattice_and_a_pressed_one_none() -> None:
    a = lattice_constant()
    found = found_in(labelled(cubic()))
    assert found["a_A"] == pytest.approx(a, abs=1e-6) and found["volume_A3_per_atom"] == pytest.approx(a**3 / 4)
    assert found_in(labelled(cubic(1.01 * a))) == {}


def test_cells_of_different_volume_give_the_curve_of_ases_own_fit() -> None:
    a = lattice_constant()
    scaled = [cubic(a * s) for s in (0.96, 0.975, 0.99, 1.0, 1.01, 1.025, 1.04)]
    found = found_in(labelled(*scaled))
    volumes = [one.get_volume() for one in scaled]
    energies = [one_prediction(one, EMT())["energy"] for one in scaled]
    v0, _, b0 = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    assert found["B0_GPa"] == pytest.approx(b0 / units.GPa, rel=0.01)
    assert found["volume_A3_per_atom"] == pytest.approx(v0 / 4, rel=2e-4)
    assert "B0_GPa" not in found_in(labelled(*scaled[:5])), "the minimum has one volume beyond it"


def test_elastic_constants_are_those_of_finite_differences_and_come_with_both_senses_alone() -> None:
    start = cubic()
    modes = [(i, k) for i in range(3) for k in range(i, 3)]
    both = [strained(start, i, k, size) for i, k in modes for size in (-0.01, 0.01)]
    found = found_in(labelled(start, *both))

    def slope(mode, component):
        up, down = (one_prediction(strained(start, *mode, s), EMT())["stress"] for s in (1e-3, -1e-3))
        return (up - down)[component] / 2e-3 / units.GPa

    assert found["C11_GPa"] == pytest.approx(slope((0, 0), (0, 0)), rel=0.01)
    assert found["C12_GPa"] == pytest.approx(slope((0, 0), (1, 1)), rel=0.01)
    assert found["C44_GPa"] == pytest.approx(slope((1, 2), (1, 2)), rel=0.01)
    assert found["B0_GPa"] == pytest.approx((found["C11_GPa"] + 2 * found["C12_GPa"]) / 3)
    assert "C33_GPa" not in found, "the same constant as C11"
    one_sense = [strained(start, i, k, 0.01) for i, k in modes]
    assert not any(name.startswith("C") for name in found_in(labelled(start, *one_sense)))
    stretched = [strained(start, 0, 0, size) for size in (-0.01, 0.01)]
    assert {"C11_GPa", "C12_GPa"} <= found_in(labelled(start, *stretched)).keys()
    assert "C44_GPa" not in found_in(labelled(start, *stretched)), "no shear, no shear constant"


def test_a_rotated_strained_cell_says_the_same() -> None:
    start = cubic()
    frames = [start, *(strained(start, 0, 0, size) for size in (-0.01, 0.01))]
    turned = frames[2].copy()
    turned.rotate(35, (1, 2, 3), rotate_cell=True)
    plain, found = found_in(labelled(*frames)), found_in(labelled(*frames[:2], turned))
    assert found["C11_GPa"] == pytest.approx(plain["C11_GPa"], rel=1e-4)
    assert found["C12_GPa"] == pytest.approx(plain["C12_GPa"], rel=1e-4)


def test_clamped_ions_give_a_constant_of_another_name_and_no_reference(shared) -> None:
    frames = read(shared / "data/potentials/Si_train.extxyz")
    chosen = [i for i, kind in enumerate(frames.tag("config_type")) if kind in ("Elastic", "Vacancy")]
    held = held_of(frames[chosen])
    found = {one.name: one.value(held) for one in properties_in(held)}
    up, down = (next(one for one in held.values() if abs(one.atoms.cell.lengths()[0] - a) < 0.002)
                for a in (11.1540, 10.7165))  # fmt: skip
    between = 2 * (11.1540 - 10.7165) / (11.1540 + 10.7165)  # strain along x, by hand
    assert found["C11_GPa"] == pytest.approx((up.stress - down.stress)[0, 0] / between, rel=0.01)
    assert found["C12_GPa"] == pytest.approx((up.stress - down.stress)[1, 1] / between, rel=0.01)
    assert found["C44_clamped_GPa"] == pytest.approx(4.0 / np.radians(90 - 87.708), rel=0.02)  # 4.0 GPa as labelled
    assert "C44_GPa" not in found and "vacancy_eV" not in found, "shears are clamped, vacancies are hot"


SILICON = TersoffParameters(
    A=1830.8, B=471.18, lambda1=2.4799, lambda2=1.7322, beta=1.1e-6, gamma=1.0, m=3, n=0.78734, c=100390, d=16.217,
    h=-0.59825, R=2.85, D=0.15, lambda3=0.0,
)  # fmt: skip
"""J. Tersoff, Phys. Rev. B 38, 9902 (1988), in ASE's form."""


def by_tersoff(*structures: Atoms) -> dict[int, Held]:
    found = [one_prediction(one, Tersoff({("Si",) * 3: SILICON})) for one in structures]
    return held_of(Dataset(tuple(Sample(a, labels, {}) for a, labels in zip(structures, found, strict=True))))


def test_ions_have_followed_a_small_strain_only_where_their_forces_are_small_for_it() -> None:
    start = bulk("Si", a=5.432005)
    shears = [strained(start, 1, 2, size) for size in (-0.005, 0.005)]
    clamped = by_tersoff(start, *shears)
    assert 0.03 < clamped[1].force < 0.05, "small, and yet all of the force of clamped ions"
    found = {one.name: one for one in properties_in(clamped)}
    assert "C44_GPa" not in found and found["C44_clamped_GPa"].value(clamped) == pytest.approx(118.8, abs=0.5)
    for one in shears:
        one.calc = Tersoff({("Si",) * 3: SILICON})
        BFGS(one, logfile=None).run(fmax=1e-3, steps=40)
    relaxed_ions = by_tersoff(start, *shears)
    found = {one.name: one for one in properties_in(relaxed_ions)}
    assert found["C44_GPa"].value(relaxed_ions) == pytest.approx(69.0, abs=0.5)


def test_volumes_with_clamped_ions_give_a_modulus_of_another_name() -> None:
    a = lattice_constant()
    held = held_of(labelled(*(cubic(a * s) for s in (0.96, 0.975, 0.99, 1.0, 1.01, 1.025, 1.04))))
    plain = {one.name: one for one in properties_in(held)}
    pushed = {
        i: Held(one.atoms, one.energy, one.forces + 0.2 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]))
        if i != 3
        else one
        for i, one in held.items()
    }
    found = {one.name: one for one in properties_in(pushed)}
    assert "B0_GPa" not in found and not found["B0_clamped_GPa"].relaxed
    assert found["B0_clamped_GPa"].value(pushed) == pytest.approx(plain["B0_GPa"].value(held))
    assert found["volume_A3_per_atom"].relaxed


def test_a_few_large_forces_in_a_large_cell_are_not_rest() -> None:
    forces = np.zeros((107, 3))
    forces[:8, 0] = 0.2, -0.2, 0.2, -0.2, 0.2, -0.2, 0.2, -0.2
    vacancy = cubic().repeat(3)
    del vacancy[0]
    start = held_of(labelled(cubic()))[0]
    hot = {0: start, 1: Held(vacancy, 107 * start.per_atom + 1.5, forces)}
    assert hot[1].force < 0.05
    assert not any(one.kind == "vacancy" for one in properties_in(hot))
    rest = {0: start, 1: Held(vacancy, 107 * start.per_atom + 1.2, forces / 100)}
    (found,) = properties_in(rest)
    assert found.kind == "vacancy", "a symmetric cell without an atom is no other phase of the element"
    assert found.value(rest) == pytest.approx(1.2)


def test_axes_are_those_of_the_space_group_that_the_crystal_is_known_by() -> None:
    cell = cubic().cell[:] + np.diag([0, 0, 0.02])  # relaxed to so much: cubic, within what labels resolve
    start = cubic()
    start.set_cell(cell, scale_atoms=True)
    frames = labelled(start, *(strained(start, i, k, s) for i in range(3) for k in range(i, 3) for s in (-0.01, 0.01)))
    held = held_of(frames)
    held[0] = Held(held[0].atoms, held[0].energy, held[0].forces)  # without a label of stress
    found = {one.name: one.value(held) for one in properties_in(held) if one.kind == "elastic"}
    expected = found_in(labelled(cubic(), *(strained(cubic(), 0, 0, size) for size in (-0.01, 0.01))))
    assert found["C11_GPa"] == pytest.approx(expected["C11_GPa"], rel=0.05)
    assert "C33_GPa" not in found, "the same constant as C11"


def test_a_crystal_moved_by_half_a_cell_is_the_same() -> None:
    start = cubic()
    both = [strained(start, 0, 0, size) for size in (-0.01, 0.01)]
    for one, sense in zip(both, (1, -1), strict=True):
        one.positions += one.cell[0] / 2 + sense * np.array([[1e-5, 0, 0], [-1e-5, 0, 0], [1e-5, 0, 0], [-1e-5, 0, 0]])
    assert found_in(labelled(start, *both))["C11_GPa"] == pytest.approx(
        found_in(labelled(start, *(strained(start, 0, 0, size) for size in (-0.01, 0.01))))["C11_GPa"], rel=1e-3
    )


def test_of_several_slabs_of_a_facet_the_lowest_counts() -> None:
    slab = fcc111("Cu", (1, 1, 5), a=lattice_constant(), vacuum=6.0)
    slab.pbc = True
    start = held_of(labelled(cubic()))[0]
    slabs = [Held(slab, 5 * start.per_atom + excess, np.zeros((5, 3))) for excess in (1.2, 0.8, 1.0)]
    held = dict(enumerate([start, *slabs]))
    (found,) = (one for one in properties_in(held) if one.kind == "surface")
    assert found.name == "surface_111_J_per_m2" and found.frames == (2,)


def test_vacancy_and_surface_are_excess_energies_of_relaxed_frames() -> None:
    start = cubic()
    whole = bulk("Cu", a=lattice_constant(), cubic=True).repeat(2)
    vacancy, slab = whole.copy(), fcc111("Cu", (1, 1, 5), a=lattice_constant(), vacuum=6.0)
    del vacancy[3]
    slab.pbc = True
    hot = vacancy.copy()
    hot.rattle(0.1, seed=1)
    vacancy, slab = relaxed(vacancy), relaxed(slab)
    found = found_in(labelled(start, vacancy, slab, hot))
    per_atom = one_prediction(start, EMT())["energy"] / 4
    assert found["vacancy_eV"] == pytest.approx(one_prediction(vacancy, EMT())["energy"] - 31 * per_atom, abs=1e-6)
    assert 1.0 < found["vacancy_eV"] < 1.5
    area = lattice_constant() ** 2 * np.sqrt(3) / 4
    excess = one_prediction(slab, EMT())["energy"] - 5 * per_atom
    assert found["surface_111_J_per_m2"] == pytest.approx(excess / (2 * area) * 16.0218, rel=1e-4)
    hot_alone = found_in(labelled(start, hot))
    assert "vacancy_eV" not in hot_alone and "surface_111_J_per_m2" not in hot_alone


def test_predictions_of_the_same_frames_give_the_models_value() -> None:
    start = cubic()
    frames = labelled(start, *(strained(start, 0, 0, size) for size in (-0.01, 0.01)))
    labels = held_of(frames)
    soft = {i: Held(one.atoms, one.energy, one.forces, 0.8 * one.stress) for i, one in labels.items()}
    for one in properties_in(labels):
        assert one.value(soft) == pytest.approx(0.8 * one.value(labels))


def test_values_go_to_the_structure_that_they_are_of() -> None:
    start = cubic()
    other = Structure("bcc", bulk("Cu", "bcc", a=2.87), "bulk", "a test")
    slab = Structure("slab", fcc111("Cu", (1, 1, 4), vacuum=6.0), "slab", "a test")
    references, said = references_in(labelled(start), [copper("mine"), other, slab])
    assert set(references) == {"mine"} and said[0].startswith("your frames hold for mine: a_A 3.59")
    assert references["mine"]["a_A"].source == "your frames (1 crystal at rest)"
    assert references_in(Dataset(()), [copper()]) == ({}, ())


def test_two_phases_of_one_composition_have_an_energy_difference() -> None:
    lengths = np.linspace(2.82, 2.90, 9)
    energies = [float(one_prediction(bulk("Cu", "bcc", a=a), EMT())["energy"]) for a in lengths]
    volume, _, _ = EquationOfState(lengths**3 / 2, energies, eos="birchmurnaghan").fit()
    bcc = bulk("Cu", "bcc", a=(2 * volume) ** (1 / 3))
    held = held_of(labelled(cubic(), bcc))
    (phase,) = (one for one in properties_in(held) if one.kind == "phase")
    expected = held[1].per_atom - held[0].per_atom
    assert phase.value(held) == pytest.approx(expected) and expected > 0.01 and "Im-3m" in phase.name


class Changed(EMT):
    """EMT with stress times a factor, and an energy added for each atom of low coordination."""

    def __init__(self, stress=1.0, broken_bond_eV=0.0):
        super().__init__()
        self.how = stress, broken_bond_eV

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        distances = self.atoms.get_all_distances(mic=True)
        missing = 12 - (distances < 3.1).sum(1) + 1 if len(self.atoms) > 8 else np.zeros(1)
        self.results["energy"] += self.how[1] * float(np.maximum(missing, 0).sum())
        self.results["stress"] = self.how[0] * self.results["stress"]


ALL = [ElasticFramesCheck, VacancyFramesCheck, SurfaceFramesCheck, PhaseFramesCheck]


def frames_of_copper() -> Dataset:
    start, slab = cubic(), fcc111("Cu", (2, 2, 5), a=lattice_constant(), vacuum=6.0)
    vacancy = start.repeat(2)
    del vacancy[0]
    slab.pbc = True
    shears = [strained(start, i, k, size) for i, k in ((0, 0), (1, 2)) for size in (-0.01, 0.01)]
    return labelled(start, *shears, relaxed(vacancy), relaxed(slab))


def outcomes(folder: Path, frames: Dataset, elements=None, **changes) -> dict[str, str]:
    quantities = frozenset({"energy", "forces", "stress"})
    subject = Subject("model", repr(changes), lambda: Changed(**changes), quantities, elements)
    case = Case((copper(),), None, CheckSettings(), frames)
    found = run_physical([check() for check in ALL], subject, None, case, folder, processes=1)
    return {one.finding.code: one.finding.outcome for one in found}


def test_each_use_is_judged_by_its_own_frames(tmp_path: Path) -> None:
    frames = frames_of_copper()
    sound = {"elastic-frames": "passed", "vacancy-frames": "passed", "surface-frames": "passed"}
    none = {"phase-frames": "not applicable"}
    assert outcomes(tmp_path, frames) == sound | none
    assert outcomes(tmp_path, frames, stress=0.8) == sound | none | {"elastic-frames": "failed"}
    bonds = outcomes(tmp_path, frames, broken_bond_eV=0.05)
    assert bonds == sound | none | {"vacancy-frames": "failed", "surface-frames": "failed"}
    assert set(outcomes(tmp_path, frames, elements=frozenset({"Ni"})).values()) == {"not applicable"}
    assert set(outcomes(tmp_path, Dataset(())).values()) == {"not applicable"}


def test_a_table_has_labels_model_and_foundation() -> None:
    case = Case((copper(),), None, CheckSettings(), frames_of_copper())
    quantities = frozenset({"energy", "forces", "stress"})
    own, before = (Subject(str(f), str(f), lambda f=f: Changed(f), quantities) for f in (1.0, 0.5))
    check = ElasticFramesCheck()
    seen = Seen(check.observe(own, case), check.observe(before, case))
    (table,) = check.figures(seen, Case((), None, CheckSettings()))
    assert [column.title for column in table.columns][3:6] == ["your labels", "model", "foundation"]
    row = next(row for row in table.rows if row.cells[0].text == "C11")
    label, model, foundation = (float(cell.text) for cell in row.cells[3:6])
    assert model == label and foundation == pytest.approx(label / 2, rel=0.01)


def judged_surfaces(*values: float | None, kind="surface") -> Finding:
    """Judge a model that gives these parts of surface energies of 1, 2, ... J/m²."""
    found = tuple(
        FrameValue(
            name=f"surface of frame {i}", unit="J/m²", formula="Cu", kind=kind, label=i + 1.0, frames=(i, 99),
            value=None if part is None else part * (i + 1.0),
        )
        for i, part in enumerate(values)
    )  # fmt: skip
    check = SurfaceFramesCheck() if kind == "surface" else PhaseFramesCheck()
    return check.judge(Seen(FrameValues(values=found)), Case((), None, CheckSettings()))


def test_one_or_two_values_must_each_lie_within_the_gate() -> None:
    assert judged_surfaces(1.1, 0.9).outcome == "passed"
    assert judged_surfaces(1.0, 1.16).outcome == "failed"


def test_of_many_values_the_typical_difference_counts_and_none_may_be_far_off() -> None:
    assert judged_surfaces(1.0, 1.2, 0.95, 1.05).outcome == "passed"
    all_soft = judged_surfaces(0.8, 0.8, 0.8, 0.8)
    assert all_soft.outcome == "failed"
    assert all_soft.evidence.count("root mean square of 4 differences, surface 0.200 (at most 0.150 passes)") == 1
    one_far = judged_surfaces(*[1.0] * 20, 1.35)
    assert [one.name for one in one_far.measures if not one.passes] == ["surface of frame 20, Cu"]
    assert judged_surfaces(1.0, 1.0, None, 1.0).outcome == "failed"


@given(st.lists(st.floats(0.5, 1.5), min_size=3, max_size=12))
def test_a_wider_gate_never_fails_what_a_narrower_one_passes(parts: list[float]) -> None:
    if judged_surfaces(*parts).outcome == "passed":
        nearer = [1 + (one - 1) / 2 for one in parts]
        assert judged_surfaces(*nearer).outcome == "passed"


def test_phases_are_judged_by_energies_and_not_by_parts() -> None:
    finding = judged_surfaces(1.0, 1.0, 1.0, 1.006, kind="phase")  # of 4 eV/atom: 24 meV/atom off
    assert finding.outcome == "passed"
    assert judged_surfaces(1.03, 1.015, 1.01, 1.0075, kind="phase").outcome == "failed"
