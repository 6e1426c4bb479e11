"""Prototypes against their own definitions, on numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from matgraft.formulas.few_shot.prototypes import DISTANCES, Prototypes

seeds = st.integers(0, 2**32 - 1)
distances = st.sampled_from(DISTANCES)


def support(seed, counts, d=6):
    rng = np.random.default_rng(seed)
    labels = np.repeat(range(len(counts)), counts)
    points = rng.normal(size=(len(labels), d)) + 2 * rng.normal(size=(len(counts), d))[labels]
    return torch.from_numpy(points), torch.from_numpy(labels), torch.from_numpy(rng.normal(size=(4, d)))


@settings(max_examples=25)
@given(seeds, distances, st.lists(st.integers(1, 5), min_size=2, max_size=4))
def test_the_order_of_the_examples_does_not_matter(seed, distance, counts):
    points, labels, queries = support(seed, counts)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(points)))
    one = Prototypes(points, labels, len(counts), distance, 0.2)
    other = Prototypes(points[order], labels[order], len(counts), distance, 0.2)
    torch.testing.assert_close(one.scores(queries), other.scores(queries))
    torch.testing.assert_close(one.farness(queries), other.farness(queries))


@settings(max_examples=25)
@given(seeds, distances, st.integers(2, 5))
def test_a_query_equal_to_the_only_example_of_a_class_gets_that_class(seed, distance, ways):
    points, labels, _ = support(seed, [1] * ways)
    found = Prototypes(points, labels, ways, distance)
    assert found.scores(points).argmax(1).tolist() == list(range(ways))
    torch.testing.assert_close(found.farness(points), torch.zeros(ways, dtype=torch.float64), atol=1e-12, rtol=0)
    assert found.spread is None


@settings(max_examples=25)
@given(seeds, st.lists(st.integers(1, 5), min_size=2, max_size=3).filter(lambda counts: max(counts) > 1))
def test_mahalanobis_is_what_the_whole_matrix_gives(seed, counts):
    points, labels, queries = support(seed, counts)
    found = Prototypes(points, labels, len(counts), "mahalanobis", 0.5)
    S = found.residuals.T @ found.residuals
    round_part = ledoit_wolf(found.residuals.numpy(), assume_centered=True)[1]
    covariance = torch.eye(6) + 0.5 * (1 - round_part) / max(round_part, 1e-6) * S * 6 / S.trace()
    difference = queries[:, None] - found.centres[None]
    expected = torch.einsum("qcd,de,qce->qc", difference, torch.linalg.inv(covariance), difference)
    torch.testing.assert_close(found.distances(queries), expected)


def test_full_trust_is_the_covariance_of_ledoit_and_wolf():
    points, labels, queries = support(3, [9, 8])
    found = Prototypes(points, labels, 2, "mahalanobis")
    covariance, _ = ledoit_wolf(found.residuals.numpy(), assume_centered=True)
    difference = (queries - found.centres[0]).numpy()
    whole = np.einsum("qd,de,qe->q", difference, np.linalg.inv(covariance), difference)
    ours = found.distances(queries)[:, 0].numpy()
    np.testing.assert_allclose(ours / ours[0], whole / whole[0])


@settings(max_examples=25)
@given(seeds)
def test_cosine_knows_no_length(seed):
    points, labels, queries = support(seed, [1, 1, 1])
    found = Prototypes(points, labels, 3, "cosine")
    torch.testing.assert_close(found.distances(3 * queries), found.distances(queries))


@pytest.mark.parametrize("distance", ["euclidean", "mahalanobis"])
@pytest.mark.parametrize("counts", [(20, 1), (1, 20), (2, 20), (5, 50), (2, 5)])
def test_neither_the_small_nor_the_large_class_wins_the_doubtful(counts, distance):
    """Both classes have one centre, so each is named as often as the other, however many examples it has."""
    rng = np.random.default_rng(0)
    widths, labels = np.geomspace(3, 0.1, 60), torch.tensor([0, 1]).repeat_interleave(torch.tensor(counts))
    first = []
    for _ in range(150):
        points, queries = (torch.from_numpy(rng.normal(size=(n, 60)) * widths) for n in (len(labels), 20))
        found = Prototypes(points, labels, 2, distance, 0.2)
        first.append(float((found.scores(queries).argmax(1) == 0).double().mean()))
    assert np.mean(first) == pytest.approx(0.5, abs=0.05 + 2 * np.std(first) / 150**0.5)


@settings(max_examples=25)
@given(seeds, st.lists(st.integers(1, 5), min_size=2, max_size=3).filter(lambda counts: max(counts) > 1))
def test_the_spread_is_what_leaving_each_example_out_gives(seed, counts):
    points, labels, _ = support(seed, counts)
    found = Prototypes(points, labels, len(counts), "mahalanobis", 0.5)
    left_out = []
    for i, label in enumerate(labels):
        rest = torch.arange(len(labels)) != i
        own, k = points[rest & (labels == label)], counts[label]
        if not len(own):
            continue
        centres = torch.stack([points[rest & (labels == c)].mean(0) for c in labels])  # NaN where nothing is left
        scatter = (points - centres)[rest].nan_to_num(0)
        inverse = torch.linalg.inv(torch.eye(6).double() + found.stretch * scatter.T @ scatter)
        off = points[i] - own.mean(0)
        left_out.append(((k - 1) / k) ** 2 * (off @ inverse @ off))
    torch.testing.assert_close(found.spread, torch.stack(left_out).sum() / found.freedom)


@pytest.mark.parametrize("d", [10, 286, 600])
@pytest.mark.parametrize("single", [0, 1])
def test_examples_that_scatter_along_one_line_have_lengths_above_zero(d, single):
    """Two examples a class, all off their prototypes by r or -r: Σ is 4 r rᵀ, and 2 r rᵀ without one of them."""
    rng = np.random.default_rng(d)
    r, centres = rng.normal(size=d) / 30, rng.normal(size=(2, d))
    points = np.concatenate([centres + r, centres - r, rng.normal(size=(single, d))])
    labels = torch.tensor([0, 1, 0, 1, *[2] * single])
    found = Prototypes(torch.from_numpy(points), labels, 2 + single, "mahalanobis")
    s, square = float(found.stretch), r @ r
    assert float(found.spread) == pytest.approx(2 * square / (1 + 2 * s * square), rel=1e-4)
    own = found.distances(torch.from_numpy(points[:2])).diagonal()
    assert own.tolist() == pytest.approx([square / (1 + 4 * s * square)] * 2, rel=1e-4)


def test_the_spread_is_the_distance_from_the_true_centre():
    rng = np.random.default_rng(1)
    found = [
        Prototypes(torch.from_numpy(rng.normal(size=(8, 30))), torch.tensor([0, 1] * 4), 2, "euclidean").spread
        for _ in range(200)
    ]
    assert float(torch.stack(found).mean()) == pytest.approx(30, rel=0.03)


@pytest.mark.parametrize("distance", DISTANCES)
def test_examples_that_are_all_alike_have_distances_still(distance):
    points = torch.eye(2, 4, dtype=torch.float64).repeat_interleave(3, 0)
    found = Prototypes(points, torch.tensor([0, 0, 0, 1, 1, 1]), 2, distance)
    scores = found.scores(torch.eye(2, 4, dtype=torch.float64))
    assert scores.isfinite().all()
    assert scores.argmax(1).tolist() == [0, 1]


def test_scores_can_be_differentiated_by_trust_and_queries():
    points, labels, queries = support(5, [3, 2])
    trust = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def scores(queries, trust):
        return Prototypes(points, labels, 2, "mahalanobis", trust).scores(queries)

    assert torch.autograd.gradcheck(scores, (queries.requires_grad_(), trust))
