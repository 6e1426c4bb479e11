"""Fits that are kept as arrays: the same numbers, and nothing but fits is read."""

import json

import numpy as np
import pytest

from matgraft.core.errors import DataError
from matgraft.core.files import remove, write_text
from matgraft.core.weights import load_arrays
from matgraft.formulas.learners import stored
from matgraft.formulas.learners.forest import Forest, Trees
from matgraft.formulas.learners.inputs import Examples, Labels
from matgraft.formulas.learners.stored import BLOCK, LEAF, FlatTrees, StoredForest, solved_lower
from matgraft.formulas.predictor import fits, store
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.predictor.store import PREDICTOR, load_predictor, save_network, save_predictor

PARTS = ("value", "lower", "upper", "std", "distance")


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 8)
    monkeypatch.setattr("matgraft.formulas.learners.forest.BOOSTED", 12)
    monkeypatch.setattr("matgraft.formulas.predictor.members.FEWEST_BOOSTED", 10)


def kept(small, table, folder, strategy="descriptors", **more):
    """Return a predictor, and the one that was read from its folder."""
    y = more.pop("y", table[1])
    predictor = fit_predictor(Examples(table[0], y, **more), small, PredictorSettings(strategy=strategy, inner_folds=2))
    predictor.calibration.weights[:] = 1 / len(predictor.members)  # every member counts
    save_predictor(predictor, folder)
    return predictor, load_predictor(folder, small)[0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("strategy", ["descriptors", "feature"])
def test_what_was_kept_predicts_the_same(small, table, tmp_path, strategy, weighted):
    n = len(table[0])
    weights = np.random.default_rng(0).uniform(0.5, 2, n) if weighted else None
    hot = np.linspace(300, 900, n)[:, None]
    fitted, again = kept(small, table, tmp_path, strategy, weights=weights, covariates=hot)
    assert set(again.stored) == {member.name for member in fitted.members}
    said, told = (one.predict(table[0], hot + 7) for one in (fitted, again))
    for name in PARTS:
        if strategy == "descriptors":
            np.testing.assert_array_equal(getattr(said, name), getattr(told, name))
        else:  # the triangle of a process is solved in another order
            np.testing.assert_allclose(getattr(said, name), getattr(told, name), rtol=1e-9)
    refit = again.refitted()
    assert not refit.stored and np.array_equal(refit.predict(table[0], hot + 7).value, said.value)


@pytest.mark.parametrize("change", [{"y": lambda y: (y > 2.5) * 1.0, "n_classes": 2}, {"y": lambda y: y * (y > 1.5)}])
def test_classes_and_many_zeros_are_fitted_again(small, table, tmp_path, change):
    change = change | {"y": change["y"](table[1])}
    fitted, again = kept(small, table, tmp_path, **change)
    assert not again.stored
    np.testing.assert_array_equal(fitted.predict(table[0][:9]).value, again.predict(table[0][:9]).value)


def test_many_rows_and_older_folders_keep_no_fits(small, table, tmp_path, monkeypatch):
    fitted, _ = kept(small, table, tmp_path / "new")
    content = json.loads((tmp_path / "new" / PREDICTOR.name).read_text())
    del content["fits"]
    write_text(tmp_path / "new" / PREDICTOR.name, json.dumps(content))
    remove(tmp_path / "new" / fits.FITS)
    older, _ = load_predictor(tmp_path / "new", small)
    monkeypatch.setattr(store, "MOST_ROWS", len(table[0]) - 1)
    _, large = kept(small, table, tmp_path / "large")
    assert not (tmp_path / "large" / fits.FITS).exists()
    for one in (older, large):
        assert not one.stored
        np.testing.assert_array_equal(one.predict(table[0][:5]).lower, fitted.predict(table[0][:5]).lower)


def test_the_training_rows_are_not_encoded_to_predict(small, table, tmp_path, monkeypatch):
    _, again = kept(small, table, tmp_path, "feature")
    again.predict(table[0][:1])
    assert "_computed" not in vars(again.inputs.blocks)


def broken(name, change):
    return lambda arrays: arrays | {one: change(arrays[one].copy()) for one in arrays if one.endswith(name)}


def endless(right):
    right[0] = 0
    return right


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (broken(".right", endless), "not a later node"),
        (broken(".feature", lambda feature: feature + 5000), "column that is not there"),
        (broken(".number", lambda number: number[:-1]), "other lengths"),
        (broken(".roots", lambda roots: roots - 1), "is not a node"),
        (broken(".right", lambda right: right.astype(float)), "another type"),
        (broken(".number", lambda number: number * np.nan), "not finite"),
        (broken(".points", lambda points: points[:, :1]), "another shape"),
        (broken(".unit", lambda unit: -unit), "another shape"),
        (broken(".factor", lambda factor: factor * 0), "no inverse"),
        (broken(".scales", lambda scales: -scales), "not above 0"),
        (lambda arrays: arrays | {"further": np.zeros(1)}, "unexpected further"),
        (lambda arrays: {name: one for name, one in arrays.items() if ".right" not in name}, "not fits"),
    ],
)
def test_arrays_that_are_no_fits_are_refused(small, table, tmp_path, change, said):
    kept(small, table, tmp_path, "auto")
    save_network(change(load_arrays(tmp_path / fits.FITS)), tmp_path / fits.FITS)
    with pytest.raises(DataError, match=said):
        load_predictor(tmp_path, small)


