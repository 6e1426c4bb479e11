"""The conductor's small steps; whole runs are in test_cli.py."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from matgraft.run import sources


def test_versions_are_those_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"matgraft", "torch", "chgnet", "mace-torch", "matgl"} <= set(sources.PACKAGES)
    monkeypatch.setattr(sources, "PACKAGES", ("torch", "no-such-package"))
    assert sources._versions() == {"torch": version("torch")}
