"""Whether an engine computes what the frames are that it is asked of: their elements, charges and moments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from pydantic import JsonValue

from matgraft.core.errors import DataError, OptionError
from matgraft.potentials.active.labelling import espresso
from matgraft.potentials.active.labelling.engine import ESPRESSO, Engine
from matgraft.potentials.active.labelling.frames import FrameToLabel

_CHARGES = ("charge", "tot_charge", "net_charge", "nelect")
"""Keywords by which programs are told a charge, or the number of electrons in its place."""
_OF_SPECIES = re.compile(r"(\w+)\((\d+)(,\d+)*\)")
"""Keywords of pw.x that go by the number of a species: ``hubbard_u(1)``."""


def refuse_unsuited(engine: Engine, asked: Sequence[FrameToLabel]) -> None:
    """Refuse frames that the engine would take for something else, before anything is computed.

    Raises
    ------
    OptionError
        If there is no pseudopotential of an element, or a keyword by species is of two elements.
    DataError
        If a frame states a charge that the engine does not read, or has no cell or moments that it cannot take.
    """
    if not engine.by_import:
        _refuse_charges(engine, asked)
    if engine.calculator == ESPRESSO:
        _refuse_elements(engine, {symbol for one in asked for symbol in one.atoms.symbols})
        _refuse_without_cell(asked)
        _refuse_vectors(asked)
        _refuse_species(engine, asked)


def _refuse_elements(engine: Engine, symbols: set[str]) -> None:
    known = espresso.pseudopotentials(engine)
    if missing := sorted(symbols - known.keys()):
        raise OptionError(
            f"parameters.pseudopotentials has none for {', '.join(missing)}", where="engine", allowed=sorted(known)
        )


def _refuse_charges(engine: Engine, asked: Sequence[FrameToLabel]) -> None:
    """Refuse ions: calculators that go by a name read no tag, and the label would be that of the neutral frame."""
    said = list(_values(engine.parameters, _CHARGES))
    for atoms, where in asked:
        charge = 0.0
        with suppress(ValueError):
            charge = float(atoms.info.get("charge", 0))
        if charge and not any(name == "nelect" or value == charge for name, value in said):
            raise DataError(
                f"the frame states a charge of {charge:g}, which {engine.calculator} does not read from it",
                where=where,
                remedy="say the charge of all frames under parameters of the engine, or name a function of your own "
                "that reads it (calculator: my_module:make_calculator), or leave the tag out",
            )


def _values(given: Mapping[str, JsonValue], names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if isinstance(value, dict):
            yield from _values(value, names)
        elif name.lower() in names:
            yield name.lower(), value


def _refuse_without_cell(asked: Sequence[FrameToLabel]) -> None:
    for atoms, where in asked:
        if atoms.cell.rank < 3:
            raise DataError(
                "the frame has no whole cell, and plane waves need one",
                where=where,
                remedy="put it in a box: atoms.center(vacuum=6) of ASE, along each direction that has no cell vector",
            )


def _refuse_vectors(asked: Sequence[FrameToLabel]) -> None:
    for atoms, where in asked:
        if np.ndim(atoms.get_initial_magnetic_moments()) > 1:
            raise DataError(
                "its initial magnetic moments are vectors, which ASE cannot write for pw.x",
                where=where,
                remedy="give one number for each atom",
            )


def _refuse_species(engine: Engine, asked: Sequence[FrameToLabel]) -> None:
    """Refuse a keyword by the number of a species where that is not one element: atoms stand in another order."""
    system = espresso.namelist(engine.parameters)["system"]
    by_number = {name: int(found[2]) for name in system if (found := _OF_SPECIES.fullmatch(name))}
    for name, number in by_number.items():
        first: dict[str, str] = {}
        for atoms, where in asked:
            species = espresso.species_of(atoms)
            if number <= len(species):
                first.setdefault(species[number - 1], where)
        if len(first) > 1:
            told = ", ".join(f"{symbol} in {where}" for symbol, where in first.items())
            raise OptionError(
                f"input_data: {name} is that of {told}: species are numbered as they come in a frame",
                where="engine",
                remedy="sort the atoms of all frames by element in one order, and label frames whose first elements "
                "differ by an engine file of their own",
            )
