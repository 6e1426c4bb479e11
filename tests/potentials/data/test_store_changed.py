"""A store whose bytes or numbers were changed: who reads the frame says so, and verify says so of any byte."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase.build import bulk

from matgraft.core.errors import DataError, MatgraftError
from matgraft.core.provenance import Provenance
from matgraft.potentials.data.digests import trailer
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store import open_store, verify_store
from matgraft.potentials.data.store_writing import write_store

N = 12


def frames() -> list[Sample]:
    labels = {"energy": np.array(-1.5), "forces": np.full((2, 3), 0.25), "stress": np.full((3, 3), 0.125)}
    samples = [Sample(bulk("Si"), labels, {"trajectory": str(i % 3)}, file="a.xyz", index=i) for i in range(N)]
    return [*samples[:-1], Sample(bulk("Si"), {"energy": np.array(-2.0)}, {}, weight=0.5, index=7)]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "frames.h5"
    write_store(frames(), path, lambda: Provenance(files=()))
    return path.read_bytes()


@pytest.fixture
def store(content: bytes, tmp_path: Path) -> Path:
    (tmp_path / "frames.h5").write_bytes(content)
    return tmp_path / "frames.h5"


def read_all(path: Path) -> list[bytes]:
    """Return what training takes from each frame."""
    return [
        b"".join(np.asarray(value).tobytes() for value in sample.labels.values())
        + sample.content.positions.tobytes()
        + repr((sample.weight, sample.index, dict(sample.tags), sample.label_weights)).encode()
        for sample in open_store(path)
    ]


def edited(path: Path, edit: Callable[[h5py.File], None], *, seals: bool = True) -> None:
    with h5py.File(path, "a") as file:
        edit(file)
    if seals:  # as one does who knows how a store ends
        path.write_bytes(path.read_bytes() + trailer(path))


def test_a_store_is_whole(store: Path) -> None:
    assert verify_store(store).is_whole and len(read_all(store)) == N


def test_any_byte_is_found_by_verify_and_no_reader_takes_another_number(store: Path, content: bytes) -> None:
    expected = read_all(store)
    for place in np.random.default_rng(0).integers(8 * len(content), size=150).tolist():
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        store.write_bytes(changed)
        assert not verify_store(store).is_whole
        with contextlib.suppress(MatgraftError):
            assert read_all(store) == expected  # a byte that nothing stands in


@pytest.mark.parametrize("length", [0, 7, 100, 0.5, -1, -81, -82])
def test_a_store_that_is_cut_off_is_found(store: Path, content: bytes, length: float) -> None:
    store.write_bytes(content[: int(length * len(content)) if length == 0.5 else int(length) or 0])
    with pytest.raises(DataError):
        read_all(store)
    if length not in (0, 7):
        assert not verify_store(store).is_whole


COLUMNS = [
    *("labels/energy", "labels/forces", "labels/stress", "atoms/positions", "atoms/numbers", "frames/cell", "tags"),
    *("weights/energy", "frames/weight", "frames/index", "frames/file", "frames/theory", "frames/first_atom"),
    *("present/forces", "components/stress", "frames/pbc", "digests/energy"),
]


@pytest.mark.parametrize("column", COLUMNS)
def test_an_edited_number_is_refused(store: Path, column: str) -> None:
    def edit(file: h5py.File) -> None:
        first = file[column][0]
        file[column][0] = ~first if file[column].dtype == bool else first + 1

    edited(store, edit)
    assert not verify_store(store).is_whole
    with pytest.raises(DataError, match=r"not what matgraft wrote|do not|end"):
        read_all(store)


def test_an_edit_by_another_tool_is_found_when_the_store_is_opened(store: Path) -> None:
    edited(store, lambda file: file["labels/energy"].__setitem__(3, -9.0), seals=False)
    with pytest.raises(DataError, match="the end of the file is not what matgraft wrote"):
        open_store(store)


def test_two_frames_that_were_exchanged_are_found(store: Path) -> None:
    def edit(file: h5py.File) -> None:
        energies = file["labels/energy"][:]
        energies[[0, N - 1]] = energies[[N - 1, 0]]
        file["labels/energy"][:] = energies

    edited(store, edit)
    with pytest.raises(DataError, match="energy of frame 0"):
        read_all(store)
    dataset = open_store(store)
    with pytest.raises(DataError, match="energy of frame 0"):
        list(dataset.samples.label("energy"))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("frames/weight", -1.0, "weight of frame 2"),
        ("frames/weight", np.nan, "weight of frame 2"),
        ("frames/index", -3, "index of frame 2"),
        ("frames/file", 9, "a file that is not listed"),
        ("frames/theory", 4, "a level of theory that is not listed"),
        ("frames/first_atom", 0, "end before they begin"),
    ],
)
def test_older_stores_hold_no_number_that_is_impossible(store: Path, column: str, value: float, said: str) -> None:
    def edit(file: h5py.File) -> None:
        del file["digests"]
        file.attrs["version"] = 3
        file[column][2] = value

    edited(store, edit, seals=False)
    with pytest.raises(DataError, match=said):
        read_all(store)
    assert not verify_store(store).is_whole


def test_an_older_store_is_read_and_cannot_be_judged(store: Path) -> None:
    def edit(file: h5py.File) -> None:
        del file["digests"]
        file.attrs["version"] = 3

    edited(store, edit, seals=False)
    assert len(read_all(store)) == N and not verify_store(store).has_manifest


def test_a_store_that_calls_itself_older_is_refused(store: Path) -> None:
    edited(store, lambda file: file.attrs.__setitem__("version", 3))
    with pytest.raises(DataError, match="its version is not the one"):
        open_store(store)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_a_weight_that_is_none_is_not_packed(tmp_path: Path, weight: float) -> None:
    bad = Sample(bulk("Si"), {"energy": np.array(1.0)}, weight=weight)
    with pytest.raises(DataError, match="the weight of the frame"):
        write_store([bad], tmp_path / "bad.h5", lambda: Provenance(files=()))
    assert not list(tmp_path.iterdir())
