"""The choice on figures alone: window, diversity, walkers, gaps, the part to score on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from matgraft.potentials.active.selection.diversity import Surroundings
from matgraft.potentials.active.selection.select import Choice, PoolCandidate, choose_candidates, draw_audit
from matgraft.potentials.active.selection.settings import SelectSettings
from matgraft.potentials.models.uncertainty import Known, nearest_rows
from matgraft.potentials.uncertainty.known import fit_known
from matgraft.potentials.uncertainty.rows import FrameRows

SI, GE, SN = 14, 32, 50
ALL = SelectSettings(low=0, high=1e9, audit=0, per_walker=1000, gap=0)


def frame(*places: float, numbers: int | list[int] = SI) -> FrameRows:
    """A frame with an atom at each place of a plane."""
    rows = np.array([[place, 0.1 * place] for place in places])
    return FrameRows(rows, np.broadcast_to(numbers, len(places)).copy())


def known_of(frames: list[FrameRows]) -> Known:
    return fit_known(frames, np.arange(len(frames)), 0).known


def pool(n: int, walkers: int = 4, spacing: int = 100) -> list[PoolCandidate]:
    return [PoolCandidate(i, f"w{i % walkers}", "md", float(spacing * (i // walkers))) for i in range(n)]


def chosen_from(
    frames: list[FrameRows], how: SelectSettings, n: int, walkers: int = 4, known: Known | None = None
) -> Choice:
    threshold = None if known is None else 1.0
    return choose_candidates(pool(len(frames), walkers), Surroundings.of(frames, known), threshold, n, how)


def test_the_distance_of_a_frame_is_that_of_its_farthest_atom_to_what_is_known_or_chosen() -> None:
    known = known_of([frame(0.0, 1.0, 2.0)])
    frames = [frame(0.0, 2.0), frame(1.0, 9.0), frame(5.0)]
    surroundings = Surroundings.of(frames, known)
    first = surroundings.distances()
    assert first[0] == pytest.approx(0, abs=1e-5) and first[1] > first[2] > 0
    surroundings.choose(1)
    after = surroundings.distances()
    assert after[1] == pytest.approx(0, abs=1e-5)
    rows = surroundings.rows.astype(float)
    everything = np.concatenate([known.rows.astype(float), rows[2:4]])
    assert after[2] == pytest.approx(nearest_rows(rows[4:], everything)[0], rel=1e-5)


def test_atoms_are_compared_with_those_of_their_element_alone() -> None:
    surroundings = Surroundings.of([frame(1.0, numbers=GE), frame(1.0)], known_of([frame(0.0, 1.0, 3.0)]))
    assert not np.isfinite(surroundings.distances()[0]) and surroundings.distances()[1] < 1e-3
    ratio, is_new = surroundings.extrapolations(1.0)
    assert is_new.tolist() == [True, False] and np.isfinite(ratio).all()


def test_the_farthest_is_chosen_first_and_its_neighbours_last() -> None:
    frames = [frame(place) for place in (0.1, 10.0, 10.1, 5.0, 0.2)]
    choice = chosen_from(frames, ALL, 3, walkers=5, known=known_of([frame(0.0, 0.3, 0.6)]))
    assert [one.index for one in choice.chosen][:2] == [2, 3]
    assert choice.left_out == {"not needed": 2}
    distances = [one.distance for one in choice.chosen]
    assert distances == sorted(distances, key=lambda d: -(d or 0))


def test_where_nothing_is_known_the_most_typical_frame_is_first() -> None:
    frames = [frame(place) for place in (-9.0, 0.2, 0.0, 11.0)]
    choice = chosen_from(frames, ALL, 2, walkers=4)
    assert choice.chosen[0].index == 1 and choice.chosen[0].distance is None  # the mean is 0.55
    assert choice.chosen[1].index == 3
    assert all(one.extrapolation is None and one.why == "diverse" for one in choice.chosen)
    assert choice.outside is None


def test_the_window_leaves_out_what_is_known_and_what_is_far_outside() -> None:
    known = known_of([frame(0.0, 1.0, 2.0, 3.0)])
    frames = [frame(0.0), frame(4.0), frame(6.0), frame(1000.0), frame(0.5, numbers=SN)]
    ratio, _ = Surroundings.of(frames, known).extrapolations(1.0)
    assert ratio[0] < 0.1 < ratio[1] < 1 < ratio[2] < 100 < ratio[3]
    how = ALL.model_copy(update={"low": 0.1, "high": 100.0})
    choice = chosen_from(frames, how, 5, walkers=5, known=known)
    assert choice.left_out == {"certain": 1, "far outside": 1}
    assert {one.index: one.why for one in choice.chosen} == {1: "diverse", 2: "uncertain", 4: "new element"}
    assert {one.index: one.extrapolation for one in choice.chosen}[4] == np.inf
    assert choice.outside == pytest.approx(3 / 5)


def test_what_a_check_hands_over_needs_no_uncertainty() -> None:
    known = known_of([frame(0.0, 1.0, 2.0)])
    candidates = [PoolCandidate(0, "a", "md"), PoolCandidate(1, "b", "check phonons")]
    how = ALL.model_copy(update={"low": 0.5})
    choice = choose_candidates(candidates, Surroundings.of([frame(0.0), frame(0.0)], known), 1.0, 2, how)
    assert [(one.index, one.why) for one in choice.chosen] == [(1, "check")]
    assert choice.left_out == {"certain": 1}


def test_a_walker_gives_no_more_than_its_share_and_frames_that_are_apart_in_time() -> None:
    frames = [frame(float(i)) for i in range(40)]
    how = ALL.model_copy(update={"per_walker": 3, "gap": 200})
    choice = chosen_from(frames, how, 40, walkers=4)
    steps: dict[str, list[int]] = {}
    for one in choice.chosen:
        steps.setdefault(one.walker, []).append(100 * (one.index // 4))
    assert {len(own) for own in steps.values()} == {3}
    assert all(np.diff(sorted(own)).min() >= 200 for own in steps.values())
    assert choice.left_out["too soon"] > 0 and choice.left_out["full walker"] > 0


def test_strata_give_alike() -> None:
    candidates = [PoolCandidate(i, str(i), "md", None, "hot" if i < 8 else "cold") for i in range(12)]
    frames = [frame(float(100 + i if i < 8 else i)) for i in range(12)]
    how = ALL.model_copy(update={"diversity": "stratified"})
    chosen = choose_candidates(candidates, Surroundings.of(frames, None), None, 6, how).chosen
    assert Counter(candidates[one.index].stratum for one in chosen) == {"hot": 3, "cold": 3}


def test_random_frames_are_drawn_and_a_seed_decides_which() -> None:
    frames = [frame(float(i)) for i in range(30)]
    how = [ALL.model_copy(update={"diversity": "random", "seed": seed, "audit": 0.2}) for seed in (0, 0, 1)]
    found = [chosen_from(frames, one, 10, walkers=10).chosen for one in how]
    assert found[0] == found[1] != found[2]
    assert {one.why for one in found[0]} == {"random", "audit"}
    assert all(one.distance is None for one in found[0])


def test_frames_to_score_on_are_drawn_from_all_frames_and_their_walkers_teach_nothing() -> None:
    """Most of the pool is below the window: so are most of the frames that are scored on."""
    known = known_of([frame(0.0, 1.0, 2.0)])
    frames = [frame(1.0 + 1e-3 * i) for i in range(90)] + [frame(50.0 + i) for i in range(10)]
    how = SelectSettings(low=0.5, high=1000, audit=0.5, gap=0)
    choice = chosen_from(frames, how, 20, walkers=20, known=known)
    audit = [one for one in choice.chosen if one.why == "audit"]
    assert len(audit) == 10
    assert sum(one.index < 90 for one in audit) >= 7
    learned = [one for one in choice.chosen if one.why != "audit"]
    assert learned and not {one.walker for one in audit} & {one.walker for one in learned}
    assert choice.left_out["audited walker"] == 50 - 10
    assert choice.notes == ()


def test_a_single_walker_is_scored_on_frames_far_from_those_that_are_learned_from_and_it_is_said() -> None:
    frames = [frame(float(i)) for i in range(30)]
    how = ALL.model_copy(update={"audit": 0.2, "gap": 300})
    choice = chosen_from(frames, how, 10, walkers=1)
    steps = {why: [100 * one.index for one in choice.chosen if (one.why == "audit") == why] for why in (True, False)}
    assert steps[True] and steps[False]
    assert min(abs(a - b) for a in steps[True] for b in steps[False]) >= 300
    assert "one walker" in choice.notes[0]


def test_what_a_check_hands_over_is_not_scored_on() -> None:
    candidates = [PoolCandidate(i, str(i), "check nvt") for i in range(10)]
    assert draw_audit(candidates, 5, SelectSettings()) == []


def test_the_part_outside_the_gate_is_that_of_what_was_sampled() -> None:
    known = known_of([frame(0.0, 1.0, 2.0)])
    frames = [frame(0.0)] * 3 + [frame(9.0)] * 4
    sampled = [PoolCandidate(i, str(i), "md") for i in range(4)]
    handed = [PoolCandidate(i, "c", "check nvt") for i in range(4, 7)]
    choice = choose_candidates([*sampled, *handed], Surroundings.of(frames, known), 1.0, 4, ALL)
    assert choice.outside == 0.25
    assert choose_candidates(handed, Surroundings.of(frames[4:], known), 1.0, 2, ALL).outside is None


def test_a_single_walker_is_learned_from_beside_what_a_check_hands_over() -> None:
    candidates = [*pool(30, walkers=1), PoolCandidate(30, "c", "check nvt")]
    frames = [frame(float(i)) for i in range(31)]
    how = ALL.model_copy(update={"audit": 0.2, "gap": 300})
    choice = choose_candidates(candidates, Surroundings.of(frames, None), None, 8, how)
    learned = [candidates[one.index] for one in choice.chosen if one.why != "audit"]
    assert {one.walker for one in learned} == {"w0", "c"} and "one walker" in choice.notes[0]


def test_a_seed_below_zero_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        SelectSettings(seed=-1)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValidationError, match="the window is empty"):
        SelectSettings(low=2, high=1)


@settings(max_examples=40)
@given(
    places=st.lists(st.floats(-20, 20), min_size=1, max_size=25),
    walkers=st.integers(1, 8),
    n=st.integers(1, 30),
    audit=st.floats(0, 0.5),
    per_walker=st.integers(1, 6),
    gap=st.integers(0, 250),
    knows=st.booleans(),
)
def test_every_frame_is_chosen_once_or_left_out_once(
    places: list[float], walkers: int, n: int, audit: float, per_walker: int, gap: int, knows: bool
) -> None:
    how = SelectSettings(audit=audit, per_walker=per_walker, gap=gap)
    known = known_of([frame(0.0, 1.0)]) if knows else None
    choice = chosen_from([frame(place) for place in places], how, n, walkers, known)
    chosen = [one.index for one in choice.chosen]
    assert len(set(chosen)) == len(chosen) <= n
    assert len(chosen) + sum(choice.left_out.values()) == len(places)
    parts = [[one for one in choice.chosen if (one.why == "audit") == why] for why in (True, False)]
    for part in parts:
        assert max(Counter(one.walker for one in part).values(), default=0) <= per_walker
    if walkers > 1 and len({one.walker for one in choice.chosen}) > 1 and len(places) > 1:
        shared = {one.walker for one in parts[0]} & {one.walker for one in parts[1]}
        assert not shared or choice.notes
