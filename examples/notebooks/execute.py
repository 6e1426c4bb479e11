"""Execute the notebooks in this process, and keep what their cells printed: python examples/notebooks/execute.py.

A notebook is a JSON file. Its code cells run one after the other in one namespace, in an empty folder; what a cell
prints, and the value of its last line, become its output.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NOTEBOOKS = sorted(HERE.glob("*.ipynb"))


def execute(notebook: dict[str, Any], data: Path) -> list[str]:
    """Run the code cells, write their outputs into the notebook, and return them; `data` is the variable DATA."""
    space: dict[str, Any] = {"__name__": "__main__", "DATA": data}
    said = []
    for number, cell in enumerate((one for one in notebook["cells"] if one["cell_type"] == "code"), 1):
        text = _run("".join(cell["source"]), space)
        said.append(text)
        lines = [line + "\n" for line in text.splitlines()]
        cell["execution_count"] = number
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []
    return said


def _run(source: str, space: dict[str, Any]) -> str:
    tree, printed = ast.parse(source), io.StringIO()
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), space)
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), space) if last else None
        if value is not None:
            print(value)
    return printed.getvalue()


def main() -> None:
    """Execute all, and write them."""
    for path in NOTEBOOKS:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            execute(notebook, HERE.parent / "data")
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + os.linesep, encoding="utf-8")
        print(path.name)


if __name__ == "__main__":
    main()
