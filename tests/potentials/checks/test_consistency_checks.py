"""Conservation, differences, smoothness, extensivity: sound calculators pass, and each planted fault is caught."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.stress import full_3x3_to_voigt_6_stress
from pymatgen.optimization.neighbors import find_points_in_spheres

from matgraft.core.findings import Finding
from matgraft.potentials.checks.cutoff_smoothness import CutoffSmoothnessCheck, jumps
from matgraft.potentials.checks.extensivity import ExtensivityCheck
from matgraft.potentials.checks.finite_differences import FiniteDifferencesCheck
from matgraft.potentials.checks.nve import NveCheck
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure, kind_of_structure, structures_of
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.simulation.subject import Subject

ALL = frozenset({"energy", "forces", "stress"})
CUTOFF_A = 5.5


class Morse(Calculator):
    """Copper by a Morse potential (Girifalco and Weizer 1959), switched off smoothly; what it says can be spoilt.

    Parameters
    ----------
    scale
        Forces are multiplied by it.
    wind
        Force on each atom along x in eV/Å that no energy stands for.
    kink
        Force in eV/Å that each pair loses suddenly at 4.6 Å.
    offset
        eV added to the energy of any structure.
    slope
        eV/Å by which the energy of each atom rises along the laboratory's x.
    stress
        The stress is multiplied by it.
    half
        Whether energies and forces are rounded to half precision.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - as ASE declares it

    def __init__(self, *, scale=1.0, wind=0.0, kink=0.0, offset=0.0, slope=0.0, stress=1.0, half=False):
        super().__init__()
        self.scale, self.wind, self.kink, self.offset = scale, wind, kink, offset
        self.slope, self.stress, self.half = slope, stress, half

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        cell = self.atoms.cell.complete()[:]
        images = np.array(self.atoms.pbc)
        i, r, vectors = pairs(self.atoms.positions, cell, images, CUTOFF_A)
        energy, slope = self.pair(r)
        per_atom = np.bincount(i, energy / 2, len(self.atoms))
        pull = slope[:, None] * vectors / r[:, None]
        forces = np.stack([np.bincount(i, pull[:, k], len(self.atoms)) for k in range(3)], 1)
        total = per_atom.sum() + self.offset + self.slope * self.atoms.positions[:, 0].sum()
        forces = self.scale * forces + np.array([self.wind - self.slope, 0, 0])
        if self.half:
            per_atom, forces = (np.float64(np.float16(one)) for one in (per_atom - 3.0, forces))
            total = per_atom.sum()
        self.results = {"energy": float(total), "forces": forces}
        if images.all():
            stress = (pull[:, :, None] * vectors[:, None]).sum(0) / 2 / self.atoms.get_volume()
            self.results["stress"] = self.stress * full_3x3_to_voigt_6_stress(stress)

    def pair(self, r):
        depth, steep, place = 0.3429, 1.3588, 2.866
        e = np.exp(-steep * (r - place))
        energy, slope = depth * (e**2 - 2 * e), -2 * steep * depth * (e**2 - e)
        x = np.clip((r - 4.5) / (CUTOFF_A - 4.5), 0, 1)
        switch, falling = 1 - 10 * x**3 + 15 * x**4 - 6 * x**5, -30 * x**2 * (1 - x) ** 2 / (CUTOFF_A - 4.5)
        kinked = self.kink * np.minimum(r - 4.6, 0)
        return energy * switch + kinked, slope * switch + energy * falling + self.kink * (r < 4.6)


def pairs(positions, cell, periodic, cutoff):
    """Both ways round: centre, Å, vector to the other."""
    i, j, image, r = find_points_in_spheres(positions, positions, cutoff, periodic.astype(np.int64), cell, tol=1e-8)
    apart = r > 1e-8
    return i[apart], r[apart], (positions[j] + image @ cell - positions[i])[apart]


FAULTS = {
    "sound": {},
    "forces scaled": {"scale": 1.2},
    "forces softened": {"scale": 0.98},
    "wind": {"wind": 0.05},
    "kink": {"kink": 0.05},
    "a constant a structure": {"offset": 0.5},
    "depends on place": {"slope": 0.02},
    "sign of the stress": {"stress": -1.0},
    "half precision": {"half": True},
}
TRIMER = Atoms("Cu3", [[0, 0, 0], [2.4, 0, 0], [1.2, 2.1, 0]])
SLAB = fcc111("Cu", (1, 1, 3), vacuum=8)


def subject(make: Callable[[], Calculator]) -> Subject:
    return Subject("a test's", "a test's", make, ALL)


def spoilt(fault: str) -> Subject:
    return subject(lambda: Morse(**FAULTS[fault]))


def case_of(atoms: Atoms, temperature: float = 800.0) -> Case:
    structure = Structure("s", atoms, kind_of_structure(atoms), "a test")
    return Case((structure,), structure, CheckSettings(temperature_K=(temperature, temperature)))


