"""What sampling found: frames for a pool, what became of each walker, and what was dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from ase import Atoms
from pydantic import Field

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY_STD, EXTRAPOLATION, FORCES_STD
from matgraft.potentials.active.sampling.plausible import Reason
from matgraft.potentials.active.sampling.settings import Maker, Ramp, WalkedEnsemble
from matgraft.potentials.simulation.dynamics import Break
from matgraft.potentials.simulation.geometry import Geometry

Stop = Literal["end", "gate", "break", "implausible"]


class PoolFrame(Frozen):
    """One frame, and where it comes from.

    Attributes
    ----------
    kind
        ``"md"``, or what made it.
    origin
        In words: ``"md nvt 600 K"``, ``"vacancy Si"``.
    structure
        Name of the structure that it began with; empty for none.
    walker, step, temperature_K
        Of dynamics: the walker's number, and step and bath temperature of the frame.
    extrapolation, energy_std, forces_std
        How sure the model is: the largest extrapolation of an atom, eV of the cell, the largest eV/Å of a force's
        component; None where it does not say.
    """

    geometry: Geometry
    kind: Maker | Literal["md"]
    origin: str
    structure: str = ""
    walker: int | None = None
    step: int | None = None
    temperature_K: float | None = None
    extrapolation: float | None = None
    energy_std: float | None = None
    forces_std: float | None = None

    def atoms(self) -> Atoms:
        """Return the structure with all of it as tags; ``trajectory`` keeps frames of one walk together in a split."""
        atoms = self.geometry.atoms()
        tags = {
            "config_type": self.kind,
            "origin": self.origin,
            "structure": self.structure,
            "walker": self.walker,
            "step": self.step,
            "temperature": self.temperature_K,
            EXTRAPOLATION.name: self.extrapolation,
            ENERGY_STD.name: self.energy_std,
            FORCES_STD.name: self.forces_std,
        }
        trajectory = {} if self.walker is None else {"trajectory": f"walker {self.walker} of {self.structure}"}
        atoms.info |= trajectory | {name: value for name, value in tags.items() if value not in (None, "")}
        return atoms


class Walker(Frozen):
    """What became of one walker.

    Attributes
    ----------
    walker
        Number.
    structure
        What it began with.
    n_atoms
        Of the supercell that moved.
    steps, asked_steps
        Taken, and asked for.
    stopped
        ``"end"``: it went as far as was asked; ``"gate"``: the model does not know the frame; ``"break"``: dynamics
        broke; ``"implausible"``: a frame was dropped.
    broke, reason
        How it broke; why the frame was dropped.
    extrapolation
        Largest that was seen; None without a gate.
    spacing_fs
        Between the frames that were kept.
    frames
        How many these are.
    """

    walker: int
    structure: str
    ensemble: WalkedEnsemble
    temperature: Ramp
    pressure_GPa: float
    seed: int
    n_atoms: int
    steps: int
    asked_steps: int
    timestep_fs: float
    stopped: Stop
    broke: Break | None = None
    reason: Reason | None = None
    extrapolation: float | None = None
    spacing_fs: float = 0.0
    frames: int = 0


class Finished(Frozen):
    """What one task left.

    Attributes
    ----------
    frames
        In order.
    dropped
        Reason -> frames that were left out.
    walker
        Of dynamics.
    failed
        Why structures could not be made; empty where they could.
    """

    frames: tuple[PoolFrame, ...]
    dropped: dict[Reason, int] = Field(default_factory=dict)
    walker: Walker | None = None
    failed: str = ""


class Sampled(Frozen):
    """What `matgraft sample` says.

    Attributes
    ----------
    model, pool
        What was asked, and the file of frames.
    n_frames, kinds, origins
        Frames in the pool: all, by kind, and by origin.
    dropped
        Reason -> frames that were left out.
    walkers
        Each.
    lost
        What is missing in the pool since it could not be made, or its process died -> why.
    has_gate
        Whether the model says how sure it is, so that walkers stop.
    notes
        Further facts: what was not made, and why.
    """

    model: str
    pool: str
    n_frames: int
    kinds: dict[str, int]
    origins: dict[str, int]
    dropped: dict[Reason, int]
    walkers: tuple[Walker, ...]
    lost: dict[str, str] = Field(default_factory=dict)
    has_gate: bool
    notes: tuple[str, ...] = ()
    seconds: float


def dropped_in(finished: Sequence[Finished]) -> dict[Reason, int]:
    """Return reason -> frames that were left out."""
    total: Counter[Reason] = Counter()
    for one in finished:
        total.update(one.dropped)
    return dict(total)
