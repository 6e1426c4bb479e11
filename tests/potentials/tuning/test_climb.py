"""The climb: one loss for all rungs, the best one kept, and a kill that changes nothing. The fits are stand-ins."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ase.io import write

from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.files import to_json
from matgraft.core.training.execution import Execution
from matgraft.core.training.objective import FitResult
from matgraft.core.training.schedule import FitSettings
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.tuning import climb as climbing
from matgraft.potentials.tuning import replay as replaying
from matgraft.potentials.tuning.adapt import TunedPotential, shift_references
from matgraft.potentials.tuning.climb import Climbed, climb
from matgraft.potentials.tuning.judging import validation_errors
from matgraft.potentials.tuning.ladder import Climb, Cost, LadderSettings, RungResult
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.objectives import FrameObjective
from matgraft.potentials.tuning.references import given_references
from matgraft.potentials.tuning.replay import ReplaySettings
from matgraft.potentials.tuning.settings import Precomputed
from matgraft.potentials.tuning.step_zero import StepZero

Part = tuple[Dataset, Dataset]
MINUTES = FitSettings(max_minutes=7)
THREE = ("feature", "lora", "full")


class Fits:
    """Stands in for `adapt` and for the clock: a rung's model is off by as many eV/atom as `offsets` says."""

    def __init__(self, **offsets: float | Exception) -> None:
        self.offsets, self.clock = offsets, 0.0
        self.takes: dict[str, float] = {}
        self.best_step = 1
        self.calls: list[dict[str, Any]] = []

    def __call__(self, parent: Potential, train: Dataset, validation: Dataset, **options: Any) -> TunedPotential:
        name, settings = options["strategy"].name, options["settings"]
        minutes = settings.fit.max_minutes
        self.calls.append({"name": name, "minutes": minutes, **options})
        self.clock += 60 * self.takes.get(name, minutes)
        offset = self.offsets[name]
        if isinstance(offset, BaseException):
            raise offset
        backbone = copy.deepcopy(parent)
        shift_references(backbone, given_references(dict.fromkeys(train.elements(), offset), train))
        fit = FitResult([{"step": 1.0, "epoch": 1.0}], self.best_step, 0.5, "done", 1, 1.0, 3.0, 1)
        return TunedPotential(backbone, settings.references, fit, StepZero(), settings.fit, settings.loss, 7, name)

    @property
    def minutes(self) -> list[tuple[str, float]]:
        return [(call["name"], round(call["minutes"], 6)) for call in self.calls]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fits]:
    """Put stand-ins in place; `cost` is what every rung is forecast to need."""

    def install(cost: float = 0.0, **offsets: Any) -> Fits:
        stand_in = Fits(**offsets)
        monkeypatch.setattr(climbing, "adapt", stand_in)
        monkeypatch.setattr(climbing, "time", SimpleNamespace(monotonic=lambda: stand_in.clock))
        forecast = Cost(cost, words="a pass over the training frames takes 0.7")
        monkeypatch.setattr(climbing._Ascent, "_cost", lambda *_: forecast)
        return stand_in

    return install


@pytest.fixture(scope="module")
def labelled(chgnet: Potential, pairs: Dataset) -> Part:
    """Frames labelled by the foundation itself, 1 eV/atom up: a rung is off by its own offset less one."""
    known = predict_samples(chgnet, pairs.samples)
    samples = tuple(
        sample.with_labels(energy=p["energy"] + sample.n_atoms, forces=p["forces"], stress=p["stress"])
        for sample, p in zip(pairs, known, strict=True)
    )
    frames = Dataset(samples)
    return frames[:4], frames[4:]


def up(chgnet: Potential, labelled: Part, **options: Any) -> Climbed:
    train, validation = labelled
    shift = given_references(dict.fromkeys(train.elements(), 0.5), train)
    return climb(
        chgnet,
        train,
        validation,
        references=shift,
        **{"fit": MINUTES, "ladder": LadderSettings(rungs=THREE), **options},
    )


def verdicts(record: Climb) -> dict[str, str]:
    return {rung.name: rung.verdict for rung in record.rungs}


# -------------------------------------------------------------------- judging


