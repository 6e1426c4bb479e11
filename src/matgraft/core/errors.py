"""Errors a user can act on: what was found, where, what is allowed, what to do.

Every error that matgraft raises on purpose derives from `MatgraftError`; the command line prints it without a traceback
and leaves with the error's `exit_code`.

    raise OptionError("strategy 'ful' is unknown", allowed=["full", "partial"], remedy="did you mean 'full'?")
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping
from textwrap import indent
from typing import TypedDict, TypeVar

from matgraft.core.options import offer

T = TypeVar("T")


class ErrorFacts(TypedDict):
    """What an error says as data; the names are those of `MatgraftError`, and `kind` is its class."""

    kind: str
    found: str
    where: str
    allowed: list[str]
    remedy: str
    options: list[dict[str, object]]
    commands: list[list[str]]
    causes: list[ErrorFacts]


class MatgraftError(Exception):
    """Base of all deliberate errors.

    Parameters
    ----------
    found
        What is wrong, with the offending value in it.
    where
        File, frame, line or option that it was found in.
    allowed
        What would have been accepted.
    remedy
        The next thing to do, in words: what can be typed is one of the following.
    options
        Options that put it right when they are typed behind the command, name -> value; each mapping is enough.
    commands
        Commands that put it right, each as its words. Options and commands are printed as a shell takes them.
    causes
        What was found one by one, each with a remedy of its own.
    """

    exit_code = 2

    def __init__(
        self,
        found: str,
        *,
        where: str = "",
        allowed: Iterable[str] = (),
        remedy: str = "",
        options: Iterable[Mapping[str, object]] = (),
        commands: Iterable[Iterable[object]] = (),
        causes: Iterable[MatgraftError] = (),
    ) -> None:
        self.found, self.where, self.allowed, self.remedy = found, where, tuple(allowed), remedy
        self.options, self.commands = tuple(options), tuple(tuple(map(str, words)) for words in commands)
        self.causes = tuple(causes)
        lines = [f"{where}: {found}" if where else found]
        lines += [indent(str(cause), "  ") for cause in self.causes]
        if self.allowed:
            lines.append("allowed: " + ", ".join(self.allowed))
        if remedy:
            lines.append("remedy: " + remedy)
        lines += map(offer, self.options)
        lines += [f"command: {shlex.join(words)}" for words in self.commands]
        super().__init__("\n".join(lines))

    def facts(self) -> ErrorFacts:
        """Return what the message says as data, for ``--json``."""
        return {
            "kind": type(self).__name__,
            "found": self.found,
            "where": self.where,
            "allowed": list(self.allowed),
            "remedy": self.remedy,
            "options": [dict(settings) for settings in self.options],
            "commands": [list(words) for words in self.commands],
            "causes": [cause.facts() for cause in self.causes],
        }


class DataError(MatgraftError):
    """The data cannot be used as they stand."""

    exit_code = 3


class AuditError(MatgraftError):
    """The audit found something that blocks training."""

    exit_code = 1


class OptionError(MatgraftError):
    """An option names something that does not exist, or is not read."""


class ExtraError(MatgraftError):
    """An optional dependency is missing: one that an extra brings, or one that matgraft itself never needs."""

    def __init__(self, package: str, extra: str, remedy: str = "") -> None:
        command = ("pip", "install", f"matgraft[{extra}]" if extra else package)
        super().__init__(f"the package {package!r} is not installed", remedy=remedy, commands=[command])


class StepZeroError(MatgraftError):
    """Before the first step the prepared model no longer equals its foundation."""

    exit_code = 4


class RunError(MatgraftError):
    """A run folder is incomplete, or a run broke off."""

    exit_code = 5


class ChangedError(RunError):
    """A file is not what matgraft wrote."""

    exit_code = 3


def nearest(name: str, known: Iterable[str], alike: float = 0.4) -> str:
    """Say the known name closest to `name`, as a ready remedy (empty when nothing is close).

    Parameters
    ----------
    alike
        Likeness, 0 to 1, from which on a name is close.
    """
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=alike)
    return f"did you mean {match[0]!r}?" if match else ""


def choose(name: str, known: Mapping[str, T], what: str, instead: Mapping[str, str] | None = None) -> T:
    """Return ``known[name]``, or raise an `OptionError` that names the nearest key.

    Parameters
    ----------
    what
        The kind of thing looked up, for the message: "strategy", "backbone".
    instead
        What to do instead, by names that are known elsewhere but not here.
    """
    if name not in known:
        remedy = (instead or {}).get(name) or nearest(name, known)
        raise OptionError(f"{what} {name!r} is unknown", allowed=sorted(known), remedy=remedy)
    return known[name]
