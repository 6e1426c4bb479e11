"""Importance weights: a known shift is recovered, equal domains weigh alike, few rows cannot carry everything."""

from __future__ import annotations

import numpy as np
import pytest

from matgraft.formulas.domain.density import DomainClassifier, effective_size, fit_domain_classifier


def drawn(n: int, shift: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (n, 1))


def test_a_known_shift_is_recovered() -> None:
    source, target = drawn(1500, 0.0, 0), drawn(1500, 1.0, 1)
    weights = fit_domain_classifier(source, target).weights(clip=1000)
    known = np.exp(source[:, 0] - 0.5)  # of normal distributions around 0 and 1
    assert np.corrcoef(np.log(weights), np.log(known))[0, 1] > 0.99
    assert np.average(source[:, 0], weights=weights) == pytest.approx(1.0, abs=0.2)
    assert weights.mean() == pytest.approx(1)


def test_equal_domains_weigh_alike() -> None:
    classifier = fit_domain_classifier(drawn(800, 0.0, 0), drawn(800, 0.0, 1))
    assert classifier.auc == pytest.approx(0.5, abs=0.04)
    assert effective_size(classifier.weights(clip=10)) > 780


def test_disjoint_domains_are_told_apart_and_leave_few_rows() -> None:
    classifier = fit_domain_classifier(drawn(300, 0.0, 0), drawn(300, 6.0, 1))
    assert classifier.auc > 0.999
    assert effective_size(classifier.weights(clip=1000)) < 60


def test_no_row_counts_more_than_the_clip_allows() -> None:
    classifier = fit_domain_classifier(drawn(400, 0.0, 0), drawn(400, 2.0, 1))
    loose, tight = classifier.weights(clip=1000), classifier.weights(clip=2)
    assert loose.max() > 5
    assert tight.max() / tight.min() <= 2 / (loose.min() * 0.999)
    assert effective_size(tight) > effective_size(loose)


def test_a_group_is_never_torn() -> None:
    """Every row stands in both domains: a fit that saw its twin would call it the other domain."""
    rows = np.random.default_rng(0).normal(size=(60, 40))
    names = [str(i) for i in range(60)] * 2
    assert fit_domain_classifier(rows, rows, names).auc == pytest.approx(0.5, abs=1e-9)
    assert fit_domain_classifier(rows, rows).auc < 0.45


def test_effective_size_counts_rows() -> None:
    assert effective_size(np.ones(7)) == pytest.approx(7)
    assert effective_size(np.array([1.0, 0.0, 0.0])) == pytest.approx(1)


@pytest.mark.parametrize("clip", [1.5, 3.0, 10.0])
@pytest.mark.parametrize("spread", [0.5, 2.5, 6.0])
def test_no_weight_is_above_the_clip_and_none_is_cut_needlessly(clip: float, spread: float) -> None:
    """Cut at ten times the average before, weights of 17 and 30 times the average came through."""
    likely = 1 / (1 + np.exp(-np.random.default_rng(0).normal(-3, spread, 2000)))
    weights = DomainClassifier(likely, likely).weights(clip)
    assert weights.mean() == pytest.approx(1)
    assert weights.max() <= clip * (1 + 1e-9)
    odds = np.clip(likely, 1e-6, 1 - 1e-6) / (1 - np.clip(likely, 1e-6, 1 - 1e-6))
    below = weights < weights.max() * (1 - 1e-9)
    np.testing.assert_allclose(
        weights[below] / odds[below], (weights[below] / odds[below])[0]
    )  # others keep their ratio
    if (weights / odds).min() < (weights / odds).max() * (1 - 1e-9):  # something was cut: at the clip, not below it
        assert weights.max() == pytest.approx(clip)
