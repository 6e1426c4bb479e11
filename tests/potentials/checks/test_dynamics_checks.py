"""Dynamics with a thermostat: an Einstein crystal has its closed forms, and what breaks off is handed over."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read as read_frames
from ase.stress import full_3x3_to_voigt_6_stress

from matgraft.core.findings import Finding
from matgraft.potentials.checks.molecule_stability import MoleculeStabilityCheck
from matgraft.potentials.checks.npt import NptCheck
from matgraft.potentials.checks.nvt import NvtCheck
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structure_in_motion import StructureInMotionCheck, displacement, distances, reference_of
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.simulation.dynamics import Motion, box_of_motion, simulate, thermal, timestep_fs
from matgraft.potentials.simulation.series import inefficiency, mean_of, mean_of_several, trend_of
from matgraft.potentials.simulation.subject import Subject

COPPER = bulk("Cu", cubic=True) * (2, 2, 2)
STIFFNESS = 4.0
MODULUS = 140 * units.GPa


class Einstein(Calculator):
    """Each atom on a spring at its site of fcc copper, whose cell is a spring of its own.

    Parameters
    ----------
    stiffness
        eV/Å² of each site.
    swollen
        Volume at rest by that of the crystal.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - as ASE declares it

    def __init__(self, stiffness=STIFFNESS, swollen=1.0):
        super().__init__()
        self.stiffness, self.swollen = stiffness, swollen

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        scaled = self.atoms.get_scaled_positions(wrap=False)
        moved = (scaled - np.round(4 * scaled) / 4) @ self.atoms.cell[:]
        forces = -self.stiffness * moved
        volume, rest = self.atoms.get_volume(), self.swollen * COPPER.get_volume()
        energy = self.stiffness * (moved**2).sum() / 2 + MODULUS * (volume - rest) ** 2 / rest / 2
        stress = self.stiffness * moved.T @ moved / volume + MODULUS * (volume / rest - 1) * np.eye(3)
        self.results = {"energy": float(energy), "forces": forces, "stress": full_3x3_to_voigt_6_stress(stress)}


