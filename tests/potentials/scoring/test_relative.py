"""Relative energies against what is computed pair by pair, their intervals, and what is said where there are none."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from matgraft.core.errors import OptionError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.delta import differences
from matgraft.potentials.data.phases import phases_of, require_phase_tag
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.scoring.relative import Elements, relative_energies
from matgraft.potentials.scoring.scores import summarise


def frame(symbols: str, per_atom: float, **tags: str) -> Sample:
    atoms = Atoms(symbols)
    return Sample(atoms, {"energy": np.array(per_atom * len(atoms))}, tags)


def off(dataset: Dataset, errors: list[float]) -> list[dict[str, np.ndarray]]:
    """Predictions whose energies are off by so many meV/atom."""
    return [
        {"energy": s.labels["energy"] + np.array(1e-3 * e * s.n_atoms)} for s, e in zip(dataset, errors, strict=True)
    ]


def several(seed: int = 0, n: int = 30) -> tuple[Dataset, list[float], list[str]]:
    """Frames of two compositions in three phases, of ten trajectories, with energies and errors at random."""
    rng = np.random.default_rng(seed)
    symbols, phases = ["Si2" if i % 3 else "SiGe" for i in range(n)], ["abc"[i % 4 % 3] for i in range(n)]
    dataset = Dataset(tuple(frame(s, rng.normal(-5, 0.02), phase=p) for s, p in zip(symbols, phases, strict=True)))
    return dataset, (1000 + 10 * rng.standard_normal(n)).tolist(), [f"run {i % 10}" for i in range(n)]


def pairs(dataset: Dataset, *, across: bool) -> list[tuple[int, int]]:
    def alike(i: int, j: int, tag: bool) -> bool:
        one, other = dataset[i], dataset[j]
        if tag:
            return one.tags["phase"] == other.tags["phase"]
        return set(one.content.symbols) == set(other.content.symbols)

    every = combinations(range(len(dataset)), 2)
    return [(i, j) for i, j in every if alike(i, j, False) and not (across and alike(i, j, True))]


def test_differences_are_those_of_all_pairs() -> None:
    dataset, errors, groups = several()
    found = relative_energies(dataset, {"test": off(dataset, errors)}, groups)
    for one, across in ((found.same_composition["test"], False), (found.between_phases["test"], True)):
        chosen = pairs(dataset, across=across)
        expected = np.sqrt(np.mean([(errors[i] - errors[j]) ** 2 for i, j in chosen]))
        assert one.rmse == pytest.approx(expected, rel=1e-6) and one.count == len(chosen)
        assert one.interval is not None and one.interval[0] < one.rmse < one.interval[1]
    assert found.phases_by == "tag 'phase'" and not [one for one in found.lacking if "phase" in one]


def test_a_diverged_model_is_infinitely_wrong_where_the_frame_has_a_pair() -> None:
    dataset, errors, groups = several()
    broken = off(dataset, errors)
    broken[3] = {"energy": np.array(np.inf)}
    found = relative_energies(dataset, {"test": off(dataset, errors), "untuned": broken}, groups)
    for figures in (found.same_composition, found.between_phases):
        assert figures["untuned"].rmse == np.inf and figures["untuned"].interval is None
        assert figures["untuned"].count == figures["test"].count and np.isfinite(figures["test"].rmse)


def test_groups_without_a_pair_are_not_counted() -> None:
    two = [frame("Si2", -5 + 0.01 * k, phase="ab"[k % 2]) for k in range(6)]
    lone = [frame("Ge2", -4 + 0.01 * k, phase="a") for k in range(20)]
    dataset, errors = Dataset((*two, *lone)), [4.0, -3.0, 9.0, 1.0, -7.0, 2.0, *range(20)]
    groups = [*["g0"] * 3, *["g1"] * 3, *(f"lone {k}" for k in range(20))]
    found = relative_energies(dataset, {"test": off(dataset, errors)}, groups)
    assert found.between_phases["test"].count == 9 and found.between_phases["test"].interval is None  # two groups


def test_a_diverged_frame_without_a_pair_changes_no_difference() -> None:
    dataset, errors, groups = several()
    alone = Dataset((*dataset, frame("C2", -9.0, phase="a"), frame("C2", -9.0, phase="a")))
    told = off(alone, [*errors, 3.0, 4.0])
    broken = [*told[:-1], {"energy": np.array(np.nan)}]
    found = relative_energies(alone, {"test": told, "untuned": broken}, [*groups, "x", "y"])
    assert found.between_phases["untuned"] == found.between_phases["test"]
    assert found.same_composition["untuned"].rmse == np.inf


def test_an_offset_of_each_element_changes_no_difference() -> None:
    dataset, errors, groups = several()
    shifted = [e + (5000 if "Ge" in s.content.symbols else 70000) for e, s in zip(errors, dataset, strict=True)]
    found = relative_energies(dataset, {"test": off(dataset, errors), "untuned": off(dataset, shifted)}, groups)
    one, other = (found.between_phases[model].rmse for model in ("test", "untuned"))
    assert one == pytest.approx(other, rel=1e-5)
    assert found.in_order["test"].share == found.in_order["untuned"].share


def test_the_order_is_that_of_pairs_beyond_the_noise() -> None:
    dataset, errors, groups = several()
    found = relative_energies(dataset, {"test": off(dataset, errors)}, groups).in_order["test"]
    energy = np.array([1e3 * float(s.labels["energy"]) / s.n_atoms for s in dataset])
    told = [(i, j) for i, j in pairs(dataset, across=True) if abs(energy[i] - energy[j]) > 1.0]
    right = [(energy[i] - energy[j]) * (energy[i] + errors[i] - energy[j] - errors[j]) > 0 for i, j in told]
    assert found.count == len(told) and found.share == pytest.approx(np.mean(right))
    assert found.interval is not None and 0 <= found.interval[0] <= found.share <= found.interval[1] <= 1


def test_a_perfect_and_a_reversed_order() -> None:
    dataset = Dataset(tuple(frame("Si2", -5 + 0.01 * k, phase="ab"[k % 2]) for k in range(12)))
    groups = [str(k) for k in range(12)]
    reverse = [-20.0 * k for k in range(12)]
    found = relative_energies(dataset, {"test": off(dataset, [0.0] * 12), "untuned": off(dataset, reverse)}, groups)
    assert (found.in_order["test"].share, found.in_order["untuned"].share) == (1.0, 0.0)
    assert found.same_composition["test"].rmse == 0.0
    # Twelve independent observations that are all right leave a share of 0.74 open: 0.735 ** 12 is 0.025.
    low, high = found.in_order["test"].interval or (0, 0)
    assert (0.735 < low < 0.736 and high == 1.0) and found.in_order["untuned"].interval == (0.0, 1 - low)


def test_an_energy_that_is_not_finite_is_in_no_order() -> None:
    dataset = Dataset((frame("Si2", -5.0, phase="a"), frame("Si2", -4.9, phase="b"), frame("Si2", -4.8, phase="a")))
    found = relative_energies(dataset, {"test": off(dataset, [0, np.nan, 0])}, list("abc"))
    assert (found.in_order["test"].share, found.in_order["test"].count) == (0.0, 2)


def test_phases_stand_above_the_lowest_of_their_formula() -> None:
    energies = {"diamond": (-5.0, -4.9), "beta-tin": (-4.8, -4.7), "fcc": (-4.5,)}
    dataset = Dataset(tuple(frame("Si2", e, phase=p) for p, own in energies.items() for e in own))
    found = relative_energies(dataset, {"test": off(dataset, [0, 0, 30, 0, -400])}, list("abcde"))
    assert [(one.phase, one.n_frames) for one in found.phases] == [("diamond", 2), ("beta-tin", 2), ("fcc", 1)]
    assert [one.label for one in found.phases] == pytest.approx([0, 200, 500])
    assert [one.models["test"] for one in found.phases] == pytest.approx([0, 230, 100])
    assert found.between_phases["test"].interval is not None  # five groups


@pytest.mark.parametrize("diverged", [(4,), (0,), (0, 4)])
def test_a_diverged_compound_or_element_is_seen_in_the_formation_energies(diverged: tuple[int, ...]) -> None:
    compounds = [frame("SiGe", -4.7 + 0.01 * k) for k in range(8)]
    dataset = Dataset((frame("Si2", -5), frame("Ge2", -4.5), *compounds))
    told = off(dataset, [1.0, 2.0, *range(8)])
    broken = [{"energy": np.array(np.nan)} if i in diverged else one for i, one in enumerate(told)]
    found = relative_energies(dataset, {"test": broken, "untuned": told}, [str(k) for k in range(10)]).formation
    assert found["test"].rmse == np.inf and found["test"].interval is None
    assert found["test"].count == found["untuned"].count == 8


def test_a_model_without_an_elements_energy_has_no_formation_energies_of_it() -> None:
    dataset = Dataset((frame("Si2", -5), frame("Ge2", -4.5), frame("C2", -9), frame("SiGe", -4.7), frame("SiC", -7)))
    told = off(dataset, [1.0, 2.0, 3.0, 4.0, 6.0])
    found = relative_energies(dataset, {"test": told, "shift": [*told[:2], {}, *told[3:]]}, list("abcde")).formation
    assert found["test"].count == 2
    assert found["shift"].count == 1 and found["shift"].rmse == pytest.approx(4 - 1.5)


def test_formation_energies_are_counted_from_each_models_own_elements() -> None:
    dataset = Dataset((frame("Si2", -5.0), frame("Si2", -5.4), frame("Ge2", -4.0), frame("SiGe3", -4.5)))
    found = relative_energies(dataset, {"test": off(dataset, [7, 10, 20, 12])}, list("abcd"))
    assert found.formation["test"].rmse == pytest.approx(abs(12 - (0.25 * 10 + 0.75 * 20)))
    assert found.formation["test"].count == 1 and found.formation["test"].interval is None


def test_elements_may_lie_in_other_frames() -> None:
    dataset = Dataset((frame("SiGe", -4.5),))
    pure = Dataset((frame("Si2", -5.0), frame("Ge2", -4.0)))
    elements = Elements(pure, {"test": off(pure, [10, 20])})
    found = relative_energies(dataset, {"test": off(dataset, [12])}, ["a"], elements=elements)
    assert found.formation["test"].rmse == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ((frame("SiGe", -4.5), frame("Si2", -5.0)), "no frame of pure Ge has an energy: formation energies cannot"),
        ((frame("Si2", -4.5), frame("Si4", -5.0)), "every scored frame is of one element: there is nothing to form"),
        ((frame("Si2", -4.5), frame("Ge2", -5.0)), "no two scored frames share their composition"),
        (
            (frame("Si2", -4.5, phase="a"), frame("Si4", -5.0, phase="a")),
            r"no composition has scored frames of two phases \(by tag 'phase'\)",
        ),
        (
            (frame("Si2", -4.5, phase="a"), frame("Si4", -4.5, phase="b")),
            "energies of no two phases differ by more than 1 meV/atom",
        ),
        ((Sample(Atoms("Si2"), {}),), "no scored frame has an energy"),
    ],
)
def test_what_cannot_be_had_is_said(frames: tuple[Sample, ...], said: str) -> None:
    dataset = Dataset(frames)
    predictions = {"test": [{"energy": np.array(-9.0)} for _ in frames]}
    found = relative_energies(dataset, predictions, [str(i) for i in range(len(frames))])
    with pytest.raises(AssertionError, match=said):
        raise AssertionError("\n".join(found.lacking))


def test_a_frame_that_states_no_phase_is_in_no_pair_of_phases() -> None:
    dataset = Dataset((frame("Si2", -5.0, phase="a"), frame("Si2", -4.9, phase="b"), frame("Si2", -4.8)))
    found = relative_energies(dataset, {"test": off(dataset, [0, 10, 50])}, list("abc"))
    assert (found.same_composition["test"].count, found.between_phases["test"].count) == (3, 1)
    assert found.between_phases["test"].rmse == pytest.approx(10.0)


def test_phases_without_a_tag_are_told_by_their_neighbours() -> None:
    crystals = [bulk("Si", cubic=True), bulk("Cu", cubic=True), bulk("Fe", cubic=True)]
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0)
    told = phases_of(
        Dataset(tuple(Sample(atoms, {}) for atoms in [*crystals, slab, Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]])]))
    )
    assert told.labels[:3] == ("bulk, 4 neighbours", "bulk, 12 neighbours", "bulk, 14 neighbours")
    assert told.labels[3] == "surface, 10 neighbours" and told.labels[4] == "molecule, 1 neighbours"


def test_the_tag_of_phases_may_be_named_and_must_exist() -> None:
    dataset = Dataset((frame("Si2", -5.0, phase="a", allotrope="x"), frame("Si2", -4.9, phase="a", allotrope="y")))
    assert phases_of(dataset, "allotrope").labels == ("x", "y")
    with pytest.raises(OptionError, match="did you mean 'allotrope'"):
        require_phase_tag(dataset, "alotrope")
    assert phases_of(dataset[:0], "allotrope").labels == ()


def test_differences_of_two_methods_have_no_order_of_phases() -> None:
    """Labels of phase a are lower by both methods; their difference is lower of phase b."""
    dear, cheap = {"a": -5.0, "b": -4.9}, {"a": -4.0, "b": -3.7}
    frames = [
        Sample(Atoms("Si"), {"energy": np.array(dear[p])}, {"phase": p}, cheap={"energy": np.array(cheap[p])})
        for p in ("a", "a", "b", "b")
    ]
    nothing = [{"energy": np.array(0.0)}] * 4
    whole = summarise(Dataset(tuple(frames)), {"tuned": nothing}, "aabb")
    assert whole.relative is not None and whole.relative.phases[0].phase == "a"
    learned = differences(Dataset(tuple(frames)), {"energy": "xtb_energy"})
    assert summarise(learned, {"tuned": nothing}, "aabb").relative is None
