"""A report as one HTML file that stands alone: opens without a network, prints, follows the reader's theme.

File names, tags and recipes come from anybody. Three walls hold them: Jinja escapes every text; figures reach the
page's script as JSON in which ``<`` does not occur; and the page's content policy admits no address at all and no
script but the two whose hashes it states.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from matgraft.core.files import to_json
from matgraft.core.findings import Finding, list_frames
from matgraft.core.options import offer, shell, typeable
from matgraft.core.report.document import SIGNS, Document, Drawing, drawings
from matgraft.core.report.text import cleaned, short_number

FOLDER = Path(__file__).parent
PLOTLY = FOLDER / "plotly" / "cartesian-4.1.1.min.js.gz"
"""plotly.js with the traces that have axes, as its authors publish it (plotly.js-cartesian-dist-min, MIT), packed by
gzip: 0.5 MB in place of the 4.7 MB of all traces, which the Python package brings."""


def to_html(document: Document) -> str:
    """Render a document as a page, with the style, its figures, and the scripts that draw them."""
    sections = document.of_form("page")
    script = _clean_lines(_beside("report.js"))
    return (
        _template()
        .render(
            document=document,
            sections=sections,
            figures=figures_as_json(drawing for section in sections for drawing in drawings(section.blocks)),
            style=Markup(_beside("report.css")),
            script=Markup(script),
            plotly=Markup(base64.b64encode(PLOTLY.read_bytes()).decode()),
            script_hashes=Markup(" ".join(f"'{_hash(one)}'" for one in (_plotly(), script))),
        )
        .lstrip()
    )


def figures_as_json(drawn: Iterable[Drawing]) -> Markup:
    r"""Return figures as JSON for a ``<script type="application/json">``: ``<`` is written as ``\u003c``."""
    text = to_json({one.name: json.loads(one.figure.to_json()) for one in drawn}, indent=None)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else cleaned(str(value)),
    )
    environment.filters |= {
        "frames": _frames,
        "kind": lambda block: type(block).__name__,
        "options": lambda options: shell(options) if typeable(options) else offer(options),
        "short_number": short_number,
    }
    environment.globals["signs"] = SIGNS
    return environment.get_template("document.html.jinja")


def _frames(finding: Finding) -> str:
    """Return the frames of a finding, or the lines of one on a table."""
    places = finding.frames or finding.lines
    return f"{len(places)}: {list_frames(places, finding.files)}" if places else ""


@cache
def _plotly() -> str:
    """Return what the browser unpacks and runs."""
    return gzip.decompress(PLOTLY.read_bytes()).decode()


def _beside(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _clean_lines(script: str) -> str:
    """Browsers hash a script after turning every line end into a newline."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
