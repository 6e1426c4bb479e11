"""Conservation of energy: drift and fluctuation of the total energy in molecular dynamics without a thermostat.

1. A supercell of 30 to 70 atoms at rest starts with displacements and velocities of the highest temperature asked for.
2. Velocity Verlet moves it by `STEPS` timesteps; the timestep follows the lightest element.
3. From the same start it is moved again at twice the timestep. Where forces are the gradient of one smooth energy, the
   fluctuation of the total energy grows with the square of the timestep (Leimkuhler and Reich, Simulating Hamiltonian
   Dynamics, Cambridge 2004): four times as large.
4. A straight line through the total energy gives the drift, with an interval that counts its autocorrelation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from ase import Atoms
from pydantic import JsonValue

from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.report.document import Block, Drawing, Plot, Plots
from matgraft.core.report.figures import COLOURS, add_legend, empty_figure
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen, limited
from matgraft.potentials.checks.structures import EVERY_KIND
from matgraft.potentials.simulation.dynamics import (
    Motion,
    Trajectory,
    at_rest,
    box_of_motion,
    simulate,
    thermal,
    timestep_fs,
)
from matgraft.potentials.simulation.probes import energy_noise
from matgraft.potentials.simulation.series import Sure, trend_of
from matgraft.potentials.simulation.subject import Subject

STEPS = 100
COARSE_STEPS = 40
"""Steps at twice the timestep."""
FEWEST_VALUES = 20
"""A trajectory that breaks before has no drift."""
SEED = 11


class Conservation(Frozen):
    """What is seen.

    Attributes
    ----------
    temperature_K, timestep_fs
        Of the start; of the longer trajectory.
    fine, coarse
        Trajectories from one start, the second at twice the timestep.
    noise_eV
        Standard deviation of the energy of shifted copies of one frame: what the model's precision leaves undecided.
    """

    temperature_K: float
    timestep_fs: float
    fine: Trajectory
    coarse: Trajectory
    noise_eV: float

    @property
    def drift(self) -> Sure | None:
        """Drift of the total energy in meV/atom/ps; None where the trajectory broke early."""
        if len(self.fine.times_fs) < FEWEST_VALUES:
            return None
        return trend_of(np.array(self.fine.times_fs) / 1000, self.fine.energy_eV / self.fine.n_atoms * 1000)

    @property
    def part(self) -> float | None:
        """Standard deviation of the total energy over that of the kinetic energy."""
        if len(self.fine.times_fs) < FEWEST_VALUES:
            return None
        return float(np.std(self.fine.energy_eV) / np.std(self.fine.kinetic_eV))

    @property
    def order(self) -> float | None:
        """Power of the timestep with which the fluctuation grows; None where the precision does not resolve it."""
        if self.fine.broke or self.coarse.broke:
            return None
        same_times = self.fine.energy_eV[: 2 * len(self.coarse.times_fs) : 2]
        small, large = (float(np.var(one)) - self.noise_eV**2 for one in (same_times, self.coarse.energy_eV))
        if small <= 4 * self.noise_eV**2:
            return None
        return float(np.log2(large / small) / 2) if large > 0 else 0.0


class NveCheck(PhysicalCheck[Conservation]):
    """Hold drift, size and order of the fluctuation of the total energy against limits."""

    code, title, observation = "nve", "Conservation of energy in molecular dynamics", Conservation
    kinds = EVERY_KIND
    gates_uses = frozenset({"md"})
    cost = 1000
    beside_foundation: ClassVar[bool] = False

    def why_not(self, subject: Subject, case: Case) -> str:
        """Return why it does not apply: a single atom does not move."""
        return super().why_not(subject, case) or ("a single atom meets no other" if case.own.lone else "")

    def protocol(self, case: Case) -> Mapping[str, JsonValue]:
        """Return the temperature."""
        return {"temperature_K": case.settings.temperature_K[1]}

    def observe(self, subject: Subject, case: Case) -> Conservation:
        """Move the supercell at two timesteps."""
        temperature = case.settings.temperature_K[1]
        atoms = box_of_motion(at_rest(case.own.atoms, subject))
        step = timestep_fs(atoms)
        start = thermal(atoms, subject, temperature, SEED)
        fine, coarse = (
            simulate(
                start,
                subject.calculator(),
                Motion(ensemble="nve", temperature_K=temperature, steps=steps, timestep_fs=fs),
            )
            for steps, fs in ((STEPS, step), (COARSE_STEPS, 2 * step))
        )
        noise = energy_noise(start, subject, SEED)
        return Conservation(temperature_K=temperature, timestep_fs=step, fine=fine, coarse=coarse, noise_eV=noise)

    def judge(self, seen: Seen[Conservation], case: Case) -> Finding:
        """Fail a drift beyond its limit with confidence, a large fluctuation, and one that is not of second order."""
        own, gates = seen.own, case.settings.gates
        drift, order = own.drift, own.order
        limit = gates.drift_meV_per_atom_ps + (drift.margin if drift else 0.0)
        measures = [
            limited(
                "drift of the total energy",
                "meV/atom/ps",
                drift.value if drift else None,
                (-limit, limit),
                "drift_meV_per_atom_ps",
            ),
            limited(
                "fluctuation of the total over the kinetic energy",
                "",
                own.part,
                (None, gates.energy_fluctuation),
                "energy_fluctuation",
            ),
        ]
        if order is not None:
            ends = (2 - gates.verlet_order, 2 + gates.verlet_order)
            measures.append(limited("order of the fluctuation in the timestep", "", order, ends, "verlet_order"))
        broke = own.fine.broke
        return self.finding(
            case, measures, f"{_sentence(own)}{f'; {broke.sentence()}' if broke else ''}", remedy=REMEDY
        )

    def to_label(self, seen: Seen[Conservation], case: Case) -> Sequence[Atoms]:
        """Return the last frames of a trajectory that broke."""
        return [frame.atoms() for frame in seen.own.fine.last] if seen.own.fine.broke else []

    def figures(self, seen: Seen[Conservation], case: Case) -> Sequence[Block]:
        """Draw the total energy at both timesteps."""
        plot = empty_figure()
        own = seen.own
        steps = ((own.fine, own.timestep_fs, "tuned"), (own.coarse, 2 * own.timestep_fs, "shift"))
        for one, fs, colour in steps:
            if one.times_fs:
                change = (one.energy_eV - one.energy_eV[0]) / one.n_atoms * 1000
                plot.add_scatter(
                    x=one.times_fs, y=change.tolist(), mode="lines", line={"color": COLOURS[colour]}, name=f"{fs:g} fs"
                )
        plot.update_xaxes(title_text="time (fs)")
        plot.update_yaxes(title_text="change of the total energy (meV/atom)")
        add_legend(plot)
        drawing = Drawing(f"nve-{case.own.name}", plot, "total energy by time at two timesteps", "curve")
        return [Plots([Plot(f"{case.own.name}: total energy at {own.temperature_K:g} K, no thermostat", [drawing])])]


REMEDY = (
    "forces that are not the gradient of the energy, or an energy with jumps, do this: see finite-differences "
    "and cutoff-smoothness; "
    "where both pass, use a smaller timestep, or tune with frames at this temperature"
)


def _sentence(own: Conservation) -> str:
    drift, part, order = own.drift, own.part, own.order
    if drift is None or part is None:
        return f"the trajectory at {own.temperature_K:g} K broke off"
    power = "its order is below the model's precision" if order is None else f"it grows with timestep^{order:.2f}"
    fine = own.fine
    return (
        f"{fine.n_atoms} atoms, {own.temperature_K:g} K, {fine.times_fs[-1]:.0f} fs, {own.timestep_fs:.2g} fs a step: "
        f"the total energy drifts by {drift.value:+.2f} ± {drift.margin:.2f} meV/atom/ps; its fluctuation is "
        f"{100 * part:.2g} % of that of the kinetic energy, and {power}"
    )
