"""Figures: equal axes, the line y = x, the best checkpoint, and names that are only text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from matgraft.core.quantities import ENERGY
from matgraft.core.report.document import drawings
from matgraft.core.report.figures import COLOURS
from matgraft.potentials.report.facts import History, RunFacts, read_facts
from matgraft.potentials.report.run import run_document
from matgraft.potentials.report.scores import MOST_TYPES, type_figure
from matgraft.potentials.report.training import curve_figure
from matgraft.potentials.run_files import METRICS


def figures(facts: RunFacts) -> dict[str, go.Figure]:
    sections = run_document(facts).sections
    return {one.name: one.figure for section in sections for one in drawings(section.blocks)}


@pytest.fixture(scope="module")
def drawn(facts: RunFacts) -> dict[str, go.Figure]:
    return figures(facts)


def test_every_figure_is_there(drawn: dict[str, go.Figure]) -> None:
    quantities = ("energy", "forces", "stress")
    expected = {f"{kind}-{name}" for kind in ("parity", "errors", "types") for name in quantities}
    assert set(drawn) == expected | {f"curve-{name}" for name in (*quantities, "loss", "rate")}


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_parity_has_equal_axes_and_the_line(drawn: dict[str, go.Figure], name: str) -> None:
    plot = drawn[f"parity-{name}"]
    line, *clouds = plot.data
    assert plot.layout.xaxis.range == plot.layout.yaxis.range
    assert plot.layout.yaxis.scaleanchor == "x"
    assert tuple(line.x) == tuple(line.y) == tuple(plot.layout.xaxis.range)
    low, high = plot.layout.xaxis.range
    assert all(low <= np.min(v) and np.max(v) <= high for cloud in clouds for v in (cloud.x, cloud.y))
    assert len({cloud.marker.color for cloud in clouds}) == 2


def test_axes_state_their_units(drawn: dict[str, go.Figure]) -> None:
    units = {"energy": "meV/atom", "forces": "eV/Å", "stress": "GPa"}
    for name, unit in units.items():
        for plot in (drawn[f"parity-{name}"], drawn[f"errors-{name}"], drawn[f"types-{name}"]):
            assert f"({unit})" in plot.layout.xaxis.title.text
        assert f"({unit})" in drawn[f"curve-{name}"].layout.yaxis.title.text


def test_nothing_needs_webgl(drawn: dict[str, go.Figure]) -> None:
    assert {trace.type for plot in drawn.values() for trace in plot.data} == {"scatter", "bar"}


@pytest.mark.parametrize("name", ["loss", "energy", "forces", "stress", "rate"])
def test_the_best_checkpoint_is_ringed(drawn: dict[str, go.Figure], name: str) -> None:
    ring = drawn[f"curve-{name}"].data[-1]
    assert (ring.mode, list(ring.x)) == ("markers", [405])
    assert ring.customdata[0] == pytest.approx(405 * 2.9 / 60)  # minutes


def test_curves_carry_minutes(drawn: dict[str, go.Figure]) -> None:
    validation = drawn["curve-energy"].data[0]
    assert np.asarray(validation.customdata) == pytest.approx(np.asarray(validation.x) * 2.9 / 60)
    assert len(validation.x) == 18  # blanks are no points


def test_a_loss_of_zero_before_the_first_step_is_no_point(run_folder: Path) -> None:
    (run_folder / "history.csv").write_text(
        "step,seconds,train_loss,validation_loss\n0,0,0.0,0.9\n10,5,0.4,0.5\n20,9,0.2,0.4\n"
    )
    train = figures(read_facts(run_folder))["curve-loss"].data[0]
    assert list(train.x) == [10, 20]


def test_bars_hold_the_figures_and_the_worst_decile(pattern: Path, drawn: dict[str, go.Figure]) -> None:
    scores = METRICS.read(pattern)
    _, tuned = drawn["types-forces"].data
    key = "forces_rmse_eV_per_A"
    expected = [scores.by_config_type["test"][kind][key] for kind in ("AIMD-NVT", "Elastic", "Surface", "Vacancy")]
    assert list(tuned.x) == pytest.approx([*expected, scores.worst_force_decile["test"][key]])
    assert drawn["types-forces"].layout.yaxis.ticktext[-1] == "worst 10 %"
    assert len(drawn["types-energy"].data) == 3


Bars = Callable[..., go.Figure]


@pytest.fixture
def bars_of(pattern: Path) -> Bars:
    """Return the maker of one figure: errors of energies by model, one a config type."""

    def drawn(**errors: list[float]) -> go.Figure:
        by_type = {
            {"tuned": "test"}.get(model, model): {
                f"k{i}": {"energy_rmse_meV_per_atom": value, "n_frames": 3} for i, value in enumerate(values)
            }
            for model, values in errors.items()
        }
        plot = type_figure(METRICS.read(pattern).model_copy(update={"by_config_type": by_type}), ENERGY)
        assert plot is not None
        return plot

    return drawn


def test_a_bar_far_beyond_the_others_is_cut_and_keeps_its_figure(bars_of: Bars) -> None:
    plot = bars_of(tuned=[6.57, 9.0], shift=[13.5, 20.0], untuned=[919_139.0, 800_000.0])
    bars = {trace.marker.color: trace for trace in plot.data}
    end = plot.layout.xaxis.range[1]
    assert end == pytest.approx(1.28 * 20.0)
    assert list(bars[COLOURS["untuned"]].x) == [end, end]
    assert list(bars[COLOURS["untuned"]].text) == ["919,139, bar cut", "800,000, bar cut"]
    for model, values in (("tuned", [6.57, 9.0]), ("shift", [13.5, 20.0])):
        assert list(bars[COLOURS[model]].x) == values
        assert min(values) > 0.2 * end  # long enough to be seen
        assert not any("cut" in text for text in bars[COLOURS[model]].text)


@pytest.mark.parametrize("errors", [[6.57, 13.5, 95.0], [1.0, 1.0, 1.0], [0.0, 0.0, 5.0], [7.0, 8.0, 200.0]])
def test_bars_that_can_be_compared_are_not_cut(bars_of: Bars, errors: list[float]) -> None:
    plot = bars_of(tuned=errors[:1], shift=errors[1:2], untuned=errors[2:])
    assert sorted(x for trace in plot.data for x in trace.x) == sorted(errors)
    assert plot.layout.xaxis.range[1] > max(errors)


def test_names_are_escaped_shortened_and_kept_apart(make_run: Callable[..., Path]) -> None:
    long = "a very long config type, number "
    run = make_run(types={"<b>bold</b>": 1.0, long + "1": 1.0, long + "2": 1.0, "": 1.0})
    layout = figures(read_facts(run))["types-energy"].layout
    assert len(layout.yaxis.ticktext) == len(set(layout.yaxis.tickvals)) == 4
    assert not any("<" in text for text in layout.yaxis.ticktext)
    assert any("not stated" in text for text in layout.yaxis.ticktext)


def test_too_many_types_are_cut_to_those_with_most_frames(make_run: Callable[..., Path]) -> None:
    run = make_run(types={f"type-{i:02d}": 1.0 for i in range(40)}, n_frames=70)
    bars = figures(read_facts(run))["types-energy"]
    assert len(bars.layout.yaxis.ticktext) == MOST_TYPES
    assert all(text.endswith("(2)") for text in bars.layout.yaxis.ticktext)


def test_figures_stay_small(drawn: dict[str, Any]) -> None:
    assert sum(len(plot.to_json()) for plot in drawn.values()) < 400_000


@pytest.mark.parametrize(("best", "ringed"), [(0, False), (8, True)])
def test_a_best_loss_of_zero_has_no_ring_on_a_logarithmic_axis(best: int, ringed: bool) -> None:
    """A perfect start: the page failed with a math domain error."""
    history: History = {"step": [0, 4, 8], "train_loss": [0.0, 0.3, 0.2], "validation_loss": [0.0, 0.2, 0.1]}
    plot = curve_figure(history, "loss", best)
    assert plot is not None
    assert [tuple(trace.x) for trace in plot.data] == [(4, 8), (4, 8), *[(8,)] * ringed]
