"""The calculator of a run in ASE's own hands: whatever a user of ASE does with one."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixAtoms
from ase.db import connect
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.phonons import Phonons

import matgraft
from matgraft.potentials.models.calculator import PotentialCalculator


@pytest.fixture
def atoms(run: matgraft.Run, frames: list[Atoms]) -> Atoms:
    atoms = frames[0].copy()
    atoms.calc = run.calculator()
    return atoms


def test_it_says_whose_it_is(run: matgraft.Run, atoms: Atoms) -> None:
    assert isinstance(atoms.calc, PotentialCalculator)
    assert run.model.card.name in repr(atoms.calc) and len(repr(atoms.calc)) < 200
    assert atoms.calc.name == "matgraft"
    assert atoms.calc.todict() == {"model": run.model.card.name, "weights_sha256": run.model.card.weights_sha256}


def test_copies_and_pickles_predict_the_same(atoms: Atoms) -> None:
    energy = atoms.get_potential_energy()
    for other in (copy.copy(atoms.calc), copy.deepcopy(atoms.calc), pickle.loads(pickle.dumps(atoms.calc))):
        assert other.get_potential_energy(atoms) == pytest.approx(energy, rel=1e-6)
    assert copy.copy(atoms.calc).potential is atoms.calc.potential


def test_what_it_lacks_it_says_as_ase_expects(atoms: Atoms) -> None:
    assert "magmoms" not in atoms.calc.implemented_properties
    for name in ("magmoms", "charges", "energies"):
        with pytest.raises(PropertyNotImplementedError):
            atoms.calc.get_property(name, atoms)
    dimer = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2.3]], calculator=atoms.calc)
    assert dimer.get_forces().shape == (2, 3)
    with pytest.raises(PropertyNotImplementedError):
        dimer.get_stress()
    assert atoms.calc.get_property("forces", dimer, allow_calculation=True).shape == (2, 3)
    assert atoms.calc.get_property("forces", atoms, allow_calculation=False) is None


def test_forces_belong_to_the_user_and_to_the_constraints(atoms: Atoms) -> None:
    forces = atoms.get_forces()
    forces *= 0
    assert np.abs(atoms.get_forces()).max() > 0
    atoms.set_constraint(FixAtoms([0]))
    assert not atoms.get_forces()[0].any()


@pytest.mark.parametrize("name", ["a.traj", "a.extxyz", "a.json"])
def test_results_are_written_and_read(atoms: Atoms, tmp_path: Path, name: str) -> None:
    atoms.get_forces()
    write(tmp_path / name, atoms)
    again = read(tmp_path / name)
    assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(again.get_forces(), atoms.get_forces(), atol=1e-7)


def test_a_database_keeps_which_model_it_was(atoms: Atoms, tmp_path: Path) -> None:
    atoms.get_forces()
    with connect(tmp_path / "a.db") as database:
        row = database.get(database.write(atoms))
    assert row.calculator == "matgraft"
    assert row.calculator_parameters["model"] == atoms.calc.parameters["model"]


def test_relaxation_and_dynamics(atoms: Atoms, tmp_path: Path) -> None:
    before = atoms.get_potential_energy()
    BFGS(FrechetCellFilter(atoms), logfile=None, trajectory=str(tmp_path / "relax.traj")).run(steps=3)
    assert read(tmp_path / "relax.traj", -1).get_potential_energy() <= before
    VelocityVerlet(atoms, 1.0, logfile=None, trajectory=str(tmp_path / "md.traj")).run(3)
    assert len(read(tmp_path / "md.traj", ":")) == 4


def test_phonons(run: matgraft.Run, tmp_path: Path) -> None:
    unit = bulk("Si", "diamond", a=5.4)
    phonons = Phonons(unit, run.calculator(), supercell=(1, 1, 2), name=str(tmp_path / "phonons"))
    phonons.run()
    phonons.read(acoustic=True)
    assert phonons.get_band_structure(unit.cell.bandpath("GX", npoints=2)).energies.shape == (1, 2, 6)


@pytest.mark.parametrize("shared", [True, False])
def test_images_of_a_neb_share_it_or_have_copies(run: matgraft.Run, frames: list[Atoms], shared: bool) -> None:
    calc, images = run.calculator(), [frames[1].copy() for _ in range(4)]
    images[-1].positions[0] += 0.2
    for image in images:
        image.calc = calc if shared else copy.copy(calc)
    neb = NEB(images, method="improvedtangent", allow_shared_calculator=shared)
    neb.interpolate()
    FIRE(neb, logfile=None).run(steps=1)
    assert np.isfinite(neb.get_forces()).all()


def test_it_is_summed_with_another(atoms: Atoms) -> None:
    other = LennardJones()
    both = SumCalculator([atoms.calc, other])
    copied = atoms.copy()
    assert both.get_potential_energy(copied) == pytest.approx(
        atoms.get_potential_energy() + other.get_potential_energy(copied)
    )
