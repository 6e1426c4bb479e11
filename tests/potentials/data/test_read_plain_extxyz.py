"""Plain frames of extended XYZ: read without ASE, and the same as through it."""

from __future__ import annotations

from io import StringIO
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io.extxyz import read_xyz
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.potentials.data.reading.formats.ase_files import _values
from matgraft.potentials.data.reading.formats.extxyz import _comment
from matgraft.potentials.data.reading.formats.plain_extxyz import plain_frame

PLAIN = (
    'Lattice="4.0 0.0 0.0 0.1 4.0 0.0 0.0 0.2 4.5" Properties=species:S:1:pos:R:3:forces:R:3 '
    'energy=-10.5 stress="1.0 2.0 3.0 0.1 0.2 0.3" config_type=md_300K step=7 pbc="T T F" free_energy=-11'
)
ROWS = ["Si 0.0 0.1 0.2 1.0 2.0 3.0", "O  1.0 1.1 1.2 -1.0 -2.0 -3.0e-01"]


def by_ase(block: list[str]) -> tuple[Atoms, dict[str, Any]]:
    (atoms,) = read_xyz(StringIO("".join(block)), slice(None), properties_parser=_comment)
    return atoms, _values(atoms)


def block(comment: str, rows: list[str]) -> list[str]:
    return [f"{len(rows)}\n", f"{comment}\n", *(f"{row}\n" for row in rows)]


def must_agree(lines: list[str]) -> None:
    plain = plain_frame(lines)
    assert plain is not None
    (atoms, values), (own, others) = plain, by_ase(lines)
    np.testing.assert_array_equal(atoms.numbers, own.numbers)
    np.testing.assert_array_equal(atoms.positions, own.positions)
    np.testing.assert_array_equal(atoms.cell[:], own.cell[:])
    np.testing.assert_array_equal(atoms.pbc, own.pbc)
    assert list(atoms.arrays) == ["numbers", "positions"]
    assert list(values) == list(others)
    for key, value in values.items():
        assert type(value) is type(others[key]), key
        np.testing.assert_array_equal(value, others[key])
        assert np.asarray(value).dtype == np.asarray(others[key]).dtype, key


@pytest.mark.parametrize(
    ("comment", "rows"),
    [
        (PLAIN, ROWS),
        ("Properties=species:S:1:pos:R:3", ["h 0 0 0", "HE 0.5 0 1e1"]),
        ("", ["H 0 0 0"]),
        ('pbc="F F F" virial="1 2 3 4 5 6 7 8 9" note="two words = one" blank=" " dipole="1 2 3"', ["H 0 0 0"]),
        ("Properties=species:S:1:pos:R:3:tags:I:1:energies:R:1:charge:R:1 q=3", ["H 0 0 0 1 2. 3", "O 1 1 1 2 3 4"]),
        ("Properties=species:S:1:forces:R:3:pos:R:3:magmoms:R:1", ["H 0 1 2 3 4 5 6.5"]),
        ('a=nan b="inf 1" c=1_000 d=12345678901234567890 e=1e5 f=T g="T F" h=True i=1,2,3 j=.5 k=5. l=+3', ["H 0 0 0"]),
        ('Lattice="4 0 0 0 4 0 0 0 4" energy=-1', ["H nan 0 inf"]),
        ("energy=-3 magmom=2", ["Si 0 0 0"]),
    ],
)  # fmt: skip
def test_plain_frames_are_the_same_as_through_ase(comment: str, rows: list[str]) -> None:
    must_agree(block(comment, rows))


@pytest.mark.parametrize(
    ("comment", "rows"),
    [
        ("energy", ["H 0 0 0"]),
        ("a={1 2 3}", ["H 0 0 0"]),
        (r'a="say \"no\""', ["H 0 0 0"]),
        ("a='x y'", ["H 0 0 0"]),
        ("a=b=c", ["H 0 0 0"]),
        ('a="" b=2', ["H 0 0 0"]),
        ('a="b"c', ["H 0 0 0"]),
        ("uid=12", ["H 0 0 0"]),
        ("data=12", ["H 0 0 0"]),
        ("Properties=species:S:1:pos:R:3:move_mask:L:1", ["H 0 0 0 T"]),
        ("Properties=Z:I:1:pos:R:3", ["1 0 0 0"]),
        ("Properties=pos:R:3:species:S:1", ["0 0 0 H"]),
        ("Properties=species:S:1:pos:R:3:pos:R:3", ["H 0 0 0 0 0 0"]),
        ("Properties=species:S:1:pos:R:2", ["H 0 0"]),
        ("Properties=species:S:1:pos:X:3", ["H 0 0 0"]),
        ('Lattice="1 2 3"', ["H 0 0 0"]),
        ("dipole=east", ["H 0 0 0"]),
        ("", ["D 0 0 0"]),
        ("", ["Qq 0 0 0"]),
        ("", ["H 0 0"]),
        ("", ["H 0 0 0 1", "H 0 0"]),
        ("", ["H 0 0 x"]),
        ("", []),
    ],
)
def test_what_is_not_plain_is_left_to_ase(comment: str, rows: list[str]) -> None:
    assert plain_frame(block(comment, rows)) is None
    assert plain_frame([*block(comment, rows), "VEC1 1 0 0\n"]) is None


VALUES = (
    *("1", "-7", "+3", "2.5", "-.5", "1e3", "1E-3", "nan", "-inf", "T", "F", "true", "none", "md_300", "a,b", "1,2,3"),
    *("12345678901234567890", "1_0", "0x1", "1.", "1d5", "é", '"1 2 3"', '"1 2.5"', '"1 x"', '"T F"', '" 4 "'),
    *('"1 2 3 4 5 6"', '"1 2 3 4 5 6 7 8 9"', '"a=b c"', '"nan 1"', "[1 2]", '""', "'q'"),
)
KEYS = (
    "energy",
    "stress",
    "virial",
    "dipole",
    "magmom",
    "forces",
    "pbc",
    "charge",
    "free_energy",
    "uid",
    "T",
    "k-1",
    "q.x",
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_made_up_frames_are_read_as_by_ase_or_left_to_it(seed: int) -> None:
    """Whatever pairs and columns there are: the same, or not plain."""
    rng = np.random.default_rng(seed)
    pairs = [f"{rng.choice(KEYS)}={rng.choice(VALUES)}" for _ in range(rng.integers(5))]
    columns = [(rng.choice(["forces", "tags", "q", "magmoms"]), rng.integers(1, 4)) for _ in range(rng.integers(3))]
    named = "".join(f":{name}:{rng.choice(['R', 'R', 'I'])}:{width}" for name, width in columns)
    width = 3 + sum(width for _, width in columns)
    rows = [
        " ".join(["H", *map(str, rng.choice([0, 1, -2.5, 1e-7, np.nan], width))]) for _ in range(rng.integers(1, 4))
    ]
    lines = block(" ".join([f"Properties=species:S:1:pos:R:3{named}", *pairs]), rows)
    if plain_frame(lines) is not None:
        must_agree(lines)
