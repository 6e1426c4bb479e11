"""Packed files: the bytes that they hold, and an end to those that hold too many."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.core.unpack import inflate, lines, open_text, open_unpacked, read_whole, refuse_bomb

PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


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


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_a_bomb_ends_while_it_is_read(tmp_path, monkeypatch, ending):
    monkeypatch.setattr("matgraft.core.unpack.FREE", 2**20)
    path = tmp_path / f"bomb{ending}"
    path.write_bytes(PACK[ending](bytes(2**24)))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"unpack to more than .* \(packed_ratio\).*\n.*MATGRAFT_LIMITS=packed_ratio="):
        refuse_bomb(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24  # of xz 8 MiB are its dictionary
    tracemalloc.stop()
    monkeypatch.setenv("MATGRAFT_LIMITS", "packed_ratio=10000000")
    refuse_bomb(path)
    monkeypatch.setenv("MATGRAFT_LIMITS", "packed_ratio=10000000,unpacked_bytes=8M")
    with pytest.raises(DataError, match="unpacked_bytes"):
        refuse_bomb(path)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_a_packed_file_that_is_broken_or_cut_off_is_a_sentence(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    for content in (b"no archive at all", PACK[ending](bytes(range(256)) * 99)[:-9]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            read_whole(path, "yaml_bytes")


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
