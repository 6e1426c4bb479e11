"""A shift that is scored is fitted on other frames than those that it is scored on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms

from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.tuning.held_out import FOLDS, shift_held_out

NOTHING = {"energy": np.array(0.0)}


def frames(symbols: Sequence[str], per_atom: Sequence[float], weights: Sequence[float] | None = None) -> Dataset:
    """Frames whose energies are these times their number of atoms; a model that says 0 is wrong by as much."""
    return Dataset(
        [
            Sample(Atoms(s, np.zeros((len(Atoms(s)), 3))), {"energy": np.array(e * len(Atoms(s)))}, weight=w)
            for s, e, w in zip(symbols, per_atom, weights or [1.0] * len(symbols), strict=True)
        ]
    )


def after(data: Dataset, groups: Sequence[str]) -> list[float | None]:
    found, _ = shift_held_out(data, [NOTHING] * len(data), groups)
    return [float(one["energy"]) / len(s.content) if one else None for one, s in zip(found, data, strict=True)]


def test_the_shift_of_a_frame_is_the_mean_of_the_other_trajectories() -> None:
    wrong = [1.0, 2.0, 4.0, 7.0, 11.0, 16.0]
    groups = ["a", "a", "b", "c", "c", "c"]
    data = frames(["Si2"] * 6, wrong)
    expected = [np.mean([w for w, g in zip(wrong, groups, strict=True) if g != own]) for own in groups]
    assert after(data, groups) == pytest.approx(expected)
    _, told = shift_held_out(data, [NOTHING] * 6, groups)
    assert (told.n_others, told.n_halves, told.alone) == (6, 0, ())


def test_of_one_trajectory_each_half_is_shifted_by_the_other() -> None:
    data = frames(["Si2"] * 5, [1.0, 3.0, 5.0, 7.0, 12.0])
    assert after(data, ["a"] * 5) == pytest.approx([8.0, 8.0, 2.0, 2.0, 2.0])
    _, told = shift_held_out(data, [NOTHING] * 5, ["a"] * 5)
    assert (told.n_others, told.n_halves) == (0, 5)


def test_an_element_of_one_trajectory_alone_and_one_of_a_single_frame() -> None:
    """Ge stands in trajectory c alone, so that its halves tell of each other; Sn stands in one frame."""
    data = frames(["Si2", "Si2", "Ge2", "Ge2", "SnSi"], [1.0, 3.0, 10.0, 20.0, 5.0])
    assert after(data, ["a", "b", "c", "c", "d"]) == pytest.approx([3.0, 1.0, 20.0, 10.0, None])
    _, told = shift_held_out(data, [NOTHING] * 5, ["a", "b", "c", "c", "d"])
    assert (told.n_others, told.n_halves, told.alone) == (2, 2, (4,))


def test_compositions_that_determine_each_other() -> None:
    """Si is 1 eV and O is 4 eV off: SiO2 follows from the elements, and each of these from SiO2 and the other."""
    data = frames(["Si2", "O2", "SiO2"], [1.0, 4.0, 3.0])
    assert after(data, ["a", "b", "c"]) == pytest.approx([1.0, 4.0, 3.0])


def test_one_dopant_in_a_thousand_atoms_is_not_determined_by_the_host() -> None:
    data = frames(["Si999Mn", "Si8", "Si8"], [5.0, 1.0, 3.0])
    assert after(data, ["a", "b", "c"])[0] is None


def test_no_label_reaches_its_own_trajectory_where_there_are_more_than_folds() -> None:
    rng = np.random.default_rng(0)
    names = [f"t{i}" for i in rng.integers(0, 3 * FOLDS, 120)]
    wrong = rng.normal(size=120)
    before = after(frames(["Si2"] * 120, wrong.tolist()), names)
    for name in sorted(set(names))[:5]:
        own = np.array(names) == name
        changed = after(frames(["Si2"] * 120, np.where(own, 1e3, wrong).tolist()), names)
        assert np.array(changed)[own] == pytest.approx(np.array(before)[own])


def test_a_shift_of_noise_flatters_only_when_it_is_not_held_out() -> None:
    """With two trajectories whose offsets are +1 and -1 the common shift is 0; held out, each is 2 off."""
    data = frames(["Si2"] * 4, [1.0, 1.0, -1.0, -1.0])
    left = np.array([1.0, 1.0, -1.0, -1.0]) - np.array(after(data, ["a", "a", "b", "b"]), dtype=float)
    assert left == pytest.approx([2.0, 2.0, -2.0, -2.0])


def test_a_single_frame_and_frames_that_weigh_nothing_have_no_shift() -> None:
    assert after(frames(["Si2"], [1.0]), ["a"]) == [None]
    assert after(frames(["Si2", "Si2"], [1.0, 2.0], [0.0, 1.0]), ["a", "b"]) == [2.0, None]


def test_a_frame_without_an_energy_is_left_alone() -> None:
    data = frames(["Si2"] * 3, [1.0, 2.0, 3.0])
    bare = Dataset([Sample(data[0].content, {"forces": np.zeros((2, 3))}), *data[1:]])
    found, told = shift_held_out(bare, [NOTHING] * 3, ["a", "b", "c"])
    assert found[0] == {} and (told.n_others, told.alone) == (2, ())
