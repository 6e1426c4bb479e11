"""Bond scans: depth and minimum of a Morse pair are its own; a second minimum, a missing wall, a ring are told."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes

from matgraft.core.findings import Finding
from matgraft.potentials.checks.molecule_scan import MoleculeScanCheck, distinct_bonds
from matgraft.potentials.checks.physical import Case, Seen
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.simulation.subject import Subject


class Morse(Calculator):
    """A Morse curve for the O-H bonds of water, and a spring between its hydrogens; no stress."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - as ASE declares it

    def __init__(self, depth=5.0, bump=0.0, hole=0.0):
        super().__init__()
        self.how = depth, bump, hole

    def one(self, r):
        depth, bump, hole = self.how
        x = np.exp(-2.0 * (r - 0.96))
        return (
            depth * (x * x - 2 * x)
            + bump * np.exp(-(((r - 1.7) / 0.15) ** 2))
            - hole * np.exp(-(((r - 0.72) / 0.06) ** 2))
        )

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        energy, forces = 0.0, np.zeros((3, 3))
        for k in (1, 2):
            vector = self.atoms.positions[k] - self.atoms.positions[0]
            r = np.linalg.norm(vector)
            energy += self.one(r)
            push = (self.one(r + 1e-5) - self.one(r - 1e-5)) / 2e-5 * vector / r
            forces[k] -= push
            forces[0] += push
        self.results = {"energy": float(energy), "forces": forces}


WATER = molecule("H2O")


def subject(name="model", **changes):
    return Subject(name, name + repr(changes), lambda: Morse(**changes), frozenset({"energy", "forces"}))


def run(own, folder: Path, foundation=None, references=None, atoms=WATER) -> Finding:
    structure = Structure("it", atoms, kind_of_structure(atoms), "a test")
    case = Case((structure,), None, CheckSettings(), references=references or {})
    (found,) = run_physical([MoleculeScanCheck()], own, foundation, case, folder, processes=1)
    return found.finding


def test_water_passes_without_stress_and_its_depth_is_that_of_the_curve(tmp_path: Path) -> None:
    found = run(subject(), tmp_path, subject("foundation"))
    depth = next(one for one in found.measures if one.name == "energy to part H-O")
    assert found.outcome == "passed"
    assert depth.value == pytest.approx(Morse().one(2.5 * 0.96) - Morse().one(0.96), abs=0.01)
    assert "H-O 0.96" in found.evidence


@pytest.mark.parametrize(("changes", "which"), [({"bump": 2.0}, "stretched"), ({"hole": 8.0}, "pressed")])
def test_a_second_minimum_fails_on_its_side_unless_the_foundation_has_it(changes, which: str, tmp_path: Path) -> None:
    found = run(subject(**changes), tmp_path)
    assert [one.name for one in found.measures if not one.passes] == [f"fall of the energy, H-O {which}"]
    assert found.severity == "error" and found.actions[-1].structures
    assert run(subject(**changes), tmp_path, subject("foundation", **changes)).outcome == "passed"


def test_the_depth_is_held_against_dft_first(tmp_path: Path) -> None:
    dft = {"H2O": {"bond_H-O_eV": Reference(value=4.9, source="mine")}}
    assert run(subject(), tmp_path, references=dft).outcome == "passed"
    weak = run(subject(depth=3.0), tmp_path, references=dft)
    assert (weak.outcome, weak.severity) == ("failed", "error")


def test_bonds_are_told_apart_by_elements_and_neighbours_and_rings_are_left_out() -> None:
    ethanol, in_rings = distinct_bonds(molecule("CH3CH2OH"))
    assert in_rings == 0 and set(ethanol) == {"C-C", "C-O", "H-O", "C-H"}
    benzene, in_rings = distinct_bonds(molecule("C6H6"))
    assert set(benzene) == {"C-H"} and in_rings == 6
    acid, _ = distinct_bonds(molecule("HCOOH"))
    assert {"C3-O1", "C3-O2"} <= set(acid), "C=O and C-O"
    i, k, side = ethanol["C-O"]
    assert side[k] and not side[i]


def test_it_does_not_apply_to_crystals_and_single_atoms(tmp_path: Path) -> None:
    assert "bulk" in run(subject(), tmp_path, atoms=bulk("Cu")).evidence
    assert run(subject(), tmp_path, atoms=Atoms("O")).evidence == "it has no bond"


def test_curves_of_both_models_share_axes() -> None:
    structure = Structure("water", WATER, "molecule", "a test")
    case = Case((structure,), structure, CheckSettings())
    seen = MoleculeScanCheck().observe(subject(), case)
    (block,) = MoleculeScanCheck().figures(Seen(seen, seen), case)
    figure = block.plots[0].drawings[0].figure
    assert [trace.name for trace in figure.data] == ["foundation", "model"]
    assert figure.layout.yaxis.title.text == "energy (eV)"
