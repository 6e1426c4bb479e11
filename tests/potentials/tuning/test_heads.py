"""Several heads on one body: each starts as the foundation, learns its own labels, and leaves as a plain model."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from matgraft.core.errors import DataError, OptionError, StepZeroError
from matgraft.core.quantities import Array
from matgraft.core.registry import save_folder
from matgraft.core.training import checkpoint
from matgraft.core.training.execution import Execution
from matgraft.core.training.objective import FitResult
from matgraft.core.training.strategy import Full, MultiHead
from matgraft.foundations import load_folder
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.exports import verify_export
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.models.pseudolabels import made_frames
from matgraft.potentials.tuning import adapt as adapting
from matgraft.potentials.tuning.adapt import adapt, shift_references
from matgraft.potentials.tuning.heads import MultiHeadPotential
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.objectives import FrameObjective
from matgraft.potentials.tuning.references import HeadShifts, keep_references
from matgraft.potentials.tuning.replay import ReplayObjective, ReplaySettings, share_out, shifted_labels
from matgraft.potentials.tuning.step_zero import check_replay

SHIFTS = {"soft": {"Si": -130.0, "Ge": 2.5}, "stiff": {"Si": 0.5, "Ge": -40.0}}
SLOPES = {"soft": 0.8, "stiff": 1.3}
"""Of labels on the foundation's predictions: two levels of theory that no single readout can follow."""


@pytest.fixture(scope="module")
def contradictory(chgnet: Potential, pairs: Dataset) -> Dataset:
    """The same six structures under two heads, whose labels have other slopes and other references."""
    known = predict_samples(chgnet, pairs.samples)
    mean = np.mean([one["energy"] for one in known])
    parts = []
    for head in SLOPES:
        labelled = []
        for sample, one in zip(pairs, known, strict=True):
            shift = sum(SHIFTS[head][symbol] for symbol in sample.content.symbols)
            energy = mean + SLOPES[head] * (one["energy"] - mean) + shift
            labels = {"energy": energy, "forces": SLOPES[head] * one["forces"]}
            labelled.append(replace(sample, labels=labels).with_tags(head=head))
        parts.append(Dataset(tuple(labelled)))
    return concatenate(parts)


