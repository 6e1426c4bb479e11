"""The embedded tables of measured values: they parse whole, one row a formula, and hold known values."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from matgraft.formulas.formula import parse_formula
from matgraft.formulas.table.reading import read_table

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "data" / "measured"
# Handbook values of other sources (Kaye and Laby; NIST), and how far a measurement may lie from them
MELTING = {"NaCl": 1074, "W": 3695, "Al2O3": 2327, "Fe": 1811, "CaF2": 1691, "H2O": 273.15, "MoO3": 1075, "TaC": 4150}
DENSITY = {"NaCl": 2.165, "W": 19.25, "Al2O3": 3.987, "Hg": 13.534, "BaSO4": 4.49, "CuH10SO9": 2.286, "B4C": 2.52}


@pytest.mark.parametrize(
    ("name", "target", "known", "bounds", "at_least"),
    [
        ("melting_points", "melting_point_K", MELTING, (13, 4300), 1200),
        ("densities", "density_g_cm3", DENSITY, (0.5, 22.7), 1700),
    ],
)
def test_a_table_of_measured_values_parses_whole_and_holds_known_ones(name, target, known, bounds, at_least):
    table = read_table(FOLDER / f"{name}.csv", target)
    assert len(table.values) >= at_least and not table.classes and not table.without_value
    assert len(set(table.keys)) == len(table.values)
    assert bounds[0] < table.values.min() and table.values.max() < bounds[1]
    of = dict(zip(table.keys, table.values, strict=True))
    assert [of[parse_formula(text).key] for text in known] == pytest.approx(list(known.values()), rel=0.02)


def test_what_a_formula_does_not_tell_apart_is_left_out():
    """Polymorphs, isotopes, organic compounds, gases, and hydrates where they melt."""
    melting, dense = (pd.read_csv(FOLDER / f"{n}.csv", keep_default_na=False) for n in ("melting_points", "densities"))
    assert not {"SiO2", "C"} & {*dense["formula"]} and "TiO2" not in {*melting["formula"]}
    for table in (melting, dense):
        assert not table["formula"].str.contains("[DT](?![a-z])").any()
        carbon, hydrogen = (table["formula"].str.contains(f"{one}(?![a-z])") for one in "CH")
        assert not (carbon & hydrogen).any()
    assert np.min(dense["density_g_cm3"]) > 0.1 and "He" not in {*dense["formula"]}
    assert "MgH12(ClO3)2" in {*dense["formula"]} and "MgH12(ClO3)2" not in {*melting["formula"]}
