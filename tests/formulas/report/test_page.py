"""The report of a run on a table: figures with the data, worst predictions by name, nothing hostile executed."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import RunError
from matgraft.core.report.figures import style
from matgraft.formulas.report.page import property_facts, write_property_report
from matgraft.formulas.report.plots import distance_figure, parity_figure, reliability_figure, roc_figure

HOSTILE = "<script>alert(1)</script>"


def metrics(classes=()):
    scores = {"balanced_accuracy": 0.8, "accuracy": 0.8, "log_loss": 0.4} if classes else {"mae": 0.1, "coverage": 0.9}
    return {
        "n": 40,
        "without_value": 1,
        "without_weight": 2,
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


def test_errors_with_and_without_a_label_in_the_pretraining_are_a_table(run):
    assert "what the pretraining knew" not in write_property_report(run).read_text()  # a run of an earlier version
    content = json.loads((run / "metrics.json").read_text())
    targets = content["targets"]
    against = {"name": "descriptors and trees", "score": 0.5, "difference": -0.125, "interval": [-0.25, -0.0625]}
    scores = {"with_label": {"mae": 0.375, "rmse": 1.0}, "without_label": {"mae": 0.75, "rmse": 1.0}}
    compared = {"with_label": against, "without_label": against | {"interval": None}}
    known = {"n": 40, "with_label": 31, "by_property": {"mp_gap": 31}, "scores": scores, "compared": compared}
    targets["gap"]["pretraining"] = known
    lone = {"with_label": {}, "without_label": {"balanced_accuracy": 0.5, "log_loss": 0.6875}}
    targets["metal"]["pretraining"] = {"n": 40, "with_label": 0, "by_property": {}, "scores": lone, "compared": {}}
    targets["kind"]["pretraining"] = None
    (run / "metrics.json").write_text(json.dumps(content))
    page = write_property_report(run).read_text()
    gap, metal, kind = (target["by_label"] for target in json.loads((run / "report.json").read_text())["targets"])
    part = {"ours": 0.375, "baseline": 0.5, "difference": -0.125}
    assert gap == [
        {"part": "with a label", "n": 31, **part, "interval": [-0.25, -0.0625]},
        {"part": "without a label", "n": 9, **part, "interval": None},
    ]
    none = dict.fromkeys(("baseline", "difference", "interval"))
    assert metal == [{"part": "without a label", "n": 40, "ours": 0.6875, **none}] and not kind
    parts = [part.split("</section>")[0] for part in page.split("what the pretraining knew</h2>")[1:]]
    assert len(parts) == 3
    cells = re.findall(r"<td[^>]*>(.*?)</td>", parts[0])
    assert cells[:5] == ["with a label", "31", "0.375", "0.5", "-0.125 (-0.25 to -0.0625)"]
    assert cells[5:] == ["without a label", "9", "0.375", "0.5", "-0.125"]
    assert "mp_gap 31" in parts[0]
    assert re.findall(r"<td[^>]*>(.*?)</td>", parts[1]) == ["without a label", "40", "0.6875"]
    assert "Not known" in parts[2] and "labels.npz" in parts[2]


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


def test_names_stand_in_figures_as_they_are():
    """Plotly reads tags and links in titles, knows no &quot;, and fills in %{x} where the mouse is."""
    name = 'a "5%" <a href="http://b">%{x}</a>'
    shown = 'a "5%" &lt;a href="http://b"&gt;&#37;{x}&lt;/a&gt;'
    held = {"formula": ["FeO"] * 4, "line": [2, 3, 4, 5], "truth": ["b", name] * 2, f"p_{name}": [0.1, 0.9, 0.6, 0.7]}
    for draw in (roc_figure, reliability_figure):
        curve = draw({"classes": ["b", name], "held": held}).data[1]
        assert curve.name == shown and curve.hovertemplate.startswith(f"{shown}: ")
    values = {key: [1.0, 2.0, 3.0, 4.0] for key in ("truth", "value", "lower", "upper")}
    layout = parity_figure({"name": name, "held": held | values, "error": [0.0] * 4}).layout
    assert layout.xaxis.title.text == f"{shown}, in the table"
    assert layout.yaxis.title.text == f"{shown}, predicted out of fold"


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


def big(n):
    rng = np.random.default_rng(0)
    error = rng.exponential(1, n)
    held = {"line": range(n), "formula": ["FeO"] * n, "distance": list(rng.random(n))}
    return {"name": "gap", "classes": [], "held": held, "error": list(error), "map": {}}


@pytest.mark.parametrize("n", [500, 3000, 3001, 50_000])
def test_the_curve_of_errors_is_that_of_all_rows(n):
    """The points hold the 300 worst, so their mean is not that of the rows: 1.5 instead of 1 at 50,000 rows."""
    target = big(n)
    points, curve = distance_figure(target).data
    distance, error = np.array(target["held"]["distance"]), np.array(target["error"])
    tenths = np.array_split(np.argsort(distance), 10)
    np.testing.assert_allclose(curve.y, [error[tenth].mean() for tenth in tenths])
    np.testing.assert_allclose(curve.x, [distance[tenth].mean() for tenth in tenths])
    assert len(points.x) == min(n, 3000)
    assert set(np.sort(error)[-300:]) <= set(points.y)


def test_points_left_out_are_said(run):
    assert "rows drawn" not in write_property_report(run).read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matgraft.formulas.report.plots.MOST", 20)
        patch.setattr("matgraft.formulas.report.plots.WORST", 2)
        patch.setattr("matgraft.formulas.report.page.WORST", 2)
        places = pd.read_csv(run / "map.csv")
        places[places["line"] < 12].to_csv(run / "map.csv", index=False)
        page = write_property_report(run).read_text()
    drawn = "20 of 40 rows drawn: the 2 of the largest errors, and a random draw"
    assert page.count(drawn) == 2 + 1 + 1  # parity and distance of numbers, distance of each of two classifications
    assert page.count("10 of 40 rows drawn at random") == 3
    assert len(figures_of(page)["parity-0"]["data"][1]["text"]) == 20


def test_classes_have_a_legend(run):
    figures = figures_of(write_property_report(run).read_text())
    names = ["a", "b", "&lt;script&gt;alert(1)&lt;/script&gt;"]
    for name in ("roc-2", "reliability-2", "map-2"):
        shown = [trace["name"] for trace in figures[name]["data"] if trace.get("showlegend")]
        assert (shown, figures[name]["layout"]["showlegend"]) == (names, True), name
    colours = [trace["line"]["color"] for trace in figures["roc-2"]["data"] if trace.get("showlegend")]
    assert len(set(colours)) == 3
    ways = [tuple(style(i)[key] for key in ("colour", "dash")) for i in range(18)]
    assert len(set(ways)) == 18  # beyond six classes the colours come again, with other dashes


def test_no_axis_calls_a_value_of_the_table_measured(run):
    page = write_property_report(run).read_text().lower()
    body = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert "measured" not in body
    assert figures_of(page)["parity-0"]["layout"]["xaxis"]["title"]["text"] == "gap, in the table"
