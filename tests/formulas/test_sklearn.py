"""The scikit-learn estimators in the tools that people use them with."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from matgraft.core.errors import DataError, MatgraftError
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.sklearn import CompositionClassifier, CompositionRegressor

METALS, ANIONS = ["Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Ni", "Zn"], {"O": 2.0, "S": 1.0, "F": 4.0, "Cl": 3.0}
FORMULAS = [f"{m}{n}{x}" for m in METALS for x in ANIONS for n in (1, 2)]
VALUES = np.array([ANIONS["".join(c for c in f if c.isalpha()).removeprefix(m)] for m in METALS for f in FORMULAS
                   if f.startswith(m) and f[len(m)].isdigit()])  # fmt: skip
HALOGEN = np.where(VALUES > 2.5, "halide", "chalcogenide")


@pytest.fixture(scope="module")
def regressor():
    return CompositionRegressor(strategy="descriptors", inner_folds=2).fit(FORMULAS, VALUES)


def test_values_come_with_spread_and_interval(regressor):
    value, std = regressor.predict(["Ba1F", "Ba1S"], return_std=True)
    assert value[0] > 3 > 2 > value[1]
    assert (std >= 0).all()
    low, high = regressor.predict_interval(["Ba1F"])
    assert low <= value[0] <= high
    assert regressor.score(FORMULAS, VALUES) > 0.9


def test_the_order_of_writing_does_not_matter(regressor):
    np.testing.assert_array_equal(regressor.predict(["CaF2"]), regressor.predict(["F4Ca2"]))


def test_unlike_formulas_are_flagged(regressor):
    assert regressor.unlike(["U3Au20Xe"]).tolist() == [True]
    assert not regressor.unlike(FORMULAS[:3]).any()


def test_covariates_are_further_columns():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"formula": FORMULAS, "T": rng.uniform(0, 1, len(FORMULAS))})
    model = CompositionRegressor(strategy="descriptors", inner_folds=2, covariates=["T"]).fit(table, 10 * table["T"])
    cold, hot = model.predict(pd.DataFrame({"formula": ["CaO", "CaO"], "T": [0.1, 0.9]}))
    assert cold + 4 < hot
    assert model.n_features_in_ == 2
    with pytest.raises(ValueError, match="expecting 2 features"), pytest.warns(UserWarning, match="feature names"):
        model.predict(["CaO"])


def test_classes_keep_their_names_and_probabilities_their_order():
    model = CompositionClassifier(strategy="feature").fit(FORMULAS, HALOGEN)
    assert model.classes_.tolist() == ["chalcogenide", "halide"]
    assert model.predict(["RbBr", "BaSe"]).tolist() == ["halide", "chalcogenide"]
    probabilities = model.predict_proba(["RbBr", "BaSe"])
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert probabilities[0, 1] > 0.5 > probabilities[1, 1]
    assert model.score(FORMULAS, HALOGEN) > 0.9


def test_clone_grid_search_and_pipeline():
    model = CompositionRegressor(strategy="feature", level=0.8, random_state=3)
    assert clone(model).get_params() == model.get_params()
    spaced = FunctionTransformer(lambda X: [text.strip() for text in X])
    pipeline = make_pipeline(spaced, CompositionRegressor(strategy="feature", inner_folds=2))
    search = GridSearchCV(pipeline, {"compositionregressor__scale": ["none", "log"]}, cv=2)
    search.fit([f" {text} " for text in FORMULAS[::2]], VALUES[::2])
    assert search.best_params_["compositionregressor__scale"] in ("none", "log")
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_class_of_weight_zero_is_no_class():
    weights = np.where(np.arange(len(FORMULAS)) < 8, 0.0, 1.0)
    kinds = np.where(weights == 0, "wrong", HALOGEN)
    model = CompositionClassifier(strategy="feature", inner_folds=2).fit(FORMULAS, kinds, sample_weight=weights)
    assert model.classes_.tolist() == ["chalcogenide", "halide"]
    assert (model.predict(FORMULAS[8:]) == HALOGEN[8:]).mean() > 0.9


@pytest.mark.parametrize("strategy", ["descriptors", "feature"])
def test_a_covariate_that_is_missing_is_an_error(strategy):
    table = pd.DataFrame({"formula": FORMULAS, "T": np.where(np.arange(len(FORMULAS)) % 3 == 1, np.nan, 300.0)})
    with pytest.raises(DataError, match="covariate T of row 1 is missing"):
        CompositionRegressor(strategy=strategy, inner_folds=2, covariates=["T"]).fit(table, VALUES)
    model = CompositionRegressor(strategy="feature", inner_folds=2, covariates=["T"]).fit(table.assign(T=300.0), VALUES)
    with pytest.raises(DataError, match="covariate T of row 1 is missing"):
        model.predict(table)


def test_a_weight_of_zero_silences_a_row():
    wrong = np.array(VALUES)
    wrong[:8] = 100.0
    weights = np.ones(len(wrong))
    weights[:8] = 0.0
    model = CompositionRegressor(strategy="descriptors", inner_folds=2).fit(FORMULAS, wrong, sample_weight=weights)
    assert model.predict(FORMULAS[:8]).max() < 10


def test_a_fitted_estimator_survives_joblib(regressor):
    again = pickle.loads(pickle.dumps(regressor))
    np.testing.assert_allclose(again.predict(["BaF"]), regressor.predict(["BaF"]))


def test_errors_are_said_before_work():
    with pytest.raises(NotFittedError):
        CompositionRegressor().predict(["NaCl"])
    with pytest.raises(MatgraftError, match="strategy"):
        CompositionRegressor(strategy="best").fit(FORMULAS, VALUES)
    with pytest.raises(MatgraftError, match="character"):
        CompositionRegressor().fit(["Fe2Ox"] * 20, np.arange(20))


def test_prompts_read_a_stated_class_and_others_refuse_it():
    formulas = [f"{metal}{n}{anion}" for metal in ("Li", "Na", "K", "Ca") for anion in "OS" for n in (1, 2)]
    model = CompositionRegressor(strategy="prompt", inner_folds=2, prompt={"epochs": 1, "fewest_steps": 1})
    model.fit(formulas, np.arange(16.0))
    found, stated, other = model.predict(["Fe2O3", "[OXIDE] Fe2O3", "[HALIDE] Fe2O3"])
    assert found == pytest.approx(stated, rel=1e-5)
    assert abs(found - other) > 1e-3
    with pytest.raises(DataError, match="--strategy prompt"):
        CompositionRegressor(strategy="feature").fit(["[OXIDE] Fe2O3"], [1.0])


def test_a_grid_search_runs_over_settings_of_networks(monkeypatch):
    """Each candidate is fitted with its own rate, epochs and stages, the others as they were set."""
    fitted = []

    def remember(examples, backbone, settings):
        fitted.append(settings.network)
        return fit_predictor(examples, backbone, PredictorSettings(strategy="descriptors", inner_folds=2))

    monkeypatch.setattr("matgraft.formulas.sklearn.estimators.fit_predictor", remember)
    model = CompositionRegressor(strategy="partial", inner_folds=2, network={"batch": 32})
    grid = {"network__rate": [1e-3, 3e-4], "network__stages": [("readout",)]}
    search = GridSearchCV(model, grid, cv=2, refit=False).fit(FORMULAS[:24], VALUES[:24])
    assert [(one.rate, one.stages, one.batch) for one in fitted] == [
        (rate, ("readout",), 32) for rate in (1e-3, 3e-4) for _ in range(2)
    ]
    assert len(search.cv_results_["params"]) == 2
    changed = clone(model).set_params(network__epochs=3, network__rate=0.01)
    assert changed.network == {"batch": 32, "epochs": 3, "rate": 0.01}
    assert model.network == {"batch": 32}
    assert changed.get_params()["network__epochs"] == 3 and changed.get_params()["network__dropout"] == 0.1
    assert clone(changed).network == changed.network


def test_settings_of_networks_that_cannot_be_meant_are_errors():
    with pytest.raises(ValueError, match="network__rate"):
        CompositionRegressor().set_params(network__rat=1)
    with pytest.raises(ValueError, match=r"network\.rate"):
        CompositionRegressor(strategy="full", network={"rate": -1}).fit(FORMULAS, VALUES)
    with pytest.raises(ValueError, match="did you mean 'rate'"):
        CompositionRegressor(strategy="full", network={"rte": 1}).fit(FORMULAS, VALUES)
    with pytest.raises(ValueError, match=r"network\.rate is not read"):
        CompositionClassifier(strategy="feature", network={"rate": 0.1}).fit(FORMULAS, HALOGEN)
    with pytest.raises(ValueError, match=r"of 500 rows"):  # auto fine-tunes on larger tables alone
        CompositionRegressor(network={"rate": 0.1}).fit(FORMULAS, VALUES)
    with pytest.raises(ValueError, match=r"network\.loss is not read"):
        CompositionClassifier(strategy="full", network={"loss": "mse"}).fit(FORMULAS, HALOGEN)
