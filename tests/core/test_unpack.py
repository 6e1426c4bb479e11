"""Packed files: the bytes that they hold, and an end to those that hold too many."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.core.unpack import (
    inflate,
    is_packed,
    lines,
    open_text,
    open_unpacked,
    read_whole,
    refuse_archive,
    refuse_bomb,
    unpacked,
)


def zst(content: bytes) -> bytes:
    return pa.compress(content, "zstd", asbytes=True)


PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zst}


@pytest.mark.parametrize("ending", PACK)
def test_packed_bytes_are_those_that_were_packed(tmp_path, ending):
    content = bytes(range(256)) * 3_000 + b"\n1 2\n"
    path = tmp_path / f"a.xyz{ending}"
    path.write_bytes(PACK[ending](content))
    with open_unpacked(path) as file:
        assert file.read(5) + file.read1(7) + file.read() == content
    assert read_whole(path, "whole_bytes") == content
    path.write_bytes(PACK[ending]("a\nÅ\n".encode()))
    with open_text(path) as file:
        assert list(lines(file, "a")) == ["a\n", "Å\n"]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_a_bomb_ends_while_it_is_read(tmp_path, monkeypatch, ending):
    monkeypatch.setattr("matgraft.core.unpack.FREE", 2**20)
    path = tmp_path / f"bomb{ending}"
    path.write_bytes(PACK[ending](bytes(2**24)))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"unpack to more than .* \(packed_ratio\).*\n.*MATGRAFT_LIMITS=packed_ratio="):
        refuse_bomb(path)
    if ending != ".zst":  # whose memory is not Python's
        assert tracemalloc.get_traced_memory()[1] < 2**24  # of xz 8 MiB are its dictionary
    tracemalloc.stop()
    monkeypatch.setenv("MATGRAFT_LIMITS", "packed_ratio=10000000")
    refuse_bomb(path)
    monkeypatch.setenv("MATGRAFT_LIMITS", "packed_ratio=10000000,unpacked_bytes=8M")
    with pytest.raises(DataError, match="unpacked_bytes"):
        refuse_bomb(path)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_a_packed_file_that_is_broken_or_cut_off_is_a_sentence(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    for content in (b"no archive at all", PACK[ending](bytes(range(256)) * 99)[:-9]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            read_whole(path, "yaml_bytes")


@pytest.mark.parametrize("ending", PACK)
def test_how_a_file_is_packed_is_known_by_its_content(tmp_path, ending):
    path = tmp_path / "OUTCAR"
    path.write_bytes(PACK[ending](b"free energy"))
    assert read_whole(path, "whole_bytes") == b"free energy" and is_packed(path) == bool(ending)
    assert unpacked(path.read_bytes(), "table_bytes", "standard input") == b"free energy"


def test_packed_parts_behind_one_another_are_one_file(tmp_path):
    for ending in (".gz", ".bz2", ".xz", ".zst"):
        path = tmp_path / f"a{ending}"
        path.write_bytes(PACK[ending](b"first") + PACK[ending](b"second"))
        assert read_whole(path, "whole_bytes") == b"firstsecond"


def test_bytes_that_unpack_to_too_many_are_refused(monkeypatch):
    monkeypatch.setenv("MATGRAFT_LIMITS", "table_bytes=1M")
    for content in (bytes(2**20 + 1), *(PACK[ending](bytes(2**20 + 1)) for ending in PACK if ending)):
        with pytest.raises(DataError, match="table_bytes"):
            unpacked(content, "table_bytes", "standard input")


def test_an_xz_file_that_asks_for_a_huge_dictionary_is_refused():
    # magic, flags, then a block header whose dictionary is 1.5 GiB; made by xz --lzma2=dict=1536MiB
    content = bytearray(lzma.compress(b"a", preset=0))
    assert content[12:16] == b"\x02\x00\x21\x01"  # header of 12 bytes, one filter, LZMA2, one byte of its dictionary
    content[16] = 37
    content[20:24] = zlib.crc32(bytes(content[12:20])).to_bytes(4, "little")
    with pytest.raises(DataError, match="Memory usage limit exceeded"):
        unpacked(bytes(content), "table_bytes", "a.xz")


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("OUTCAR"))
    return file.getvalue()


ARCHIVES = {
    "a.tar": (tarred(), "tar xf a.tar"),
    "runs.extxyz": (tarred(), "tar xf runs.extxyz"),
    "a.zip": (b"PK\x03\x04" + bytes(30), "unzip a.zip"),
    "OUTCAR.Z": (b"\x1f\x9d\x90aaaa", "gzip -d OUTCAR.Z"),
    "OUTCAR.lz4": (b"\x04\x22\x4d\x18aaaa", "lz4 -d OUTCAR.lz4"),
    "a b.7z": (b"7z\xbc\xaf\x27\x1c", "7z x 'a b.7z'"),
    "a.lzma": (lzma.compress(b"a" * 99, format=lzma.FORMAT_ALONE), "xz -d a.lzma"),
    "a.rar": (b"", "unrar x a.rar"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_named_with_the_command_that_unpacks_it(name):
    content, command = ARCHIVES[name]
    with pytest.raises(DataError, match="from which nothing is read") as told:
        refuse_archive(name, content)
    assert command in str(told.value)


def test_no_archive_is_made_of_text():
    for content in (b"formula,gap\nNaCl,8.5\n" * 99, b"]\n", b"PK\n", b"2\nLattice=..."):
        refuse_archive("a.csv", content)


def test_blank_lines_have_an_end(tmp_path, monkeypatch):
    monkeypatch.setenv("MATGRAFT_LIMITS", "blank_lines=10")
    path = tmp_path / "a.txt"
    path.write_bytes((b" \t\n" * 10 + b"a\n") * 3)
    with open_unpacked(path) as file:
        assert len(list(lines(file, "a.txt"))) == 33
    path.write_bytes(b"a\n" + b" \r\n" * 11)
    with open_unpacked(path) as file, pytest.raises(DataError, match=r"more than 10 blank lines in a row.*blank_lines"):
        list(lines(file, "a.txt"))


def test_a_line_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setenv("MATGRAFT_LIMITS", "line_bytes=100")
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 99 + b"\n" + b"y" * 101)
    with open_unpacked(path) as file, pytest.raises(DataError, match=r"a line of more than 100 bytes"):
        list(lines(file, "a.txt"))


@given(st.binary(max_size=3_000))
def test_inflate_returns_what_was_deflated(content):
    assert inflate(zlib.compress(content), "row_bytes", "row") == content


def test_inflate_is_bounded(monkeypatch):
    packed = zlib.compress(bytes(2**24))
    monkeypatch.setenv("MATGRAFT_LIMITS", "row_bytes=1M")
    with pytest.raises(DataError, match="row_bytes"):
        inflate(packed, "row_bytes", "row 3")
    with pytest.raises(zlib.error):
        inflate(zlib.compress(b"abc" * 99)[:-5], "row_bytes", "row")
