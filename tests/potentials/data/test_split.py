"""Splits: no group on two sides, nothing depends on chance or order, every override warns, every refusal helps."""

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read as ase_read
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import DataError, OptionError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.splits.deal import deal
from matgraft.potentials.data.splits.given import leaks_between
from matgraft.potentials.data.splits.parts import PARTS
from matgraft.potentials.data.splits.split import split

layouts = st.lists(st.integers(1, 30), min_size=3, max_size=25)
seeds = st.integers(0, 2**32 - 1)


def dataset(*groups: str, **tags: list[str]) -> Dataset:
    """One-atom frames, one for each name of a trajectory, none a near duplicate of another."""
    frames = [Atoms("Si", cell=[2 + 0.03 * i] * 3, pbc=True) for i in range(len(groups))]
    more = [{name: values[i] for name, values in tags.items()} for i in range(len(groups))]
    return Dataset(tuple(Sample(a, {}, {"trajectory": g, **m}) for a, g, m in zip(frames, groups, more, strict=True)))


def simulation(n: int, symbol: str = "Si", seed: int = 0, **tags: str) -> list[Sample]:
    crystal = bulk(symbol, cubic=True)
    rng = np.random.default_rng(seed)
    return [
        Sample(Atoms(crystal, positions=crystal.positions + rng.normal(scale=0.05, size=(len(crystal), 3))), {}, tags)
        for _ in range(n)
    ]


def is_partition(parts, n: int) -> bool:
    return sorted([*parts.train, *parts.validation, *parts.test, *parts.dropped]) == list(range(n))


# --- dealing out groups ----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(sizes=layouts, seed=seeds)
def test_no_group_on_two_sides_and_no_part_empty(sizes: list[int], seed: int) -> None:
    labels = [f"g{k}" for k, size in enumerate(sizes) for _ in range(size)]
    part = deal(labels, [""] * len(labels), (0.8, 0.1, 0.1), seed)
    assert len({*zip(labels, part.tolist(), strict=True)}) == len(sizes)
    assert set(part.tolist()) == {0, 1, 2}


@settings(max_examples=30, deadline=None)
@given(sizes=layouts, seed=seeds)
def test_the_order_of_the_frames_changes_nothing(sizes: list[int], seed: int) -> None:
    labels = np.array([f"g{k}" for k, size in enumerate(sizes) for _ in range(size)])
    strata = np.array([f"s{int(label[1:]) % 3}" for label in labels])
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    before = deal(labels.tolist(), strata.tolist(), (0.8, 0.1, 0.1), seed)
    after = deal(labels[shuffled].tolist(), strata[shuffled].tolist(), (0.8, 0.1, 0.1), seed)
    assert np.array_equal(before[shuffled], after)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n_strata=st.integers(1, 4))
def test_every_stratum_is_in_every_part_if_its_groups_suffice(seed: int, n_strata: int) -> None:
    sizes = np.random.default_rng(seed).integers(1, 20, size=5 * n_strata)
    labels = [f"g{k}" for k, size in enumerate(sizes) for _ in range(size)]
    strata = [f"s{int(label[1:]) % n_strata}" for label in labels]
    part = deal(labels, strata, (0.8, 0.1, 0.1), seed)
    assert len({*zip(strata, part.tolist(), strict=True)}) == 3 * n_strata


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n=st.integers(60, 200))
def test_small_groups_meet_the_fractions(seed: int, n: int) -> None:
    labels = [f"g{k}" for k in range(n) for _ in range(2)]
    part = deal(labels, [""] * len(labels), (0.7, 0.2, 0.1), seed)
    assert np.bincount(part) / len(part) == pytest.approx([0.7, 0.2, 0.1], abs=2 / n)


def test_a_part_of_nothing_gets_nothing() -> None:
    assert set(deal(list("abcdef"), [""] * 6, (0.5, 0.5, 0.0)).tolist()) == {0, 1}


def test_seeds_give_other_parts() -> None:
    labels = [f"g{k}" for k in range(20)]
    assert len({tuple(deal(labels, [""] * 20, (0.8, 0.1, 0.1), seed)) for seed in range(5)}) > 1


# --- ways to split ---------------------------------------------------------------------------------------------------


