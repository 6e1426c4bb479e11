"""The benchmarks of labels: both ways compute the same, and a store that is not as it should be is told."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import label_faults
import labels

from matgraft.potentials.active.labelling.store import LabelFacts, LabelStore, StoredLabel


def test_both_ways_compute_the_same():
    pytest.importorskip("tblite", reason="the extra xtb is not installed")
    energy, seconds, used = labels.bare(6, 1)
    total, first, every, again, _ = labels.labelled(6, 1)
    assert total == pytest.approx(energy, abs=1e-6) and min(seconds, used, first) > 0
    assert again < every, "the store answers without a calculation"


def test_frames_are_the_same_each_time_and_told_apart_by_their_first_atom():
    one, other = label_faults.frames(5), label_faults.frames(5)
    assert all((a.positions == b.positions).all() for a, b in zip(one, other, strict=True))
    assert len({f"{atoms.positions[0, 0]:.8f}" for atoms in one}) == 5


def test_a_store_that_lacks_a_label_and_a_calculation_that_was_done_again_are_told(tmp_path):
    (tmp_path / "side.txt").write_text("begin 0.1 7\nend 0.1 7\n")
    arrays = {"positions": np.full((1, 3), 0.1), "energy": np.array(-1.0), "forces": np.zeros((1, 3))}
    with LabelStore(tmp_path / "labels") as store:
        store.put("k", "e", StoredLabel(arrays, LabelFacts(seconds=0.0)))
    undisturbed = label_faults.content(tmp_path)
    found = label_faults.row("none", tmp_path, undisturbed, 0, 0)
    assert (found["labels"], found["begun"], found["ended_twice"]) == (1, 1, 0)
    with pytest.raises(AssertionError, match="the store is another"):
        label_faults.row("none", tmp_path, {**undisturbed, "more": (0.0, b"")}, 0, 0)
    (tmp_path / "side.txt").write_text("begin 0.1 7\nend 0.1 7\nbegin 0.1 8\nend 0.1 8\n")
    assert label_faults.row("driver", tmp_path, undisturbed, 1, 1)["ended_twice"] == 1
    with pytest.raises(AssertionError, match="were done again"):
        label_faults.row("none", tmp_path, undisturbed, 0, 0)
