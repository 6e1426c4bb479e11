"""Every example runs, and so does the README's own code."""

from __future__ import annotations

import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.io import read, write

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((REPOSITORY / "examples").glob("[0-9]*.py"))
SIGE = Path("data") / "sige"
TABLE = REPOSITORY / "examples" / "data" / "formation" / "formation_energies.csv"


@pytest.fixture(scope="module")
def thinned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of examples, with every fifth frame of each file: the same ways, in a fifth of the time."""
    folder = Path(shutil.copytree(REPOSITORY / "examples", tmp_path_factory.mktemp("thinned") / "examples"))
    for file in (folder / SIGE).glob("*.extxyz"):
        write(file, read(file, "::5"))
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], str]:
    """Run a script in an empty folder and return what it printed; in this process, which has torch imported."""

    def call(script: Path) -> str:
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return call


SLOW = ("03_recipe", "05_prompts")
"""Examples of 7 s and more whose verbs the tests of the command line cover."""


@pytest.mark.parametrize(
    "example",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in SLOW)) for path in EXAMPLES],
)
def test_the_example_runs(example: Path, thinned: Path, run: Callable[[Path], str]) -> None:
    assert len(run(thinned / example.name).splitlines()) >= 3


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


README = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
QUICK = [
    {
        '"runs/mine").calculator(uncertainty=True)': '"chgnet").calculator()',
        "stop_outside(md)": "",
        "md.run(500)": "md.run(1)",
    },
    {
        '"formation_energies.csv")': f"{str(TABLE)!r}, keep_default_na=False)[::10]",
        "CompositionRegressor()": 'CompositionRegressor("feature")',
    },
]
SAID = ["Etot[eV]", "[ True]"]


@pytest.mark.parametrize(
    ("code", "quick", "said"), list(zip(README, QUICK, SAID, strict=True)), ids=["dynamics", "formulas"]
)
def test_the_readmes_code_runs(
    thinned: Path, tmp_path: Path, run: Callable[[Path], str], code: str, quick: dict[str, str], said: str
) -> None:
    for long, short in quick.items():
        assert long in code
        code = code.replace(long, short)
    code = f"FRAMES = {str(thinned / SIGE / 'frames.extxyz')!r}\n{code}"
    (tmp_path / "readme.py").write_text(code, encoding="utf-8")
    assert said in run(tmp_path / "readme.py")
