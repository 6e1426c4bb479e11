"""Estimators and a transformer of formulas for scikit-learn (docs/sklearn.md).

    model = CompositionRegressor().fit(["Fe2O3", "NaCl", ...], gaps)
    gap, std = model.predict(["LiCoO2"], return_std=True)

They go into pipelines, `GridSearchCV`, `cross_val_score`, `ColumnTransformer` and `clone`. X is a sequence of formulas,
or a table with a column of formulas. Every error that the data or a parameter causes is a ValueError.
"""

from matgraft.formulas.sklearn.estimators import CompositionClassifier, CompositionRegressor
from matgraft.formulas.sklearn.featurizer import CompositionFeaturizer
from matgraft.formulas.sklearn.prototypes import PrototypeClassifier

__all__ = ["CompositionClassifier", "CompositionFeaturizer", "CompositionRegressor", "PrototypeClassifier"]
