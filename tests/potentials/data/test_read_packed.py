"""Packed frames of any program are read as they are; archives are refused by what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.read import read

PACK = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}
FRAMES = b'1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 energy=-1.5 pbc="T T T"\nSi 0 0 0\n'
CIF = b"data_a\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
CIF += b"_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P 1'\nloop_\n_atom_site_label\n_atom_site_fract_x\n"
CIF += b"_atom_site_fract_y\n_atom_site_fract_z\nSi 0 0 0\n"
POSCAR = b"Si\n1.0\n4 0 0\n0 4 0\n0 0 4\nSi\n1\nDirect\n0 0 0\n"
RECORDS = b'[{"numbers": [14], "positions": [[0, 0, 0]], "cell": [[4,0,0],[0,4,0],[0,0,4]], "energy": -1.5}]'
CONTENTS = {"a.extxyz": FRAMES, "a.cif": CIF, "POSCAR": POSCAR, "a.json": RECORDS}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("ending", PACK)
def test_a_packed_file_is_read_as_the_plain_one(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(PACK[ending](CONTENTS[name]))
    (sample,) = read(path, want=())
    assert sample.content.get_chemical_formula() == "Si" and sample.content.cell[0, 0] == 4


def test_a_packed_file_without_an_ending_is_read(tmp_path: Path) -> None:
    path = tmp_path / "POSCAR"
    for pack in PACK.values():
        path.write_bytes(pack(POSCAR))
        assert len(read(path, want=())) == 1


def tar(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{mode}") as archive:
        member = tarfile.TarInfo("a.extxyz")
        member.size = len(FRAMES)
        archive.addfile(member, io.BytesIO(FRAMES))
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.extxyz", FRAMES)
    return file.getvalue()


ARCHIVES = {
    "a.tar": tar(""),
    "a.tar.gz": tar("gz"),
    "runs.tgz": tar("gz"),
    "a.tar.xz": tar("xz"),
    "a.extxyz": tar("bz2"),
    "a.zip": zipped(),
    "a.extxyz.zip": zipped(),
    "OUTCAR": zipped(),
    "OUTCAR.Z": b"\x1f\x9d\x90" + bytes(99),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_refused_by_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(ARCHIVES[name])
    with pytest.raises(DataError, match=r"packed by (tar|zip|compress), from which nothing is read") as told:
        read(tmp_path / name, want=())
    assert str(tmp_path / name) in told.value.commands[0][-1]


def test_a_pipe_in_the_place_of_a_file_is_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.extxyz")
    for path in (tmp_path / "a.extxyz", Path("/dev/zero")):
        with pytest.raises(DataError, match="neither a file nor a folder"):
            read(path, want=())


def test_a_search_passes_over_archives_and_pipes(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[2] / "fuzz" / "seeds" / "frames", tmp_path / "seeds")
    outcar = next(one for one in (tmp_path / "seeds").rglob("*") if one.name == "OUTCAR")
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "OUTCAR").write_bytes(outcar.read_bytes())
    (folder / "OUTCAR.old").write_bytes(tar(""))
    os.mkfifo(folder / "OUTCAR.pipe")
    assert {sample.file for sample in read(folder, want=())} == {"OUTCAR"}
