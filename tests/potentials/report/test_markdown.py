"""The short report."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from matgraft.core.report.markdown import to_markdown
from matgraft.core.verdict import Caution, Damage
from matgraft.potentials.report.facts import RunFacts, read_facts
from matgraft.potentials.report.run import run_document
from matgraft.potentials.run_files import VERDICT


def test_the_verdict_stands_first_and_the_tables_line_up(facts: RunFacts) -> None:
    text = to_markdown(run_document(facts))
    assert text.startswith(
        "# run: better on the test, with reservations\n\nBetter on the test, with reservations. RMSE on"
    )
    rows = [line for line in text.splitlines() if line.startswith("|")]
    errors, moved = rows[:7], rows[-5:]
    assert len({len(row) for row in errors}) == len({len(row) for row in moved}) == 1
    assert [row.split("|")[1].strip() for row in moved[2:]] == [
        "the target's elements alone", "with other elements", "your file"
    ]  # fmt: skip
    assert "meV/atom" in rows[0] and rows[4].startswith("| Tuned ")
    assert "error stress-shear" in text and "- Foundation: CHGNet 0.3.0" in text


def test_what_is_absent_is_said(run_folder: Path) -> None:
    (run_folder / "metrics.json").unlink()
    (run_folder / "verdict.json").unlink()
    text = to_markdown(run_document(read_facts(run_folder)))
    assert "Not recorded: this run has no metrics.json." in text
    assert "- metrics.json\n- verdict.json" in text


@pytest.mark.parametrize("odd", ["\\<script>", "\\[c](d)", "\\\\[c](d)", "a\\`b`", "<b>", "C:\\data"])
def test_a_backslash_before_markup_does_not_set_it_free(run_folder: Path, odd: str) -> None:
    """Markdown read the backslash and the one that escapes as one escaped backslash."""
    caution = Caution(code="odd", damage=Damage.NOTE, text=odd)
    VERDICT.write(run_folder, VERDICT.read(run_folder).model_copy(update={"cautions": (caution,), "reasons": ()}))
    _, _, below = to_markdown(run_document(read_facts(run_folder))).partition("## Why it may mislead\n\n")
    line = below.partition("\n")[0]
    (shown,) = [token for token in MarkdownIt("commonmark").parse(line) if token.type == "inline"]
    assert {token.type for token in shown.children or ()} <= {"text", "text_special"} and shown.children
    assert "".join(token.content for token in shown.children) == odd


def test_strangers_text_does_not_act(run_folder: Path) -> None:
    odd = Caution(code="odd", damage=Damage.NOTE, text="a\n# b <img> [c](d) `e`")
    VERDICT.write(run_folder, VERDICT.read(run_folder).model_copy(update={"cautions": (odd,), "reasons": ()}))
    assert "- a # b \\<img> \\[c\\](d) \\`e\\`\n" in to_markdown(run_document(read_facts(run_folder)))
