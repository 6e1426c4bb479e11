"""A store of HDF5 that leads out of its file, or says that it has more than it holds: refused, nothing read outside."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase.build import bulk

from matgraft.core.errors import DataError
from matgraft.core.provenance import Provenance
from matgraft.potentials.data.digests import trailer
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store import open_store, verify_store
from matgraft.potentials.data.store_writing import write_store

SECRET = 1234.5
Edit = Callable[[h5py.File, Path], object]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "frames.h5"
    labels = {"energy": np.array(-1.5), "forces": np.zeros((2, 3))}
    write_store([Sample(bulk("Si"), labels, index=i) for i in range(3)], path, lambda: Provenance(files=()))
    return path.read_bytes()


@pytest.fixture
def store(content: bytes, tmp_path: Path) -> Path:
    (tmp_path / "frames.h5").write_bytes(content)
    return tmp_path / "frames.h5"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a file beside the store whose numbers nobody may see."""
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file["energy"] = np.full(3, SECRET)
        file["labels/energy"] = np.full(3, SECRET)
        file["text"] = "[]"
    np.full(3, SECRET).tofile(tmp_path / "outside.bin")
    return tmp_path


def external_link(file: h5py.File, folder: Path) -> None:
    del file["labels/energy"]
    file["labels/energy"] = h5py.ExternalLink(str(folder / "outside.h5"), "/energy")


def external_group(file: h5py.File, folder: Path) -> None:
    del file["labels"]
    file["labels"] = h5py.ExternalLink(str(folder / "outside.h5"), "/labels")


def external_text(file: h5py.File, folder: Path) -> None:
    del file["files"]
    file["files"] = h5py.ExternalLink("outside.h5", "/text")


def soft_link(file: h5py.File, _: Path) -> None:
    del file["labels/energy"]
    file["labels/energy"] = h5py.SoftLink("/weights/energy")


def soft_link_to_nothing(file: h5py.File, _: Path) -> None:
    del file["labels/energy"]
    file["labels/energy"] = h5py.SoftLink("/labels/energy")


def virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(folder / "outside.h5"), "energy", shape=(3,))
    del file["labels/energy"]
    file.create_virtual_dataset("labels/energy", layout)


def external_storage(file: h5py.File, folder: Path) -> None:
    del file["labels/energy"]
    file.create_dataset("labels/energy", (3,), "f8", external=[(str(folder / "outside.bin"), 0, 24)])


def other_filter(file: h5py.File, _: Path) -> None:
    del file["labels/energy"]
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_chunk((3,))
    how.set_filter(32_700, h5py.h5z.FLAG_OPTIONAL, (1, 2))  # a number that nobody has taken
    space = h5py.h5s.create_simple((3,))
    h5py.h5d.create(file["labels"].id, b"energy", h5py.h5t.IEEE_F64LE, space, how)


def compressed(file: h5py.File, _: Path) -> None:
    del file["frames/weight"]
    file.create_dataset("frames/weight", data=np.ones(3), chunks=(3,), compression="gzip")


def declared(file: h5py.File, _: Path) -> None:
    del file["labels/energy"]
    file.create_dataset("labels/energy", (2**40,), "f8", chunks=(2**20,))


def declared_unchunked(file: h5py.File, _: Path) -> None:
    del file["frames/weight"]
    file.create_dataset("frames/weight", (2**40,), "f8")


def other_type(file: h5py.File, _: Path) -> None:
    del file["labels/energy"]
    file["labels/energy"] = np.array([b"a", b"b", b"c"])


def references(file: h5py.File, _: Path) -> None:
    del file["labels/energy"]
    file.create_dataset("labels/energy", (3,), h5py.ref_dtype)


def a_group(file: h5py.File, _: Path) -> None:
    del file["labels/energy"]
    file.create_group("labels/energy")


def other_shape(file: h5py.File, _: Path) -> None:
    del file["labels/forces"]
    file["labels/forces"] = np.zeros((6, 4))


def no_rows(file: h5py.File, _: Path) -> None:
    del file["labels/energy"]
    file["labels/energy"] = -1.5


def long_text(file: h5py.File, _: Path) -> None:
    del file["files"]
    file.create_dataset("files", (), "S2000000000")


EDITS: dict[Edit, str] = {
    external_link: "labels/energy is a link that leads out",
    external_group: "labels/energy is a link that leads out",
    external_text: "files is a link that leads out",
    soft_link: "labels/energy is a link",
    soft_link_to_nothing: "labels/energy is a link",
    virtual: "labels/energy is gathered from other files",
    external_storage: "labels/energy has its numbers in another file",
    other_filter: "labels/energy is packed by the filter 32700",
    compressed: "frames/weight is packed by the filter 1 of HDF5",
    declared: r"labels/energy says that it has 8,796,093,022,208 bytes: only 0",
    declared_unchunked: r"frames/weight says that it has 8,796,093,022,208 bytes: only 0",
    other_type: "labels/energy is of type",
    references: "labels/energy is of type",
    a_group: "labels/energy is not an array",
    other_shape: r"labels/forces is of type float64 and shape \(6, 4\)",
    no_rows: r"labels/energy is of type float64 and shape \(\)",
    long_text: "files is not text",
}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_what_is_not_in_the_file_is_refused_and_never_read(edit: Edit, store: Path, outside: Path) -> None:
    with h5py.File(store, "a") as file:
        edit(file, outside)
    store.write_bytes(store.read_bytes() + trailer(store))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=EDITS[edit]) as told:
        open_store(store)
    assert "pack the frames again" in str(told.value) and str(SECRET) not in str(told.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 2**10  # KiB
    assert not verify_store(store).is_whole


def test_a_store_as_it_is_written_is_read(store: Path) -> None:
    assert [float(sample.labels["energy"]) for sample in open_store(store)] == [-1.5] * 3
