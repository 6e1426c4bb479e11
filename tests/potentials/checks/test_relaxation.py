"""Relaxation: lattices of EMT and Lennard-Jones, slabs and molecules, what falls apart, what loses its symmetry."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from matgraft.potentials.checks.physical import FOUNDATION, Case
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.relaxation import RelaxationCheck
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.simulation.relax import relax, relaxed_crystal
from matgraft.potentials.simulation.subject import Subject

ALL = frozenset({"energy", "forces", "stress"})


def subject(make, name="model", quantities=ALL) -> Subject:
    return Subject(name, f"{name}-{make.__name__}", make, quantities)


class NoStress(EMT):
    implemented_properties = ("energy", "forces")

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results.pop("stress", None)


class StressFlipped(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["stress"] = -self.results["stress"]


class Swollen(EMT):
    """Copper whose lattice is 3 % too long."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        small = atoms.copy()
        small.set_cell(atoms.cell[:] / 1.03, scale_atoms=True)
        super().calculate(small, properties, system_changes)
        self.results["forces"] = self.results["forces"] / 1.03
        self.results["stress"] = self.results["stress"] / 1.03**3
        self.atoms = atoms.copy()


class Lopsided(Calculator):
    """Two atoms that would stand 0.2 Å beside their sites along x: no model that is blind to directions can do this."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        x = atoms.positions[1] - atoms.positions[0] - atoms.cell[:].sum(axis=0) / 2 - [0.2, 0, 0]
        self.results = {"energy": float(x @ x), "forces": np.array([2 * x, -2 * x]), "stress": np.zeros(6)}


def case_of(*atoms: Atoms, **references: float) -> Case:
    structures = tuple(Structure(f"s{i}", one, kind_of_structure(one), "a test") for i, one in enumerate(atoms))
    values = {"s0": {key: Reference(value=value, source="your DFT") for key, value in references.items()}}
    return Case(structures, None, CheckSettings(), references=values)


def judged(model, folder, *atoms, foundation=None, **references):
    found = run_physical([RelaxationCheck()], model, foundation, case_of(*atoms, **references), folder, processes=1)
    return found[0].finding


def measure(finding, name):
    return next(one for one in finding.measures if one.name == name)


def minimum(make, symbol, start, structure="fcc"):
    """Return the lattice constant of lowest energy by a parabola through three energies, 0.001 Å apart at last."""
    a = start
    for step in (0.05, 0.01, 0.002, 0.001):
        energies = []
        for x in (a - step, a, a + step):
            atoms = bulk(symbol, structure, a=x)
            atoms.calc = make()
            energies.append(atoms.get_potential_energy())
        low, middle, high = energies
        a -= step * (high - low) / 2 / (high - 2 * middle + low)
    return a


def lj():
    return LennardJones(sigma=2.5, epsilon=0.4, rc=6.0, smooth=True)


@pytest.mark.parametrize(("make", "symbol", "start"), [(EMT, "Cu", 3.7), (EMT, "Al", 3.9), (lj, "Ar", 3.9)])
def test_a_crystal_finds_the_lattice_of_lowest_energy(make, symbol, start, tmp_path: Path) -> None:
    right = minimum(make, symbol, start)
    found = judged(subject(make), tmp_path, bulk(symbol, "fcc", a=start, cubic=True), a_A=right)
    a = measure(found, "a")
    assert found.outcome == "passed" and a.reference_from == "your DFT"
    assert a.value == pytest.approx(right, rel=2e-4)  # the conventional cell, whatever cell was given
    assert measure(found, "volume").value == pytest.approx(right**3 / 4, rel=6e-4)
    assert found.evidence.startswith("Fm-3m, ")


def test_a_model_without_stress_relaxes_by_its_energies(tmp_path: Path) -> None:
    crystal = bulk("Cu", a=3.65)
    without, with_stress = (
        relaxed_crystal(one, crystal).geometry.atoms().get_volume()
        for one in (subject(NoStress, quantities=frozenset({"energy", "forces"})), subject(EMT))
    )
    assert without == pytest.approx(with_stress, rel=1e-4)


def test_a_wrong_lattice_fails_against_dft_and_is_a_warning_against_the_foundation_alone(tmp_path: Path) -> None:
    copper, right = bulk("Cu", a=3.6), minimum(EMT, "Cu", 3.6)
    found = judged(subject(Swollen), tmp_path, copper, a_A=right)
    assert (found.outcome, found.severity) == ("failed", "error")
    assert measure(found, "a").value == pytest.approx(1.03 * right, rel=3e-4)
    assert found.option == "loss.stress=300.0"
    assert (tmp_path / found.actions[-1].structures).is_file()
    alone = judged(subject(Swollen), tmp_path, copper, foundation=subject(EMT, "foundation"))
    assert (alone.outcome, alone.severity) == ("failed", "warning")  # 9.3 % of volume, where 9 % pass
    assert measure(alone, "a").passes and not measure(alone, "volume").passes


def test_a_cell_that_runs_away_is_a_failure_and_no_crash(tmp_path: Path) -> None:
    found = judged(subject(StressFlipped), tmp_path, bulk("Cu", a=3.7))
    assert (found.outcome, found.severity) == ("failed", "error")
    assert not measure(found, "largest force after the relaxation").passes
    assert not measure(found, "volume over that of the given structure").passes
    assert "minimum" in found.remedy and found.option == "strategy.name=replay"


def test_lost_symmetry_fails_unless_the_foundation_loses_it_too(tmp_path: Path) -> None:
    cscl = Atoms("CsCl", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[4.1] * 3, pbc=True)
    found = judged(subject(Lopsided), tmp_path, cscl)
    kept = measure(found, "symmetry operations kept")
    assert measure(found, "farthest that an atom moved").value == pytest.approx(0.1, abs=0.01)
    assert found.outcome == "failed" and kept.value == pytest.approx(8 / 48) and "Pm-3m became P4mm" in found.evidence
    both = judged(subject(Lopsided), tmp_path, cscl, foundation=subject(Lopsided, "foundation"))
    assert both.outcome == "passed" and measure(both, "symmetry operations kept").reference_from == FOUNDATION


def test_slabs_and_molecules_keep_their_cell_and_have_no_lattice(tmp_path: Path) -> None:
    slab = fcc111("Cu", (1, 1, 4), a=3.59, vacuum=8)
    slab.positions[-1, 2] += 0.1
    for atoms in (slab, molecule("N2")):
        found = judged(subject(EMT), tmp_path, atoms)
        assert found.outcome == "passed", found.measures
        assert [one.name for one in found.measures if one.unit == "Å"] == ["farthest that an atom moved"]
    done = relax(subject(EMT), [slab, molecule("N2")])
    assert np.allclose(done[0].geometry.cell_A, slab.cell) and all(one.converged for one in done)
    assert done[1].energy_eV < EMT().get_potential_energy(molecule("N2"))


def test_many_structures_at_once_end_where_each_alone_does() -> None:
    rattled = [bulk("Cu", cubic=True, a=3.6), bulk("Al", cubic=True), molecule("CO")]
    for one in rattled:
        one.rattle(0.05, seed=1)
    together = relax(subject(EMT), rattled)
    for atoms, found in zip(rattled, together, strict=True):
        alone = relax(subject(EMT), [atoms])[0]
        assert found == alone and found.converged
    assert relax(subject(EMT), rattled[:1], steps=1)[0].steps == 1  # the limit of steps is an observed fact
    assert not relax(subject(EMT), rattled[:1], steps=1)[0].converged


def test_a_given_cell_that_the_foundation_leaves_as_well_does_not_fail_the_model(tmp_path: Path) -> None:
    dense = bulk("Cu", a=3.1)  # 1.55 times its volume at rest
    assert judged(subject(EMT), tmp_path, dense).outcome == "failed"
    found = judged(subject(EMT), tmp_path, dense, foundation=subject(EMT, "foundation"))
    assert found.outcome == "passed" and measure(found, "volume over that of the given structure").value > 1.3
