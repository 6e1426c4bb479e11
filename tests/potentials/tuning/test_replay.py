"""Replay: starts as the foundation, weighs as a whole, holds what it is told to hold, ignores no option."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ase.io import write

from matgraft.core.errors import DataError, OptionError, RunError, StepZeroError
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.core.training import checkpoint
from matgraft.core.training import loop as fitting
from matgraft.core.training.execution import Execution
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import STRATEGIES, ParamGroup, Partial, make_strategy
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.models.pseudolabels import made_frames
from matgraft.potentials.tuning import adapt as adapting
from matgraft.potentials.tuning.adapt import adapt
from matgraft.potentials.tuning.climb import climb
from matgraft.potentials.tuning.ladder import LadderSettings
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.objectives import FrameObjective
from matgraft.potentials.tuning.references import given_references
from matgraft.potentials.tuning.replay import (
    ReplayObjective,
    ReplaySettings,
    read_rehearsed,
    rehearses,
    rehearsing_heads,
    replay_frames,
    shifted_labels,
    weighed,
)

CPU = torch.device("cpu")
ENERGIES = LossSettings(forces=0, stress=0)
"""Without derivatives a step takes a tenth of the time."""


@pytest.fixture(scope="module")
def known(chgnet: Potential) -> Dataset:
    """Eight structures that the foundation has labelled."""
    return made_frames(chgnet, ["Si", "Ge"], 8)


# ------------------------------------------------------------------- options


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_nothing_is_rehearsed_unless_asked(name: str) -> None:
    assert rehearses(make_strategy(name), ReplaySettings()) == (name == "replay")


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"feature"}))
def test_every_strategy_through_the_network_can_rehearse(name: str) -> None:
    assert rehearses(make_strategy(name), ReplaySettings(size=9, weight=2, file="bulk.extxyz"))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "full",
            {"weight": 2.0},
            r"replay\.weight is not read: this run has no replay\nallowed: strategy\.name=replay",
        ),
        ("lora", {"file": "a.xyz"}, r"replay\.file is not read"),
        (
            "feature",
            {"size": 9},
            r"replay is not possible with 'feature'.*\nallowed: full, partial, gradual, lora, replay, multihead",
        ),
    ],
)
def test_options_that_would_do_nothing(
    chgnet: Potential, pairs: Dataset, name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        adapt(chgnet, pairs[:2], pairs[2:3], strategy=name, replay=ReplaySettings(**settings))


# ---------------------------------------------------------------- which frames


def test_a_file_is_rehearsed_by_the_foundations_labels(chgnet: Potential, pairs: Dataset, tmp_path: Path) -> None:
    frames = []
    for sample in pairs[:3]:
        atoms = sample.content.copy()
        atoms.info["energy"] = 1e6  # another level of theory, which must not be learned
        frames.append(atoms)
    write(tmp_path / "bulk.extxyz", frames)
    found = replay_frames(chgnet, pairs, ReplaySettings(file=str(tmp_path / "bulk.extxyz")))
    expected = [float(p["energy"]) for p in predict_samples(chgnet, [Sample(atoms, {}) for atoms in frames])]
    assert [float(sample.labels["energy"]) for sample in found] == pytest.approx(expected, abs=1e-4)
    two = replay_frames(chgnet, pairs, ReplaySettings(file=str(tmp_path / "bulk.extxyz"), size=2))
    assert len(two) == 2


# ------------------------------------------------------------------- objective


def objectives(
    model: Potential, train: Dataset, replay: Dataset, weight: float, loss: LossSettings = ENERGIES
) -> tuple[FrameObjective, ReplayObjective]:
    encoded = encode_all(model, train.samples)
    target = FrameObjective(model, train, train[:2], loss, encoded, encoded[:2])
    return target, ReplayObjective(target, replay, weight)


@pytest.fixture
def moved(chgnet: Potential) -> Potential:
    """A model that is no longer its foundation."""
    model = copy.deepcopy(chgnet)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(1.01)
    return model


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_the_loss_is_the_sum_of_two_means(moved: Potential, pairs: Dataset, known: Dataset, weight: float) -> None:
    train = pairs[:4].map(lambda s: s.weighing(1.0 + s.index))
    target, both = objectives(moved, train, known, weight)
    one = target.losses(range(4), CPU).mean()
    other = objectives(moved, known, known, 1.0)[0].losses(range(len(known)), CPU).mean()
    mean_weight = np.mean([sample.weight for sample in train])
    total = both.losses(range(4 + len(known)), CPU).mean()
    assert total.item() == pytest.approx(one.item() + weight * mean_weight * other.item(), rel=1e-5)


@pytest.mark.parametrize("bounds", [{}, {"max_edges": 1}, {"max_atoms": 9}, {"max_edges": 700}])
@pytest.mark.parametrize("batch", [1, 3, 12])
def test_the_gradients_of_an_epoch_add_up_to_the_formulas(
    moved: Potential, pairs: Dataset, known: Dataset, batch: int, bounds: dict[str, int]
) -> None:
    """L_target + weight * L_replay, whatever the sizes of frames and the bounds of a batch."""
    train, weight = pairs[:4].map(lambda s: s.weighing(1.0 + s.index)), 2.5
    target, both = objectives(moved, train, known, weight)
    parameters = list(moved.head.parameters())
    one = target.losses(range(4), CPU).mean()
    other = objectives(moved, known, known, 1.0)[0].losses(range(len(known)), CPU).mean()
    formula = one + weight * np.mean([sample.weight for sample in train]) * other
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(formula, parameters)])

    settings = FitSettings(rate=1.0, batch=batch, processes=1, **bounds)  # type: ignore[arg-type]
    groups = [ParamGroup("head", dict(moved.head.named_parameters()))]
    loop = fitting.FitLoop(both, moved.module, groups, settings, Execution(Path(), seed=1), 0.0, False, 0.0)
    loop.fabric = SimpleNamespace(world_size=1, global_rank=0, device=CPU)  # type: ignore[assignment]
    loop.optimizer, loop.state = fitting.make_optimizer(groups, settings), loop._start()
    steps, found = loop._batches(0), torch.zeros_like(expected)
    for step in steps:
        loop._backward(step)
        found += torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]) / len(steps)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_the_weight_counts_whatever_the_number_of_frames(pairs: Dataset, known: Dataset) -> None:
    for replay in (known[:2], known):
        joined = weighed(pairs, replay, 3.0)
        parts = [sum(s.weight for s in part) for part in (joined[: len(pairs)], joined[len(pairs) :])]
        assert parts[1] == pytest.approx(3 * parts[0])


def test_the_criterion_is_the_users_own(moved: Potential, pairs: Dataset, known: Dataset) -> None:
    target, both = objectives(moved, pairs[:4], known, 5.0)
    alone = target.validation_metrics(target.validation_sums(range(2), CPU))
    places = range(len(both.validation))
    sums = both.validation_sums(places[::2], CPU) + both.validation_sums(places[1::2], CPU)
    together = both.validation_metrics(sums)
    assert {name: together[name] for name in alone} == pytest.approx(alone, rel=1e-5)
    plain = objectives(moved, known, known, 1.0)[0].losses(range(len(known)), CPU)
    assert together["replay_loss"] == pytest.approx(plain.mean().item(), rel=1e-4)
    assert together["replay_energy_rmse_meV_per_atom"] > 1


def test_a_label_that_only_validation_and_replay_frames_have_is_no_part_of_the_criterion(
    moved: Potential, pairs: Dataset, known: Dataset
) -> None:
    """The user's loss weighs no stress. The replay frames have stresses; errors of all stresses are reported."""
    train = pairs[:4].map(lambda s: Sample(s.content, {n: s.labels[n] for n in ("energy", "forces")}, file=s.file))
    encoded = encode_all(moved, pairs.samples)
    target = FrameObjective(moved, train, pairs[4:], LossSettings(), encoded[:4], encoded[4:])
    both = ReplayObjective(target, known, 1.0)
    alone = target.validation_metrics(target.validation_sums(range(2), CPU))
    together = both.validation_metrics(both.validation_sums(range(len(both.validation)), CPU))
    assert {name: together[name] for name in alone} == pytest.approx(alone, rel=1e-5)
    assert "stress" in both.weights and together["validation_stress_rmse_GPa"] > 0