@pytest.fixture
def many(chgnet: Potential) -> MultiHeadPotential:
    return MultiHeadPotential(copy.deepcopy(chgnet), ["soft", "stiff"])


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a fit that trains nothing in place."""
    monkeypatch.setattr(adapting, "fit", lambda *_, **__: FitResult([], 0, 0.0, "noted", 0, 0.0, 0.0, 1))


def of_head(dataset: Dataset, head: str) -> Dataset:
    return dataset[[i for i, sample in enumerate(dataset) if sample.tags["head"] == head]]


# ------------------------------------------------------------------- step 0


@pytest.mark.usefixtures("untrained")
def test_each_head_starts_as_the_foundation_up_to_its_own_shift(chgnet: Potential, contradictory: Dataset) -> None:
    result = adapt(chgnet, contradictory, contradictory, strategy="multihead")
    assert isinstance(result.backbone, MultiHeadPotential)
    assert isinstance(result.references, HeadShifts)
    before = predict_samples(chgnet, contradictory.samples)
    after = predict_samples(result.backbone, contradictory.samples)
    for sample, old, new in zip(contradictory, before, after, strict=True):
        shift = result.references.heads[sample.tags["head"]]
        assert float(new["energy"]) == pytest.approx(old["energy"] + shift.energy(sample.content.numbers), abs=1e-4)
        np.testing.assert_allclose(new["forces"], old["forces"], atol=1e-6)
    for head, planted in SHIFTS.items():  # refitted on the residuals of its own frames; slopes leave a rest
        assert result.references.heads[head].shift_eV == pytest.approx(planted, abs=0.5)
        assert result.references.heads[head].n_frames == 6
    assert result.step_zero.n_frames == 12
    assert result.step_zero.max_energy_difference_eV_per_atom < 1e-5


@pytest.mark.parametrize("number", [0, 1])
def test_a_head_that_does_not_start_as_the_foundation_stops_the_run(
    chgnet: Potential, contradictory: Dataset, number: int
) -> None:
    class Broken(MultiHead):
        def prepare(self, backbone: Any, *, seed: int = 0) -> Any:
            list(backbone.module["readouts"][number].parameters())[-1].data += 1e-3
            return super().prepare(backbone, seed=seed)

    with pytest.raises(StepZeroError):
        adapt(chgnet, contradictory, contradictory, strategy=Broken())


@pytest.mark.usefixtures("untrained")
def test_a_head_without_energies_keeps_its_references(chgnet: Potential, contradictory: Dataset) -> None:
    mixed = contradictory.map(
        lambda s: replace(s, labels={"forces": s.labels["forces"]}) if s.tags["head"] == "soft" else s
    )
    found = adapt(chgnet, mixed, mixed, strategy="multihead").references
    assert isinstance(found, HeadShifts)
    assert [shift.mode for shift in found.heads.values()] == ["keep", "refit"]


def test_references_are_one_shift_a_head(many: MultiHeadPotential, chgnet: Potential, pairs: Dataset) -> None:
    shift = keep_references(pairs)
    for model, references in ((many, shift), (many, HeadShifts(heads={"soft": shift}))):
        with pytest.raises(OptionError, match="allowed: soft, stiff"):
            shift_references(model, references)
    with pytest.raises(OptionError, match="one ReferenceShift"):
        shift_references(chgnet, HeadShifts(heads={"soft": shift, "stiff": shift}))


# ----------------------------------------------------------------- learning


def test_stages_are_the_foundations_with_all_readouts_in_the_last(many: MultiHeadPotential, chgnet: Potential) -> None:
    stages = many.stages()
    assert [stage.name for stage in stages] == [stage.name for stage in chgnet.stages()]
    for stage in stages:
        for name, parameter in stage.parameters().items():
            assert many.module.get_parameter(name) is parameter
    head = {id(parameter) for parameter in many.head.parameters()}
    assert head == {id(parameter) for parameter in stages[-1].parameters().values()}
    assert len(head) == 2 * len(list(chgnet.head.parameters()))
    rates = {group.name: group.rate_factor for group in MultiHead(decay=0.5).learning(many)}
    assert (rates["readout"], rates["interaction-4"]) == (1.0, 0.5)


def test_a_head_without_frames_gets_no_gradient_and_the_body_does(
    many: MultiHeadPotential, contradictory: Dataset
) -> None:
    """Three frames of `soft` alone, then of both heads in one batch."""
    MultiHead().prepare(many)
    encoded = encode_all(many, contradictory.samples)
    objective = FrameObjective(many, contradictory, contradictory, LossSettings(), encoded, encoded)
    for positions, learning in (([0, 1, 2], [True, False]), ([0, 6, 7], [True, True])):
        many.module.zero_grad()
        objective.losses(positions, torch.device("cpu")).sum().backward()
        reached = [_has_gradient(readout) for readout in many.module["readouts"]]
        assert reached == learning
        assert all(_has_gradient(stage.modules[path]) for stage in many.stages()[:-1] for path in stage.modules)
    assert not _has_gradient(many.base.head)  # the foundation's own readout stands by


def _has_gradient(module: torch.nn.Module) -> bool:
    return any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters())


def test_frames_of_one_batch_go_to_their_own_heads(many: MultiHeadPotential, contradictory: Dataset) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in many.head.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    many.references_at("stiff")[13] -= 7.0
    together = predict_samples(many, contradictory.samples)
    for head in many.names:
        alone = predict_samples(many.at(head), contradictory.samples)  # in the same company, so that all rounds alike
        own = [i for i, sample in enumerate(contradictory) if sample.tags["head"] == head]
        for ours, plain in ((together[i], alone[i]) for i in own):
            for name in ("energy", "forces", "stress"):
                np.testing.assert_allclose(ours[name], plain[name], atol=1e-5)
    energies = [float(one["energy"]) for one in together]
    assert min(abs(a - b) for a, b in zip(energies[:6], energies[6:], strict=True)) > 0.1


def test_contradictory_heads_are_both_fitted_better_than_by_one(chgnet: Potential, contradictory: Dataset) -> None:
    frames = contradictory[[0, 2, 4, 6, 8, 10]]
    errors = {}
    for strategy in ("full", "multihead"):
        tuned = adapt(chgnet, frames, frames, strategy=strategy, epochs=8, batch=3, rate=3e-3, processes=1).backbone
        found = predict_samples(tuned, frames.samples)
        for head in SLOPES:
            chosen = [(one, s.labels) for one, s in zip(found, frames, strict=True) if s.tags["head"] == head]
            for name in ("energy", "forces"):
                off = np.concatenate([np.ravel(one[name] - labels[name]) for one, labels in chosen])
                errors[strategy, head, name] = float(np.sqrt(np.mean(off**2)))
    for head in SLOPES:
        assert errors["multihead", head, "energy"] < 0.01 * errors["full", head, "energy"]
        assert errors["multihead", head, "forces"] < 0.9 * errors["full", head, "forces"]


def test_each_head_rehearses_a_like_share_of_the_foundations_labels(chgnet: Potential) -> None:
    frames = made_frames(chgnet, ["Si", "Ge"], 24)
    dealt = share_out(frames, ["soft", "stiff"])
    assert {s.where for s in dealt} == {s.where for s in frames} and len(dealt) == len(frames)
    for tag in ("chemistry", "config_type"):
        shares = [Counter(of_head(dealt, head).tag(tag)) for head in SLOPES]
        assert all(abs(shares[0][value] - shares[1][value]) <= 2 for value in shares[0] | shares[1]), shares
    with pytest.raises(OptionError, match="1 replay frames for 2 heads\nallowed: 2 or more"):
        share_out(frames[:1], ["soft", "stiff"])


def test_every_head_keeps_more_of_the_foundation_where_it_rehearses(
    chgnet: Potential, contradictory: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On structures that are not rehearsed. Before the first step the labels are each head's, or the run stops."""
    # The trained weights, also where the start is better: it has forgotten nothing.
    fit = adapting.fit
    monkeypatch.setattr(adapting, "fit", lambda *given, **options: fit(*given, **{**options, "keep": "best"}))
    held_out = made_frames(chgnet, ["Si", "Ge"], 12, seed=5)
    train, validation = contradictory[[0, 1, 2, 3, 6, 7, 8, 9]], contradictory[[4, 5, 10, 11]]
    changes = []
    for weight in (1e-3, 10.0):
        options: dict[str, Any] = {"strategy": "multihead", "loss": LossSettings(forces=0, stress=0), "processes": 1}
        options |= {"epochs": 12, "validate_every": 12, "batch": 20, "rate": 1e-3, "ema": 0}
        result = adapt(chgnet, train, validation, replay=ReplaySettings(size=12, weight=weight), **options)
        assert isinstance(result.backbone, MultiHeadPotential)
        assert isinstance(result.references, HeadShifts)
        changes.append(
            [
                energy_change(
                    shifted_labels(held_out, shift), predict_samples(result.backbone.at(head), held_out.samples)
                )
                for head, shift in result.references.heads.items()
            ]
        )
    assert all(kept < 0.6 * lost for lost, kept in zip(*changes, strict=True)), changes


