"""What a predictor's members read: features of formulas side by side with the formulas themselves, and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.processes import cores, map_in_processes
from matgraft.formulas import descriptors
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.encoder_inference import Tokens
from matgraft.formulas.formula import Formula
from matgraft.formulas.valence import valence

Array = NDArray[np.float64]
Rows = NDArray[np.int_]
CHUNK = 2048
"""Formulas that a process computes at a time."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Formulas with their values: what a predictor is made from.

    Attributes
    ----------
    formulas
        n formulas.
    y
        (n,) values, or indices of classes where `n_classes` is not 0.
    n_classes
        0 for values.
    covariates
        (n, k) further numbers, such as a temperature; by default none.
    weights
        (n,) how much each row counts; by default alike. A row of weight 0 is as good as absent: it sets no scale,
        interval or class.
    groups
        (n,) names of what stays on one side of a fold beside the formula, which always does; by default none.
    """

    formulas: Sequence[Formula]
    y: Array
    n_classes: int = 0
    covariates: Array | None = None
    weights: Array | None = None
    groups: Sequence[str] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.y)

    def take(self, rows: Rows) -> Examples:
        """Return some rows."""
        covariates, weights = (
            None if whole is None else np.asarray(whole, dtype=float)[rows] for whole in (self.covariates, self.weights)
        )
        groups = None if self.groups is None else [self.groups[i] for i in rows]
        y = np.asarray(self.y, dtype=float)[rows]
        return Examples([self.formulas[i] for i in rows], y, self.n_classes, covariates, weights, groups)

    def rows_that_count(self) -> Rows:
        """Return the rows of a weight above 0.

        Raises
        ------
        DataError
            If a part has another number of rows than there are values, or a weight is negative or not finite.
        """
        n = len(self)
        for name, whole in (
            ("formulas", self.formulas),
            ("rows of covariates", self.covariates),
            ("groups", self.groups),
        ):
            if whole is not None and len(whole) != n:
                raise DataError(f"{n} values, but {len(whole)} {name}")
        if self.weights is None:
            return np.arange(n)
        weights = np.asarray(self.weights, dtype=float)
        if weights.shape != (n,):
            raise DataError(f"{n} values, but weights of shape {weights.shape}")
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise DataError("a weight is negative or not finite, or all are 0")
        return np.flatnonzero(weights)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Formulas as members see them.

    Attributes
    ----------
    formulas
        n formulas.
    blocks
        (n, width) features by name: "fractions", "magpie", "valence", "properties" (as the encoder predicts them),
        "embedding", "covariates".
    """

    formulas: tuple[Formula, ...]
    blocks: Mapping[str, Array]

    @classmethod
    def of(cls, formulas: Sequence[Formula], backbone: CompositionBackbone, covariates: Array | None = None) -> Self:
        """Compute every block; `covariates` (n, k) are further numbers, such as a temperature.

        Raises
        ------
        DataError
            If the covariates are of another number of rows, or one is not finite.
        """
        blocks = _LaterBlocks(formulas, backbone, covariates)
        return cls(tuple(formulas), dict(blocks))

    @classmethod
    def later(cls, formulas: Sequence[Formula], backbone: CompositionBackbone, covariates: Array | None = None) -> Self:
        """Return what `of` does; the blocks are computed when one is first asked for, but the covariates are there."""
        return cls(tuple(formulas), _LaterBlocks(formulas, backbone, covariates))

    def __len__(self) -> int:
        """Return the number of formulas."""
        return len(self.formulas)

    @cached_property
    def tokens(self) -> Tokens:
        """The formulas as encoders read them: found once, however many networks are asked."""
        return Tokens.of(self.formulas)

    def take(self, rows: Rows) -> Inputs:
        """Return some rows."""
        return Inputs(tuple(self.formulas[i] for i in rows), {name: block[rows] for name, block in self.blocks.items()})

    def matrix(self, names: Sequence[str]) -> Array:
        """Return blocks side by side, (n, width)."""
        return np.concatenate([self.blocks[name] for name in names], 1)


@dataclass(frozen=True, eq=False)
class Labels:
    """What members learn.

    Attributes
    ----------
    y
        (n,) values, transformed, or indices of classes.
    weights
        (n,) how much each row counts, 1 on average.
    n_classes
        0 for values.
    """

    y: Array
    weights: Array
    n_classes: int = 0

    def take(self, rows: Rows) -> Labels:
        """Return some rows."""
        return Labels(self.y[rows], self.weights[rows], self.n_classes)


class _LaterBlocks(Mapping[str, Array]):
    """Blocks of `Inputs`, computed together when the first is asked for."""

    def __init__(
        self, formulas: Sequence[Formula], backbone: CompositionBackbone, covariates: Array | None = None
    ) -> None:
        self._formulas, self._backbone = formulas, backbone
        self._covariates = np.zeros((len(formulas), 0)) if covariates is None else np.asarray(covariates, float)
        _check_covariates(self._covariates, len(formulas))

    def __getitem__(self, name: str) -> Array:
        return self._covariates if name == "covariates" else self._computed[name]

    def __iter__(self) -> Iterator[str]:
        yield from (*self._computed, "covariates")

    def __len__(self) -> int:
        return len(self._computed) + 1

    @cached_property
    def _computed(self) -> dict[str, Array]:
        places: dict[Formula, int] = {}  # an alloy of many conditions is encoded once
        rows = np.array([places.setdefault(one, len(places)) for one in self._formulas], dtype=int)
        once = list(places)
        chunks = [once[i : i + CHUNK] for i in range(0, len(once), CHUNK)] or [once]
        parts = map_in_processes(lambda chunk: _blocks(chunk, self._backbone), chunks, cores())
        return {name: np.concatenate([part[name] for part in parts])[rows] for name in parts[0]}


Part = tuple[Inputs, Labels]
RowLosses = Callable[[Array, Rows], Array]
"""(k, 99) or (k, n_classes) predictions of k rows, and the rows -> (k,) losses."""


@dataclass(frozen=True)
class OnBlocks:
    """A model of numbers that reads some blocks of features."""

    model: Callable[[Array], Array]
    names: tuple[str, ...]

    def __call__(self, inputs: Inputs) -> Array:
        """Return what the model says of formulas."""
        return self.model(inputs.matrix(self.names))


def _check_covariates(covariates: Array, n: int) -> None:
    if covariates.ndim != 2 or len(covariates) != n:
        raise DataError(f"{n} formulas, but covariates of shape {covariates.shape}", allowed=["(n formulas, k)"])
    for row, column in np.argwhere(~np.isfinite(covariates))[:1]:
        found = f"covariate {column} of row {row} is {covariates[row, column]}"
        raise DataError(found, remedy="leave the row out, or give a finite number")


def _blocks(formulas: Sequence[Formula], backbone: CompositionBackbone) -> dict[str, Array]:
    features, properties = backbone.embed_with_properties(formulas)
    return {
        "fractions": descriptors.element_fractions(formulas),
        "magpie": descriptors.magpie(formulas),
        "valence": valence(formulas),
        "embedding": features.astype(float),
        "properties": properties.astype(float),
    }
