"""The report of a run on a table: figures with the data, worst predictions by name, nothing hostile executed."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import RunError
from matgraft.core.files import write_text
from matgraft.core.findings import Finding
from matgraft.core.report.document import Document
from matgraft.core.report.figures import style
from matgraft.core.report.html import to_html
from matgraft.core.verdict import Caution, Damage, Outcome, Verdict
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.predictor.facts import BaselineComparison, FittedMember, WeighedMember
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.prompts.facts import Alike, PromptFacts, PromptStart
from matgraft.formulas.report.facts import PROMPTS, property_facts
from matgraft.formulas.report.page import table_audit_section, write_property_report
from matgraft.formulas.report.plots import distance_figure, reliability_figure, roc_figure, truth_figure
from matgraft.formulas.report.rows import prediction_rows, write_rows
from matgraft.formulas.scoring.pretraining import PretrainingFacts
from matgraft.formulas.scoring.target import METRICS, TableMetrics, TargetMetrics
from matgraft.formulas.table.audit.audit import TableAudit

HOSTILE = "<script>alert(1)</script>"
TARGETS = {"gap": (), "metal": ("0", "1"), "kind": ("a", "b", HOSTILE)}
"""A number, two classes named 0 and 1, and three classes of which one has a hostile name."""


def compared(difference, interval):
    return BaselineComparison(
        name="descriptors and trees", score=0.5, difference=difference, interval=interval, n_units=40
    )


def metrics(classes=(), pretraining=None):
    scores = {"balanced_accuracy": 0.8, "accuracy": 0.8, "log_loss": 0.4} if classes else {"mae": 0.1, "coverage": 0.9}
    return TargetMetrics(
        n=40,
        without_value=1,
        without_weight=2,
        weighted=False,
        classes=classes,
        scores=scores,
        unlike=0.05,
        pretraining=pretraining,
        criterion="log loss" if classes else "mean absolute error",
        members=(WeighedMember(name="trees", score=0.12, weight=1.0, pretrained=False),),
        dropped=(FittedMember(name="closed form", score=0.34, pretrained=True),),
        gate=None,
        score=0.12,
        baseline=compared(-0.01, (-0.02, 0.005)),
        scale="none",
        familiar=True,
        verdict=Verdict(
            outcome=Outcome.NO_BETTER,
            against="descriptors and trees",
            headline="No better: 0.12",
            cautions=(Caution(code="few-rows", damage=Damage.DOUBT, text="few"),),
        ),
    )


def rows(target, classes=()):
    rng, n = np.random.default_rng(0), 40
    formulas = [parse_formula(f"Fe{i + 1}O") for i in range(n)]
    distance, index = np.where(np.arange(n) > 37, 1.5, np.arange(n) / n), np.arange(float(n))
    if classes:
        likely = rng.dirichlet(np.ones(len(classes)), n)
        value, truths = likely.argmax(1).astype(float), index % len(classes)
        held = Prediction(value, value, value, np.full(n, 0.1), distance, likely)
    else:
        truths, value = index, index + np.where(index == 7, 25.0, 0.1)
        held = Prediction(value, index - 1, index + 1, np.full(n, 0.1), distance)
    lines = tuple(range(2, n + 2))
    return prediction_rows(formulas, held, classes, {"target": target, "fold": "out of fold"}, truths, lines)


def write_metrics(run, **pretraining):
    targets = {name: metrics(classes, pretraining.get(name)) for name, classes in TARGETS.items()}
    METRICS.write(run, TableMetrics(targets=targets))


@pytest.fixture
def run(tmp_path):
    """A run with three targets, whose files come from their writers."""
    write_metrics(tmp_path)
    write_rows([row for name, classes in TARGETS.items() for row in rows(name, classes)], tmp_path / "predictions.csv")
    places = [
        {"target": name, "line": i + 2, "formula": f"Fe{i + 1}O", "x": float(i), "y": -float(i),
         "truth": float(i % max(1, len(classes)))}
        for name, classes in TARGETS.items()
        for i in range(40)
    ]  # fmt: skip
    write_rows(places, tmp_path / "map.csv")
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
    worst = property_facts(run).targets[0].worst
    assert len(worst) == 10
    assert (worst[0]["formula"], worst[0]["line"]) == ("Fe8O", 9)
    kind = property_facts(run).targets[2]
    lacks = [1 - row[f"p_{row['truth']}"] for row in kind.worst]
    assert lacks == sorted(lacks, reverse=True)


def test_coverage_is_counted(run):
    held = {row.part: row for row in property_facts(run).targets[0].held_by}
    assert held["all"].held == 1.0  # truth lies in the middle of each interval
    assert held["smallest third by distance"].n in (13, 14)


def test_errors_with_and_without_a_label_in_the_pretraining_are_a_table(run):
    gain, scores = compared(-0.125, (-0.25, -0.0625)), {"mae": 0.375, "rmse": 1.0}
    both = {"with_label": gain, "without_label": gain.model_copy(update={"interval": None})}
    gap = PretrainingFacts(
        n=40, weighted=False, with_label=31, by_property={"mp_gap": 31}, compared=both,
        scores={"with_label": scores, "without_label": scores},
    )  # fmt: skip
    metal = PretrainingFacts(
        n=40, weighted=False, with_label=0, by_property={}, compared={},
        scores={"with_label": {}, "without_label": {"balanced_accuracy": 0.5, "log_loss": 0.6875}},
    )  # fmt: skip
    write_metrics(run, gap=gap, metal=metal)
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
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", parts[0].split("<tbody>")[1])
    assert cells[:5] == ["with a label", "31", "0.375", "0.5", "-0.125 (-0.25 to -0.0625)"]
    assert cells[5:] == ["without a label", "9", "0.375", "0.5", "-0.125"]
    assert "mp_gap 31" in parts[0]
    assert re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", parts[1].split("<tbody>")[1]) == ["without a label", "40", "0.6875"]
    assert "Not known" in parts[2] and "labels.npz" in parts[2]


def test_prompts_are_shown_where_there_are_any(run):
    assert 'id="prompts"' not in write_property_report(run).read_text()
    starts = (
        PromptStart(target="gap", asked=None, nearest="mp_gap", similarity=-0.61, fits=3),
        PromptStart(target="kind", asked=HOSTILE, nearest="mp_e_form", similarity=0.2, fits=2),
    )
    alike = Alike(names=("[GAP]", f"[KIND] {HOSTILE}", "mp_gap"), matrix=np.eye(3).tolist())
    facts = PromptFacts(
        tokens={"[GAP]": "gap"}, bank="shipped", starts=starts, alike=alike, trained=1234, stored_MB=0.5
    )
    PROMPTS.write(run, facts)
    assert json.loads((run / "prompts.json").read_text())["starts"][1]["class"] == HOSTILE
    page = write_property_report(run).read_text()
    assert HOSTILE not in page
    assert "1,234 numbers learned" in page
    assert "-0.61" in page
    (heat,) = figures_of(page)["prompts"]["data"]
    assert heat["type"] == "heatmap"
    assert heat["customdata"][0][2] == "[GAP] and mp_gap"
    PROMPTS.write(run, facts.model_copy(update={"bank": None}))
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
        curve = draw(held, ("b", name)).data[1]
        assert curve.name == shown and curve.hovertemplate.startswith(f"{shown}: ")
    values = {key: [1.0, 2.0, 3.0, 4.0] for key in ("truth", "value", "lower", "upper")}
    layout = truth_figure(name, held | values, [0.0] * 4).layout
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
    return {"line": range(n), "formula": ["FeO"] * n, "distance": list(rng.random(n))}, error.tolist()


@pytest.mark.parametrize("n", [500, 3000, 3001, 50_000])
def test_the_curve_of_errors_is_that_of_all_rows(n):
    """The points hold the 300 worst, so their mean is not that of the rows: 1.5 instead of 1 at 50,000 rows."""
    held, errors = big(n)
    points, curve = distance_figure(held, errors, "absolute error").data
    distance, error = np.array(held["distance"]), np.array(errors)
    tenths = np.array_split(np.argsort(distance), 10)
    np.testing.assert_allclose(curve.y, [error[tenth].mean() for tenth in tenths])
    np.testing.assert_allclose(curve.x, [distance[tenth].mean() for tenth in tenths])
    assert len(points.x) == min(n, 3000)
    assert set(np.sort(error)[-300:]) <= set(points.customdata)


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
    assert len(set(ways)) == 18  # beyond twelve classes the colours come again, with other dashes


def test_no_axis_calls_a_value_of_the_table_measured(run):
    page = write_property_report(run).read_text().lower()
    body = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert "measured" not in body
    assert figures_of(page)["parity-0"]["layout"]["xaxis"]["title"]["text"] == "gap, in the table"


def test_metrics_of_an_earlier_version_are_named(run):
    content = json.loads((run / "metrics.json").read_text())
    content["targets"]["gap"]["verdict"] = {"level": "better", "headline": "better: 0.12", "cautions": ["few"]}
    write_text(run / "metrics.json", json.dumps(content))
    with pytest.raises(RunError, match=r"metrics\.json cannot be read: targets\.gap\.verdict"):
        write_property_report(run)


def test_the_page_shows_what_the_audit_found_with_its_lines():
    found = Finding(code="mixed-units", title="Rows in another unit", outcome="failed", severity="error", lines=(3, 9),
                    evidence=HOSTILE)  # fmt: skip
    audit = TableAudit(targets={"gap": (found, Finding(code="censored", title="Piles", outcome="passed"))})
    page = to_html(Document("run", [table_audit_section("gap", audit, 0), table_audit_section("other", audit, 1)]))
    assert "mixed-units" in page and "2: 3, 9" in page and HOSTILE not in page
    assert "Not recorded: this run has no audit.json" in page
    assert "<th>Lines</th>" in page and "<th>Frames</th>" not in page
