"""The few-shot page: promises in words, figures with the data, nothing hostile executed."""

from __future__ import annotations

import json
import re

import pytest

from matgraft.formulas.few_shot.page import cautions, fewshot_figures, promise, write_fewshot_report

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def classes():
    rows = [
        {"formula": f"Fe{i + 1}O", "value": "oxide", "distance": 0.5, "p_oxide": 0.8, f"p_{HOSTILE}": 0.2,
         "none_of_these": i == 2}
        for i in range(3)
    ]  # fmt: skip
    spots = [{"kind": kind, "name": HOSTILE, "class": i, "x": float(i), "y": 1.0}
             for kind in ("example", "query", "prototype") for i in range(2)]  # fmt: skip
    scores = [{"distance": "mahalanobis", "ways": ways, "shots": shots, "episodes": 240, "accuracy": 0.8,
               "accuracy_error": 0.02, "untrained": 0.79, "untrained_error": 0.02, "gain": 0.01, "gain_error": 0.005}
              for ways in (2, 3) for shots in (1, 5)]  # fmt: skip
    return {
        "kind": "classes", "target": HOSTILE, "examples": 9, "without_value": 1, "repeated": 4,
        "classes": ["oxide", HOSTILE], "shots": [8, 1], "distance": "mahalanobis", "metric": "shipped",
        "threshold": 2.0,
        "threshold_from": "base classes", "predictions": rows, "map": spots,
        "expectation": {"counted": 8, "correct": 7, "accuracy": 0.875, "low": 0.53, "high": 0.98},
        "base_classes": {"nearest": scores[0], "rows": scores},
        "run": {"support": "s.csv", "queries": "q.csv", "foundation": "composition"},
        "encoder": {"name": "composition 1", "sha256": "abc"},
    }  # fmt: skip


@pytest.fixture
def values(classes):
    left_out = [{"formula": f"Fe{i + 1}O", "line": i + 2, "truth": float(i), "value": i + 0.1, "lower": i - 1.0,
                 "upper": i + 1.0, "distance": 0.1, "unlike": False} for i in range(6)]  # fmt: skip
    expectation = {"mae": 0.1, "mean_mae": 1.5, "gain": 1.4, "gain_interval": [0.9, 1.9], "coverage": 1.0}
    shared = {name: classes[name] for name in ("target", "without_value", "run", "encoder")}
    return shared | {"kind": "values", "examples": 40, "formulas": 8, "level": 0.9, "expectation": expectation,
                     "left_out": left_out, "predictions": left_out}  # fmt: skip


def figures_of(page):
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S).group(1))


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
    assert "Expect 88% right" in page
    assert page.count(">none of these</td>") == 1
    assert "80.0 % ± 2.0 %" in page
    assert "<dt>rows left out, since an earlier row has their formula</dt><dd>4</dd>" in page
    body = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert "https://" not in body


def test_the_page_of_values_shows_the_left_out(values, tmp_path):
    page = write_fewshot_report(values, tmp_path / "page.html").read_text()
    assert set(figures_of(page)) == {"parity"}
    assert "Better than the mean of the labels" in page
    assert "fewer than 9 different formulas cannot set a 90% interval" in page  # of 8 formulas in 40 rows
    assert not any("cannot set" in line for line in cautions(values | {"formulas": 9}))


def test_what_the_examples_cannot_say_is_said(classes, values):
    assert any("a class of one formula" in line for line in cautions(classes))
    nothing = classes | {"expectation": None, "threshold": None, "metric": "none", "base_classes": None}
    assert "nothing can be left out" in promise(nothing)
    assert len(cautions(nothing)) == 3
    assert "episodes" not in fewshot_figures(nothing)
    guess = classes | {"expectation": classes["expectation"] | {"low": 0.4}}
    assert any("guessing" in line for line in cautions(guess))
    worse = values | {"expectation": values["expectation"] | {"gain": -1.4, "gain_interval": [-1.9, -0.9]}}
    assert promise(worse).startswith("worse")
