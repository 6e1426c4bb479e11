"""Walkers: dynamics that stops where the model does not know the frame, and keeps frames that are not alike.

1. The structure is brought to rest by the model, repeated to a supercell, and set in motion at the first temperature.
2. Every `LOOK_FS` the frame is looked at. The walk ends at the first frame whose extrapolation is above the gate, where
   the frame is not plausible, or where dynamics breaks (`matgraft.potentials.simulation.dynamics.Break`).
3. Kept are the frame at the gate, the last one inside, and from there backwards one each decorrelation time. That is
   the statistical inefficiency of the potential energy without its trend (`matgraft.potentials.simulation.series`), and
   at least `LEAST_SPACING_FS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

import numpy as np
from ase import Atoms

from matgraft.core.quantities import Array
from matgraft.potentials.active.sampling.model import Sureness, calculator_of, subject_of
from matgraft.potentials.active.sampling.plausible import Reason, StartFrames
from matgraft.potentials.active.sampling.sampled import Finished, PoolFrame, Stop, Walker
from matgraft.potentials.active.sampling.settings import Ramp, SampleSettings, WalkedEnsemble
from matgraft.potentials.checks.structures import Structure
from matgraft.potentials.simulation.dynamics import (
    FRICTION_FS,
    Break,
    Motion,
    at_rest,
    box_of_motion,
    first_line,
    simulate,
    thermal,
)
from matgraft.potentials.simulation.geometry import Geometry
from matgraft.potentials.simulation.loading import Model
from matgraft.potentials.simulation.series import inefficiency

LOOK_FS = 10.0
"""Time between two looks: a tenth of a vibration."""
LEAST_SPACING_FS = FRICTION_FS / 2
"""Velocities are forgotten within the time of the thermostat; a vibration has turned round in half of it."""


@dataclass(frozen=True)
class Walk:
    """One walk: what moves, and how.

    Attributes
    ----------
    model, key
        The model, and the hash of what it predicts.
    number
        Of the walker.
    """

    model: Model
    key: str
    structure: Structure
    settings: SampleSettings
    number: int
    temperature: Ramp
    pressure_GPa: float
    seed: int

    @property
    def ensemble(self) -> WalkedEnsemble:
        """That of the settings."""
        assert self.settings.md is not None
        return self.settings.md

    @property
    def name(self) -> str:
        """In words."""
        pressure = f" {self.pressure_GPa:g} GPa" if self.ensemble == "npt" else ""
        return f"md {self.ensemble} {self.temperature.text}{pressure}"

    def run(self) -> Finished:
        """Walk."""
        subject = subject_of(self.model, self.key)
        atoms = box_of_motion(at_rest(self.structure.atoms, subject), self.settings.atoms)
        motion = self._motion(atoms)
        try:
            start = thermal(atoms, subject, self.temperature.start_K, self.seed)
        except Exception as error:  # whatever a calculator raises of a structure that it cannot take
            broke = Break(what="refused", time_fs=0, said=first_line(error))
            return self._finished(atoms, motion, _Watch(motion, self.settings), broke)
        watch = _Watch(motion, self.settings)
        seen = simulate(start, calculator_of(subject), motion, watch)
        return self._finished(atoms, motion, watch, seen.broke)

    def _motion(self, atoms: Atoms) -> Motion:
        timestep = self.settings.timestep(atoms)
        ramps = self.temperature.start_K != self.temperature.end_K
        return Motion(
            ensemble=self.ensemble,
            temperature_K=self.temperature.start_K,
            final_temperature_K=self.temperature.end_K if ramps else None,
            pressure_GPa=self.pressure_GPa,
            steps=self.settings.length(atoms),
            timestep_fs=timestep,
            every=max(1, round(LOOK_FS / timestep)),
            seed=self.seed,
        )

    def _finished(self, atoms: Atoms, motion: Motion, watch: _Watch, broke: Break | None) -> Finished:
        looks = motion.every * motion.timestep_fs
        kept, spacing = watch.kept(looks)
        stopped: Stop = "break" if broke else watch.stopped
        extrapolations = [one.sure.extrapolation for one in watch.seen if one.sure.extrapolation is not None]
        walker = Walker(
            walker=self.number,
            structure=self.structure.name,
            ensemble=self.ensemble,
            temperature=self.temperature,
            pressure_GPa=self.pressure_GPa,
            seed=self.seed,
            n_atoms=len(atoms),
            steps=watch.steps,
            asked_steps=motion.steps,
            timestep_fs=motion.timestep_fs,
            stopped=stopped,
            broke=broke,
            reason=watch.reason,
            extrapolation=max(extrapolations, default=None),
            spacing_fs=spacing * looks,
            frames=len(kept),
        )
        dropped: dict[Reason, int] = {watch.reason: 1} if watch.reason else {}
        return Finished(frames=tuple(self._frame(one, motion) for one in kept), dropped=dropped, walker=walker)

    def _frame(self, look: _Look, motion: Motion) -> PoolFrame:
        return PoolFrame(
            geometry=Geometry.of(look.atoms),
            kind="md",
            origin=self.name,
            structure=self.structure.name,
            walker=self.number,
            step=look.step,
            temperature_K=motion.bath_K(look.step),
            **look.sure.model_dump(),
        )


@dataclass(frozen=True)
class _Look:
    atoms: Atoms
    step: int
    energy: float
    sure: Sureness


@dataclass
class _Watch:
    """Looks at the frames of one walk, and says when it ends."""

    motion: Motion
    settings: SampleSettings
    seen: list[_Look] = field(default_factory=list)
    stopped: Stop = "end"
    reason: Reason | None = None
    steps: int = 0
    start: StartFrames | None = None

    def __call__(self, atoms: Atoms, time_fs: float) -> bool:
        """Keep a frame; True where the walk ends."""
        self.steps = round(time_fs / self.motion.timestep_fs)
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        self.start = self.start or StartFrames.of(atoms, energy)
        self.reason = self.settings.plausible.why_not(atoms, energy, forces, self.start)
        if self.reason is not None:
            self.stopped = "implausible"
            return True
        self.seen.append(_Look(_bare(atoms), self.steps, energy, Sureness.of(atoms)))
        if self.outside(self.seen[-1]):
            self.stopped = "gate"
            return True
        return False

    def outside(self, look: _Look) -> bool:
        """Say whether the model does not know a frame."""
        return look.sure.extrapolation is not None and not look.sure.extrapolation <= self.settings.gate

    def kept(self, look_fs: float) -> tuple[list[_Look], int]:
        """Return the frames for the pool, in order, and how many looks lie between two of them."""
        inside = [one for one in self.seen if not self.outside(one)]
        if not inside:
            return self.seen, 0
        outside = self.seen[len(inside) :]
        most = self.settings.frames - len(outside)
        spacing = spacing_of(np.array([one.energy for one in inside]), look_fs, self.settings, max(most, 1))
        return [*inside[::-1][::spacing][:most][::-1], *outside], spacing


def spacing_of(energies: Array, look_fs: float, settings: SampleSettings, most: int | None = None) -> int:
    """Return how many looks lie between two frames that are kept.

    Parameters
    ----------
    energies
        (n,) potential energies in eV, one a look.
    look_fs
        Time between two looks.
    most
        Frames that are kept of these; by default as many as of a walker.
    """
    if settings.spacing_fs is not None:
        spacing = settings.spacing_fs / look_fs
    else:
        spacing = max(inefficiency(_without_trend(energies)), LEAST_SPACING_FS / look_fs)
    return max(1, ceil(spacing), ceil(len(energies) / (most or settings.frames)))


def _without_trend(values: Array) -> Array:
    """Return values without their best parabola: what a ramp, or the way to equilibrium, adds to fluctuations."""
    if len(values) < 4:
        return values
    times = np.linspace(-1, 1, len(values))
    return np.asarray(values - np.polynomial.Polynomial.fit(times, values, 2)(times))


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell[:], pbc=atoms.pbc)
