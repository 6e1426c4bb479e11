"""A report as one HTML file that stands alone: opens without a network, prints, follows the reader's theme.

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

from matgraft.core.files import to_json

FOLDER = Path(__file__).parent


def page(template: Path, drawn: Mapping[str, go.Figure], **content: Any) -> str:
    """Render a template with its figures, the style, and the scripts that draw them."""
    plotly, script = _clean_lines(get_plotlyjs()), _clean_lines((FOLDER / "report.js").read_text(encoding="utf-8"))
    return (
        _environment(template.parent)
        .get_template(template.name)
        .render(
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
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment


def _clean_lines(script: str) -> str:
    """Browsers hash a script after turning every line end into a newline."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Markup("sha256-" + digest)