class Springs(Calculator):
    """A molecule of springs: eV/Å² and length at rest of each pair in order."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - as ASE declares it

    def __init__(self, stiffness, lengths):
        super().__init__()
        self.stiffness, self.lengths = np.array(stiffness), np.array(lengths)

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        i, j = np.triu_indices(len(self.atoms), 1)
        apart = self.atoms.positions[j] - self.atoms.positions[i]
        r = np.linalg.norm(apart, axis=1)
        pull = (self.stiffness * (r - self.lengths) / r)[:, None] * apart
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, pull)
        np.add.at(forces, j, -pull)
        self.results = {"energy": float(self.stiffness @ (r - self.lengths) ** 2 / 2), "forces": forces}


def subject(make, name: str = "a test's", quantities=("energy", "forces", "stress")) -> Subject:
    return Subject(name, name, make, frozenset(quantities))


def case_of(
    atoms: Atoms, temperature: float = 300.0, frames: Dataset | None = None, seeds=2, **references: float
) -> Case:
    structure = Structure("s", atoms, kind_of_structure(atoms), "a test")
    settings = CheckSettings(temperature_K=(temperature, temperature), seeds=seeds)
    named = {"s": {name: Reference(value=value, source="a test") for name, value in references.items()}}
    return Case((structure,), structure, settings, frames or Dataset(()), named)


def find(check: PhysicalCheck, model: Subject, case: Case, foundation: Subject | None = None) -> Finding:
    assert not check.why_not(model, case)
    own, *others = (
        check.observation.model_validate_json(check.observe(one, case).model_dump_json())
        for one in (model, *([foundation] if foundation else []))
    )
    seen = Seen(own, others[0] if others else None)
    assert len(check.figures(seen, case)) == 1
    return check.judge(seen, case)


def failing(finding: Finding) -> set[str]:
    assert all(one.gate for one in finding.measures if one.allowed)
    return {one.name for one in finding.measures if not one.passes}


def value(finding: Finding, name: str) -> float:
    (found,) = [one.value for one in finding.measures if one.name == name]
    return found


# --- series ---------------------------------------------------------------------------------------------------------


def correlated(n: int, memory: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = np.zeros(n)
    for k in range(1, n):
        values[k] = memory * values[k - 1] + np.sqrt(1 - memory**2) * random.standard_normal()
    return values


def test_intervals_of_correlated_series_hold_what_they_promise() -> None:
    series = [correlated(800, 0.8, seed) for seed in range(60)]
    assert np.mean([inefficiency(one) for one in series]) == pytest.approx(9.0, rel=0.25)  # (1 + 0.8) / (1 - 0.8)
    means = [abs(mean_of(one).value) <= mean_of(one).margin for one in series]
    times = np.arange(800.0)
    trends = [abs(trend_of(times, one).value) <= trend_of(times, one).margin for one in series]
    assert np.mean(means) > 0.85 and np.mean(trends) > 0.85
    assert trend_of(times, 0.02 * times + series[0]).value == pytest.approx(0.02, abs=0.002)
    both = mean_of_several(series[:2])
    assert both.margin < mean_of(series[0]).margin and both.worth > mean_of(series[0]).worth


def test_series_that_differ_from_each_other_say_that_each_is_worth_little() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        steps = random.standard_normal((3, 60))
        series = [np.zeros(60) for _ in range(3)]
        for one, own in zip(series, steps, strict=True):
            one[0] = own[0] / np.sqrt(1 - 0.95**2)
            for k in range(1, 60):
                one[k] = 0.95 * one[k - 1] + own[k]
        found = mean_of_several(series)
        covered += abs(found.value) <= found.margin
    assert covered > 0.82 * 300, "about the mean of each series it holds in 73 % of the cases"
    apart = [np.full(20, value) + 0.01 * random.standard_normal(20) for value in (1.0, 2.0)]
    assert mean_of_several(apart).margin > 0.4, "two values that differ by 1"


# --- boxes and steps ------------------------------------------------------------------------------------------------


def test_boxes_are_wide_and_vacuum_is_not_repeated() -> None:
    assert len(box_of_motion(bulk("Cu"))) == 64 and len(box_of_motion(bulk("Si"))) == 54
    slab = fcc111("Cu", (1, 1, 3), vacuum=8)
    assert box_of_motion(slab).cell.lengths()[2] == pytest.approx(slab.cell.lengths()[2])
    assert len(box_of_motion(slab)) == 48
    water = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    assert len(box_of_motion(water)) == 3
    assert (timestep_fs(water), timestep_fs(slab)) == (0.5, 2.0)
    assert timestep_fs(Atoms("Li")) == pytest.approx(0.5 * np.sqrt(6.94 / 1.008))


def test_a_thermal_start_has_the_energy_of_a_harmonic_solid() -> None:
    start = thermal(COPPER, subject(Einstein), 500.0, seed=4)
    start.calc = Einstein()
    wanted = 1.5 * 31 * units.kB * 500
    assert start.get_potential_energy() == pytest.approx(wanted, rel=1e-6)
    assert start.get_kinetic_energy() == pytest.approx(wanted, rel=1e-9)
    assert np.abs(start.get_momenta().sum(axis=0)).max() < 1e-9


# --- nvt and npt ----------------------------------------------------------------------------------------------------


def test_a_sound_crystal_holds_its_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NvtCheck, "steps", 200)
    finding = find(NvtCheck(), subject(Einstein), case_of(bulk("Cu", cubic=True), 600.0))
    assert finding.outcome == "passed" and value(finding, "temperature") == pytest.approx(600, rel=0.12)


def test_a_crystal_that_flies_apart_fails_and_hands_over_frames(tmp_path: Path) -> None:
    blown = subject(lambda: Einstein(stiffness=-STIFFNESS))
    case = case_of(bulk("Cu", cubic=True), 600.0)
    (result,) = run_physical([NvtCheck()], blown, None, case, tmp_path, processes=1)
    assert failing(result.finding) >= {"trajectories that broke off"}
    assert "2 broke off, the first after" in result.finding.evidence
    frames = read_frames(tmp_path / result.finding.actions[-1].structures, ":")
    assert len(frames) >= 4 and all(len(one) == 32 for one in frames)


class Refusing(Einstein):
    """Knows no atom far from its site."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        if np.abs(self.results["forces"]).max() > 1.2:
            raise ValueError("an atom has no neighbours")


class Undefined(Einstein):
    """Says no number far from the sites."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        if np.abs(self.results["forces"]).max() > 1.2:
            self.results["forces"] *= np.nan


class Silent(Einstein):
    """Fails without a word far from its sites."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        if np.abs(self.results["forces"]).max() > 1.2:
            raise AssertionError


