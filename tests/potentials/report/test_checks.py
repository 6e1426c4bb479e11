"""The table of forgetting: whole chemistries first, changes beside the foundation's own size."""

from __future__ import annotations

from pathlib import Path

from matgraft.potentials.report import checks
from matgraft.potentials.report.facts import facts


def test_the_table_says_where_and_how_much(run_folder: Path) -> None:
    table = checks.forgetting(facts(run_folder))
    assert table is not None
    assert [column["unit"] for column in table["columns"]] == ["meV/atom", "eV/Å", "GPa"]
    outside = next(row for row in table["rows"] if row["main"] and row["place"] == "with other elements")
    assert [cell["value"] for cell in outside["cells"]] == ["81.0", "0.203", "2.70"]
    assert [cell["part"] for cell in outside["cells"]] == ["", *(f"{n} % of the foundation's own" for n in (11, 19))]
    dimers = next(row for row in table["rows"] if row["kind"] == "dimer")
    assert not dimers["main"] and dimers["cells"][2]["value"] == "–"
    assert (table["outcome"], table["rows"][-1]["kind"]) == ("failed", "all")


def test_one_line_for_a_screen(run_folder: Path) -> None:
    said = checks.line(facts(run_folder))
    assert said.startswith("the target's elements alone 69.2 meV/atom, ")
    assert "; with other elements 81.0 meV/atom" in said and said.count(";") == 2


def test_a_run_without_checks_has_no_table(run_folder: Path) -> None:
    (run_folder / "checks.json").unlink()
    assert checks.forgetting(facts(run_folder)) is None
    assert checks.line(facts(run_folder)) == ""
    assert checks.forgetting({}) is None
