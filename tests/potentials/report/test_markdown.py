"""The short report."""

from __future__ import annotations

import json
from pathlib import Path

from matgraft.potentials.report.facts import facts
from matgraft.potentials.report.markdown import to_markdown


def test_the_verdict_stands_first_and_the_table_lines_up(run_folder: Path) -> None:
    text = to_markdown(facts(run_folder))
    assert text.startswith("# run: better than the foundation\n\nBetter than the foundation. RMSE on")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    errors, moved = rows[:6], rows[6:]
    assert len({len(row) for row in errors}) == len({len(row) for row in moved}) == 1
    assert [row.split("|")[1].strip() for row in moved[2:]] == [
        "the target's elements alone", "with other elements", "your file"
    ]  # fmt: skip
    assert "meV/atom" in rows[0] and rows[4].startswith("| Tuned ")
    assert "error stress-shear" in text


def test_what_is_absent_is_said(run_folder: Path) -> None:
    (run_folder / "metrics.json").unlink()
    (run_folder / "verdict.json").unlink()
    text = to_markdown(facts(run_folder))
    assert "Errors: not recorded." in text
    assert "- metrics.json\n- verdict.json" in text


def test_strangers_text_does_not_act(run_folder: Path) -> None:
    path = run_folder / "verdict.json"
    verdict = json.loads(path.read_text()) | {
        "cautions": [{"code": "odd", "damage": 1, "text": "a\n# b <img> [c](d) `e`"}]
    }
    path.write_text(json.dumps(verdict))
    assert "- a # b \\<img> \\[c\\](d) \\`e\\`\n" in to_markdown(facts(run_folder))
