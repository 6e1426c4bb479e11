"""ASE calculators of an engine, made in the process that computes.

One that runs a program through files is made anew for each frame, in an empty folder: what the last calculation left in
its parameters and files is no part of the next. One that computes by itself is kept, with whatever it has loaded.
"""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, FileIOCalculator, get_calculator_class
from ase.calculators.genericfileio import GenericFileIOCalculator

from matgraft.core.errors import OptionError
from matgraft.potentials.active.labelling.engine import ESPRESSO, TBLITE, Engine
from matgraft.potentials.simulation.calculators import calculator_maker


class _Profile(NamedTuple):
    """Where ASE keeps the command of a code, and the parameters that it keeps with it."""

    module: str
    name: str
    keys: tuple[str, ...] = ()


_PROFILES = {
    "abinit": _Profile("ase.calculators.abinit", "AbinitProfile", ("pp_paths",)),
    "aims": _Profile("ase.calculators.aims", "AimsProfile", ("default_species_directory",)),
    "octopus": _Profile("ase.calculators.octopus", "OctopusProfile"),
    "orca": _Profile("ase.calculators.orca", "OrcaProfile"),
}
_QUIET = {TBLITE: {"verbosity": 0}}


class Maker:
    """Hands out the calculator for a frame.

    Parameters
    ----------
    engine
        Settled.
    folder
        Where a program's files go.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self._make = _maker(engine, folder)
        self._kept: BaseCalculator | None = None

    def __call__(self, atoms: Atoms) -> BaseCalculator:
        """Return a calculator that has seen no other frame, or one that keeps nothing of it."""
        if self._kept is not None:
            return self._kept
        made = self._make(atoms)
        if isinstance(made, GenericFileIOCalculator | FileIOCalculator):
            made.directory = self._folder if isinstance(made, GenericFileIOCalculator) else str(self._folder)
        else:
            self._kept = made
        return made

    def forget(self) -> None:
        """Make another calculator for the next frame: one that raised may be in no sound state."""
        self._kept = None


def _maker(engine: Engine, folder: Path) -> Callable[[Atoms], Any]:
    if engine.by_import:
        own = calculator_maker(engine.calculator, engine.parameters)
        return lambda atoms: own()
    if engine.calculator == ESPRESSO:
        return lambda atoms: _espresso(engine, atoms, folder)
    kind = _class_of(engine.calculator)
    given = {**_QUIET.get(engine.calculator, {}), **engine.parameters}
    if engine.calculator in _PROFILES:
        return lambda atoms: kind(**_with_profile(engine, _PROFILES[engine.calculator]))
    command = {"command": shlex.join(engine.command)} if engine.command else {}
    return lambda atoms: kind(**command, **deepcopy(given))


def _class_of(name: str) -> Any:
    if name == TBLITE:
        from tblite.ase import TBLite

        return TBLite
    try:
        return get_calculator_class(name)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"calculator {name!r} cannot be imported: {error}", where="engine") from error


def _espresso(engine: Engine, atoms: Atoms, folder: Path) -> Any:
    from ase.calculators.espresso import Espresso, EspressoProfile  # a second, which other engines do without

    from matgraft.potentials.active.labelling.espresso import keywords

    profile = EspressoProfile(shlex.join(engine.command), str(engine.parameters["pseudo_dir"]))
    return Espresso(profile=profile, directory=folder, **keywords(engine, atoms))


def _with_profile(engine: Engine, profile: _Profile) -> Mapping[str, object]:
    """Return keywords with the profile that the command makes; without a command ASE's own configuration has it."""
    given = deepcopy(dict(engine.parameters))
    if not engine.command:
        return given
    own = {key: given.pop(key) for key in profile.keys if key in given}
    made = getattr(importlib.import_module(profile.module), profile.name)
    return {**given, "profile": made(command=shlex.join(engine.command), **own)}
