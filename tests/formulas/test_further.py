"""A table with labels that the fit did not see: scored beside the run and after it, seen rows told apart."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import DataError, OptionError
from matgraft.core.files import write_text
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.evaluate import evaluate_table
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.predict import PropertyModel, predict_formulas
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.predictor.store import PREDICTOR, TargetNames
from matgraft.formulas.scoring.further import score_further
from matgraft.formulas.scoring.target import METRICS
from matgraft.formulas.table.formula_table import FormulaTable
from matgraft.formulas.table.opening import targets_in


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)


def expected(tuned):
    """What the run predicts of the test rows, and which of them it has not seen, counted by hand."""
    rows = pd.DataFrame(predict_formulas(tuned.folder, list(tuned.test.formula)))
    labs, formulas = set(tuned.train.lab), set(tuned.train.formula)
    seen = ["known formula" if f in formulas else "known group" if lab in labs else "new"
            for f, lab in zip(tuned.test.formula, tuned.test.lab, strict=True)]  # fmt: skip
    return rows, np.array(seen)


def test_the_test_table_is_scored_and_seen_rows_are_told_apart(tuned):
    found = METRICS.read(tuned.folder).targets["gap"].test
    rows, seen = expected(tuned)
    assert {part: one.n for part, one in found.parts.items()} == {"new": 14, "known group": 6, "known formula": 4}
    assert found.judged == "new"
    truths = tuned.test.gap.to_numpy()
    for part, one in found.parts.items():
        error = np.abs(rows.value - truths)[seen == part]
        assert one.error == pytest.approx(error.mean(), rel=1e-5)
        assert one.scores["mae"] == pytest.approx(error.mean(), rel=1e-5)
        inside = ((rows.lower <= truths) & (truths <= rows.upper))[seen == part]
        assert one.scores["coverage"] == pytest.approx(inside.mean())
    assert sum(one.n for one in found.places.values()) == 14
    assert found.parts["new"].n_units == 14 and found.parts["new"].interval is not None
    low, high = found.parts["new"].interval
    assert low < found.parts["new"].error < high
    ours = found.parts["new"].error
    assert found.against.score + found.against.difference == pytest.approx(ours)
    written = pd.read_csv(tuned.folder / "test_predictions.csv")
    assert written.seen.tolist() == seen.tolist()
    assert written.line.tolist() == list(range(2, 26))


def test_no_fit_reads_the_test(tuned):
    held = pd.read_csv(tuned.folder / "predictions.csv")
    assert sorted(held.line) == list(range(2, 62))
    assert len(PropertyModel.open(tuned.folder).predictor("gap").inputs) == 60


def test_the_report_shows_the_test_and_the_curves(tuned):
    page = (tuned.folder / "report.html").read_text()
    assert "gap on test.csv" in page
    assert "new formulas of groups that were trained on" in page
    for name in ("further-parity-0", "losses-0-0"):
        assert f'id="plot-{name}"' in page


def test_evaluate_gives_what_the_test_gave(tuned, matgraft):
    code, out, err = matgraft("evaluate", tuned.folder, tuned.folder.parent / "test.csv", "--json")
    assert code == 0, err
    said, before = json.loads(out), json.loads((tuned.folder / "metrics.json").read_text())
    assert said["targets"]["gap"] == before["targets"]["gap"]["test"]
    (stored,) = (tuned.folder / "evaluations").glob("test-*.json")
    assert json.loads(stored.read_text()) == said
    assert len(pd.read_csv(said["predictions"])) == 24
    code, out, _ = matgraft("evaluate", tuned.folder, tuned.folder.parent / "test.csv")
    assert code == 0 and "of groups" in out and "trained" in out and "report:" in out
    assert "rmse" in out and " mae " not in out, "the mean absolute error has a column of its own already"


def test_rows_that_were_all_trained_on_are_no_test(tuned, tmp_path):
    tuned.train.to_csv(tmp_path / "same.csv", index=False)
    found = evaluate_table(tuned.folder, tmp_path / "same.csv").targets["gap"]
    assert found.judged == "known formula"
    assert found.verdict.cautions[0].code == "all-seen"
    assert not found.verdict.fit_for


def test_a_table_may_lack_what_no_score_needs(tuned, tmp_path):
    """Another name of the formulas, no groups, rows without a value; a run that does not say its groups."""
    table = tuned.test.rename(columns={"formula": "compound"}).drop(columns="lab")
    table.loc[3, "gap"] = np.nan
    table.to_csv(tmp_path / "plain.csv", index=False)
    found = evaluate_table(tuned.folder, tmp_path / "plain.csv").targets["gap"]
    assert (found.lacks, found.without_value) == (("lab",), 1)
    assert {part: one.n for part, one in found.parts.items()} == {"new": 19, "known formula": 4}
    assert "has no column 'lab'" in " ".join(one.text for one in found.verdict.cautions)
    old = tmp_path / "old"
    shutil.copytree(tuned.folder, old)
    (folder,) = (old / "predictors").iterdir()
    stored = json.loads((folder / "predictor.json").read_text())
    stored.pop("groups")
    write_text(folder / "predictor.json", json.dumps(stored))
    assert PREDICTOR.read(folder).groups is None
    tuned.test.to_csv(tmp_path / "test.csv", index=False)
    found = evaluate_table(old, tmp_path / "test.csv").targets["gap"]
    assert "unknown-groups" in [caution.code for caution in found.verdict.cautions]


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("formula,band\nNaCl,1\n", OptionError, "no column of what was trained on: gap"),
        ("formula,gap\nNaCl,wide\n", DataError, "'wide' is not a finite number"),
        ("formula,gap\nNaCl,\n", DataError, "no row has a value"),
        ("formula,gap\nFe2Ox,1\n", DataError, "line 2"),
    ],
)
def test_a_table_that_cannot_be_scored_is_named(tuned, tmp_path, content, error, said):
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(error, match=said):
        evaluate_table(tuned.folder, tmp_path / "bad.csv")


def test_the_curves_end_with_the_loss_of_the_held_fold(tuned):
    """Twice the mean pinball loss over the 21 levels, of the rows that the fit does not see."""
    curves = pd.read_csv(tuned.folder / "history.csv")
    assert curves.groupby("fold").size().tolist() == [3, 3]  # three epochs, each validated
    assert set(curves.columns) == {
        "target", "member", "fold", "step", "epoch", "learning_rate", "train_loss", "validation_loss"
    }  # fmt: skip
    assert (curves.train_loss > 0).all()
    predictor = PropertyModel.open(tuned.folder).predictor("gap")
    held = pd.read_csv(tuned.folder / "predictions.csv")
    levels = np.array([0.01, *(np.arange(1, 20) / 20), 0.99])
    everyone = np.arange(len(predictor.inputs))
    last = curves.groupby("fold").validation_loss.last()
    losses = []
    for network in predictor.networks["encoder, every stage tuned"]:
        quantiles = network(predictor.inputs)[:, np.round(levels * 100).astype(int) - 1]
        error = (predictor.labels.y[:, None] - quantiles) / network.scaling.width
        losses.append(2 * np.maximum(levels * error, (levels - 1) * error).mean(1))
    # Which rows a fold held out is what out-of-fold values say: those of the network that did not see them.
    medians = [network(predictor.inputs)[:, 49] for network in predictor.networks["encoder, every stage tuned"]]
    of_fold = np.abs(np.stack(medians) - held.sort_values("line").value.to_numpy()).argmin(0)
    for k in range(2):
        assert last[k] == pytest.approx(losses[k][everyone[of_fold == k]].mean(), rel=5e-3)  # sorted quantiles


def test_a_run_goes_on_only_with_the_test_it_began_with(tuned, tmp_path):
    from matgraft.core.errors import RunError
    from matgraft.formulas.tune import resume_table_run

    run = json.loads((tuned.folder / "run.json").read_text())
    assert "table of --test" in run["decides"]
    copy = tmp_path / "run"
    shutil.copytree(tuned.folder, copy)
    settings = json.loads((copy / "settings.json").read_text())
    other = tmp_path / "other.csv"
    tuned.test[:20].to_csv(other, index=False)
    settings["run"]["test"] = str(other)
    write_text(copy / "settings.json", json.dumps(settings))
    with pytest.raises(RunError, match="table of --test"):
        resume_table_run(copy, quiet=True)


def test_a_covariate_beside_a_table_that_the_run_does_not_know_is_an_error(tuned):
    with pytest.raises(OptionError, match="temprature is not a covariate of this run"):
        PropertyModel.open(tuned.folder).predict(tuned.test, temprature=300)


def test_a_target_without_a_value_is_not_asked_for(tmp_path):
    table = tmp_path / "test.csv"
    table.write_text("formula,gap,energy\nNaCl,8.5,\nKCl,8.4,nan\n")
    assert targets_in(table, ["energy", "gap"]) == ["gap"]
    assert targets_in(table, ["energy"]) == ["energy"]  # read_table then says that it has no value


@pytest.mark.parametrize(("n_formulas", "warned"), [(6, False), (120, True)])
def test_rows_of_one_formula_miss_together_and_count_once(n_formulas: int, warned: bool) -> None:
    """A sixth of 120 rows lies outside its interval: one formula of six measured twenty times, or twenty of 120."""
    pairs = [
        f"{a}{b}{n}"
        for a in ("Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Ni", "Zn", "Al")
        for b in ("O", "S", "F", "Cl")
        for n in (1, 2, 3)
    ]
    formulas = tuple(parse_formula(pairs[i % n_formulas]) for i in range(120))
    missed = np.array([i % n_formulas < n_formulas / 6 for i in range(120)])
    table = FormulaTable(
        formulas, np.where(missed, 3.0, 0.0), (), np.zeros((120, 0)), {}, np.ones(120), (), (), tuple(range(120)), 0
    )
    zero, one = np.zeros(120), np.ones(120)
    said = Prediction(zero, -one, one, one / 2, zero, in_training=np.zeros(120, dtype=bool))
    predictor: Any = SimpleNamespace(
        tools=SimpleNamespace(backbone=CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16)),
        predict_inputs=lambda inputs: said,
        baseline=lambda inputs: zero,
        members=(),
        calibration=SimpleNamespace(weights=()),
        settings=PredictorSettings(),
    )
    names = TargetNames(target="gap", classes=(), code={})
    scored, _ = score_further(predictor, names, table, "formula", file="test.csv")
    assert scored.parts["new"].scores["coverage"] == pytest.approx(100 / 120)
    assert ("interval-coverage" in [caution.code for caution in scored.verdict.cautions]) is warned
