"""What to measure next, of finished runs: what is left out, what is told, what is refused."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

import matgraft
from matgraft import cli
from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.report.suggested import SUGGESTIONS, Suggested
from matgraft.formulas.suggest.compositions import Compositions
from matgraft.formulas.suggest.suggest import keep_suggestions, suggest

NEW = ["RbF", "RbCl", "Rb2O", "CsF", "BaF2", "BaO", "MnO", "MnF2", "CoF2", "CoO", "RbS", "BeF2"]


def command(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["matgraft", "suggest", *map(str, words)])
    try:
        cli.run_command_line()
    except SystemExit as stop:
        return stop.code
    return 0


def test_high_values_come_first_and_none_twice(runs):
    found = suggest(runs["gap"], NEW, n=5, maximise=True)
    assert isinstance(found, Suggested) and len(found.suggestions) == 5
    assert len({one.formula for one in found.suggestions}) == 5
    assert [one.rank for one in found.suggestions] == [1, 2, 3, 4, 5]
    assert found.best.value == pytest.approx(max(pd.read_csv(runs["gap"].parent / "train.csv")["gap"]))
    assert sum(one.chosen_for == "information" for one in found.suggestions) == 1
    for one in found.suggestions:
        assert one.lower <= one.value <= one.upper and one.improvement >= 0 and 0 <= one.information <= 1
        assert one.new_elements and "new chemistry" in one.reasons  # each has an element that was not measured


def test_the_goal_decides(runs):
    kinds = {"maximise": True}, {"minimise": True}, {"target_value": 2.0}
    first = [suggest(runs["gap"], NEW, n=1, information=0, **kind).suggestions[0].value for kind in kinds]
    assert first[1] < first[2] < first[0]


def test_it_is_the_verb_of_the_package(runs):
    assert matgraft.suggest is suggest
    assert matgraft.suggest(str(runs["gap"]), NEW, n=2, explore=True).share == 1.0


def test_what_was_measured_is_not_suggested_again(runs):
    train = pd.read_csv(runs["gap"].parent / "train.csv")
    again = [train["formula"][0], *NEW, train["formula"][1], "F Rb", "Rb2F2"]
    found = suggest(runs["gap"], again, n=50, minimise=True)
    assert (found.n_measured, found.n_repeated, found.n_candidates) == (2, 2, len(NEW))
    assert {one.formula for one in found.suggestions} == set(NEW)
    with pytest.raises(DataError, match="measured already"):
        suggest(runs["gap"], list(train["formula"]), maximise=True)


def test_the_nearest_measured_formula_comes_as_it_stands_in_the_table(runs):
    train = pd.read_csv(runs["gap"].parent / "train.csv").set_index("formula")["gap"]
    for one in suggest(runs["gap"], NEW, n=4, maximise=True).suggestions:
        assert one.nearest.value == pytest.approx(train[one.nearest.formula])


def test_candidates_come_from_a_table_in_memory_or_in_a_file(runs, tmp_path):
    cells = pd.DataFrame({"compound": NEW, "remark": "x"})
    cells.to_csv(tmp_path / "new.csv", index=False)
    listed = suggest(runs["gap"], NEW, n=4, maximise=True)
    for given in (cells, tmp_path / "new.csv", str(tmp_path / "new.csv")):
        found = suggest(runs["gap"], given, n=4, maximise=True)
        assert [one.formula for one in found.suggestions] == [one.formula for one in listed.suggestions]
    assert found.suggestions[0].line == NEW.index(found.suggestions[0].formula) + 2
    cells.loc[3, "compound"] = "Rb2Xq"
    cells.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match=r"new\.csv line 5"):
        suggest(runs["gap"], tmp_path / "new.csv", maximise=True)


def test_candidates_are_made_of_elements(runs):
    found = suggest(runs["gap"], Compositions(elements=("Rb", "O", "F")), n=3, maximise=True)
    assert found.made.tried > found.made.balanced >= found.n_candidates >= 3
    assert all(set(one.new_elements) == {"Rb"} for one in found.suggestions)


def test_classes_come_by_the_probability_of_the_wanted_one(runs):
    found = suggest(runs["kind"], NEW, n=4, wanted_class="wide", information=0.25)
    by_class = [one for one in found.suggestions if one.chosen_for == "improvement"]
    assert by_class[0].probability == max(one.probability for one in by_class)
    for one in found.suggestions:
        assert one.value in ("wide", "middle", "narrow") and one.improvement is None and one.lower is None
        assert 0 <= one.entropy <= 1.6  # bits: three classes have at most log2(3)
    explored = suggest(runs["kind"], NEW, n=2, explore=True)
    assert explored.suggestions[0].probability is None


def test_a_condition_tells_candidates_apart(runs):
    formula = pd.read_csv(runs["heat"].parent / "train.csv")["formula"][0]  # measured at 300
    rows = pd.DataFrame({"formula": [formula, formula, "RbF"], "temperature": [300, 600, 300]})
    found = suggest(runs["heat"], rows, n=3, maximise=True)
    assert (found.n_measured, found.n_candidates) == (1, 2)
    conditions = {(one.formula, one.conditions["temperature"]) for one in found.suggestions}
    assert conditions == {(formula, "600"), ("RbF", "300")}
    shared = suggest(runs["heat"], ["RbF"], n=1, maximise=True, conditions={"temperature": 500})
    assert shared.suggestions[0].conditions == {"temperature": "500"}


@pytest.mark.parametrize(
    ("run", "options", "said"),
    [
        ("gap", {}, "say what you want"),
        ("gap", {"maximise": True, "minimise": True}, "--maximise and --minimise are given"),
        ("gap", {"wanted_class": "wide"}, "--class NAME is not read: target 'gap' is of values"),
        ("gap", {"explore": True, "information": 0.5}, "--information is not read with --explore"),
        ("gap", {"maximise": True, "information": 2}, "information=2"),
        ("gap", {"maximise": True, "n": 0}, "n=0"),
        ("gap", {"target_value": float("nan")}, "target_value=nan"),
        ("gap", {"maximise": True, "target": "gaps"}, "target of the run 'gaps' is unknown"),
        ("gap", {"maximise": True, "conditions": {"temperature": 300}}, "temperature is not a covariate"),
        ("kind", {"maximise": True}, "--maximise is not read: target 'kind' is of classes"),
        ("kind", {"wanted_class": "wid"}, "'wid' is not a class"),
        ("both", {"maximise": True}, "the run has 2 targets"),
        ("heat", {"maximise": True}, "the predictor needs temperature as well"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_can(runs, options, said, run):
    with pytest.raises(OptionError) as error:
        suggest(runs[run], NEW, **options)
    assert said in error.value.found


def test_an_open_question_lists_what_may_be_wanted(runs):
    with pytest.raises(OptionError) as error:
        suggest(runs["gap"], NEW)
    assert error.value.allowed == ("--maximise", "--minimise", "--target-value VALUE", "--explore")
    with pytest.raises(OptionError) as error:
        suggest(runs["kind"], NEW)
    assert error.value.allowed == ("--class NAME", "--explore")


def test_of_several_targets_the_named_one_is_meant(runs):
    assert suggest(runs["both"], NEW, n=1, target="gap", minimise=True).target == "gap"
    assert suggest(runs["both"], NEW, n=1, target="kind", wanted_class="wide").target == "kind"


def test_the_command_writes_rows_facts_and_a_section_of_the_report(runs, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    shutil.copytree(runs["gap"], run)
    out = tmp_path / "next.csv"
    code = command(monkeypatch, run, "--elements", "Rb,Ba,F,O", "-n", "6", "--maximise", "-o", out, "--json")
    facts = json.loads(capsys.readouterr().out)
    assert code == 0 and len(facts["suggestions"]) == 6
    rows = pd.read_csv(out)
    assert list(rows["rank"]) == [1, 2, 3, 4, 5, 6]
    assert list(rows["formula"]) == [one["formula"] for one in facts["suggestions"]]
    assert rows["why"].str.len().min() > 0 and {"lower", "upper", "improvement", "information", "nearest"} <= set(rows)
    assert SUGGESTIONS.read(run).targets["gap"] == Suggested.model_validate(facts)
    page = (run / "report.html").read_text()
    assert "gap: what to measure next, the highest value wanted" in page
    assert rows["formula"][0] in page


def test_later_suggestions_stand_beside_those_of_other_targets(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["both"], run)
    for options in ({"target": "gap", "maximise": True}, {"target": "kind", "explore": True}):
        keep_suggestions(run, suggest(run, NEW, n=2, **options))
    keep_suggestions(run, suggest(run, NEW, n=3, target="gap", minimise=True))
    kept = SUGGESTIONS.read(run).targets
    assert set(kept) == {"gap", "kind"} and kept["gap"].goal.kind == "minimise" and kept["gap"].n == 3


def test_the_screen_keeps_its_shape_at_80_columns(runs, monkeypatch, capsys):
    from rich.console import Console

    monkeypatch.setattr("matgraft.cli.common.screen", Console(width=80))
    alloy = "Fe0.620C0.000953Mn0.000521Si0.00102Cr0.000110Ni0.192Mo0.0176V0.000112Nb0.0000616Co0.146Al0.00318Ti0.0185"
    assert command(monkeypatch, runs["gap"], alloy, *NEW, "-n", "4", "--target-value", "4.5") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line.split() for line in lines if "Formula" in line]
    assert heads == [["#", "Formula", "90", "%", "interval", "Improves", "Informs", "Why"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--maximise",), "no candidates are named"),
        (("RbF", "--elements", "Rb,F", "--maximise"), "both named"),
        (("RbF", "--most-atoms", "5", "--maximise"), "--most-atoms is not read"),
        (("RbF", "--formula", "name", "--maximise"), "--formula is not read"),
        (("--elements", "Rb,F", "--charge", "some", "--maximise"), "charge='some'"),
        (("--elements", "Rb,F", "--most-atoms", "500", "--maximise"), "most_atoms=500"),
        (("RbF", "-o", "no/such/folder.csv", "--maximise"), "there is no folder"),
    ],
)
def test_what_the_command_does_not_read_is_refused(runs, monkeypatch, capsys, words, said):
    assert command(monkeypatch, runs["gap"], *words) == 2
    assert said in capsys.readouterr().err


def test_a_prompt_may_ask_for_the_target_and_for_nothing_else(tmp_path):
    from types import SimpleNamespace

    from matgraft.formulas.predictor.store import TargetNames
    from matgraft.formulas.prompts.text import parse_prompt
    from matgraft.formulas.suggest.candidates import gather_candidates

    model = SimpleNamespace(
        folder=tmp_path,
        names={"gap": TargetNames(target="gap"), "hardness": TargetNames(target="hardness")},
        shared=lambda *_: None,
        asked=lambda texts, *_: [parse_prompt(text, {"GAP": "gap", "HARDNESS": "hardness"}) for text in texts],
        stated=lambda prompts, *_: prompts,
    )
    found = gather_candidates(model, "gap", ["[OXIDE] MgO [GAP]", "BeO"], {})
    assert [one.reduced for one in found.formulas] == ["OMg", "BeO"]
    with pytest.raises(OptionError, match="asks for 'hardness', and suggestions are made for 'gap'"):
        gather_candidates(model, "gap", ["BeO", "MgO [HARDNESS]"], {})


def test_a_value_that_has_no_logarithm_is_refused():
    from types import SimpleNamespace

    from matgraft.formulas.learners.transform import Transform
    from matgraft.formulas.report.suggested import Goal
    from matgraft.formulas.suggest.suggest import _refuse_value

    learned = SimpleNamespace(calibration=SimpleNamespace(transform=Transform(scale="log", positive=True)))
    _refuse_value(Goal(kind="target-value", value=0.1), learned)
    with pytest.raises(OptionError, match="learned by its logarithm"):
        _refuse_value(Goal(kind="target-value", value=0.0), learned)


def test_too_many_candidates_are_refused_before_they_are_read(runs, monkeypatch):
    monkeypatch.setattr("matgraft.formulas.suggest.candidates.MOST_TRIED", 10)
    with pytest.raises(DataError, match="12 candidates"):
        suggest(runs["gap"], NEW, maximise=True)
    monkeypatch.setattr("matgraft.formulas.suggest.candidates.MOST_TRIED", 100)
    monkeypatch.setattr("matgraft.formulas.suggest.candidates.MOST_CANDIDATES", 11)
    with pytest.raises(DataError, match="12 candidates"):
        suggest(runs["gap"], NEW, maximise=True)
    with pytest.raises(DataError, match="no candidate"):
        suggest(runs["gap"], [], maximise=True)
    with pytest.raises(DataError, match="one text"):
        suggest(runs["gap"], "RbF", maximise=True)