def test_auto_keeps_trajectories_whole_and_says_how() -> None:
    names = [f"run {i // 5}" for i in range(60)]
    parts = split(dataset(*names), seed=3)
    assert is_partition(parts, 60)
    assert (parts.by, parts.reason, parts.groups) == ("trajectory", "info key 'trajectory'", tuple(names))
    sides = [{names[i] for i in positions} for positions in parts.parts.values()]
    assert all(sides) and sum(map(len, sides)) == 12
    assert parts == split(dataset(*names), seed=3)
    assert parts.warnings == () and "no near-duplicates" in str(parts) == repr(parts)


def test_a_giant_group_goes_to_training_and_is_reported() -> None:
    parts = split(dataset(*["giant"] * 96, "a", "b", "b", "c"))
    assert {parts.groups[i] for i in parts.validation + parts.test} <= {"a", "b", "c"}
    assert any("asked for 80 / 10 / 10 %" in warning.text for warning in parts.warnings)


def test_config_types_reach_every_part() -> None:
    names = [f"run {i // 4}" for i in range(80)]
    kinds = ["solid" if i < 40 else "melt" for i in range(80)]
    parts = split(dataset(*names, config_type=kinds))
    assert all({kinds[i] for i in positions} == {"solid", "melt"} for positions in parts.parts.values())


def test_one_trajectory_is_cut_into_blocks_with_gaps() -> None:
    parts = split(dataset(*["md"] * 100), gap=5)
    assert is_partition(parts, 100) and parts.by == "blocks"
    assert (len(parts.train), len(parts.validation), len(parts.test), len(parts.dropped)) == (72, 9, 9, 10)
    for positions in parts.parts.values():
        assert positions == tuple(range(positions[0], positions[-1] + 1))
    sides = [{*positions} for positions in parts.parts.values()]
    assert all(j not in b for a in sides for b in sides if a is not b for i in a for j in range(i - 5, i + 6))
    assert "a single trajectory" in parts.warnings[0].text and "10 frames in the gaps dropped" in parts.warnings[1].text
    assert len(set(parts.groups)) == 4  # three blocks and the gap


def test_the_seed_orders_the_blocks() -> None:
    assert len({split(dataset(*["md"] * 30), by="blocks", seed=seed).test for seed in range(6)}) > 1


@settings(max_examples=30, deadline=None)
@given(n=st.integers(10, 80), gap=st.integers(0, 3), seed=st.integers(0, 99))
def test_blocks_of_any_length(n: int, gap: int, seed: int) -> None:
    names = ["md"] * n
    parts = split(dataset(*names), by="blocks", gap=gap, seed=seed)
    assert is_partition(parts, n) and len(parts.dropped) == 2 * gap
    assert parts.train and parts.validation and parts.test


def test_blocks_cut_each_long_trajectory_and_train_on_short_ones() -> None:
    names = [*["a"] * 40, *["b"] * 40, *["short"] * 5]
    parts = split(dataset(*names), by="blocks")
    for positions in parts.parts.values():
        assert {"a", "b"} <= {names[i] for i in positions}
    assert set(range(80, 85)) <= set(parts.train)
    assert "2 trajectories cut" in parts.warnings[0].text


def test_blocks_of_single_frames_follow_the_file() -> None:
    frames = [Sample(Atoms([i + 1], cell=[3] * 3, pbc=True), {}) for i in range(30)]
    parts = split(Dataset(tuple(frames)), by="blocks")
    assert parts.reason == "frame order" and parts.test == tuple(range(parts.test[0], parts.test[-1] + 1))


def test_short_simulations_of_a_shuffled_file_are_cut_one_after_another() -> None:
    places = [(run, step) for step in (3, 0, 6, 1, 5, 2, 4) for run in ("a", "b")]
    frames = [
        Sample(Atoms("Si", cell=[3] * 3, pbc=True), {}, {"trajectory": run, "step": str(step)}) for run, step in places
    ]
    for seed in range(5):
        parts = split(Dataset(tuple(frames)), by="blocks", seed=seed)
        part_of = {places[i]: name for name, own in parts.parts.items() for i in own}
        assert len(parts.dropped) == 2 and parts.order == "info key 'step'"
        for run, step in part_of:
            assert part_of.get((run, step + 1), part_of[run, step]) == part_of[run, step], "a gap lies between parts"


