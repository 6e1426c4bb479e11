"""The metric folder, the one that ships, and when it is taken."""

from __future__ import annotations

import pytest
import torch

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.few_shot.metric import (
    METRICS,
    SHIPPED,
    DistanceStatistics,
    Metric,
    MetricCard,
    Space,
    choose_metric,
)
from matgraft.formulas.few_shot.prototypes import DISTANCES
from matgraft.formulas.formula import parse_formula
from matgraft.foundations import load

FORMULAS = tuple(parse_formula(text) for text in ("NaCl", "Fe2O3", "GaAs", "Ni3Al", "SiO2"))


@pytest.fixture(scope="module")
def small():
    return CompositionBackbone.scratch(0, width=16, layers=1, heads=2, features=16, property_names=("a", "b"))


def test_a_folder_comes_back(tmp_path, small):
    card = MetricCard(
        numbers={"euclidean": DistanceStatistics(temperature=2.0)}, thresholds={"euclidean": {1: 1.0, 2: 3.0, 8: 1.0}}
    )
    Metric("x", card, FORMULAS).save(tmp_path / "m")
    again = METRICS.read(tmp_path / "m")
    assert (again.card, again.background, again.name) == (card, FORMULAS, str(tmp_path / "m"))
    points = Space.of(small, again, "euclidean").points(FORMULAS)
    assert points.shape == (5, 18)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(5, dtype=torch.float64))
    with pytest.raises(DataError, match="holds no metric"):
        METRICS.read(tmp_path)
    (tmp_path / "m" / "map.safetensors").touch()
    with pytest.raises(DataError, match="a linear map, which only earlier versions"):
        METRICS.read(tmp_path / "m")


def test_thresholds_are_read_between_shots():
    metric = Metric("x", MetricCard(thresholds={"cosine": {1: 1.0, 2: 3.0, 8: 1.0}}), FORMULAS)
    assert [metric.threshold("cosine", shots) for shots in (1, 2, 4, 100)] == pytest.approx([1.0, 3.0, 2.0, 1.0])
    assert metric.threshold("euclidean", 2) is None


def test_blocks_have_the_same_variance(small):
    variance = (Space.of(small, Metric("x", MetricCard(), FORMULAS)).standardised(FORMULAS) ** 2).mean(0)
    assert variance[:16].sum() == pytest.approx(1)
    assert variance[16:].sum() == pytest.approx(1)


def test_a_distance_that_is_not_there_is_refused(small):
    taught = Metric("x", MetricCard(numbers={"euclidean": DistanceStatistics()}), FORMULAS)
    with pytest.raises(OptionError, match="manhattan"):
        Space.of(small, taught, "manhattan")
    with pytest.raises(OptionError, match="not learned for the distance cosine"):
        Space.of(small, taught, "cosine")


def test_an_encoder_without_properties_is_compared_by_its_embedding():
    bare = CompositionBackbone.scratch(0, width=16, layers=1, heads=2, features=16)
    assert Space.of(bare, Metric.untrained()).points(FORMULAS).shape == (5, 16)


def test_the_shipped_metric_belongs_to_the_shipped_encoder_and_is_better_than_none(small):
    metric = choose_metric(None, load("composition"))
    assert metric.name == "shipped"
    assert len(metric.background) == 1000
    assert set(metric.card.numbers) == set(metric.card.thresholds) == set(DISTANCES)
    gains = [row.gain for row in metric.card.scores if row.distance == DISTANCES[0]]
    assert sum(gains) > 0
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 300_000
    assert choose_metric(None, small).name == choose_metric("none", small).name == "none"
    with pytest.raises(OptionError, match="another encoder"):
        choose_metric("shipped", small)
