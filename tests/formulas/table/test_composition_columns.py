"""Compositions by columns of elements and oxides, by weight and by atoms, with a balance."""

import pytest

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions, basis_of
from matgraft.formulas.table.opening import value_columns
from matgraft.formulas.table.reading import read_table


def read(folder, text, target="y", **reading):
    (folder / "t.csv").write_text(text)
    return read_table(folder / "t.csv", target, ColumnNames(reading=ReadOptions(**reading)))


STEELS = "grade,Fe,Cr,Ni,y\na,70,20,10,1.5\nb,80,15,5,2.5\n"


def test_amounts_without_a_basis_are_asked_about(tmp_path):
    with pytest.raises(OptionError, match=r"columns of elements \(Fe, Cr, Ni\)") as caught:
        read(tmp_path, STEELS)
    assert caught.value.options == ({"--composition": "wt%"}, {"--composition": "at%"})


def test_by_atoms_and_by_weight(tmp_path):
    assert read(tmp_path, STEELS, composition="at%").formulas[0] == parse_formula("Fe70Cr20Ni10")
    weight = read(tmp_path, STEELS, composition="wt%").formulas[0]
    atoms = {"Fe": 70 / 55.845, "Cr": 20 / 51.9961, "Ni": 10 / 58.6934}
    whole = sum(atoms.values())
    found = dict(zip(weight.symbols, weight.fractions, strict=True))
    assert found == pytest.approx({symbol: n / whole for symbol, n in atoms.items()}, abs=1e-6)


@pytest.mark.parametrize(
    "header",
    ["Fe (wt%),Cr (wt%),Ni (wt%)", "Fe_wt%,Cr_wt%,Ni_wt%", "wt% Fe,wt% Cr,wt% Ni", "Fe [wt.%],Cr [wt.%],Ni [wt.%]"],
)
def test_headers_may_state_the_basis(tmp_path, header):
    text = STEELS.replace("Fe,Cr,Ni", header)
    assert read(tmp_path, text).formulas == read(tmp_path, STEELS, composition="wt%").formulas
    with pytest.raises(OptionError, match="the headers say wt%"):
        read(tmp_path, text, composition="at%")


@pytest.mark.parametrize(
    "text",
    [STEELS.replace(",70,", ",bal.,").replace(",80,", ",Balance,"), STEELS.replace(",70,", ",,").replace(",80,", ",,")],
)
def test_the_balance_is_the_element_that_says_so(tmp_path, text):
    table = read(tmp_path, text, composition="wt%")
    assert table.formulas == read(tmp_path, STEELS, composition="wt%").formulas
    assert [(one.value, one.count) for one in table.decisions if one.code == "balance"] == [("Fe", 2)]


def test_the_balance_may_have_no_column(tmp_path):
    text = "Cr,Ni,y\n20,10,1.5\n15,5,2.5\n"
    with pytest.raises(DataError, match="come to 20 to 30"):
        read(tmp_path, text, composition="wt%")
    assert (
        read(tmp_path, text, composition="wt%", balance="Fe").formulas
        == read(tmp_path, STEELS, composition="wt%").formulas
    )
    with pytest.raises(OptionError, match="has its amounts"):
        read(tmp_path, STEELS, composition="wt%", balance="Fe")
    with pytest.raises(OptionError, match="no element"):
        read(tmp_path, text, composition="wt%", balance="steel")


def test_oxides_by_weight_and_by_mole(tmp_path):
    text = "SiO2,Na2O,CaO,y\n60,30,10,1.5\n50,30,20,2.5\n"
    mole = read(tmp_path, text, composition="at%").formulas[0]
    assert mole.fractions == pytest.approx(parse_formula("60SiO2·30Na2O·10CaO").fractions, abs=2e-9)
    weight = read(tmp_path, text, composition="wt%").formulas[0]
    mole = {"SiO2": 60 / 60.084, "Na2O": 30 / 61.979, "CaO": 10 / 56.077}
    same = parse_formula("·".join(f"{amount:.6f}{oxide}" for oxide, amount in mole.items()))
    assert weight.fractions == pytest.approx(same.fractions, abs=1e-4)
    assert basis_of("mol%") == basis_of("at.%") == "at%"
    with pytest.raises(OptionError, match="unknown"):
        basis_of("vol%")


def test_rows_that_do_not_come_to_all_are_named_and_rounded_ones_scaled(tmp_path):
    table = read(tmp_path, STEELS.replace("70,20,10", "70.5,20,10"), composition="at%")
    assert [one.count for one in table.decisions if one.code == "normalised"] == [1]
    with pytest.raises(DataError, match="line 2, column 'Fe': the amounts come to 87, not to 100"):
        read(tmp_path, STEELS.replace("70,20,10", "57,20,10"), composition="at%")
    with pytest.raises(DataError, match=r"line 3, column 'Cr': '<0.1' is a limit"):
        read(tmp_path, STEELS.replace("15", "<0.1"), composition="at%")
    parts = read(tmp_path, "Fe,Cr,Ni,y\n0.7,0.2,0.1,1.5\n0.8,0.15,0.05,2.5\n", composition="at%")
    assert parts.formulas == read(tmp_path, STEELS, composition="at%").formulas


def test_columns_that_are_used_are_no_part_of_the_composition(tmp_path):
    text = "Fe,Cr,Ni,K,y\n70,20,10,3,1.5\n80,15,5,4,2.5\n"
    (tmp_path / "t.csv").write_text(text)
    how = ReadOptions(composition="at%")
    table = read_table(tmp_path / "t.csv", "y", ColumnNames(covariates=["K"], reading=how))
    assert table.formulas[0] == parse_formula("Fe70Cr20Ni10")
    assert value_columns(tmp_path / "t.csv", None, how) == value_columns(tmp_path / "t.csv", None) == ["y"]


def test_hyphened_alloys_by_a_basis(tmp_path):
    text = "alloy,y\nTi-6Al-4V,1.5\nTi-5Al-2.5Sn,2.5\nTi64.5Al35.5,3.5\n"
    with pytest.raises(DataError, match="by weight or by atoms") as caught:
        read(tmp_path, text)
    assert {"--composition": "wt%"} in caught.value.options
    assert read(tmp_path, text, composition="at%").formulas[0] == parse_formula("Ti90Al6V4")
    with pytest.raises(OptionError, match="composition is not read"):
        read(tmp_path, "formula,y\nKF,1.5\nSi,2\n", composition="at%")
