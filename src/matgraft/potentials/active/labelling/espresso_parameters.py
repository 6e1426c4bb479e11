"""What may stand under ``parameters`` of Quantum ESPRESSO, and what is refused there before anything is computed.

ASE's calculator passes over a name that it does not know, and over a keyword of pw.x that is mistyped: the label would
be that of other settings, without a word. What pw.x itself refuses is left to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from ase.io.espresso_namelist.keys import ALL_KEYS
from pydantic import Field, JsonValue, StrictBool, StrictInt

from matgraft.core.errors import OptionError, nearest
from matgraft.core.frozen import Frozen
from matgraft.core.settings import validated
from matgraft.potentials.active.labelling.engine import Engine

_SECTIONS: dict[str, list[str]] = {name.lower(): list(keys) for name, keys in ALL_KEYS["pw"].items()}
_KEYWORDS = [key.lower() for keys in _SECTIONS.values() for key in keys]
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("ecutwfc", "ecutrho", "degauss"), (int, float)),
    **dict.fromkeys(("nspin", "dftd3_version"), (int,)),
    **dict.fromkeys(("noncolin", "lspinorb", "lda_plus_u", "scf_must_converge"), (bool,)),
}
"""Keywords that matgraft reads too, and what they hold."""

_Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
_Divisions = Annotated[list[Annotated[StrictInt, Field(ge=1)]], Field(min_length=3, max_length=3)]
_Half = StrictBool | Literal[0, 1]


class _Rule(Frozen):
    """A mesh by ASE's own rules: so many divisions, or as many as make a density in Å."""

    size: _Divisions | None = None
    density: _Positive | None = None
    gamma: StrictBool | None = None
    even: StrictBool | None = None


class _Parameters(Frozen):
    """The keywords of ASE's calculator, and those that matgraft adds."""

    pseudo_dir: JsonValue = None  # the first three are read by `espresso`
    pseudopotentials: JsonValue = None
    input_data: JsonValue = None
    kspacing: _Positive | None = None
    kpts: _Divisions | _Rule | None = None
    koffset: _Half | Annotated[list[_Half], Field(min_length=3, max_length=3)] = 0
    crystal_coordinates: StrictBool = False
    additional_cards: str | list[str] = ""


_ALLOWED = {
    "kpts": "[4, 4, 4], or {density: 4, gamma: true}",
    "koffset": "0 or 1, or one of them for each direction, as [1, 1, 1]",
    "kspacing": "a number above 0 in 1/Å, as 0.2",
}


def refuse_unreadable(engine: Engine) -> None:
    """Refuse parameters that are not read, are passed over, or hold what cannot be meant.

    Raises
    ------
    OptionError
        If there is one.
    """
    for name, value in engine.parameters.items():
        if name.lower() in _KEYWORDS and name not in _Parameters.model_fields:
            raise OptionError(
                f"parameters.{name} is a keyword of pw.x",
                where="engine",
                remedy=f"write it under input_data, as input_data: {{{name}: {value}}}",
            )
    for name, told in _ALLOWED.items():
        if name in engine.parameters:
            _refuse_value(name, engine.parameters[name], told)
    validated(_Parameters, engine.parameters, "engine, parameters")
    if isinstance(given := engine.parameters.get("input_data"), dict):
        _refuse_input(given)


def _refuse_value(name: str, value: JsonValue, told: str) -> None:
    try:
        validated(_Parameters, {name: value})
    except OptionError as error:
        raise OptionError(f"parameters.{name} is {value!r}", where="engine", allowed=[told]) from error


def _refuse_input(given: Mapping[str, JsonValue]) -> None:
    for name, value in given.items():
        if isinstance(value, dict):
            if name.lower() not in _SECTIONS:
                raise OptionError(
                    f"input_data.{name} is not a section of pw.x",
                    where="engine",
                    allowed=list(_SECTIONS),
                    remedy=nearest(name.lower(), list(_SECTIONS)),
                )
            for key, one in value.items():
                _refuse_keyword(key, one)
        elif _bare(name) not in _KEYWORDS:
            near = nearest(_bare(name), _KEYWORDS)
            section = f"write it under its section, as input_data: {{system: {{{name}: {value}}}}}"
            raise OptionError(
                f"input_data.{name} is not a keyword of pw.x that ASE knows, and it would be ignored",
                where="engine",
                remedy=f"{near} If not, {section}" if near else section,
            )
        else:
            _refuse_keyword(name, value)


def _refuse_keyword(name: str, value: JsonValue) -> None:
    kinds = _TYPES.get(_bare(name))
    if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
        what = "true or false" if bool in kinds else "a number"
        raise OptionError(f"input_data: {name} is {value!r}", where="engine", allowed=[what])
    if _bare(name) == "scf_must_converge" and not value:
        raise OptionError(
            "input_data: scf_must_converge is false: pw.x then says of every run that it has converged",
            where="engine",
            remedy="leave it out, and give electron_maxstep a higher number",
        )


def _bare(name: str) -> str:
    """Return a keyword without its index: ``hubbard_u(1)`` is ``hubbard_u``."""
    return name.lower().partition("(")[0].strip()
