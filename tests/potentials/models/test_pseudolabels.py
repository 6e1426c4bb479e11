"""Frames labelled by the foundation: its own predictions, spread wide, made once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from matgraft.core.errors import DataError
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models import pseudolabels
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.models.pseudolabels import (
    LARGEST_FORCE,
    diverse,
    encodable,
    farthest_points,
    made_frames,
    own_frames,
    pseudolabel,
    structure_features,
)
from matgraft.testing import sheets


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MATGRAFT_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"


LONELY = Atoms("Si2", cell=[30, 30, 30], positions=[[0, 0, 0], [15, 15, 15]], pbc=True)
CRUSHED = bulk("Si", "diamond", a=3.9)


def test_labels_are_the_foundations_predictions(chgnet: Potential, pairs: Dataset) -> None:
    labelled = pseudolabel(chgnet, pairs[:2])
    for sample, prediction in zip(labelled, predict_samples(chgnet, pairs[:2].samples), strict=True):
        assert set(sample.labels) == {"energy", "forces", "stress", "magmom"}
        for name, value in prediction.items():
            np.testing.assert_allclose(sample.labels[name], value, atol=1e-6)
    assert labelled.tag("kind") == pairs[:2].tag("kind")


def test_a_slab_is_labelled_the_same_however_it_is_written(chgnet: Potential) -> None:
    """For rehearsal and for the measure of forgetting; a stress is there where the cell has a volume."""
    forms = [atoms for atoms, turn in sheets() if np.array_equal(turn, np.eye(3))]
    labelled = own_frames(chgnet, Dataset(tuple(Sample(atoms, {}) for atoms in forms)))
    assert len(labelled) == len(forms)
    for sample in labelled:
        np.testing.assert_allclose(sample.labels["energy"], labelled[0].labels["energy"], atol=2e-5)
        np.testing.assert_allclose(sample.labels["forces"], labelled[0].labels["forces"], atol=1e-4)
        assert ("stress" in sample.labels) == (volume(sample.content) > 0)


def test_absurd_labels_are_left_out(chgnet: Potential, pairs: Dataset) -> None:
    crushed = Dataset((Sample(CRUSHED, {}), pairs[0]))
    stress = predict_samples(chgnet, crushed.samples)[0]["stress"]
    assert np.abs(stress).max() > pseudolabels.LARGEST_STRESS
    assert [s.content for s in pseudolabel(chgnet, crushed)] == [pairs[0].content]
    with pytest.raises(DataError, match="nothing sensible on any of 1 frames"):
        pseudolabel(chgnet, crushed[:1])


def test_a_made_set_holds_both_chemistries_and_nothing_absurd(chgnet: Potential) -> None:
    made = made_frames(chgnet, ["Si", "Ge"], 12, candidates=2)
    assert 10 <= len(made) <= 12
    assert 5 <= made.tag("chemistry").count("inside") <= 6
    assert all(np.abs(sample.labels["forces"]).max() < LARGEST_FORCE for sample in made)
    assert {"stress" in s.labels for s in made if s.tags["config_type"] != "dimer"} == {True}


def test_what_the_foundation_cannot_take_is_left_out(chgnet: Potential, pairs: Dataset) -> None:
    taken, encoded = encodable(chgnet, Dataset((Sample(LONELY, {}), pairs[0])))
    assert [sample.content for sample in taken] == [pairs[0].content] and len(encoded) == 1
    with pytest.raises(DataError, match=r"can take none of 1 frames: .* no neighbour"):
        own_frames(chgnet, Dataset((Sample(LONELY, {}),)))


# --------------------------------------------------------------------- spread


def nearest_pair(points: np.ndarray) -> float:
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return float(distances[~np.eye(len(points), dtype=bool)].min())


def test_farthest_points_are_spread_wider_than_random_ones() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((200, 4)) ** 3  # dense in the middle
    chosen = farthest_points(points, 20)
    assert len(set(chosen)) == 20
    draws = [nearest_pair(points[rng.choice(200, 20, replace=False)]) for _ in range(50)]
    assert nearest_pair(points[chosen]) > 2 * max(draws)


def test_fewer_points_than_wanted_are_all_taken() -> None:
    assert sorted(farthest_points(np.arange(3.0)[:, None], 9)) == [0, 1, 2]


def test_each_group_has_its_share() -> None:
    points = np.random.default_rng(1).standard_normal((20, 2))
    groups = ["few"] * 3 + ["many"] * 17
    chosen = diverse(points, 10, groups)
    assert len(chosen) == 10 and chosen[:3] == [0, 1, 2]


def test_features_tell_structures_apart_and_are_standardised(chgnet: Potential, pairs: Dataset) -> None:
    features = structure_features(chgnet, encode_all(chgnet, pairs.samples))
    assert features.shape == (6, 64)
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(features.std(0), 1, atol=1e-6)
    assert nearest_pair(features) > 1


# -------------------------------------------------------------------- keeping


def forbid_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudolabels, "predict_samples", lambda *_, **__: pytest.fail("predicted again"))
    monkeypatch.setattr(pseudolabels, "make_structures", lambda *_, **__: pytest.fail("made again"))


def test_a_set_is_made_once(chgnet: Potential, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made_frames(chgnet, ["Si"], 4)
    forbid_work(monkeypatch)
    again = made_frames(chgnet, ["Si"], 4)
    assert again.hash() == first.hash() and [s.tags for s in again] == [s.tags for s in first]


@pytest.mark.parametrize("other", ["elements", "size", "seed", "candidates", "foundation"])
def test_whatever_a_set_follows_from_makes_it_another(
    chgnet: Potential, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    made_frames(chgnet, ["Si"], 4)
    changed = copy.deepcopy(chgnet)
    with torch.no_grad():
        next(iter(changed.head.parameters())).add_(1e-3)
    foundation = changed if other == "foundation" else chgnet
    elements, size = ["Ge"] if other == "elements" else ["Si"], 5 if other == "size" else 4
    options = {other: 2} if other in ("seed", "candidates") else {}
    forbid_work(monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="made again"):
        made_frames(foundation, elements, size, **options)


def test_a_damaged_cache_is_made_anew(chgnet: Potential, cache: Path) -> None:
    first = made_frames(chgnet, ["Si"], 4)
    (file,) = cache.glob("*.h5")
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    assert made_frames(chgnet, ["Si"], 4).hash() == first.hash()
    assert len(file.read_bytes()) == len(whole)


def test_the_runs_own_copy_outlives_the_cache(
    chgnet: Potential, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made_frames(chgnet, ["Si"], 4, folder=tmp_path / "run")
    (file,) = cache.glob("*.h5")
    file.unlink()
    forbid_work(monkeypatch)
    assert made_frames(chgnet, ["Si"], 4, folder=tmp_path / "run").hash() == first.hash()
    assert file.is_file()


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    chgnet: Potential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MATGRAFT_CACHE", str(tmp_path / "file" / "cache"))
    assert len(made_frames(chgnet, ["Si"], 4)) > 0


def test_own_frames_lose_their_labels(chgnet: Potential, pairs: Dataset) -> None:
    labelled = own_frames(chgnet, pairs, 3)
    assert len(labelled) == 3
    known = [float(p["energy"]) for p in predict_samples(chgnet, labelled.samples)]
    assert [float(sample.labels["energy"]) for sample in labelled] == pytest.approx(known, abs=1e-5)
