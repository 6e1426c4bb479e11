"""The ladder: rungs from the foundation as it is to a fit of everything, and the rules by which a climb goes on.

| rung    | what it is                           | costs                                                |
| ------- | ------------------------------------ | ---------------------------------------------------- |
| untuned | the foundation                       | predictions of the validation frames                 |
| shift   | with shifted reference energies      | nothing more                                         |
| feature | the readout, on cached features      | a cache and quick steps; at most half of the minutes |
| lora    | low-rank updates of linear layers    | its share of what is left                            |
| full    | every stage                          | its share, twice that of the rung before             |
| replay  | every stage, among rehearsed frames  | the same                                             |

All rungs are judged on the validation frames, never on the test, and by one loss: the recipe's weights, whatever a rung
itself was trained by. Everything here is a function of figures alone; `matgraft.potentials.tuning.climb` does the work.

The climb ends

1. at the target: every error named in ``ladder.target`` is met;
2. where it does not pay: two tuned rungs in a row each lowered the best validation loss by less than ``ladder.worth``.
   One does not end it, since a rung says little about the next: it has fewer parameters and half of the minutes. On
   the published frames (`benchmarks/`) two minutes of `partial` took 2 % (Si) and nothing (Mo) off the loss of
   `feature`, and `full` then 46 % in twelve minutes and 36 % in four.
3. with the time (`allot`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, field_validator

from matgraft.core.errors import OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import POTENTIAL_QUANTITIES
from matgraft.core.run_folder import RunFile
from matgraft.core.training.strategy import STRATEGIES, MultiHead, Replay, Strategy, make_strategy, options_of
from matgraft.potentials.data.dataset import Dataset

LADDER = "ladder"
BASELINES = ("untuned", "shift")
RUNGS = ("feature", "lora", "full", Replay.name)
"""The rungs above the baselines, cheap to dear."""
DEFAULT_MINUTES = 30.0
"""Of a whole climb when nothing bounds it."""
IN_A_ROW = 2
"""Tuned rungs that must bring too little before the climb ends."""

Fate = Literal["kept", "climbed", "skipped", "failed"]
"""What became of a rung."""


class LadderSettings(Frozen):
    """How far to climb."""

    rungs: tuple[str, ...] = RUNGS
    """Strategies in the order in which they are tried, cheap to dear."""
    target: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Validation RMSEs at which the climb ends, all met: ``{"energy": 5.0, "forces": 0.1}``, in meV/atom, eV/Å, GPa."""
    worth: float = Field(0.05, ge=0, lt=1)
    """Part of the validation loss that a rung must take off the best one so far; 0 climbs every rung."""

    @field_validator("rungs")
    @classmethod
    def _known_once(cls, rungs: tuple[str, ...]) -> tuple[str, ...]:
        known = set(STRATEGIES) - {MultiHead.name}  # its frames have heads, which no other rung could be judged by
        if not rungs or len(set(rungs)) < len(rungs) or not set(rungs) <= known:
            raise ValueError(f"name some of {', '.join(sorted(known))}, each once")
        return rungs

    @field_validator("target")
    @classmethod
    def _known_quantities(cls, target: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(target) - set(POTENTIAL_QUANTITIES)):
            raise ValueError(f"{', '.join(unknown)} is none of {', '.join(POTENTIAL_QUANTITIES)}")
        return target


class RungBegun(Frozen):
    """The rung that is being fitted: what a killed climb goes on with."""

    name: str
    minutes: float
    """Of its fit, and of the cache before it where there is one."""


@dataclass(frozen=True)
class Cost:
    """What a rung is forecast to take, in minutes.

    Attributes
    ----------
    least
        Of the shortest fit worth making.
    before
        Before its first step.
    ends_itself
        True if its steps are soon done, however many minutes it has.
    words
        The forecast, to say why a rung was skipped.
    """

    least: float
    before: float = 0.0
    ends_itself: bool = False
    words: str = ""


class RungResult(Frozen):
    """What came of a rung.

    Attributes
    ----------
    minutes
        The whole adaptation and its judgement; 0 of the baselines.
    errors
        ``validation_loss`` and ``validation_<quantity>_rmse_<unit>``; empty where the rung was not climbed.
    gain
        Part that it took off the best validation loss before it; negative where it is worse.
    why
        Reason of the verdict, where it has one.
    """

    name: str
    verdict: Fate = "climbed"
    why: str = ""
    minutes: float = 0.0
    errors: dict[str, float] = Field(default_factory=dict)
    gain: float | None = None

    @property
    def loss(self) -> float:
        """The validation loss; infinite where there is none."""
        loss = self.errors.get("validation_loss", math.inf)
        return loss if math.isfinite(loss) else math.inf


class Climb(Frozen):
    """A climb as far as it has come: ladder.json.

    Attributes
    ----------
    max_minutes
        Of the whole climb.
    loss_weights
        Of the loss that judges every rung.
    begun
        The rung under way.
    rungs
        Those that are done with, in order.
    kept, stopped
        The rung whose model is kept, and why the climb ended; empty before its end.
    """

    max_minutes: float
    target: dict[str, float] = Field(default_factory=dict)
    worth: float = 0.0
    loss_weights: dict[str, float] = Field(default_factory=dict)
    begun: RungBegun | None = None
    rungs: tuple[RungResult, ...] = ()
    kept: str = ""
    stopped: str = ""

    @property
    def minutes(self) -> float:
        """Minutes spent on the rungs that are done with."""
        return sum(rung.minutes for rung in self.rungs)

    @property
    def sentence(self) -> str:
        """What was kept and why the climb ended, for a verdict."""
        climbed = len([rung for rung in self.rungs if rung.errors])
        return (
            f"The ladder kept {self.kept}, the best on the validation frames of {climbed} rungs climbed in "
            f"{self.minutes:.1f} minutes. It ended because {self.stopped}."
        )


