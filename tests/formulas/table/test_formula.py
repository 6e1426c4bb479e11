"""Formulas: what is understood, what is refused and where."""

import re
from fractions import Fraction

import pytest
from ase.data import chemical_symbols
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.formulas.formula import FormulaError, parse_formula
from matgraft.formulas.prompts.text import parse_plain, parse_prompt, parse_stated
from matgraft.formulas.table.opening import read_cells
from matgraft.formulas.table.parsing import formulas_of
from matgraft.formulas.table.reading import read_table

AMOUNTS = st.dictionaries(st.sampled_from(chemical_symbols[1:]), st.integers(1, 12), min_size=1, max_size=6)


def written(amounts):
    """A point says that a zero is a digit: H20.0, not H2O."""
    return "".join(f"{symbol}{amount}" + ".0" * ("0" in str(amount)) for symbol, amount in amounts)


@given(AMOUNTS, st.randoms(), st.integers(1, 9))
def test_order_and_scale_do_not_matter(amounts, random, scale):
    items = list(amounts.items())
    shuffled = random.sample(items, len(items))
    assert parse_formula(written(items)) == parse_formula(written([(s, n * scale) for s, n in shuffled]))


@given(AMOUNTS)
def test_reduced_is_read_as_the_same_formula(amounts):
    formula = parse_formula(written(amounts.items()))
    again = parse_formula(formula.reduced)
    assert again.numbers == formula.numbers
    assert again.fractions == pytest.approx(formula.fractions, abs=1e-7)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("CuSO4·5H2O", "CuSO9H10"),
        ("CuSO4 * 5 H2O", "CuSO9H10"),
        ("K4[Fe(CN)6]·3H2O", "K4FeC6N6H6O3"),
        ("{Ca[(OH)2]}2", "CaO2H2"),
        ("Fe₂O₃", "Fe2O3"),
        (" Fe 2 O 3 ", "Fe2O3"),
        ("D2O", "H2O"),
        ("DTO", "H2O"),
        ("Li.5CoO2", "Li0.5CoO2"),
        ("Fe2O3Na0", "Fe2O3"),
        ("OO2Fe2", "Fe2O3"),
        ("(CuSO4·5H2O)2", "CuSO9H10"),
        ("CuSO4×5H2O", "CuSO9H10"),
        ("Fe\uff12O\uff13", "Fe2O3"),
    ],
)
def test_ways_of_writing(text, same):
    assert parse_formula(text) == parse_formula(same)


def test_tiny_amounts_are_kept():
    steel = parse_formula("Fe0.9998C1e-4B0.0001")
    assert dict(zip(steel.symbols, steel.fractions, strict=True)) == pytest.approx({"B": 1e-4, "C": 1e-4, "Fe": 0.9998})


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("Fe2Ox", 4, "'x' belongs to no element"),
        ("Xx2O3", 0, "'Xx' is not an element"),
        ("", 0, "no element"),
        ("  ", 1, "no element"),
        ("Fe-2O3", 2, "hyphens join 2 compounds"),
        ("Fe(OH", 2, "not closed"),
        ("FeO)2", 3, "never opened"),
        ("fe2", 0, "likely Fe2"),
        ("Fe0", 0, "above 0"),
        ("Fe()2", 3, "no element here"),
        ("CuSO4.5H2O", 5, "CuSO4·5H2O"),
        ("CuSO4.0.5H2O", 7, "write CuSO4·0.5H2O or CuSO4.0·5H2O"),
        ("Na2CO3.1.5H2O2", 8, "write Na2CO3·1.5H2O2 or Na2CO3.1·5H2O2"),
        ("CH4.5.75H2O", 5, "write CH4·5.75H2O or"),
        ("CuSO4. 5H2O", 7, "write CuSO4· 5H2O"),
        ("CuSO4 .5H2O", 6, "write CuSO4 ·5H2O"),
        ("Fe" + "1." * 40, 5, "raised dot"),
        ("CdSO4.8/3H2O", 7, "write (CdSO4)3·8H2O"),
        ("CaSO4.½H2O", 7, "not a fraction"),
        ("Fe/Ni", 2, "'/' joins 2 compounds without amounts"),
        ("CaO2+", 4, "leave the charge out, its number too: write CaO2 or CaO"),
        ("CuSO4.5H2O+", 5, "two readings"),
        ("Fe1e400O", 2, "1e400 is out of range"),
        ("Fe1e-99999999O", 2, "out of range"),
        ("Fe1000000H1e-6", 0, "less than 1e-09 of the atoms are H"),
        ("".join(chemical_symbols[1:32]), 0, "31 elements; at most 30"),
    ],
)
def test_what_is_wrong_and_where(text, position, says):
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    assert caught.value.position == position
    assert says in str(caught.value)


