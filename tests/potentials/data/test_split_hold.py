"""A condition held out: its frames are the test, their simulations are not learned, and the others have a test."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from matgraft.core.errors import DataError, OptionError
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.verdict import Damage
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.splits.parts import Split
from matgraft.potentials.data.splits.split import split
from matgraft.potentials.recipe import make_recipe
from matgraft.potentials.run.frames import divide


def simulation(n: int, seed: int, scale: float = 0.05, **tags: str) -> list[Sample]:
    crystal, rng = bulk("Si", cubic=True), np.random.default_rng(seed)
    moved = [crystal.positions + rng.normal(scale=scale, size=(8, 3)) for _ in range(n)]
    return [Sample(Atoms(crystal, positions=one), {}, tags) for one in moved]


def named(*temperatures: int, n: int = 4) -> Dataset:
    """One simulation for each temperature."""
    return Dataset(
        tuple(
            sample
            for k, T in enumerate(temperatures)
            for sample in simulation(n, k, trajectory=f"run {k}", temperature=str(T))
        )
    )


def is_partition(parts: Split, n: int) -> bool:
    every = [*parts.train, *parts.validation, *parts.test, *parts.inside, *parts.dropped]
    return sorted(every) == list(range(n))


def test_the_condition_is_the_test_and_the_others_are_split_as_usual() -> None:
    data = named(*[300] * 6, *[900] * 6, 1500, 1500)
    parts = split(data, hold="temperature=1500")
    assert parts.test == tuple(range(48, 56)) and is_partition(parts, 56) and not parts.dropped
    assert parts.validation and parts.inside and parts.hold == "temperature=1500"
    sides = [{parts.groups[i] for i in positions} for positions in parts.parts.values()]
    assert list(parts.parts) == ["train", "validation", "test", "inside"]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 14
    assert parts.by == "trajectory" and "temperature=1500 only in the test; the rest by trajectory" in parts.reason


def test_the_same_seed_holds_out_the_same() -> None:
    data = named(*[300] * 8, 1500)
    assert split(data, hold="temperature>300", seed=3) == split(data, hold="temperature>300", seed=3)
    assert len({split(data, hold="temperature>300", seed=seed).inside for seed in range(5)}) > 1


@pytest.mark.parametrize("by", ["config_type", "composition", "random", "blocks"])
def test_the_rest_is_split_as_asked(by: str) -> None:
    kinds = [("Si", "a"), ("Si2Ge", "b"), ("Si3Ge", "c"), ("Si4Ge", "d"), ("Ge", "e")]
    rows = [(symbol, kind, k) for symbol, kind in kinds for k in range(10)]
    data = Dataset(
        tuple(
            Sample(
                Atoms(symbol, positions=np.random.default_rng(k).random((len(Atoms(symbol)), 3)), cell=[9 + k] * 3),
                {},
                {"config_type": kind, "trajectory": kind},
            )
            for symbol, kind, k in rows
        )
    )
    parts = split(data, by=by, hold="composition=Ge")
    assert parts.by == by and parts.test == tuple(range(40, 50)) and is_partition(parts, 50)
    assert parts.inside and parts.validation


def test_frames_of_a_simulation_that_meets_it_are_not_learned() -> None:
    sibling = simulation(2, 9, trajectory="run 8", temperature="900")
    data = Dataset((*named(*[300] * 8, 1500).samples, *sibling))
    parts = split(data, hold="temperature=1500")
    assert parts.dropped == (36, 37) and is_partition(parts, 38)
    assert any("2 frames without temperature=1500 dropped" in one.text for one in parts.warnings)


def test_simulations_that_nothing_names_are_told_apart_by_the_condition() -> None:
    cold, hot = simulation(30, 0, temperature="300"), simulation(10, 1, 0.2, temperature="1500")
    parts = split(Dataset((*cold, *hot)), hold="temperature=1500")
    assert parts.test == tuple(range(30, 40)) and parts.train and parts.validation and parts.inside


def correlated(n: int, period: int, **tags: str) -> Dataset:
    """One simulation that nothing names, in its order; T is 900 in the last third of each period, else 300."""
    crystal, rng = bulk("Si", cubic=True), np.random.default_rng(0)
    moved, samples = rng.normal(scale=0.1, size=(8, 3)), []
    for k in range(n):
        moved = 0.95 * moved + rng.normal(scale=0.03, size=(8, 3))
        T = "900" if 3 * (k % period) >= 2 * period else "300"
        samples.append(Sample(Atoms(crystal, positions=crystal.positions + moved), {}, tags | {"T": T}))
    return Dataset(tuple(samples))


@pytest.mark.parametrize("gap", [None, 3])
def test_frames_next_in_time_to_the_test_are_dropped_though_nothing_names_the_trajectory(gap: int | None) -> None:
    data = correlated(60, 30)
    parts = split(data, hold="T=900", gap=gap)
    assert parts.test == (*range(20, 30), *range(50, 60)) and is_partition(parts, 60)
    width, others = gap or 1, {*parts.train, *parts.validation, *parts.inside}
    assert len(others) > 20 and not others & {i + d for i in parts.test for d in range(-width, width + 1)}
    text = f"{3 * width} frames without T=900 dropped: they are next in time to frames that have it"
    assert any(one.text.startswith(text) and one.damage is Damage.DOUBT for one in parts.warnings)


def test_a_simulation_that_is_near_the_test_all_along_is_refused_though_nothing_names_it() -> None:
    with pytest.raises(DataError, match="every trajectory has frames with T=900: nothing is left"):
        split(correlated(60, 3)[1:], hold="T=900")


def test_a_single_heating_ramp_is_cut_with_a_gap() -> None:
    ramp = [s.with_tags(step=str(k), T=str(300 + 30 * k)) for k, s in enumerate(simulation(40, 0, trajectory="ramp"))]
    parts = split(Dataset(tuple(ramp)), hold="T>=1200", gap=2)
    assert parts.test == tuple(range(30, 40)) and is_partition(parts, 40)
    assert {28, 29} <= set(parts.dropped)  # next to the test in time, whatever the seed
    assert parts.warnings[0].code == "cut-trajectories" and "each was cut there, and 2 frames" in parts.warnings[0].text


def test_frames_that_do_not_say_are_kept_and_counted() -> None:
    silent = simulation(3, 20, trajectory="unknown")
    parts = split(Dataset((*named(*[300] * 8, 1500).samples, *silent)), hold="temperature=1500")
    assert is_partition(parts, 39) and parts.test == tuple(range(32, 36))
    (said,) = [one for one in parts.warnings if one.code == "silent-frames"]
    assert said.text.startswith("3 of 39 frames do not say whether they have temperature=1500")


def test_without_a_share_for_it_nothing_is_held_out_inside() -> None:
    parts = split(named(*[300] * 6, 1500), hold="temperature=1500", fractions=(0.8, 0.2, 0))
    assert parts.inside == () and parts.test and parts.validation


def test_near_duplicates_of_the_test_in_training_are_counted() -> None:
    runs = [simulation(4, k, 0.4, trajectory=f"run {k}", T="300" if k < 8 else "1500") for k in range(9)]
    data = Dataset(tuple(sample for run in runs for sample in run))
    copies = [sample.with_tags(trajectory="copy", T="300") for sample in data[[32, 33]]]
    parts = split(Dataset((*data.samples, *copies)), hold="T=1500", seed=1)
    shared = {overlap.against: set(overlap.frames) for overlap in parts.leaks if overlap.part == "test"}
    assert 36 in parts.train and shared["train"] == {32, 33}, "the seed puts the copies into training"
    assert "near-duplicates" in [one.code for one in parts.warnings]


def test_shares_are_those_of_the_other_frames() -> None:
    parts = split(named(*[300] * 10, *[1500] * 10, n=2), hold="temperature=1500")
    assert len(parts.test) == 20 and len(parts.train) == 16
    assert not [one for one in parts.warnings if one.code == "split-shares"]


def test_what_cannot_be_held_out_is_refused() -> None:
    data = named(300, 300, 300, 300)
    with pytest.raises(DataError, match="every trajectory has frames with temperature=300: nothing is left"):
        split(data, hold="temperature=300")
    with pytest.raises(OptionError, match=r"temperature: 300"):
        split(data, hold="temperature=1500")
    with pytest.raises(OptionError, match=r"both make the test(.*\n)*.*split.hold=element=Si"):
        split(data, hold="temperature=300", by="element", element="Si")


def test_a_head_that_is_held_out_whole_is_refused_before_the_fit() -> None:
    levels = [LevelOfTheory(functional=name) for name in ("PBE", "LDA") for _ in range(12)]
    tags = [{"trajectory": f"{i // 3}", "head": str(level.functional)} for i, level in enumerate(levels)]
    atoms = Atoms("Si", cell=[9] * 3, pbc=True)
    known = [Sample(atoms, {"energy": np.array(0.0)}, own, theory=t) for own, t in zip(tags, levels, strict=True)]
    recipe = make_recipe(None, ["train=x", "strategy.name=multihead", "split.hold=theory=LDA"])
    with pytest.raises(DataError, match="12 frames to score on belong to heads that no training frame has"):
        divide(recipe, Dataset(tuple(known)), given_test=False)
