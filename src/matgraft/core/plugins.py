"""What other packages add by entry points: backbones (group ``matgraft.backbones``) and checks (``matgraft.checks``).

    [project.entry-points."matgraft.backbones"]
    lab = "lab_potential:ROW"

Names are read from the metadata of installed packages; a package is imported when one of its names is asked for.
"""

from __future__ import annotations

import sys
from collections import UserDict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from matgraft.core.errors import OptionError
from matgraft.core.frozen import Frozen

T = TypeVar("T")
GROUPS = {"matgraft.backbones": "backbone", "matgraft.checks": "check"}
"""Group of entry points -> what one of them is, in words."""


class Plugin(Frozen):
    """One name that a package adds.

    Attributes
    ----------
    kind
        In words, as of `GROUPS`.
    package, version
        Of the installed distribution that says so.
    value
        ``module:name`` of what is imported.
    """

    name: str
    kind: str
    package: str
    version: str
    value: str


def plugins_of(group: str) -> list[Plugin]:
    """Return what installed packages add to a group, by name. Nothing of theirs is imported."""
    return [_described(one, GROUPS[group]) for one in _entry_points(group, tuple(sys.path))]


class Extended(UserDict[str, T]):
    """What matgraft has of a kind, by name, and what other packages add; an own name is never replaced.

    Names and length count those of packages. What a package adds is imported by ``[name]`` and by nothing else but
    ``values()`` and ``items()``; `data` is matgraft's own.

    Parameters
    ----------
    own
        What matgraft has.
    group
        Of entry points.
    wanted
        What an entry point must be: its type, or of classes the class that it inherits.
    """

    def __init__(self, own: Mapping[str, T], group: str, wanted: type) -> None:
        super().__init__(own)
        self._group, self._wanted = group, wanted

    def __contains__(self, name: object) -> bool:
        """Say whether matgraft or a package has the name."""
        return name in self.data or any(one.name == name for one in self._others())

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, matgraft's own first."""
        yield from self.data
        yield from dict.fromkeys(one.name for one in self._others())

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __missing__(self, name: str) -> T:
        """Import what a package adds.

        Raises
        ------
        OptionError
            If two packages add the name, it cannot be imported, or it is something else than it should be.
        """
        found = [one for one in self._others() if one.name == name]
        if not found:
            raise KeyError(name)
        said = [_described(one, GROUPS[self._group]) for one in found]
        if len(found) > 1:
            raise OptionError(
                f"{len(found)} packages add the {said[0].kind} {name!r}: {' and '.join(map(_of, said))}",
                remedy="uninstall all but one of them",
            )
        return self._checked(found[0], said[0])

    def _checked(self, point: EntryPoint, said: Plugin) -> T:
        where = f"{said.kind} {said.name} of the package {_of(said)}"
        remedy = f"install another version of {said.package}, or tell its authors; without it matgraft works as before"
        try:
            found = point.load()
        except Exception as error:  # whatever a stranger's module raises when it is imported
            reason = f"{type(error).__name__}: {error}"
            raise OptionError(f"cannot be imported from {said.value} ({reason})", where=where, remedy=remedy) from error
        fits = issubclass(found, self._wanted) if isinstance(found, type) else isinstance(found, self._wanted)
        if not fits:
            what = found.__name__ if isinstance(found, type) else f"a {type(found).__name__}"
            wanted = self._wanted.__name__
            raise OptionError(f"{said.value} is {what}, and {wanted} is needed", where=where, remedy=remedy)
        return found

    def _others(self) -> list[EntryPoint]:
        return [one for one in _entry_points(self._group, tuple(sys.path)) if one.name not in self.data]


@lru_cache(maxsize=8)
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group; the path is where they were looked for."""
    return tuple(sorted(entry_points(group=group), key=lambda one: (one.name, one.value)))


def _described(point: EntryPoint, kind: str) -> Plugin:
    package, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "")
    return Plugin(name=point.name, kind=kind, package=package, version=version, value=point.value)


def _of(plugin: Plugin) -> str:
    return f"{plugin.package} {plugin.version}".rstrip()