def test_random_is_done_when_asked_and_warns() -> None:
    names = [f"run {i // 20}" for i in range(100)]
    parts = split(dataset(*names), by="random")
    assert is_partition(parts, 100) and parts.groups == tuple(names)
    assert parts.warnings[0].text.startswith("random split over frames of 5 trajectories")
    assert len({names[i] for i in parts.test} & {names[i] for i in parts.train}) > 0


def test_by_tag_composition_and_chemical_system() -> None:
    symbols = ["Si", "Si2", "Ge", "SiGe", "Si2Ge2", "SiGe2", "O", "O2"]
    frames = [Sample(Atoms(s, cell=[9] * 3, pbc=True), {}, {"batch": str(i // 2)}) for i, s in enumerate(symbols)]
    data = Dataset(tuple(frames))
    assert split(data, by="batch").groups == tuple("00112233")
    assert split(data, by="composition").groups[:4] == ("Si1", "Si1", "Ge1", "Si1Ge1")
    assert Counter(split(data, by="chemical-system").groups) == {"Ge-Si": 3, "Si": 2, "O": 2, "Ge": 1}


def test_an_element_is_left_out() -> None:
    sides = [sample for k in range(6) for sample in simulation(4, "Si", k, trajectory=f"Si {k}")]
    doped = simulation(3, "Ge", 9, trajectory="Ge")
    sibling = simulation(1, "Si", 8, trajectory="Ge")
    parts = split(Dataset((*sides, *doped, *sibling)), by="element", element="Ge")
    assert parts.test == (24, 25, 26) and parts.dropped == (27,)
    assert is_partition(parts, 28) and parts.validation
    assert "1 frames without Ge dropped" in parts.warnings[0].text
    assert not {parts.groups[i] for i in parts.train} & {parts.groups[i] for i in parts.test}


def test_an_element_beside_a_single_trajectory_cuts_that() -> None:
    data = Dataset((*simulation(30, trajectory="Si"), *simulation(3, "Ge", trajectory="Ge")))
    parts = split(data, by="element", element="Ge", gap=2)
    assert parts.test == (30, 31, 32) and len(parts.dropped) == 2 and parts.validation
    assert "the rest by blocks" in parts.reason


def test_no_test_part_where_one_is_given() -> None:
    parts = split(dataset(*(f"run {i // 3}" for i in range(30))), fractions=(0.8, 0.2, 0))
    assert parts.test == () and len(parts.validation) == 6
    assert [overlap.part for overlap in parts.leaks] == ["validation"]


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_unknown_tag_names_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"'config_typ' is neither.*\n(.*\n)*.*did you mean 'config_type'"):
        split(dataset("a", "b", "c", config_type=["x", "y", "z"]), by="config_typ")


def test_frames_without_the_tag_are_counted() -> None:
    with pytest.raises(DataError, match="2 of 4 frames have no value for 'batch'"):
        split(dataset("a", "b", "c", "d", batch=["1", "", "2", " "]), by="batch")


@pytest.mark.parametrize("by", ["trajectory", "composition", "config_type"])
def test_too_few_groups_name_the_way_out(by: str) -> None:
    with pytest.raises(DataError, match=r"cannot fill 3 parts(.*\n)*.*split.by=blocks"):
        split(dataset(*["a"] * 20, *["b"] * 20, config_type=["x"] * 40), by=by)


def test_too_few_frames() -> None:
    with pytest.raises(DataError, match="cannot be cut into 3 blocks"):
        split(dataset("a", "a", "a"))
    with pytest.raises(DataError, match="empty"):
        split(Dataset(()))


@pytest.mark.parametrize(
    "fractions", [(0.8, 0.2), (0.8, 0.1, 0.2), (1.0, 0.0, 0.0), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)]
)
def test_fractions_that_are_none(fractions: tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match="not shares"):
        split(dataset("a", "b", "c"), fractions=fractions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "random", "gap": 3}, "gap=3 does nothing"),
        ({"by": "blocks", "gap": -1}, "negative"),
        ({"by": "auto", "element": "Si"}, "does not go with"),
        ({"by": "element"}, "does not go with"),
        ({"by": "element", "element": "Sn"}, "no frame has the element 'Sn'"),
        ({"by": "element", "element": "Si", "fractions": (0.9, 0.1, 0)}, "its fraction is 0"),
    ],
)
def test_options_that_would_do_nothing(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        split(dataset("a", "b", "c"), **options)


def test_an_element_in_every_trajectory_leaves_nothing() -> None:
    with pytest.raises(DataError, match="nothing is left to learn from"):
        split(dataset("a", "b", "c"), by="element", element="Si")


# --- leaks -----------------------------------------------------------------------------------------------------------


def test_near_duplicates_across_the_parts_are_counted_and_warned_of() -> None:
    crystal = bulk("Si", cubic=True, a=5.47)
    frames = [Sample(crystal, {}, {"trajectory": f"copy {i // 2}"}) for i in range(20)]
    parts = split(Dataset(tuple(frames)))
    assert [(leak.part, leak.against, leak.pairs) for leak in parts.leaks] == [
        ("validation", "train", 32),
        ("test", "train", 32),
        ("test", "validation", 4),
    ]
    assert sum("near duplicate in train" in warning.text for warning in parts.warnings) == 2


def test_trajectories_that_nothing_names_are_guessed_with_a_warning() -> None:
    data = Dataset(tuple(Sample(bulk("Si", cubic=True, a=a), {}) for a in np.linspace(4, 8, 12)))
    assert "no tag names the trajectories" in split(data).warnings[0].text


def test_a_test_set_that_shares_a_trajectory_is_found() -> None:
    train = Dataset((*simulation(5, seed=1, trajectory="a"), *simulation(5, "Ge", seed=2, trajectory="b")))
    test = Dataset((*simulation(1, "C", seed=3, trajectory="c"), *simulation(2, seed=4, trajectory="a"), train[7]))
    shared = leaks_between(train, test)
    assert (shared.trajectories, shared.frames) == (("a", "b"), (1, 2, 3))
    assert 3 in shared.duplicates.frames
    assert "3 of 4 test frames come from 2 trajectories" in shared.warnings[0].text


def test_a_clean_test_set_gives_no_warning() -> None:
    train, test = Dataset(tuple(simulation(4, trajectory="a"))), Dataset(tuple(simulation(4, "Ge", trajectory="b")))
    assert leaks_between(train, test).warnings == ()


# --- real data -------------------------------------------------------------------------------------------------------


def potentials(shared, name: str) -> Dataset:
    frames = ase_read(shared / "data" / "potentials" / f"{name}.extxyz", ":")
    keys = ("trajectory", "config_type", "description")
    samples = [
        Sample(frame, {}, {key: str(frame.info[key]) for key in keys}, file=f"{name}.extxyz", index=i)
        for i, frame in enumerate(frames)
    ]
    return Dataset(tuple(samples))


@pytest.mark.parametrize(("name", "trajectories", "sharing", "duplicates"), [("Si", 13, 23, 12), ("Mo", 8, 21, 21)])
def test_the_published_test_shares_trajectories(shared, name, trajectories, sharing, duplicates) -> None:
    found = leaks_between(potentials(shared, f"{name}_train"), potentials(shared, f"{name}_test"))
    assert (len(found.trajectories), len(found.frames)) == (trajectories, sharing)
    assert len(found.duplicates.frames) == duplicates


@pytest.mark.parametrize(("name", "at_random", "by_trajectory"), [("Si", 0.55, 0.12), ("Mo", 0.85, 0.02)])
def test_the_threshold_tells_random_splits_from_those_by_trajectory(shared, name, at_random, by_trajectory) -> None:
    data = potentials(shared, f"{name}_train")
    dynamic = {i for i, kind in enumerate(data.tag("config_type")) if kind in ("AIMD-NVT", "Vacancy")}

    def flagged(by: str) -> float:
        found = [split(data, by=by, seed=seed) for seed in range(3)]
        hits = sum(len(dynamic & {*leak.frames}) for parts in found for leak in parts.leaks[1:2])
        return hits / sum(len(dynamic & {*parts.test}) for parts in found)

    assert flagged("random") > at_random
    assert flagged("trajectory") < by_trajectory


def test_the_real_set_by_default(shared) -> None:
    data = potentials(shared, "Si_train")
    parts = split(data)
    assert parts.reason == "info key 'trajectory'" and is_partition(parts, 214)
    for kind in ("AIMD-NVT", "Elastic", "Surface"):  # Vacancy has two trajectories only
        assert all(kind in data[parts.parts[name]].tag("config_type") for name in PARTS)
    assert len(parts.train) / 214 == pytest.approx(0.8, abs=0.05)
