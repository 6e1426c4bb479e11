"""The report of a run on a table: figures with the data, worst predictions by name, nothing hostile executed."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from matgraft.errors import RunError
from matgraft.reports.property_page import property_facts, write_property_report

HOSTILE = "<script>alert(1)</script>"


def metrics(classes=()):
    scores = {"balanced_accuracy": 0.8, "accuracy": 0.8, "log_loss": 0.4} if classes else {"mae": 0.1, "coverage": 0.9}
    return {
        "n": 40,
        "without_value": 1,
        "classes": list(classes),
        "scores": scores,
        "unlike": 0.05,
        "criterion": "log loss" if classes else "mean absolute error",
        "members": [{"name": "trees", "score": 0.12, "weight": 1.0, "pretrained": False}],
        "dropped": [{"name": "closed form", "score": 0.34, "pretrained": True}],
        "score": 0.12,
        "baseline": {"name": "descriptors and trees", "score": 0.13, "difference": -0.01, "interval": [-0.02, 0.005]},
        "scale": "none",
        "verdict": {
            "level": "no better than descriptors and trees",
            "headline": "no better: 0.12",
            "cautions": ["few"],
        },
    }


def rows(target, classes=()):
    rng = np.random.default_rng(0)
    found = []
    for i in range(40):
        row = {
            "line": i + 2,
            "formula": f"Fe{i + 1}O",
            "target": target,
            "distance": i / 40,
            "unlike": i > 37,
            "std": 0.1,
        }
        if classes:
            p = rng.dirichlet(np.ones(len(classes)))
            row |= {"truth": classes[i % len(classes)], "value": classes[int(p.argmax())]}
            row |= {f"p_{name}": x for name, x in zip(classes, p, strict=True)}
        else:
            row |= {"truth": float(i), "value": i + (25.0 if i == 7 else 0.1), "lower": i - 1.0, "upper": i + 1.0}
        found.append(row)
    return found


@pytest.fixture
def run(tmp_path):
    """A run with a number, two classes named 0 and 1, and three classes of which one has a hostile name."""
    targets = {"gap": (), "metal": ("0", "1"), "kind": ("a", "b", HOSTILE)}
    (tmp_path / "metrics.json").write_text(json.dumps({"targets": {name: metrics(c) for name, c in targets.items()}}))
    held = [row for name, classes in targets.items() for row in rows(name, classes)]
    pd.DataFrame(held).to_csv(tmp_path / "predictions.csv", index=False)
    places = [
        {"target": name, "line": i + 2, "formula": f"Fe{i + 1}O", "x": i, "y": -i, "truth": i % max(1, len(c))}
        for name, c in targets.items()
        for i in range(40)
    ]
    pd.DataFrame(places).to_csv(tmp_path / "map.csv", index=False)
    return tmp_path


def figures_of(page):
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S).group(1))


def test_every_target_has_its_figures_with_its_points(run):
    page = write_property_report(run).read_text()
    figures = figures_of(page)
    assert set(figures) == {
        "parity-0",
        "distance-0",
        "map-0",
        *(f"{name}-{i}" for i in (1, 2) for name in ("roc", "reliability", "distance", "map")),
    }
    for name in figures:
        assert f'id="plot-{name}"' in page
    points = figures["parity-0"]["data"][1]
    assert "Fe8O, line 9" in points["text"]
    assert "first fold" in page and "not needed" in page  # the member that the race dropped
    assert len(points["text"]) == 40
    assert len(figures["roc-2"]["data"]) == 1 + 3  # the diagonal and a curve a class
    assert len(figures["map-0"]["data"]) == 2  # the two unlike ones are ringed


def test_the_worst_prediction_is_named_first(run):
    worst = property_facts(run)["targets"][0]["worst"]
    assert len(worst) == 10
    assert (worst[0]["formula"], worst[0]["line"]) == ("Fe8O", 9)
    kind = property_facts(run)["targets"][2]
    lacks = [1 - row[f"p_{row['truth']}"] for row in kind["worst"]]
    assert lacks == sorted(lacks, reverse=True)


def test_coverage_is_counted(run):
    held = {row["part"]: row for row in property_facts(run)["targets"][0]["held_by"]}
    assert held["all"]["held"] == 1.0  # truth lies in the middle of each interval
    assert held["smallest third by distance"]["n"] in (13, 14)


def test_prompts_are_shown_where_there_are_any(run):
    assert 'id="prompts"' not in write_property_report(run).read_text()
    starts = [
        {"target": "gap", "class": None, "nearest": "mp_gap", "similarity": -0.61, "fits": 3},
        {"target": "kind", "class": HOSTILE, "nearest": "mp_e_form", "similarity": 0.2, "fits": 2},
    ]
    alike = {"names": ["[GAP]", f"[KIND] {HOSTILE}", "mp_gap"], "matrix": np.eye(3).tolist()}
    facts = {"tokens": {"[GAP]": "gap"}, "bank": "shipped", "starts": starts, "alike": alike, "trained": 1234,
             "stored_MB": 0.5}  # fmt: skip
    (run / "prompts.json").write_text(json.dumps(facts))
    page = write_property_report(run).read_text()
    assert HOSTILE not in page
    assert "1,234 numbers learned" in page
    assert "-0.61" in page
    (heat,) = figures_of(page)["prompts"]["data"]
    assert heat["type"] == "heatmap"
    assert heat["customdata"][0][2] == "[GAP] and mp_gap"
    (run / "prompts.json").write_text(json.dumps(facts | {"bank": None}))
    assert "began at random" in write_property_report(run).read_text()


def test_strangers_text_is_shown_and_not_run(run):
    page = write_property_report(run).read_text()
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page
    body = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert "http://" not in body.replace("http://www.w3.org", "")
    assert "https://" not in body


def test_what_is_missing_is_said(run):
    for name in ("predictions.csv", "map.csv"):
        (run / name).unlink()
    page = write_property_report(run).read_text()
    for name in ("predictions.csv", "map.csv", "settings.json", "model/card.json"):
        assert f"this run has no {name}" in page
    assert figures_of(page) == {}
    (run / "metrics.json").unlink()
    with pytest.raises(RunError, match=r"metrics\.json"):
        write_property_report(run)
