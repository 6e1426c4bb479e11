"""The store: each label stands when it is kept, and damage, a full disk or a second writer is told."""

import errno
import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import matgraft
from matgraft.core.errors import ChangedError, OptionError, RunError
from matgraft.core.manifest import enter, folder_state
from matgraft.potentials.active.labelling.labelled import Try
from matgraft.potentials.active.labelling.store import FILE, FailureFacts, LabelFacts, LabelStore, StoredLabel


def a_label(energy=-1.0):
    return StoredLabel({"energy": np.array(energy), "forces": np.ones((2, 3))}, LabelFacts(seconds=1.0))


def test_what_is_kept_comes_back_and_takes_a_failure_away(tmp_path):
    with LabelStore(tmp_path / "labels") as store:
        store.put_failure("k", "e", FailureFacts(tries=(Try(reason="late", seconds=2.0),)))
        assert store.failure("k").tries[0].reason == "late" and store.label("k") is None and not store.has("k")
        store.put("k", "e", a_label())
        assert store.failure("k") is None and store.has("k")
    with LabelStore(tmp_path / "labels") as store:
        found = store.label("k")
        assert found.arrays["energy"] == -1.0 and found.facts.seconds == 1.0 and store.all_keys() == ["k"]


def test_outputs_lie_beside_it(tmp_path):
    with LabelStore(tmp_path / "labels") as store:
        name = store.put_output("abcd", "espresso.pwo", b"text")
        assert (tmp_path / "labels" / name).read_bytes() == b"text"
        assert store.put_output("abcd", "", b"") == ""


def test_a_second_writer_is_refused(tmp_path):
    with LabelStore(tmp_path / "labels"):
        code = (
            "from pathlib import Path\nfrom matgraft.potentials.active.labelling.store import LabelStore\n"
            f"LabelStore(Path({str(tmp_path / 'labels')!r}))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
        assert "another process labels into" in done.stderr
    LabelStore(tmp_path / "labels").close()


def test_a_killed_writer_loses_nothing_that_was_kept(tmp_path):
    code = textwrap.dedent(f"""
        import os, signal
        import numpy as np
        from pathlib import Path
        from matgraft.potentials.active.labelling.store import LabelFacts, LabelStore, StoredLabel
        store = LabelStore(Path({str(tmp_path / "labels")!r}))
        for i in range(50):
            store.put(f"k{{i:02d}}", "e", StoredLabel({{"energy": np.array(float(i))}}, LabelFacts(seconds=0.0)))
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", code], env=_environment())
    assert done.returncode == -9
    with LabelStore(tmp_path / "labels") as store:
        assert len(store.all_keys()) == 50
        assert store.label("k49").arrays["energy"] == 49.0


@pytest.mark.parametrize("place", [30, "middle"])
def test_damage_is_told(tmp_path, place):
    with LabelStore(tmp_path / "labels") as store:
        for i in range(200):
            store.put(f"k{i}", "e", a_label(i))
    file = tmp_path / "labels" / FILE
    content = bytearray(file.read_bytes())
    place = len(content) // 2 if place == "middle" else place
    content[place : place + 20000] = b"\xa5" * 20000
    file.write_bytes(bytes(content))
    with pytest.raises(ChangedError, match="content has changed"):
        LabelStore(tmp_path / "labels")
    (tmp_path / "labels" / "manifest.txt").unlink()  # as it was before there were manifests
    with pytest.raises(RunError, match="damaged"), LabelStore(tmp_path / "labels") as store:
        for key in store.all_keys():
            store.label(key)


def test_a_label_that_was_altered_is_told(tmp_path):
    with LabelStore(tmp_path / "labels") as store:
        store.put("k", "e", a_label())
    base = sqlite3.connect(tmp_path / "labels" / FILE)
    (content,) = base.execute("SELECT content FROM labels").fetchone()
    base.execute("UPDATE labels SET content = ?", (content[:-40] + b"x" * 40,))
    base.commit()
    base.close()
    with pytest.raises(ChangedError, match="content has changed"):
        LabelStore(tmp_path / "labels")
    enter(tmp_path / "labels" / FILE)  # of one who knows how a store is closed
    with LabelStore(tmp_path / "labels") as store, pytest.raises(RunError, match="not what matgraft wrote"):
        store.label("k")


def test_a_file_that_is_no_store_is_told(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / FILE).write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(RunError, match="damaged"):
        LabelStore(tmp_path / "labels")


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "thesis.tex").write_text("x")
    with pytest.raises(OptionError, match="holds no labels"):
        LabelStore(tmp_path / "runs")
    assert [one.name for one in (tmp_path / "runs").iterdir()] == ["thesis.tex"]


def test_a_store_of_a_later_version_is_told(tmp_path):
    with LabelStore(tmp_path / "labels"):
        pass
    base = sqlite3.connect(tmp_path / "labels" / FILE)
    base.execute("UPDATE about SET value = '99'")
    base.commit()
    base.close()
    enter(tmp_path / "labels" / FILE)
    with pytest.raises(RunError, match="version 99"):
        LabelStore(tmp_path / "labels")


def test_a_full_disk_is_told_and_what_was_kept_stays(tmp_path):
    """SQLite's own bound on pages fails as a full disk does."""
    with LabelStore(tmp_path / "labels") as store:
        store.put("first", "e", a_label())
        (pages,) = store._base.execute("PRAGMA page_count").fetchone()
        store._base.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(RunError, match="full") as caught:
            for i in range(100):
                store.put(f"k{i}", "e", StoredLabel({"forces": np.ones((200, 3))}, LabelFacts(seconds=0.0)))
        assert "type the same command" in str(caught.value)
        kept = store.all_keys()
    with LabelStore(tmp_path / "labels") as store:
        assert store.all_keys() == kept and "first" in kept
        store.put("later", "e", a_label())


def test_no_room_for_an_output_is_told(tmp_path, monkeypatch):
    with LabelStore(tmp_path / "labels") as store:

        def full(self, content):
            raise OSError(errno.ENOSPC, "No space left on device", str(self))

        monkeypatch.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(RunError, match="No space left"):
            store.put_output("abcd", "x.out", b"text")
    assert not list((tmp_path / "labels" / "outputs").rglob("*.xz"))


def _environment():
    return os.environ | {"PYTHONPATH": str(Path(matgraft.__file__).parents[1])}


def test_a_store_is_sealed_when_it_is_closed_and_open_while_it_is_written(tmp_path):
    with LabelStore(tmp_path / "labels") as store:
        store.put("k", "e", a_label())
        store.put_output("k", "out", b"said")
        assert folder_state(tmp_path / "labels").unsettled == (FILE,)
    state = folder_state(tmp_path / "labels")
    assert state.is_whole and state.n_whole == 2 and not state.unsettled and not state.unknown
    with LabelStore(tmp_path / "labels") as store:
        assert store.label("k") is not None


@pytest.mark.parametrize("column", ["engine", "facts", "at"])
def test_what_is_said_of_a_label_is_part_of_its_digest(tmp_path, column):
    with LabelStore(tmp_path / "labels") as store:
        store.put("k", "e", a_label())
        store._base.execute(f"UPDATE labels SET {column} = ?", ('{"seconds": 9.0}',))
        with pytest.raises(RunError, match="not what matgraft wrote"):
            store.label("k")


def test_a_failure_that_cannot_be_read_is_told(tmp_path):
    with LabelStore(tmp_path / "labels") as store:
        store.put_failure("k", "e", FailureFacts(tries=()))
        store._base.execute("UPDATE failures SET facts = '[]'")
        with pytest.raises(RunError, match="damaged"):
            store.failure("k")
