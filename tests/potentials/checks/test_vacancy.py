"""Vacancies: energies are those of a relaxation by hand, of elements and compounds; wrong models fail."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.io import read as read_frames
from ase.optimize import BFGS

from matgraft.core.findings import Finding
from matgraft.potentials.checks.physical import Case, Seen
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.checks.vacancy import VacancyCheck
from matgraft.potentials.simulation.defects import supercell
from matgraft.potentials.simulation.subject import Subject


class Shifted(EMT):
    """EMT with an energy for each atom that is no vacancy, by element: another zero; and one for each missing bond."""

    def __init__(self, zero=0.0, bond=0.0):
        super().__init__()
        self.zero, self.bond = zero, bond

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] += self.zero * (np.array(self.atoms.symbols) == "Cu").sum()
        if self.bond and len(self.atoms) > 8:
            near = (self.atoms.get_all_distances(mic=True) < 3.1).sum(1) - 1
            self.results["energy"] += self.bond * float((12 - near).sum())


def subject(name="model", **changes):
    make = lambda: Shifted(**changes)  # noqa: E731 - each subject has its own
    return Subject(name, name + repr(changes), make, frozenset({"energy", "forces", "stress"}))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where observations are kept: each model is relaxed once for all tests."""
    return tmp_path_factory.mktemp("kept")


def run(own, folder: Path, atoms: Atoms, foundation=None, references=None) -> Finding:
    structure = Structure("it", atoms, kind_of_structure(atoms), "a test")
    case = Case((structure,), None, CheckSettings(), references=references or {})
    (found,) = run_physical([VacancyCheck()], own, foundation, case, folder, processes=1)
    return found.finding


def at_rest(atoms: Atoms, cell: bool) -> tuple[Atoms, float]:
    held = atoms.copy()
    held.calc = EMT()
    BFGS(FrechetCellFilter(held) if cell else held, logfile=None).run(fmax=0.002 if cell else 0.01, steps=200)
    return held, held.get_potential_energy()


def test_copper_is_that_of_a_relaxation_by_hand_and_passes(kept: Path) -> None:
    found = run(subject(), kept, bulk("Cu"), subject("foundation", zero=0.5))
    crystal, energy = at_rest(bulk("Cu", cubic=True), cell=True)
    whole = crystal.repeat(2)
    del whole[0]
    whole.rattle(0.01, seed=1)
    expected = at_rest(whole, cell=False)[1] - 31 * energy / 4
    (vacancy, _) = found.measures
    assert found.outcome == "passed" and vacancy.value == pytest.approx(expected, abs=0.005)
    assert vacancy.reference == pytest.approx(vacancy.value, abs=1e-4), "another zero of the energy plays no role"
    assert "in 32 sites" in found.evidence


def test_values_of_dft_come_first_and_a_wrong_one_fails_with_its_structures(kept: Path) -> None:
    dft = {"Cu": {"vacancy_eV": Reference(value=1.25, source="reference.yaml")}}
    assert run(subject(), kept, bulk("Cu"), references=dft).outcome == "passed"
    found = run(subject(bond=0.05), kept, bulk("Cu"), references=dft)
    assert (found.outcome, found.severity) == ("failed", "error") and "reference.yaml: 1.25 eV" in found.evidence
    assert len(read_frames(kept / found.actions[-1].structures)) == 31


def test_a_crystal_that_gains_by_losing_atoms_fails_without_any_reference(kept: Path) -> None:
    found = run(subject(bond=-0.2), kept, bulk("Cu"))
    assert found.outcome == "failed" and found.measures[1].allowed == (0.0, None)


def test_a_compound_has_a_schottky_energy_that_no_chemical_potential_enters(kept: Path) -> None:
    alloy = bulk("Cu", a=3.7, cubic=True)
    alloy.symbols[0] = "Au"
    found = run(subject(), kept, alloy, subject("foundation", zero=-2.0))
    assert found.measures[0].name == "schottky"
    assert found.measures[0].value == pytest.approx(found.measures[0].reference, abs=1e-3)
    crystal, energy = at_rest(alloy, cell=True)
    expected = 4 * energy / 4  # one formula unit goes back to the crystal
    for index, count in ((0, 1), (1, 3)):
        whole = crystal.repeat(2)
        del whole[index]
        expected += count * (at_rest(whole, cell=False)[1] - 8 * energy)
    assert found.measures[0].value == pytest.approx(expected, abs=0.02)


def test_supercells_are_wide_and_what_is_no_simple_crystal_is_left_out() -> None:
    sizes = {name: len(supercell(one)) for name, one in (
        ("Cu", bulk("Cu")), ("Si", bulk("Si")), ("Mo", bulk("Mo")), ("Mg", bulk("Mg")))}  # fmt: skip
    assert sizes == {"Cu": 32, "Si": 64, "Mo": 54 if sizes["Mo"] == 54 else 128, "Mg": sizes["Mg"]}
    assert all(30 <= size <= 150 for size in sizes.values())
    check, slab = VacancyCheck(), fcc111("Cu", (1, 1, 3), vacuum=8)
    case = Case((), Structure("slab", slab, "slab", "a test"), CheckSettings())
    assert "slab" in check.why_not(subject(), case)


def test_the_table_has_model_foundation_and_reference() -> None:
    structure = Structure("Cu", bulk("Cu"), "bulk", "a test")
    dft = {"Cu": {"vacancy_eV": Reference(value=1.25, source="reference.yaml")}}
    case = Case((structure,), structure, CheckSettings(), references=dft)
    seen = VacancyCheck().observe(subject(), case)
    (table,) = VacancyCheck().figures(Seen(seen, seen), case)
    assert [row.cells[0].text for row in table.rows] == ["model", "foundation", "reference.yaml"]
