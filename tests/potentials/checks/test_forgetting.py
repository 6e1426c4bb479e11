"""Forgetting: nothing where nothing moved, the plain difference where something did, a warning where it is large."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import write

from matgraft.core.findings import Finding
from matgraft.core.quantities import FORCES, STRESS
from matgraft.potentials.checks.base import CheckEvidence
from matgraft.potentials.checks.forgetting import CRYSTALS, SEED, Forgetting, ForgettingTable, MovedFrames
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.pseudolabels import made_frames
from matgraft.potentials.tuning.adapt import shift_references
from matgraft.potentials.tuning.references import ReferenceShift, given_references, keep_references
from matgraft.potentials.tuning.replay import CANDIDATES
from matgraft.potentials.tuning.replay import SEED as REPLAY_SEED

SIZE = 14
RMSES = ("energy_rmse_meV_per_atom", "forces_rmse_eV_per_A", "stress_rmse_GPa", "magmom_rmse_muB")


def find(
    tuned: Potential, parent: Potential, train: Dataset, shift: ReferenceShift | None = None, file: str | None = None
) -> Finding:
    return Forgetting(SIZE, file).run(CheckEvidence(tuned, parent, shift or keep_references(train), train))


def rows(finding: Finding) -> tuple[MovedFrames, ...]:
    return ForgettingTable.model_validate(finding.details).rows


def row(finding: Finding, chemistry: str, kind: str = CRYSTALS) -> MovedFrames:
    (found,) = [one for one in rows(finding) if (one.chemistry, one.kind) == (chemistry, kind)]
    return found


@pytest.fixture(scope="module")
def bent(chgnet: Potential) -> Potential:
    """A model whose energies above the references, forces and stresses are a tenth larger."""
    model = copy.deepcopy(chgnet)
    with torch.no_grad():
        for parameter in list(model.head.parameters())[-2:]:
            parameter.mul_(1.1)
    return model


def test_shifted_references_are_no_forgetting(chgnet: Potential, pairs: Dataset) -> None:
    references = given_references({"Si": -130.0, "Ge": 2.5}, pairs)
    tuned = copy.deepcopy(chgnet)
    shift_references(tuned, references)
    finding = find(tuned, chgnet, pairs, references)
    assert (finding.outcome, finding.severity, finding.remedy) == ("passed", "info", "")
    for chemistry in ("inside", "outside"):
        found = row(finding, chemistry)
        assert found.errors["energy_rmse_meV_per_atom"] < 0.1
        assert found.errors["forces_rmse_eV_per_A"] < 1e-4 and found.errors["stress_rmse_GPa"] < 1e-2
        assert found.of_foundation["forces"] > 0.1
    assert set(finding.numbers) == {f"{c}_{name}" for c in ("inside", "outside") for name in RMSES}


@pytest.fixture(scope="module")
def of_bent(chgnet: Potential, bent: Potential, pairs: Dataset) -> Finding:
    return find(bent, chgnet, pairs)


def test_the_table_is_the_plain_difference(chgnet: Potential, bent: Potential, of_bent: Finding) -> None:
    held_out = made_frames(chgnet, ["Si", "Ge"], SIZE, seed=SEED)
    crystals = np.array([s.tags["chemistry"] == "outside" and s.tags["config_type"] != "dimer" for s in held_out])
    expected, found = held_out[crystals], predict_samples(bent, held_out[crystals].samples)
    energy = [float(p["energy"] - s.labels["energy"]) / s.n_atoms for s, p in zip(expected, found, strict=True)]
    forces = np.concatenate([(p["forces"] - s.labels["forces"]).ravel() for s, p in zip(expected, found, strict=True)])
    outside = row(of_bent, "outside")
    assert outside.n_frames == crystals.sum()
    rmse = 1000 * np.sqrt(np.mean(np.square(energy)))
    assert outside.errors["energy_rmse_meV_per_atom"] == pytest.approx(rmse, rel=1e-3)
    assert outside.errors["forces_rmse_eV_per_A"] == pytest.approx(np.sqrt(np.mean(forces**2)), rel=1e-3)
    assert outside.share(FORCES) == pytest.approx(0.1, rel=1e-3) == outside.share(STRESS)
    kinds = [one.n_frames for one in rows(of_bent) if one.chemistry == "outside" and one.kind != CRYSTALS]
    assert len(kinds) == 5 and sum(kinds) == held_out.tag("chemistry").count("outside")


def test_a_large_change_outside_is_a_warning(of_bent: Finding) -> None:
    assert (of_bent.outcome, of_bent.severity) == ("failed", "warning")
    assert "too much in energies (allowed: 67 meV/atom)" in of_bent.evidence and "forces (" not in of_bent.evidence
    assert "strategies replay and lora" in of_bent.remedy


def test_moments_that_drift_are_told_unless_frames_have_them(chgnet: Potential, pairs: Dataset) -> None:
    tuned = copy.deepcopy(chgnet)
    with torch.no_grad():
        tuned.module.site_wise.bias.add_(0.3)
    finding = find(tuned, chgnet, pairs)
    said = finding.evidence.split("too much in ")[1]
    assert said.startswith("magnetic moments (allowed: 0.1 µB) and magnetic moments of the target's own elements")
    assert row(finding, "inside").errors["magmom_rmse_muB"] == pytest.approx(0.3, abs=0.15)
    labelled = pairs.map(lambda sample: sample.with_labels(magmom=np.ones(2)))
    assert "own elements" not in find(tuned, chgnet, labelled).evidence


def test_numbers_that_are_none_are_a_large_change(chgnet: Potential, pairs: Dataset) -> None:
    broken = copy.deepcopy(chgnet)
    with torch.no_grad():
        list(broken.head.parameters())[-2].fill_(torch.nan)
    finding = find(broken, chgnet, pairs)
    assert finding.outcome == "failed"
    assert all(name in finding.evidence.split("too much")[1] for name in ("energies", "forces (nan %"))


def test_where_nothing_is_outside_it_says_so(chgnet: Potential, pairs: Dataset) -> None:
    only = copy.copy(chgnet)
    only.card = chgnet.card.model_copy(update={"elements": ("Si", "Ge")})
    finding = find(only, only, pairs)
    assert (finding.outcome, finding.severity) == ("not applicable", "info")
    assert "knows no element beside" in finding.evidence
    assert row(finding, "inside").errors["energy_rmse_meV_per_atom"] < 1e-2


def test_a_users_file_has_a_row_of_its_own(chgnet: Potential, bent: Potential, pairs: Dataset, tmp_path: Path) -> None:
    frames = [sample.content for sample in pairs[:3]]
    frames[0].info["energy"] = 1e6  # not the foundation's: left aside
    write(tmp_path / "mine.extxyz", frames)
    finding = find(bent, chgnet, pairs, file=str(tmp_path / "mine.extxyz"))
    yours = row(finding, "your file", "")
    assert yours.n_frames == 3
    assert yours.share(FORCES) == pytest.approx(0.1, rel=1e-3)
    assert finding.numbers["your_file_forces_rmse_eV_per_A"] == yours.errors["forces_rmse_eV_per_A"]


def test_nothing_is_shared_with_what_is_rehearsed(chgnet: Potential) -> None:
    rehearsed = made_frames(chgnet, ["Si", "Ge"], 20, candidates=CANDIDATES, seed=REPLAY_SEED)
    held_out = made_frames(chgnet, ["Si", "Ge"], SIZE, seed=SEED)
    hashes = [{part[[i]].hash() for i in range(len(part))} for part in (rehearsed, held_out)]
    assert not hashes[0] & hashes[1]
