"""The screen of the formula commands is printed from the types whose JSON `--json` prints."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from pydantic_core import to_jsonable_python
from rich.console import Console

from matgraft.core.files import to_json
from matgraft.core.verdict import Caution, Damage
from matgraft.formulas.predictor.facts import WeighedMember
from matgraft.formulas.prompts.facts import Alike, PromptFacts, PromptStart
from matgraft.formulas.report.facts import TableResult
from matgraft.formulas.report.predicted import MOST_SHOWN, show_predictions, show_written
from matgraft.formulas.report.text import show_comparison, show_folds, show_targets
from matgraft.formulas.scoring.folds import CrossValidation, FoldScores
from matgraft.formulas.scoring.strategies import ComparedStrategy, StrategyComparison

from .test_page import metrics

ROW = {"formula": "FeO", "target": "gap", "value": 1.25, "lower": 0.5, "upper": 2.0, "unlike": True}
ODD = "gap [eV] of [/x]"
"""Rich takes the first brackets for a style, and fails on the second: no tag is open."""


def folds(name="0"):
    member = WeighedMember(name="trees", score=0.5, weight=1.0, pretrained=True)
    fold = FoldScores(fold=name, n_train=20, n_test=10, scores={"mae": 0.5}, members=(member,))
    return CrossValidation(
        folds=(fold,), mean={"mae": 0.5}, std={"mae": None}, n_folds={"mae": 1}, weighted=True, classes=(), n=10,
        n_unlike=3, n_in_training=5, without_value=2, without_weight=4, pretraining=None,
    )  # fmt: skip


def targets(name="gap", asked="gap", **verdict):
    part = metrics()
    part = part.model_copy(update={"verdict": part.verdict.model_copy(update=verdict)})
    start = PromptStart(target=asked, nearest="mp_gap", similarity=0.5, fits=2)
    alike = Alike(names=("[GAP]",), matrix=[[1.0]])
    prompts = PromptFacts(
        tokens={"[GAP]": "gap"}, bank="shipped", starts=(start,), alike=alike, trained=7, stored_MB=0.1
    )
    report = f"4 {ODD}" if name == ODD else "runs/1/report.html"
    return TableResult(run="runs/1", report=report, targets={name: part}, prompts=prompts)


def printed(show, facts):
    file = io.StringIO()
    show(Console(file=file, width=200), facts)
    return file.getvalue()


def told(facts):
    """What --json prints, read back."""
    return json.loads(to_json(to_jsonable_python(facts)))


def test_the_screen_of_a_run_needs_nothing_but_the_json():
    assert printed(show_targets, TableResult.model_validate(told(targets()))) == printed(show_targets, targets())
    shown = printed(show_targets, targets())
    assert "mp_gap" in shown and "few" in shown and "No better: 0.12" in shown and "first fold" in shown
    assert "prompts" not in told(targets().model_copy(update={"prompts": None}))


@pytest.mark.parametrize(
    ("on_screen", "keys"),
    [
        ("2 rows without a value", {"without_value": 2}),
        ("4 rows of weight 0", {"without_weight": 4}),
        ("3 of 10 rows have a formula unlike", {"n": 10, "n_unlike": 3}),
        ("5 of 10 rows have a formula that is in their training set", {"n": 10, "n_in_training": 5}),
    ],
)
def test_what_the_screen_of_folds_names_has_a_key(on_screen, keys):
    assert on_screen in printed(show_folds, folds())
    said = told(folds())
    assert said | keys == said
    assert {key: said["folds"][0][key] for key in ("fold", "n_train", "n_test", "mae")} == {
        "fold": "0", "n_train": 20, "n_test": 10, "mae": 0.5
    }  # fmt: skip


def test_names_of_users_are_no_markup():
    cautions = (Caution(code="few-rows", damage=Damage.NOTE, text=f"2 {ODD}"),)
    result = targets(ODD, f"3 {ODD}", headline=f"1 {ODD}", cautions=cautions)
    assert printed(show_targets, result).count(ODD) == 6  # the name stands over the members and over the verdict
    assert printed(show_folds, folds(ODD)).count(ODD) == 1
    row = ROW | {"formula": ODD, "target": ODD, "value": ODD, f"p_{ODD}": 0.9}
    assert printed(show_predictions, [row]).count(ODD) == 3
    assert printed(lambda screen, rows: show_written(screen, rows, Path(ODD)), [ROW]).count(ODD) == 1


@pytest.mark.parametrize("width", [60, 80])
def test_no_name_of_a_strategy_is_cut(width):
    names = ("auto", "descriptors", "untrained")
    rows = tuple(
        ComparedStrategy(strategy=name, error=0.1234, interval=(0.1111, 0.2222), difference=0.0123, minutes=12.25,
                         difference_interval=(-0.0123, 0.0456), scores={})
        for name in names
    )  # fmt: skip
    found = StrategyComparison(criterion="mean absolute error", n=60, n_units=40, n_folds=5, rows=rows, best="auto",
                               as_good=("auto",), fastest="auto")  # fmt: skip
    file = io.StringIO()
    show_comparison(Console(file=file, width=width), found)
    lines = file.getvalue().splitlines()
    for name in names:
        assert any(name in line.replace("│", " ").split() for line in lines), file.getvalue()
    table = lines[: next(i for i, line in enumerate(lines) if "has the least error" in line)]
    assert max(map(len, table)) <= width and any("strategy" in line and "minutes" in line for line in table)


def test_predictions_of_one_target_fit_into_a_narrow_terminal() -> None:
    rows = [ROW | {"formula": "NaCl", "target": "formation_energy", "lower": -2.3244, "upper": -1.8491}]
    rows += [rows[0] | {"formula": "Ni3Al", "unlike": False, "in_training": True}]
    rows += [rows[0] | {"formula": "SrTiO3", "unlike": False, "in_training": False}]
    file = io.StringIO()
    show_predictions(Console(file=file, width=72), rows)
    lines = [" ".join(line.replace("│", " ").split()) for line in file.getvalue().splitlines()]
    assert "NaCl formation_energy 1.25 -2.324 to -1.849 unlike it" in lines
    assert "Ni3Al formation_energy 1.25 -2.324 to -1.849 has it" in lines
    assert "SrTiO3 formation_energy 1.25 -2.324 to -1.849" in lines
    assert "interval" in file.getvalue() and "probability" not in file.getvalue()
    shown = printed(show_predictions, [ROW | {"value": "yes", "p_yes": 0.875}])
    assert "probability" in shown and "interval" not in shown and "87.5%" in shown


def test_of_very_many_predictions_the_first_are_shown() -> None:
    rows = [ROW | {"formula": f"Al{i}O"} for i in range(1, MOST_SHOWN + 3)]
    said = printed(show_predictions, rows)
    assert f"Al{MOST_SHOWN}O" in said and f"Al{MOST_SHOWN + 1}O" not in said
    assert "and 2 more; -o predictions.csv writes all" in said and "more" not in printed(show_predictions, rows[:2])
