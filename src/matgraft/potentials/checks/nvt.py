"""Stability at a temperature: Langevin dynamics at constant volume, several seeds; `thermostat` has the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from matgraft.core.findings import Finding
from matgraft.core.report.document import Block, Plots
from matgraft.potentials.checks.physical import Case, Seen
from matgraft.potentials.checks.settings import Suite
from matgraft.potentials.checks.thermostat import (
    ThermostatCheck,
    Trajectories,
    by_time,
    stability_measures,
    trajectory_said,
)
from matgraft.potentials.simulation.dynamics import Ensemble


class NvtCheck(ThermostatCheck):
    """Hold trajectories at constant volume against what is physical."""

    code, title = "nvt", "Dynamics at constant temperature and volume"
    kinds = frozenset({"bulk", "slab", "wire"})
    suite: ClassVar[Suite] = "crystal"
    cost = 4000
    beside_foundation: ClassVar[bool] = False
    ensemble: ClassVar[Ensemble] = "nvt"
    steps: ClassVar[int] = 400

    def judge(self, seen: Seen[Trajectories], case: Case) -> Finding:
        """Fail a trajectory that breaks off, atoms that collapse, and a temperature that is not that of the bath."""
        return self.finding(case, list(stability_measures(seen.own, case)), trajectory_said(seen.own), remedy=REMEDY)

    def figures(self, seen: Seen[Trajectories], case: Case) -> Sequence[Block]:
        """Draw temperature and potential energy by time."""
        name = f"nvt-{case.own.name}"
        columns = (("temperature_K", "temperature", "K"), ("potential_eV", "potential energy", "eV"))
        return [Plots([by_time(what, title, unit, seen.own, name) for what, title, unit in columns])]


REMEDY = (
    "label the frames in to-label, and add them to the training frames; strategy.name=replay keeps what the "
    "foundation knew of short distances and disorder; where only the temperature is off, see nve first"
)
