"""Formulas as people write them: what changes no composition is taken off, what is doubtful is refused."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.limits import limits
from matgraft.formulas.alloys import find_alloy
from matgraft.formulas.doubtful import likely_cases
from matgraft.formulas.formula import FormulaError, parse_formula
from matgraft.formulas.notation import DOTS


@pytest.mark.parametrize(
    ("text", "same", "dropped"),
    [
        ("'Fe2O3'", "Fe2O3", "quotes"),
        ("\u201cFe2O3\u201d", "Fe2O3", "quotes"),
        ("Fe2O3\u200b", "Fe2O3", "invisible characters"),
        ("\ufeffFe2\u00adO3", "Fe2O3", "invisible characters"),
        ("Fe2O3;", "Fe2O3", "punctuation"),
        ("Fe$_2$O$_{3}$", "Fe2O3", "markup"),
        (r"$\mathrm{Fe_2O_3}$", "Fe2O3", "markup"),
        (r"\ce{CuSO4 \cdot 5H2O}", "CuSO9H10", "markup"),
        ("Fe<sub>2</sub>O<SUB>3</SUB>", "Fe2O3", "markup"),
        ("CuSO4&middot;5H2O", "CuSO9H10", "markup"),
        ("Fe~2~O~3~", "Fe2O3", "markup"),
        ("Fe2+", "Fe", "charge"),
        ("La3+", "La", "charge"),
        ("NH4+", "NH4", "charge"),
        ("SO42-", "SO4", "charge"),
        ("SO4^2-", "SO4", "charge"),
        ("SO₄²⁻", "SO4", "charge"),
        ("MnO4\u2212", "MnO4", "charge"),
        ("[Fe(CN)6]4-", "FeC6N6", "charge"),
        ("Fe(III)2O3", "Fe2O3", "oxidation state"),
        ("Cu(II)O", "CuO", "oxidation state"),
        ("TiO2 (anatase)", "TiO2", "phase"),
        ("SiO2 quartz", "SiO2", "phase"),
        ("α-Al2O3", "Al2O3", "phase"),
        ("2H-MoS2", "MoS2", "phase"),
        ("NaCl(aq)", "NaCl", "phase"),
        ("(C2H4)n", "CH2", "repeat sign"),
        ("La0,7Sr0,3MnO3", "La0.7Sr0.3MnO3", "decimal comma"),
        ("(Ba0.6, Sr0.4)TiO3", "Ba0.6Sr0.4TiO3", "commas"),
        ("0.94NaNbO3-0.06BaTiO3", "Na0.94Nb0.94Ba0.06Ti0.06O3", "hyphens between shares"),
        ("CuSO4·1½H2O", "CuSO5.5H3", "fraction sign"),
        ("La1-xSrxMnO3 (x = 0.3)", "La0.7Sr0.3MnO3", "stated amount"),
        ("Dy1-yCayO2, y=0.1", "Dy0.9Ca0.1O2", "stated amount"),
    ],
)  # fmt: skip
def test_what_changes_no_composition_is_taken_off_and_said(text, same, dropped):
    found = parse_formula(text)
    assert found == parse_formula(same)
    assert dropped in found.dropped


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("PbMg1/3Nb2/3O3", "Pb3MgNb2O9"), ("3CaO·SiO2", "Ca3SiO5"), ("2H2O", "H2O"), ("CaO.SiO2", "CaSiO3"),
        ("CaSO4·1/2H2O", "Ca2S2O9H2"), ("Ｆｅ２Ｏ３", "Fe2O3"), *((f"CuSO4{dot}5H2O", "CuSO9H10") for dot in DOTS),
    ],
)  # fmt: skip
def test_further_ways_of_writing(text, same):
    assert parse_formula(text) == parse_formula(same)


@pytest.mark.parametrize(
    ("text", "said", "likely"),
    [
        ("Fe203", "digit 0", ("Fe2O3",)),
        ("H20", "digit 0", ("H2O",)),
        ("LiFeP04", "digit 0", ("LiFePO4",)),
        ("Ca(0H)2", "digit 0", ("Ca(OH)2",)),
        ("ZnFe204", "digit 0", ("ZnFe2O4",)),
        ("FE2O3", "not a sequence of elements", ("Fe2O3",)),
        ("fe2o3", "not a sequence of elements", ("Fe2O3",)),
        ("cocl2", "not a sequence of elements", ("CoCl2", "COCl2")),
        ("NaCL", "not a sequence of elements", ("NaCl",)),
        ("\u0421\u043e\u041e", "cyrillic", ("CoO",)),
        ("\u039dbO2", "greek", ("NbO2",)),
        ("YBa2Cu3O7-δ", "not given", ("YBa2Cu3O7",)),
        ("YBa2Cu3O7\u2212x", "not given", ("YBa2Cu3O7",)),
        ("La1-xSrxMnO3", "not given", ()),
        ("LiₓCoO2", "not given", ()),
        ("Ni-Ti-Cu", "without amounts", ()),
        ("NaCl-KCl", "without amounts", ()),
        ("CaO2+", "which digits are the charge", ("CaO2", "CaO")),
        ("TiO2 (B)", "phase, or an element", ("TiO2", "TiO2B")),
        ("Cu(I)2O", "oxidation state, or an element", ("Cu2O", "CuI2O")),
        ("SS304", "name of a grade", ()),
        ("(Ba,Sr)TiO3", "share a site", ()),
        ("Al2O3:Cr", "dopant has no amount", ()),
        ("La1.85Sr0.15CuOY", "yttrium, or an amount", ()),
    ],
)  # fmt: skip
def test_what_is_doubtful_is_refused_with_the_likely_reading(text, said, likely):
    with pytest.raises(FormulaError, match=said) as caught:
        parse_formula(text)
    assert caught.value.likely == likely
    for one in likely:
        assert parse_formula(one)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["C60", "B10H14", "Fe80B20", "Fe2O3", "Cu50Zr50", "NiO", "COS", "C10H8", "ThO2"])
def test_sound_formulas_are_not_doubted(text):
    assert parse_formula(text).dropped == ()


def test_a_zero_that_is_meant_is_written_with_a_point():
    assert parse_formula("H20.0") == parse_formula("H")


@pytest.mark.parametrize(
    ("text", "by_weight"),
    [("Ti-6Al-4V", {"Ti": 86.204, "Al": 10.195, "V": 3.600}), ("60Cu-40Zn", {"Cu": 60.681, "Zn": 39.319})],
)
def test_an_alloy_is_asked_about_and_never_guessed(text, by_weight):
    with pytest.raises(FormulaError, match="by weight or by atoms") as caught:
        parse_formula(text)
    weights, atoms = map(parse_formula, caught.value.likely)
    assert weights != atoms
    found = dict(zip(weights.symbols, (100 * x for x in weights.fractions), strict=True))
    assert found == pytest.approx(by_weight, abs=1e-3)  # 6/26.98, 4/50.94, 90/47.87 and 60/63.55, 40/65.38, scaled
    assert parse_formula(f"{text} (wt%)") == weights
    assert parse_formula(f"{text}, at.%") == atoms


def test_amounts_that_come_to_more_than_all_are_no_alloy():
    assert find_alloy("Ti-60Al-60V") is None
    assert find_alloy("Fe-X") is None


@given(st.text(max_size=60))
def test_any_text_is_a_formula_or_a_sentence(text):
    try:
        parse_formula(text)
    except FormulaError as error:
        assert 0 <= error.position <= max(len(error.text), 1)


@given(st.text("()[]{}<>$_^~\\·*.,;:+-−/'\"0123456789xδnFeOH IVaq", max_size=60))
def test_any_text_of_signs_is_a_formula_or_a_sentence(text):
    try:
        assert parse_formula(text).numbers
    except FormulaError as error:
        assert error.found


@pytest.mark.parametrize(
    "text",
    ["(" * 900 + "Fe" + ")" * 900, "(" * 10_000 + "Fe" + ")" * 10_000, "Fe-" * 660, "$_{" * 600, "A0" * 990, "~1" * 990,
     "_" * 1990, " (" * 990, "SE" * 990, "1," * 990, "Fe (" * 490, "(I" * 990, "Fe" + "1." * 990, "\u200b" * 1990],
)  # fmt: skip
def test_hostile_texts_take_no_time(text):
    begun = time.process_time()
    with pytest.raises(FormulaError):
        parse_formula(text)
    assert time.process_time() - begun < 0.5


def test_a_long_text_is_shown_in_part():
    with pytest.raises(FormulaError, match=f"at most {limits().formula_characters} are read") as caught:
        parse_formula("Fe" * limits().formula_characters)
    assert len(str(caught.value)) < 300


def test_cases_of_words_that_no_elements_spell():
    assert likely_cases("zzz") == []
    assert likely_cases("NIO", everywhere=True) == ["NiO", "NIO"]
