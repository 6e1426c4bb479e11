"""What the section says of suggestions, from facts alone."""

from __future__ import annotations

import pytest

from matgraft.core.report.document import Cell, Table, Text
from matgraft.formulas.report.suggested import (
    Goal,
    Made,
    Measured,
    Suggested,
    Suggestion,
    suggested_section,
    suggestion_rows,
    why,
)


def facts(goal: Goal, *suggestions: Suggestion, **changed: object) -> Suggested:
    made = Suggested(
        run="runs/x", target="gap", goal=goal, n=2, share=0.2, best=Measured(formula="MgO", value=7.8), scale="none",
        level=0.9, file=None, made=None, n_candidates=1200, n_measured=3, n_repeated=0, n_unlike=0,
        suggestions=suggestions or (one(),),
    )  # fmt: skip
    return made.model_copy(update=changed)


def one(**changed: object) -> Suggestion:
    made = Suggestion(
        rank=1, formula="BeO", line=7, conditions={}, value=8.0, lower=6.0, upper=10.0, chosen_for="improvement",
        improvement=0.61, probability=None, entropy=None, information=0.125, distance=0.4, new_elements=(),
        reasons=("prediction",), nearest=Measured(formula="MgO", value=7.8),
    )  # fmt: skip
    return made.model_copy(update=changed)


def table_and_notes(found: Suggested) -> tuple[Table, str]:
    section = suggested_section(found, "next")
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    return table, " ".join(block.text for block in section.blocks if isinstance(block, Text))


def test_a_value_stands_with_its_interval_and_its_nearest_row():
    table, notes = table_and_notes(facts(Goal(kind="maximise")))
    assert [column.title for column in table.columns] == ["#", "Formula", "Predicted", "Improves", "Informs", "Why"]
    assert table.rows[0].cells[1] == Cell("BeO", "near MgO (7.8)")
    assert table.rows[0].cells[2] == Cell("8", "6 to 10")
    assert "1,200 candidates (3 measured already: left out)" in notes and "Best so far: MgO, 7.8" in notes
    assert "out of domain" not in notes.lower() and "1 suggestion" not in notes


@pytest.mark.parametrize(("improvement", "text"), [(8.59e-98, "0"), (3e-6, "0"), (0.000815, "0.000815"), (None, "")])
def test_an_improvement_far_below_the_interval_is_none(improvement, text):
    table, _ = table_and_notes(facts(Goal(kind="maximise"), one(improvement=improvement)))
    assert table.rows[0].cells[3].text == text


@pytest.mark.parametrize(
    ("scale", "unit"), [("none", "in the target's units"), ("log", "natural logarithm"), ("asinh", "hyperbolic sine")]
)
def test_the_unit_of_the_improvement_is_told(scale, unit):
    _, notes = table_and_notes(facts(Goal(kind="maximise"), scale=scale))
    assert unit in notes


def test_without_a_goal_nothing_is_said_of_improvement():
    found = facts(Goal(kind="explore"), one(improvement=None, reasons=("speaks for others",)), best=None)
    table, notes = table_and_notes(found)
    assert "Improves" not in [column.title for column in table.columns] and "Improves" not in notes


def test_a_class_stands_with_its_probability():
    changed = {"value": "metal", "lower": None, "upper": None, "improvement": None, "probability": 0.83, "entropy": 0.6}
    found = facts(Goal(kind="class", wanted="metal"), one(**changed), best=None)
    table, notes = table_and_notes(found)
    assert "Probability" in [column.title for column in table.columns] and "interval" not in notes
    assert "83 %" in [cell.text for cell in table.rows[0].cells]
    (row,) = suggestion_rows(found)
    assert row["probability"] == 0.83 and row["entropy"] == 0.6 and "lower" not in row and "improvement" not in row


def test_reasons_are_words_of_the_goal():
    words = {
        "maximise": "high prediction", "minimise": "low prediction", "target-value": "prediction near the value",
        "class": "likely metal",
    }  # fmt: skip
    for kind, said in words.items():
        goal = Goal(kind=kind, wanted="metal" if kind == "class" else None)
        assert why(one(), facts(goal)) == said
    new = one(reasons=("uncertain", "new chemistry"), new_elements=("Be", "Rb"))
    assert why(new, facts(Goal(kind="explore"))) == "uncertain, new chemistry (Be, Rb not measured yet)"


def test_fewer_than_were_asked_for_and_strangers_are_told():
    _, notes = table_and_notes(facts(Goal(kind="minimise"), n=9, n_unlike=40, n_repeated=2))
    assert "9 were asked for" in notes and "Out of domain: 40" in notes and "2 named before" in notes


def test_what_was_made_is_told():
    made = Made(elements=("Li", "O"), tried=45, balanced=3)
    _, notes = table_and_notes(facts(Goal(kind="maximise"), made=made))
    assert "Made of Li, O: 45 compositions, 3 of them balance in charge." in notes


def test_conditions_stand_behind_the_formula_and_in_columns_of_their_own():
    found = facts(Goal(kind="maximise"), one(conditions={"temperature": "600"}))
    table, _ = table_and_notes(found)
    assert table.rows[0].cells[1].text == "BeO, temperature 600"
    assert suggestion_rows(found)[0]["temperature"] == "600"
