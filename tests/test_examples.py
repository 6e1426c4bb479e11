"""Every example runs, and so does the README's own code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((REPOSITORY / "examples").glob("[0-9]*.py"))
FRAMES = REPOSITORY / "examples" / "data" / "sige" / "frames.extxyz"
TABLE = REPOSITORY / "examples" / "data" / "formation" / "formation_energies.csv"


def run(*words: str | Path, cwd: Path) -> str:
    """Run Python in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(example: Path, tmp_path: Path) -> None:
    assert len(run(example, cwd=tmp_path).splitlines()) >= 3


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


README = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
QUICK = [
    {'"frames.extxyz"': repr(str(FRAMES)), 'strategy="full", max_minutes=30': 'strategy="feature", epochs=3'},
    {
        '"formation_energies.csv")': f"{str(TABLE)!r}, keep_default_na=False)[::10]",
        "CompositionRegressor()": 'CompositionRegressor("feature")',
    },
]
SAID = ["forces_rmse_eV_per_A", "[ True]"]


@pytest.mark.parametrize(
    ("code", "quick", "said"), list(zip(README, QUICK, SAID, strict=True)), ids=["frames", "formulas"]
)
def test_the_readmes_code_runs(tmp_path: Path, code: str, quick: dict[str, str], said: str) -> None:
    for long, short in quick.items():
        assert long in code
        code = code.replace(long, short)
    (tmp_path / "readme.py").write_text(code, encoding="utf-8")
    assert said in run("readme.py", cwd=tmp_path)
