"""Elastic constants: against second derivatives of energies, whatever the axes; stability, softness, kinks."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, make_supercell
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from matgraft.potentials.checks.elastic import ElasticCheck, hill
from matgraft.potentials.checks.equation_of_state import EquationOfStateCheck
from matgraft.potentials.checks.physical import Case, Seen
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.simulation.deform import (
    fitted_elastic_tensor,
    independent_strains,
    stability,
    strained,
    unit_strain,
)
from matgraft.potentials.simulation.geometry import rotations_of
from matgraft.potentials.simulation.relax import relaxed_crystal
from matgraft.potentials.simulation.subject import Subject

STRESSES = ("energy", "forces", "stress")
FORCES = ("energy", "forces")
COPPER = bulk("Cu", a=3.6)
HCP = bulk("Cu", "hcp", a=2.55, covera=1.63)


def subject(make=EMT, name="model", quantities=STRESSES) -> Subject:
    return Subject(name, f"{name}-{make.__name__}", make, frozenset(quantities))


class NoStress(EMT):
    implemented_properties = ("energy", "forces")

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results.pop("stress", None)


class Soft(EMT):
    """Copper that is softer by a third in all that it says."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results = {name: value * 2 / 3 for name, value in self.results.items() if name != "energies"}


class Kinked(EMT):
    """Copper with a stress that jumps at a shear of 0.7 %."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        metric = self.atoms.cell[:] @ self.atoms.cell[:].T
        skew = np.ptp(metric[np.triu_indices(3, 1)]) / metric[0, 0]
        self.results["stress"] = self.results["stress"] * (1.5 if skew > 0.007 else 1.0)


def case_of(atoms, **references) -> Case:
    structure = Structure("s", atoms, kind_of_structure(atoms), "a test")
    values = {"s": {key: Reference(value=value, source="your DFT") for key, value in references.items()}}
    return Case((structure,), structure, CheckSettings(), references=values)


def judged(model, folder, atoms, foundation=None, **references):
    case = case_of(atoms, **references)
    return run_physical([ElasticCheck()], model, foundation, case, folder, processes=1)[0].finding


def observed(atoms, make=EMT, quantities=STRESSES):
    return ElasticCheck().observe(subject(make, quantities=quantities), case_of(atoms))


def failing(finding):
    return [one.name for one in finding.measures if not one.passes]


def second_derivative(cell: Atoms, strain, relaxed: bool = False) -> float:
    """Return (1/V) d²E/dx² in GPa of the energy along a strain, atoms relaxed by ASE where asked."""
    energies = []
    for size in (-0.004, 0.0, 0.004):
        atoms = strained(cell, size * np.asarray(strain))
        atoms.calc = EMT()
        if relaxed:
            BFGS(atoms, logfile=None).run(fmax=1e-4, steps=50)
        energies.append(atoms.get_potential_energy())
    return (energies[0] - 2 * energies[1] + energies[2]) / 0.004**2 / cell.get_volume() / units.GPa


@pytest.fixture(scope="module")
def copper():
    return observed(COPPER)


@pytest.mark.parametrize("crystal", [COPPER, bulk("Al", cubic=True)])
def test_cubic_constants_are_second_derivatives_of_the_energy(crystal) -> None:
    found = observed(crystal)
    cell = found.start.atoms()
    C11, C44 = second_derivative(cell, unit_strain(0)), second_derivative(cell, unit_strain(3))
    C12 = second_derivative(cell, unit_strain(0) + unit_strain(1)) / 2 - C11
    assert list(found.constants) == ["C11", "C12", "C44"]
    assert list(found.constants.values()) == pytest.approx([C11, C12, C44], rel=0.01)
    assert found.change < 0.01
    assert found.moduli_GPa[0] == pytest.approx((C11 + 2 * C12) / 3, rel=0.01)


def test_atoms_relax_in_strained_cells() -> None:
    found = observed(HCP)
    cell = found.start.atoms()
    assert list(found.constants) == ["C11", "C12", "C13", "C33", "C44"]
    clamped, relaxed = (second_derivative(cell, unit_strain(0), relaxed=way) for way in (False, True))
    assert clamped > 1.02 * relaxed  # or the test could not tell one from the other
    assert found.constants["C11"] == pytest.approx(relaxed, rel=0.01)
    assert found.constants["C33"] == pytest.approx(second_derivative(cell, unit_strain(2)), rel=0.01)
    C = np.array(found.C_GPa)
    assert C[5, 5] == pytest.approx((C[0, 0] - C[0, 1]) / 2)  # by symmetry of a hexagonal crystal


def test_axes_and_cell_of_the_file_play_no_role(copper) -> None:
    turned = make_supercell(COPPER, [[1, 1, 0], [0, 1, 1], [2, 0, 1]])
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    assert observed(turned).constants == pytest.approx(copper.constants, rel=1e-3)


def test_a_model_without_stress_has_constants_from_its_energies(copper) -> None:
    found = observed(COPPER, NoStress, ("energy", "forces"))
    assert found.constants == pytest.approx(copper.constants, rel=5e-3)


def test_a_crystal_that_shears_by_itself_fails_unless_the_foundation_does_as_well(tmp_path: Path) -> None:
    bcc = bulk("Cu", "bcc", a=2.86)
    found = judged(subject(), tmp_path, bcc)
    assert (found.outcome, found.severity) == ("failed", "error")
    assert failing(found) == ["smallest eigenvalue of the elastic tensor"] and "not stable" in found.evidence
    cell = relaxed_crystal(subject(), bcc).geometry.atoms()
    assert second_derivative(cell, np.diag([1, -1, 0])) < 0  # C11 < C12 by the energy as well
    assert judged(subject(), tmp_path, bcc, subject(name="foundation")).outcome == "passed"


def test_soft_constants_fail_against_dft_and_pass_beside_an_equally_soft_foundation(copper, tmp_path: Path) -> None:
    references = {f"{name}_GPa": value for name, value in copper.constants.items()}
    assert judged(subject(), tmp_path, COPPER, **references).outcome == "passed"
    found = judged(subject(Soft), tmp_path, COPPER, **references)
    assert failing(found) == ["C11", "C12", "C44"] and found.severity == "error"
    assert found.option == "loss.stress=300.0"
    assert "Out of range: C11 " in found.evidence and f"; {copper.constants['C44']:.4g} by your DFT)" in found.evidence
    assert found.actions[-1].structures == "to-label/elastic-s.extxyz"
    assert judged(subject(Soft), tmp_path, COPPER, subject(name="foundation")).outcome == "passed"  # three times wider


def test_a_stress_that_jumps_is_not_converged_in_the_strain(tmp_path: Path) -> None:
    found = judged(subject(Kinked), tmp_path, COPPER)
    assert failing(found) == ["change with twice the strain, of the largest constant"]


def test_symmetry_leaves_few_strains_and_makes_the_whole_tensor_of_them() -> None:
    assert independent_strains(COPPER) == [0, 3] and len(independent_strains(HCP)) == 3
    skewed = Atoms("CuAg", [(0, 0, 0), (1.1, 1.3, 1.2)], cell=[(2.6, 0, 0), (0.3, 2.9, 0), (0.2, 0.4, 3.3)], pbc=True)
    assert independent_strains(skewed) == [0, 1, 2, 3, 4, 5]
    C11, C12, C44 = 156.0, 65.0, 76.0
    right = np.diag([C11 - C12] * 3 + [C44] * 3) + C12 * np.pad(np.ones((3, 3)), (0, 3))
    stress = [np.diag([C11, C12, C12]), np.array([[0, 0, 0], [0, 0, C44], [0, C44, 0]])]
    found = fitted_elastic_tensor([unit_strain(0), unit_strain(3)], stress, rotations_of(bulk("Si", cubic=True)))
    assert found == pytest.approx(right)
    assert stability(right) == pytest.approx(sorted([C11 - C12] * 2 + [2 * C44] * 3 + [C11 + 2 * C12]))


def test_polycrystals_by_hill() -> None:
    bulk_modulus, shear = 95.0, 62.0
    isotropic = np.diag([2 * shear] * 3 + [shear] * 3) + (bulk_modulus - 2 * shear / 3) * np.pad(
        np.ones((3, 3)), (0, 3)
    )
    assert hill(isotropic) == pytest.approx((bulk_modulus, shear))
    silicon = np.diag([91.0] * 3 + [76.0] * 3) + 65.0 * np.pad(np.ones((3, 3)), (0, 3))
    voigt = (91 + 3 * 76) / 5
    reuss = 5 / (4 / 91 + 3 / 76)
    assert hill(silicon) == pytest.approx(((156 + 130) / 3, (voigt + reuss) / 2))


def test_the_table_has_model_foundation_and_reference(copper) -> None:
    seen = Seen(copper, observed(COPPER, Soft))
    (table,) = ElasticCheck().figures(seen, case_of(COPPER, C44_GPa=76, B0_GPa=140))
    cells = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in table.rows}
    assert cells["C44"][2] == "76.0" and cells["bulk modulus"][2] == "140.0" and cells["C11"][2] == "–"
    assert float(cells["C11"][1]) == pytest.approx(float(cells["C11"][0]) * 2 / 3, rel=0.01)


class Graphite(Calculator):
    """A harmonic layer of one atom a cell, with the elastic constants of graphite: energies alone."""

    implemented_properties: ClassVar = ["energy", "forces"]
    C = np.array([[1060, 180, 15], [180, 1060, 15], [15, 15, 36.5]])
    shears = np.array([4.5, 4.5, 440.0])
    rest = Atoms("C", cell=[[2.46, 0, 0], [-1.23, 2.46 * 0.75**0.5, 0], [0, 0, 3.35]], pbc=True)

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        change = np.linalg.solve(self.rest.cell[:], self.atoms.cell[:])
        sizes, axes = np.linalg.eigh(change @ change.T)
        strain = axes @ np.diag(np.log(sizes) / 2) @ axes.T
        diagonal, shears = np.diag(strain), 2 * strain[[1, 0, 0], [2, 2, 1]]
        work = diagonal @ self.C @ diagonal + (self.shears * shears**2).sum()
        self.results = {"energy": work / 2 * self.rest.get_volume() * units.GPa, "forces": np.zeros((1, 3))}


def test_one_bulk_modulus_of_a_layered_crystal_agrees_with_both_checks(tmp_path: Path) -> None:
    kept_shape = float(Graphite.C.sum() / 9)
    case = case_of(Graphite.rest, B0_GPa=kept_shape)
    checks = [ElasticCheck(), EquationOfStateCheck()]
    for one in run_physical(checks, subject(Graphite, quantities=FORCES), None, case, tmp_path, processes=1):
        name = "bulk modulus" if one.finding.code == "elastic" else "B0"
        found = next(measure for measure in one.finding.measures if measure.name == name)
        assert found.value == pytest.approx(kept_shape, rel=0.02) and found.passes
    constants = {measure.name: measure.value for measure in run_elastic(case, tmp_path).measures}
    assert [constants[f"C{k}"] for k in ("11", "12", "13", "33", "44")] == pytest.approx(
        [1060, 180, 15, 36.5, 4.5], abs=0.5
    )


def run_elastic(case: Case, folder: Path):
    return run_physical([ElasticCheck()], subject(Graphite, quantities=FORCES), None, case, folder)[0].finding


@pytest.mark.parametrize(("reference", "passes"), [(-20.0, True), (20.0, True), (40.0, False)])
def test_the_sign_of_c14_is_a_matter_of_axes(copper, reference: float, passes: bool) -> None:
    trigonal = np.diag([200.0, 200, 300, 60, 60, 70])
    trigonal[0, 3] = trigonal[3, 0] = trigonal[4, 5] = trigonal[5, 4] = 20.0
    trigonal[1, 3] = trigonal[3, 1] = -20.0
    rows = tuple(map(tuple, trigonal.tolist()))
    seen = copper.model_copy(update={"space_group": 167, "C_GPa": rows, "C_wide_GPa": rows})
    found = ElasticCheck().judge(Seen(seen), case_of(COPPER, C14_GPa=reference))
    assert ("C14" not in failing(found)) is passes


@pytest.mark.parametrize(("number", "name"), [(88, "C16"), (148, "C15")])
def test_constants_that_only_the_lower_classes_have_are_compared(copper, number: int, name: str) -> None:
    rows = np.diag([200.0, 200, 300, 60, 60, 70])
    first, second = int(name[1]) - 1, int(name[2]) - 1
    rows[first, second] = rows[second, first] = 20.0
    tensor = tuple(map(tuple, rows.tolist()))
    seen = copper.model_copy(update={"space_group": number, "C_GPa": tensor, "C_wide_GPa": tensor})
    assert seen.constants[name] == 20.0
    assert name not in seen.model_copy(update={"space_group": number + 1}).constants
    for reference, passes in ((-20.0, True), (40.0, False)):  # the sign hangs on the choice of axes
        found = ElasticCheck().judge(Seen(seen), case_of(COPPER, **{f"{name}_GPa": reference}))
        assert (name not in failing(found)) is passes


def test_the_foundation_does_not_judge_moduli_that_follow_from_known_constants(copper) -> None:
    soft = copper.model_copy(update={"C_GPa": tuple(tuple(0.3 * value for value in row) for row in copper.C_GPa)})
    known = {f"{name}_GPa": value for name, value in copper.constants.items()}
    found = ElasticCheck().judge(Seen(copper, soft), case_of(COPPER, **known))
    assert found.outcome == "passed"
    partly = case_of(COPPER, C11_GPa=known["C11_GPa"], C12_GPa=known["C12_GPa"])
    assert "shear modulus" in failing(ElasticCheck().judge(Seen(copper, soft), partly))
