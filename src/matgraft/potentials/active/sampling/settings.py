"""What is asked of `matgraft sample`: dynamics, kinds of structures that are made, and what counts as plausible."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from pydantic import Field, field_validator, model_validator

from matgraft.core.frozen import Frozen
from matgraft.core.reads import Read, changed_keys, refuse_unread
from matgraft.potentials.active.sampling.plausible import Bounds
from matgraft.potentials.simulation.dynamics import MOST_ATOMS, timestep_fs

WalkedEnsemble = Literal["nvt", "npt"]
Maker = Literal["strain", "rattle", "vacancy", "interstitial", "surface", "substitute", "prototype"]
MAKERS: tuple[Maker, ...] = get_args(Maker)

DEFAULT_PS = 5.0
"""Length of a walk: some fifty vibrations; at the gate it ends sooner."""
MOST_STEPS, MOST_WALKERS = 10_000_000, 1000
HOTTEST_K = 10_000.0


class Ramp(Frozen):
    """Temperature of the bath, from the first step to the last: the same, or changing linearly."""

    start_K: float = Field(gt=0, le=HOTTEST_K)
    end_K: float = Field(gt=0, le=HOTTEST_K)

    @property
    def text(self) -> str:
        """Such as ``600 K``, or ``300:2000 K``."""
        return f"{self.start_K:g}{'' if self.start_K == self.end_K else f':{self.end_K:g}'} K"


class SampleSettings(Frozen):
    """What is asked.

    Attributes
    ----------
    md
        Ensemble of the walkers; None for no dynamics.
    temperature
        As typed: ``300``, ``300,600,900`` (walkers at each), ``300:2000`` (a ramp).
    pressure_GPa
        Walkers at each, of npt.
    walkers
        How many of each structure at each temperature and pressure; their seeds differ.
    ps, steps
        Length of a walk, by time or by steps; neither: `DEFAULT_PS`.
    timestep_fs
        None: as the lightest element wants it.
    atoms
        Most atoms of the supercell that moves; a larger structure stays as it is.
    gate
        Extrapolation at which a walker stops; 1 is where the calibrated threshold lies.
    spacing_fs
        Time between two frames of a walker that are kept; None: its own decorrelation time.
    frames
        Most frames of a walker.
    make
        Kinds of structures that are made beside.
    count
        Frames that are drawn at random: of each structure (``rattle``, ``substitute``, and of each of its defects), or
        of each element (``prototype``).
    volumes
        Ratios of the volume, of ``strain``.
    strains
        Sizes of the independent strains of the cell, each in both senses, of ``strain``.
    rattle_A
        Å that atoms are displaced by along an axis, one after another.
    elements
        Elements that ``substitute`` and ``prototype`` take; empty: those of structures and frames.
    seed
        Of everything that is drawn.
    plausible
        Bounds beyond which a frame is dropped.
    """

    md: WalkedEnsemble | None = None
    temperature: tuple[Ramp, ...] = (Ramp(start_K=300, end_K=300),)
    pressure_GPa: tuple[float, ...] = (0.0,)
    walkers: int = Field(1, ge=1, le=MOST_WALKERS)
    ps: float | None = Field(None, gt=0, allow_inf_nan=False)
    steps: int | None = Field(None, ge=1, le=MOST_STEPS)
    timestep_fs: float | None = Field(None, gt=0, le=10)
    atoms: int = Field(MOST_ATOMS, ge=1, le=10_000)
    gate: float = Field(1.0, gt=0)
    spacing_fs: float | None = Field(None, gt=0, allow_inf_nan=False)
    frames: int = Field(50, ge=1, le=100_000)
    make: tuple[Maker, ...] = ()
    count: int = Field(10, ge=1, le=10_000)
    volumes: tuple[float, ...] = (0.85, 0.9, 0.94, 0.97, 1.03, 1.06, 1.1, 1.15)
    strains: tuple[float, ...] = (0.01, 0.02, 0.04)
    rattle_A: tuple[float, ...] = (0.05, 0.1, 0.2)
    elements: tuple[str, ...] = ()
    seed: int = Field(0, ge=0)
    plausible: Bounds = Bounds()

    @field_validator("temperature", mode="before")
    @classmethod
    def _ramps(cls, given: object) -> object:
        if isinstance(given, int | float):
            return (_ramp(str(given)),)
        if isinstance(given, str):
            return tuple(_ramp(word) for word in given.split(","))
        if isinstance(given, Sequence):
            return tuple(one if isinstance(one, Ramp | dict) else _ramp(str(one)) for one in given)
        return given

    @field_validator("pressure_GPa", "make", "elements", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        if isinstance(given, str):
            return tuple(word.strip() for word in given.split(",") if word.strip())
        return (given,) if isinstance(given, int | float) else given

    @field_validator("elements")
    @classmethod
    def _known(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if strange := [one for one in symbols if one not in chemical_symbols[1:]]:
            raise ValueError(f"{strange[0]} is not an element")
        return tuple(dict.fromkeys(symbols))

    @field_validator("pressure_GPa", "temperature", "make")
    @classmethod
    def _distinct(cls, values: tuple[object, ...], info: object) -> tuple[object, ...]:
        return tuple(dict.fromkeys(values))

    @model_validator(mode="after")
    def _in_range(self) -> SampleSettings:
        if not self.temperature or not self.pressure_GPa:
            raise ValueError("at least one temperature and one pressure are needed")
        if self.ps is not None and self.steps is not None:
            raise ValueError("ps and steps both say how long: give one of them")
        if not all(np.isfinite(self.pressure_GPa)) or any(abs(one) > 1000 for one in self.pressure_GPa):
            raise ValueError("pressures are in GPa, between -1000 and 1000")
        if not all(0.3 <= one <= 3 for one in self.volumes):
            raise ValueError("volumes are ratios between 0.3 and 3, such as 0.9")
        if not all(0 < one <= 0.3 for one in self.strains):
            raise ValueError("strains are between 0 and 0.3; both senses are made of each")
        if not all(0 < one <= 1 for one in self.rattle_A):
            raise ValueError("rattle_A are displacements between 0 and 1 Å")
        return self

    def timestep(self, atoms: Atoms) -> float:
        """Return the timestep in fs."""
        return self.timestep_fs or timestep_fs(atoms)

    def length(self, atoms: Atoms) -> int:
        """Return the number of steps of a walk."""
        steps = self.steps or round(1000 * (self.ps or DEFAULT_PS) / self.timestep(atoms))
        return min(max(1, steps), MOST_STEPS)

    def refuse_unread(self) -> None:
        """Raise an OptionError if a setting is given that nothing which is asked for reads."""
        refuse_unread("sample", READS, changed_keys(self, SampleSettings()), self)


_KELVIN = re.compile(r"(\d+(?:\.\d+)?)\s*K?")


def _ramp(word: str) -> Ramp:
    """Read ``300`` or ``300:2000``."""
    ends = [_KELVIN.fullmatch(end.strip()) for end in word.split(":")]
    kelvins = [float(end[1]) for end in ends if end]
    if not len(kelvins) == len(ends) <= 2:
        raise ValueError(f"{word!r} is not a temperature: 300, 300,600,900 or 300:2000, in K")
    start, end = kelvins[0], kelvins[-1]
    if not 0 < min(start, end) <= max(start, end) <= HOTTEST_K:
        raise ValueError(f"{word!r}: temperatures are above 0 and at most {HOTTEST_K:g} K")
    return Ramp(start_K=start, end_K=end)


def _makes(*makers: Maker) -> Callable[[SampleSettings], bool]:
    return lambda asked: not set(makers).isdisjoint(asked.make)


READS = (
    *(
        Read(key, "dynamics", lambda asked: asked.md is not None, allowed=("--md nvt", "--md npt"))
        for key in ("temperature", "walkers", "ps", "steps", "timestep_fs", "gate", "spacing_fs", "frames")
    ),
    Read("pressure_GPa", "dynamics at constant pressure", lambda asked: asked.md == "npt", allowed=("--md npt",)),
    Read("volumes", "strained crystals", _makes("strain"), allowed=("--make strain",)),
    Read("strains", "strained crystals", _makes("strain"), allowed=("--make strain",)),
    Read("rattle_A", "rattles and prototypes", _makes("rattle", "prototype"), allowed=("--make rattle,prototype",)),
    Read("count", "everything that is drawn at random", lambda asked: bool(set(asked.make) - {"strain", "surface"})),
    Read("elements", "other elements", _makes("substitute", "prototype"), allowed=("--make substitute,prototype",)),
    Read("atoms", "dynamics and rattles", lambda asked: asked.md is not None or "rattle" in asked.make),
    Read("md"),
    Read("make"),
    Read("seed"),
    Read("plausible.*"),
)
"""What reads each setting."""
