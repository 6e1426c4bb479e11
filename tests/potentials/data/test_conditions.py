"""What frames say of a condition: values in any spelling, ranges, and errors that name what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from matgraft.core.errors import OptionError
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.conditions import Condition, Met, by_value, refuse_unsaid, values
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.pack import pack
from matgraft.potentials.data.phases import phases_of
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample


def frames(*tags: dict[str, str], formulas: tuple[str, ...] = ()) -> Dataset:
    symbols = formulas or ("Si",) * len(tags)
    return Dataset(tuple(Sample(Atoms(s, cell=[9] * 3), {}, own) for s, own in zip(symbols, tags, strict=True)))


@pytest.mark.parametrize("condition", ["T=1500", "T=1500.0", "T = 1500 K", "T==1.5e3", "T>=1500", "1400<T<=1500"])
def test_a_number_is_found_in_any_spelling(condition: str) -> None:
    data = frames({"T": "300 K"}, {"T": "1500"}, {"T": "1500.0 K"}, {"T": "1200K"}, {})
    found = Condition.of(condition).met_by(data)
    assert found.frames == (1, 2) and found.silent == (4,)


def test_names_that_begin_with_a_number_are_names() -> None:
    data = frames(*({"phase": name} for name in ("1T", "1H", "2H", "3R", "1T")))
    assert Condition.of("phase=1T").met_by(data).frames == (0, 4)
    assert Condition.of("phase!=1T").met_by(data).frames == (1, 2, 3)


def test_the_temperature_is_read_from_tags_and_words() -> None:
    data = frames(
        {"temperature": "300"}, {"TEBEG": "600"}, {"trajectory": "Si NVT 1500 K"}, {"config_type": "md_900K"},
        {"description": "quench from 3000 K to 300 K"}, {"config_type": "bulk"},
    )  # fmt: skip
    assert values(data, "temperature") == [300, 600, 1500, 900, None, None]
    found = Condition.of("temperature>=900").met_by(data)
    assert found.frames == (2, 3) and found.silent == (4, 5)


def test_temperatures_in_words_are_values_like_others() -> None:
    assert Condition.of("temperature=hot").met_by(frames({"temperature": "hot"}, {"temperature": "300"})).frames == (0,)


@pytest.mark.parametrize("nothing", ["nan", "NaN", "None", " ", "<NA>"])
def test_what_a_table_writes_for_nothing_is_nothing(nothing: str) -> None:
    """A frame made of a table's row with an empty cell says nothing, as one without the tag."""
    data = frames(*({"temperature": one, "phase": one, "pressure": one} for one in ("300", nothing, "1500")))
    for name in ("temperature", "phase", "pressure"):
        assert [i for i, value in enumerate(values(data, name)) if value is None] == [1]
        assert Condition.of(f"{name}!=300").met_by(data) == Met((2,), (1,))
    assert phases_of(data).labels == ("300", None, "1500")


def test_elements_and_their_shares() -> None:
    data = frames({}, {}, {}, formulas=("Si2", "Si3Ge", "SiGe3"))
    assert Condition.of("element=Ge").met_by(data).frames == (1, 2)
    assert Condition.of("element!=Ge").met_by(data).frames == (0,)
    assert Condition.of("x(Ge)>0.5").met_by(data).frames == (2,)
    assert Condition.of("0.2 < x(Ge) <= 0.5").met_by(data).frames == (1,)
    assert by_value(data, "element") == {"Si": [0, 1, 2], "Ge": [1, 2]}
    assert by_value(data, "x(Ge)") == {"0": [0], "0.25": [1], "0.75": [2]}
    assert by_value(data, "x(Sn)") == {"0": [0, 1, 2]}


def test_a_composition_and_a_chemical_system_are_known_in_any_order() -> None:
    data = frames({}, {}, formulas=("Si2Ge2", "SiGe3"))
    assert Condition.of("composition=SiGe").met_by(data).frames == (0,)
    assert Condition.of("composition=Ge3Si").met_by(data).frames == (1,)
    assert Condition.of("chemical-system=Si-Ge").met_by(data).frames == (0, 1)


def test_the_pressure_of_a_stress_is_in_gpa_and_positive_under_compression() -> None:
    stress = -np.diag([1.0, 2.0, 3.0]) / 160.21766208
    partly = {"stress": np.diag([True, True, False])}
    data = Dataset(
        (
            Sample(Atoms("Si"), {"stress": stress}),
            Sample(Atoms("Si"), {}),
            Sample(Atoms("Si"), {"stress": stress}, components=partly),
        )
    )
    assert values(data, "pressure")[0] == pytest.approx(2.0, rel=1e-6)
    assert values(data, "pressure")[1:] == [None, None]
    assert Condition.of("pressure>1.9").met_by(data).frames == (0,)
    assert values(frames({"pressure": "30"}), "pressure") == [30.0]


