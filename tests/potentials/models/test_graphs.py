"""Graphs of frames on disk: sizes are known, tensors are built when asked for, predictions are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from matgraft.core.errors import DataError
from matgraft.core.training.batching import Budget, plan_batches
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store import open_store
from matgraft.potentials.data.store_writing import write_store
from matgraft.potentials.models.graphs import Graphs, Pending
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, encode_what_can_be, predict_samples


@pytest.fixture(scope="module")
def mixed(pairs: Dataset) -> Dataset:
    """Six cells, and a lone atom that CHGNet cannot take."""
    lone = Sample(Atoms("Si", cell=[30, 30, 30], pbc=True), {"energy": np.array(0.0)}, file="pairs.xyz", index=6)
    return Dataset((*pairs[:3], lone, *pairs[3:]))


@pytest.fixture(scope="module")
def stored(mixed: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("graphs") / "mixed.h5"
    write_store(mixed, path, lambda: mixed.provenance)
    return open_store(path)


def test_sizes_and_tensors_are_those_of_encode(chgnet: Potential, pairs: Dataset, stored: Dataset) -> None:
    taken = [0, 1, 2, 4, 5, 6]
    graphs, plain = encode_all(chgnet, stored[taken].samples, processes=2), encode_all(chgnet, pairs.samples)
    assert isinstance(graphs, Graphs) and len(graphs) == 6
    assert [(one.n_atoms, one.n_edges) for one in graphs] == [(one.n_atoms, one.n_edges) for one in plain]
    for k in (4, 1):
        for name, tensor in plain[k].tensors.items():
            assert torch.equal(graphs[k].tensors[name], tensor)
    assert [one.n_edges for one in graphs[1:3]] == [one.n_edges for one in plain[1:3]]
    assert plan_batches(graphs, Budget(edges=300), 3) == plan_batches(plain, Budget(edges=300), 3)


def test_nothing_is_built_before_it_is_asked_for(
    chgnet: Potential, stored: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_what_can_be(chgnet, stored.samples)
    built = []
    encode = type(chgnet).encode
    monkeypatch.setattr(type(chgnet), "encode", lambda self, sample: built.append(sample.index) or encode(self, sample))
    graphs = encode_all(chgnet, stored[[5, 0, 6]].samples)  # sizes are known by now
    plan_batches(graphs, Budget(samples=2))
    assert built == []
    one = graphs[1]
    assert isinstance(one, Pending)
    assert one.tensors is one.tensors
    assert built == [0]


def test_what_the_backbone_cannot_take_is_told(chgnet: Potential, mixed: Dataset, stored: Dataset) -> None:
    graphs, taken, reasons = encode_what_can_be(chgnet, stored.samples, processes=2)
    plain, also, why = encode_what_can_be(chgnet, mixed.samples)
    assert (taken, reasons) == (also, why)
    assert list(reasons) == [3]
    assert [one.n_edges for one in graphs] == [one.n_edges for one in plain]
    with pytest.raises(DataError, match="no neighbour") as error:
        encode_all(chgnet, stored.samples)
    assert error.value.where == "pairs.xyz frame 6"


def test_a_change_of_the_structure_is_measured_anew(chgnet: Potential, stored: Dataset) -> None:
    def smaller(sample: Sample) -> Sample:
        atoms = sample.content.copy()
        atoms.set_cell(0.8 * atoms.cell[:], scale_atoms=True)
        return Sample(atoms, sample.labels)

    (before,), (after,) = (encode_all(chgnet, part.samples) for part in (stored[:1], stored[:1].map(smaller)))
    assert after.n_edges > before.n_edges


@pytest.mark.parametrize("processes", [1, 2])
def test_predictions_from_a_store(chgnet: Potential, pairs: Dataset, stored: Dataset, processes: int) -> None:
    found = predict_samples(chgnet, stored[[0, 1, 2, 4, 5, 6]].samples, processes=processes, budget=Budget(samples=2))
    for ours, theirs in zip(found, predict_samples(chgnet, pairs.samples, budget=Budget(samples=2)), strict=True):
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value)


def test_a_damaged_store_is_no_refusal(chgnet: Potential, mixed: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    write_store(mixed, path, lambda: mixed.provenance)
    content = bytearray(path.read_bytes())
    content[content.index(mixed[4].content.positions.tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        encode_what_can_be(chgnet, open_store(path).samples)
