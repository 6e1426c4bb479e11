"""The unit of a column: by its name, or as it is typed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from matgraft.core.errors import OptionError
from matgraft.formulas.settings import TableRun
from matgraft.formulas.table.units import refuse_units, shown_beside, unit_in, unit_of


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("gap (eV)", "eV"), ("gap [eV]", "eV"), ("melting_point_K", "K"), ("E_form_eV_per_atom", "eV/atom"),
        ("band_gap_ev", "eV"), ("density_g_cm3", "g_cm3"), ("bulk modulus / GPa", "GPa"), ("gap in eV", "eV"),
        ("hardness (HV)", "HV"), ("sigma (S/cm)", "S/cm"), ("yield strength, MPa", "MPa"), ("lattice_parameter_Å", "Å"),
        ("gap", ""), ("formation_energy", ""), ("phase_A", ""), ("x_at", ""), ("energy_per_atom", ""), ("Tc", ""),
        ("K", ""), ("", ""), ("gap (pbe)", ""), ("log10_sigma", ""), ("ratio_min", ""), ("per", ""),
    ],
)  # fmt: skip
def test_the_unit_that_a_name_ends_with(name: str, unit: str) -> None:
    assert unit_in(name) == unit


def test_what_is_typed_counts() -> None:
    assert unit_of("gap", ["eV"]) == unit_of("gap", ["Tc=K", "gap=eV"]) == unit_of("gap_eV", []) == "eV"
    assert unit_of("gap_eV", ["meV"]) == "meV"
    assert unit_of("gap", ["Tc=K"]) == ""
    assert (shown_beside("gap (eV)", "eV"), shown_beside("gap_eV", "eV")) == ("", "eV")


@pytest.mark.parametrize(
    ("typed", "targets", "said"),
    [
        (["eV"], ["gap", "Tc"], "it could be of gap or of Tc"),
        (["gp=eV"], ["gap"], "'gp' is not a target"),
        (["eV", "K"], ["gap"], "given twice"),
        (["gap=eV", "gap=K"], ["gap", "Tc"], "given twice"),
    ],
)
def test_units_that_fit_no_target(typed: list[str], targets: list[str], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        refuse_units(typed, targets)
    with pytest.raises((OptionError, ValidationError), match=said):
        TableRun(table="t.csv", targets=tuple(targets), unit=tuple(typed))