CLIMB = RunFile("ladder.json", Climb)


def make_rungs(names: Sequence[str] = RUNGS, **options: object) -> dict[str, Strategy]:
    """Return the strategies of the rungs, each with those options that it reads.

    Parameters
    ----------
    options
        As of `make_strategy`; None or empty is not given.

    Raises
    ------
    OptionError
        If an option is read by none of the rungs.
    """
    given = {key: value for key, value in options.items() if value not in (None, ())}
    read = {name: options_of(name) for name in names}
    for key in given:
        if not any(key in keys for keys in read.values()):
            readers = [name for name in STRATEGIES if key in options_of(name)]
            raise OptionError(
                f"strategy.{key} is not read with the rungs {', '.join(names)}",
                allowed=[f"strategy.name={name}" for name in readers],
                options=[{"ladder.rungs": [*names[:-1], name, names[-1]]} for name in readers],
            )
    return {name: make_strategy(name, **{k: v for k, v in given.items() if k in read[name]}) for name in names}  # type: ignore[arg-type]


def refuse_idle_target(target: Mapping[str, float], weights: Mapping[str, float], validation: Dataset) -> None:
    """Raise for a target that no rung can be held against.

    Parameters
    ----------
    weights
        Of the loss, by quantity.
    """
    judged = [name for name in weights if validation.count(name)]
    for name in target:
        if name not in judged:
            reason = "its weight in the loss is 0" if name not in weights else "no validation frame has it"
            raise OptionError(f"ladder.target.{name} is not read: {reason}", allowed=judged)


def allot(left: float, ahead: int, cost: Cost) -> float | None:
    """Return the minutes of the next rung's fit, or None if it should not begin.

    Each rung ahead gets twice the minutes of the one before it, and those that follow share what one leaves over. One
    that needs more than its share takes it, and one that ends by itself has all that it may: half of what is left, or
    everything where it is the last.

    Parameters
    ----------
    left
        Minutes left of the climb.
    ahead
        Rungs not yet tried, this one included.
    """
    most = (left if ahead == 1 else left / 2) - cost.before
    if cost.least > most:
        return None
    return most if cost.ends_itself else max(left / (2**ahead - 1) - cost.before, cost.least)


def meets(errors: Mapping[str, float], target: Mapping[str, float]) -> bool:
    """Say whether every target is met; never where there is none."""
    return bool(target) and all(errors.get(error_key(name), math.inf) <= value for name, value in target.items())


def best(rungs: Sequence[RungResult], target: Mapping[str, float], worth: float = 0.0) -> RungResult:
    """Return the rung to keep: the lowest validation loss, the cheaper of two equal ones.

    A rung that meets the target goes before all that do not, whatever their loss. Replay may cost `worth` of the lowest
    loss, as a part: what it keeps off the target's chemistry no validation frame shows. Baselines keep all of that: it
    must be better than they are.
    """
    climbed = [rung for rung in rungs if rung.errors]
    able = [rung for rung in climbed if meets(rung.errors, target)] or climbed
    lowest = min(able, key=lambda rung: rung.loss)
    untrained = min((rung.loss for rung in climbed if rung.name in BASELINES), default=math.inf)
    bound = (1 + worth) * lowest.loss
    kept = (rung for rung in able if rung.name == Replay.name and rung.loss < untrained and rung.loss <= bound)
    return next(kept, lowest)


def gain_of(loss: float, before: Sequence[RungResult]) -> float | None:
    """Return the part that a validation loss takes off the lowest one before it."""
    lowest = min((rung.loss for rung in before), default=math.inf)
    return 1 - loss / lowest if 0 < lowest < math.inf and math.isfinite(loss) else None


def reason_to_stop(rungs: Sequence[RungResult], settings: LadderSettings) -> str:
    """Say why the climb ends before the next rung; empty if it goes on."""
    return target_met(rungs, settings) or not_worth(rungs, settings)


def target_met(rungs: Sequence[RungResult], settings: LadderSettings) -> str:
    """Say which rung met the target; empty if none did."""
    for rung in rungs:
        if meets(rung.errors, settings.target):
            return f"{rung.name} met the target ({_errors_in_words(rung.errors, settings.target)})"
    return ""


def not_worth(rungs: Sequence[RungResult], settings: LadderSettings) -> str:
    """Say that the last rungs brought too little for a dearer one; empty if they did not."""
    climbed = [rung for rung in rungs if rung.errors]
    last = [rung for rung in climbed if rung.name not in BASELINES][-IN_A_ROW:]
    if len(last) == IN_A_ROW and all((rung.gain or 0.0) < settings.worth for rung in last):
        bought = " and ".join(f"{rung.name} bought {_bought(rung.gain)}" for rung in last)
        minutes = sum(rung.minutes for rung in last)
        return f"{bought} of the validation loss for {minutes:.1f} minutes, less than {100 * settings.worth:g} % each"
    return ""


def error_key(quantity: str) -> str:
    """Return the key of a validation error: ``validation_forces_rmse_eV_per_A``."""
    return f"validation_{quantity}_rmse_{POTENTIAL_QUANTITIES[quantity].report_suffix}"


def _errors_in_words(errors: Mapping[str, float], names: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {errors[error_key(name)]:.3g} {POTENTIAL_QUANTITIES[name].report_unit}" for name in names)


def _bought(gain: float | None) -> str:
    return f"{100 * gain:.1f} %" if gain is not None and gain > 0 else "nothing"
