"""Formulas as columns of numbers, for any estimator of scikit-learn.

make_pipeline(CompositionFeaturizer(["descriptors", "properties"]), RandomForestRegressor())
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import Tags

from matgraft.core.errors import OptionError, choose
from matgraft.formulas import descriptors, valence
from matgraft.formulas.elements import ATTRIBUTES, BLOCKS, N_ELEMENTS
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.sklearn.base import OfFormulas
from matgraft.formulas.sklearn.covariates import Array
from matgraft.formulas.sklearn.errors import as_value_errors
from matgraft.formulas.sklearn.tables import Name, table_of

FEATURES: Mapping[str, tuple[str, ...]] = {
    "descriptors": ("magpie", "fractions", "bonding"),
    "properties": ("properties",),
    "encoder": ("encoder",),
    "magpie": ("magpie",),
    "fractions": ("fractions",),
    "bonding": ("bonding",),
}
"""Blocks of columns by what can be asked for."""
OF_ENCODER = frozenset(("properties", "encoder"))


class CompositionFeaturizer(TransformerMixin, OfFormulas):  # type: ignore[misc]
    """Columns of numbers of formulas. It learns nothing from the table: `fit` checks X.

    Parameters
    ----------
    features
        One or several of ``descriptors`` (the next three), ``magpie`` (statistics of elemental properties),
        ``fractions`` (a column an element), ``bonding`` (charge balance, electronegativities, valence electrons),
        ``properties`` (what the encoder predicts of its pretraining properties, standardised) and ``encoder`` (its
        features).
    foundation
        Name or folder of a composition encoder; read for ``properties`` and ``encoder`` alone.
    formula
        The column of formulas, as of `CompositionRegressor`.

    Attributes
    ----------
    n_features_in_, feature_names_in_
        Number of the columns of X, and their names where it was a table with names.
    """

    def __init__(
        self,
        features: str | Sequence[str] = ("descriptors", "properties"),
        foundation: str = "composition",
        formula: Name | None = None,
    ) -> None:
        self.features = features
        self.foundation = foundation
        self.formula = formula

    def __sklearn_tags__(self) -> Tags:
        """Say that nothing is fitted, and that numbers come out whatever goes in."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    @as_value_errors
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check X and the parameters."""
        blocks_of(self.features)
        self._read_to_fit(X, parse_plain)
        return self

    @as_value_errors
    def transform(self, X: Any) -> Array:
        """Return (n, n_columns) features, in the order of `get_feature_names_out`."""
        wanted = blocks_of(self.features)
        formulas = self._formulas(X)
        return np.concatenate(_blocks(formulas, wanted, self._encoder(wanted)), 1)

    @as_value_errors
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns, which do not hang on those of X."""
        wanted = blocks_of(self.features)
        encoder = self._encoder(wanted)
        names = [plain(name) for block in wanted for name in names_of(block, encoder)]
        again = (names[:i].count(name) for i, name in enumerate(names))
        return np.array([f"{name}_{k + 1}" if k else name for name, k in zip(names, again, strict=True)], dtype=object)

    def _formulas(self, X: Any) -> list[Formula]:
        if hasattr(self, "_columns"):
            return self._read_fitted(X, parse_plain)[0]
        table = table_of(X)
        return self._read(table, self._find(table), parse_plain)[0]

    def _encoder(self, wanted: Sequence[str]) -> CompositionBackbone | None:
        return load_encoder(self.foundation) if OF_ENCODER & set(wanted) else None


def blocks_of(features: str | Sequence[str]) -> list[str]:
    """Return the blocks of columns that are asked for, each once.

    Raises
    ------
    OptionError
        If none is asked for, or something else.
    """
    asked = [features] if isinstance(features, str) else list(features)
    if not asked:
        raise OptionError("features is empty", allowed=list(FEATURES))
    return list(dict.fromkeys(block for one in asked for block in choose(str(one), FEATURES, "features")))


def _blocks(formulas: Sequence[Formula], wanted: Sequence[str], encoder: CompositionBackbone | None) -> list[Array]:
    """Return (n, width) columns of each block."""
    embedding, properties = encoder.embed_with_properties(formulas) if encoder else (None, None)
    make = {
        "magpie": descriptors.magpie,
        "fractions": descriptors.element_fractions,
        "bonding": valence.valence,
        "encoder": lambda _: np.asarray(embedding, dtype=float),
        "properties": lambda _: np.asarray(properties, dtype=float),
    }
    return [make[block](formulas) for block in wanted]


def names_of(block: str, encoder: CompositionBackbone | None) -> list[str]:
    """Return the names of a block's columns; those of the encoder need one."""
    if block == "fractions":
        return [f"fraction {symbol}" for symbol in chemical_symbols[1 : N_ELEMENTS + 1]]
    if block == "bonding":
        return list(valence.NAMES)
    if block == "magpie":
        called = ("electronegativity" if one == "X" else one for one in ATTRIBUTES)
        elemental = [*called, *(f"{one} block" for one in BLOCKS), *(f"{one} electrons" for one in BLOCKS)]
        statistics = ("mean", "deviation", "least", "largest", "range")
        return [f"{how} {what}" for how in statistics for what in elemental] + [
            "number of elements" if p == 0 else f"fractions norm {p}" for p in descriptors.NORMS
        ]
    assert encoder is not None
    if block == "properties":
        return [f"predicted {name}" for name in encoder.property_names or ("nothing",)]
    return [f"encoder {i}" for i in range(encoder.module.width_of_features)]


def plain(name: str) -> str:
    """Return a name that every library of trees takes as it is: letters, digits and underscores."""
    return re.sub(r"\W+", "_", name.replace(">", " above ")).strip("_")