def test_text_is_not_part_of_equality():
    first, second = parse_formula("Fe2O3"), parse_formula("O3Fe2")
    assert hash(first) == hash(second)
    assert (str(first), str(second)) == ("Fe2O3", "O3Fe2")
    assert first.chemical_system == "Fe-O"


@given(st.lists(st.tuples(st.sampled_from(chemical_symbols[1:]), st.integers(1, 9999)), min_size=2, max_size=6))
def test_the_key_is_that_of_exact_shares_in_any_order_and_scale(amounts):
    total = Fraction(sum(n for _, n in amounts))
    shares: dict[str, Fraction] = {}
    for symbol, n in amounts:
        shares[symbol] = shares.get(symbol, Fraction(0)) + n / total
    whole = parse_formula(written(amounts))
    tenth = parse_formula("".join(f"({symbol}{n / 10:.1f})" for symbol, n in reversed(amounts)))
    assert whole.key == tenth.key
    exact = [shares[symbol] for symbol in whole.symbols]
    assert whole.fractions == tuple(float(round(share, 9)) for share in exact)


COMPOUNDS = ["CuSO4", "NaI", "Al2O3", "CaCl2", "KOH", "(NH4)2SO4", "[Co(NH3)6]Cl3", "Na2CO3", "LiBH4", "PbS", "BF3"]
PARTS = ["H2O", "(H2O)", "[OH2]", "D2O", "H₂O", "H2 O", "NH3", "SiO2", "Al2O3", "CH3OH", "MgCl2", "SO2", "P2O5"]


@given(
    st.sampled_from(COMPOUNDS), st.integers(2, 24), st.sampled_from(PARTS), st.sampled_from(["", " ", "\xa0"]),
    st.sampled_from(".\uff0e\u2024"), st.sampled_from("·*"),
    st.sampled_from(["{}", "({})2", "[{}]", "H2O·{}", "{}·KCl"]),
)  # fmt: skip
def test_a_plain_dot_before_what_may_be_a_multiplier_is_refused(before, count, part, blank, dot, sign, around):
    text = around.format(f"{before}{dot}{count}{blank}{part}") + blank
    with pytest.raises(FormulaError, match="two readings") as caught:
        parse_formula(text)
    assert caught.value.position == text.index(dot)
    adduct, starred, amount = (
        caught.value.remedy.replace(" for the adduct, ", " or ").removeprefix("write ").removesuffix(" for the amount")
    ).split(" or ")
    digits = before[-1] if before[-1].isdigit() else "0"
    bare = before.removesuffix(digits)
    decimal = around.format(f"({bare}{digits}.{count})({part})")
    assert parse_formula(adduct) == parse_formula(starred)
    assert parse_formula(adduct) == parse_formula(around.format(f"{before}{sign}{count}({part})"))
    assert parse_formula(amount) == parse_formula(decimal)


@pytest.mark.parametrize(
    "text",
    [
        "CuSO4.5H2O.2NH3", "Fe.5H2O", "Li.4NH3", "CuSO4.5HOH", "KI.2I2", "Ca(NO3)2.4H2O", "MgO.2Al2O3·3H2O",
        "YBa2Cu3O6.5H2O", "Mg0.5Fe0.5SO4.7H2O", "CuCl2.2 H 2 O", "Al2O3.2Si O2", "CuSO4·5H2O.2NH3",
        "Al2O3.2Er2O3", "MgO.2Eu2O3", "C60.2C6H6", "C60.4(C6H6)", "C60.2CS2", "C70.2S8", "C60.3I2", "S8.3CHI3",
        "CHI3.3S8", "SnI4.4S8", "Br2.2C4H8O2", "Li.2C4H8O", "Xe.3C6H6O2", "C6H6.2C60", "P4.2CS2",
        "Ni(CN)2.NH3.2C6H6", "LaO.8F.2FeAs", "Al2O3.2SiO2.2H2O", "Xe.6H2O",
    ],
)  # fmt: skip
def test_further_plain_dots_with_two_readings(text):
    """Both remedies are read, whatever the number of such dots, and give two compounds."""
    with pytest.raises(FormulaError, match="two readings") as caught:
        parse_formula(text)
    written = re.match("write (.*) or (.*) for the adduct, (.*) for the amount", caught.value.remedy).groups()
    adduct, starred, decimal = map(parse_formula, written)
    assert adduct == starred != decimal
    assert adduct.numbers == decimal.numbers


def test_the_remedies_of_a_fluorinated_oxide():
    with pytest.raises(FormulaError) as caught:
        parse_formula("LaO.8F.2FeAs")
    assert caught.value.remedy.endswith("LaO.8F0.2FeAs for the amount")
    assert parse_formula("LaO.8F0.2FeAs") == parse_formula("LaO0.8F0.2FeAs")


