"""What is asked of the physical checks: the suite, the uses, temperatures, seeds and gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import Field, field_validator

from matgraft.core.errors import OptionError, nearest
from matgraft.core.frozen import Frozen
from matgraft.potentials.checks.gates import Gates

Suite = Literal["quick", "crystal", "full"]
CheckedUse = Literal["relax", "phonons", "elastic", "md", "defects", "surfaces", "phases", "molecules"]

SUITES: tuple[Suite, ...] = get_args(Suite)
USES: dict[CheckedUse, str] = {
    "relax": "relaxation at 0 K",
    "phonons": "phonons",
    "elastic": "elasticity",
    "md": "molecular dynamics",
    "defects": "point defects",
    "surfaces": "surfaces",
    "phases": "relative energies of phases",
    "molecules": "molecules",
}
"""As it is typed -> in words."""
EVERY_USE: frozenset[CheckedUse] = frozenset(USES)


class CheckSettings(Frozen):
    """What is asked.

    Attributes
    ----------
    suite
        How much is checked where no use is named: ``quick``, ``crystal`` or ``full``.
    uses
        What the model shall be used for; empty: what the suite covers.
    temperature_K
        Lowest and highest temperature of molecular dynamics.
    seeds
        How many independent trajectories of dynamics.
    only
        Codes of the checks to run; empty: all that are asked for.
    gates
        Allowed ranges.
    """

    suite: Suite = "quick"
    uses: tuple[CheckedUse, ...] = ()
    temperature_K: tuple[float, float] = (300.0, 300.0)
    seeds: int = Field(2, ge=1, le=20)
    only: tuple[str, ...] = ()
    gates: Gates = Gates()

    @field_validator("temperature_K")
    @classmethod
    def _in_order(cls, ends: tuple[float, float]) -> tuple[float, float]:
        low, high = ends
        if not 0 < low <= high <= 10_000:
            raise ValueError("temperatures are positive, at most 10000 K, the lowest first")
        return ends


def use_in_words(use: CheckedUse, temperature_K: tuple[float, float]) -> str:
    """Say a use, of dynamics with its temperatures."""
    low, high = temperature_K
    return f"{USES[use]} at {f'{low:g} to ' if low < high else ''}{high:g} K" if use == "md" else USES[use]


def uses_of(words: Sequence[str]) -> dict[str, object]:
    """Return the settings that ``--for`` means: ``relax,md:300-1200K``.

    Raises
    ------
    OptionError
        If a use is unknown, or a temperature cannot be read.
    """
    found: dict[str, object] = {}
    uses: list[str] = []
    for word in (part.strip() for one in words for part in one.split(",")):
        use, _, span = word.partition(":")
        if use not in USES:
            raise OptionError(f"--for {word!r} is no use", allowed=USES, remedy=nearest(use, USES))
        if span and use != "md":
            raise OptionError(f"--for {word!r}: only md takes temperatures", allowed=["md:300K", "md:300-1200K"])
        if span:
            found["temperature_K"] = _temperatures(word, span)
        uses.append(use)
    return {**found, "uses": tuple(dict.fromkeys(uses))}


def _temperatures(word: str, span: str) -> tuple[float, float]:
    ends = span.removesuffix("K").replace("K-", "-").split("-")
    try:
        low, high = float(ends[0]), float(ends[-1])
    except ValueError:
        low = high = -1.0
    if len(ends) > 2 or not 0 < low <= high:
        raise OptionError(f"--for {word!r}: the temperatures cannot be read", allowed=["md:300K", "md:300-1200K"])
    return low, high