def test_flat_trees_answer_as_the_forest_does_however_many_rows_are_asked(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 7)), rng.normal(size=60)
    forest = Forest(x, Labels(y, np.ones(60)), Trees())
    flat = FlatTrees.joined([FlatTrees.of_random(one.tree_, weighted=False) for one in forest.values.estimators_])
    asked = rng.normal(size=(31, 7))
    whole = StoredForest(flat)(asked)
    np.testing.assert_array_equal(whole, forest(asked))
    monkeypatch.setattr("matgraft.formulas.learners.stored.CELLS", 20)
    np.testing.assert_array_equal(StoredForest(flat)(asked), whole)
    single = FlatTrees.of_random(Forest(x[:1], Labels(y[:1], np.ones(1)), Trees()).values.estimators_[0].tree_, False)
    assert single.feature.tolist() == [LEAF] and single.fault(7) == ""


@pytest.mark.parametrize(("n", "m"), [(1, 1), (BLOCK - 1, 3), (BLOCK, 1), (BLOCK + 1, 0), (3 * BLOCK + 5, 7)])
def test_a_triangle_is_solved_by_blocks(n, m):
    rng = np.random.default_rng(n)
    lower = np.tril(rng.normal(size=(n, n)))
    lower[np.diag_indices(n)] = n + rng.uniform(1, 2, n)
    right = rng.normal(size=(n, m))
    x = solved_lower(lower[np.tril_indices(n)], right)
    np.testing.assert_allclose(lower @ x, right, rtol=1e-11, atol=1e-11)


def test_another_numbering_of_nodes_is_not_kept(small, table, tmp_path, monkeypatch, caplog):
    def other(*_):
        raise ValueError("the left child of a node is not the next node")

    monkeypatch.setattr(FlatTrees, "of_random", other)
    fitted, again = kept(small, table, tmp_path)
    assert not again.stored and "is not kept: the left child" in caplog.text
    np.testing.assert_array_equal(fitted.predict(table[0][:5]).value, again.predict(table[0][:5]).value)


def test_distances_of_many_rows_are_those_of_few_to_the_bit(monkeypatch):
    rng = np.random.default_rng(0)
    rows, points = rng.normal(size=(9, 33)), rng.normal(size=(21, 33))
    few = stored._squares(rows, points)
    monkeypatch.setattr(stored, "MANY", 1)
    np.testing.assert_array_equal(stored._squares(rows, points), few)