def energy_change(expected: Dataset, found: Sequence[Mapping[str, Array]]) -> float:
    """RMSE of the energies an atom, eV."""
    errors = [float(p["energy"] - s.labels["energy"]) / s.n_atoms for s, p in zip(expected, found, strict=True)]
    return float(np.sqrt(np.mean(np.square(errors))))


def test_a_broken_fit_resumes_to_the_same_heads(
    chgnet: Potential, contradictory: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = contradictory[[0, 1, 6, 7]]
    options: dict[str, Any] = {"strategy": "multihead", "epochs": 2, "batch": 2, "processes": 1}
    whole = adapt(chgnet, frames, frames, execution=Execution(tmp_path / "whole"), **options)
    real = checkpoint.save

    def save_once(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save_once)
    with pytest.raises(KeyboardInterrupt):
        adapt(chgnet, frames, frames, execution=Execution(tmp_path / "broken"), **options)
    monkeypatch.undo()
    again = adapt(chgnet, frames, frames, execution=Execution(tmp_path / "broken", resume=True), **options)
    assert len(again.fit.history) == 3
    for name, tensor in whole.backbone.module.state_dict().items():
        assert torch.equal(again.backbone.module.state_dict()[name], tensor), name


def test_two_processes_take_the_steps_of_one(chgnet: Potential, contradictory: Dataset) -> None:
    frames = contradictory[[0, 6]]  # one frame of one head for each process
    options: dict[str, Any] = {"strategy": "multihead", "epochs": 1, "batch": 2, "rate": 1e-4}
    alone, together = (adapt(chgnet, frames, frames, processes=n, **options) for n in (1, 2))
    assert together.fit.processes == 2
    for ours, theirs in zip(together.fit.history, alone.fit.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)
        assert ours["validation_loss"] == pytest.approx(theirs["validation_loss"], rel=1e-3)


@pytest.mark.usefixtures("untrained")
def test_small_heads_can_weigh_more(chgnet: Potential, contradictory: Dataset) -> None:
    loss = LossSettings(groups={"head=stiff": 3.0})
    assert adapt(chgnet, contradictory, contradictory, strategy="multihead", loss=loss).loss == loss
    with pytest.raises(OptionError, match="did you mean 'head=stiff'"):
        adapt(chgnet, contradictory, contradictory, strategy="multihead", loss=LossSettings(groups={"head=stif": 3.0}))


def test_every_head_needs_training_and_validation(chgnet: Potential, contradictory: Dataset, pairs: Dataset) -> None:
    for train, validation in ((contradictory, contradictory[:6]), (contradictory[:7], contradictory)):
        if len(train) == 12:
            with pytest.raises(DataError, match=r"stiff \(6 training, 0 validation\)(.|\n)*cut trajectories"):
                adapt(chgnet, train, validation, strategy="multihead")
    with pytest.raises(OptionError, match="two or more different names"):
        adapt(chgnet, contradictory[:6], contradictory[:6], strategy="multihead", foundation_head=False)
    with pytest.raises(DataError, match="belongs to no head"):
        adapt(chgnet, pairs, pairs, strategy="multihead")


# --------------------------------------------------- the foundation's own head


@pytest.mark.parametrize(
    ("heads", "options", "names"),
    [
        (["soft"], {"strategy": "multihead"}, ("soft", "foundation")),
        (["soft"], {"strategy": "lora", "heads": True}, ("soft", "foundation")),
        (["soft", "stiff"], {"strategy": "full", "foundation_head": True}, ("soft", "stiff", "foundation")),
    ],
)
def test_the_foundations_own_head_starts_as_the_foundation_and_rehearses_alone(
    chgnet: Potential,
    contradictory: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    heads: list[str],
    options: dict[str, Any],
    names: tuple[str, ...],
) -> None:
    history = [{"step": 0, "replay_loss": 0.0}]
    monkeypatch.setattr(adapting, "fit", lambda *_, **__: FitResult(history, 0, 0.0, "noted", 0, 0.0, 0.0, 1))
    objectives: list[ReplayObjective] = []
    monkeypatch.setattr(adapting, "check_replay", lambda one: objectives.append(one) or check_replay(one))
    frames = concatenate([of_head(contradictory, head) for head in heads])
    result = adapt(chgnet, frames, frames, replay=ReplaySettings(size=4), **options)
    model, references = result.backbone, result.references
    assert isinstance(model, MultiHeadPotential) and isinstance(references, HeadShifts)
    assert model.names == names and result.replay is not None
    assert (result.replay.heads, result.replay.labels) == (("foundation",), "foundation")
    assert result.replay.loss_at_start < 1e-6
    assert set(objectives[0].train[len(frames) :].tag("head")) == {"foundation"}
    assert references.heads["foundation"].mode == "keep"
    assert result.step_zero.n_frames == len(frames) + min(8, len(frames))
    plain = model.at("foundation")
    assert torch.equal(plain.references, chgnet.references)
    for ours, theirs in zip(
        predict_samples(plain, frames.samples), predict_samples(chgnet, frames.samples), strict=True
    ):
        assert float(ours["energy"]) == pytest.approx(float(theirs["energy"]), abs=1e-5)


def test_a_head_of_the_foundation_that_does_not_start_as_it_stops_the_run(
    chgnet: Potential, contradictory: Dataset
) -> None:
    class Broken(MultiHead):
        def prepare(self, backbone: Any, *, seed: int = 0) -> Any:
            list(backbone.module["readouts"][1].parameters())[-1].data += 1e-3
            return super().prepare(backbone, seed=seed)

    frames = of_head(contradictory, "soft")
    with pytest.raises(StepZeroError):
        adapt(chgnet, frames, frames, strategy=Broken(), replay=ReplaySettings(size=4))


def test_replay_keeps_the_foundations_own_head(
    chgnet: Potential, contradictory: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights after a few steps toward other labels, on structures that are not rehearsed."""
    fit = adapting.fit
    monkeypatch.setattr(adapting, "fit", lambda *given, **options: fit(*given, **{**options, "keep": "best"}))
    frames, held_out = of_head(contradictory, "stiff"), made_frames(chgnet, ["Si", "Ge"], 12, seed=5)
    options: dict[str, Any] = {"loss": LossSettings(forces=0, stress=0), "processes": 1, "batch": 12, "ema": 0}
    options |= {"epochs": 8, "validate_every": 8, "rate": 1e-3}
    lost = []
    for weight in (1e-3, 10.0):
        replay = ReplaySettings(size=8, weight=weight)
        model = adapt(chgnet, frames[:5], frames[5:], strategy="multihead", replay=replay, **options).backbone
        assert isinstance(model, MultiHeadPotential)
        lost.append(energy_change(held_out, predict_samples(model.at("foundation"), held_out.samples)))
    assert 0 < lost[1] < 0.6 * lost[0], lost


# -------------------------------------------------------------- plain models


def test_a_head_as_a_plain_model_survives_the_vendors_file(
    chgnet: Potential, contradictory: Dataset, tmp_path: Path
) -> None:
    parent = {name: tensor.clone() for name, tensor in chgnet.module.state_dict().items()}
    tuned = adapt(chgnet, contradictory, contradictory, strategy="multihead", epochs=1, rate=1e-3, processes=1)
    assert all(torch.equal(tensor, parent[name]) for name, tensor in chgnet.module.state_dict().items())
    many = tuned.backbone
    assert isinstance(many, MultiHeadPotential)
    assert tuned.trained < tuned.total
    # One by one: in other company a frame's forces of 5 eV/Å are rounded by 1e-5.
    through_many = [predict_samples(many, [sample])[0] for sample in contradictory]
    for head in many.names:
        plain = many.at(head)
        assert type(plain) is type(chgnet)
        assert set(plain.module.state_dict()) == set(chgnet.module.state_dict())
        save_folder(plain, tmp_path / head, lambda card: card.model_copy(update={"elements": ("Si", "Ge")}))
        verify_export(plain, tmp_path / head)
        again = load_folder(tmp_path / head)
        mine = [one for one, sample in zip(through_many, contradictory, strict=True) if sample.tags["head"] == head]
        for ours, sample in zip(mine, of_head(contradictory, head), strict=True):
            (theirs,) = predict_samples(again, [sample])
            for name in ("energy", "forces", "stress"):
                np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)


def test_a_plain_model_is_a_copy(many: MultiHeadPotential) -> None:
    plain = many.at("soft")
    before = [parameter.clone() for parameter in many.module.parameters()]
    for parameter in plain.module.parameters():
        parameter.data += 1.0
    assert all(torch.equal(one, other) for one, other in zip(before, many.module.parameters(), strict=True))


@pytest.mark.parametrize(
    "act",
    [
        lambda many, path: many.save(path / "chgnet.pth.tar"),
        lambda many, path: many.vendor_calculator(path),
        lambda many, path: many.calculator_source(),
        lambda many, path: save_folder(many, path),
    ],
)
def test_no_head_is_fallen_back_to(
    many: MultiHeadPotential, tmp_path: Path, act: Callable[[MultiHeadPotential, Path], None]
) -> None:
    with pytest.raises(OptionError, match="2 heads and none is chosen\nallowed: soft, stiff"):
        act(many, tmp_path)
    with pytest.raises(OptionError, match="did you mean 'stiff'"):
        many.at("stif")


def test_a_frame_of_no_head_is_refused(many: MultiHeadPotential, pairs: Dataset) -> None:
    for sample in (pairs[3], pairs[3].with_tags(head="soff")):
        with pytest.raises(DataError, match=r"pairs.xyz frame 3: its head .* is none of this model's\nallowed: soft"):
            many.encode(sample)


def test_other_strategies_take_a_model_of_several_heads_as_it_is(many: MultiHeadPotential) -> None:
    assert len(Full().learning(many)) == len(many.stages())
    assert many.matrices(torch.nn.Linear(3, 2)) == [(2, 3)]


@pytest.mark.parametrize("name", ["partial", "gradual", "lora"])
def test_heads_part_under_other_strategies_too(chgnet: Potential, contradictory: Dataset, name: str) -> None:
    """From the same start to labels of other slopes; what does not learn is shared, and stays the foundation's."""
    train, validation = contradictory[[0, 1, 2, 3, 6, 7, 8, 9]], contradictory[[4, 5, 10, 11]]
    options: dict[str, Any] = {"loss": LossSettings(forces=0, stress=0), "processes": 1, "batch": 8, "epochs": 4}
    result = adapt(chgnet, train, validation, strategy=name, heads=True, **options)
    assert isinstance(result.backbone, MultiHeadPotential) and isinstance(result.references, HeadShifts)
    soft, stiff = (result.backbone.at(head) for head in SLOPES)
    sample = contradictory[0]
    energies = [float(predict_samples(model, [sample])[0]["energy"]) for model in (soft, stiff)]
    shifts = [shift.of(sample) for shift in result.references.heads.values()]
    assert abs(energies[0] - shifts[0] - energies[1] + shifts[1]) > 1e-3
    kept = [torch.equal(a, b) for a, b in zip(soft.module.parameters(), chgnet.module.parameters(), strict=True)]
    assert any(kept) or name == "gradual"


def test_cached_features_are_those_of_one_head(chgnet: Potential, contradictory: Dataset) -> None:
    with pytest.raises(OptionError, match=r"'feature' caches(.|\n)*allowed: full, partial, gradual, lora, replay, mul"):
        adapt(chgnet, contradictory, contradictory, strategy="feature", heads=True)
