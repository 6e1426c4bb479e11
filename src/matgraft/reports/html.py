"""The report of a run on frames: facts in, three files out.

>>> write_report(Path("runs/silicon"))
PosixPath('runs/silicon/report.html')
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matgraft.files import write_json, write_text
from matgraft.reports import checks, ladder, origins, tables
from matgraft.reports.facts import facts
from matgraft.reports.figures import COLOURS
from matgraft.reports.markdown import to_markdown
from matgraft.reports.page import page
from matgraft.reports.plots import figures

TEMPLATE = Path(__file__).with_name("report.html.jinja")


def write_report(run: Path) -> Path:
    """Write report.html, report.md and report.json (the facts) into a run folder.

    Parameters
    ----------
    run
        The folder of a run; files that it lacks make sections that say so.

    Returns
    -------
    Path
        Of report.html.

    Raises
    ------
    RunError
        If the folder is not there, or holds no file of a run.
    """
    run = Path(run)
    said = facts(run)
    write_json(run / "report.json", said, indent=None)
    write_text(run / "report.md", to_markdown(said))
    write_text(run / "report.html", to_html(said))
    return run / "report.html"


def to_html(said: Mapping[str, Any]) -> str:
    """Render the facts as a page.

    Parameters
    ----------
    said
        What `matgraft.reports.facts.facts` returned, or report.json read back.
    """
    drawn = figures(said) | ladder.figures(said)
    makers = {"checks": checks, "ladder": ladder, "origins": origins, "tables": tables}
    return page(TEMPLATE, drawn, facts=said, colours=COLOURS, **makers)
