"""Tables on narrow terminals: what must be typed stays whole."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from matgraft.core.report.grid import show_grid

LONG = "closed-form-on-predicted-properties"


def shown(width, heads, rows, **how):
    screen = Console(width=width, file=io.StringIO(), color_system=None)
    grid = Table(*heads, **how)
    for row in rows:
        grid.add_row(*row)
    show_grid(screen, grid)
    return screen.file.getvalue()


@pytest.mark.parametrize("width", [46, 60, 80])
def test_a_name_is_whole_and_other_columns_give_way(width):
    heads, row = ("formula", "target", "interval or probability"), ("Fe2O3", "melting_point_K", "1301 to 1946")
    text = shown(width, heads, [row])
    assert "melting_point_K" in text and "Fe2O3" in text and "━" in text
    assert max(map(len, text.splitlines())) <= width


def test_a_head_is_broken_before_the_cells_of_a_column_are():
    rows = [("new formulas of groups that were trained on", "14", "0.0959 to 2.08"), ("all", "3", "1 to 2")]
    lines = shown(48, ("rows", "mean absolute error", "interval of that error"), rows, box=SIMPLE_HEAD).splitlines()
    assert any("0.0959 to 2.08" in line for line in lines) and any("absolute" in line for line in lines)
    assert sum("1 to 2" in line for line in lines) == 1 and max(map(len, lines)) <= 48


def test_where_the_columns_do_not_fit_each_row_is_lines():
    text = shown(20, ("member", "weight\n[dim]%[/]", ""), [(LONG, "12", ""), ("trees", "[bold]88[/]", "x y z")])
    assert text.splitlines() == [f"member: {LONG}", "weight, %: 12", "", "member: trees", "weight, %: 88", "x y z", ""]


def test_a_value_and_its_interval_below_are_told_apart_on_one_line():
    text = shown(20, ("Predicted\n[dim]90 % interval[/]", "member"), [("1340\n[dim]1124 to 1846[/]", LONG)])
    assert text.splitlines()[0] == "Predicted, 90 % interval: 1340, 1124 to 1846"


def test_lines_between_columns_are_left_out_first():
    text = shown(36, ("formula", "target", "interval"), [("Fe2O3", "melting_point_K", "1301 to 1946")])
    assert [" ".join(line.split()) for line in text.splitlines()][-2:] == ["Fe2O3 melting_point_K 1301 to", "1946"]


@pytest.mark.parametrize("width", [8, 40])
def test_what_looks_like_markup_is_shown_as_it_is(width):
    assert "[GAP]-Fe2O3" in shown(width, ("prompt",), [(r"\[GAP]-Fe2O3",)])


WORD = st.text("abcXYZ012_-", min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.integers(10, 120), st.lists(st.lists(WORD, min_size=3, max_size=3), min_size=1, max_size=4))
def test_no_word_is_ever_cut(width, rows):
    for box in ({}, {"box": SIMPLE_HEAD}):
        text = shown(width, ("one", "two words", "three"), rows, **box)
        for word in (word for row in rows for word in row):
            assert word in text


def test_an_empty_table_is_no_error():
    assert "member" in shown(80, ("member", "weight"), [])
