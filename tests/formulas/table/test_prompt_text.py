"""Prompts as text: tokens are read, formulas with square brackets stay formulas, mistakes are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.errors import OptionError
from matgraft.formulas.formula import FormulaError, parse_formula
from matgraft.formulas.prompts.material_class import MATERIAL_CLASSES, material_class
from matgraft.formulas.prompts.text import Prompt, parse_plain, parse_prompt, parse_stated, property_tokens

TOKENS = {"BANDGAP": "bandgap", "K": "K"}
FORMULAS = ["Fe2O3", "[Co(NH3)6]Cl3", "Fe[OH]3", "K4[Fe(CN)6]", "CuSO4·5H2O", "Li0.5 Co O2"]


@given(
    st.sampled_from(FORMULAS),
    st.sampled_from([None, *MATERIAL_CLASSES]),
    st.sampled_from([None, *TOKENS]),
    st.sampled_from([" ", "  ", "\t"]),
)
def test_what_is_written_is_what_is_read(text, stated, token, space):
    written = space.join(part for part in (stated and f"[{stated}]", text, token and f"[{token}]") if part)
    prompt = parse_prompt(written, TOKENS)
    assert prompt.formula == parse_formula(text)
    assert str(prompt.formula) == text
    assert prompt.formula.stated_class == (stated or "")
    assert material_class(prompt.formula) == (stated or material_class(parse_formula(text)))
    assert prompt.property == (token and TOKENS[token])


@given(st.text(alphabet="[]ABCFOX2 ", max_size=14))
def test_anything_else_is_an_error_that_points_into_the_text(text):
    try:
        parse_prompt(text, TOKENS)
    except FormulaError as error:
        assert 0 <= error.position <= len(text)
        assert error.text == text


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("[OXID] Fe2O3", 0, r"\[OXID\] is not a class"),
        ("Fe2O3 [GAP]", 6, r"\[GAP\] is not a property of this run.*\[BANDGAP\], \[K\]"),
        ("[BANDGAP] Fe2O3", 0, "is not a class"),
        ("Fe2O3 [OXIDE]", 6, "is not a property"),
        ("[OXIDE] Fe2Ox", 12, "'x' belongs to no element"),
        ("[OXIDE]", 7, "no element"),
        ("[OXIDE]Fe2O3", 0, "set apart by spaces"),
        ("Fe2O3 [HV]", 6, r"\[HV\] is not a property"),
        ("Fe2O3 [Hf]", 6, r"\[Hf\] is not a property"),
        ("[K] Fe2O3", 0, r"\[K\] is not a class"),
        ("[BN] Fe2O3 [K]", 0, r"\[BN\] is not a class"),
        ("Fe2O3 [K] [BANDGAP]", 6, "wrong place"),
        ("[OXIDE] [K] Fe2O3", 8, "wrong place"),
        ("Fe2 [K] O3", 4, "wrong place"),
        ("Fe2O3[K]", 5, "set apart by spaces"),
        ("[K]Fe2O3", 0, "set apart by spaces"),
        ("[CO]", 0, "is not a class"),
    ],
)
def test_mistakes_are_named(text, position, said):
    with pytest.raises(FormulaError, match=said) as error:
        parse_prompt(text, TOKENS)
    assert error.value.position == position
    assert error.value.text == text


def test_brackets_that_touch_the_formula_belong_to_it():
    assert parse_prompt("Ni[CO]4 [K]", TOKENS) == Prompt(parse_formula("NiC4O4"), "K")
    assert parse_prompt("Fe2O3[HV]", TOKENS).formula == parse_formula("Fe2O3HV")
    assert parse_prompt("K2 [PtCl4]", {}).formula == parse_formula("K2PtCl4")
    assert parse_prompt("Fe[K]2O3", TOKENS).formula == parse_formula("FeK2O3")


@pytest.mark.parametrize("text", ["[OXIDE] Fe2O3", "Fe2O3 [BANDGAP]", "Fe2O3 [HV]", "[K] Fe2O3", "Fe2O3 [Hf]", "[CO]"])
def test_where_prompts_mean_nothing_they_are_said_to(text):
    with pytest.raises(FormulaError, match="--strategy prompt"):
        parse_plain(text)


def test_plain_formulas_keep_their_brackets():
    assert parse_plain("[Co(NH3)6]Cl3") == parse_formula("Co(NH3)6Cl3")
    assert parse_plain("K2 [PtCl4]") == parse_formula("K2PtCl4")
    with pytest.raises(FormulaError, match="'x' belongs"):
        parse_plain("Fe2Ox")


def test_a_table_to_learn_from_may_state_classes_and_no_properties():
    assert parse_stated("[ALLOY] Ni3Al").stated_class == "ALLOY"
    with pytest.raises(FormulaError, match=r"\[BANDGAP\] is not a property"):
        parse_stated("Fe2O3 [BANDGAP]")


def test_columns_become_tokens():
    assert property_tokens(["band gap (eV)", "K"]) == {"BAND_GAP_EV": "band gap (eV)", "K": "K"}
    for names in (["gap", "GAP"], ["%"]):
        with pytest.raises(OptionError, match="rename"):
            property_tokens(names)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Fe2O3", "OXIDE"), ("CaCO3", "OXIDE"), ("CuSO4·5H2O", "OXIDE"), ("NaCl", "HALIDE"), ("NH4Cl", "HALIDE"),
        ("LaOF", "HALIDE"), ("[Co(NH3)6]Cl3", "HALIDE"), ("PbTe", "CHALCOGENIDE"), ("TiN", "NITRIDE"),
        ("LiNH2", "NITRIDE"), ("SiC", "CARBIDE"), ("Cr23C6", "CARBIDE"), ("GaAs", "PNICTIDE"), ("MgB2", "BORIDE"),
        ("LiH", "HYDRIDE"), ("CH3NH3PbI3", "ORGANIC"), ("C6H6", "ORGANIC"), ("Si", "ELEMENT"),
        ("Ni3Al", "INTERMETALLIC"), ("Fe0.98C0.02", "ALLOY"), ("Fe0.62C0.000953Mn0.000521", "ALLOY"),
    ],
)  # fmt: skip
def test_classes_follow_from_the_formula(text, kind):
    assert material_class(parse_formula(text)) == kind
