"""Charts whose axes one value does not decide, and intervals that hold less where they are wide."""

from __future__ import annotations

import re

import numpy as np
import pytest

from matgraft.core.report import html
from matgraft.core.report.figures import PALETTE, ends_of, style
from matgraft.formulas.report.facts import HeldPart, uneven
from matgraft.formulas.report.plots import beyond_truth, distance_figure, truth_figure
from matgraft.potentials.report.clouds import cloud_figure, n_beyond
from matgraft.potentials.report.parity import Histogram, ModelPoints, QuantityParity


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_twelve_classes_have_twelve_colours_that_read_on_both_papers() -> None:
    assert len({style(i)["colour"] for i in range(12)}) == 12
    css = (html.FOLDER / "report.css").read_text()
    papers = re.findall(r"--paper: (#[0-9a-f]{6})", css)
    assert len(papers) == 2
    for colour in PALETTE:
        for paper in papers:
            low, high = sorted((luminance(colour), luminance(paper)))
            assert (high + 0.05) / (low + 0.05) >= 3, (colour, paper)


@pytest.mark.parametrize("far", [919_138.0, -919_138.0, 1e300])
def test_a_value_that_is_far_off_flattens_no_chart(far: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(3, 1, 200)
    value = truth + rng.normal(0, 0.1, 200)
    value[7] = far
    held = {"formula": ["FeO"] * 200, "line": range(200), "truth": list(truth), "value": list(value),
            "lower": list(value), "upper": list(value), "distance": list(rng.random(200))}  # fmt: skip
    error = np.abs(value - truth).tolist()
    plot = truth_figure("gap", held, error, unit="eV")  # type: ignore[arg-type]
    low, high = plot.layout.yaxis.range
    points = plot.data[1]
    assert high - low < 10
    assert points.marker.symbol[7] == ("triangle-up" if far > 0 else "triangle-down")
    assert points.customdata[7][1] == far
    assert points.y[7] == (high if far > 0 else low)
    assert beyond_truth(held, error) == sum(one != "circle" for one in points.marker.symbol) == 1  # type: ignore[arg-type]
    assert plot.layout.yaxis.title.text == "gap, predicted out of fold (eV)"
    assert [trace.name for trace in plot.data if trace.showlegend] == ["equal", "a row, with its interval"]
    apart = distance_figure(held, error, "absolute error")  # type: ignore[arg-type]
    assert apart.layout.yaxis.range[1] < 10
    assert max(apart.data[1].y) <= apart.layout.yaxis.range[1]
    assert [trace.name for trace in apart.data] == ["a row", "mean of a tenth of all rows"]


def test_an_energy_that_is_far_off_flattens_no_cloud() -> None:
    label = np.random.default_rng(0).normal(0, 50, 300)

    def of(points: np.ndarray) -> ModelPoints:
        return ModelPoints(points=points.tolist(), rmse=1, mae=1, worst=1, slope=1)

    whole, off = label + 1, label + 2
    off[3] = 919_138.0
    shown = QuantityParity(
        unit="meV/atom", n_points=300, n_drawn=300, n_left_out=0, label=label.tolist(), drawn=["untuned", "tuned"],
        models={"untuned": of(off), "tuned": of(whole)}, histogram=Histogram(centres=[0.0], percent={}),
    )  # fmt: skip
    plot = cloud_figure("energy", shown)
    assert plot.layout.yaxis.range[1] < 300
    assert n_beyond(shown) == 1
    _, near, edge, tuned = plot.data
    assert (len(near.x), list(edge.marker.symbol), len(tuned.x)) == (299, ["triangle-up"], 300)
    assert edge.customdata[0][1] == 919_138.0
    assert edge.y[0] == plot.layout.yaxis.range[1]


def test_a_chart_without_far_values_has_its_own_ends() -> None:
    low, high = ends_of(np.array([1.0, 2.0, 5.0]))
    assert low < 1 < 5 < high < 6
    spread = np.concatenate([np.zeros(90), np.linspace(-9, 9, 90), [70.0] * 5])
    assert ends_of(spread)[1] > 70  # five of 185 are no few
    assert ends_of(spread[:-4])[1] < 12
    assert ends_of(np.array([2.0, 2.0])) == (1.0, 3.0)
    assert ends_of(np.array([np.nan])) == (0.0, 1.0)


def part(which: str, n: int, held: float) -> HeldPart:
    return HeldPart(part=f"{which} third by width", n=n, held=held)


def test_intervals_that_hold_less_where_they_are_wide_are_remarked() -> None:
    ((more, less),) = uneven([part("smallest", 200, 0.95), part("middle", 200, 0.9), part("largest", 200, 0.82)])
    assert (more.held, less.held) == (0.95, 0.82)
    assert uneven([part("smallest", 20, 0.95), part("largest", 20, 0.82)]) == []  # of so few rows it may be chance
    assert uneven([part("smallest", 20000, 0.92), part("largest", 20000, 0.89)]) == []  # too small to matter
    assert uneven([]) == []
