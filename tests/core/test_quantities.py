"""Units, signs and shapes: hand-computed values, and every conversion undone by its inverse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase.stress import voigt_6_to_full_3x3_stress
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from matgraft.core.errors import OptionError
from matgraft.core.quantities import (
    DEFAULT_UNITS,
    ENERGY,
    ENERGY_UNITS,
    FORCE_UNITS,
    FORCES,
    STRESS,
    STRESS_PER_AREA,
    STRESS_UNITS,
    VOIGT,
    full_to_voigt,
    parse_shear,
    parse_unit,
    reorder_shear,
    voigt_to_full,
)

TABLES = {"energy": ENERGY_UNITS, "forces": FORCE_UNITS, "stress": STRESS_UNITS, "virial": ENERGY_UNITS}
PER_ATOM = [(of, f"{unit}/atom") for of in ("energy", "virial") for unit in TABLES[of]]
UNITS = [(of, unit) for of, table in TABLES.items() for unit in table] + PER_ATOM
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
voigts = arrays(float, (6,), elements=st.floats(-10, 10))


@pytest.mark.parametrize(
    ("of", "text", "canonical"),
    [
        ("energy", "eV", 1.0),
        ("energy", "Hartree", 27.211386),
        ("energy", "Ry", 13.605693),
        ("energy", "kcal/mol", 0.04336410),
        ("energy", "kJ/mol", 0.01036427),
        ("energy", "-meV", -0.001),
        ("energy", "eV/atom", 4.0),
        ("virial", "-Hartree/atom", -108.845545),
        ("forces", "Hartree/Bohr", 51.422067),
        ("forces", "Ry/Bohr", 25.711034),
        ("forces", "kcal/mol/Å", 0.04336410),
        ("stress", "GPa", 0.0062415091),
        ("stress", "-kBar", -0.00062415091),
        ("stress", "Ry/Bohr³", 91.815788),
        ("stress", "Hartree/Bohr³", 183.631575),
    ],
)
def test_one_of_a_unit_in_canonical_units(of: str, text: str, canonical: float) -> None:
    """For a cell of four atoms, against CODATA 2014 figures."""
    assert float(parse_unit(text, of).to_canonical(1.0, 4)) == pytest.approx(canonical, rel=1e-6)


@pytest.mark.parametrize(("of", "text"), UNITS)
@settings(max_examples=10)
@given(sign=st.sampled_from(["", "-"]), value=numbers, n_atoms=st.integers(1, 300))
def test_there_and_back(of: str, text: str, sign: str, value: float, n_atoms: int) -> None:
    unit = parse_unit(sign + text, of)
    assert float(unit.from_canonical(unit.to_canonical(value, n_atoms), n_atoms)) == pytest.approx(value, rel=1e-12)
    plain = parse_unit(text, of).to_canonical(value, n_atoms)
    assert float(unit.to_canonical(value, n_atoms)) == (-plain if sign else plain)


@pytest.mark.parametrize(
    ("of", "text", "same"),
    [
        ("energy", "ev", "eV"),
        ("energy", "Ha", "Hartree"),
        ("energy", "ha/atom", "Hartree/atom"),
        ("forces", "eV/A", "eV/Å"),
        ("forces", "eV/Angstrom", "eV/Å"),
        ("forces", "eV/ang", "eV/Å"),
        ("forces", "Ha/Bohr", "Hartree/Bohr"),
        ("stress", "- kbar", "-kBar"),
        ("stress", "eV/A^3", "eV/Å³"),
        ("stress", "ev/Angstrom^3", "eV/Å³"),
    ],
)
def test_usual_spellings(of: str, text: str, same: str) -> None:
    assert parse_unit(text, of).to_canonical(1.0, 3) == parse_unit(same, of).to_canonical(1.0, 3)


@pytest.mark.parametrize(
    ("of", "text"),
    [("energy", "GPa"), ("forces", "eV/Å/atom"), ("stress", "eV"), ("stress", "GPa/atom"), ("energy", "")],
)
def test_a_unit_of_something_else_is_refused(of: str, text: str) -> None:
    with pytest.raises(OptionError) as error:
        parse_unit(text, of)
    assert error.value.allowed == (*TABLES[of], *(STRESS_PER_AREA if of == "stress" else ()))


def test_a_misspelt_unit_names_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'Hartree'"):
        parse_unit("Hartre", "energy")


def test_defaults_are_canonical() -> None:
    for of, text in DEFAULT_UNITS.items():
        assert float(parse_unit(text, of).to_canonical(2.5, 7)) == 2.5


def test_suffixes_and_scales_of_reports() -> None:
    assert [q.report_suffix for q in (ENERGY, FORCES, STRESS)] == ["meV_per_atom", "eV_per_A", "GPa"]
    assert (ENERGY.report_scale, FORCES.report_scale) == (1000.0, 1.0)
    assert STRESS.report_scale == pytest.approx(160.21766)


@given(voigts)
def test_voigt_round_trip_in_the_order_of_ase(voigt: np.ndarray) -> None:
    full = voigt_to_full(voigt)
    np.testing.assert_array_equal(full, voigt_6_to_full_3x3_stress(voigt))
    np.testing.assert_array_equal(full_to_voigt(full), voigt)
    np.testing.assert_array_equal(full_to_voigt(np.stack([full, 2 * full])), [voigt, 2 * voigt])
    assert tuple(VOIGT) == ("xx", "yy", "zz", "yz", "xz", "xy")


def test_the_two_triangles_are_averaged() -> None:
    full = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(full_to_voigt(full), [0, 4, 8, (5 + 7) / 2, (2 + 6) / 2, (1 + 3) / 2])


@pytest.mark.parametrize("order", list(itertools.permutations(("yz", "xz", "xy"))))
@settings(max_examples=10)
@given(voigt=voigts)
def test_scrambled_shear_is_put_right(order: tuple[str, str, str], voigt: np.ndarray) -> None:
    scrambled = voigt.copy()
    scrambled[3:] = [voigt[VOIGT.index(component)] for component in order]
    np.testing.assert_array_equal(reorder_shear(voigt_to_full(scrambled), order), voigt_to_full(voigt))


@pytest.mark.parametrize("order", list(itertools.permutations(("yz", "xz", "xy"))))
@settings(max_examples=10)
@given(voigt=voigts)
def test_reordering_is_undone_by_the_inverse_order(order: tuple[str, str, str], voigt: np.ndarray) -> None:
    places = ("yz", "xz", "xy")
    inverse = tuple(places[order.index(component)] for component in places)
    full = voigt_to_full(voigt)
    assert len(inverse) == 3
    np.testing.assert_array_equal(reorder_shear(reorder_shear(full, order), inverse), full)


def test_orders_are_read_with_letters_either_way_round() -> None:
    assert parse_shear("xy, zy ,zx") == ("xy", "yz", "xz")


@pytest.mark.parametrize("text", ["", "xy,yz", "xy,yz,yz", "xx,yz,xz", "xy,yz,xz,xx"])
def test_no_order_of_the_three_components(text: str) -> None:
    with pytest.raises(OptionError, match="does not name yz, xz and xy once each"):
        parse_shear(text)
