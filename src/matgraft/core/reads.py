"""What each verb reads of its options: an option that a verb would not read is an error, never ignored.

    READS = (Read("fit.*"), Read("loss.huber_delta*", "loss.kind=huber", lambda recipe: recipe.loss.kind == "huber"))
    refuse_unread("tune", READS, given=["loss.huber_delta"], request=recipe)

Each verb declares its reads beside the settings that they belong to: in `matgraft.potentials.recipe`, in
`matgraft.formulas.predictor.settings`, and in `matgraft.cli` for its own options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel

from matgraft.core.errors import OptionError


@dataclass(frozen=True)
class Read:
    """That a verb reads an option.

    Attributes
    ----------
    key
        The option's name, with ``*`` for any ending.
    by
        What reads it, where that is not always there.
    when
        Whether this is there, from what is asked of the verb.
    allowed
        What would read it, for the error.
    options
        Options with which it is read, for the error.
    """

    key: str
    by: str = ""
    when: Callable[[Any], bool] = lambda request: True
    allowed: tuple[str, ...] = ()
    options: tuple[Mapping[str, Any], ...] = ()

    def matches(self, key: str) -> bool:
        """Say whether this is the option."""
        return fnmatchcase(key, self.key)


def refuse_unread(
    verb: str,
    reads: Sequence[Read],
    given: Iterable[str],
    request: Any = None,
    others: Mapping[str, Sequence[Read]] | None = None,
) -> None:
    """Raise for the first option that the verb does not read.

    Parameters
    ----------
    verb
        Words behind ``matgraft``.
    reads
        What it reads. Of several reads of one option all must be there.
    given
        Names of the options that were given.
    request
        What is asked of the verb, for `Read.when`.
    others
        What further verbs read, for the error.

    Raises
    ------
    OptionError
        With the option, the verb and what reads the option.
    """
    for key in given:
        found = [read for read in reads if read.matches(key)]
        if not found:
            able = [f"`matgraft {name}`" for name, theirs in (others or {}).items() if _any_reads(theirs, key)]
            raise OptionError(
                f"{key} is not read by `matgraft {verb}`",
                allowed=[read.key for read in reads],
                remedy="remove it" + (f"; {', '.join(able)} read{'s' * (len(able) == 1)} it" if able else ""),
            )
        for read in found:
            if not read.when(request):
                raise OptionError(
                    f"{key} is not read: `matgraft {verb}` reads it for {read.by}",
                    allowed=read.allowed,
                    remedy="remove it",
                    options=read.options,
                )


def unread(reads: Sequence[Read], keys: Iterable[str], request: Any = None) -> list[str]:
    """Return the keys that a verb does not read; parameters as of `refuse_unread`."""
    found = {key: [read.when(request) for read in reads if read.matches(key)] for key in keys}
    return [key for key, there in found.items() if not there or not all(there)]


def changed_keys(model: BaseModel, default: BaseModel, before: str = "") -> Iterator[str]:
    """Return the dotted names of the fields whose value is not the default's."""
    for name in type(model).model_fields:
        value, usual = getattr(model, name), getattr(default, name)
        if isinstance(value, BaseModel):
            yield from changed_keys(value, usual, f"{before}{name}.")
        elif value != usual:
            yield f"{before}{name}"


def _any_reads(reads: Sequence[Read], key: str) -> bool:
    return any(read.matches(key) for read in reads)
