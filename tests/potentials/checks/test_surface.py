"""Surfaces: energies are those of slabs by hand, their order is that of the reference, wrong models fail."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, fcc111, molecule
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.io import read as read_frames
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS

from matgraft.core.findings import Finding
from matgraft.potentials.checks.physical import Case, Seen
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.checks.surface import SurfaceCheck
from matgraft.potentials.simulation.subject import Subject, one_prediction
from matgraft.potentials.simulation.surfaces import terminations


class Bonded(EMT):
    """EMT with an energy for each bond that an atom lacks."""

    def __init__(self, bond=0.0):
        super().__init__()
        self.bond = bond

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        if self.bond and len(self.atoms) > 1:
            near = np.bincount(neighbor_list("i", self.atoms, 3.1), minlength=len(self.atoms))
            self.results["energy"] += self.bond * float((12 - near).sum())


def subject(name="model", **changes):
    make = lambda: Bonded(**changes)  # noqa: E731 - each subject has its own
    return Subject(name, name + repr(changes), make, frozenset({"energy", "forces", "stress"}))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where observations are kept: each model is relaxed once for all tests."""
    return tmp_path_factory.mktemp("kept")


def run(own, folder: Path, foundation=None, references=None, atoms=None) -> Finding:
    atoms = bulk("Cu") if atoms is None else atoms
    structure = Structure("it", atoms, kind_of_structure(atoms), "a test")
    case = Case((structure,), None, CheckSettings(), references=references or {})
    (found,) = run_physical([SurfaceCheck()], own, foundation, case, folder, processes=1)
    return found.finding


def by_hand(slab: Atoms) -> float:
    """J/m² of a slab of copper whose sides are alike, with relaxed ions."""
    energies = {a: one_prediction(bulk("Cu", a=a), EMT())["energy"] for a in (3.5890, 3.5896, 3.5902, 3.5908)}
    held = slab.copy()
    held.calc = EMT()
    BFGS(held, logfile=None).run(fmax=0.01, steps=100)
    area = np.linalg.norm(np.cross(held.cell[0], held.cell[1]))
    return float((held.get_potential_energy() - len(held) * min(energies.values())) / (2 * area) * 16.02177)


def test_copper_has_the_energies_of_slabs_by_hand_and_111_is_the_lowest(kept: Path) -> None:
    found = run(subject(), kept, subject("foundation"))
    values = {one.name: one.value for one in found.measures}
    assert found.outcome == "passed"
    assert values["surface (111)"] == pytest.approx(by_hand(fcc111("Cu", (1, 1, 7), a=3.5899, vacuum=6)), abs=0.01)
    assert values["surface (100)"] == pytest.approx(by_hand(fcc100("Cu", (1, 1, 7), a=3.5899, vacuum=6)), abs=0.01)
    assert values["surface (111)"] < values["surface (100)"] < values["surface (110)"]


def test_dft_counts_first_and_an_order_that_is_wrong_fails(kept: Path) -> None:
    def dft(**values):
        return {"Cu": {f"surface_{name[1:]}_J_per_m2": Reference(value=v, source="mine") for name, v in values.items()}}

    good = dft(p111=1.0, p100=1.1, p110=1.2)
    assert run(subject(), kept, references=good).outcome == "passed"
    turned = run(subject(), kept, references=dft(p111=1.16, p100=1.03))
    failed = [one.name for one in turned.measures if not one.passes]
    assert failed == ["pairs of facets in the wrong order"] and turned.severity == "error"
    bonds = run(subject(bond=0.05), kept, references=good)
    assert {one.name for one in bonds.measures if not one.passes} == {f"surface ({p})" for p in ("111", "100", "110")}
    assert len(read_frames(kept / bonds.actions[-1].structures, index=":")) == 3


def test_a_crystal_that_cleaves_by_itself_fails_without_any_reference(kept: Path) -> None:
    found = run(subject(bond=-0.3), kept)
    assert next(one.name for one in found.measures if not one.passes).startswith("lowest surface energy")


def test_slabs_have_like_sides_and_the_crystals_composition() -> None:
    silicon = terminations(bulk("Si", a=5.43))
    assert list(silicon) == ["100", "110", "111"]
    for slabs in silicon.values():
        for slab in slabs:
            height = slab.cell[2] @ np.cross(slab.cell[0], slab.cell[1]) / np.linalg.norm(np.cross(*slab.cell[:2]))
            assert height > 18.0 and set(slab.symbols) == {"Si"}
    salt = terminations(bulk("NaCl", "rocksalt", a=5.64))
    assert salt["100"] and not salt["111"], "(111) of rock salt is polar"


def test_it_is_for_crystals_alone(kept: Path) -> None:
    found = run(subject(), kept, atoms=molecule("H2O"))
    assert found.outcome == "not applicable" and "molecule" in found.evidence


def test_the_table_has_all_facets() -> None:
    structure = Structure("Cu", bulk("Cu"), "bulk", "a test")
    case = Case((structure,), structure, CheckSettings())
    seen = SurfaceCheck().observe(subject(), case)
    (table,) = SurfaceCheck().figures(Seen(seen, seen), case)
    assert [row.cells[0].text for row in table.rows] == ["(100)", "(110)", "(111)"]
    assert table.rows[0].cells[1].text == table.rows[0].cells[3].text
