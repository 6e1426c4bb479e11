"""The transformer of formulas in the tools that people use it with."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import set_config
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from matgraft.formulas.descriptors import element_fractions
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.sklearn import CompositionFeaturizer, CompositionRegressor

FORMULAS = ["Fe2O3", "NaCl", "LiCoO2", "MgO", "CaF2", "Al2O3", "KCl", "TiO2"]
VALUES = np.arange(8.0)
TABLE = pd.DataFrame({"T": VALUES, "formula": FORMULAS, "method": ["a", "b"] * 4}, index=np.arange(8) + 3)
ALL = ("descriptors", "properties", "encoder")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("gap > 0", "gap", "gap above 0")
    encoder = CompositionBackbone.scratch(0, width=8, layers=1, heads=1, features=8, property_names=names)
    monkeypatch.setattr("matgraft.formulas.sklearn.featurizer.load_encoder", lambda name: encoder)


@pytest.mark.parametrize(
    "features", ["descriptors", "properties", "encoder", "magpie", "fractions", "bonding", ALL, ALL[::-1]]
)
def test_every_column_has_a_name_of_its_own(features: Any) -> None:
    featurizer = CompositionFeaturizer(features)
    names = featurizer.get_feature_names_out()
    found = featurizer.fit_transform(FORMULAS)
    assert found.shape == (8, len(names)) and found.dtype == float and np.isfinite(found).all()
    assert len(set(names)) == len(names) and all(name.replace("_", "").isalnum() for name in names)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clone(featurizer))).transform(FORMULAS), found)


def test_names_say_what_the_columns_hold() -> None:
    table = CompositionFeaturizer(["magpie", "fractions", "bonding"]).set_output(transform="pandas").transform(TABLE)
    iron = table.iloc[0]
    assert table.index.tolist() == TABLE.index.tolist()
    assert (iron["fraction_Fe"], iron["fraction_O"], iron["number_of_elements"]) == (0.4, 0.6, 2)
    assert iron["least_electronegativity"] < iron["mean_electronegativity"] < iron["largest_electronegativity"]
    assert iron["range_row"] == pytest.approx(iron["largest_row"] - iron["least_row"])
    assert iron["charge_nearest_common_states"] == pytest.approx(0)
    np.testing.assert_array_equal(
        table[[name for name in table if name.startswith("fraction_") and len(name) < 12]],
        element_fractions([parse_formula(text) for text in FORMULAS]),
    )
    predicted = CompositionFeaturizer("properties").get_feature_names_out().tolist()
    assert predicted == ["predicted_gap_above_0", "predicted_gap", "predicted_gap_above_0_2"]


def test_one_part_twice_is_there_once_and_others_are_errors() -> None:
    assert CompositionFeaturizer(["magpie", "descriptors"]).fit_transform(FORMULAS).shape[1] == 84 + 118 + 22
    for features, said in (("encodr", "did you mean 'encoder'"), ([], "empty")):
        with pytest.raises(ValueError, match=said):
            CompositionFeaturizer(features).fit(FORMULAS)
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        CompositionFeaturizer("magpie").transform([])
    with pytest.raises(ValueError, match="row 0 of X"):
        CompositionFeaturizer("fractions").transform([1.0])
    with pytest.raises(ValueError, match="formulas alone"):
        CompositionFeaturizer("fractions").fit(np.array([["NaCl", "1"]]))


def test_it_stands_in_pipelines_searches_and_column_transformers() -> None:
    columns = ColumnTransformer(
        [("f", CompositionFeaturizer("fractions"), "formula"), ("m", OneHotEncoder(sparse_output=False), ["method"])],
        remainder=StandardScaler(),
    ).set_output(transform="pandas")
    model = make_pipeline(columns, Ridge()).fit(TABLE, VALUES)
    assert model.score(TABLE, VALUES) > 0.5
    assert {"f__fraction_Fe", "m__method_a", "remainder__T"} <= set(model[:-1].get_feature_names_out())
    line = make_pipeline(CompositionFeaturizer(), Ridge())
    grid = {"compositionfeaturizer__features": ["fractions", ["properties", "encoder"]]}
    search = GridSearchCV(line, grid, cv=2, scoring="neg_mean_absolute_error", error_score="raise")
    assert np.isfinite(search.fit(FORMULAS, VALUES).best_score_)
    scores = cross_val_score(
        line, TABLE, VALUES, groups=list("aabbccdd"), cv=GroupKFold(4), scoring="neg_mean_absolute_error"
    )
    assert np.isfinite(scores).all()


def test_groups_and_weights_are_routed_to_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """With metadata routing on, `cross_val_score` hands groups to the splitter and to the regressor's inner folds."""
    seen = []

    def remember(self: Any, X: Any, y: Any, classes: Any, sample_weight: Any, groups: Any, **options: Any) -> Any:
        seen.append((len(y), len(sample_weight), sorted(set(groups))))
        return self

    monkeypatch.setattr(CompositionRegressor, "_fit", remember)
    monkeypatch.setattr(CompositionRegressor, "predict", lambda self, X: np.zeros(len(X)))
    set_config(enable_metadata_routing=True)
    try:
        model = CompositionRegressor().set_fit_request(sample_weight=True, groups=True)
        model.set_score_request(sample_weight=False)
        params = {"groups": list("aabbccdd"), "sample_weight": np.ones(8)}
        cross_val_score(model, TABLE, VALUES, cv=GroupKFold(4), params=params, error_score="raise")
    finally:
        set_config(enable_metadata_routing=False)
    assert sorted(seen) == [(6, 6, sorted(set("abcd") - {left})) for left in "dcba"]
