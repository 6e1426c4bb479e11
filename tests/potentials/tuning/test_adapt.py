"""Adaptation: it starts as its parent, leaves the parent alone, and ignores no option."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from matgraft.core.errors import DataError, OptionError, StepZeroError
from matgraft.core.model import Backbone
from matgraft.core.training import loop as fitting
from matgraft.core.training.execution import Execution
from matgraft.core.training.objective import FitResult
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import Feature, Full, ParamGroup, Partial
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.tuning import adapt as adapting
from matgraft.potentials.tuning import step_zero
from matgraft.potentials.tuning.adapt import adapt
from matgraft.potentials.tuning.climb import climb
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.objectives import FrameObjective
from matgraft.potentials.tuning.references import ReferenceShift, given_references, keep_references
from matgraft.potentials.tuning.settings import Precomputed, TuneSettings
from matgraft.potentials.tuning.tangents import Directions, TangentObjective


class Call(NamedTuple):
    """What `adapt` asked of `fit`."""

    objective: Any
    module: nn.Module
    groups: Sequence[ParamGroup]
    settings: FitSettings
    execution: Execution
    options: dict[str, Any]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Put a fit that trains nothing in place, and note how it is called."""
    noted: list[Call] = []

    def note(
        objective: Any, module: nn.Module, groups: Any, settings: FitSettings, execution: Execution, **options: Any
    ) -> FitResult:
        noted.append(Call(objective, module, groups, settings, execution, options))
        return FitResult([], 0, 0.0, "noted", 0, 0.0, 0.0, 1)

    monkeypatch.setattr(adapting, "fit", note)
    return noted


# ------------------------------------------------------------------- step 0


