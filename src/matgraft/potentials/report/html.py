"""The report of a run on frames: facts in, three files out.

>>> write_report(Path("runs/silicon"))
PosixPath('runs/silicon/report.html')
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matgraft.core.files import write_json, write_text
from matgraft.core.report.figures import COLOURS
from matgraft.core.report.page import page
from matgraft.potentials.report import checks, ladder, origins, tables
from matgraft.potentials.report.facts import facts
from matgraft.potentials.report.markdown import to_markdown
from matgraft.potentials.report.plots import figures

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
        What `matgraft.potentials.report.facts.facts` returned, or report.json read back.
    """
    drawn = figures(said) | ladder.figures(said)
    makers = {"checks": checks, "ladder": ladder, "origins": origins, "tables": tables}
    return page(TEMPLATE, drawn, facts=said, colours=COLOURS, **makers)
