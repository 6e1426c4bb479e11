"""Dynamics along ramps, under pressure, and up to where somebody stops it."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from matgraft.potentials.simulation.dynamics import Motion, moving, simulate

COPPER = bulk("Cu", cubic=True).repeat(2)


def start(kelvin: float) -> Atoms:
    return moving(COPPER, kelvin, np.random.default_rng(0))


def test_a_ramp_takes_the_bath_from_one_temperature_to_the_other() -> None:
    ramp = Motion(ensemble="nvt", temperature_K=100, final_temperature_K=1500, steps=600, timestep_fs=4, every=5)
    assert (ramp.bath_K(0), ramp.bath_K(300), ramp.bath_K(600)) == (100, 800, 1500)
    found = simulate(start(100), EMT(), ramp)
    assert found.broke is None
    assert np.mean(found.temperature_K[:20]) < 250 < 900 < np.mean(found.temperature_K[-20:])


def test_a_ramp_that_stays_where_it_is_moves_atoms_as_one_temperature_does() -> None:
    constant = Motion(ensemble="nvt", temperature_K=300, steps=20, timestep_fs=4)
    flat = constant.model_copy(update={"final_temperature_K": 300.0})
    assert simulate(start(300), EMT(), constant) == simulate(start(300), EMT(), flat)


def test_heat_is_held_against_the_temperature_of_the_moment() -> None:
    """Atoms at 1500 K are no fluctuation of a bath at 100 K, and are where a ramp has arrived there."""
    cold = Motion(ensemble="nvt", temperature_K=100, steps=10, timestep_fs=4)
    broke = simulate(start(1500), EMT(), cold).broke
    assert broke is not None and broke.what == "heat"
    hot = Motion(ensemble="nvt", temperature_K=1500, final_temperature_K=100, steps=10, timestep_fs=4)
    assert simulate(start(1500), EMT(), hot).times_fs[:2] == [0, 4]


@pytest.mark.parametrize("pressure", [-3.0, 10.0])
def test_pressure_moves_the_volume_its_way(pressure: float) -> None:
    motion = Motion(
        ensemble="npt", temperature_K=300, pressure_GPa=pressure, steps=300, timestep_fs=4, every=10, seed=1
    )
    found = simulate(start(300), EMT(), motion)
    ratio = np.mean(found.volume_A3[-10:]) / COPPER.get_volume()
    assert ratio < 0.96 if pressure > 0 else ratio > 1.015


def test_whoever_watches_may_stop() -> None:
    seen: list[float] = []

    def watch(atoms: Atoms, time_fs: float) -> bool:
        seen.append(time_fs)
        return time_fs >= 40

    motion = Motion(ensemble="nvt", temperature_K=300, steps=100, timestep_fs=4, every=5)
    found = simulate(start(300), EMT(), motion, watch)
    assert seen == found.times_fs == [0, 20, 40] and found.broke is None
