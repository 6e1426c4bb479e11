"""Strategies on the same folds: what is compared, on what, and that the figures are those of the rows."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import OptionError
from matgraft.formulas import compare
from matgraft.formulas.compare import compare_strategies
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.predictor.settings import PredictorSettings, what_is_read
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.scoring.strategies import TriedStrategy, compare_losses
from matgraft.formulas.table.formula_table import ColumnNames
from matgraft.formulas.table.reading import read_table

QUICK = NetworkSettings(epochs=1, fewest_steps=1, batch=32)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)


def test_every_strategy_is_scored_on_the_same_rows(tuned):
    table = read_table(tuned.folder.parent / "train.csv", "gap", ColumnNames(group="lab"))
    settings = PredictorSettings(inner_folds=2, network=QUICK)
    found, rows = compare_strategies(
        table, load_encoder(tuned.encoder), ("full", "descriptors", "untrained"), by="lab", n_folds=2,
        settings=settings, given=["network.epochs"], quiet=True,
    )  # fmt: skip
    held = pd.DataFrame(rows)
    lines = {name: part.line.tolist() for name, part in held.groupby("strategy")}
    assert sorted(lines) == ["descriptors", "full", "untrained"]
    assert lines["full"] == lines["descriptors"] == lines["untrained"] == list(range(2, 62))
    folds = held.pivot(index="line", columns="strategy", values="fold")
    assert (folds.full == folds.descriptors).all() and (folds.full == folds.untrained).all()
    errors = (held.value - held.truth).abs().groupby(held.strategy).mean()
    for row in found.rows:
        assert row.error == pytest.approx(errors[row.strategy])
        assert row.difference == pytest.approx(errors[row.strategy] - errors.min())
        assert row.minutes > 0 and row.interval[0] < row.error < row.interval[1]
    assert [row.error for row in found.rows] == sorted(row.error for row in found.rows)
    assert found.best == errors.idxmin() and found.best in found.as_good
    assert (found.n, found.n_units, found.n_folds) == (60, 12, 2)
    values = held.pivot(index="line", columns="strategy", values="value")
    assert np.abs(values.full - values.untrained).max() > 1e-3  # another encoder


def test_a_strategy_that_cannot_be_told_from_the_best_is_as_good_and_the_fastest_is_named():
    rng = np.random.default_rng(0)
    base = rng.random(200)
    losses = {"slow": base, "quick": base + rng.normal(0, 0.1, 200), "bad": base + 1}
    tried = {name: TriedStrategy(scores={}, minutes=m) for name, m in (("slow", 5), ("quick", 1), ("bad", 0.1))}
    found = compare_losses(losses, tried, np.ones(200), np.arange(200), criterion="mean absolute error", n_folds=5)
    assert set(found.as_good) == {"slow", "quick"} and found.fastest == "quick"
    assert found.rows[-1].strategy == "bad" and found.rows[-1].difference_interval[0] > 0.9


def test_each_strategy_takes_the_settings_that_it_reads():
    settings = PredictorSettings(strategy="feature", network=QUICK, level=0.8)
    own, idle = what_is_read(settings, ["network.rate", "level"], [60], 0)
    assert own == PredictorSettings(strategy="feature", level=0.8) and idle == {"network.rate"}
    own, idle = what_is_read(settings.model_copy(update={"strategy": "full"}), ["network.rate"], [60], 0)
    assert own.network == QUICK and not idle


def test_what_no_strategy_reads_is_an_error(tuned):
    table = read_table(tuned.folder.parent / "train.csv", "gap")
    encoder = load_encoder(tuned.encoder)
    with pytest.raises(OptionError, match=r"network\.rate is not read by feature, descriptors"):
        compare_strategies(table, encoder, ("feature", "descriptors"), given=["network.rate"], quiet=True)
    with pytest.raises(OptionError, match="compares its own methods"):
        compare_strategies(table, encoder, ("domain",), quiet=True)
    with pytest.raises(OptionError, match="strategy 'best' is unknown"):
        compare_strategies(table, encoder, ("best",), quiet=True)


def test_the_verb_lines_them_up(tuned, matgraft, monkeypatch, tmp_path):
    asked = {}

    def remember(table, encoder, names, **given):
        asked.update(given, names=tuple(names))
        return compare_strategies(table, encoder, ("descriptors",), n_folds=2, settings=given["settings"], quiet=True)

    monkeypatch.setattr(compare, "compare_strategies", remember)
    words = [tuned.folder.parent / "train.csv", "--target", "gap", "--from", tuned.encoder, "inner_folds=2"]
    code, out, err = matgraft("compare", *words, "network.epochs=2", "--folds", "3", "--json")
    assert code == 0, err
    assert json.loads(out)["best"] == "descriptors"
    assert (
        asked["names"] == compare.USUAL
        and asked["n_folds"] == 3
        and asked["given"] == ["inner_folds", "network.epochs"]
    )
    code, out, _ = matgraft("compare", *words, "--strategy", "full", "-o", tmp_path / "held.csv")
    assert code == 0 and "least error" in out and asked["names"] == ("full",)
    assert set(pd.read_csv(tmp_path / "held.csv").strategy) == {"descriptors"}
    code, _, err = matgraft("compare", *words, "strategy=full")
    assert code == 2 and "--strategy" in err
