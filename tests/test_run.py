"""The conductor's small steps; whole runs are in test_cli.py."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from matgraft.data.dataset import Dataset
from matgraft.errors import RunError
from matgraft.recipe import make_recipe
from matgraft.run import sources


def test_versions_are_those_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"matgraft", "torch", "chgnet", "mace-torch", "matgl"} <= set(sources.PACKAGES)
    monkeypatch.setattr(sources, "PACKAGES", ("torch", "no-such-package"))
    assert sources._versions() == {"torch": version("torch")}


@pytest.mark.parametrize("part", ["replay", "forgetting"])
def test_a_run_does_not_go_on_with_another_file_to_rehearse_or_to_be_held_against(
    sige: Dataset, tmp_path: Path, part: str
) -> None:
    file = tmp_path / "others.extxyz"
    file.write_text("as it was")
    recipe = make_recipe(None, ["train=frames.extxyz", f"{part}.file={file}"])
    sources.write_provenance(recipe, sige[:2], sige[:0], tmp_path, resume=False)
    sources.write_provenance(recipe, sige[:2], sige[:0], tmp_path, resume=True)
    file.write_text("changed since")
    with pytest.raises(RunError, match=f"the {part} data are not those that the run began with"):
        sources.write_provenance(recipe, sige[:2], sige[:0], tmp_path, resume=True)
