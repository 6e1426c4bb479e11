"""All-electron energies are those of a pseudopotential and a constant per element: the same model leaves."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.exports.standalone import TunedCalculator
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.references import energy_left_out, read_added_references
from matgraft.potentials.tuning.adapt import shift_references
from matgraft.potentials.tuning.loss import LossSettings, Targets, frame_losses
from matgraft.potentials.tuning.references import refit_or_keep

CONSTANTS = {"Si": -7862.123456789, "Ge": -515000.123456789}
"""eV an atom."""


def shifted(sample: Sample) -> Sample:
    return sample.with_labels(energy=sample.labels["energy"] + energy_left_out(CONSTANTS, sample.content))


def prepared(chgnet: Potential, frames: Dataset) -> Potential:
    """Return the foundation with the references that a tuning on these frames starts from."""
    model = copy.deepcopy(chgnet)
    shift_references(model, refit_or_keep(frames, predict_samples(chgnet, frames.samples, ("energy",))))
    return model


@pytest.fixture(scope="module")
def models(chgnet: Potential, pairs: Dataset) -> tuple[Potential, Potential]:
    """Return one for pseudopotential energies, and one for all-electron energies."""
    return prepared(chgnet, pairs), prepared(chgnet, pairs.map(shifted))


def exported(model: Potential, folder: Path) -> TunedCalculator:
    folder.mkdir()
    model.save(folder / model.native_file)
    vendor = model.vendor_calculator(folder / model.native_file)
    return TunedCalculator(vendor, read_added_references(folder), float(model.card.cutoff_A or 0))


def test_the_same_loss_is_trained_on(models: tuple[Potential, Potential], pairs: Dataset) -> None:
    """Energies, forces and stresses pull the weights the same way."""
    pulls = []
    for model, frames in zip(models, (pairs, pairs.map(shifted)), strict=True):
        batch = model.collate([model.encode(sample) for sample in frames])
        weights = {"energy": 10.0, "forces": 1.0, "stress": 100.0}
        found = model.forward(batch, tuple(weights), create_graph=True)
        targets = Targets.of(frames, tuple(weights))
        frame_losses(found, targets, batch.counts, batch.owner, weights, LossSettings()).sum().backward()
        pulls.append({name: one.grad for name, one in model.module.named_parameters() if one.grad is not None})
        model.module.zero_grad()
    assert pulls[0].keys() == pulls[1].keys() != set()
    for name, pull in pulls[0].items():
        np.testing.assert_allclose(pulls[1][name], pull, rtol=1e-4, atol=1e-5 * float(pull.abs().max()), err_msg=name)


def test_the_same_run_drifts_as_little(models: tuple[Potential, Potential], pairs: Dataset, tmp_path: Path) -> None:
    """Six steps of dynamics by the vendor's file: float32 sums of 1e6 eV would jump by 0.06 eV from step to step."""
    totals = []
    for i, model in enumerate(models):
        atoms: Atoms = pairs[1].content.copy()
        atoms.set_momenta(atoms.get_masses()[:, None] * np.random.default_rng(1).normal(0, 0.03, (2, 3)))
        atoms.calc = exported(model, tmp_path / str(i))
        dynamics, energies = VelocityVerlet(atoms, 0.5 * units.fs), []
        dynamics.attach(lambda now=atoms, kept=energies: kept.append(now.get_total_energy()))
        dynamics.run(6)
        totals.append(np.array(energies) - energies[0])
    assert np.abs(totals[0]).max() < 5e-3
    np.testing.assert_allclose(totals[1], totals[0], atol=2e-5)
    assert len(set(np.round(totals[1], 7))) > 3  # no steps of a coarse sum