@pytest.mark.parametrize(
    ("make", "said"),
    [(Refusing, "an atom has no neighbours"), (Undefined, "not finite"), (Silent, "refused the frame: AssertionError")],
)
def test_a_model_that_stops_answering_breaks_the_trajectory_off(make: type, said: str) -> None:
    start = thermal(COPPER, subject(Einstein), 300.0, seed=0)
    hot = Motion(ensemble="nvt", temperature_K=900, steps=400, timestep_fs=2, every=5)
    found = simulate(start, make(), hot)
    assert found.broke is not None and said in found.broke.sentence()
    assert len(found.times_fs) == len(found.kinetic_eV) == len(found.closest) < 81


def test_density_is_that_of_the_crystal_and_of_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NptCheck, "steps", 200)
    cell, true = bulk("Cu", cubic=True), 63.546 * 1.66054 / (3.61**3 / 4)
    case = case_of(cell, 300.0, seeds=1, density_g_cm3=true)
    sound = find(NptCheck(), subject(Einstein), case)
    assert sound.outcome == "passed" and value(sound, "density") == pytest.approx(true, rel=0.01)
    swollen = find(NptCheck(), subject(lambda: Einstein(swollen=1.2)), case)
    assert failing(swollen) == {"density", "density beside the given cell"}
    alone = find(NptCheck(), subject(Einstein), case_of(cell, seeds=1), subject(lambda: Einstein(swollen=1.2)))
    assert failing(alone) == {"density"} and alone.severity == "warning"
    assert "predicts no stress" in NptCheck().why_not(subject(Einstein, quantities=("energy", "forces")), case)


def test_the_volume_fluctuates_as_the_bulk_modulus_says() -> None:
    motion = Motion(ensemble="npt", temperature_K=300, steps=1000, timestep_fs=4, every=5)
    found = simulate(thermal(COPPER, subject(Einstein), 300.0, 0), Einstein(), motion)
    spread = np.sqrt(units.kB * 300 * COPPER.get_volume() / MODULUS)
    assert np.std(found.volume_A3[40:]) == pytest.approx(spread, rel=0.4)
    assert np.mean(found.volume_A3[40:]) == pytest.approx(COPPER.get_volume(), rel=0.01)


# --- structure in motion --------------------------------------------------------------------------------------------


def frames_of(kelvin: float, n: int = 40, tag: str = "300 K") -> Dataset:
    random = np.random.default_rng(0)
    samples = []
    for i in range(n):
        atoms = COPPER.copy()
        atoms.positions += np.sqrt(units.kB * kelvin / STIFFNESS) * random.standard_normal((32, 3))
        samples.append(Sample(atoms, {}, {"temperature": tag}, file="md.xyz", index=i))
    return Dataset(tuple(samples))


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matgraft.potentials.checks.structure_in_motion.STEPS", 400)


def test_motion_like_that_of_the_frames_passes_and_a_stiff_model_does_not(brief: None) -> None:
    case = case_of(bulk("Cu"), frames=frames_of(300))
    sound = find(StructureInMotionCheck(), subject(Einstein), case)
    assert sound.outcome == "passed", sound.evidence
    assert value(sound, "mean square displacement") == pytest.approx(3 * units.kB * 300 / STIFFNESS, rel=0.3)
    stiff = find(StructureInMotionCheck(), subject(lambda: Einstein(stiffness=20.0)), case, subject(Einstein))
    assert failing(stiff) == {"overlap error Cu-Cu", "mean square displacement"}
    assert stiff.severity == "error" and "(the foundation:" in stiff.evidence


def test_reference_trajectories_are_told_by_composition_temperature_and_size() -> None:
    other, few = frames_of(300, tag="nothing"), frames_of(300, n=6)
    gold = frames_of(300).map(lambda sample: Sample(Atoms("Au32", sample.content.positions), {}, sample.tags))
    for frames in (other, few, gold, Dataset(())):
        assert "no 10 labelled frames" in StructureInMotionCheck().why_not(
            subject(Einstein), case_of(bulk("Cu"), frames=frames)
        )
    found = reference_of(case_of(bulk("Cu"), frames=frames_of(300)))
    assert found is not None and (found.temperature_K, len(found.frames)) == (300.0, 40)
    check, one = StructureInMotionCheck(), case_of(bulk("Cu"), frames=frames_of(300))
    assert check.key(subject(Einstein), one) != check.key(subject(Einstein), case_of(bulk("Cu"), frames=frames_of(310)))


