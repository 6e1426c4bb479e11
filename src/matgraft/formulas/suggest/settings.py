"""What is asked of `suggest`, and the goal that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from pydantic import Field, FiniteFloat

from matgraft.core.errors import OptionError, nearest
from matgraft.core.frozen import Frozen
from matgraft.formulas.report.suggested import Goal
from matgraft.formulas.suggest.propose import SHARE

MOST = 200
"""Suggestions at once; the time of a batch grows with the square."""
OF_VALUES = {"maximise": "--maximise", "minimise": "--minimise", "target_value": "--target-value VALUE"}
OF_CLASSES = {"wanted_class": "--class NAME"}
OF_BOTH = {"explore": "--explore"}


class SuggestOptions(TypedDict, total=False):
    """The fields of `SuggestSettings` as keywords."""

    target: str | None
    maximise: bool
    minimise: bool
    target_value: float | None
    wanted_class: str | None
    explore: bool
    information: float | None
    seed: int


class SuggestSettings(Frozen):
    """What is asked.

    Attributes
    ----------
    n
        How many suggestions.
    target
        Of the run; needed where it has several.
    maximise, minimise, target_value, wanted_class, explore
        What is wanted: one of them. With ``explore`` information alone.
    information
        Part of the suggestions that is chosen for what it teaches, 0 to 1; `propose.SHARE` where it is not said.
    seed
        Of what is drawn: outcomes of measurements, and candidates that stand for all.
    """

    n: int = Field(10, ge=1, le=MOST)
    target: str | None = None
    maximise: bool = False
    minimise: bool = False
    target_value: FiniteFloat | None = None
    wanted_class: str | None = None
    explore: bool = False
    information: float | None = Field(None, ge=0, le=1)
    seed: int = Field(0, ge=0, lt=2**31)

    @property
    def share(self) -> float:
        """Part of the suggestions that is chosen for what it teaches."""
        if self.explore:
            return 1.0
        return SHARE if self.information is None else self.information

    def goal(self, target: str, classes: Sequence[str]) -> Goal:
        """Return what is wanted of a target.

        Parameters
        ----------
        classes
            Names of the target's classes; empty for values.

        Raises
        ------
        OptionError
            If nothing is wanted, or several things, or one that the target cannot give.
        """
        every = OF_VALUES | OF_CLASSES | OF_BOTH
        given = [name for name in every if getattr(self, name) not in (None, False)]
        able = {**(OF_CLASSES if classes else OF_VALUES), **OF_BOTH}
        kind = f"target {target!r} is of {'classes' if classes else 'values'}"
        if not given:
            raise OptionError(f"say what you want: {kind}", allowed=able.values(), remedy="say one of them")
        if len(given) > 1:
            said = " and ".join(every[name] for name in given)
            raise OptionError(f"{said} are given", allowed=able.values(), remedy="say one of them")
        if given[0] not in able:
            raise OptionError(f"{every[given[0]]} is not read: {kind}", allowed=able.values())
        if self.explore and self.information is not None:
            raise OptionError(
                "--information is not read with --explore, which chooses by information alone", remedy="remove it"
            )
        if self.wanted_class is not None and self.wanted_class not in classes:
            found = f"{self.wanted_class!r} is not a class of {target!r}"
            raise OptionError(found, allowed=classes, remedy=nearest(self.wanted_class, classes))
        if self.target_value is not None:
            return Goal(kind="target-value", value=self.target_value)
        if self.wanted_class is not None:
            return Goal(kind="class", wanted=self.wanted_class)
        return Goal(kind="explore" if self.explore else "maximise" if self.maximise else "minimise")