def test_replay_that_holds_nothing_is_an_error(moved: Potential, pairs: Dataset, known: Dataset) -> None:
    dimers = known[np.array(known.tag("config_type")) == "dimer"]
    _, both = objectives(moved, pairs[:2], dimers, 1.0, LossSettings(energy=0, forces=0))  # dimers have no stress
    with pytest.raises(RunError, match="no replay frame has a label for stress: they have neither loss nor gradient"):
        both.replay_metrics()
    with pytest.raises(RunError, match="neither loss nor gradient"):
        both.validation_metrics(both.validation_sums(range(len(both.validation)), CPU))


# ---------------------------------------------------------------- the whole way


def test_before_the_first_step_the_replay_loss_is_zero(chgnet: Potential, pairs: Dataset, tmp_path: Path) -> None:
    """Whatever the references of the new level of theory."""
    references = given_references({"Si": -130.0, "Ge": 2.5}, pairs)
    options: dict[str, Any] = {"references": references, "epochs": 1, "batch": 12, "processes": 1, "loss": ENERGIES}
    options |= {"strategy": "replay", "replay": ReplaySettings(size=8), "execution": Execution(tmp_path)}
    result = adapt(chgnet, pairs[:4], pairs[4:], **options)
    assert result.replay and result.replay.loss_at_best
    assert result.replay.loss_at_start < 30 * (1e-4) ** 2 < result.replay.loss_at_best
    assert result.replay.weight == 1 and 6 <= result.replay.n_frames <= 8
    assert {"replay_loss", "validation_loss"} <= set(result.fit.history[-1])
    assert list(tmp_path.glob("pseudolabels-*.h5"))


