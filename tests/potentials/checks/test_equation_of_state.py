"""Equation of state: bulk moduli by finite differences, second minima, stresses that do not belong to the energy."""

from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.eos import EquationOfState as FitByAse

from matgraft.potentials.checks.equation_of_state import EquationOfStateCheck, fit_energies
from matgraft.potentials.checks.physical import Case, Seen
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.simulation.relax import relaxed_crystal
from matgraft.potentials.simulation.subject import Subject

STRESSES = ("energy", "forces", "stress")


def subject(make, name="model", quantities=STRESSES) -> Subject:
    return Subject(name, f"{name}-{make.__name__}", make, frozenset(quantities))


class Bumpy(EMT):
    """Copper with a second minimum of 20 meV/atom at 5 % more volume, and no stress that knows of it."""

    depth_eV, at, width = 0.02, 1.05, 0.01

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        ratio = atoms.get_volume() / len(atoms) / (3.59**3 / 4)
        self.results["energy"] -= len(atoms) * self.depth_eV * np.exp(-(((ratio - self.at) / self.width) ** 2) / 2)


class StressTooSmall(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["stress"] = 0.8 * self.results["stress"]


class StressFlipped(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["stress"] = -self.results["stress"]


class Soft(EMT):
    """Copper that is softer by a fifth in all that it says."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results = {name: 0.8 * value for name, value in self.results.items() if name != "energies"}


def lj():
    return LennardJones(sigma=2.5, epsilon=0.4, rc=6.0, smooth=True)


def case_of(atoms, **references) -> Case:
    structure = Structure("s", atoms, kind_of_structure(atoms), "a test")
    values = {"s": {key: Reference(value=value, source="your DFT") for key, value in references.items()}}
    return Case((structure,), structure, CheckSettings(), references=values)


def judged(model, folder, atoms, foundation=None, **references):
    case = case_of(atoms, **references)
    return run_physical([EquationOfStateCheck()], model, foundation, case, folder, processes=1)[0].finding


def measure(finding, name):
    return next(one for one in finding.measures if one.name == name)


def modulus(make, crystal) -> float:
    """Return V d²E/dV² in GPa at the relaxed cell, by central differences of the energy."""
    cell = relaxed_crystal(subject(make), crystal).geometry.atoms()
    energies, volumes = [], []
    for scale in (0.996, 1.0, 1.004):
        atoms = cell.copy()
        atoms.set_cell(cell.cell[:] * scale, scale_atoms=True)
        atoms.calc = make()
        energies.append(atoms.get_potential_energy())
        volumes.append(atoms.get_volume())
    return volumes[1] * np.polyfit(volumes, energies, 2)[0] * 2 / units.GPa


@pytest.mark.parametrize(
    ("make", "crystal"), [(EMT, bulk("Cu", a=3.6)), (EMT, bulk("Al")), (lj, bulk("Ar", "fcc", a=3.9))]
)
def test_the_bulk_modulus_is_the_second_derivative_of_the_energy(make, crystal, tmp_path: Path) -> None:
    right = modulus(make, crystal)
    found = judged(subject(make), tmp_path, crystal, B0_GPa=right)
    assert found.outcome == "passed", [one for one in found.measures if not one.passes]
    assert measure(found, "B0").value == pytest.approx(right, rel=0.03)
    assert measure(found, "work of the stresses over differences of the energy").value == pytest.approx(1, abs=0.002)


def test_curves_give_back_what_they_were_made_of() -> None:
    volumes = np.linspace(18.4, 21.6, 11)
    y = (20.0 / volumes) ** (2 / 3) - 1
    energies = -5.0 + 9 * 20.0 * 95 * units.GPa / 16 * (2 * y**2 + (4.2 - 4) * y**3)
    found = fit_energies(volumes, energies)
    assert (found.volume_A3, found.bulk_modulus_GPa, found.derivative) == pytest.approx((20.0, 95.0, 4.2), rel=1e-6)
    v0, _, b0 = FitByAse(volumes, energies, eos="birchmurnaghan").fit()
    assert (v0, b0 / units.GPa) == pytest.approx((20.0, 95.0), rel=1e-4)
    assert fit_energies(volumes, -energies) is None


def test_a_second_minimum_fails(tmp_path: Path) -> None:
    found = judged(subject(Bumpy), tmp_path, bulk("Cu", a=3.6))
    fall = measure(found, "fall of the energy away from its minimum")
    assert (found.outcome, found.severity) == ("failed", "error") and not fall.passes
    assert fall.value > 1
    assert found.actions[-1].structures == "to-label/equation-of-state-s.extxyz"
    alike = judged(subject(Bumpy), tmp_path, bulk("Cu", a=3.6), subject(Bumpy, "foundation"))
    assert measure(alike, "fall of the energy away from its minimum").passes  # no new second minimum


@pytest.mark.parametrize(("make", "ratio"), [(StressTooSmall, 0.8), (StressFlipped, -1)])
def test_stresses_that_are_no_derivatives_of_the_energy_fail(make, ratio, tmp_path: Path) -> None:
    found = judged(subject(make), tmp_path, bulk("Cu", a=3.6))
    pressed = measure(found, "work of the stresses over differences of the energy")
    assert found.outcome == "failed" and not pressed.passes
    assert pressed.value == pytest.approx(ratio, abs=0.005)
    assert ("given cell" in found.evidence) is (ratio < 0)


def test_a_soft_model_fails_against_dft_and_passes_beside_a_soft_foundation(tmp_path: Path) -> None:
    right = modulus(EMT, bulk("Cu", a=3.6))
    found = judged(subject(Soft), tmp_path, bulk("Cu", a=3.6), B0_GPa=right)
    assert (found.outcome, found.option) == ("failed", "loss.stress=300.0")
    assert [one.name for one in found.measures if not one.passes] == ["B0"]
    beside = judged(subject(EMT), tmp_path, bulk("Cu", a=3.6), subject(Soft, "foundation"))
    assert beside.outcome == "passed"


def test_a_model_without_stress_is_judged_by_its_energies_and_drawn_beside_the_foundation() -> None:
    case = case_of(bulk("Cu", a=3.6), B0_GPa=134, volume_A3_per_atom=11.6)
    check = EquationOfStateCheck()
    own, theirs = (check.observe(subject(EMT, quantities=known), case) for known in (("energy", "forces"), STRESSES))
    found = check.judge(Seen(own, theirs), case)
    assert found.outcome == "passed" and "stresses" not in found.evidence
    (plots,) = check.figures(Seen(own, theirs), case)
    assert [key.text for key in plots.legend] == ["model", "foundation", "reference, from B0 and the volume"]
    figure = plots.plots[0].drawings[0].figure
    assert len(figure.data) == 5 and max(figure.data[0].y) > 20 and min(figure.data[1].y) >= 0


def test_atoms_relax_inside_the_scaled_cells(tmp_path: Path) -> None:
    rutile = bulk("Cu", "hcp", a=2.55, covera=1.63)
    rutile.positions[1, 2] += 0.1  # off its site: it relaxes back at every volume
    found = judged(subject(EMT), tmp_path, rutile)
    assert found.outcome == "passed", [one for one in found.measures if not one.passes]
