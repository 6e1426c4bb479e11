"""Density at a temperature: Langevin dynamics at zero pressure, several seeds; `thermostat` has the protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from ase import units

from matgraft.core.findings import Finding, Measure
from matgraft.core.report.document import Block, Plots
from matgraft.potentials.checks.physical import Case, ReferenceChoice, Seen, compared, limited
from matgraft.potentials.checks.settings import Suite
from matgraft.potentials.checks.thermostat import (
    ThermostatCheck,
    Trajectories,
    by_time,
    stability_measures,
    trajectory_said,
)
from matgraft.potentials.simulation.dynamics import Ensemble
from matgraft.potentials.simulation.series import Sure

G_PER_CM3 = units._amu * 1000 / 1e-24
"""1 u/Å³ in g/cm³."""


class NptCheck(ThermostatCheck):
    """Hold trajectories at zero pressure, and their density, against what is physical."""

    code, title = "npt", "Dynamics at constant temperature and zero pressure"
    suite: ClassVar[Suite] = "full"
    needs = frozenset({"energy", "forces", "stress"})
    cost = 10_000
    ensemble: ClassVar[Ensemble] = "npt"
    steps: ClassVar[int] = 1000

    def judge(self, seen: Seen[Trajectories], case: Case) -> Finding:
        """Fail what breaks off or collapses, a wrong temperature, and a density far from reference or given crystal."""
        measures = [*stability_measures(seen.own, case), *_density(seen, case)]
        density = density_of(seen.own)
        words = f"; density {density.value:.3f} ± {density.margin:.3f} g/cm³" if density else ""
        given = f", {_given(seen.own):.3f} of the given cell" if density else ""
        return self.finding(case, measures, f"{trajectory_said(seen.own)}{words}{given}", remedy=REMEDY)

    def figures(self, seen: Seen[Trajectories], case: Case) -> Sequence[Block]:
        """Draw volume and temperature by time."""
        name = f"npt-{case.own.name}"
        columns = (("volume_A3", "volume", "Å³"), ("temperature_K", "temperature", "K"))
        return [Plots([by_time(what, title, unit, seen.own, name) for what, title, unit in columns])]


REMEDY = (
    "label the frames in to-label; a wrong density alone: add strained frames with stress at this "
    "temperature, and raise loss.stress"
)


def density_of(own: Trajectories) -> Sure | None:
    """Return the mean density in g/cm³; None where no trajectory went on."""
    volume = own.mean("volume_A3")
    if volume is None:
        return None
    density = own.mass_u * G_PER_CM3 / volume.value
    return Sure(value=density, margin=density * volume.margin / volume.value, worth=volume.worth)


def _given(own: Trajectories) -> float:
    return own.mass_u * G_PER_CM3 / own.given_volume_A3


def _density(seen: Seen[Trajectories], case: Case) -> Iterator[Measure]:
    density, foundation = density_of(seen.own), density_of(seen.foundation) if seen.foundation else None
    if density is None:
        return
    against = ReferenceChoice(case.reference("density_g_cm3"), foundation.value if foundation else None)
    yield compared("density", "g/cm³", density.value, against, "density", case)
    given, part = _given(seen.own), case.settings.gates.expansion
    ends = (given * (1 - part), given * (1 + part))
    yield limited("density beside the given cell", "g/cm³", density.value, ends, "expansion")
