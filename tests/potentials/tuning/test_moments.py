"""Magnetic moments in the loss: they learn where frames have them and the foundation reads them, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from matgraft.core.errors import OptionError
from matgraft.core.quantities import MAGMOM, POTENTIAL_QUANTITIES
from matgraft.core.training.strategy import make_strategy
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.recipe import make_recipe
from matgraft.potentials.run.fitting import refuse_idle_options
from matgraft.potentials.scoring.frame_errors import errors
from matgraft.potentials.scoring.metrics import metrics
from matgraft.potentials.scoring.table import predictions_table, read_predictions, write_predictions
from matgraft.potentials.tuning.adapt import TunedPotential, adapt
from matgraft.potentials.tuning.defaults import loss_defaults
from matgraft.potentials.tuning.loss import MAGMOM_WEIGHT, LossSettings, Targets, weigh_moments

THREE = tuple(name for name in POTENTIAL_QUANTITIES if name != MAGMOM.name)


@pytest.fixture(scope="module")
def magnetic(chgnet: Potential, pairs: Dataset) -> Dataset:
    """The pairs with a moment of -1 and 1 µB on their atoms, where CHGNet reads next to none; energies are its own."""
    found = predict_samples(chgnet, pairs.samples)
    labelled = [
        sample.with_labels(**{name: own[name] for name in THREE}, magmom=np.array([-1.0, 1.0]))
        for sample, own in zip(pairs, found, strict=True)
    ]
    return Dataset(tuple(labelled))


def tune(foundation: Potential, frames: Dataset, epochs: int, **loss: float) -> TunedPotential:
    settings = LossSettings(**loss)
    return adapt(foundation, frames[:4], frames[4:], strategy="full", loss=settings, epochs=epochs, processes=1)


@pytest.fixture(scope="module")
def tuned(chgnet: Potential, magnetic: Dataset) -> TunedPotential:
    return tune(chgnet, magnetic, 6, energy=0, forces=0, stress=0)


def rmse(model: Potential, frames: Dataset) -> float:
    return metrics(errors(frames, predict_samples(model, frames.samples)))["magmom_rmse_muB"]


def test_moments_learn_where_frames_have_them(chgnet: Potential, magnetic: Dataset, tuned: TunedPotential) -> None:
    before, after = rmse(chgnet, magnetic[4:]), rmse(tuned.backbone, magnetic[4:])
    assert before > 0.8 and after < 0.8 * before
    assert tuned.loss.magmom == MAGMOM_WEIGHT
    assert tuned.fit.history[-1]["validation_magmom_rmse_muB"] < tuned.fit.history[0]["validation_magmom_rmse_muB"]


def test_with_weight_0_the_readout_stays(chgnet: Potential, magnetic: Dataset) -> None:
    still = tune(chgnet, magnetic, 1, magmom=0.0).backbone.module
    assert torch.equal(still.site_wise.weight, chgnet.module.site_wise.weight)


def test_errors_are_of_sizes(chgnet: Potential, magnetic: Dataset, tmp_path: Path) -> None:
    found = predict_samples(chgnet, magnetic.samples)
    sizes = np.concatenate([one["magmom"] for one in found])
    assert rmse(chgnet, magnetic) == pytest.approx(float(np.sqrt(np.mean((sizes - 1.0) ** 2))))
    write_predictions(predictions_table({"test": (magnetic, {"untuned": found})}), tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet")["magmom_label"][0].tolist() == [1.0, 1.0]
    assert Targets.of(magnetic.samples, ["magmom"]).values["magmom"].tolist() == [1.0] * 12


def test_a_foundation_without_moments_takes_no_weight_of_them(magnetic: Dataset) -> None:
    assert weigh_moments(LossSettings(), magnetic, THREE).weights(magnetic).keys() == set(THREE)
    with pytest.raises(OptionError, match="predicts no magnetic moments"):
        weigh_moments(LossSettings(magmom=1.0), magnetic, THREE)


def test_frames_without_moments_are_trained_as_before(pairs: Dataset) -> None:
    assert weigh_moments(LossSettings(), pairs, tuple(POTENTIAL_QUANTITIES)).magmom is None


def test_moments_that_their_file_gives_no_weight_are_not_weighed(magnetic: Dataset) -> None:
    silent = magnetic.map(lambda sample: replace(sample, label_weights={"magmom": 0.0}))
    assert weigh_moments(LossSettings(), silent, tuple(POTENTIAL_QUANTITIES)).magmom is None


def test_a_cached_head_does_not_weigh_them(chgnet: Potential, magnetic: Dataset) -> None:
    weighed = weigh_moments(LossSettings(), magnetic, tuple(POTENTIAL_QUANTITIES))
    assert "magmom" not in loss_defaults(make_strategy("feature"), weighed, magnetic).weights(magnetic)
    asked = make_recipe(None, ["loss.magmom=1", "strategy.name=feature"], verb="tune", train="a.xyz")
    with pytest.raises(OptionError, match="the readout of moments does not learn"):
        refuse_idle_options(asked, chgnet, magnetic, magnetic[:0])
