"""What checks of dynamics with a thermostat share: several trajectories, their temperature, and where they broke.

1. A supercell of 30 to 70 atoms, at rest in the given cell, starts once for each seed with displacements and velocities
   of the highest temperature asked for.
2. The first quarter of each trajectory is left out of all means.
3. A trajectory stops at the first frame that is not physical; the frames up to it are kept to be labelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from ase import Atoms
from pydantic import JsonValue

from matgraft.core.findings import Measure
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array
from matgraft.core.report.document import Drawing, Plot
from matgraft.core.report.figures import add_legend, empty_figure, style
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen, limited
from matgraft.potentials.simulation.dynamics import (
    Ensemble,
    Motion,
    Trajectory,
    at_rest,
    box_of_motion,
    simulate,
    thermal,
    timestep_fs,
)
from matgraft.potentials.simulation.series import Sure, mean_of_several
from matgraft.potentials.simulation.subject import Subject

LEFT_OUT = 4
"""The first of so many parts is equilibration."""
FEWEST_VALUES = 5


class Trajectories(Frozen):
    """What is seen.

    Attributes
    ----------
    temperature_K
        Of the thermostat.
    given_volume_A3
        Of the supercell at the start.
    mass_u
        Of the supercell.
    each
        One trajectory a seed.
    """

    temperature_K: float
    given_volume_A3: float
    mass_u: float
    each: tuple[Trajectory, ...]

    @property
    def broken(self) -> tuple[Trajectory, ...]:
        """Those that broke off."""
        return tuple(one for one in self.each if one.broke)

    @property
    def closest(self) -> float | None:
        """Smallest distance over the sum of the covalent radii, in all of them; None where no frame was seen."""
        return min((min(one.closest) for one in self.each if one.closest), default=None)

    def mean(self, what: str) -> Sure | None:
        """Return the mean of a list of `Trajectory` over what is not left out; None where too little is left."""
        series = [after_equilibration(np.array(getattr(one, what))) for one in self.each if not one.broke]
        series = [one for one in series if len(one) >= FEWEST_VALUES]
        return mean_of_several(series) if series else None


def after_equilibration(values: Array) -> Array:
    """Return (n,) values without their first quarter."""
    return values[len(values) // LEFT_OUT :]


class ThermostatCheck(PhysicalCheck[Trajectories]):
    """A check whose observation is `Trajectories`."""

    observation = Trajectories
    gates_uses = frozenset({"md"})
    ensemble: ClassVar[Ensemble]
    steps: ClassVar[int]
    every: ClassVar[int] = 5

    def protocol(self, case: Case) -> Mapping[str, JsonValue]:
        """Return temperature, seeds and length."""
        return {"temperature_K": case.settings.temperature_K[1], "seeds": case.settings.seeds, "steps": self.steps}

    def observe(self, subject: Subject, case: Case) -> Trajectories:
        """Move the supercell once for each seed."""
        temperature = case.settings.temperature_K[1]
        atoms = box_of_motion(at_rest(case.own.atoms, subject))
        each = [self._trajectory(atoms, subject, temperature, seed) for seed in range(case.settings.seeds)]
        mass = float(atoms.get_masses().sum())
        volume = float(atoms.cell.volume)
        return Trajectories(temperature_K=temperature, given_volume_A3=volume, mass_u=mass, each=tuple(each))

    def _trajectory(self, atoms: Atoms, subject: Subject, temperature: float, seed: int) -> Trajectory:
        motion = Motion(
            ensemble=self.ensemble,
            temperature_K=temperature,
            steps=self.steps,
            timestep_fs=timestep_fs(atoms),
            every=self.every,
            seed=seed,
        )
        return simulate(thermal(atoms, subject, temperature, seed), subject.calculator(), motion)

    def to_label(self, seen: Seen[Trajectories], case: Case) -> Sequence[Atoms]:
        """Return the last frames of what broke off, else the last frame of each trajectory."""
        broken = [frame.atoms() for one in seen.own.broken for frame in one.last]
        return broken or [one.last[-1].atoms() for one in seen.own.each if one.last]


def stability_measures(own: Trajectories, case: Case) -> Iterator[Measure]:
    """Yield what every trajectory with a thermostat must meet: it goes on, atoms stay apart, the temperature holds."""
    gates, wanted = case.settings.gates, own.temperature_K
    yield limited("trajectories that broke off", "", len(own.broken), (None, gates.broken_off), "broken_off")
    if own.closest is not None:
        yield limited("shortest distance by covalent radii", "", own.closest, (gates.collapse, None), "collapse")
    temperature = own.mean("temperature_K")
    if temperature is not None:
        width = gates.temperature * wanted + temperature.margin
        yield limited("temperature", "K", temperature.value, (wanted - width, wanted + width), "temperature")


def trajectory_said(own: Trajectories) -> str:
    """Say how long was simulated, which temperature was reached, and what broke off."""
    first = own.each[0]
    longest = max(one.times_fs[-1] if one.times_fs else 0.0 for one in own.each)
    start = f"{len(own.each)} trajectories of {first.n_atoms} atoms, {longest / 1000:.2g} ps at {own.temperature_K:g} K"
    temperature = own.mean("temperature_K")
    reached = f"mean temperature {temperature.value:.0f} ± {temperature.margin:.0f} K" if temperature else ""
    closest = own.closest
    is_near = closest is not None and closest < 0.8
    near = f"two atoms come as near as {closest:.2f} of their covalent radii" if is_near else ""
    broke = [f"{len(own.broken)} broke off, the first {own.broken[0].broke.sentence()}"] if own.broken else []  # type: ignore[union-attr]
    return f"{start}: {', '.join(part for part in (reached, near, *broke) if part) or 'nothing broke off'}"


def by_time(what: str, title: str, unit: str, own: Trajectories, name: str) -> Plot:
    """Draw a list of `Trajectory` by time, one line a seed."""
    plot = empty_figure()
    for seed, one in enumerate(own.each):
        line = {"color": style(seed)["colour"], "dash": style(seed)["dash"]}
        plot.add_scatter(x=one.times_fs, y=getattr(one, what), mode="lines", line=line, name=f"seed {seed}")
    plot.update_xaxes(title_text="time (fs)")
    plot.update_yaxes(title_text=f"{title} ({unit})")
    add_legend(plot)
    return Plot(title.capitalize(), [Drawing(f"{name}-{what}", plot, f"{title} by time", "curve")])
