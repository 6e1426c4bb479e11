"""The few-shot page: promises in words, figures with the data, nothing hostile executed."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from matgraft.core.verdict import Outcome
from matgraft.formulas.few_shot.classifier import Expectation
from matgraft.formulas.few_shot.metric import MetricScore
from matgraft.formulas.few_shot.page import write_fewshot_report
from matgraft.formulas.few_shot.result import (
    BaseScores,
    FewClasses,
    FewShotRun,
    FewValues,
    LeftOutValue,
    NamedFormula,
    PredictedValue,
    Spot,
    UsedEncoder,
)
from matgraft.formulas.few_shot.values import ValueExpectation

HOSTILE = "<script>alert(1)</script>"
SHARED = {
    "run": FewShotRun(support="s.csv", queries="q.csv"), "encoder": UsedEncoder(name="composition 1", sha256="abc"),
    "target": HOSTILE, "without_value": 1,
}  # fmt: skip


@pytest.fixture
def classes():
    scores = tuple(
        MetricScore(distance="mahalanobis", ways=ways, shots=shots, episodes=240, accuracy=0.8, accuracy_error=0.02,
                    untrained=0.79, untrained_error=0.02, gain=0.01, gain_error=0.005)
        for ways in (2, 3) for shots in (1, 5)
    )  # fmt: skip
    return FewClasses(
        **SHARED, examples=9, repeated=4, classes=("oxide", HOSTILE), shots=(8, 1), distance="mahalanobis",
        metric="shipped", threshold=2.0, threshold_from="base classes",
        predictions=tuple(
            NamedFormula(formula=f"Fe{i + 1}O", value="oxide", distance=0.5, none_of_these=i == 2,
                         probabilities={"oxide": 0.8, HOSTILE: 0.2})
            for i in range(3)
        ),
        map=tuple(Spot(kind=kind, name=HOSTILE, of_class=i, x=float(i), y=1.0)
                  for kind in ("example", "query", "prototype") for i in range(2)),
        expectation=Expectation(counted=8, correct=7, accuracy=0.875, low=0.53, high=0.98),
        base_classes=BaseScores(nearest=scores[0], rows=scores),
    )  # fmt: skip


@pytest.fixture
def values():
    found = [{"formula": f"Fe{i + 1}O", "value": i + 0.1, "lower": i - 1.0, "upper": i + 1.0, "std": 0.5,
              "distance": 0.1, "unlike": False} for i in range(6)]  # fmt: skip
    return FewValues(
        **SHARED, examples=40, formulas=8, level=0.9,
        expectation=ValueExpectation(mae=0.1, mean_mae=1.5, gain=1.4, gain_interval=(0.9, 1.9), coverage=1.0),
        left_out=tuple(LeftOutValue(**one, line=i + 2, truth=float(i)) for i, one in enumerate(found)),
        predictions=tuple(PredictedValue(**one) for one in found),
    )  # fmt: skip


def figures_of(page):
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S).group(1))


def codes(result):
    return [caution.code for caution in result.cautions]


def test_the_page_of_classes_stands_alone(classes, tmp_path):
    page = write_fewshot_report(classes, tmp_path / "page.html").read_text()
    assert HOSTILE not in page
    figures = figures_of(page)
    assert set(figures) == {"map", "likely", "episodes"}
    assert [len(trace["x"]) for trace in figures["map"]["data"][:3]] == [2, 2, 2]
    for name in ("map", "likely"):
        shown = [trace["name"] for trace in figures[name]["data"] if trace.get("showlegend")]
        assert shown == ["oxide", "&lt;script&gt;alert(1)&lt;/script&gt;"], name
    assert figures["likely"]["data"][0]["x"] == [0.8] * 3
    assert "Expectation: better than chance" in page and "Expect 88% right" in page
    assert page.count(">none of these</td>") == 1
    assert "80.0 % ± 2.0 %" in page
    assert "<dt>rows left out, since an earlier row has their formula</dt><dd>4</dd>" in page
    body = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert "https://" not in body


def test_the_page_of_values_shows_the_left_out(values, tmp_path):
    page = write_fewshot_report(values, tmp_path / "page.html").read_text()
    assert set(figures_of(page)) == {"parity"}
    assert "better than the mean of the labels" in page
    assert "fewer than 9 different formulas cannot set a 90% interval" in page  # of 8 formulas in 40 rows
    assert codes(values) == ["few-formulas", "intervals-of-the-examples"]
    assert codes(values.model_copy(update={"formulas": 9})) == ["intervals-of-the-examples"]


def test_what_the_examples_cannot_say_is_said(classes, values, tmp_path):
    assert codes(classes) == ["class-of-one-formula"]
    nothing = classes.model_copy(
        update={"expectation": None, "threshold": None, "metric": "none", "base_classes": None}
    )
    assert "nothing can be left out" in nothing.promise
    assert codes(nothing) == ["class-of-one-formula", "untaught-probabilities", "no-threshold"]
    assert nothing.verdict.outcome == Outcome.NOT_COMPARED
    assert "episodes" not in figures_of(write_fewshot_report(nothing, tmp_path / "page.html").read_text())
    guess = classes.model_copy(update={"expectation": replace(classes.expectation, low=0.4)})
    assert "no-better-than-chance" in codes(guess) and guess.verdict.level == "no better than chance"
    found = replace(values.expectation, gain=-1.4, gain_interval=(-1.9, -0.9))
    assert values.model_copy(update={"expectation": found}).promise.startswith("worse")
