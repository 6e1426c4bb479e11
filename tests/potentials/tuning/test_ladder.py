"""The rules of the ladder, on figures alone: when to stop, what to keep, how the minutes are shared."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from matgraft.core.errors import OptionError
from matgraft.core.training.strategy import Feature, Full, LoRA
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.tuning.ladder import (
    Climb,
    Cost,
    LadderSettings,
    RungResult,
    allot,
    best,
    error_key,
    gain_of,
    make_rungs,
    meets,
    reason_to_stop,
    refuse_idle_target,
)

SETTINGS = LadderSettings(worth=0.05)
MINUTES = st.floats(0.01, 1000)


def climbed(**losses: float | None) -> list[RungResult]:
    """Rungs with these validation losses, a minute each, their gains as a climb writes them; None was skipped."""
    found: list[RungResult] = []
    for name, loss in losses.items():
        if loss is None:
            found.append(RungResult(name=name, verdict="skipped", why="no time"))
            continue
        errors = {"validation_loss": loss, error_key("energy"): 100 * loss, error_key("forces"): loss}
        minutes = 0.0 if name in ("untuned", "shift") else 1.0
        found.append(RungResult(name=name, errors=errors, minutes=minutes, gain=gain_of(loss, found)))
    return found


# ------------------------------------------------------------------- stopping


def test_a_climb_goes_on_while_rungs_pay() -> None:
    assert reason_to_stop(climbed(untuned=90, shift=1, feature=0.5, lora=0.4), SETTINGS) == ""


def test_it_ends_where_two_rungs_in_a_row_brought_too_little() -> None:
    reason = reason_to_stop(climbed(untuned=2, shift=1, feature=0.98, lora=1.2), SETTINGS)
    assert reason == (
        "feature bought 2.0 % and lora bought nothing of the validation loss for 2.0 minutes, less than 5 % each"
    )


@pytest.mark.parametrize(
    "losses",
    [
        {"feature": 0.99},  # the readout is bound by its features: what lora and full bring is another matter
        {"feature": 0.4, "lora": 0.5},  # lora was worse, as on the published Mo frames
        {"feature": 0.99, "lora": None},  # not tried is no evidence
        {"feature": 0.99, "lora": 0.5},
    ],
)
def test_one_poor_rung_does_not_end_it(losses: dict[str, float | None]) -> None:
    assert reason_to_stop(climbed(untuned=2, shift=1, **losses), SETTINGS) == ""


def test_baselines_are_no_poor_rungs() -> None:
    assert reason_to_stop(climbed(untuned=1, shift=1), SETTINGS) == ""


def test_with_nothing_asked_every_rung_is_climbed() -> None:
    rungs = climbed(untuned=1, shift=1, feature=0.999, lora=0.998, full=0.997)
    assert reason_to_stop(rungs, LadderSettings(worth=0)) == ""
    assert reason_to_stop(rungs, SETTINGS)


def test_a_gain_is_counted_from_the_best_so_far() -> None:
    gains = [rung.gain for rung in climbed(untuned=8, shift=4, feature=1, lora=2, full=0.5)]
    assert gains == [None, 0.5, 0.75, -1.0, 0.5]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({"energy": 50.0}, "feature met the target (energy 50 meV/atom)"),
        ({"energy": 60.0, "forces": 0.6}, "feature met the target (energy 50 meV/atom, forces 0.5 eV/Å)"),
        ({"energy": 60.0, "forces": 0.4}, ""),
        ({"energy": 60.0, "stress": 9.0}, ""),
        ({"forces": 1.0}, "shift met the target (forces 1 eV/Å)"),
    ],
)
def test_it_ends_at_the_target(target: dict[str, float], reason: str) -> None:
    settings = LadderSettings(target=target)
    assert reason_to_stop(climbed(untuned=2, shift=1, feature=0.5), settings) == reason


def test_no_target_is_never_met() -> None:
    assert not meets({"validation_energy_rmse_meV_per_atom": 0.0}, {})


# -------------------------------------------------------------------- keeping


def test_the_lowest_loss_is_kept_and_the_cheaper_of_equals() -> None:
    assert best(climbed(untuned=2, shift=1, feature=0.3, lora=0.4, full=None), {}).name == "feature"
    assert best(climbed(untuned=2, shift=1, feature=0.3, lora=0.3, full=0.3), {}).name == "feature"
    assert best(climbed(untuned=1, shift=1), {}).name == "untuned"


def test_replay_is_kept_where_it_costs_little() -> None:
    rungs = climbed(untuned=2, shift=1, feature=0.3, full=0.2, replay=0.209)
    assert best(rungs, {}, worth=0.05).name == "replay"
    assert best(rungs, {}, worth=0.04).name == "full"
    assert best(rungs, {}).name == "full"


def test_replay_is_kept_only_if_it_is_better_than_the_baselines() -> None:
    """What was not trained has forgotten nothing."""
    assert best(climbed(untuned=2, shift=1, full=1.2, replay=1.04), {}, worth=0.05).name == "shift"
    assert best(climbed(untuned=2, shift=1, full=1, replay=1), {}, worth=0.05).name == "shift"
    assert best(climbed(untuned=2, shift=1, full=0.97, replay=1.01), {}, worth=0.05).name == "full"
    assert best(climbed(untuned=2, shift=1, full=0.97, replay=0.99), {}, worth=0.05).name == "replay"


def test_a_model_that_is_no_number_is_not_kept() -> None:
    rungs = climbed(untuned=2, shift=1, feature=float("nan"))
    assert best(rungs, {}).name == "shift"
    assert rungs[-1].gain is None


def test_what_meets_the_target_goes_before_a_lower_loss() -> None:
    rungs = climbed(untuned=2, shift=1, feature=0.3)
    late = RungResult(name="full", errors={"validation_loss": 0.35, error_key("energy"): 4.0})
    assert best([*rungs, late], {"energy": 5.0}).name == "full"
    assert best([*rungs, late], {"energy": 3.0}).name == "feature"


# -------------------------------------------------------------------- minutes


@settings(max_examples=30)
@given(total=MINUTES, rungs=st.integers(1, 5))
def test_shares_double_and_sum_to_the_total(total: float, rungs: int) -> None:
    shares: list[float] = []
    for ahead in range(rungs, 0, -1):
        share = allot(total - sum(shares), ahead, Cost(0.0))
        assert share is not None
        shares.append(share)
    assert sum(shares) == pytest.approx(total)
    assert [b / a for a, b in pairwise(shares)] == pytest.approx([2.0] * (rungs - 1))


COSTS = st.builds(Cost, least=MINUTES, before=MINUTES, ends_itself=st.booleans())


@settings(max_examples=50)
@given(total=MINUTES, used=st.lists(st.tuples(COSTS, st.floats(0, 1)), min_size=1, max_size=5))
def test_no_rung_is_promised_more_than_there_is(total: float, used: list[tuple[Cost, float]]) -> None:
    """Rungs that cost anything, and use any part of what they get."""
    left = total
    for i, (cost, part) in enumerate(used):
        ahead = len(used) - i
        minutes = allot(left, ahead, cost)
        if minutes is not None:
            assert cost.least <= minutes
            assert cost.before + minutes <= left * (1 if ahead == 1 else 1 / 2) + 1e-9
            left -= part * (cost.before + minutes)


def test_what_is_left_over_goes_to_those_that_follow() -> None:
    assert allot(7.0, 3, Cost(0.1)) == pytest.approx(1.0)
    assert allot(6.5, 2, Cost(0.1)) == pytest.approx(6.5 / 3)  # the first left half a minute
    assert allot(7.0, 2, Cost(0.1)) == pytest.approx(7.0 / 3)  # the first was not begun


def test_a_rung_that_ends_itself_has_half_of_the_minutes() -> None:
    assert allot(14.0, 3, Cost(1.0, before=4.0, ends_itself=True)) == pytest.approx(3.0)
    assert allot(14.0, 3, Cost(3.1, before=4.0, ends_itself=True)) is None
    assert allot(14.0, 1, Cost(3.1, before=4.0, ends_itself=True)) == pytest.approx(10.0)


@pytest.mark.parametrize(("left", "ahead", "least", "begun"), [(3, 2, 1.5, True), (3, 2, 1.6, False), (3, 1, 3, True)])
def test_a_rung_without_the_time_for_two_passes_is_not_begun(left: int, ahead: int, least: float, begun: bool) -> None:
    assert (allot(left, ahead, Cost(least)) is not None) == begun


# -------------------------------------------------------------------- options


def test_an_option_goes_to_the_rungs_that_read_it() -> None:
    rungs = make_rungs(("feature", "lora", "full"), rank=2, decay=0.5, stages=("readout",), alpha=None)
    feature, lora, full = rungs.values()
    assert isinstance(feature, Feature) and isinstance(lora, LoRA) and isinstance(full, Full)
    assert (lora.rank, lora.alpha, lora.patterns, full.decay) == (2, 4.0, ("readout",), 0.5)


def test_an_option_that_no_rung_reads_names_who_does() -> None:
    with pytest.raises(OptionError, match="unfreeze is not read with the rungs feature, lora") as error:
        make_rungs(("feature", "lora"), unfreeze=0.3)
    assert error.value.allowed == ("strategy.name=gradual",)
    assert {"ladder.rungs": ["feature", "gradual", "lora"]} in error.value.options


@pytest.mark.parametrize(
    "values",
    [{"rungs": ()}, {"rungs": ("full", "full")}, {"rungs": ("ful",)}, {"target": {"force": 1.0}}, {"worth": 1}],
)
def test_settings_that_mean_nothing(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LadderSettings.model_validate(values)


def test_a_target_must_be_judged(pairs: Dataset) -> None:
    with pytest.raises(OptionError, match=r"target\.stress is not read: its weight in the loss is 0"):
        refuse_idle_target({"energy": 1.0, "stress": 1.0}, {"energy": 30.0}, pairs)
    dumb = pairs.map(lambda sample: Sample(sample.content, {"energy": sample.labels["energy"]}))
    with pytest.raises(OptionError, match=r"target\.forces is not read: no validation frame has it"):
        refuse_idle_target({"forces": 1.0}, {"energy": 30.0, "forces": 1.0}, dumb)


def test_the_sentence_names_the_rung_and_the_reason() -> None:
    rungs = tuple(climbed(untuned=2, shift=1, feature=0.3, lora=0.4, full=None))
    record = Climb(max_minutes=9, rungs=rungs, kept="feature", stopped="full, the last rung, was skipped: no time")
    assert record.sentence == (
        "The ladder kept feature, the best on the validation frames of 4 rungs climbed in 2.0 minutes. "
        "It ended because full, the last rung, was skipped: no time."
    )
