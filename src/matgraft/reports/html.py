"""The report as one HTML file that stands alone: opens without a network, prints, follows the reader's theme.

>>> write_report(Path("runs/silicon"))
PosixPath('runs/silicon/report.html')

File names, tags and recipes come from strangers. Three walls hold them: Jinja escapes every text; data reach the page's
script as JSON in which ``<`` does not occur; and the page's content policy admits no address at all and no script but
the two whose hashes it states.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from matgraft.files import to_json, write_json, write_text
from matgraft.reports import checks, ladder, origins, tables, text
from matgraft.reports.facts import facts
from matgraft.reports.markdown import to_markdown
from matgraft.reports.plots import COLOURS, figures

FOLDER = Path(__file__).parent


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
    return page("report.html.jinja", drawn, facts=said, colours=COLOURS, **makers)


def page(template: str, drawn: Mapping[str, go.Figure], **content: Any) -> str:
    """Render a template with its figures, the style, and the scripts that draw them."""
    plotly, script = _clean_lines(get_plotlyjs()), _clean_lines((FOLDER / "report.js").read_text(encoding="utf-8"))
    return (
        _environment()
        .get_template(template)
        .render(
            text=text,
            figures=drawn,
            figures_json=embed(drawn),
            style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),
            plotly=Markup(plotly),
            script=Markup(script),
            script_hashes=Markup(" ").join(f"'{_hash(part)}'" for part in (plotly, script)),
            **content,
        )
    )


def embed(drawn: Mapping[str, go.Figure]) -> Markup:
    r"""Return figures as JSON for a ``<script type="application/json">``: ``<`` is written as ``\u003c``."""
    text = to_json({name: json.loads(figure.to_json()) for name, figure in drawn.items()}, indent=None)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["say"] = text.say
    return environment


def _clean_lines(script: str) -> str:
    """Browsers hash a script after turning every line end into a newline."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Markup("sha256-" + digest)
