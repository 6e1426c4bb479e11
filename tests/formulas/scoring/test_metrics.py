"""Scores of properties: rows count by their weights, and a score over folds says which folds it is over."""

import io

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from matgraft.formulas import crossval as module
from matgraft.formulas.crossval import crossval
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.predictor.facts import WeighedMember
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.report.text import show_folds
from matgraft.formulas.scoring.folds import FoldScores
from matgraft.formulas.scoring.metrics import scores_of
from matgraft.formulas.table.formula_table import FormulaTable

ENCODER = CompositionBackbone.scratch(0, width=8, layers=1, heads=1, features=8)
RNG = np.random.default_rng(0)
N = 60
TRUTH = RNG.normal(size=N)
VALUE = TRUTH + RNG.normal(0, 0.3, N)
VALUES = Prediction(VALUE, VALUE - 0.4, VALUE + 0.4, np.full(N, 0.3), np.zeros(N))
KINDS = RNG.integers(0, 3, N)
LIKELY = RNG.dirichlet(np.ones(3), N)
TAKEN = LIKELY.argmax(1).astype(float)
CLASSES = Prediction(TAKEN, TAKEN, TAKEN, TAKEN, np.zeros(N), LIKELY)


@pytest.mark.parametrize(("y", "prediction"), [(TRUTH, VALUES), (KINDS.astype(float), CLASSES)])
def test_a_row_of_weight_k_counts_as_k_rows(y, prediction):
    weights = RNG.integers(0, 4, N).astype(float)
    rows = np.repeat(np.arange(N), weights.astype(int))
    repeated = scores_of(y[rows], prediction.take(rows))
    weighted = scores_of(y, prediction, weights)
    assert weighted == pytest.approx(repeated)
    assert weighted != pytest.approx(scores_of(y, prediction))


def test_scores_of_classes_are_those_of_scikit_learn():
    found = scores_of(KINDS.astype(float), CLASSES)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(KINDS, TAKEN))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(KINDS, LIKELY, multi_class="ovr"))
    two = np.flatnonzero(KINDS < 2)
    lacking = scores_of(KINDS[two].astype(float), CLASSES.take(two))
    recalls = [(TAKEN[two][KINDS[two] == k] == k).mean() for k in (0, 1)]
    assert lacking["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert "roc_auc" not in lacking
    assert scores_of(TRUTH, VALUES, np.zeros(N)) == {}


def folds_table(folds, weights=None):
    ones = np.ones(len(folds))
    classes = np.arange(len(folds)) // len(set(folds)) % 2.0  # both in every fold
    formulas = tuple(parse_formula(f"Fe{i + 1}O") for i in range(len(folds)))
    return FormulaTable(
        formulas, classes, ("a", "b"), np.zeros((len(folds), 0)), {},
        ones if weights is None else weights, (), tuple(folds), tuple(range(2, 2 + len(folds))), 0,
    )  # fmt: skip


@pytest.mark.parametrize("lacking", ["0", "1", "2"])
def test_the_mean_says_over_which_folds_it_is(monkeypatch, lacking):
    """Whichever fold lacks the score, the first one too."""
    aucs = {"0": 0.5, "1": 0.7, "2": 0.9}

    def fold(table, inputs, backbone, settings, by, part):
        name, train, test = part
        scores = {"accuracy": 0.8} | ({} if name == lacking else {"roc_auc": aucs[name]})
        member = WeighedMember(name="closed form", score=0.5, weight=1.0, pretrained=True)
        found = FoldScores(fold=name, n_train=len(train), n_test=len(test), scores=scores, members=(member,))
        return found, VALUES.take(np.arange(len(test)))

    monkeypatch.setattr(module, "_fold", fold)
    table = folds_table(["0", "1", "2"] * 4)
    scored, _ = crossval(table, ENCODER, audited=(), progress="")
    left = [auc for name, auc in aucs.items() if name != lacking]
    assert scored.mean == pytest.approx({"accuracy": 0.8, "roc_auc": np.mean(left)})
    assert scored.std["roc_auc"] == pytest.approx(np.std(left))
    assert scored.n_folds == {"accuracy": 3, "roc_auc": 2}
    file = io.StringIO()
    show_folds(Console(file=file, width=120), scored)
    assert "(of 2)" in file.getvalue()
    assert "a mean is over the folds that have the score; not all have roc_auc 2 of 3" in file.getvalue()


def test_a_score_of_one_fold_has_no_spread(monkeypatch):
    def fold(table, inputs, backbone, settings, by, part):
        name, train, test = part
        scores = {"mae": 0.5} if name == "1" else {}
        found = FoldScores(fold=name, n_train=len(train), n_test=len(test), scores=scores, members=())
        return found, VALUES.take(np.arange(len(test)))

    monkeypatch.setattr(module, "_fold", fold)
    scored, _ = crossval(folds_table(["0", "1"] * 6), ENCODER, audited=(), progress="")
    assert (scored.mean, scored.std, scored.n_folds) == ({"mae": 0.5}, {"mae": None}, {"mae": 1})
