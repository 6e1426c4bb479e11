"""Few examples: what does not matter does not, what is promised is counted, and mistakes are named."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from matgraft.core.errors import DataError
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.few_shot.classifier import _expectation, fit_few_shot
from matgraft.formulas.few_shot.metric import Metric, MetricCard, Space
from matgraft.formulas.few_shot.prototypes import DISTANCES
from matgraft.formulas.few_shot.values import fit_few_values
from matgraft.formulas.formula import parse_formula
from matgraft.foundations import load

OXIDES, CHLORIDES = ["Li2O", "MgO", "Al2O3", "TiO2", "ZnO"], ["LiCl", "MgCl2", "AlCl3", "TiCl4", "ZnCl2"]
QUERIES = ["CaO", "CaCl2", "Fe2O3", "FeCl3"]


def parsed(texts):
    return [parse_formula(text) for text in texts]


@pytest.fixture(scope="module")
def space():
    encoder = CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16, property_names=("a", "b"))
    background = tuple(parsed([*OXIDES, *CHLORIDES, "GaAs", "Fe", "NiAl", "Na2SO4"]))
    return Space.of(encoder, Metric("x", MetricCard(), background))


@pytest.fixture(scope="module")
def shipped():
    """The encoder that knows chemistry, with nothing taught on top."""
    return Space.of(load("composition"), Metric.untrained())


def fitted(space, oxides=OXIDES, chlorides=CHLORIDES, **more):
    labels = np.repeat([0, 1], [len(oxides), len(chlorides)])
    return fit_few_shot(parsed([*oxides, *chlorides]), labels, 2, space, **more)


@settings(max_examples=8)
@given(st.randoms(use_true_random=False), st.integers(1, 4), st.sampled_from(DISTANCES))
def test_order_of_rows_and_writing_and_scale_do_not_matter(space, random, times, distance):
    space = Space.of(space.backbone, space.metric, distance)
    rows = list(zip([*OXIDES, *CHLORIDES], [0] * 5 + [1] * 5, strict=True))
    plain = fitted(space).predict(parsed(QUERIES))
    random.shuffle(rows)
    texts = [rewritten(text, times, random) for text, _ in rows]
    other = fit_few_shot(parsed(texts), np.array([label for _, label in rows]), 2, space)
    again = other.predict(parsed([rewritten(text, times, random) for text in QUERIES]))
    np.testing.assert_allclose(again.probabilities, plain.probabilities, rtol=1e-4)
    np.testing.assert_allclose(plain.probabilities.sum(1), 1)
    np.testing.assert_allclose(again.distance, plain.distance, rtol=1e-4)


def rewritten(text, times, random):
    formula = parse_formula(text)
    amounts = [(symbol, round(x * formula.unit_atoms) * times)
               for symbol, x in zip(formula.symbols, formula.fractions, strict=True)]  # fmt: skip
    random.shuffle(amounts)
    return "".join(f"{symbol}{n}" for symbol, n in amounts)


def test_classes_are_told_apart_and_the_expectation_is_a_count(shipped):
    few = fitted(shipped)
    assert few.predict(parsed(QUERIES)).value.tolist() == [0, 1, 0, 1]
    expected = few.expectation
    assert expected.counted == 10
    assert expected.correct >= 8
    assert 0.4 < expected.low < expected.accuracy <= expected.high
    assert fitted(shipped, leave_out=False).expectation is None


def test_naming_the_larger_class_always_promises_nothing():
    """Of 5 and 50 examples 50 are named rightly so: 80 to 97 % were promised beside a chance of 50 %."""
    found = _expectation([(0, False)] * 5 + [(1, True)] * 50)
    assert (found.counted, found.correct, found.accuracy) == (55, 50, 0.5)
    assert found.low < 0.3 and found.high > 0.7  # as sure as 18 examples
    alike = _expectation([(0, True)] * 9 + [(0, False)] + [(1, True)] * 8 + [(1, False)] * 2)
    known = binomtest(17, 20).proportion_ci(0.95, method="wilson")
    assert (alike.accuracy, alike.low, alike.high) == pytest.approx((0.85, known.low, known.high))
    assert _expectation([(0, True)] * 3).high == 1


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("oxides", "chlorides"), [(OXIDES, CHLORIDES), (OXIDES[:2], CHLORIDES), (OXIDES[:1], CHLORIDES[:1])]
)
def test_a_formula_in_many_rows_is_one_example(space, distance, oxides, chlorides):
    space = Space.of(space.backbone, space.metric, distance)
    once = fitted(space, oxides, chlorides)
    for more in (oxides * 10, [*oxides, *[rewritten(oxides[0], 3, random.Random(0))] * 5]):
        again = fitted(space, more, chlorides)
        assert again.shots.tolist() == once.shots.tolist() == [len(oxides), len(chlorides)]
        assert (again.expectation, again.threshold) == (once.expectation, once.threshold)
        one, other = (few.predict(parsed(QUERIES)) for few in (once, again))
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
        np.testing.assert_array_equal(one.distance, other.distance)


def test_a_class_whose_rows_are_one_formula_is_not_left_out(space):
    assert fitted(space, ["MgO", "Mg2O2"]).expectation.counted == 5  # the chlorides: without MgO no oxide is left


def test_one_example_a_class_promises_nothing(space):
    few = fitted(space, OXIDES[:1], CHLORIDES[:1])
    assert few.expectation is None
    assert few.threshold is None
    prediction = few.predict(parsed([OXIDES[0], CHLORIDES[0]]))
    assert prediction.value.tolist() == [0, 1]
    assert np.isnan(prediction.distance).all()
    assert not prediction.unlike.any()


def test_what_is_far_from_all_is_none_of_these(space, shipped):
    prediction = fitted(shipped).predict(parsed(["Au20U3", "Ni3Al", "CaO"]))
    assert prediction.unlike.tolist() == [True, True, False]
    own = fitted(shipped).predict(parsed([*OXIDES, *CHLORIDES]))
    assert own.unlike.mean() <= 0.1
    taught = MetricCard(thresholds={"mahalanobis": {1: 1e-6, 2: 1e-6, 20: 1e-6}})
    strict = Space.of(space.backbone, Metric("x", taught, space.metric.background))
    assert fitted(strict).threshold == 1e-6
    assert fitted(strict).predict(parsed(["CaO"])).unlike.all()


@pytest.mark.parametrize(
    ("texts", "labels", "n_classes", "said"),
    [
        (["MgO", "CaO"], [0, 0], 1, "one class only"),
        (["MgO", "CaO"], [0, 0], 2, "no example of class 1"),
        (["MgO", "Mg2O2"], [0, 1], 2, "two classes"),
        (["MgO"], [0, 1], 2, "1 formulas, but 2"),
        (["MgO"] * 300 + ["CaO"], [0] * 300 + [1], 2, "matgraft tune"),
    ],
)
def test_mistakes_are_named(space, texts, labels, n_classes, said):
    with pytest.raises(DataError, match=said):
        fit_few_shot(parsed(texts), np.array(labels), n_classes, space)


def test_no_query_is_an_error(space):
    with pytest.raises(DataError, match="no formula"):
        fitted(space).predict([])


def test_few_values_are_predicted_with_intervals_and_judged_by_leaving_out(table, small):
    formulas, values = table
    few = fit_few_values([*formulas[:12], formulas[0]], np.array([*values[:12], values[0]]), small)
    held, expected = few.left_out, few.expectation
    assert held.value[0] == pytest.approx(held.value[12])  # both rows of a formula are left out together
    assert expected.mae == pytest.approx(np.abs(held.value - few.predictor.labels.y).mean())
    assert expected.gain == pytest.approx(expected.mean_mae - expected.mae)
    assert expected.coverage >= 0.9
    prediction = few.predictor.predict(formulas[12:15])
    assert (prediction.lower <= prediction.value).all()
    assert (prediction.value <= prediction.upper).all()
    assert (prediction.std > 0).all()


@pytest.mark.parametrize(
    ("n", "change", "said"),
    [
        (4, lambda y: y, "at least 5"),
        (51, lambda y: y, "matgraft tune"),
        (6, lambda y: y * np.nan, "not finite"),
        (6, lambda y: 0 * y + 3, "every value is 3"),
    ],
)
def test_few_values_that_cannot_do_are_refused(table, small, n, change, said):
    with pytest.raises(DataError, match=said):
        fit_few_values(table[0][:n], change(table[1][:n]), small)
