"""Which words of a command name a model, and which of these read structures."""

from __future__ import annotations

from pathlib import Path

import ase.io
import pytest
from ase.build import bulk

from matgraft.core.model import ModelCard
from matgraft.core.registry import CARD
from matgraft.potentials.models.registry import is_potential, names_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, file in (("runs/si", "recipe.yaml"), ("runs/gaps", "settings.json"), ("calculations/1", "OUTCAR")):
        Path(name).mkdir(parents=True)
        (Path(name) / file).write_text("{}")
    for name, backbone in (("exported", "chgnet"), ("encoder", "composition")):
        Path(name).mkdir()
        CARD.write(Path(name), ModelCard(name=name, backbone=backbone, vendor_version="1", licence="MIT"))
    ase.io.write("chgnet.extxyz", bulk("Si"))
    ase.io.write("POSCAR", bulk("Si"))
    Path("table.csv").write_text("formula\nSi\n")
    return tmp_path


@pytest.mark.parametrize(
    ("word", "model", "of_structures"),
    [
        *[(name, True, True) for name in ("chgnet", "chgnet:0.2.0", "mace:a b/my.model@1f#pbe", "runs/si", "exported")],
        *[(name, True, True) for name in ("runs/si#PBE", "matgl:anything")],
        *[(name, True, False) for name in ("runs/gaps", "encoder", "composition")],
        *[
            (name, False, False)
            for name in ("chgnet.extxyz", "POSCAR", "calculations", "table.csv", "nowhere", "Fe2O3")
        ],
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_word_names_a_model_or_frames(word: str, model: bool, of_structures: bool) -> None:
    assert (names_model(word), is_potential(word)) == (model, of_structures)
