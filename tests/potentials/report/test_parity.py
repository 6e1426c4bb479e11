"""Points, errors and histograms are those of the table; thinning hides nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.quantities import ENERGY, FORCES
from matgraft.potentials.report.parity import (
    PredictedBy,
    QuantityParity,
    composition_energies,
    drawn_models,
    parity,
    thin,
)


def table(
    errors: dict[str, float], formulas: tuple[str, ...] = ("Si2", "SiO2", "Si4O2"), part: str = "test"
) -> pd.DataFrame:
    """One row a model and frame; every prediction is off by the model's constant in each canonical unit (an atom)."""
    rng = np.random.default_rng(1)
    rows = []
    for frame, (formula, n) in enumerate(zip(formulas, (2, 3, 6), strict=True)):
        energy, forces, stress = rng.normal(-8.0 * n, 0.1), rng.normal(size=3 * n), rng.normal(size=6)
        rows += [
            {"part": part, "model": model, "frame": frame, "formula": formula, "n_atoms": n,
             "energy_label": energy, "energy": energy + n * error, "forces_label": forces, "forces": forces + error,
             "stress_label": stress, "stress": stress + error}
            for model, error in errors.items()
        ]  # fmt: skip
    return pd.DataFrame(rows)


def quantities(found: pd.DataFrame) -> dict[str, QuantityParity]:
    shown = parity(found)
    assert shown is not None
    return shown.quantities


def test_errors_are_in_the_units_of_reports() -> None:
    shown = quantities(table({"tuned": 0.01}))
    found = {name: (q.models["tuned"].rmse, q.unit) for name, q in shown.items()}
    assert found["energy"] == (pytest.approx(10.0), "meV/atom")
    assert found["forces"] == (pytest.approx(0.01), "eV/Å")
    assert found["stress"] == (pytest.approx(1.6021766), "GPa")  # 0.01 eV/Å³
    assert shown["forces"].n_points == 3 * (2 + 3 + 6)


def test_taking_off_the_composition_leaves_errors_alone() -> None:
    shown = quantities(table({"untuned": 0.5, "tuned": -0.02}))["energy"]
    error = np.subtract(shown.models["tuned"].points, shown.label)
    assert error == pytest.approx(-20.0, abs=0.05)
    assert np.ptp(shown.label) < 500  # the total energies differ by 32 eV


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=2), st.integers(3, 8))
@settings(max_examples=25, deadline=None)
def test_energies_that_are_all_composition_are_taken_off_whole(per_element: list[float], n: int) -> None:
    formulas = [f"Si{i + 1}O{2 * i + 1}" for i in range(n)]
    energies = np.array([(i + 1) * per_element[0] + (2 * i + 1) * per_element[1] for i in range(n)])
    assert composition_energies(formulas, energies) == pytest.approx(energies, abs=1e-6)


def test_unreadable_formulas_show_energies_as_they_are() -> None:
    assert composition_energies(["Si2", "?!"], np.array([1.0, 2.0])) == pytest.approx([0.0, 0.0])


@given(st.integers(1, 400), st.integers(10, 100))
@settings(max_examples=40, deadline=None)
def test_thinning_keeps_the_worst_and_the_number(n: int, limit: int) -> None:
    error = np.random.default_rng(n).normal(size=n)
    kept = thin(error, limit)
    assert len(kept) == min(n, limit) == len(set(kept.tolist()))
    assert np.argmax(np.abs(error)) in kept


def test_statistics_count_points_that_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = quantities(table({"tuned": 0.01}))["forces"]
    monkeypatch.setattr(thin, "__defaults__", (10,))
    thinned = quantities(table({"tuned": 0.01}))["forces"]
    assert (thinned.n_drawn, thinned.n_points, len(thinned.label)) == (10, 33, 10)
    assert thinned.models["tuned"].rmse == whole.models["tuned"].rmse


def test_a_soft_model_has_a_slope_below_one() -> None:
    soft = table({"untuned": 0.0})
    soft["forces"] = [0.8 * label for label in soft["forces_label"]]
    assert quantities(soft)["forces"].models["untuned"].slope == pytest.approx(0.8)


def test_frames_without_a_finite_prediction_are_left_out_and_counted() -> None:
    broken = table({"untuned": 0.1, "tuned": 0.01})
    row = broken.index[(broken["model"] == "tuned") & (broken["frame"] == 0)][0]
    broken.at[row, "forces"] = np.full(6, np.nan)
    shown = quantities(broken)
    assert (shown["forces"].n_left_out, shown["forces"].n_points) == (1, 27)
    assert shown["energy"].n_left_out == 0


def test_absent_labels_make_no_plot() -> None:
    without = table({"tuned": 0.01})
    without["stress_label"] = None
    assert set(quantities(without.drop(columns=["energy"]))) == {"forces"}


def test_the_part_asked_for_comes_first_then_the_test() -> None:
    both = pd.concat([table({"tuned": 0.01}, part=part) for part in ("train", "validation", "test")])
    found = [parity(both), parity(both, "validation"), parity(both[both["part"] == "train"], "test")]
    assert [one and one.part for one in found] == ["test", "validation", "train"]
    assert parity(both[:0]) is None


def test_every_point_is_in_the_histogram() -> None:
    histogram = quantities(table({"untuned": 0.3, "tuned": 0.01}))["forces"].histogram
    assert {model: sum(percent) for model, percent in histogram.percent.items()} == pytest.approx(
        {"untuned": 100, "tuned": 100}, abs=0.01
    )
    assert np.median(histogram.centres) == 0


def test_the_shifted_model_stands_in_for_energies_alone() -> None:
    models: list[PredictedBy] = ["untuned", "shift", "tuned"]
    assert drawn_models(ENERGY, models) == ["shift", "tuned"]
    assert drawn_models(FORCES, models) == ["untuned", "tuned"]
    assert drawn_models(FORCES, ["shift"]) == ["shift"]
