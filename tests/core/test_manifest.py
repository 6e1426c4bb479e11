"""A manifest: what was written is known, a killed run is neither lost nor believed, a changed byte is found."""

import os
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from matgraft.core import manifest
from matgraft.core.errors import ChangedError, RunError
from matgraft.core.files import remove, whole, write_text
from matgraft.core.manifest import FILE, begin, check_file, checked, folder_state
from matgraft.core.run_folder import RunFile, inside


class Fact(BaseModel):
    x: int


FACT = RunFile("sub/fact.json", Fact)


@pytest.fixture
def folder(tmp_path):
    out = tmp_path / "run"
    (out / "sub").mkdir(parents=True)
    manifest.begin(out)
    FACT.write(out, Fact(x=1))
    write_text(out / "notes.csv", "a,b\n1,2\n")
    return out


def lines(folder):
    return (folder / manifest.FILE).read_bytes()


def test_what_was_written_is_whole(folder):
    state = manifest.folder_state(folder)
    assert state.is_whole and state.n_whole == 2 and not state.unknown
    assert FACT.read(folder) == FACT.find(folder) == Fact(x=1)
    assert manifest.checked(folder / "notes.csv") == b"a,b\n1,2\n"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_change_of_any_file_is_found(tmp_path_factory, data):
    out = tmp_path_factory.mktemp("run")
    manifest.begin(out)
    for name in ("a", "b"):
        write_text(out / name, name * 40)
    file = out / data.draw(st.sampled_from(["a", "b", manifest.FILE]))
    content = file.read_bytes()
    kind = data.draw(st.sampled_from(["flip", "cut", "add", "swap", "delete"]))
    if kind == "flip":
        place = data.draw(st.integers(0, 8 * len(content) - 1))
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        file.write_bytes(changed)
    elif kind == "cut":
        file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    elif kind == "add":
        file.write_bytes(content + b"x\n")
    elif kind == "swap" and file.name != manifest.FILE:
        other = out / {"a": "b", "b": "a"}[file.name]
        file.write_bytes(other.read_bytes())
        other.write_bytes(content)
    else:
        file.unlink()
    state = manifest.folder_state(out)
    assert not state.is_whole or state.unknown or state.unsettled
    if file.name != manifest.FILE:
        assert file.name in {**state.changed, **dict.fromkeys(state.missing)}
        with pytest.raises((ChangedError, FileNotFoundError)):
            manifest.checked(file)


def test_a_file_that_is_gone_or_was_put_there_is_no_silence(folder):
    (folder / "notes.csv").unlink()
    (folder / "sub" / "other.json").write_text('{"x": 2}')
    state = manifest.folder_state(folder)
    assert (state.missing, state.unknown) == (("notes.csv",), ("sub/other.json",)) and not state.is_whole
    with pytest.raises(ChangedError, match="missing"):
        manifest.is_there(folder / "notes.csv")
    assert not manifest.is_there(folder / "never.csv")
    with pytest.raises(ChangedError, match="did not write it"):
        RunFile("sub/other.json", Fact).find(folder)


def test_what_matgraft_removes_is_not_missed(folder):
    remove(folder / "sub")
    remove(folder / "notes.csv")
    remove(folder / "never.csv")
    assert manifest.folder_state(folder).is_whole and FACT.find(folder) is None
    again = RunFile("fact.json", Fact)
    again.write(folder, Fact(x=3))
    assert again.read(folder).x == 3


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_writer_that_is_killed_beside_its_line_leaves_a_folder_that_opens(folder, monkeypatch, moment):
    replace = Path.replace

    def dies(self, target):
        if moment == "after":
            replace(self, target)
        raise KeyboardInterrupt

    for x in (2, 3):  # killed twice: every content that may stand there is known
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "replace", dies)
            FACT.write(folder, Fact(x=x))
        assert FACT.read(folder).x == (x if moment == "after" else 1)
        state = manifest.folder_state(folder)
        assert state.is_whole and state.unsettled == ("sub/fact.json",)
    FACT.write(folder, Fact(x=4))
    assert manifest.folder_state(folder).unsettled == () and FACT.read(folder).x == 4
    (folder / FACT.name).write_text('{"x": 9}')
    with pytest.raises(ChangedError, match="content has changed"):
        FACT.read(folder)


def test_a_line_that_a_full_disk_tore_off_never_happened(folder):
    before = lines(folder)
    (folder / manifest.FILE).write_bytes(before + b"1234abcd {")
    assert manifest.folder_state(folder).is_whole
    FACT.write(folder, Fact(x=5))
    assert b"abcd {" not in lines(folder) and manifest.folder_state(folder).is_whole and FACT.read(folder).x == 5


def test_a_folder_inside_with_its_own_manifest_is_judged_by_it_and_moves_alone(folder, tmp_path):
    model = folder / "model"
    model.mkdir()
    manifest.begin(model)
    write_text(model / "card.json", "{}")
    assert manifest.folder_state(folder).n_whole == 3 and b"card.json" not in lines(folder)
    moved = model.rename(tmp_path / "model")
    assert manifest.folder_state(moved).is_whole
    (moved / "card.json").write_text("[]")
    with pytest.raises(ChangedError):
        manifest.check_folder(moved)


@pytest.mark.parametrize("linked", ["notes.csv", "sub", manifest.FILE])
def test_a_link_is_not_followed(folder, tmp_path, linked):
    moved = (folder / linked).rename(tmp_path / "elsewhere")
    (folder / linked).symlink_to(moved)
    state = manifest.folder_state(folder)
    assert not state.is_whole
    with pytest.raises(ChangedError, match="link"):
        manifest.checked(folder / "sub" / "fact.json" if linked != "notes.csv" else folder / linked)


