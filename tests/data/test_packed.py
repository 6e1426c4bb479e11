"""Packed frames come back to the last bit, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from matgraft.data.dataset import Dataset, Sample
from matgraft.data.packed import pack, unpack
from matgraft.errors import DataError


@pytest.fixture
def frames(pairs: Dataset) -> Dataset:
    """Crystals with all labels, one without a stress, and a molecule without any cell."""
    molecule = Sample(Atoms("OH", [[0, 0, 0], [0, 0, 1 / 3]]), {"forces": np.full((2, 3), 1 / 3)}, {"kind": "é"})
    bare = Sample(pairs[2].content, {"energy": pairs[2].labels["energy"]})
    return Dataset((*pairs[:2], bare, molecule))


def test_all_comes_back_to_the_last_bit(frames: Dataset, tmp_path: Path) -> None:
    pack(frames, tmp_path / "new" / "frames.npz")
    back = unpack(tmp_path / "new" / "frames.npz")
    assert [sample.tags for sample in back] == [sample.tags for sample in frames]
    for one, other in zip(back, frames, strict=True):
        assert one.content == other.content
        assert set(one.labels) == set(other.labels)
        assert all(np.array_equal(one.labels[name], value) for name, value in other.labels.items())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["frames.npz"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "absent"])
def test_what_is_not_whole_is_refused(frames: Dataset, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "frames.npz"
    pack(frames, file)
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        place = content.index(b"positions.npy") + 80
        file.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
    elif damage == "other":
        arrays = dict(np.load(file))
        np.savez(file, **{**arrays, "positions": arrays["positions"] + 1e-6})
    else:
        file.unlink()
    with pytest.raises(DataError, match=r"not readable as packed frames|not those that were written"):
        unpack(file)
