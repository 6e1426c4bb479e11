"""Simulations end at the first structure outside; the forces are ASE's, and what is outside is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from matgraft.core.errors import OptionError
from matgraft.potentials.uncertainty.stopping import stop_outside


class Sure(EMT):
    """EMT whose extrapolation is how far an atom is from where it began, in units of 0.1 Å."""

    implemented_properties = [*EMT.implemented_properties, "extrapolation"]  # noqa: RUF012 - as ASE declares it
    began: Any = None

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = (), system_changes: Sequence[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        self.began = atoms.positions.copy() if self.began is None else self.began
        self.results["extrapolation"] = np.linalg.norm(atoms.positions - self.began, axis=1) / 0.1


@pytest.fixture
def hot() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = Sure()
    atoms.set_velocities(0.05 * np.random.default_rng(0).standard_normal((4, 3)))  # some 1000 K
    return atoms


def test_dynamics_end_at_the_first_structure_outside(hot: Atoms) -> None:
    dynamics = VelocityVerlet(hot, 2 * units.fs)
    watch = stop_outside(dynamics)
    seen: list[float] = []
    dynamics.attach(lambda: seen.append(hot.calc.results["extrapolation"].max()))
    dynamics.run(200)
    assert watch.frame is not None
    assert watch.step == dynamics.nsteps == len(seen) - 1 < 200
    assert max(seen[:-1]) <= 1 < seen[-1]
    assert (watch.frame.positions == hot.positions).all()
    assert watch.frame.get_potential_energy() == hot.get_potential_energy()
    assert watch.frame.arrays["extrapolation"][watch.atom] == seen[-1]


def test_a_larger_bound_lets_it_go_on(hot: Atoms) -> None:
    dynamics = VelocityVerlet(hot, 2 * units.fs)
    watch = stop_outside(dynamics, most=100)
    dynamics.run(20)
    assert (watch.frame, watch.step, dynamics.nsteps) == (None, None, 20)


def test_a_relaxation_of_the_cell_ends_too(hot: Atoms) -> None:
    hot.set_cell(hot.cell * 0.9, scale_atoms=True)
    relaxation = BFGS(FrechetCellFilter(hot), logfile=None)
    watch = stop_outside(relaxation)
    relaxation.run(fmax=1e-3, steps=50)
    assert watch.frame is not None
    assert watch.step == relaxation.nsteps < 50


def test_a_calculator_without_extrapolation_is_refused(hot: Atoms) -> None:
    with pytest.raises(OptionError, match="most=0"):
        stop_outside(VelocityVerlet(hot, units.fs), most=0)
    hot.calc = EMT()
    with pytest.raises(OptionError, match=r"\(EMT\) gives no extrapolation"):
        stop_outside(VelocityVerlet(hot, units.fs))


def test_a_loop_over_short_runs_does_not_go_on_outside(hot: Atoms) -> None:
    dynamics = VelocityVerlet(hot, 2 * units.fs)
    watch = stop_outside(dynamics)
    seen: list[float] = []
    dynamics.attach(lambda: seen.append(hot.calc.results["extrapolation"].max()))
    for _ in range(20):
        dynamics.run(10)
        if watch.frame is not None:
            break
    step = watch.step
    assert step is not None
    dynamics.run(10)
    assert dynamics.nsteps - step <= 1 + sum(value <= 1 for value in seen[step:])
    assert watch.step == step  # the first structure outside is the one that is kept
