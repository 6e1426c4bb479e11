"""Short-range repulsion: sound pairs pass, holes and flat walls are found with their distance and height."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.data import covalent_radii
from ase.io import read as read_frames
from scipy.interpolate import PchipInterpolator

from matgraft.core.findings import Finding
from matgraft.potentials.checks.physical import FOUNDATION, Case, Seen
from matgraft.potentials.checks.repulsion import RepulsionCheck
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.simulation.subject import Subject

CU = 2 * covalent_radii[29]


class Pair(Calculator):
    """A pair potential from a function of the distance in Å and its derivative."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - as ASE declares it

    def __init__(self, energy, slope):
        super().__init__()
        self.energy, self.slope = energy, slope

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        vector = self.atoms.positions[1] - self.atoms.positions[0]
        distance = np.linalg.norm(vector)
        push = -self.slope(distance) * vector / distance
        self.results = {"energy": self.energy(distance), "forces": np.array([-push, push])}


def morse(depth=3.0, bond=CU, rho=4.0):
    """Morse, with its wall in closed form."""
    return Pair(
        lambda r: depth * (np.exp(-2 * rho * (r / bond - 1)) - 2 * np.exp(-rho * (r / bond - 1))),
        lambda r: depth * 2 * rho / bond * (np.exp(-rho * (r / bond - 1)) - np.exp(-2 * rho * (r / bond - 1))),
    )


def with_hole(at, depth, width=0.08):
    sound = morse()
    return Pair(
        lambda r: sound.energy(r) - depth * np.exp(-(((r - at) / width) ** 2)),
        lambda r: sound.slope(r) + depth * 2 * (r - at) / width**2 * np.exp(-(((r - at) / width) ** 2)),
    )


def subject(make, name="model"):
    return Subject(name, name, make, frozenset({"energy", "forces"}))


def run(make, folder: Path, *atoms: Atoms, foundation=None) -> Finding:
    structures = tuple(Structure(f"s{i}", one, kind_of_structure(one), "a test") for i, one in enumerate(atoms))
    against = None if foundation is None else subject(foundation, "foundation")
    case = Case(structures, None, CheckSettings())
    (found,) = run_physical([RepulsionCheck()], subject(make), against, case, folder, processes=1)
    return found.finding


def test_an_alloy_of_emt_repels_in_all_its_pairs_and_the_heights_are_those_of_the_calculator(tmp_path: Path) -> None:
    alloy = bulk("Cu", cubic=True)
    alloy.symbols[0] = "Au"
    found = run(EMT, tmp_path, alloy)
    assert found.outcome == "passed" and found.evidence.startswith("Every pair of elements (3) repels")
    walls = {one.name: one.value for one in found.measures if one.name.startswith("wall")}
    assert set(walls) == {"wall, Cu-Cu", "wall, Cu-Au", "wall, Au-Au"}

    def energy(distance):
        return Atoms("Cu2", [[0, 0, 0], [0, 0, distance]], calculator=EMT()).get_potential_energy()

    lowest = min(energy(r) for r in np.linspace(0.7, 1.0, 60) * CU)
    assert walls["wall, Cu-Cu"] == pytest.approx(energy(0.5 * CU) - lowest, abs=0.02)


def test_a_hole_in_reach_fails_and_dimers_of_its_pair_are_handed_over(tmp_path: Path) -> None:
    found = run(lambda: with_hole(0.75 * CU, 12.0), tmp_path, bulk("Cu"))
    assert (found.outcome, found.severity) == ("failed", "error")
    assert "Cu-Cu falls by" in found.evidence and "strategy.name" in found.option
    labelled = read_frames(tmp_path / found.actions[-1].structures, index=":")
    distances = sorted(one.get_distance(0, 1) / CU for one in labelled)
    assert distances[0] == pytest.approx(0.5) and distances[-1] == pytest.approx(0.9) and len(labelled) == 7


def test_a_hole_out_of_reach_passes_and_is_told(tmp_path: Path) -> None:
    found = run(lambda: with_hole(0.53 * CU, 60.0), tmp_path, bulk("Cu"))
    assert found.outcome == "passed" and "Holes out of reach: Cu-Cu at 1.4" in found.evidence


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Pair(lambda r: 0.3 * (CU / r), lambda r: -0.3 * CU / r**2), "a wall of 0.35 eV"),  # 0.3 (2 - 1/1.2)
        (lambda: Pair(lambda r: -5.0 * CU / r, lambda r: 5.0 * CU / r**2), "bond at 0.50 of the radii"),
        (lambda: Pair(lambda r: float("nan"), lambda r: 0.0), "not finite"),
        (lambda: Pair(morse().energy, lambda r: -morse().slope(r)), "push of at least -"),  # forces of the wrong sign
    ],
)
def test_what_does_not_repel_fails(make, said: str, tmp_path: Path) -> None:
    found = run(make, tmp_path, bulk("Cu"))
    assert found.outcome == "failed" and said in found.evidence


