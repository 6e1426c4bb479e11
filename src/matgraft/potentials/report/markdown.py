"""The report in a screenful: verdict, errors, cautions. Good as report.md and in a terminal.

>>> print(to_markdown(facts(run)))
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matgraft.potentials.report import checks, ladder, origins, tables


def to_markdown(facts: Mapping[str, Any]) -> str:
    """Return the short report; columns line up, so that it reads well unrendered.

    Parameters
    ----------
    facts
        What `matgraft.potentials.report.facts.facts` returned.
    """
    verdict = tables.verdict(facts)
    blocks = [
        f"# {_text(facts['run'])}: {_text(verdict['level'])}",
        _text(verdict["headline"]),
        f"**Read first:** {_text(verdict['caution'])}" if verdict["caution"] else "",
        _text(verdict["chosen"]),
        _scores(tables.scores(facts)),
        _heads(tables.by_head(facts)),
        _ladder(ladder.rows(facts)),
        _forgetting(checks.forgetting(facts)),
        *(_listed(title, lines) for _, title, lines in verdict["lists"]),
        _listed("Failed in the audit", [_finding(found) for found in origins.findings(facts, "failed")]),
        _listed("How it was made", [f"{name}: {value}" for name, value in tables.settings(facts)]),
        _listed("Not recorded", facts["absent"]),
        _listed("Not readable", [f"{name}: {reason}" for name, reason in facts["unreadable"].items()]),
        "All figures and plots: report.html; as data: report.json.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _scores(scores: Mapping[str, Any]) -> str:
    if not scores["rows"]:
        return "Errors: not recorded."
    header = ["RMSE (95 % interval)", *(f"{column['name'].lower()}, {column['unit']}" for column in scores["columns"])]
    rows = [[row["name"], *map(_cell, row["cells"])] for row in scores["rows"]]
    gains = [f"{gain['ratio']} {gain['outcome']}" for gain in scores["gains"]]
    return f"{_table([header, *rows, ['Tuned by the stronger baseline', *gains]])}\n\n{scores['note']}"


def _heads(found: Mapping[str, Any]) -> str:
    if not found["rows"]:
        return ""
    header = ["RMSE by head", "frames", *(f"{column['name'].lower()}, {column['unit']}" for column in found["columns"])]
    return _table([header, *([row["name"], row["n_frames"], *row["cells"]] for row in found["rows"])])


def _ladder(climb: Mapping[str, Any] | None) -> str:
    if climb is None:
        return ""
    units = (f"{column['name'].lower()}, {column['unit']}" for column in climb["columns"])
    header = ["Rung (RMSE on validation)", "minutes", *units, "loss", "taken off", "verdict"]
    rows = [[r["name"], r["minutes"], *r["cells"], r["loss"], r["gain"], r["verdict"]] for r in climb["rows"]]
    target = [f"Target: {climb['target']}"] if climb["target"] else []
    reasons = [f"{row['name']} {row['verdict']}: {row['why']}" for row in climb["rows"] if row["why"]]
    lines = [f"Kept {climb['kept']}; the climb ended because {climb['stopped']}", *target, *reasons]
    table = _table([header, *([_text(cell) for cell in row] for row in rows)])
    return f"## The ladder\n\n{table}\n\n" + "\n".join(f"- {_text(line)}" for line in lines)


def _forgetting(forgotten: Mapping[str, Any] | None) -> str:
    """Return the rows of whole chemistries; those of single kinds are in the page."""
    if forgotten is None or not forgotten["rows"]:
        return ""
    header = ["Moved from the foundation", *(f"{one['name'].lower()}, {one['unit']}" for one in forgotten["columns"])]
    rows = [[row["place"], *(cell["value"] for cell in row["cells"])] for row in forgotten["rows"] if row["main"]]
    return f"## Forgetting\n\n{_table([header, *rows])}"


def _cell(cell: Mapping[str, str]) -> str:
    return f"{cell['value']} ({cell['interval']})" if cell["interval"] else cell["value"]


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return a pipe table; the first row is the header, the first column text, the others figures."""
    rows = [[_text(cell).replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| "
        + " | ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        + " |"
        for row in rows
    ]
    rule = "| " + " | ".join("-" * (w - 1) + ":" if i else "-" * w for i, w in enumerate(widths)) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def _finding(found: Mapping[str, Any]) -> str:
    options = "".join(f" Option: {option}" for option in found["options"])
    return f"{found['severity']} {found['code']}: {found['evidence']} {found['remedy']}{options}"


def _listed(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *(f"- {_text(line)}" for line in lines)]) if lines else ""


def _text(text: str) -> str:
    """Keep a stranger's text from acting as markup: one line, brackets and angles escaped."""
    return re.sub(r"([\[\]<`])", r"\\\1", " ".join(str(text).split()))
