"""Values far from all others, impossible ones, piles at a bound, zeros."""

import numpy as np
import pytest

from matgraft.formulas.table.audit.values import censored, heavy_zeros, impossible_value, outlier_value


@pytest.mark.parametrize(("factor", "severity"), [(1e5, "error"), (-1e5, "error"), (30, "warning")])
def test_one_value_far_beyond_the_others_is_told_with_its_line(ask, factor, severity, plain):
    cells = plain.copy()
    cells.loc[7, "gap"] *= factor
    found = ask(outlier_value, cells)
    assert (found.outcome, found.severity, found.lines, found.option) == ("failed", severity, (9,), "--drop 9")
    assert cells.loc[7, "formula"] in found.evidence


def test_values_of_many_decades_are_no_outliers(ask, plain):
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = 10 ** rng.uniform(-12, 3, len(plain))
        assert ask(outlier_value, plain.assign(gap=values)).outcome == "passed"
    heavy = np.exp(1.5 * rng.normal(size=len(plain)))
    assert not ask(outlier_value, plain.assign(gap=heavy)).blocks


@pytest.mark.parametrize(
    ("name", "value", "severity"),
    [
        *(("Tm_K", -5, "error"), ("density", -1, "error"), ("T (°C)", -300, "error"), ("band_gap", -0.2, "warning")),
        *(("lattice_c", -5, "error"), ("lattice constant a", -5, "error"), ("temp_c", -300, "error")),
        *(("molar mass", -5, "error"), ("cell_volume_A3", -5, "error"), ("Debye temperature", -5, "error")),
        *(("T/K", -5, "error"), ("melting point", -300, "error")),
    ],
)
def test_values_below_the_least_of_their_quantity(ask, name, value, severity, plain):
    cells = plain.rename(columns={"gap": name})
    assert ask(impossible_value, cells, name).outcome == "passed"
    cells.loc[3, name] = value
    found = ask(impossible_value, cells, name)
    assert (found.outcome, found.severity, found.lines) == ("failed", severity, (5,))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "formation_energy",
            "log_density",
            "x",
            "risk",
            "lattice energy (kJ/mol)",
            "lattice_mismatch",
            "lattice strain",
        ),
        *("volume change (%)", "excess_volume", "density difference", "delta_hardness", "mass magnetization"),
        *("sigma_c", "thermal_expansion_c", "lattice_thermal_drift", "Seebeck (µV/K)", "Seebeck (µV/°C)", "uV_per_K"),
        *("dS (J/mol K)", "K_1", "k", "Curie-Weiss temperature (K)", "exchange J (K)", "thermal expansion (1e-6/K)"),
    ],
)
def test_of_other_quantities_nothing_is_known(ask, name, plain):
    cells = plain.rename(columns={"gap": name}).assign(**{name: -1.0 - np.arange(len(plain))})
    assert ask(impossible_value, cells, name).outcome == "not applicable"


@pytest.mark.parametrize("side", ["largest", "smallest"])
def test_a_pile_at_a_bound_is_told_and_one_inside_is_not(ask, side, plain):
    bounds = {"upper": 4.0} if side == "largest" else {"lower": 1.45}
    cells = plain.assign(gap=plain["gap"].clip(**bounds))
    found = ask(censored, cells)
    bound = next(iter(bounds.values()))
    assert found.outcome == "failed" and side in found.evidence
    assert found.lines == tuple(i + 2 for i in range(len(cells)) if cells["gap"][i] == bound)
    inside = plain.copy()
    inside.loc[:20, "gap"] = 2.0
    assert ask(censored, inside).outcome == "passed"


def test_many_zeros_are_named_and_few_are_not(ask, plain):
    cells = plain.copy()
    cells.loc[:4, "gap"] = 0
    assert ask(heavy_zeros, cells).outcome == "passed"
    cells.loc[:40, "gap"] = 0
    assert ask(heavy_zeros, cells).outcome == "failed"
    assert ask(censored, cells).outcome == "passed"  # zeros are not called a bound