def test_distances_and_displacements_of_known_frames() -> None:
    alloy = COPPER.copy()
    alloy.numbers[:16] = 28
    assert [one.pair for one in distances([alloy])] == ["Ni-Ni", "Ni-Cu", "Cu-Cu"]
    (crystal,) = distances([COPPER])
    counts = np.array(crystal.parts)
    near, next_ = counts[25], counts[36]  # 12 neighbours at 2.55 Å, 6 at 3.61 Å
    assert near / next_ == pytest.approx(2.0)
    random = np.random.default_rng(0)
    gas = [Atoms("Ar300", 20 * random.random((300, 3)), cell=[20] * 3, pbc=True) for _ in range(10)]
    assert np.mean(distances(gas)[0].rdf[20:]) == pytest.approx(1.0, abs=0.03)
    assert displacement(gas) is None
    wrapped = [sample.content for sample in frames_of(300)]
    unwrapped = displacement(wrapped)
    for atoms in wrapped:
        atoms.wrap()
    assert unwrapped == pytest.approx(3 * units.kB * 300 / STIFFNESS, rel=0.1) == displacement(wrapped)


# --- molecules ------------------------------------------------------------------------------------------------------

WATER = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
LENGTHS = (0.96, 0.96, 1.52)


def springs(*stiffness: float, lengths=LENGTHS) -> Subject:
    return subject(lambda: Springs(stiffness, lengths), quantities=("energy", "forces"))


def test_a_molecule_keeps_its_bonds_or_is_caught(tmp_path: Path) -> None:
    check, case = MoleculeStabilityCheck(), case_of(WATER, 600.0)
    sound = find(check, springs(40, 40, 10), case)
    assert sound.outcome == "passed" and "2 bonds" in sound.evidence and "0 broke or formed" in sound.evidence
    (result,) = run_physical([check], springs(40, -2, 0), None, case, tmp_path, processes=1)
    assert "bonds that broke or formed" in failing(result.finding) and "O0-H2 broke after" in result.finding.evidence
    assert (tmp_path / result.finding.actions[-1].structures).is_file()
    pairs = [change.atoms for change in check.observe(springs(40, -2, 0), case).changes]
    assert (0, 2) in pairs and len(pairs) == len(set(pairs))  # once, though it breaks in both trajectories
    joined = find(check, springs(40, 40, 40, lengths=(0.96, 0.96, 0.6)), case)
    assert "H1-H2 formed after" in joined.evidence and joined.outcome == "failed"


def test_a_molecule_across_the_face_of_its_box_has_its_bonds() -> None:
    boxed = WATER.copy()
    boxed.set_cell([12, 12, 12])
    boxed.pbc = True
    boxed.positions[1] -= [12, 0, 0]
    check = MoleculeStabilityCheck()
    assert not check.why_not(springs(1, 1, 1), case_of(boxed))
    apart = Atoms("Ar2", [[0, 0, 0], [5, 0, 0]])
    assert "no two atoms are bonded" in check.why_not(springs(1), case_of(apart))


# --- what a trajectory may be ---------------------------------------------------------------------------------------


class Wordless(Einstein):
    """Says no number at all."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        self.results["forces"] *= np.nan


def test_distances_of_frames_that_nobody_saw_are_not_judged() -> None:
    found = find(NvtCheck(), subject(Wordless), case_of(COPPER, seeds=1))
    assert failing(found) == {"trajectories that broke off"}
    assert "covalent radii" not in found.evidence and "not finite" in found.evidence


def consecutive(every: int) -> list[Atoms]:
    """Twenty frames of dynamics at 300 K, so many timesteps of 2 fs apart; the springs have a period of 255 fs."""
    seen: list[Atoms] = []
    start = thermal(COPPER, subject(Einstein), 300.0, seed=3)
    motion = Motion(ensemble="nve", temperature_K=300, steps=19 * every, timestep_fs=2, every=every)
    simulate(start, Einstein(), motion, lambda now, _: seen.append(now.copy()))
    return seen


def test_frames_over_less_than_a_vibration_say_nothing_of_its_size() -> None:
    assert displacement(consecutive(1)) is None
    assert displacement(consecutive(40)) == pytest.approx(3 * units.kB * 300 / STIFFNESS, rel=0.3)
