"""Names and numbers that spell elements are refused by what they are; surfaces and space groups are taken off."""

import pytest

from matgraft.formulas.formula import FormulaError, parse_formula


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Ti6Al4V", "Ti6Al4V1 for atoms"), ("AlSi10Mg", "Al1Si10Mg1 for atoms"), ("CuZn37", "name of an alloy"),
        ("NiCr80/20", "name of an alloy"), ("42CrMo4", "name of a grade"), ("100Cr6", "name of a grade"),
        ("X5CrNi18-10", "name of a grade"), ("S45C", "name of a grade"), ("IN718", "name of a grade"),
        ("Ti64", "name of a grade"), ("ICSD 12345", "number in a database"), ("COD1234567", "number in a database"),
        ("BTO", "likely BaTiO3"), ("ITO", "likely In1.8Sn0.2O3"), ("PVDF", "likely C2H2F2"),
        ("SiC(6H)", "SiC for a polytype"), ("SiC 6H", "SiC for a polytype"), ("MoS2 (2H)", "MoS2 for a polytype"),
        ("[2H]2O", r"\(H\)2O for a mass number"), ("SiO2(18O)", r"SiO2\(O\) for a mass number"),
        ("VO2(B)", "VO2 for the phase"), ("Cu(I)", "Cu for the phase"), ("Cu (OFHC)", "Cu for the phase"),
        ("FeIII2O3", "likely Fe2O3"), ("MnIVO2", "likely MnO2"), ("50Fe50Ni", "likely 50Fe·50Ni"),
        ("20Na2O80SiO2", "likely 20Na2O·80SiO2"), ("20 Na2O 80 SiO2", "likely 20Na2O·80SiO2"),
        ("0.5Na2O0.5K2O", "likely 0.5Na2O·0.5K2O"), ("TiO2_12", "write TiO2"), ("TiO2 #136", "write TiO2"),
        ("La0.7Sr0.3Mn03", "likely La0.7Sr0.3MnO3"), ("CaCl2-2H2O", "write CaCl2·2H2O"),
        ("T-Nb2O5", "Nb2O5 for the phase"),
    ],
)  # fmt: skip
def test_what_would_be_read_as_another_composition_is_refused(text, said):
    with pytest.raises(FormulaError, match=said) as caught:
        parse_formula(text)
    assert all(parse_formula(one) for one in caught.value.likely)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("SrTiO3(001)", "SrTiO3"), ("Al2O3 (11-20)", "Al2O3"), ("Ga2O3(β)", "Ga2O3"), ("Fe (BCC)", "Fe"),
        ("Fe FCC", "Fe"), ("bcc-Fe", "Fe"), ("ZrO2 P21/c", "ZrO2"), ("NaCl Fm-3m", "NaCl"), ("HfO2_Pca21", "HfO2"),
        ("P2-Na0.67MnO2", "Na0.67MnO2"), ("O3-LiCoO2", "LiCoO2"),
    ],
)  # fmt: skip
def test_surfaces_space_groups_and_stackings_are_a_phase(text, same):
    assert parse_formula(text) == parse_formula(same)
    assert parse_formula(text).dropped == ("phase",)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("(1-x)BaTiO3-xCaTiO3 (x=0)", "BaTiO3"), ("(1-x)BaTiO3-xCaTiO3 (x=0.1)", "Ba0.9Ca0.1TiO3"),
        ("(1-x)Bi0.5Na0.5TiO3-xBaTiO3, x=0.06", "Bi0.47Na0.47Ba0.06TiO3"), ("Bi2Te3-xSex (x=0.3)", "Bi2Te2.7Se0.3"),
        ("Ca1-x-yLaxSryMnO3 (x=0.1, y=0.2)", "Ca0.7La0.1Sr0.2MnO3"), ("La2-2xSr2xCuO4 (x=0.1)", "La1.8Sr0.2CuO4"),
        ("YBa2Cu3O6+x (x=0.9)", "YBa2Cu3O6.9"),
    ],
)  # fmt: skip
def test_amounts_that_the_text_states_enter_sums_and_shares_of_compounds(text, same):
    assert parse_formula(text) == parse_formula(same)


def test_amounts_behind_elements_are_read_where_their_per_cent_is_said():
    assert parse_formula("Fe50Ni50 (at.%)") == parse_formula("FeNi")
    by_weight = dict(zip("FeNi", parse_formula("Fe50Ni50 (wt%)").fractions, strict=False))
    assert by_weight["F"] == pytest.approx((50 / 55.845) / (50 / 55.845 + 50 / 58.6934), rel=1e-4)


@pytest.mark.parametrize(
    "text", ["2H2O", "235UO2", "Fe 2O 3", "Ca3 (PO4) 2", "Na (OH)", "PS", "CI4", "AlCu2Mn", "ZrZn22", "W2C", "Ti6Al4V1"]
)
def test_sound_formulas_are_read(text):
    assert parse_formula(text).dropped == ()
