"""PrototypeClassifier in the tools that people use it with."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from matgraft.core.errors import MatgraftError
from matgraft.core.registry import save_folder
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.sklearn import PrototypeClassifier

FORMULAS = ["Cu", "Ni3Al", "TiB2", "FeAl", "NaCl", "MgO", "CaF2", "Al2O3"]
KINDS = ["metal"] * 4 + ["insulator"] * 4


@pytest.fixture(scope="module")
def model():
    return PrototypeClassifier().fit(FORMULAS, KINDS)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with an encoder that is quick and knows nothing: no metric belongs to it."""
    folder = tmp_path_factory.mktemp("encoder")
    save_folder(CompositionBackbone.scratch(0, width=16, layers=1, heads=2, features=16), folder)
    return str(folder)


def test_classes_probabilities_and_expectation(model):
    assert model.classes_.tolist() == ["insulator", "metal"]
    assert model.predict(["KCl", "NiAl"]).tolist() == ["insulator", "metal"]
    probabilities = model.predict_proba(["KCl", "NiAl"])
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert (probabilities.argmax(1) == [0, 1]).all()
    assert model.expectation_.counted == 8
    assert model.score(pd.DataFrame({"T": 1, "formula": FORMULAS}), KINDS) == 1
    assert model.none_of_these(FORMULAS).dtype == bool
    np.testing.assert_array_equal(model.predict(["CaF2"]), model.predict(["F4Ca2"]))


def test_numbers_and_truths_are_classes_too(small):
    for labels in (np.array([3, 3, 7, 7]), np.array([True, True, False, False])):
        predicted = PrototypeClassifier("euclidean", small).fit(["Cu", "NiAl", "NaCl", "MgO"], labels).predict(["NaCl"])
        assert predicted.dtype == labels.dtype
        assert predicted[0] == labels[2]


def test_clone_grid_search_pipeline_and_pickle(model, small):
    asked = PrototypeClassifier("cosine", small, metric="none")
    assert clone(asked).get_params() == asked.get_params()
    spaced = FunctionTransformer(lambda X: [text.strip() for text in X])
    grid = {"prototypeclassifier__distance": ["cosine", "mahalanobis"]}
    search = GridSearchCV(make_pipeline(spaced, PrototypeClassifier(foundation=small)), grid, cv=2)
    search.fit([f" {text} " for text in FORMULAS], KINDS)
    assert search.best_params_["prototypeclassifier__distance"] in ("cosine", "mahalanobis")
    assert np.isfinite(cross_val_score(asked, FORMULAS, KINDS, cv=2)).all()
    np.testing.assert_allclose(pickle.loads(pickle.dumps(model)).predict_proba(["KCl"]), model.predict_proba(["KCl"]))


def test_errors_are_said_before_work():
    with pytest.raises(NotFittedError):
        PrototypeClassifier().predict(["NaCl"])
    with pytest.raises(NotFittedError):
        _ = PrototypeClassifier().expectation_
    with pytest.raises(MatgraftError, match="one class only"):
        PrototypeClassifier().fit(["Cu", "Ni"], ["a", "a"])
    with pytest.raises(MatgraftError, match="distance"):
        PrototypeClassifier("far").fit(["Cu", "NaCl"], ["a", "b"])
    with pytest.raises(MatgraftError, match="formulas alone"):
        PrototypeClassifier().fit(np.array([["Cu", "1"], ["NaCl", "2"]]), ["a", "b"])