class Broken(Full):
    """A preparation that changes what the model says."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def prepare(self, backbone: Backbone, *, seed: int = 0) -> list[ParamGroup]:
        groups = super().prepare(backbone, seed=seed)
        assert isinstance(backbone, Potential)
        last = list(backbone.head.parameters())[-1]
        with torch.no_grad():
            match self.what:
                case "head":
                    nn.init.normal_(next(iter(backbone.head.parameters())))
                case "offset":
                    last += 1e-3
                case "references":
                    backbone.references.data[13] += 1e-3
                case "nan":
                    last.fill_(torch.nan)
        return groups


@pytest.mark.parametrize("what", ["head", "offset", "references", "nan"])
def test_a_preparation_that_changes_the_model_stops_the_run(
    chgnet: Potential, pairs: Dataset, calls: list[Call], what: str
) -> None:
    with pytest.raises(StepZeroError, match=r"before the first step the model differs from chgnet:0\.3\.0"):
        adapt(chgnet, pairs[:3], pairs[3:], strategy=Broken(what))
    assert not calls


def test_a_change_of_the_forces_alone_is_seen(
    chgnet: Potential, pairs: Dataset, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = step_zero.predict_samples

    def bent(model: Potential, *arguments: Any, **options: Any) -> Any:
        found = real(model, *arguments, **options)
        if model is not chgnet:
            found[-1]["forces"] = found[-1]["forces"] + 2e-3
        return found

    monkeypatch.setattr(step_zero, "predict_samples", bent)
    with pytest.raises(StepZeroError, match=r"0\.002 eV/Å"):
        adapt(chgnet, pairs[:3], pairs[3:])


def test_step_zero_is_reported(chgnet: Potential, pairs: Dataset, calls: list[Call]) -> None:
    found = adapt(chgnet, pairs[:5], pairs[5:]).step_zero
    assert found.max_energy_difference_eV_per_atom < 1e-5
    assert found.max_force_difference_eV_per_A < 1e-5
    assert found.n_frames == 5


# --------------------------------------------------------- parent, references


@pytest.mark.parametrize("strategy", ["full", "feature"])
def test_the_parent_is_untouched(chgnet: Potential, pairs: Dataset, tmp_path: Path, strategy: str) -> None:
    parent = copy.deepcopy(chgnet)
    for parameter in parent.head.parameters():
        parameter.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in parent.module.state_dict().items()}
    flags = {name: parameter.requires_grad for name, parameter in parent.module.named_parameters()}
    result = adapt(
        parent, pairs[:2], pairs[2:3], strategy=strategy, execution=Execution(tmp_path), epochs=1, processes=1
    )
    assert all(torch.equal(tensor, state[name]) for name, tensor in parent.module.state_dict().items())
    assert {name: parameter.requires_grad for name, parameter in parent.module.named_parameters()} == flags
    assert all(parameter.grad is None for parameter in parent.module.parameters())
    assert parent.card == chgnet.card
    tuned = result.backbone.module.state_dict()
    assert any(not torch.equal(tuned[name], tensor) for name, tensor in state.items())
    assert result.total == sum(parameter.numel() for parameter in parent.module.parameters())


def test_references_are_refitted_on_residuals_by_default(chgnet: Potential, pairs: Dataset, calls: list[Call]) -> None:
    """Frames labelled by the foundation itself, plus a planted shift: it comes back, and the energies agree."""
    planted = {"Si": -130.0, "Ge": 2.5}
    predictions = predict_samples(chgnet, pairs.samples)
    labelled = Dataset(
        tuple(
            sample.with_labels(energy=p["energy"] + sum(planted[s] for s in sample.content.symbols))
            for sample, p in zip(pairs, predictions, strict=True)
        )
    )
    result = adapt(chgnet, labelled[:4], labelled[4:])
    assert result.references.shift_eV == pytest.approx(planted, abs=1e-5)
    for sample, prediction in zip(labelled, predict_samples(result.backbone, labelled.samples), strict=True):
        assert float(prediction["energy"]) == pytest.approx(float(sample.labels["energy"]), abs=1e-4)


def test_predictions_at_hand_are_taken(chgnet: Potential, pairs: Dataset, calls: list[Call]) -> None:
    known = [{"energy": sample.labels["energy"] - 2.0} for sample in pairs[:4]]
    result = adapt(chgnet, pairs[:4], pairs[4:], precomputed=Precomputed(on_train=known))
    assert result.references.shift_eV == pytest.approx({"Si": 1.0, "Ge": 1.0})


@pytest.mark.parametrize("mode", ["given", "keep"])
def test_references_given_or_kept(chgnet: Potential, pairs: Dataset, calls: list[Call], mode: str) -> None:
    references = given_references({"Ge": 7.0}, pairs) if mode == "given" else keep_references(pairs)
    result = adapt(chgnet, pairs[:4], pairs[4:], references=references)
    assert result.references is references
    moved = (result.backbone.references - chgnet.references).detach()
    expected = torch.zeros_like(moved)
    expected[31] = 7.0 if mode == "given" else 0.0
    torch.testing.assert_close(moved, expected)


def test_without_energies_the_references_are_kept(chgnet: Potential, pairs: Dataset, calls: list[Call]) -> None:
    forces = pairs.map(lambda s: Sample(s.content, {"forces": s.labels["forces"]}))
    assert adapt(chgnet, forces[:4], forces[4:]).references.mode == "keep"


def test_frames_that_weigh_nothing_move_no_reference(chgnet: Potential, pairs: Dataset, calls: list[Call]) -> None:
    known = predict_samples(chgnet, pairs.samples, ("energy",))
    samples = [s.with_labels(energy=p["energy"]).with_tags(kind="good") for s, p in zip(pairs, known, strict=True)]
    bad = [s.with_labels(energy=s.labels["energy"] + 40.0).with_tags(kind="bad") for s in samples]
    train = Dataset((*samples, *bad))
    result = adapt(chgnet, train, pairs[:1], loss=LossSettings(groups={"kind=bad": 0.0}))
    assert isinstance(result.references, ReferenceShift)
    assert result.references.shift_eV == pytest.approx(dict.fromkeys(train.elements(), 0), abs=1e-6)


def test_a_stress_without_a_volume_is_refused_before_any_work(
    chgnet: Potential, pairs: Dataset, calls: list[Call]
) -> None:
    flat = pairs[0].content.copy()
    flat.set_cell(np.vstack([flat.cell[:2], np.zeros(3)]))
    sheet = Sample(flat, pairs[0].labels | {"stress": np.zeros((3, 3))}, file="a.xyz", index=7)
    whole = pairs.map(lambda s: s.with_labels(stress=np.zeros((3, 3))))
    for train, validation in ((Dataset((*whole, sheet)), whole), (whole, Dataset((sheet,)))):
        for fit in (adapt, climb):
            with pytest.raises(DataError, match=r"a.xyz frame 7: the frame has a stress label, but no cell"):
                fit(chgnet, train, validation)
    assert not calls


def test_a_slab_in_a_full_cell_keeps_its_stress_label(chgnet: Potential, pairs: Dataset) -> None:
    """Periodic in two directions: the fit has a loss for the stress, and it is a number."""

    def open_up(sample: Sample) -> Sample:
        atoms = sample.content.copy()
        atoms.pbc = [True, True, False]
        return Sample(atoms, sample.labels | {"stress": np.zeros((3, 3))})

    slabs = pairs.map(open_up)
    for strategy in ("full", "feature"):
        result = adapt(chgnet, slabs[:2], slabs[2:4], strategy=strategy, epochs=1, processes=1)
        assert np.isfinite(result.fit.history[-1]["validation_stress_rmse_GPa"])


# ------------------------------------------------------------------ options


def test_every_option_reaches_the_fit(chgnet: Potential, pairs: Dataset, calls: list[Call], tmp_path: Path) -> None:
    settings = FitSettings(rate=0.5, batch=3)
    loss = LossSettings(l2=0.25, energy=7.0, stress=0.0, groups={"kind=hot": 3.0})
    execution = Execution(tmp_path, seed=9, resume=True, quiet=False)
    tuning = TuneSettings(loss=loss, fit=settings)
    result = adapt(chgnet, pairs[3:], pairs[:3], settings=tuning, execution=execution, max_minutes=5, rate=0.1)
    (call,) = calls
    assert (call.settings.rate, call.settings.batch, call.settings.max_minutes) == (0.1, 3, 5)
    assert (result.settings, result.loss) == (call.settings, loss)
    assert call.execution == replace(execution, title="full")
    assert call.options == {"l2": 0.25, "keep": "sound", "spent": 0.0}
    assert isinstance(call.objective, FrameObjective)
    assert call.objective.weights == {"energy": 7.0, "forces": 1.0}
    assert [sample.weight for sample in call.objective.train] == [1.0, 3.0, 3.0]
    assert [sample.weight for sample in call.objective.held_out] == [1.0] * 3  # groups that no such frame belongs to
    assert call.settings.max_edges is not None
    assert call.module is result.backbone.module


def test_the_feature_strategy_trains_on_tangents(chgnet: Potential, pairs: Dataset, calls: list[Call]) -> None:
    # The same frame in both parts: its directions must differ.
    adapt(chgnet, pairs[:1], pairs[:1], strategy="feature", loss=LossSettings(groups={"kind=cold": 2.0}))
    (call,) = calls
    assert isinstance(call.objective, TangentObjective)
    assert [len(call.objective.training), len(call.objective.validation)] == [1, 1]
    assert call.objective.training[0].tangents.shape == (24 + 4, 2, 64)
    assert not np.array_equal(call.objective.training[0].slopes, call.objective.validation[0].slopes)
    assert [one.weight for one in (*call.objective.training, *call.objective.validation)] == [2.0, 2.0]
    assert call.settings.max_edges is None
    assert call.execution.title == "feature"


def test_a_strategy_may_be_an_object(chgnet: Potential, pairs: Dataset, calls: list[Call]) -> None:
    loss = LossSettings(forces=0, stress=0)
    made, named = (adapt(chgnet, pairs[:1], pairs[1:2], strategy=s, loss=loss) for s in (Feature(), "feature"))
    assert made.trained == named.trained == sum(p.numel() for p in chgnet.head.parameters())
    assert [call.execution.title for call in calls] == ["feature", "feature"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "unknown option 'epoch'\nremedy: did you mean 'epochs'"),
        ({"lr": 1e-3}, "unknown option 'lr'\nremedy: did you mean 'rate'"),
        ({"strategy": "ful"}, "did you mean 'full'"),
        ({"strategy": Partial(["readuot"])}, "did you mean 'readout'"),
        ({"loss": LossSettings(groups={"kind=warm": 2.0})}, "no training frame .of 1. has 'kind=warm'"),
        (
            {"loss": LossSettings(groups={"kind=hot": 2.0}), "validation": 4},
            "no training frame .of 1. has 'kind=hot'; it is in 1 of 1 validation frames",
        ),
    ],
)
def test_options_that_name_nothing(
    chgnet: Potential, pairs: Dataset, calls: list[Call], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        adapt(chgnet, pairs[:1], pairs[[options.pop("validation", 1)]], **options)
    assert not calls


def test_nothing_is_cached_for_a_loss_that_cannot_act(
    chgnet: Potential, pairs: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "cache_tangents", lambda *_, **__: pytest.fail("cached for minutes"))
    with pytest.raises(OptionError, match="huber cannot act"):
        adapt(chgnet, pairs[:1], pairs[1:2], strategy="feature", loss=LossSettings(kind="huber"))


@pytest.mark.parametrize("sizes", [(0, 2), (2, 0)])
def test_both_parts_need_frames(chgnet: Potential, pairs: Dataset, sizes: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=f"{sizes[0]} training and {sizes[1]} validation frames"):
        adapt(chgnet, pairs[: sizes[0]], pairs[: sizes[1]])


def bare(sample: Sample, *names: str) -> Sample:
    """Return the frame with some labels alone."""
    return Sample(sample.content, {n: sample.labels[n] for n in names}, sample.tags, sample.weight, sample.file, 7)


@pytest.mark.parametrize("strategy", ["full", "feature", "replay"])
@pytest.mark.parametrize(
    ("change", "loss", "present"),
    [
        (bare, LossSettings(), "no label"),
        (lambda s: bare(s, "forces"), LossSettings(forces=0), "forces"),
        (lambda s: s, LossSettings(groups={"kind=hot": 0.0}), "energy, forces, stress"),
        (lambda s: s.weighing(0.0), LossSettings(), "energy, forces, stress"),
    ],
    ids=["no label", "none that is weighed", "a group of no weight", "frames of no weight"],
)
def test_a_validation_part_that_judges_nothing_is_refused_before_any_work(
    chgnet: Potential,
    pairs: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    change: Any,
    loss: LossSettings,
    present: str,
) -> None:
    """A loss of nothing would be 0, and the first epoch the best."""
    for name in ("encode_all", "replay_frames", "cache_tangents", "fit"):
        monkeypatch.setattr(adapting, name, lambda *_, **__: pytest.fail("worked"))
    train, validation = pairs[2:5], pairs[4:].map(change)  # a hot frame is among those for training
    message = f"none of the 2 validation frames has a weight above 0 and a label for energy.*they have {present}"
    with pytest.raises(DataError, match=message) as error:
        adapt(chgnet, train, validation, strategy=strategy, loss=loss)
    assert error.value.where == validation[0].where
    assert "keys.energy" in error.value.remedy


@pytest.mark.parametrize("strategy", ["full", "feature"])
def test_validation_frames_whose_labels_are_not_trained_judge_nothing(
    chgnet: Potential, pairs: Dataset, strategy: str
) -> None:
    """Training frames with forces have no weight, and the others have energies: no force counts in the loss."""
    train = pairs[:4].map(lambda s: bare(s, "forces").weighing(0.0) if s.index < 2 else bare(s, "energy"))
    validation = pairs[4:].map(lambda s: bare(s, "forces"))
    with pytest.raises(DataError, match=r"none of the 2 validation frames has .* a label for energy, which"):
        adapt(chgnet, train, validation, strategy=strategy, epochs=1, processes=1)


def test_each_head_needs_validation_frames_that_judge(chgnet: Potential, pairs: Dataset) -> None:
    heads = pairs.map(lambda s: s.with_tags(head=s.tags["kind"]))
    validation = heads[[0, 4]].map(lambda s: bare(s) if s.tags["head"] == "hot" else s)
    with pytest.raises(DataError, match="none of the 1 validation frames of head hot has a weight above 0"):
        adapt(chgnet, heads[[1, 2, 5]], validation, strategy="multihead")


def test_training_frames_of_no_weight_are_refused(chgnet: Potential, pairs: Dataset) -> None:
    with pytest.raises(DataError, match="none of the 2 training frames has a weight above 0"):
        adapt(chgnet, pairs[:2], pairs[2:3], loss=LossSettings(groups={"kind=cold": 0.0}))


# -------------------------------------------------------------- the whole way


@pytest.mark.parametrize("strategy", ["full", "feature"])
def test_groups_weigh_the_criterion_as_they_weigh_the_training(
    chgnet: Potential, pairs: Dataset, strategy: str
) -> None:
    """A group of weight 0 has no say in which step is the best."""
    loss = LossSettings(forces=0, stress=0, groups={"kind=hot": 0.0})
    options: dict[str, Any] = {"strategy": strategy, "loss": loss, "epochs": 1, "processes": 1, "batch": 3}
    known = predict_samples(chgnet, pairs.samples, ("energy",))
    frames = Dataset(
        tuple(
            s.with_labels(energy=p["energy"] + (20.0 if s.tags["kind"] == "hot" else 0.02))
            for s, p in zip(pairs, known, strict=True)
        )
    )
    found = adapt(chgnet, frames[1:5], frames[[0, 5]], references=keep_references(frames), **options)
    start = found.fit.history[0]
    assert start["step"] == 0
    # Three of four training frames have a weight, and each validation frame with one is off by 0.01 eV/atom.
    energy_weight = found.loss.weights(frames)["energy"]
    assert start["validation_loss"] == pytest.approx(energy_weight * 0.75 * 0.01**2, rel=1e-2)


@pytest.mark.parametrize("strategy", ["full", "feature", "lora", "gradual"])
def test_a_fit_that_helps_nothing_gives_the_shifted_foundation_back(
    chgnet: Potential, pairs: Dataset, strategy: str
) -> None:
    """The validation frames are what the foundation says already; the training frames pull it away from there."""
    known = predict_samples(chgnet, pairs.samples)
    same = Dataset(tuple(s.with_labels(**p) for s, p in zip(pairs, known, strict=True)))
    options: dict[str, Any] = {"strategy": strategy, "epochs": 2, "processes": 1, "batch": 2}
    found = adapt(chgnet, pairs[:3], same[3:5], references=keep_references(pairs), **options)
    assert found.fit.best_step == 0
    assert [row["step"] for row in found.fit.history] == [0, 2, 4]
    for old, new in zip(known, predict_samples(found.backbone, pairs.samples), strict=True):
        assert all(np.allclose(new[name], old[name], atol=1e-5) for name in old)


def test_the_cache_is_part_of_the_minutes(
    chgnet: Potential, pairs: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of 60 s the cache takes 25, and the fit the rest, however long its steps are."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(adapting, "time", clock)
    monkeypatch.setattr(fitting, "time", clock)
    caching, losses = adapting.cache_tangents, TangentObjective.losses

    def cached(*arguments: Any, **options: Any) -> Any:
        clock.now += 12.5  # once for each part
        return caching(*arguments, **options)

    def passed(*arguments: Any) -> Any:
        clock.now += 0.5
        return losses(*arguments)

    monkeypatch.setattr(adapting, "affordable", lambda *_: (Directions(2, 1), 0.0))
    monkeypatch.setattr(adapting, "cache_tangents", cached)
    monkeypatch.setattr(TangentObjective, "losses", passed)
    options: dict[str, Any] = {"max_minutes": 1.0, "epochs": 1000, "patience": 1000}
    found = adapt(chgnet, pairs[:2], pairs[2:3], strategy="feature", execution=Execution(tmp_path), **options)
    assert 57.0 <= clock.now <= 60.0
    assert found.fit.seconds == pytest.approx(clock.now)
    assert found.fit.stopped == "the plan was done"


def test_tuning_lowers_the_validation_loss(chgnet: Potential, sige: Dataset) -> None:
    frames = sige[np.linspace(0, len(sige) - 1, 3).astype(int)]
    result = adapt(chgnet, frames, frames[:2], epochs=6, processes=1, batch=1, rate=3e-4)
    losses = [row["validation_loss"] for row in result.fit.history]
    assert min(losses) < 0.8 * losses[1] < losses[0]
    assert result.fit.best_value == min(losses)


def test_the_tuned_model_is_the_best_snapshot_and_resuming_gives_it_again(
    chgnet: Potential, pairs: Dataset, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"strategy": "feature", "epochs": 3}
    options["loss"] = LossSettings(forces=0, stress=0)  # no tangents to cache
    tuned = adapt(chgnet, pairs[:2], pairs[2:3], execution=Execution(tmp_path), **options)
    goes_on = Execution(tmp_path, resume=True)
    again = adapt(chgnet, pairs[:2], pairs[2:3], execution=goes_on, batch=2, **options)
    assert again.settings == tuned.settings  # it goes on with the batches that it began with, and says so
    for name, tensor in tuned.backbone.module.state_dict().items():
        assert torch.equal(again.backbone.module.state_dict()[name], tensor), name
    assert again.fit.history == tuned.fit.history