def test_errors_are_those_of_the_loop(chgnet: Potential, pairs: Dataset) -> None:
    """Missing labels, weights and Huber's function included."""
    frames = Dataset((Sample(pairs[0].content, {"energy": pairs[0].labels["energy"]}, weight=3.0), *pairs[1:].samples))
    loss = LossSettings(kind="huber", energy=3.0)
    encoded = encode_all(chgnet, frames.samples)
    objective = FrameObjective(chgnet, frames, frames, loss, encoded, encoded)
    sums = objective.validation_sums(range(len(frames)), torch.device("cpu"))
    found = validation_errors(frames, predict_samples(chgnet, frames.samples), loss.weights(frames), loss)
    assert found == pytest.approx(objective.validation_metrics(sums), rel=1e-5)


def test_a_frame_without_a_cell_has_no_stress_to_judge(chgnet: Potential, pairs: Dataset) -> None:
    known = predict_samples(chgnet, pairs.samples)
    loose = Dataset((Sample(pairs[0].content, {"energy": pairs[0].labels["energy"]}), *pairs[1:].samples))
    without = [{name: value for name, value in known[0].items() if name != "stress"}, *known[1:]]
    loss = LossSettings()
    both = [validation_errors(loose, predictions, loss.weights(loose), loss) for predictions in (known, without)]
    assert both[0] == both[1]


def test_groups_weigh_the_judgement(chgnet: Potential, labelled: Part, fits: Callable[..., Fits]) -> None:
    """Of the two validation frames the hot ones count nine times; the weights of both parts are those of training."""
    train, validation = labelled
    off = tuple(
        s.with_labels(energy=s.labels["energy"] + 2.0 * i * s.n_atoms).with_tags(kind=("cold", "hot")[i])
        for i, s in enumerate(validation)
    )
    train = train.map(lambda s: s.with_tags(kind="hot" if s.index % 2 else "cold"))
    fits(feature=1.1, lora=1.2, full=0.9)
    loss = LossSettings(groups={"kind=hot": 9.0})
    climbed = up(chgnet, (train, Dataset(off)), loss=loss)
    losses = {rung.name: rung.errors["validation_loss"] for rung in climbed.record.rungs}
    mean_weight = 5.0  # over the training frames: the scale of the training loss
    assert losses["untuned"] == pytest.approx(mean_weight * 10 * (1 * 1.0 + 9 * 9.0) / 10, rel=1e-3)
    assert losses["feature"] == pytest.approx(mean_weight * 10 * (1 * 0.01 + 9 * 1.9**2) / 10, rel=1e-3)