def test_labels_that_are_not_the_models_stop_the_run(
    chgnet: Potential, pairs: Dataset, known: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = known.map(lambda s: s.with_labels(energy=s.labels["energy"] + 0.01 * s.n_atoms))
    monkeypatch.setattr(adapting, "replay_frames", lambda *_, **__: wrong)
    with pytest.raises(StepZeroError, match=r"labels of the replay frames differ from the model by 0\.01 eV/atom"):
        adapt(chgnet, pairs[:2], pairs[2:3], strategy="replay", loss=ENERGIES)


def test_a_larger_weight_forgets_less(chgnet: Potential, pairs: Dataset) -> None:
    """On the frames that are rehearsed, and on others."""
    held_out = made_frames(chgnet, ["Si", "Ge"], 12, seed=5)
    losses, changes = [], []
    for weight in (1e-3, 10.0):
        options: dict[str, Any] = {"strategy": Partial(["readout"]), "loss": ENERGIES, "processes": 1}
        options |= {"epochs": 60, "validate_every": 60, "batch": 12, "rate": 1e-3, "ema": 0}
        result = adapt(chgnet, pairs[:4], pairs[4:], replay=ReplaySettings(size=6, weight=weight), **options)
        assert result.replay and result.replay.loss_at_best
        losses.append(result.replay.loss_at_best)
        found = predict_samples(result.backbone, held_out.samples, ("energy",))
        changes.append(energy_change(shifted_labels(held_out, result.references), found))
    assert losses[1] < 0.01 * losses[0]
    assert changes[1] < 0.4 * changes[0]


def energy_change(expected: Dataset, found: Sequence[Mapping[str, Array]]) -> float:
    """RMSE of the energies an atom, eV."""
    errors = [float(p["energy"] - s.labels["energy"]) / s.n_atoms for s, p in zip(expected, found, strict=True)]
    return float(np.sqrt(np.mean(np.square(errors))))


@pytest.fixture
def broken_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the fit after its second checkpoint, as a kill would."""
    saves = []

    def save(*arguments: Any) -> None:
        whole(*arguments)
        saves.append(1)
        if len(saves) == 2:
            raise KeyboardInterrupt

    whole = checkpoint.save
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save)
        yield


def test_a_run_that_broke_off_ends_at_the_same_weights(
    chgnet: Potential, pairs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    def run(folder: str, cache: str, *, resume: bool = False) -> Any:
        monkeypatch.setenv("MATGRAFT_CACHE", str(tmp_path / cache))
        options: dict[str, Any] = {"epochs": 4, "batch": 6, "processes": 1}
        options |= {"strategy": Partial(["readout"]), "replay": ReplaySettings(size=6), "loss": ENERGIES}
        return adapt(chgnet, pairs[:4], pairs[4:], execution=Execution(tmp_path / folder, resume=resume), **options)

    unbroken = run("whole", "first")
    request.getfixturevalue("broken_off")
    with pytest.raises(KeyboardInterrupt):
        run("broken", "first")
    resumed = run("broken", "another cache", resume=True)
    assert resumed.fit.steps == unbroken.fit.steps
    for name, tensor in unbroken.backbone.module.state_dict().items():
        assert torch.equal(resumed.backbone.module.state_dict()[name], tensor), name


# ------------------------------------------------------- labels of a file, and of whom


def labelled(known: Dataset, path: Path, *, offset: float = 0.0, **theory: str) -> str:
    """Write the frames with labels of their own near the foundation's: larger forces, energies off by an offset."""
    frames = []
    for sample in known:
        atoms = sample.content.copy()
        atoms.info["REF_energy"] = float(sample.labels["energy"]) + offset * len(atoms)
        atoms.arrays["REF_forces"] = 1.1 * sample.labels["forces"]
        frames.append(atoms)
    write(path, frames)
    if theory:
        path.with_suffix(".yaml").write_text("".join(f"{key}: {value}\n" for key, value in theory.items()))
    return str(path)


def test_a_files_own_labels_are_the_targets_where_it_is_said(
    chgnet: Potential, known: Dataset, pairs: Dataset, tmp_path: Path
) -> None:
    file = labelled(known, tmp_path / "known.extxyz", offset=0.01, functional="PBE")
    found = replay_frames(chgnet, pairs, ReplaySettings(file=file, labels="file"))
    for mine, sample in zip(found, known, strict=True):
        assert float(mine.labels["energy"]) == pytest.approx(float(sample.labels["energy"]) + 0.01 * sample.n_atoms)
        np.testing.assert_allclose(mine.labels["forces"], 1.1 * sample.labels["forces"], atol=1e-6)
    three = replay_frames(chgnet, pairs, ReplaySettings(file=file, labels="file", size=3))
    assert {s.index for s in three} <= {s.index for s in found} and len(three) == 3
    for own in (ReplaySettings(file=file), ReplaySettings(file=file, labels="foundation")):
        other = replay_frames(chgnet, pairs, own)
        np.testing.assert_allclose(other[0].labels["forces"], known[0].labels["forces"], atol=1e-4)


def test_a_fit_learns_a_files_own_labels(chgnet: Potential, known: Dataset, pairs: Dataset, tmp_path: Path) -> None:
    """Before the first step they have a loss, that of the foundation on them."""
    file = labelled(known, tmp_path / "known.extxyz", offset=0.05)
    settings = ReplaySettings(file=file, labels="file")
    result = adapt(chgnet, pairs[:2], pairs[2:3], strategy="replay", replay=settings, loss=ENERGIES, epochs=1)
    assert result.replay is not None and result.replay.labels == "file"
    assert result.replay.loss_at_start == pytest.approx(10.0 * 0.05**2, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offset": 1.0}, r"do not have the convention of the foundation(.|\n)*1\.00 eV/atom"),
        ({"metagga": "R2SCAN"}, r"8 of 8 replay frames are of R2SCAN, and chgnet:0.3.0 is of PBE"),
    ],
)
def test_labels_of_another_convention_are_refused(
    chgnet: Potential, known: Dataset, pairs: Dataset, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = labelled(known, tmp_path / "known.extxyz", **change)
    with pytest.raises(DataError, match=message) as error:
        replay_frames(chgnet, pairs, ReplaySettings(file=file, labels="file"))
    assert error.value.options == ({"replay.labels": "foundation"},)


def test_frames_without_labels_cannot_be_their_own_targets(chgnet: Potential, known: Dataset, tmp_path: Path) -> None:
    frames = [sample.content.copy() for sample in known]
    frames[0].info["energy"] = -1.0
    write(tmp_path / "bare.extxyz", frames)
    with pytest.raises(DataError, match=r"bare.extxyz frame 1: 7 of 8 replay frames have neither"):
        read_rehearsed(str(tmp_path / "bare.extxyz"), chgnet.card)


def test_labels_without_a_file_are_not_read() -> None:
    with pytest.raises(OptionError, match=r"replay\.labels=file is not read without replay\.file"):
        rehearses(make_strategy("replay"), ReplaySettings(labels="file"))


# --------------------------------------------------------- whose heads rehearse


def under_theory(frames: Dataset, theory: LevelOfTheory | None, head: str = "") -> Dataset:
    return frames.map(lambda s: replace(s, theory=theory, tags={**s.tags, "head": head}))


PBE, SCAN = LevelOfTheory(functional="PBE"), LevelOfTheory(metagga="R2SCAN")


def test_a_head_of_another_functional_never_rehearses(chgnet: Potential, pairs: Dataset) -> None:
    card = chgnet.card
    both = concatenate([under_theory(pairs[:2], PBE, "PBE"), under_theory(pairs[2:], SCAN, "r2SCAN")])
    assert rehearsing_heads(card, both, ["PBE", "r2SCAN"]) == ["PBE"]
    assert rehearsing_heads(card, both, ["PBE", "r2SCAN", "foundation"]) == ["foundation"]
    assert rehearsing_heads(card, under_theory(pairs, PBE), ()) == [""]
    assert rehearsing_heads(card, under_theory(pairs, None), ()) == [""]
    for heads in ((), ("r2SCAN", "other")):
        parts = [under_theory(pairs[i::2], SCAN, name) for i, name in enumerate(("r2SCAN", "other"))]
        with pytest.raises(OptionError, match=r"the frames are of R2SCAN, chgnet:0\.3\.0 is of PBE") as error:
            rehearsing_heads(card, concatenate(parts), heads)
        assert error.value.options == ({"heads.foundation": True},)


def test_strategy_replay_refuses_frames_of_another_functional(chgnet: Potential, pairs: Dataset) -> None:
    scan = under_theory(pairs, SCAN)
    for options in ({"strategy": "replay"}, {"strategy": "lora", "replay": ReplaySettings(size=4)}):
        with pytest.raises(OptionError, match="never used for a head of another functional"):
            adapt(chgnet, scan[:2], scan[2:3], **options)


def test_the_ladder_passes_over_a_rung_that_would_mix_functionals(chgnet: Potential, pairs: Dataset) -> None:
    scan = under_theory(pairs, SCAN)
    climbed = climb(chgnet, scan[:2], scan[2:3], ladder=LadderSettings(rungs=("replay",)), loss=ENERGIES)
    (rung,) = [one for one in climbed.record.rungs if one.name == "replay"]
    assert rung.verdict == "skipped" and rung.why.startswith("the frames are of R2SCAN")
