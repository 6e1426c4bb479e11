"""The notebooks run, and what they show is what their cells print."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
_SPEC = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
assert _SPEC is not None and _SPEC.loader is not None
EXECUTE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(EXECUTE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_outputs_are_those_of_the_cells(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    shown = ["".join(line for one in cell["outputs"] for line in one["text"]) for cell in cells]
    monkeypatch.chdir(tmp_path)
    assert EXECUTE.execute(notebook, FOLDER.parent / "data") == shown
    assert sum(map(bool, shown)) >= 2


def test_there_are_three_and_their_links_lead_somewhere() -> None:
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        links = re.findall(r"\]\((\.\./[^)#]+)", path.read_text(encoding="utf-8"))
        assert links and all((FOLDER / link).exists() for link in links)
