"""The conformance suite as pytest runs it for other packages: the tests that matgraft's own backbones inherit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from matgraft.conformance import SUITE, pytest_configure, suite
from matgraft.testing import PotentialConformance

PACKAGE = """
from matgraft.foundations import load

def make():
    return load("chgnet")

def broken():
    potential = make()
    whole = potential.forward_with_rows
    def forward_with_rows(*given, **more):
        found, rows = whole(*given, **more)
        return {name: 1.01 * one for name, one in found.items()}, rows
    potential.forward_with_rows = forward_with_rows
    return potential

def nothing():
    return 7
"""


def run(folder: Path, name: str, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "my_package.py").write_text(PACKAGE)
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntestpaths = ['tests']\n")
    words = ["-p", "matgraft.conformance", "-p", "no:cacheprovider", "-q", "--matgraft-backbone", name, *more]
    path = os.pathsep.join([str(folder), str(Path(suite.__file__).parents[2])])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow  # a process that imports torch and the exports
def test_pytest_runs_the_suite_on_a_potential_of_ones_own(tmp_path: Path) -> None:
    said = run(tmp_path, "my_package:broken", "-k", "shift_the_energy_alone or not_asked_for")
    assert "1 failed, 1 passed" in said.stdout, said.stdout + said.stderr
    assert "TestBackbone::test_references_shift_the_energy_alone" in said.stdout


def test_the_suite_is_the_one_that_the_own_backbones_inherit() -> None:
    own = {name for name in vars(suite.TestBackbone) if name.startswith("test_")}
    assert not own
    assert issubclass(suite.TestBackbone, PotentialConformance)


def test_a_name_that_is_none_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my_package.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert (
        suite.potential_named("my_package:make").card.backbone
        == suite.potential_named("chgnet").card.backbone
        == "chgnet"
    )
    for name, said in {
        "my_package:nothing": "it returns a int",
        "my_package:absent": "has no attribute 'absent'",
        "absent:make": "No module named 'absent'",
        "chgne": "did you mean 'chgnet'",
    }.items():
        with pytest.raises(pytest.UsageError, match=said):
            suite.potential_named(name)


@pytest.mark.parametrize(
    ("name", "typed", "runs"),
    [
        (None, ["tests"], ["tests"]),
        ("chgnet", [], [str(SUITE)]),
        ("chgnet", ["tests"], ["tests", str(SUITE)]),
    ],
)
def test_which_tests_run(name: str | None, typed: list[str], runs: list[str]) -> None:
    source = pytest.Config.ArgsSource.ARGS if typed else pytest.Config.ArgsSource.TESTPATHS
    config = SimpleNamespace(
        getoption=lambda _: name, args=typed or ["tests"], args_source=source, ArgsSource=pytest.Config.ArgsSource
    )
    pytest_configure(config)  # type: ignore[arg-type]
    assert config.args == (runs if name or typed else ["tests"])