def test_a_pressure_is_in_gpa_whatever_unit_its_tag_or_the_condition_has() -> None:
    data = frames(*({"pressure": one} for one in ("10 kbar", "50kbar", "5", "5000 MPa", "high", "3 ells")), {})
    told = values(data, "pressure")
    assert told[:4] == pytest.approx([1.0, 5.0, 5.0, 5.0]) and told[4:] == ["high", "3 ells", None]
    assert Condition.of("pressure>4").met_by(data) == Met((1, 2, 3), (4, 5, 6))
    assert Condition.of("pressure>40 kbar").met_by(data).frames == (1, 2, 3)
    assert Condition.of("20<pressure<=60 kbar").met_by(data).frames == (1, 2, 3)  # both ends have the unit
    assert Condition.of("pressure=1").met_by(data).frames == (0,)
    assert Condition.of("pressure=50 kbar").met_by(data).frames == (1, 2, 3)
    assert Condition.of("pressure=high").met_by(data).frames == (4,)
    with pytest.raises(OptionError, match="'40 stone' is not a number"):
        Condition.of("pressure>40 stone")


def test_levels_of_theory_have_their_short_names() -> None:
    levels = [LevelOfTheory(functional="PBE", hubbard_u={"Fe": 4.0}), LevelOfTheory(metagga="R2SCAN"), None]
    data = Dataset(tuple(Sample(Atoms("Fe"), {}, theory=level) for level in levels))
    assert values(data, "theory") == ["PBE+U", "r2SCAN", None]
    assert Condition.of("theory=r2SCAN").met_by(data).frames == (1,)


def test_many_numbers_become_ranges_that_hold_every_frame_once() -> None:
    rows = by_value(frames(*({"p": str(k)} for k in range(100))), "p")
    assert len(rows) == 5 and sorted(i for own in rows.values() for i in own) == list(range(100))
    assert rows["0 to 19.8"] == list(range(20)) and rows["79.2 to 99"] == list(range(80, 100))


def test_a_frame_without_the_tag_is_in_no_row() -> None:
    assert by_value(frames({"kind": "a"}, {}, {"kind": " "}, {"kind": "b"}), "kind") == {"a": [0], "b": [3]}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("config_type=surfaces", r"no frame has config_type=surfaces\n.*bulk, surface\n.*did you mean 'surface'"),
        ("config_typ=surface", r"'config_typ' is neither.*\n(.*\n)*.*did you mean 'config_type'"),
        ("temperature>=2000", r"no frame has temperature>=2000\nallowed: temperature: 300, 600"),
        ("element=Ge", r"no frame has the element 'Ge'\nallowed: Si"),
        ("element>Ge", "is not a number"),
        ("element>1", "an element is there or not"),
        ("config_type>3", "no frame has config_type>3"),
        ("x(Xx)>0.5", "'x\\(Xx\\)' is neither"),
        ("surface", "is not a condition"),
        ("300>T>200", "'T>200' is not a number"),
        ("temperature>=hot", "'hot' is not a number"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(condition: str, message: str) -> None:
    data = frames({"config_type": "bulk", "temperature": "300"}, {"config_type": "surface", "temperature": "600"})
    with pytest.raises(OptionError, match=message):
        Condition.of(condition).met_by(data)


def test_among_many_numbers_the_ends_are_named() -> None:
    with pytest.raises(OptionError, match="numbers from 0 to 99"):
        Condition.of("p=12.5").met_by(frames(*({"p": str(k)} for k in range(100))))


def test_a_name_that_no_frame_says_anything_under_is_refused() -> None:
    with pytest.raises(OptionError, match=r"scores.by=theory: no frame says its theory"):
        refuse_unsaid(frames({"kind": "a"}), "theory", "scores.by")


def test_a_store_says_the_same(tmp_path: Path) -> None:
    file = Path(__file__).parents[3] / "examples/data/sige/frames.extxyz"
    pack([file], tmp_path / "frames.h5")
    held, stored = read(file), read(tmp_path / "frames.h5")
    for name in ("temperature", "config_type", "x(Ge)", "pressure", "composition", "theory"):
        assert by_value(held, name) == by_value(stored, name)
    assert {value: len(own) for value, own in by_value(held, "temperature").items()} == {
        "300": 20,
        "900": 20,
        "1500": 20,
    }
