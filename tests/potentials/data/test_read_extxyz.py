"""Extended XYZ as it is found: byte-order marks, isotopes, columns in any order, and lines that are at fault."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.read import read

HEAD = 'Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 pbc="T T F"'
WATER = f"3\n{HEAD}\nO 0 0 0 0.1 0 0\nH 0.96 0 0 -0.1 0 0\nH 0 0.96 0 0 0 0\n"


def write(folder: Path, text: str, name: str = "a.xyz") -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


@pytest.mark.parametrize("packed", [False, True])
def test_a_byte_order_mark_is_skipped_wherever_files_were_joined(tmp_path: Path, packed: bool) -> None:
    marked = f"\ufeff{WATER}\ufeff{WATER}".encode()
    path = tmp_path / ("a.xyz.gz" if packed else "a.xyz")
    path.write_bytes(gzip.compress(marked) if packed else marked)
    data = read(path)
    assert [float(sample.labels["energy"]) for sample in data] == [-1.5, -1.5]
    np.testing.assert_array_equal(data[0].content.pbc, [True, True, False])


def test_isotopes_are_hydrogen_and_a_note_says_so(tmp_path: Path) -> None:
    heavy = WATER.replace("H 0.96", "D 0.96").replace("H 0 0.96", "t 0 0.96")
    data = read(write(tmp_path, heavy + WATER))
    assert [str(sample.content.symbols) for sample in data] == ["OH2", "OH2"]
    np.testing.assert_allclose(data[0].labels["forces"], [[0.1, 0, 0], [-0.1, 0, 0], [0, 0, 0]])
    assert sum("is read as hydrogen" in note for note in data.provenance.notes) == 2
    columns = "Properties=pos:R:3:forces:R:3:species:S:1"
    turned = f"1\n{columns} energy=-1\n1 2 3 0 0 0 2H\n"
    assert str(read(write(tmp_path, turned))[0].content.symbols) == "H"


def test_an_element_by_number_needs_no_symbol(tmp_path: Path) -> None:
    text = "2\nProperties=Z:I:1:pos:R:3:forces:R:3 energy=-1\n8 0 0 0 0 0 1\n1 0 0 1 0 0 -1\n"
    data = read(write(tmp_path, text))
    assert str(data[0].content.symbols) == "OH" and float(data[0].labels["forces"][1, 2]) == -1.0


def test_vectors_below_the_atoms_are_the_cell(tmp_path: Path) -> None:
    """ADF's form."""
    text = "1\nE\nSi 0 0 0\nVEC1 2 0 0\nVEC2 0 3 0\nVEC3 0 0 4\n"
    data = read(write(tmp_path, text + text), want=[])
    assert [sample.content.cell.lengths().tolist() for sample in data] == [[2.0, 3.0, 4.0]] * 2


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (WATER + WATER[:-12], "frame 1", "line 10 has 3 columns, 7 are named"),
        (WATER + WATER.replace("H 0.96", "Hx 0.96"), "frame 1", "line 9 names 'Hx', which is not an element"),
        (WATER + WATER.replace("0.96 0 0", "0.96 0 O"), "frame 1", "could not convert"),
        (WATER + WATER[:-30], "frame 1", "ends in the middle"),
        ("#" + WATER, "frame 0", "line 1 should be a number of atoms"),
    ],
)
def test_a_line_at_fault_is_named(tmp_path: Path, text: str, where: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read(write(tmp_path, text))
    assert caught.value.where == f"a.xyz {where}"


@pytest.mark.parametrize(
    ("text", "said"),
    [("version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"), ("<!DOCTYPE html>\n<html>", "a web page")],
)
@pytest.mark.parametrize("name", ["a.xyz", "OUTCAR", "a.json", "a.dat"])
def test_what_stands_in_the_place_of_a_file_is_named(tmp_path: Path, text: str, said: str, name: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path / name)
    assert "download the file itself" in caught.value.remedy


def test_a_weight_of_a_label_is_not_offered_as_the_label(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3:forces:R:3 energy_weight=1\nHe 0 0 0 0 0 0\n", encoding="utf-8")
    with pytest.raises(DataError, match="no frame has energy") as caught:
        read(path)
    assert caught.value.options == ({"want": ["forces"]},)


def test_a_file_that_ends_within_its_last_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    rows = "".join(f"He {3 * n}.0 0.0 0.0 0.10000{n} 0.200000 0.30000{n}\n" for n in range(4))
    text = f"4\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-1\n{rows}"
    path.write_text(text[:-1], encoding="utf-8")  # no end of line, but a whole number
    assert read(path)[0].labels["forces"][3, 2] == 0.300003
    path.write_text(text[:-4], encoding="utf-8")
    with pytest.raises(DataError, match=r"ends in the middle of a number: .*0\.300'"):
        read(path)


def test_no_label_is_asked_for_that_is_not_there_either(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3\nHe 0 0 0\n", encoding="utf-8")
    with pytest.raises(DataError, match="no frame has energy") as caught:
        read(path)
    assert caught.value.options == ()


@pytest.mark.parametrize("written", ["-0.15D+01", "-15.d-1", "-.15d1"])
def test_numbers_of_fortran_in_double_precision_are_read(tmp_path: Path, written: str) -> None:
    data = read(write(tmp_path, WATER.replace("energy=-1.5", f"energy={written}")))
    assert float(data[0].labels["energy"]) == -1.5


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('"-1.5 eV"', "energy-unit=eV"),
        ("-1.5eV", "energy-unit=eV"),
        ("-1,5", "write a decimal point"),
        ("-1.5D+01D", "is not a number"),
        ('"-1.5D+01 2"', "is not a number"),
    ],
)
def test_what_is_nearly_a_number_is_refused_with_what_to_write(tmp_path: Path, written: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(write(tmp_path, WATER.replace("energy=-1.5", f"energy={written}")))


def test_a_file_in_utf_16_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "wide.xyz").write_bytes(WATER.encode("utf-16"))
    with pytest.raises(DataError, match="iconv"):
        read(tmp_path / "wide.xyz")


@pytest.mark.parametrize(
    ("energies", "columns", "first"),
    [
        ("energy=-1 dft_energy=-2", "dft_forces", "dft_energy"),
        ("energy=-1 REF_energy=-2", "REF_forces", "REF_energy"),
        ("energy=-1 total_energy=-2", "forces", "energy"),
        ("total_energy=-1 energy=-2", "forces", "energy"),
    ],
)
def test_of_two_keys_that_differ_the_one_beside_the_other_labels_is_offered_first(
    tmp_path: Path, energies: str, columns: str, first: str
) -> None:
    path = write(tmp_path, WATER.replace("energy=-1.5", energies).replace(":forces:", f":{columns}:"))
    with pytest.raises(DataError, match="different values") as refused:
        read(path)
    assert refused.value.options[0] == {"keys.energy": first}


TWO = """1
Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3 energy=-1.0 {more} pbc="T T T"
Cu 0 0 0
"""


@pytest.mark.parametrize(
    "more", ["energy=-2.0", "energy = -2", "energy='-2.0'", "note={a b} energy=-2.0", 'x="a=1" energy=-2']
)
def test_a_key_with_two_values_is_refused(tmp_path, more):
    (tmp_path / "a.extxyz").write_text(TWO.format(more=more))
    with pytest.raises(DataError, match=r"frame 0.*energy twice"):
        read(tmp_path / "a.extxyz", want=("energy",))


@pytest.mark.parametrize("more", ["energy=-1.0", 'note="energy=-2.0"', "xenergy=-2.0", "flag"])
def test_a_key_that_is_given_again_is_read(tmp_path, more):
    (tmp_path / "a.extxyz").write_text(TWO.format(more=more))
    assert read(tmp_path / "a.extxyz", want=("energy",))[0].labels["energy"] == -1.0


@pytest.mark.parametrize(
    ("pbc", "said"),
    [
        ("yes no maybe", None),
        ("2 1 1", None),
        ("T T X", None),
        ("", None),
        ("T F T", [1, 0, 1]),
        ("1 0 1", [1, 0, 1]),
        ("true false True", [1, 0, 1]),
    ],
)
def test_pbc_is_of_true_and_false(tmp_path, pbc, said):
    (tmp_path / "a.extxyz").write_text(TWO.format(more="").replace("T T T", pbc))
    if said is None:
        with pytest.raises(DataError):
            read(tmp_path / "a.extxyz", want=())
    else:
        assert read(tmp_path / "a.extxyz", want=())[0].content.pbc.tolist() == said


@pytest.mark.parametrize("keys", [("lattice", "properties", "PBC"), ("LATTICE", "PROPERTIES", "Pbc")])
def test_keys_of_the_cell_and_the_columns_are_read_in_any_letters(tmp_path: Path, keys: tuple[str, str, str]) -> None:
    """As GPUMD writes them: a cell that was passed over would make a molecule of a crystal."""
    usual = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:force:R:3 pbc="T T F" energy=-1.5\n'
    body = "Cu 0 0 0 0.1 0 -0.1\nCu 2 2 2 -0.1 0 0.1\n"
    other = usual
    for before, after in zip(("Lattice", "Properties", "pbc"), keys, strict=True):
        other = other.replace(before, after)
    found = []
    for name, comment in (("a.xyz", usual), ("b.xyz", other)):
        (tmp_path / name).write_text(f"2\n{comment}{body}")
        found.append(read(tmp_path / name)[0])
    for one in found:
        assert one.content.pbc.tolist() == [True, True, False] and one.content.cell.rank == 3
        assert one.labels["forces"][0].tolist() == [0.1, 0, -0.1]