DECIMALS = st.lists(
    st.tuples(st.sampled_from(["Fe", "Ni", "La", "Sr", "Ba", "Cu", "Ti", "Zr"]), st.integers(1, 9), st.integers(1, 99)),
    min_size=1, max_size=5, unique_by=lambda part: part[0],
)  # fmt: skip


@given(DECIMALS, st.sampled_from(["", "O3", "O6.92", "F2", "O2.5", "P3O12"]), st.booleans())
def test_decimals_of_metals_before_an_anion_are_read(metals, anion, bare):
    text = "".join(f"{symbol}{'' if bare else whole}.{part}" for symbol, whole, part in metals) + anion
    spelled = "".join(f"({symbol}{0 if bare else whole}.{part}00)" for symbol, whole, part in metals) + anion
    assert parse_formula(text) == parse_formula(spelled)


@pytest.mark.parametrize(
    ("text", "atoms"),
    [
        ("Fe0.5Ni0.5", {"Fe": 0.5, "Ni": 0.5}),
        ("La0.7Sr0.3MnO3", {"La": 0.7, "Sr": 0.3, "Mn": 1, "O": 3}),
        ("Li1.5Al0.5Ge1.5P3O12", {"Li": 1.5, "Al": 0.5, "Ge": 1.5, "P": 3, "O": 12}),
        ("Li5.5PS4.5ClBr", {"Li": 5.5, "P": 1, "S": 4.5, "Cl": 1, "Br": 1}),
        ("Ge40Te5.3I8", {"Ge": 40, "Te": 5.3, "I": 8}),
        ("SrLa1.5Cu2O6", {"Sr": 1, "La": 1.5, "Cu": 2, "O": 6}),
        ("LiFe.5Mn.5PO4", {"Li": 1, "Fe": 0.5, "Mn": 0.5, "P": 1, "O": 4}),
        ("CuSO4.05H2O", {"Cu": 1, "S": 1, "O": 5.05, "H": 2}),
        ("NaI0.2H2O", {"Na": 1, "I": 0.2, "H": 2, "O": 1}),
        ("(CuSO4.5)H2O", {"Cu": 1, "S": 1, "O": 5.5, "H": 2}),
        ("Al2O3.2e0H2O", {"Al": 2, "O": 4.2, "H": 2}),
        ("Fe0.5Co.5O", {"Fe": 0.5, "Co": 0.5, "O": 1}),
        ("Ba0.6K.4Fe2As2", {"Ba": 0.6, "K": 0.4, "Fe": 2, "As": 2}),
        ("YBa2Cu3O6.95", {"Y": 1, "Ba": 2, "Cu": 3, "O": 6.95}),
        ("K2.5C60", {"K": 2.5, "C": 60}),
        ("Na1.5Co2O4", {"Na": 1.5, "Co": 2, "O": 4}),
        ("Al1.333P2H6C2O6", {"Al": 1.333, "P": 2, "H": 6, "C": 2, "O": 6}),
        ("Ba8.2Ga16P30", {"Ba": 8.2, "Ga": 16, "P": 30}),
        ("Y3Al4.5Er3O12", {"Y": 3, "Al": 4.5, "Er": 3, "O": 12}),
    ],
)
def test_decimals_with_one_reading_are_read(text, atoms):
    formula = parse_formula(text)
    total = sum(atoms.values())
    found = dict(zip(formula.symbols, formula.fractions, strict=True))
    assert found == pytest.approx({symbol: n / total for symbol, n in atoms.items()}, abs=1e-9)


def test_every_door_refuses_a_dot_with_two_readings(tmp_path):
    """Tables of any verb, typed formulas, stated classes and prompts."""
    for text, parse in (
        ("CuSO4.5H2O ", parse_plain),
        ("[OXIDE] CuSO4.5H2O", parse_stated),
        ("[OXIDE] CuSO₄.5(H₂O) [GAP]", lambda given: parse_prompt(given, {"GAP": "gap"})),
    ):
        with pytest.raises(FormulaError, match="two readings") as caught:
            parse(text)
        assert caught.value.position == text.index(".")
    (tmp_path / "t.csv").write_text("formula,y\nNaCl,1.5\nNaI.2H2O ,2.5\n")
    for read in (
        lambda path: read_table(path, "y"),
        lambda path: formulas_of(read_cells(path)["formula"], path),
    ):
        with pytest.raises(DataError, match=r"line 3, column 'formula', .*character 4(.*\n)*.*NaI·2H2O"):
            read(tmp_path / "t.csv")