def test_a_hole_that_the_foundation_has_is_not_held_against_the_tuned_model(tmp_path: Path) -> None:
    holed = with_hole(0.75 * CU, 12.0)
    same = run(lambda: holed, tmp_path / "a", bulk("Cu"), foundation=lambda: with_hole(0.75 * CU, 12.5))
    assert same.outcome == "passed" and FOUNDATION in {one.reference_from for one in same.measures}
    deeper = run(lambda: with_hole(0.85 * CU, 12.0), tmp_path / "b", bulk("Cu"), foundation=lambda: holed)
    assert (deeper.outcome, deeper.severity) == ("failed", "warning")


def test_short_bonds_of_real_dimers_pass(tmp_path: Path) -> None:
    bond = 1.94  # Å, Mo2 (Efremov et al., J. Mol. Spectrosc. 73, 430 (1978)), k = 6.33 mdyn/Å, D = 4.5 eV
    rho = bond * np.sqrt(6.33 * 6.2415 / (2 * 4.5))
    found = run(lambda: morse(4.5, bond, rho), tmp_path, bulk("Mo"))
    assert found.outcome == "passed"


def test_a_molecule_counts_and_an_unknown_element_is_named(tmp_path: Path) -> None:
    water = molecule("H2O")
    found = run(lambda: MorsePotential(epsilon=3.0, r0=0.95, rho0=3.0), tmp_path, water)
    assert {one.name.partition(", ")[2] for one in found.measures} == {"H-H", "H-O", "O-O"}
    narrow = Subject("narrow", "narrow", EMT, frozenset({"energy", "forces"}), frozenset({"Cu"}))
    case = Case((Structure("water", water, "molecule", "a test"),), None, CheckSettings())
    assert RepulsionCheck().why_not(narrow, case) == "the model does not know H, O"


def test_curves_of_model_and_foundation_share_axes_with_units(tmp_path: Path) -> None:
    case = Case((Structure("Cu", bulk("Cu"), "bulk", "a test"),), None, CheckSettings())
    check, own = RepulsionCheck(), subject(morse)
    seen = check.observe(own, case)
    (block,) = check.figures(Seen(seen, seen), case)
    figure = block.plots[0].drawings[0].figure
    assert [trace.name for trace in figure.data] == ["foundation", "model"]
    assert figure.layout.xaxis.title.text == "distance (Å)" and len(block.legend) == 2


MO2 = {
    1.54: -4.2, 1.66: -9.6, 1.72: -11.1, 1.79: -12.3, 1.85: -13.1, 1.91: -13.5, 1.97: -13.6, 2.03: -13.45, 2.16: -13.0,
    2.28: -12.56, 2.4: -12.06, 2.53: -11.4, 2.65: -10.82, 2.77: -10.39, 2.9: -10.19, 2.96: -10.18, 3.08: -10.25,
    3.2: -10.33, 3.33: -10.39, 3.45: -10.44, 3.57: -10.45, 3.7: -10.44,
}  # fmt: skip
"""Å -> eV of two atoms of molybdenum, by a network that was tuned on the bulk: the bond of Mo2 is 1.94 Å long."""


def mo2(outer=0.0, inner=1.0):
    """Molybdenum with an outer minimum that is so much deeper, in eV, and a bond that is so many times as deep."""
    curve = PchipInterpolator(list(MO2), list(MO2.values()))
    step = 1e-4

    def energy(r):
        own = curve(r)
        return float(own + (inner - 1) * min(own + 10.4, 0.0) - outer * np.exp(-(((r - 3.5) / 0.3) ** 2)))

    return Pair(energy, lambda r: (energy(r + step) - energy(r - step)) / (2 * step))


def test_a_shelf_outside_a_short_bond_is_no_bond_and_the_bond_no_hole(tmp_path: Path) -> None:
    found = run(mo2, tmp_path, bulk("Mo"))
    assert found.outcome == "passed"
    (start,) = [one.value for one in found.measures if one.name.startswith("bond over")]
    assert start == pytest.approx(1.97 / (2 * covalent_radii[42]), abs=0.02)


def test_a_bond_behind_another_bond_is_a_hole(tmp_path: Path) -> None:
    found = run(lambda: mo2(outer=1.5), tmp_path, bulk("Mo"))
    assert found.outcome == "failed" and "behind a wall" in found.evidence


def test_a_bond_deeper_than_any_real_one_fails(tmp_path: Path) -> None:
    found = run(lambda: mo2(inner=5.0), tmp_path, bulk("Mo"))
    assert [one.name for one in found.measures if not one.passes] == ["bond, Mo-Mo"]
    assert "eV deep" in found.evidence


def test_energies_that_fall_all_the_way_have_neither_bond_nor_wall(tmp_path: Path) -> None:
    found = run(lambda: Pair(lambda r: -8.0 / r, lambda r: 8.0 / r**2), tmp_path, bulk("Cu"))
    failed = {one.name for one in found.measures if not one.passes}
    assert {"wall, Cu-Cu", "bond over radii, Cu-Cu"} <= failed
