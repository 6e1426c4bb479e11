"""The script that trains a small MACE: a model from two steps, which its printed name opens."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ase.io import read, write

pytest.importorskip("matgraft.potentials.models.mace.potential", reason='needs pip install "matgraft[mace]"')

from matgraft import load
from matgraft.core.errors import OptionError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import _small_mace as small_mace

FRAMES = Path(__file__).resolve().parents[2] / "examples" / "data" / "sige" / "frames.extxyz"


def test_a_small_mace_is_trained_and_opens_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = read(FRAMES, ":40:10")
    write(tmp_path / "few.extxyz", frames)
    words = [str(tmp_path / "few.extxyz"), "--epochs", "1", "--channels", "2", "--out", str(tmp_path / "run")]
    small_mace.main(words)
    name = capsys.readouterr().out.splitlines()[-1]
    assert load(name).card.elements == ("Si", "Ge")
    assert (tmp_path / "run" / "checkpoints" / "last.pt").is_file()
    small_mace.main(words)  # done already
    assert capsys.readouterr().out.splitlines()[-1] == name
    (tmp_path / "run" / "mace.model").unlink()
    with pytest.raises(OptionError, match="begun with other options"):
        small_mace.main([*words, "--seed", "1"])


def test_made_crystals_are_of_the_elements_asked_for_and_labelled(tmp_path: Path) -> None:
    asked = ["--made-by", "chgnet", "--elements", "Si", "--others", "O", "--size", "12", "--out", str(tmp_path)]
    frames = small_mace.labelled(small_mace.parse(asked))
    assert set(frames.elements()) == {"Si", "O"}
    assert 8 <= len(frames) <= 12  # those with absurd labels are left out
    assert frames.count("energy") == frames.count("forces") == len(frames)
