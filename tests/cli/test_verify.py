"""`matgraft verify`: what it says, as lines and as JSON, and its exit codes."""

import json

import pytest

from matgraft.core import manifest
from matgraft.core.files import write_text


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run" / "model").mkdir(parents=True)
    for one in ("run", "run/model"):
        manifest.begin(tmp_path / one)
        write_text(tmp_path / one / "a.json", "{}")
    return tmp_path / "run"


def test_a_whole_folder(matgraft, folder):
    code, out, _ = matgraft("verify", folder)
    assert code == 0 and "2 files are as they were written" in out
    code, out, _ = matgraft("verify", folder, "--json")
    said = json.loads(out)
    assert code == 0 and said["is_whole"] and said["folder"] == str(folder) and said["n_whole"] == 2


def test_what_is_changed_missing_or_unknown_is_named(matgraft, folder):
    (folder / "model" / "a.json").write_text("[]")
    (folder / "a.json").unlink()
    (folder / "mine.txt").write_text("x")
    code, out, _ = matgraft("verify", folder)
    assert code == 3
    assert "changed    model/a.json: it is not what matgraft wrote" in out
    assert "missing    a.json" in out and "unknown    mine.txt" in out
    code, out, _ = matgraft("verify", folder, "--json")
    said = json.loads(out)
    assert code == 3 and not said["is_whole"]
    assert (said["missing"], said["unknown"], list(said["changed"])) == (["a.json"], ["mine.txt"], ["model/a.json"])


def test_a_note_beside_the_files_is_named_and_changes_nothing(matgraft, folder):
    (folder / "notes.md").write_text("mine")
    code, out, _ = matgraft("verify", folder)
    assert code == 0 and "unknown    notes.md" in out


def test_a_folder_of_an_earlier_version_cannot_be_judged(matgraft, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    code, out, _ = matgraft("verify", tmp_path)
    assert code == 6 and "Its files cannot be checked" in out
    code, out, _ = matgraft("verify", tmp_path, "--json")
    assert code == 6 and json.loads(out)["has_manifest"] is False


@pytest.mark.parametrize("name", ["nothing", "file.txt"])
def test_what_is_no_folder_is_refused(matgraft, tmp_path, name):
    (tmp_path / "file.txt").write_text("x")
    code, _, err = matgraft("verify", tmp_path / name)
    assert code == 3 and "error" in err
