"""What tests of labels share, here and of runs: see `fakes`."""

import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture
def fakes(monkeypatch):
    """The engines that misbehave."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    yield importlib.import_module("fakes")
    sys.modules.pop("fakes", None)


@pytest.fixture
def here(tmp_path, monkeypatch, fakes) -> Path:
    """A folder to stand in, with a module `fickle` in it."""
    (tmp_path / "fickle.py").write_text(fakes.MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def espresso(fakes, tmp_path):
    """Make engines that run a pw.x of Python."""
    return lambda **changed: fakes.espresso(tmp_path, **changed)