def test_a_validation_part_that_judges_nothing_is_refused(
    chgnet: Potential, labelled: Part, fits: Callable[..., Fits], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits()
    monkeypatch.setattr(climbing, "encode_all", lambda *_, **__: pytest.fail("encoded"))
    train, validation = labelled
    with pytest.raises(DataError, match="none of the 2 validation frames has a weight above 0 and a label"):
        up(chgnet, (train, validation.map(lambda s: Sample(s.content, {}))))


def test_a_baseline_that_is_no_number_names_its_frame(
    chgnet: Potential, labelled: Part, fits: Callable[..., Fits]
) -> None:
    stand_in = fits()
    _, validation = labelled
    known = [dict(one) for one in predict_samples(chgnet, validation.samples)]
    known[1]["stress"] = known[1]["stress"] * float("nan")
    with pytest.raises(DataError, match="prediction of the stress is not finite") as error:
        up(chgnet, labelled, precomputed=Precomputed(on_validation=known))
    assert error.value.where == validation[1].where
    assert {"loss.stress": 0} in error.value.options
    assert not stand_in.calls


def test_a_rung_whose_predictions_are_no_numbers_has_failed(
    chgnet: Potential, labelled: Part, fits: Callable[..., Fits]
) -> None:
    fits(feature=1.4, lora=float("nan"), full=1.1)
    record = up(chgnet, labelled).record
    assert verdicts(record) | {"lora": "failed", "full": "kept"} == verdicts(record)
    assert record.rungs[3].why.startswith("the prediction of the energy is not finite")


def test_a_rung_that_helped_nothing_says_so(chgnet: Potential, labelled: Part, fits: Callable[..., Fits]) -> None:
    stand_in = fits(feature=0.5, lora=0.9, full=0.95)
    stand_in.best_step = 0
    record = up(chgnet, labelled).record
    assert record.rungs[2].why == "no step was better than the starting weights"
    assert record.rungs[2].gain == pytest.approx(0.0, abs=1e-6)


def test_a_cached_rung_has_its_cache_within_its_minutes(
    chgnet: Potential, labelled: Part, fits: Callable[..., Fits], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the 7 minutes, 1.5 of them forecast for the cache."""
    stand_in = fits(feature=1.4, lora=1.2, full=1.1)
    cost = Cost(0.5, before=1.5, ends_itself=True)
    monkeypatch.setattr(climbing._Ascent, "_cost", lambda _, strategy, most: cost if strategy.cached else Cost(0.0))
    record = up(chgnet, labelled).record
    assert stand_in.minutes[0] == ("feature", 3.5)
    assert record.minutes == pytest.approx(7.0)


def test_one_loss_judges_every_rung(chgnet: Potential, labelled: Part, fits: Callable[..., Fits]) -> None:
    """The rungs get the recipe's loss as it is, to train by their own defaults; the figures are by 10, 1 and 100."""
    stand_in = fits(feature=1.1, lora=1.2, full=0.9)
    record = up(chgnet, labelled).record
    assert record.loss_weights == {"energy": 10.0, "forces": 1.0, "stress": 100.0}
    assert all(call["settings"].loss == LossSettings() for call in stand_in.calls)
    losses = {rung.name: rung.errors["validation_loss"] for rung in record.rungs}
    expected = {"untuned": 10.0, "shift": 10 * 0.25, "feature": 0.1, "lora": 0.4, "full": 0.1}
    assert losses == pytest.approx(expected, rel=1e-3)
    assert record.rungs[2].errors["validation_energy_rmse_meV_per_atom"] == pytest.approx(100, rel=1e-3)


# -------------------------------------------------------------------- keeping


def test_the_best_rung_is_kept(chgnet: Potential, labelled: Part, fits: Callable[..., Fits], tmp_path: Path) -> None:
    stand_in = fits(feature=1.3, lora=1.02, full=1.1)
    climbed = up(chgnet, labelled, execution=Execution(tmp_path))
    assert climbed.record.kept == "lora" == climbed.adapted.strategy
    assert verdicts(climbed.record) == {
        "untuned": "climbed", "shift": "climbed", "feature": "climbed", "lora": "kept", "full": "climbed",
    }  # fmt: skip
    moved = (climbed.adapted.backbone.references - chgnet.references).detach()
    assert float(moved[13]) == pytest.approx(1.02, abs=1e-4)
    assert (climbed.adapted.trained, climbed.adapted.fit.stopped) == (7, "done")
    assert not any(parameter.requires_grad for parameter in climbed.adapted.backbone.module.parameters())
    assert json.loads((tmp_path / "ladder.json").read_text()) == json.loads(climbed.record.model_dump_json())
    assert [call["execution"].folder for call in stand_in.calls] == [
        tmp_path / "checkpoints" / name for name in ("feature", "lora", "full")
    ]


def test_where_every_rung_is_worse_the_shift_is_kept(
    chgnet: Potential, labelled: Part, fits: Callable[..., Fits]
) -> None:
    fits(feature=7.0, lora=7.0)
    climbed = up(chgnet, labelled)
    assert climbed.record.kept == "shift" == climbed.adapted.strategy
    moved = (climbed.adapted.backbone.references - chgnet.references).detach()
    assert float(moved[13]) == pytest.approx(0.5, abs=1e-4)
    assert climbed.adapted.trained == 0
    (row,) = climbed.adapted.fit.history
    assert row["step"] == 0 and row["validation_loss"] == climbed.adapted.fit.best_value


def test_two_poor_rungs_end_the_climb(chgnet: Potential, labelled: Part, fits: Callable[..., Fits]) -> None:
    stand_in = fits(feature=0.505, lora=0.51)
    record = up(chgnet, labelled).record
    assert [name for name, _ in stand_in.minutes] == ["feature", "lora"]
    assert "feature bought 2.0 % and lora bought 2.0 % of the validation loss for 3.0 minutes" in record.stopped
    assert record.rungs[-1].verdict == "skipped"


def test_a_poor_last_rung_ends_nothing_early(chgnet: Potential, labelled: Part, fits: Callable[..., Fits]) -> None:
    fits(feature=1.2, lora=1.3, full=1.3)
    record = up(chgnet, labelled).record
    assert record.kept == "feature"
    assert record.stopped == "full, the last rung, was climbed"


def test_a_target_that_the_shift_meets_costs_no_fit(
    chgnet: Potential, labelled: Part, fits: Callable[..., Fits]
) -> None:
    stand_in = fits()
    climbed = up(chgnet, labelled, ladder=LadderSettings(rungs=THREE, target={"energy": 600.0}))
    assert not stand_in.calls
    assert climbed.record.kept == "shift"
    assert climbed.record.stopped == "shift met the target (energy 500 meV/atom)"


# -------------------------------------------------------------------- minutes


def test_what_a_rung_leaves_over_goes_to_the_next(chgnet: Potential, labelled: Part, fits: Callable[..., Fits]) -> None:
    stand_in = fits(feature=1.4, lora=1.2, full=1.1)
    stand_in.takes["feature"] = 0.4
    record = up(chgnet, labelled).record
    assert stand_in.minutes == [("feature", 1.0), ("lora", 2.2), ("full", 4.4)]
    assert record.minutes == pytest.approx(7.0)


def test_a_rung_without_time_is_skipped_by_name(chgnet: Potential, labelled: Part, fits: Callable[..., Fits]) -> None:
    stand_in = fits(cost=1.4, feature=1.4, full=1.1)
    stand_in.takes["feature"] = 5.0  # a cache of a busy machine
    record = up(chgnet, labelled).record
    assert verdicts(record)["lora"] == "skipped"
    assert record.rungs[3].why == "2 minutes were left for 2 rungs; a pass over the training frames takes 0.7"
    assert stand_in.minutes[-1] == ("full", 2.0)


def test_the_time_is_up(chgnet: Potential, labelled: Part, fits: Callable[..., Fits]) -> None:
    stand_in = fits(cost=1.0, feature=1.4)
    stand_in.takes["feature"] = 6.5
    record = up(chgnet, labelled).record
    assert record.kept == "feature"
    assert record.stopped.startswith("full, the last rung, was skipped: 0.5 minutes were left for 1 rung;")


def test_the_forecast_is_measured(chgnet: Potential, labelled: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the real steps: a climb of a thousandth of a minute begins nothing, and says what a rung would take."""
    monkeypatch.setattr(climbing, "adapt", lambda *_, **__: pytest.fail("begun without the time for it"))
    record = up(chgnet, labelled, fit=FitSettings(max_minutes=0.001)).record
    assert [rung.verdict for rung in record.rungs[2:]] == ["skipped"] * 3
    assert "its cache takes 0.0" in record.rungs[2].why and "its steps" in record.rungs[2].why
    assert "a pass over the training frames takes 0.0" in record.rungs[4].why
    assert not any(parameter.grad is not None for parameter in chgnet.module.parameters())


def test_the_forecast_counts_the_frames_to_rehearse(
    chgnet: Potential, labelled: Part, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Replay passes over its own frames too."""
    least: list[float] = []
    monkeypatch.setattr(climbing, "timed", lambda work: (60.0, None))
    monkeypatch.setattr(climbing, "allot", lambda left, ahead, cost: least.append(cost.least))
    file = tmp_path / "rehearsed.extxyz"
    write(file, [sample.content for sample in labelled[0][:3]])
    record = up(
        chgnet,
        labelled,
        fit=FitSettings(max_minutes=7, processes=1),
        ladder=LadderSettings(rungs=("full", "replay")),
        replay=ReplaySettings(file=str(file)),
    ).record
    edges = [one.n_edges for one in encode_all(chgnet, labelled[0].samples)]
    assert least[1] / least[0] - 1 == pytest.approx(sum(edges[:3]) / sum(edges))
    assert "the training frames and 3 replay frames" in record.rungs[-1].why


@pytest.mark.parametrize(("settings", "size"), [(ReplaySettings(), 64), (ReplaySettings(size=7), 7)])
def test_of_frames_to_be_made_a_few_are_looked_at(
    chgnet: Potential, labelled: Part, monkeypatch: pytest.MonkeyPatch, settings: ReplaySettings, size: int
) -> None:
    train = labelled[0]
    monkeypatch.setattr(replaying, "make_structures", lambda *_, **__: train)
    edges = [one.n_edges for one in encode_all(chgnet, train.samples)]
    assert replaying.forecast(chgnet, train, settings) == (size, pytest.approx(size * sum(edges) / len(edges)))


# ---------------------------------------------------------- broken off, failed


def test_a_killed_climb_goes_on_and_ends_at_the_same_model(
    chgnet: Potential, labelled: Part, fits: Callable[..., Fits], tmp_path: Path
) -> None:
    offsets = {"feature": 1.05, "lora": 1.2, "full": 1.1}
    whole = up(chgnet, labelled, execution=Execution(tmp_path / "whole")) if fits(**offsets) else None
    assert whole is not None

    stand_in = fits(**{**offsets, "lora": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        up(chgnet, labelled, execution=Execution(tmp_path / "killed"))
    begun = json.loads((tmp_path / "killed" / "ladder.json").read_text())["begun"]
    assert begun == {"name": "lora", "minutes": pytest.approx(2.0)}

    stand_in = fits(**offsets)
    again = up(chgnet, labelled, execution=Execution(tmp_path / "killed", resume=True))
    assert [(call["name"], call["execution"].resume) for call in stand_in.calls] == [("lora", True), ("full", False)]
    assert stand_in.minutes == [("lora", 2.0), ("full", 4.0)]
    assert again.record == whole.record
    assert again.adapted.fit == whole.adapted.fit
    for name, tensor in whole.adapted.backbone.module.state_dict().items():
        assert torch.equal(again.adapted.backbone.module.state_dict()[name], tensor), name


def test_a_finished_climb_fits_nothing_again(
    chgnet: Potential, labelled: Part, fits: Callable[..., Fits], tmp_path: Path
) -> None:
    fits(feature=1.4, lora=1.2, full=1.1)
    first = up(chgnet, labelled, execution=Execution(tmp_path))
    stand_in = fits()
    again = up(chgnet, labelled, execution=Execution(tmp_path, resume=True))
    assert not stand_in.calls
    assert again.record == first.record


@pytest.mark.parametrize("error", [RunError("a worker died"), DataError("a step takes 99 GiB")])
def test_a_rung_that_fails_is_passed_over(
    chgnet: Potential, labelled: Part, fits: Callable[..., Fits], error: Exception
) -> None:
    fits(feature=1.4, lora=error, full=1.1)
    record = up(chgnet, labelled).record
    assert verdicts(record) | {"lora": "failed", "full": "kept"} == verdicts(record)
    assert record.rungs[3].why == error.args[0]


def test_where_no_rung_could_be_fitted_the_run_fails(
    chgnet: Potential, labelled: Part, fits: Callable[..., Fits]
) -> None:
    error = RunError("a worker died")
    fits(feature=error, lora=error, full=error)
    with pytest.raises(RunError, match="no rung could be fitted; full: a worker died"):
        up(chgnet, labelled)


def test_a_loss_that_cannot_act_skips_the_cached_rung(
    chgnet: Potential, labelled: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = Fits(lora=1.2, full=1.1)
    monkeypatch.setattr(climbing, "adapt", stand_in)
    record = up(chgnet, labelled, loss=LossSettings(kind="huber")).record
    assert record.rungs[2].why == "loss.kind=huber cannot act on cached tangents"
    assert [call["name"] for call in stand_in.calls] == ["lora", "full"]


# -------------------------------------------------------------------- options


def test_a_target_without_a_label_costs_nothing(chgnet: Potential, labelled: Part, fits: Callable[..., Fits]) -> None:
    stand_in = fits()
    options = {"ladder": LadderSettings(rungs=THREE, target={"stress": 1.0}), "loss": LossSettings(stress=0.0)}
    with pytest.raises(OptionError, match=r"ladder\.target\.stress"):
        up(chgnet, labelled, **options)
    assert not stand_in.calls


def test_both_parts_need_frames(chgnet: Potential, pairs: Dataset) -> None:
    with pytest.raises(DataError, match="4 training and 0 validation frames"):
        climb(chgnet, pairs[:4], pairs[:0])


def test_a_record_keeps_what_is_no_number() -> None:
    record = Climb(max_minutes=1, rungs=(RungResult(name="full", errors={"validation_loss": float("nan")}),))
    again = Climb.model_validate_json(to_json(record.model_dump()))
    assert again.rungs[0].loss == float("inf")


def test_frames_that_weigh_nothing_move_no_reference(
    fits: Callable[..., Fits], chgnet: Potential, labelled: Part
) -> None:
    train, validation = labelled
    bad = train.map(lambda s: s.with_labels(energy=s.labels["energy"] + 40.0).with_tags(kind="bad"))
    both = Dataset((*train, *bad))
    stand_in = fits(feature=0.5)
    loss = LossSettings(groups={"kind=bad": 0.0})
    climb(chgnet, both, validation, ladder=LadderSettings(rungs=("feature",)), loss=loss, fit=MINUTES)
    references = stand_in.calls[0]["settings"].references
    assert references.shift_eV == pytest.approx(dict.fromkeys(train.elements(), 1.0), abs=1e-5)
