"""Phases: energies above the user's crystal are those of relaxations by hand; a wrong order fails."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from ase.neighborlist import neighbor_list

from matgraft.core.findings import Finding
from matgraft.potentials.checks.phases import PhasesCheck
from matgraft.potentials.checks.physical import FOUNDATION, Case, Seen
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.simulation.subject import Subject, one_prediction


class Favoured(EMT):
    """EMT with an energy for each atom that has not twelve neighbours within the volume's own first shell."""

    def __init__(self, open_eV=0.0):
        super().__init__()
        self.open_eV = open_eV

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        if self.open_eV:
            size = (self.atoms.get_volume() / len(self.atoms)) ** (1 / 3)
            near = np.bincount(neighbor_list("i", self.atoms, 1.3 * size), minlength=len(self.atoms))
            self.results["energy"] += self.open_eV * float((near != 12).sum())


def subject(name="model", **changes):
    make = lambda: Favoured(**changes)  # noqa: E731 - each subject has its own
    return Subject(name, name + repr(changes), make, frozenset({"energy", "forces", "stress"}))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where observations are kept: each model is relaxed once for all tests."""
    return tmp_path_factory.mktemp("kept")


def run(own, folder: Path, *atoms: Atoms, foundation=None, references=None) -> Finding:
    structures = tuple(Structure(f"mine{i}", one, kind_of_structure(one), "a test") for i, one in enumerate(atoms))
    case = Case(structures, None, CheckSettings(), references=references or {})
    (found,) = run_physical([PhasesCheck()], own, foundation, case, folder, processes=1)
    return found.finding


def lowest(make) -> float:
    """Lowest energy per atom over the volume, by ASE's equation of state."""
    cells = [make(s) for s in np.linspace(0.97, 1.03, 7)]
    energies = [float(one_prediction(one, EMT())["energy"]) / len(one) for one in cells]
    volumes = [one.get_volume() / len(one) for one in cells]
    return float(EquationOfState(volumes, energies, eos="birchmurnaghan").fit()[1])


def test_copper_has_its_prototypes_above_it_as_by_hand(kept: Path) -> None:
    found = run(subject(), kept, bulk("Cu"), foundation=subject("foundation"))
    fcc, bcc = lowest(lambda s: bulk("Cu", a=3.59 * s)), lowest(lambda s: bulk("Cu", "bcc", a=2.86 * s))
    values = {one.name: one.value for one in found.measures}
    assert found.outcome == "passed"
    assert values["Cu bcc above mine0"] == pytest.approx(bcc - fcc, abs=1e-3)
    assert set(values) == {f"Cu {name} above mine0" for name in ("hcp", "bcc", "diamond")} | {
        "Cu pairs of crystals in the wrong order"
    }


def test_an_order_that_turns_fails_and_dft_counts_first(kept: Path) -> None:
    turned = run(subject(open_eV=-0.2), kept, bulk("Cu"), foundation=subject("foundation"))
    failed = {one.name for one in turned.measures if not one.passes}
    assert "Cu bcc above mine0" in failed
    assert (turned.outcome, turned.severity) == ("failed", "warning")
    assert {one.reference_from for one in turned.measures} == {FOUNDATION}
    dft = {"Cu": {"bcc_eV_per_atom": Reference(value=0.036, source="mine")}}
    wrong = run(subject(open_eV=-0.2), kept, bulk("Cu"), references=dft)
    assert (wrong.outcome, wrong.severity) == ("failed", "error")
    assert "mine: 0.036" in wrong.evidence


def test_structures_of_one_composition_compete_and_others_do_not(kept: Path) -> None:
    ordered = bulk("Cu", cubic=True, a=3.7)
    ordered.symbols[0] = "Au"
    double = ordered.repeat((1, 1, 2))
    double.symbols[[0, 1]] = ["Cu", "Au"]  # Cu3Au with an antiphase
    found = run(subject(), kept, ordered, double, foundation=subject("foundation"))
    assert "AuCu3, eV/atom above mine0" in found.evidence.replace("Cu3Au", "AuCu3")
    alone = run(subject(), kept, ordered)
    assert alone.outcome == "not applicable"


def test_the_table_has_all_crystals() -> None:
    structure = Structure("Cu", bulk("Cu"), "bulk", "a test")
    case = Case((structure,), None, CheckSettings())
    seen = PhasesCheck().observe(subject(), case)
    (table,) = PhasesCheck().figures(Seen(seen, seen), case)
    assert [row.cells[0].text.split(",")[0] for row in table.rows] == ["Cu Cu", "Cu hcp", "Cu bcc", "Cu diamond"]
    assert table.rows[2].cells[1].text == "Im-3m"


def test_references_of_a_formula_in_any_order_are_compared_with_and_noted_as_read() -> None:
    salt = bulk("NaCl", "rocksalt", a=5.64)
    structure = Structure("salt.cif", salt, "bulk", "a test")
    known = {"NaCl": {"CsCl_eV_per_atom": Reference(value=0.1, source="mine")}}
    case = Case((structure,), None, CheckSettings(), references=known)
    found = case.reference_of("salt.cif", structure.formula, "CsCl_eV_per_atom")
    assert found is not None and found.value == 0.1 and case.asked == {"CsCl_eV_per_atom"}
