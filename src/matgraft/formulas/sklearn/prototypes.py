"""Classes of formulas from a handful of examples each, as a scikit-learn estimator.

model = PrototypeClassifier().fit(["Cu", "Ni3Al", "NaCl", "MgO"], ["metal", "metal", "salt", "salt"])
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from matgraft.formulas.few_shot.classifier import Expectation, FewShot, fit_few_shot
from matgraft.formulas.few_shot.metric import Space, choose_metric
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.sklearn.base import OfFormulas, encoded_classes
from matgraft.formulas.sklearn.errors import as_value_errors
from matgraft.formulas.sklearn.estimators import NamesClasses
from matgraft.formulas.sklearn.tables import Name


class PrototypeClassifier(NamesClasses, OfFormulas):
    """Classes of formulas from a handful of examples each: the class whose prototype is nearest.

    `predict` always names one of `classes_`; `none_of_these` says which formulas are too far from all of them.

    Parameters
    ----------
    distance
        ``mahalanobis``, ``euclidean`` or ``cosine``.
    foundation
        Name or folder of a composition encoder.
    metric
        ``shipped``, ``none`` (nothing taught) or a folder; None takes the shipped one where it belongs to the encoder.
    formula
        The column of formulas, as of `CompositionRegressor`; other columns are not read.

    Attributes
    ----------
    classes_
        Names of the classes.
    few_
        The fitted prototypes.
    n_features_in_, feature_names_in_
        Number of the columns of X, and their names where it was a table with names.
    """

    def __init__(
        self,
        distance: str = "mahalanobis",
        foundation: str = "composition",
        metric: str | None = None,
        formula: Name | None = None,
    ) -> None:
        self.distance = distance
        self.foundation = foundation
        self.metric = metric
        self.formula = formula

    @as_value_errors
    def fit(self, X: Any, y: Any) -> Self:
        """Make the prototypes of examples, of which there are at most 200: `CompositionClassifier` learns from more."""
        self.classes_, indices = encoded_classes(y, self)
        formulas, _ = self._read_to_fit(X, parse_plain, y=indices)
        check_consistent_length(formulas, indices)
        backbone = load_encoder(self.foundation)
        space = Space.of(backbone, choose_metric(self.metric, backbone), self.distance)
        self.few_: FewShot = fit_few_shot(formulas, indices, len(self.classes_), space)
        return self

    @as_value_errors
    def none_of_these(self, X: Any) -> NDArray[np.bool_]:
        """Return (n,) True for formulas far from every prototype; with one example a class and ``metric="none"`` never.

        95 % of the queries of base classes are nearer; where nothing was taught, 95 % of the left-out examples.
        """
        return self._predict(X).unlike

    @property
    def expectation_(self) -> Expectation | None:
        """How many left-out examples were named rightly; None with one example a class."""
        check_is_fitted(self, "few_")
        return self.few_.expectation

    def _predict(self, X: Any) -> Prediction:
        check_is_fitted(self, "few_")
        return self.few_.predict(self._read_fitted(X, parse_plain)[0])
