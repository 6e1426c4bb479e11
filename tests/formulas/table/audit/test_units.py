"""Rows in another unit, and °C among K."""

import numpy as np
import pandas as pd
import pytest
from ase import units

from matgraft.formulas.table.audit.units import FACTORS, mixed_units, temperature_offset


def test_each_factor_is_that_of_its_units():
    kj_mol, kcal_mol = units.kJ / units.mol, units.kcal / units.mol
    ratios = {
        "eV/Å³ and GPa": 1 / units.GPa, "eV and kJ/mol": 1 / kj_mol, "eV and kcal/mol": 1 / kcal_mol,
        "Hartree and eV": units.Hartree, "Ry and eV": units.Rydberg, "kcal and kJ": kcal_mol / kj_mol,
        "GPa and meV/Å³": 1000 * units.GPa, "kgf/mm² (HV) and MPa": 9.80665, "ksi and MPa": 6.894757,
    }  # fmt: skip
    named = {said: factor for factor, said in FACTORS.items() if said in ratios}
    assert named == pytest.approx(ratios, rel=1e-5)


@pytest.mark.parametrize("factor", [96.4853, 1000.0, 27.2114, 1e6])
@pytest.mark.parametrize("block", [True, False], ids=["a block of rows", "scattered rows"])
def test_a_tenth_of_the_rows_in_another_unit_blocks(ask, factor, block, plain):
    cells = plain.copy()
    rows = np.arange(40, 56) if block else np.random.default_rng(1).permutation(len(cells))[:16]
    cells.loc[rows, "gap"] *= factor
    found = ask(mixed_units, cells)
    near = block and factor < 30  # a block has its own kin for neighbours: all that is left is its size
    assert (found.outcome, found.severity) == ("failed", "warning" if near else "error")
    assert near or set(found.lines) == set((rows + 2).tolist())
    assert FACTORS[factor] in found.evidence  # alone, or beside one that these rows cannot tell from it
    assert found.actions[0].settings["--drop"]


def test_rows_that_are_too_small_are_found_as_well(ask, plain):
    cells = plain.copy()
    cells.loc[10:25, "gap"] /= 1000
    assert set(ask(mixed_units, cells).lines) == set(range(12, 28))


def test_a_table_with_wide_or_natural_clusters_is_not_blocked(ask, plain):
    rng = np.random.default_rng(0)
    for _ in range(10):
        wide = 10 ** rng.normal(0, 2, len(plain))
        assert not ask(mixed_units, plain.assign(gap=wide)).blocks
        normal = rng.normal(0, 1, len(plain))
        assert not ask(mixed_units, plain.assign(gap=normal)).blocks
    chemistry = np.where(plain["formula"].str.contains("O"), plain["gap"] * 1000, plain["gap"])  # an insulator's
    assert not ask(mixed_units, plain.assign(gap=chemistry)).blocks


def test_formulas_in_both_units_are_beyond_doubt(ask, plain):
    again = plain.iloc[:5].assign(gap=plain["gap"].iloc[:5] * 96.4853)
    found = ask(mixed_units, pd.concat([plain, again], ignore_index=True))
    assert found.blocks and "5 formulas" in found.evidence


def test_whole_numbers_among_values_that_end_in_15_are_celsius_if_they_lie_below(ask, plain):
    rng = np.random.default_rng(0)
    kelvin = np.round(plain["gap"] * 100 + rng.normal(0, 20, len(plain))) + 900 + 273.15
    cells = plain[["formula"]].assign(melting_point_K=kelvin)
    assert ask(temperature_offset, cells, "melting_point_K").outcome == "passed"
    cells.loc[30:50, "melting_point_K"] -= 273.15
    found = ask(temperature_offset, cells, "melting_point_K")
    assert found.blocks and set(found.lines) == set(range(32, 53))
    right = plain[["formula"]].assign(melting_point_K=kelvin)
    right.loc[30:50, "melting_point_K"] = right.loc[30:50, "melting_point_K"].round()  # whole K: no fault
    assert ask(temperature_offset, right, "melting_point_K").outcome == "passed"


def test_formulas_with_values_273_apart(ask, plain):
    cells = plain[["formula"]].assign(Tc=plain["gap"] * 100)
    again = cells.iloc[:6].assign(Tc=cells["Tc"].iloc[:6] - 273.15)
    assert ask(temperature_offset, pd.concat([cells, again], ignore_index=True), "Tc").blocks
    assert ask(temperature_offset, plain).outcome == "not applicable"