def find(check: PhysicalCheck, model: Subject, atoms: Atoms) -> Finding:
    case = case_of(atoms)
    assert not check.why_not(model, case)
    seen = check.observation.model_validate_json(check.observe(model, case).model_dump_json())
    assert len(check.figures(Seen(seen), case)) == 1
    return check.judge(Seen(seen), case)


def failing(finding: Finding) -> set[str]:
    assert (finding.outcome == "failed") == any(not one.passes for one in finding.measures)
    assert all(one.gate for one in finding.measures)
    return {one.name for one in finding.measures if not one.passes}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trajectories of a test: enough for a trend."""
    monkeypatch.setattr("matgraft.potentials.checks.nve.STEPS", 50)
    monkeypatch.setattr("matgraft.potentials.checks.nve.COARSE_STEPS", 25)


FORCES, STRESS = "forces against differences", "stress against differences"
ORDER, DRIFT = "order of the fluctuation in the timestep", "drift of the total energy"


@pytest.mark.parametrize(
    ("fault", "caught"),
    [
        ("sound", set()),
        ("forces scaled", {FORCES}),
        ("forces softened", {FORCES}),
        ("wind", {FORCES}),
        ("depends on place", {STRESS}),
        ("sign of the stress", {STRESS}),
        ("half precision", {FORCES, STRESS}),
    ],
)
def test_forces_and_stress_that_are_no_gradient_are_caught(fault: str, caught: set[str]) -> None:
    assert failing(find(FiniteDifferencesCheck(), spoilt(fault), bulk("Cu"))) == caught


def test_a_constant_factor_is_named_and_slabs_and_molecules_have_forces_alone() -> None:
    check = FiniteDifferencesCheck()
    assert "1.20 times the gradient" in find(check, spoilt("forces scaled"), bulk("Cu")).evidence
    assert "-1.00 times the gradient" in find(check, spoilt("sign of the stress"), bulk("Cu")).evidence
    for atoms in (SLAB, TRIMER):
        sound, scaled = (find(check, spoilt(fault), atoms) for fault in ("sound", "forces scaled"))
        assert [one.name for one in sound.measures] == [FORCES]
        assert (failing(sound), failing(scaled)) == (set(), {FORCES})
    assert "single atom" in check.why_not(spoilt("sound"), case_of(Atoms("Cu")))


class Single(Morse):
    """Adds what single precision does to the energy of an atom at -5 eV."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        seen = int(1e9 * abs(self.atoms.positions.sum())) % 2**32
        self.results["energy"] += 3e-7 * np.random.default_rng(seed=seen).standard_normal(len(self.atoms)).sum()


def test_rounding_of_single_precision_is_no_fault(short: None) -> None:
    single = subject(Single)
    for check in (FiniteDifferencesCheck(), CutoffSmoothnessCheck(), ExtensivityCheck(), NveCheck()):
        assert not failing(find(check, single, bulk("Cu"))), check.code


@pytest.mark.parametrize(
    ("fault", "caught"),
    [("sound", set()), ("forces scaled", {ORDER}), ("wind", {ORDER, DRIFT}), ("half precision", {ORDER})],
)
def test_energy_is_conserved_by_gradients_alone(fault: str, caught: set[str], short: None) -> None:
    assert failing(find(NveCheck(), spoilt(fault), bulk("Cu"))) == caught


def test_sound_energies_fluctuate_in_second_order_and_faults_without_place_are_not_blamed(short: None) -> None:
    for fault, atoms in (("sound", SLAB), ("sound", TRIMER), ("a constant a structure", bulk("Cu"))):
        finding = find(NveCheck(), spoilt(fault), atoms)
        order = next(one.value for one in finding.measures if one.name == ORDER)
        assert not failing(finding) and order == pytest.approx(2.0, abs=0.15)


def test_a_trajectory_that_blows_up_hands_over_its_last_frames(short: None, tmp_path: Path) -> None:
    blown = subject(lambda: Morse(scale=-1.0))
    case = case_of(bulk("Cu"), 3000.0)
    (result,) = run_physical([NveCheck()], blown, None, case, tmp_path, processes=1)
    assert result.finding.outcome == "failed" and result.finding.severity == "error"
    assert "after" in result.finding.evidence and (tmp_path / result.finding.actions[-1].structures).is_file()


@pytest.mark.parametrize("atoms", [bulk("Cu"), SLAB, TRIMER], ids=["bulk", "slab", "molecule"])
def test_a_kink_is_caught_wherever_neighbours_cross_it(atoms: Atoms) -> None:
    assert not failing(find(CutoffSmoothnessCheck(), spoilt("sound"), atoms))
    finding = find(CutoffSmoothnessCheck(), spoilt("kink"), atoms)
    assert failing(finding) == {"jump of a force"}
    assert 0.02 < next(one.value for one in finding.measures if one.name == "jump of a force") < 0.2


