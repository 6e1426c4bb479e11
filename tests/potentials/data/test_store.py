"""Stores of frames: what goes in comes out, to the last bit; what is broken is said; nothing half is left."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from matgraft.core.errors import DataError, OptionError
from matgraft.core.processes import can_fork
from matgraft.core.provenance import LevelOfTheory, Provenance, SourceFile
from matgraft.potentials.audit.audit import run_looks
from matgraft.potentials.audit.coverage import coverage
from matgraft.potentials.data import store_writing
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.digests import trailer
from matgraft.potentials.data.lazy import BLOCK, LazySamples, SamplesInMemory
from matgraft.potentials.data.pack import pack
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.splits.given import leaks_between
from matgraft.potentials.data.splits.split import split
from matgraft.potentials.data.store import Store, open_store, read_store
from matgraft.potentials.data.store_writing import write_store

PROVENANCE = Provenance(files=(SourceFile(name="f.xyz", sha256="0", n_samples=9),), notes=("read",))
N = 2 * BLOCK + 5
IN_PLANE = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=bool)


def frame(i: int) -> Sample:
    """A frame in which everything names `i`; which labels it carries goes by `i` too."""
    rng = np.random.default_rng(i)
    n = 1 + i % 3
    atoms = Atoms(
        ["Si", "Ge", "O"][:n], positions=rng.random((n, 3)), cell=rng.random((3, 3)), pbc=[True, i % 2, False]
    )
    labels = {"energy": rng.random(), "forces": rng.random((n, 3)), "stress": rng.random((3, 3))}
    carried = {name: np.array(value) for k, (name, value) in enumerate(labels.items()) if i % (k + 2)}
    tags = {"trajectory": f"t{i // 50}", "Größe": 'Å "/\n', "frame": str(i)}
    theory = LevelOfTheory(cutoff_eV=500.0, kpoints=(4, 4, 4)) if i % 2 else None
    sample = Sample(atoms, carried, tags, weight=0.5 + i, file=f"{i % 7}.xyz", index=i, theory=theory)
    return sample if i % 5 else replace(sample, label_weights={"forces": i / 3}, components={"stress": IN_PLANE})


def assert_is_frame(sample: Sample, i: int) -> None:
    expected = frame(i)
    assert sample.content == expected.content
    np.testing.assert_array_equal(sample.content.pbc, expected.content.pbc)
    assert sample.labels.keys() == expected.labels.keys()
    for name, value in expected.labels.items():
        np.testing.assert_array_equal(sample.labels[name], value)
        assert sample.labels[name].shape == value.shape
    for name in ("tags", "weight", "label_weights", "file", "index", "theory"):
        assert getattr(sample, name) == getattr(expected, name)
    assert sample.components.keys() == expected.components.keys()
    assert all(np.array_equal(known, expected.components[name]) for name, known in sample.components.items())


@pytest.fixture(scope="module")
def memory() -> Dataset:
    return Dataset(tuple(frame(i) for i in range(N)), PROVENANCE)


@pytest.fixture(scope="module")
def file(memory: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "frames.h5"
    assert write_store(iter(memory), path, lambda: PROVENANCE) == N
    return path


@pytest.fixture
def stored(file: Path) -> Dataset:
    return open_store(file)


# ----------------------------------------------------------------- round trip


def test_every_frame_comes_back(stored: Dataset, memory: Dataset) -> None:
    assert (len(stored), stored.provenance) == (N, PROVENANCE)
    for i, sample in enumerate(stored):
        assert_is_frame(sample, i)
    assert stored.hash() == memory.hash()
    assert repr(stored) == repr(memory)


def test_a_store_read_whole_is_in_memory(memory: Dataset, tmp_path: Path) -> None:
    write_store(memory[:20], tmp_path / "few.h5", lambda: PROVENANCE)
    whole = read_store(tmp_path / "few.h5")
    (tmp_path / "few.h5").unlink()
    assert isinstance(whole.samples, SamplesInMemory) and whole.provenance == PROVENANCE
    for i, sample in enumerate(whole):
        assert_is_frame(sample, i)


def test_columns_are_those_of_the_samples(stored: Dataset, memory: Dataset) -> None:
    chosen = [5, 3, 3, BLOCK, 7, N - 1]
    for ours, theirs in ((stored, memory), (stored[chosen], memory[chosen]), (stored[:0], memory[:0])):
        assert ours.quantities() == theirs.quantities()
        assert [ours.count(name) for name in ("energy", "forces", "nothing")] == [
            theirs.count(name) for name in ("energy", "forces", "nothing")
        ]
        assert ours.tag("trajectory", "-") == theirs.tag("trajectory", "-")
        assert ours.elements() == theirs.elements()


def test_selections_of_selections_stay_lazy(stored: Dataset) -> None:
    mask = np.arange(N) % 3 == 1
    part = stored[mask][::-1][[0, 5, -1]]
    assert isinstance(part.samples, LazySamples)
    expected = np.flatnonzero(mask)[::-1][[0, 5, -1]]
    for sample, i in zip(part, expected, strict=True):
        assert_is_frame(sample, int(i))
    for k, i in enumerate(expected):
        assert_is_frame(part[k], int(i))
    assert_is_frame(stored[-1], N - 1)
    with pytest.raises(IndexError):
        stored[N]


def test_walking_by_number_reads_ahead(stored: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read_block = Store.read
    monkeypatch.setattr(Store, "read", lambda self, where: reads.append(len(where)) or read_block(self, where))
    for i in range(1, N, 2):
        assert stored.samples[i].index == i
    assert len(reads) <= 2 + N // BLOCK
    reads.clear()
    for i in (400, 3, 200):
        assert stored.samples[i].index == i
    assert reads == [1, 1, 1]


def test_changes_are_made_on_the_way_out(stored: Dataset, memory: Dataset) -> None:
    def change(sample: Sample) -> Sample:
        return sample.with_labels(energy=np.array(1.0)).with_tags(kind="new").weighing(3.0)

    ours, theirs = stored.map(change)[10:20], memory.map(change)[10:20]
    assert ours.hash() == theirs.hash()
    assert (ours.count("energy"), ours.tag("kind")) == (10, ["new"] * 10)
    assert ours[3].weight == 3.0
    assert_is_frame(stored[10], 10)


def test_joined_with_frames_in_memory(stored: Dataset, memory: Dataset) -> None:
    both = concatenate([stored[[4, 2]], memory[:3], stored[7:9]])
    expected = [4, 2, 0, 1, 2, 7, 8]
    for dataset, order in ((both, expected), (both[::-1], expected[::-1])):
        assert [sample.index for sample in dataset] == order
        assert dataset.tag("frame") == list(map(str, order))
        assert dataset.count("energy") == sum(i % 2 for i in order)
    assert_is_frame(both[5], 7)


def test_steps_before_training_say_the_same(sige: Dataset, tmp_path: Path) -> None:
    """Groups, split, leaks, audit and coverage neither know nor care where the frames are."""
    few = sige[::4]
    write_store(few, tmp_path / "sige.h5", lambda: few.provenance)
    stored = open_store(tmp_path / "sige.h5")
    assert split(stored) == split(few)
    assert leaks_between(stored, few[:3]) == leaks_between(few, few[:3])
    for ours, theirs in zip(*(run_looks(one, None, elements=("Si",)) for one in (stored, few)), strict=True):
        assert ours.numbers == pytest.approx(theirs.numbers)  # sums over arrays in C's order and in Fortran's
        assert ours.model_copy(update={"numbers": {}}) == theirs.model_copy(update={"numbers": {}})
    assert coverage(stored) == coverage(few)


# -------------------------------------------------------------------- forks


@pytest.mark.skipif(not can_fork(), reason="this system does not fork")
def test_forked_processes_read_at_once_through_handles_of_their_own(file: Path) -> None:
    stored = open_store(file)
    assert_is_frame(stored[0], 0)
    store = stored.samples.source  # type: ignore[attr-defined]
    assert store._handle is not None
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def work(first: int) -> None:
        inherited = store._handle is not None
        for i in range(first, N, 2):
            assert_is_frame(stored[i], i)
        answers.put((inherited, os.getpid()))

    workers = [context.Process(target=work, args=(k,)) for k in range(2)]
    for worker in workers:
        worker.start()
    for i in range(0, N, 7):
        assert_is_frame(stored[i], i)
    found = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert [inherited for inherited, _ in found] == [False, False]
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_a_pickled_dataset_opens_the_file_again(stored: Dataset) -> None:
    assert_is_frame(stored[1], 1)
    assert_is_frame(pickle.loads(pickle.dumps(stored))[5], 5)


# ----------------------------------------------------------- broken, half, full


def test_a_store_that_is_cut_off(file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    for length in (len(content) - 1, len(content) // 2, 100, 0):
        (tmp_path / "cut.h5").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"cannot be read|end of the file") as error:
            open_store(tmp_path / "cut.h5")
        assert "cut.h5" in error.value.where


def test_a_damaged_number_is_noticed(file: Path, memory: Dataset, tmp_path: Path) -> None:
    content = bytearray(file.read_bytes())
    place = content.index(memory[300].content.positions.tobytes())
    content[place] ^= 1
    (tmp_path / "bad.h5").write_bytes(content)
    with pytest.raises(DataError, match="atoms/positions is damaged"):
        list(open_store(tmp_path / "bad.h5"))


def test_a_number_changed_on_purpose_is_noticed_by_who_reads_all(memory: Dataset, tmp_path: Path) -> None:
    """HDF5 renews its checksums; the hash of the frames stays that of those written."""
    path = tmp_path / "few.h5"
    write_store(memory[:20], path, lambda: PROVENANCE)
    with h5py.File(path, "a") as changed:
        changed["atoms/positions"][3] += 1e-6
    with pytest.raises(DataError, match="end of the file"):
        open_store(path)
    path.write_bytes(path.read_bytes() + trailer(path))  # of one who knows how a store ends
    with pytest.raises(DataError, match="geometry of frame 2 is not what matgraft wrote"):
        read_store(path)


def test_other_files_and_other_versions(file: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["frames"] = 1
    with pytest.raises(DataError, match="no store of matgraft"):
        open_store(tmp_path / "other.h5")
    (tmp_path / "later.h5").write_bytes(file.read_bytes())
    with h5py.File(tmp_path / "later.h5", "a") as later:
        later.attrs["version"] = 5
    with pytest.raises(DataError, match="version 5"):
        open_store(tmp_path / "later.h5")
    (tmp_path / "short.h5").write_bytes(file.read_bytes())
    with h5py.File(tmp_path / "short.h5", "a") as short:
        short["present/energy"].resize(N - 1, axis=0)
    with pytest.raises(DataError, match="differ in length"):
        open_store(tmp_path / "short.h5")


def test_a_store_of_version_1_has_no_weights_of_labels(memory: Dataset, tmp_path: Path) -> None:
    write_store(memory[:6], tmp_path / "old.h5", lambda: PROVENANCE)
    with h5py.File(tmp_path / "old.h5", "a") as old:
        del old["weights"], old["components"], old["digests"], old["labels/magmom"], old["present/magmom"]
        old.attrs["version"] = 1
    stored = read_store(tmp_path / "old.h5")
    assert [sample.weight for sample in stored] == [sample.weight for sample in memory[:6]]
    assert not any(sample.label_weights or sample.components for sample in stored)


def test_an_error_on_the_way_leaves_nothing(memory: Dataset, tmp_path: Path) -> None:
    def broken() -> Iterator[Sample]:
        yield from itertools.islice(memory, BLOCK + 1)
        raise KeyboardInterrupt

    for samples, error in (
        (broken(), KeyboardInterrupt),
        (iter(()), DataError),
        ([Sample("Si", {})], DataError),
        ([Sample(Atoms("Si"), {"charge": np.array(1.0)})], DataError),
        ([Sample(Atoms("Si"), {"forces": np.zeros((2, 3))})], DataError),
    ):
        with pytest.raises(error):
            write_store(samples, tmp_path / "a.h5", Provenance)
        assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files")
def test_a_full_disk_leaves_no_half_store(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the end of the disk."""
    (tmp_path / "old.txt").touch()
    script = (
        "import resource, sys; from pathlib import Path; import numpy as np; from ase import Atoms\n"
        "from matgraft.potentials.data.dataset import Sample; from matgraft.core.provenance import Provenance\n"
        "from matgraft.potentials.data.store_writing import write_store\n"
        "big = Sample(Atoms(positions=np.random.rand(500, 3)), {'energy': np.array(0.0)})\n"
        "for limit, n in ((100, 3), (3_000, 3), (20_000, 3), (300_000, 2000)):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, 10**9))\n"
        "    try: write_store((big for _ in range(n)), Path('full.h5'), Provenance)\n"
        "    except OSError as error: assert error.errno == 27, (limit, error)\n"
        "    else: sys.exit(1)\n"
        "sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]


# --------------------------------------------------------------- read and pack


def labelled(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = Atoms("SiGe", positions=rng.random((2, 3)), cell=[5, 5, 5], pbc=True, info={"config_type": f"c{seed % 3}"})
    atoms.calc = SinglePointCalculator(atoms, energy=float(seed), forces=rng.random((2, 3)))
    return atoms


def test_a_packed_file_reads_as_the_file(tmp_path: Path) -> None:
    for name, form in (("a.extxyz", "extxyz"), ("b.db", "db"), ("c.traj", "traj")):
        ase.io.write(tmp_path / name, [labelled(i) for i in range(5)], format=form)
    files = [tmp_path / name for name in ("a.extxyz", "b.db", "c.traj")]
    options = {"units": {"energy": "Hartree"}, "want": ("energy",)}
    assert pack(files, tmp_path / "all.h5", progress=True, **options) == 15
    packed, plain = read(tmp_path / "all.h5"), read(files, **options)
    assert packed.hash() == plain.hash()
    assert packed.provenance == plain.provenance
    assert [sample.tags for sample in packed] == [sample.tags for sample in plain]
    assert packed[3].where == "a.extxyz frame 3"


def test_packing_holds_a_block_of_frames_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_writing, "BLOCK", 4)
    ase.io.write(tmp_path / "many.extxyz", [labelled(i) for i in range(40)])
    alive: weakref.WeakSet[Sample] = weakref.WeakSet()
    most = 0

    def watch(self: Sample) -> None:
        nonlocal most
        alive.add(self)
        most = max(most, len(alive))

    monkeypatch.setattr(Sample, "__post_init__", watch)
    monkeypatch.setattr(Sample, "__hash__", object.__hash__)
    assert pack(tmp_path / "many.extxyz", tmp_path / "many.h5") == 40
    assert most <= 10


def test_broken_files_stop_the_packing(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.extxyz", [labelled(0)])
    (tmp_path / "b.extxyz").write_text("3\nhead\nSi 0 0 0\n")
    with pytest.raises(DataError, match="ends in the middle"):
        pack([tmp_path / "a.extxyz", tmp_path / "b.extxyz"], tmp_path / "new" / "x.h5")
    with pytest.raises(DataError, match="stress"):
        pack(tmp_path / "a.extxyz", tmp_path / "new" / "x.h5", want=("stress",))
    assert not (tmp_path / "new").exists()


def test_options_that_would_do_nothing(file: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="units is not read"):
        read(file, units={"energy": "meV"})
    with pytest.raises(DataError, match="no frame in the store has stress"):
        write_store([frame(4)], tmp_path / "four.h5", Provenance)
        read(tmp_path / "four.h5", want=("stress",))
    ase.io.write(tmp_path / "a.extxyz", [labelled(0)])
    with pytest.raises(OptionError, match="stands alone"):
        read([file, tmp_path / "a.extxyz"])
    with pytest.raises(OptionError, match="store already"):
        pack([file], tmp_path / "again.h5")
    with pytest.raises(OptionError, match="there already"):
        pack(tmp_path / "a.extxyz", file)
    with pytest.raises(OptionError, match=r"\.h5"):
        pack(tmp_path / "a.extxyz", tmp_path / "a.lmdb")
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "absent.h5")
