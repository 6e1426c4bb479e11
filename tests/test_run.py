"""The conductor's own small steps; whole runs are in test_cli.py."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from matgraft import run


def test_versions_are_those_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"matgraft", "torch", "chgnet", "mace-torch", "matgl"} <= set(run.PACKAGES)
    monkeypatch.setattr(run, "PACKAGES", ("torch", "no-such-package"))
    assert run._versions() == {"torch": version("torch")}
