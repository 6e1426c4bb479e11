"""The dataset: slices keep what belongs to a frame, and nothing that was given can be changed from outside."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from matgraft.core.provenance import LevelOfTheory, Provenance, SourceFile
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.sample import Sample


def frame(i: int) -> Sample:
    """A frame in which everything names `i`."""
    atoms = Atoms(["Si", "Ge"][: 1 + i % 2], positions=np.full((1 + i % 2, 3), float(i)), cell=[5, 5, 5 + i], pbc=True)
    labels = {"energy": np.array(float(i))} | ({"forces": np.full((len(atoms), 3), float(i))} if i % 3 else {})
    tags = {"trajectory": f"t{i // 2}", "number": str(i)}
    return Sample(atoms, labels, tags, weight=1.0 + i, file="f.xyz", index=i, theory=LevelOfTheory(cutoff_eV=float(i)))


PROVENANCE = Provenance(files=(SourceFile(name="f.xyz", sha256="0", n_samples=9),), notes=("read",))
NINE = Dataset(tuple(frame(i) for i in range(9)), PROVENANCE)
positions = st.lists(st.integers(-9, 8), max_size=12)


def assert_is_frame(sample: Sample, i: int) -> None:
    expected = frame(i)
    assert sample.content == expected.content
    assert sample.labels.keys() == expected.labels.keys()
    for name, value in expected.labels.items():
        np.testing.assert_array_equal(sample.labels[name], value)
    for name in ("tags", "weight", "file", "index", "theory"):
        assert getattr(sample, name) == getattr(expected, name)


@given(positions)
def test_a_list_of_numbers_keeps_labels_tags_and_weights(chosen: list[int]) -> None:
    for part in (NINE[chosen], NINE[np.array(chosen, dtype=int)]):
        assert len(part) == len(chosen)
        assert part.provenance == PROVENANCE
        for sample, i in zip(part, chosen, strict=True):
            assert_is_frame(sample, i % 9)


@given(st.slices(9))
def test_a_slice(chosen: slice) -> None:
    part = NINE[chosen]
    assert part.provenance == PROVENANCE
    for sample, i in zip(part, range(9)[chosen], strict=True):
        assert_is_frame(sample, i)


@given(arrays(bool, 9))
def test_a_mask(mask: np.ndarray) -> None:
    for sample, i in zip(NINE[mask], np.flatnonzero(mask), strict=True):
        assert_is_frame(sample, int(i))


@given(st.integers(0, 9))
def test_parts_join_to_the_whole(cut: int) -> None:
    whole = concatenate([NINE[:cut], NINE[cut:]])
    assert whole.hash() == NINE.hash()
    assert whole.provenance == PROVENANCE
    assert whole.tag("number") == NINE.tag("number")


@given(st.floats(-5, 5).filter(lambda x: abs(x) > 1e-9), st.integers(0, 8), st.sampled_from(["energy", "forces"]))
def test_the_hash_follows_every_label(change: float, which: int, name: str) -> None:
    sample = frame(which)
    value = np.array(sample.labels.get(name, np.zeros((sample.n_atoms, 3))))
    value[(0,) * value.ndim] += change
    changed = Dataset((*NINE[:which], sample.with_labels(**{name: value}), *NINE[which + 1 :]))
    assert changed.hash() != NINE.hash()
    back = changed.map(lambda s: frame(which) if s.index == which else s)
    assert back.hash() == NINE.hash()


def with_atoms(sample: Sample, change: str) -> Sample:
    atoms = sample.content.copy()
    match change:
        case "position":
            atoms.positions[0, 0] += 1e-6
        case "cell":
            atoms.cell[0, 0] += 1e-6
        case "element":
            atoms.numbers[0] = 6
        case "pbc":
            atoms.pbc = [True, True, False]
    return Sample(atoms, sample.labels, sample.tags)


@pytest.mark.parametrize("change", ["position", "cell", "element", "pbc"])
def test_each_part_of_a_structure_counts(change: str) -> None:
    assert Dataset((with_atoms(NINE[1], change),)).hash() != Dataset((NINE[1],)).hash()


def test_the_hash_follows_order_and_presence_of_labels() -> None:
    assert NINE[::-1].hash() != NINE.hash()
    assert Dataset((Sample(NINE[1].content, {"energy": np.array(1.0)}),)).hash() != Dataset((NINE[1],)).hash()


def test_the_hash_does_not_follow_tags_weights_or_files() -> None:
    def elsewhere(sample: Sample) -> Sample:
        moved = sample.with_tags(trajectory="other", new="tag").weighing(7.0)
        return Sample(moved.content, moved.labels, moved.tags, moved.weight, file="g.xyz", index=99)

    assert NINE.map(elsewhere).hash() == NINE.hash()


def test_the_hash_does_not_follow_the_sign_of_zero() -> None:
    plus, minus = (Sample(Atoms("H", positions=[[0, 0, 0]]), {"energy": np.array(x)}) for x in (0.0, -0.0))
    below = Sample(Atoms("H", positions=[[-1e-14, 0, 0]]), {"energy": np.array(-1e-14)})
    assert Dataset((plus,)).hash() == Dataset((minus,)).hash() == Dataset((below,)).hash()


def test_the_hash_is_the_same_on_every_machine() -> None:
    """A figure from another run: a change would make every resumed run refuse its data."""
    assert NINE.hash() == "8a9e466a6dab69022d4a7ea5b2d0c05aa760ca4a2a611fad073599128526c6ad"


def test_labels_and_tags_are_read_only() -> None:
    sample = frame(1)
    with pytest.raises(TypeError):
        sample.labels["energy"] = np.array(0.0)  # type: ignore[index]
    with pytest.raises(TypeError):
        sample.tags["trajectory"] = "x"  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        sample.labels["forces"][0, 0] = 1.0


def test_the_arrays_that_were_given_stay_the_givers() -> None:
    forces, tags = np.zeros((1, 3)), {"a": "b"}
    sample = Sample(Atoms("H"), {"forces": forces}, tags)
    forces[0, 0], tags["a"] = 5.0, "c"
    assert sample.labels["forces"][0, 0] == 0.0
    assert sample.tags["a"] == "b"


def test_changed_copies_leave_the_original() -> None:
    sample = frame(1)
    changed = sample.with_labels(energy=np.array(9.0)).with_tags(number="nine").weighing(0.5)
    assert (float(changed.labels["energy"]), changed.tags["number"], changed.weight) == (9.0, "nine", 0.5)
    assert set(changed.labels) == {"energy", "forces"}
    assert_is_frame(sample, 1)


def test_a_pickled_sample_is_the_same_and_still_frozen() -> None:
    for i in range(9):
        again = pickle.loads(pickle.dumps(frame(i)))
        assert_is_frame(again, i)
        with pytest.raises(TypeError):
            again.labels["energy"] = np.array(0.0)


def test_counts_elements_and_tags() -> None:
    assert NINE.quantities() == ("energy", "forces")
    assert (NINE.count("energy"), NINE.count("forces"), NINE.count("stress")) == (9, 6, 0)
    assert NINE.elements() == ("Si", "Ge")
    assert NINE.tag("trajectory")[:3] == ["t0", "t0", "t1"]
    assert NINE.tag("none", "-") == ["-"] * 9
    assert NINE[4].where == "f.xyz frame 4"
    assert Sample(Atoms("H"), {}).where == "data frame 0"
    assert NINE[:0].quantities() == ()


def test_the_summary_answers_the_first_questions() -> None:
    text = repr(NINE)
    for part in ("9 frames, 13 atoms", "energy 9, forces 6", "5 trajectories", "f.xyz", "Si (5)", "GeSi (4)"):
        assert part in text


def test_the_summary_of_a_folder_of_many_files_stays_short() -> None:
    many = Dataset(tuple(replace(NINE[0], file=f"run-{i:02d}/vasprun.xml") for i in range(74)))
    assert repr(many).endswith("from:     run-00/vasprun.xml, run-01/vasprun.xml, and 72 more")