def test_smooth_calculators_have_no_jump_and_one_that_is_cut_has() -> None:
    smooth = subject(lambda: LennardJones(epsilon=0.1, sigma=2.3, rc=6.5, ro=5.0, smooth=True))
    cut = subject(lambda: LennardJones(epsilon=1.0, sigma=2.3, rc=4.6))
    found = [failing(find(CutoffSmoothnessCheck(), one, bulk("Cu"))) for one in (subject(EMT), smooth, cut)]
    assert found == [set(), set(), {"jump of a force"}]


def test_a_jump_is_measured_beside_steep_smooth_curves() -> None:
    x = np.linspace(1, 2, 80)
    steep = x**-12
    stepped = steep + 0.01 * (x > 1.7)
    found = jumps(np.stack([steep, stepped], 1)).max(axis=0)
    assert found[0] < 3e-4 and found[1] == pytest.approx(0.01, rel=0.05)


PLACE = {f"{what}: {how}" for what, how in (("energy", "shifted"), ("energy", "rotated"), ("energy", "two of it"))}


@pytest.mark.parametrize(
    ("fault", "caught"),
    [
        ("sound", set()),
        ("forces scaled", set()),
        ("wind", {"net force on an atom", "forces: rotated"}),
        ("a constant a structure", {"energy: two of it"}),
        ("depends on place", {*PLACE, "net force on an atom", "forces: rotated"}),
    ],
)
def test_what_depends_on_description_is_caught(fault: str, caught: set[str]) -> None:
    assert failing(find(ExtensivityCheck(), spoilt(fault), bulk("Cu"))) == caught


class Ordered(Morse):
    """The first atom is bound more strongly."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["energy"] += 0.1 * float(np.linalg.norm(self.atoms.positions[0] - self.atoms.positions[-1]))


def test_order_matters_to_nobody_and_molecules_add_up() -> None:
    assert "energy: in another order" in failing(find(ExtensivityCheck(), subject(Ordered), TRIMER))
    for atoms in (SLAB, TRIMER):
        assert not failing(find(ExtensivityCheck(), spoilt("sound"), atoms))
    assert failing(find(ExtensivityCheck(), spoilt("a constant a structure"), TRIMER)) == {"energy: two of it"}


def test_beyond_its_range_nothing_acts_on_an_atom(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not known" in find(ExtensivityCheck(), spoilt("sound"), bulk("Cu")).evidence
    for reach, caught in ((CUTOFF_A, set()), (2.8, {"forces: an atom out of range moves"})):
        monkeypatch.setattr("matgraft.potentials.checks.extensivity.range_of", lambda _, reach=reach: reach)
        finding = find(ExtensivityCheck(), spoilt("sound"), bulk("Cu"))
        assert failing(finding) == caught and (f"beyond {reach:.0f} Å" in finding.evidence or caught)
    monkeypatch.setattr("matgraft.potentials.checks.extensivity.range_of", lambda _: CUTOFF_A)
    assert not failing(find(ExtensivityCheck(), spoilt("sound"), TRIMER))


def test_the_quick_checks_pass_a_network(chgnet: Potential) -> None:
    of_chgnet = Subject.of_potential("chgnet", chgnet)
    for check in (FiniteDifferencesCheck(), ExtensivityCheck()):
        assert not failing(find(check, of_chgnet, Atoms("Si2", [[0, 0, 0], [2.3, 0, 0]]))), check.code


def test_the_foundation_is_not_observed_where_a_limit_needs_no_comparison(tmp_path: Path) -> None:
    tuned, foundation = spoilt("sound"), Subject("foundation", "foundation", Morse, ALL)
    run_physical([ExtensivityCheck()], tuned, foundation, case_of(TRIMER), tmp_path, processes=1)
    assert len(list((tmp_path / "observations").iterdir())) == 1


def test_a_molecule_that_a_face_of_its_box_cuts_is_read_as_one(tmp_path: Path) -> None:
    whole = Atoms("Cu3", [[-0.9, 0.4, 19], [1.4, 0.4, 19], [0.2, -1.6, 20]], cell=[[20, 0, 0], [4, 19, 0], [0, 3, 21]])
    cut = whole.copy()
    cut.pbc = True
    cut.wrap()
    cut.write(tmp_path / "cut.extxyz")
    (found,) = structures_of([tmp_path / "cut.extxyz"])
    assert found.kind == "molecule"
    assert found.atoms.get_all_distances() == pytest.approx(whole.get_all_distances())
    model = Subject("EMT", "emt", EMT, frozenset({"energy", "forces"}))
    assert find(ExtensivityCheck(), model, found.atoms).outcome == "passed"
