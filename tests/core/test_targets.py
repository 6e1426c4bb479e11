"""Streams are written to and are there afterwards; files are replaced whole."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.files import is_part, whole, write_text
from matgraft.core.targets import LONGEST_NAME, as_text, descriptor_of, ending, is_stream, short


def _reader(path, found):
    found.append(path.read_bytes())


def test_a_named_pipe_is_written_to(tmp_path):
    pipe, found = tmp_path / "out.csv", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=_reader, args=(pipe, found))
    reader.start()
    write_text(pipe, "a,b\n")
    reader.join(10)
    assert found == [b"a,b\n"] and stat.S_ISFIFO(pipe.stat().st_mode) and list(tmp_path.iterdir()) == [pipe]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_written_to(tmp_path):
    for name, minor in (("null", 3), ("full", 7)):
        try:
            os.mknod(tmp_path / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            (tmp_path / name).open("rb").close()
        except PermissionError:
            pytest.skip("devices may not be made or opened here")
    write_text(tmp_path / "null", "gone")
    with pytest.raises(OSError, match="No space") as told:
        write_text(tmp_path / "full", "gone")
    assert told.value.filename == str(tmp_path / "full")
    assert all(stat.S_ISCHR(one.stat().st_mode) for one in tmp_path.iterdir())


def test_a_socket_is_written_to(tmp_path):
    path, found = tmp_path / "s", []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer():
            peer, _ = server.accept()
            with peer, peer.makefile("rb") as said:
                found.append(said.read())

        thread = threading.Thread(target=answer)
        thread.start()
        write_text(path, "Å")
        thread.join(10)
        assert found == ["Å".encode()] and path.is_socket()
    with pytest.raises(ConnectionRefusedError):
        write_text(path, "nobody listens")


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/dev/../dev/fd/{}", "link"])
def test_an_open_descriptor_is_written_to_where_it_stands(tmp_path, name):
    kept = tmp_path / "kept"
    with kept.open("wb", buffering=0) as file:
        file.write(b"first ")
        path = Path(name.format(file.fileno()))
        if name == "link":
            path = tmp_path / "link"
            path.symlink_to(f"/dev/fd/{file.fileno()}")
        assert descriptor_of(path) == file.fileno()
        with whole(path) as part:
            part.write_bytes(b"second ")
        file.write(b"third")
    assert kept.read_bytes() == b"first second third"


def test_what_fails_before_it_is_whole_sends_nothing(tmp_path):
    read, write = os.pipe()
    with pytest.raises(ValueError, match="no"), whole(Path(f"/dev/fd/{write}")) as part:
        part.write_bytes(b"half")
        raise ValueError("no")
    os.close(write)
    assert os.read(read, 10) == b""
    os.close(read)


def test_files_and_folders_are_no_streams(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    for path in (tmp_path, tmp_path / "file", tmp_path / "none", tmp_path / "round", Path("x" * 300), Path("a\0b")):
        assert not is_stream(path)


def test_the_ending_of_a_stream(tmp_path):
    forms = (".html", ".md")
    os.mkfifo(tmp_path / "page.HTML")
    assert ending(tmp_path / "page.HTML", forms, stream=".md") == ".html"
    assert ending(Path("/dev/stdout"), forms, stream=".md") == ".md"
    assert ending(tmp_path / "page.pdf", forms, stream=".md") is None


@pytest.mark.parametrize("name", ["a" * 251 + ".csv", "ö" * 125 + ".csv", "\udcff" * 250 + ".csv", "a" * 255])
def test_a_name_of_255_bytes_is_written(tmp_path, name):
    with whole(tmp_path / name) as part:
        assert is_part(part) and part.name.endswith(name[-4:])
        part.write_text("x")
    assert [os.fsencode(one.name) for one in tmp_path.iterdir()] == [os.fsencode(name)]


@given(st.text(max_size=300), st.integers(0, 300))
def test_a_short_name_is_an_end_of_the_name(name, room):
    name = os.fsdecode(name.encode("utf-8", "replace"))
    found = short(name, room)
    assert name.endswith(found) and len(os.fsencode(found)) <= room
    assert found == name or len(os.fsencode(name[len(name) - len(found) - 1 :])) > room


def test_the_longest_name_is_that_of_this_file_system(tmp_path):
    assert os.pathconf(tmp_path, "PC_NAME_MAX") == LONGEST_NAME


def test_a_name_that_is_no_text_is_told_as_one():
    assert as_text("Å.csv") == "Å.csv"
    assert as_text("p\udcff.csv") == "p\\xff.csv" != as_text("p\udcfe.csv")