def test_a_folder_that_is_itself_a_link_opens(folder, tmp_path):
    (tmp_path / "latest").symlink_to(folder)
    assert manifest.folder_state(tmp_path / "latest").is_whole and FACT.read(tmp_path / "latest").x == 1


def test_the_folder_is_found_from_inside_and_by_a_winding_path(folder, monkeypatch):
    (folder / "notes.csv").write_text("changed")
    monkeypatch.chdir(folder / "sub")
    for path in ("../notes.csv", "../../run/sub/../notes.csv"):
        with pytest.raises(ChangedError):
            manifest.check_file(Path(path))


@pytest.mark.parametrize("name", ["../other", "/etc/passwd", "a/../../b", "", "a\0b"])
def test_a_name_from_a_file_never_leaves_the_folder(folder, name):
    with pytest.raises(RunError, match="does not name a file in this folder"):
        inside(folder, name)


@pytest.mark.parametrize("name", ["../run2/x", "/etc/passwd"])
def test_a_manifest_never_names_what_lies_outside(folder, name):
    line = manifest.Entry(state="standing", name=name, sha256="0" * 64).line()
    (folder / manifest.FILE).write_bytes(lines(folder) + line)
    assert manifest.FILE in manifest.folder_state(folder).changed
    with pytest.raises(ChangedError, match="line 6"):
        FACT.read(folder)


def test_processes_that_write_at_once_lose_no_line(folder):
    def write(k):
        for i in range(20):
            write_text(folder / f"{k}-{i}", "x")

    children = []
    for k in range(4):
        if not (child := os.fork()):
            write(k)
            os._exit(0)
        children.append(child)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    state = manifest.folder_state(folder)
    assert state.is_whole and state.n_whole == 82 and not state.unknown and not state.unsettled


def test_an_older_folder_is_read_and_that_is_said_once(tmp_path):
    old = RunFile("fact.json", Fact)
    old.write(tmp_path, Fact(x=1))
    assert old.read(tmp_path).x == 1 and not manifest.folder_state(tmp_path).has_manifest
    with pytest.warns(manifest.OlderFolderWarning, match="read as they are"):
        manifest.note_older(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manifest.note_older(tmp_path)


def test_outside_of_such_folders_nothing_is_entered(tmp_path):
    with whole(tmp_path / "plain.txt") as part:
        part.write_text("x")
    assert [one.name for one in tmp_path.iterdir()] == ["plain.txt"]


def test_a_file_of_ones_own_in_a_run_folder_may_be_read_and_one_of_matgraft_is_checked(folder):
    (folder / "mine.extxyz").write_text("anything")
    assert manifest.check_known(folder / "mine.extxyz") and manifest.check_known(folder / "notes.csv")
    (folder / "notes.csv").write_text("edited")
    with pytest.raises(ChangedError):
        manifest.check_known(folder / "notes.csv")


@pytest.mark.parametrize("torn", [b"", b"matgraft man"])
def test_a_folder_whose_writer_was_killed_in_the_title_is_begun_again(tmp_path: Path, torn: bytes) -> None:
    """The empty manifest was kept, and nothing in the folder could be read or written any more."""
    (tmp_path / FILE).write_bytes(torn)
    begin(tmp_path)
    write_text(tmp_path / "a.txt", "a")
    assert folder_state(tmp_path).is_whole and checked(tmp_path / "a.txt") == b"a"


@pytest.mark.parametrize("other", [b"matgraft manifest 2\n", b"mat\n", b"x"])
def test_a_manifest_that_is_another_is_left_alone(tmp_path: Path, other: bytes) -> None:
    (tmp_path / FILE).write_bytes(other)
    begin(tmp_path)
    assert (tmp_path / FILE).read_bytes() == other and not folder_state(tmp_path).is_whole


def test_what_a_kill_left_unsettled_is_settled_when_the_run_goes_on(tmp_path: Path) -> None:
    """`verify` said for ever that a process writes there, and to resume the run."""
    begin(tmp_path)
    for name in ("old", "new", "kept", "other"):
        write_text(tmp_path / name, name)
    with suppress(KeyError), manifest.leaving(tmp_path / "old"):
        (tmp_path / "old").unlink()
        raise KeyError
    for name in ("new", "never", "other"):
        (tmp_path / f".1.part.{name}").write_text("later")
        with suppress(KeyError), manifest.entering(tmp_path / name, tmp_path / f".1.part.{name}"):
            if name == "new":
                (tmp_path / f".1.part.{name}").replace(tmp_path / name)
            raise KeyError
    (tmp_path / "other").write_text("somebody's")
    assert set(folder_state(tmp_path).unsettled) == {"old", "new", "never", "other"}
    manifest.settle(tmp_path)
    state = folder_state(tmp_path)
    assert state.unsettled == ("other",) and set(state.changed) == {"other"} and not state.missing
    assert checked(tmp_path / "new") == b"later" and checked(tmp_path / "kept") == b"kept"


@pytest.mark.parametrize("has_manifest", [True, False])
def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_told_and_not_waited_for(tmp_path, has_manifest):
    folder = tmp_path / "run"
    folder.mkdir()
    if has_manifest:
        begin(folder)
    write_text(folder / "a.json", "{}")
    (folder / "a.json").unlink()
    os.mkfifo(folder / "a.json")
    for reads in (checked, check_file):
        with pytest.raises(ChangedError, match="it is not a file"):
            reads(folder / "a.json")
    assert folder_state(folder).is_whole is False
    (folder / "a.json").unlink()
    (folder / "manifest.txt").unlink(missing_ok=True)
    os.mkfifo(folder / "manifest.txt")
    with pytest.raises(ChangedError, match="it is not a file"):
        check_file(folder / "b.json")
    assert folder_state(folder).changed == {"manifest.txt": "it is not a file"}
