"""The engine: what computes labels, in a YAML file of a few lines.

calculator: espresso                 # a name that ASE knows, or my_module:make_calculator
command: [mpirun, -np, "8", pw.x]    # words, never a line for a shell
parameters:                          # keywords of the calculator
  pseudopotentials: {Si: Si.pbe-n-rrkjus_psl.1.0.0.UPF}
  pseudo_dir: /opt/pseudo
  input_data: {ecutwfc: 40, occupations: smearing, degauss: 0.01}
  kspacing: 0.2
workers: 4
timeout: 2h
"""

from __future__ import annotations

import math
import re
import shlex
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from ase.calculators.names import names as ase_names
from pydantic import BeforeValidator, ConfigDict, Field, JsonValue

from matgraft.core.errors import ExtraError, OptionError, nearest
from matgraft.core.frozen import Frozen
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.settings import read_yaml, validated
from matgraft.potentials.simulation.calculators import ALLOWED, is_import_path

TBLITE, ESPRESSO = "tblite", "espresso"
NAMES = tuple(sorted({*ase_names, TBLITE}))
"""Calculators that go by a name."""

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|min|m|h|d|)")
_SECONDS = {"s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def seconds(value: object) -> object:
    """Return the seconds of ``"2h"``, ``"90 min"``, ``"1.5d"``, ``30``; anything else as it is."""
    found = _DURATION.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    return float(found[1]) * _SECONDS[found[2]] if found else value


def _words(value: object) -> object:
    return tuple(shlex.split(value)) if isinstance(value, str) else value


def _numbers(value: object) -> object:
    """Turn ``"1e-8"``, which YAML 1.1 takes for text, into the number, at any depth."""
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _numbers(item) for key, item in value.items()}
    return [_numbers(item) for item in value] if isinstance(value, list | tuple) else value


class Aim(Frozen):
    """The errors that labels shall stay below, for the probe of convergence and noise to warn by.

    Units: meV/atom, eV/Å (root mean square of the components), GPa.
    """

    energy_meV_per_atom: float = Field(1.0, gt=0)
    forces_eV_per_A: float = Field(0.02, gt=0)
    stress_GPa: float = Field(0.2, gt=0)


class Engine(Frozen):
    """What computes labels.

    Attributes
    ----------
    calculator
        ``module:function`` that returns an ASE calculator, or a name that ASE knows, or ``tblite``.
    parameters
        Keywords of the function or of ASE's calculator. Of Quantum ESPRESSO also ``pseudo_dir``, and ``kspacing`` in
        1/Å with ``koffset``.
    command
        Words of the program's command. Default: ASE's own configuration.
    workers
        Calculations at once.
    timeout_s
        Seconds after which a calculation is ended, with all processes that it began; in YAML ``timeout: 2h``.
    retries
        How often a calculation that failed is begun again. One whose electrons did not converge is not.
    executor
        YAML file that says where the workers are: see docs/clusters.md.
    theory
        Level of theory, as far as it does not follow from the parameters; in YAML also the name of a file.
    max_force_eV_per_A
        A force beyond it is taken for a failure.
    aim
        What the probe warns by.
    """

    model_config = ConfigDict(populate_by_name=True)

    calculator: str
    parameters: Annotated[dict[str, JsonValue], BeforeValidator(_numbers)] = Field(default_factory=dict)
    command: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    workers: int = Field(1, ge=1)
    timeout_s: Annotated[float, BeforeValidator(seconds), Field(gt=0, alias="timeout")] = 86400.0
    retries: int = Field(1, ge=0, le=10)
    executor: Path | None = None
    theory: LevelOfTheory | None = None
    max_force_eV_per_A: float = Field(100.0, gt=0)
    aim: Aim = Field(default_factory=Aim)

    @property
    def by_import(self) -> bool:
        """Whether the calculator is made by a function of the user's."""
        return is_import_path(self.calculator)

    def with_parameters(self, **changed: JsonValue) -> Engine:
        """Return a copy with some parameters replaced."""
        return self.model_copy(update={"parameters": {**self.parameters, **changed}})


def read_engine(path: Path) -> Engine:
    """Read an engine; names of files in it count from its own folder.

    Raises
    ------
    DataError
        If the file is missing or no YAML.
    OptionError
        If a key is unknown, a value does not fit, or no calculator of that name is known.
    """
    from matgraft.potentials.data.reading.theory import read_theory  # half a second, which the child does without

    content = read_yaml(path)
    if isinstance(theory := content.get("theory"), str):
        content["theory"] = read_theory(path.parent / Path(theory).expanduser()).model_dump()
    elif isinstance(theory, dict):
        content["theory"] = validated(LevelOfTheory, theory, f"{path}, theory").model_dump()
    if isinstance(executor := content.get("executor"), str):
        content["executor"] = str(_from(path, executor))
    parameters = content.get("parameters")
    if isinstance(parameters, dict) and isinstance(folder := parameters.get("pseudo_dir"), str):
        content["parameters"] = {**parameters, "pseudo_dir": str(_from(path, folder))}
    engine = with_whole_paths(validated(Engine, content, str(path)), path.parent)
    refuse_unusable(engine, str(path))
    return engine


def refuse_unusable(engine: Engine, where: str = "engine") -> None:
    """Refuse, before anything is computed, a calculator that is not known and a program that is not there.

    Raises
    ------
    OptionError
        If the calculator or the program of the command is unknown.
    ExtraError
        If tblite is not installed.
    """
    if not engine.by_import and engine.calculator not in NAMES:
        raise OptionError(
            f"calculator {engine.calculator!r} is unknown",
            where=where,
            allowed=[*ALLOWED, *NAMES],
            remedy=nearest(engine.calculator, NAMES),
        )
    if engine.calculator == TBLITE and find_spec(TBLITE) is None:
        raise ExtraError(TBLITE, "xtb")
    if engine.by_import and engine.command:
        raise OptionError(
            "command is not read beside a function that makes the calculator",
            where=where,
            remedy="hand it over in parameters, where the function takes it",
        )
    refuse_no_program(engine, where)
    if not math.isfinite(engine.timeout_s):
        raise OptionError("timeout is not finite", where=where, allowed=["2h", "90 min", "1d"])


def refuse_no_program(engine: Engine, where: str = "engine") -> None:
    """Refuse a command whose program is not there; the nodes of a cluster may have one that this machine has not.

    Raises
    ------
    OptionError
        If there is none.
    """
    if engine.command and engine.executor is None and shutil.which(engine.command[0]) is None:
        raise OptionError(
            f"command: there is no program {engine.command[0]!r}",
            where=where,
            allowed=["a program of PATH, or its whole path, and its arguments"],
            remedy="command: [/the/whole/path/of/it]",
        )


def with_whole_paths(engine: Engine, folder: Path) -> Engine:
    """Return the engine with words of its command that are paths made whole: it runs in a folder of its own."""
    words = (
        str((folder / Path(word).expanduser()).absolute())
        if word.startswith(("./", "../", "~/")) or (i == 0 and "/" in word)
        else word
        for i, word in enumerate(engine.command)
    )
    return engine.model_copy(update={"command": tuple(words)}) if engine.command else engine


def _from(path: Path, name: str) -> Path:
    return (path.parent / Path(name).expanduser()).resolve()
