"""Banks of prompts, metrics and half-finished predictions whose files were changed: found, or made anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.formulas.conftest import TunedRun
from tests.tampering import CHANGES, Change, changed, files_of

from matgraft.core.errors import ChangedError, MatgraftError
from matgraft.core.manifest import FILE, OlderFolderWarning, folder_state
from matgraft.formulas.few_shot.metric import METRICS, DistanceStatistics, Metric, MetricCard, Space
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.large import predict as large
from matgraft.formulas.large.parts import cut_into_parts
from matgraft.formulas.large.predict import Question, predict_large
from matgraft.formulas.prompts.bank import BANKS, SHIPPED
from matgraft.formulas.table.formula_table import ColumnNames
from matgraft.foundations import load

FORMULAS = tuple(parse_formula(text) for text in ("NaCl", "Fe2O3", "GaAs", "Ni3Al", "SiO2"))
ROWS = [f"{metal}{n}O" for metal in ("Li", "Ca", "Fe", "Al") for n in (1, 2, 3, 4, 5)]


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("metric") / "m"
    card = MetricCard(numbers={"cosine": DistanceStatistics(temperature=2.0)}, thresholds={"cosine": {1: 1.0, 2: 3.0}})
    Metric("m", card, FORMULAS).save(folder)
    return folder


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank") / "b"
    BANKS.read(SHIPPED).save(folder)
    return folder


def ask_metric(folder: Path) -> None:
    backbone = load("composition")
    found = METRICS.read(folder)
    for distance in ("cosine", *found.card.numbers):
        Space.of(backbone, found, distance).points(FORMULAS)
        _ = [found.threshold(distance, shots) for shots in (1, 2, 5, 1000)]


def ask_bank(folder: Path) -> None:
    BANKS.read(folder).prompted(load("composition"))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize(("kind", "ask"), [("metric", ask_metric), ("bank", ask_bank)])
def test_nothing_learned_is_taken_from_a_changed_file(
    request: pytest.FixtureRequest, kind: str, ask: Callable[[Path], None], change: Change
) -> None:
    folder = request.getfixturevalue(kind)
    files = files_of(folder)
    assert len(files) == 2 and folder_state(folder).is_whole
    for i, file in enumerate(files):
        with changed(file, files[i - 1], change, seed=i):
            state = folder_state(folder)
            assert file.name in {**state.changed, **dict.fromkeys(state.missing)}
            with pytest.raises(MatgraftError):
                ask(folder)
    ask(folder)


def without_hashes(folder: Path, to: Path) -> Path:
    copy = Path(shutil.copytree(folder, to))
    (copy / FILE).unlink()
    return copy


def edited(file: Path, change: dict[str, Any]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))


@pytest.mark.filterwarnings(f"ignore::{OlderFolderWarning.__module__}.{OlderFolderWarning.__name__}")
@pytest.mark.parametrize(
    "card",
    [
        {"thresholds": {"cosine": {"2": 1.0}}},
        {"thresholds": {"cosine": {"1": 1.0}}},
        {"thresholds": {"cosine": {"1": "nan", "2": "nan"}}},
        {"thresholds": {"cosine": {"-1": 1.0}}},
        {"thresholds": {"cosine": {"0": 1.0}}},
        {"thresholds": {"no such distance": {"1": 1.0, "2": 1.0}}},
        {"numbers": {"cosine": {"temperature": "nan"}}},
        {"numbers": {"cosine": {"temperature": -1}}},
        {"numbers": {"cosine": {"temperature": 0}}},
        {"numbers": {"no such distance": {}}},
        {"numbers": []},
        {"thresholds": None},
    ],
    ids=lambda card: json.dumps(card)[:60],
)
def test_the_numbers_of_a_metric_are_what_they_may_be(metric: Path, tmp_path: Path, card: dict[str, Any]) -> None:
    copy = without_hashes(metric, tmp_path / "m")
    edited(copy / "metric.json", card)
    with pytest.raises(MatgraftError):
        ask_metric(copy)


@pytest.mark.filterwarnings(f"ignore::{OlderFolderWarning.__module__}.{OlderFolderWarning.__name__}")
@pytest.mark.parametrize("text", ["", "\n", "NaCl\n\n", "Xx2\n", "\0", "\udcff", "((((", "NaCl\n"])
def test_the_background_of_a_metric_is_formulas(metric: Path, tmp_path: Path, text: str) -> None:
    copy = without_hashes(metric, tmp_path / "m")
    next(one for one in copy.iterdir() if one.suffix == ".txt").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(MatgraftError):
        ask_metric(copy)


@pytest.mark.filterwarnings(f"ignore::{OlderFolderWarning.__module__}.{OlderFolderWarning.__name__}")
@pytest.mark.parametrize(
    "card",
    [
        {"questions": []},
        {"questions": ["a"] * 3},
        {"questions": [f"q{i}" for i in range(100_000)]},
        {"questions": "gap"},
        {"questions": [""]},
        {"yes_or_no": ["no such question"]},
        {"yes_or_no": 3},
        {"labels": -1},
    ],
    ids=lambda card: json.dumps(card)[:40],
)
def test_the_card_of_a_bank_is_what_it_may_be(bank: Path, tmp_path: Path, card: dict[str, Any]) -> None:
    copy = without_hashes(bank, tmp_path / "b")
    edited(copy / "bank.json", card)
    with pytest.raises(MatgraftError):
        ask_bank(copy)


# --- predictions of a large table that were broken off ---------------------------------------------------------------


@pytest.fixture(scope="module")
def broken_off(tuned: TunedRun, tmp_path_factory: pytest.TempPathFactory) -> Question:
    """Two of four parts are predicted when the command is interrupted."""
    home = tmp_path_factory.mktemp("large")
    pd.DataFrame({"formula": ROWS}).to_csv(home / "rows.csv", index=False)
    question = Question(tuned.folder, cut_into_parts(home / "rows.csv", 5), home / "out.csv", ColumnNames())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "cores", lambda: 1)
        patch.setattr(large, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict_large(question, quiet=True)
    return question


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_part_that_was_changed_is_predicted_anew(
    broken_off: Question, tmp_path: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "cores", lambda: 1)
    kept = broken_off.out.with_name("out.csv.parts")
    here = Path(shutil.copytree(kept, tmp_path / "out.csv.parts"))
    question = Question(broken_off.run, broken_off.table, tmp_path / "out.csv", broken_off.columns)
    files = sorted(one for one in files_of(here) if one.suffix in (".json", ".parquet"))
    assert len(files) == 8
    change(files[0], files[2], np.random.default_rng(0))
    change(files[5], files[2], np.random.default_rng(1))
    written, _ = predict_large(question, quiet=True)
    assert written.computed == 2 and written.predictions == len(ROWS)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv"), expected(broken_off, tmp_path))


def expected(question: Question, folder: Path) -> pd.DataFrame:
    predict_large(Question(question.run, question.table, folder / "all.csv", question.columns), quiet=True)
    return pd.read_csv(folder / "all.csv")


def test_a_part_that_was_kept_is_not_predicted_again(
    broken_off: Question, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "cores", lambda: 1)
    shutil.copytree(broken_off.out.with_name("out.csv.parts"), tmp_path / "out.csv.parts")
    question = Question(broken_off.run, broken_off.table, tmp_path / "out.csv", broken_off.columns)
    assert predict_large(question, quiet=True)[0].computed == 0


def test_a_target_whose_folder_is_gone_is_missed(tuned: TunedRun, tmp_path: Path) -> None:
    from matgraft.formulas.predict import PropertyModel

    copy = Path(shutil.copytree(tuned.folder, tmp_path / "run"))
    shutil.rmtree(next(iter((copy / "predictors").iterdir())))
    with pytest.raises(ChangedError if FILE in str(folder_state(copy)) else MatgraftError, match="missing"):
        _ = PropertyModel.open(copy).names
