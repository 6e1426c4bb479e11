"""Fits on all rows, kept as arrays beside the training data: fits.safetensors.

A predictor of many rows does not keep them (`MOST_ROWS`), nor does one of classes or of many zeros, nor a folder of an
earlier version: there the members are fitted again on the training rows when they are first asked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.weights import load_arrays, refuse_infinite, refuse_other_names
from matgraft.formulas.learners.forest import Forest
from matgraft.formulas.learners.inputs import Inputs, OnBlocks
from matgraft.formulas.learners.novelty import Neighbourhood
from matgraft.formulas.learners.stored import FlatTrees, StoredForest, StoredProcess
from matgraft.formulas.predictor.members import Member
from matgraft.formulas.predictor.predictor import Predictor

Arrays = dict[str, NDArray[Any]]
FITS = "fits.safetensors"
MOST_ROWS = 2000
"""Rows up to which fits are kept: 14 bytes a node are 17 MB a forest there, and a prediction waits for the file."""
LARGEST = 1e60
"""Of a number that was learned; squares of larger ones leave the range of floating point."""
AGAIN = "copy the whole folder again from a complete copy, or tune again"
POINTS, UNIT = "neighbourhood.points", "neighbourhood.unit"
Kept = TypeVar("Kept", FlatTrees, StoredProcess)
_log = logging.getLogger(__name__)


def arrays_of(predictor: Predictor) -> tuple[tuple[str, ...], Arrays]:
    """Return the names of the members that can be kept, and all arrays; fits what was not asked yet."""
    home = predictor.neighbourhood
    arrays: Arrays = {POINTS: home.points, UNIT: np.array([home.unit])}
    if predictor.labels.n_classes:
        return (), arrays
    kept = []
    for member, models in zip(predictor.members, predictor.models, strict=True):
        for model in models if member.refits else []:
            assert isinstance(model, OnBlocks)
            try:
                arrays |= _arrays(member, model.model)
            except (AttributeError, ValueError) as error:  # a release of scikit-learn that keeps them in another way
                _log.warning("the fit of %s is not kept: %s", member.name, error)
                continue
            kept.append(member.name)
    return tuple(kept), arrays


def _arrays(member: Member, model: Any) -> Arrays:
    """Return the arrays of the fit of a member.

    Raises
    ------
    ValueError
        If a part of it has no form as arrays.
    """
    if getattr(model, "zero", None) is not None:
        raise ValueError("classifiers have no form as arrays")
    blocks = _blocks(member)
    if not isinstance(model, Forest):
        return _named(f"process.{blocks}", StoredProcess.of(model))
    trees = [FlatTrees.of_random(one.tree_, model.weighted) for one in model.values.estimators_]
    arrays = _named(f"trees.{blocks}", FlatTrees.joined(trees))
    if model.median is not None:
        boosted = [FlatTrees.of_boosted(one.nodes) for (one,) in model.median._predictors]
        arrays |= _named(f"boosted.{blocks}", FlatTrees.joined(boosted))
        arrays[f"boosted.{blocks}.constant"] = model.median._baseline_prediction.ravel()
    return arrays


def load_fits(file: Path, members: Mapping[str, Member], inputs: Inputs) -> tuple[dict[str, OnBlocks], Neighbourhood]:
    """Read the fits of members, by name, and where the training set lies.

    Parameters
    ----------
    inputs
        Of any formula: tells how wide the blocks are.

    Raises
    ------
    DataError
        If the file is missing or damaged, or its arrays are no fits.
    ChangedError
        If it is not what was written.
    """
    arrays = load_arrays(file)
    refuse_infinite(arrays, file)
    if large := [name for name, one in arrays.items() if one.dtype.kind == "f" and (np.abs(one) > LARGEST).any()]:
        raise DataError(f"{large[0]} has a value that no fit has", where=str(file), remedy=AGAIN)
    used = {POINTS, UNIT}
    try:
        fits = {name: _fit(member, arrays, inputs, used) for name, member in members.items()}
        home = Neighbourhood(arrays[POINTS], float(arrays[UNIT].item()))
        if home.points.shape != (len(home.points), inputs.blocks["embedding"].shape[1]) or not home.unit > 0:
            raise ValueError("the points of the training set have another shape")
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"the arrays are not fits: {error}", where=str(file), remedy=AGAIN) from error
    refuse_other_names(arrays, used, file)
    return fits, home


def _fit(member: Member, arrays: Arrays, inputs: Inputs, used: set[str]) -> OnBlocks:
    blocks, names = _blocks(member), (*member.blocks, "covariates")
    width = inputs.matrix(names).shape[1]

    def read(kind: type[Kept], prefix: str) -> Kept:
        found = {field.name: f"{prefix}.{field.name}" for field in fields(kind)}
        used.update(found.values())
        made = kind(**{field: arrays[name] for field, name in found.items()})
        if fault := made.fault(width):
            raise ValueError(fault)
        return made

    if member.kind == "closed-form":
        return OnBlocks(read(StoredProcess, f"process.{blocks}"), names)
    trees, boosted = read(FlatTrees, f"trees.{blocks}"), None
    if member.kind == "boosted":
        used.add(f"boosted.{blocks}.constant")
        boosted = float(arrays[f"boosted.{blocks}.constant"].item()), read(FlatTrees, f"boosted.{blocks}")
    return OnBlocks(StoredForest(trees, boosted), names)


def _blocks(member: Member) -> str:
    return "+".join(member.blocks)


def _named(prefix: str, part: FlatTrees | StoredProcess) -> Arrays:
    return {f"{prefix}.{name}": one for name, one in _each(part)}


def _each(part: FlatTrees | StoredProcess) -> Iterator[tuple[str, NDArray[Any]]]:
    yield from ((field.name, getattr(part, field.name)) for field in fields(part))
