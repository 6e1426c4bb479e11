"""A loop of active learning whose files were changed: verify names each, its report and its next round refuse it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write as write_frames
from tests.potentials.run.test_active import Toy, recipe_of
from tests.tampering import CHANGES, Change, changed, files_of

from matgraft.core.errors import ChangedError, MatgraftError
from matgraft.core.files import remove, whole, write_text
from matgraft.core.manifest import FILE, begin, checked
from matgraft.core.run_folder import last_model
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.report.active import read_loop, write_active_report
from matgraft.potentials.run.active import active
from matgraft.potentials.run.verify import verify

TOLD = ("round.json", "ended.json", "curve.json", "selected.json", "labelled.json", "sampled-0.json")
"""Files that the report of a loop is made of."""


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds, their files written as `matgraft active` writes them."""
    home = tmp_path_factory.mktemp("loop")
    write_frames(home / "cu.cif", bulk("Cu", cubic=True))
    active(recipe_of(str(home / "cu.cif"), rounds=2), home / "loop", stages=Toy().stages())
    for one in files_of(home / "loop"):  # the stages of the toy write without hashes
        if one.name == "learned.txt":
            begin_model(one.parent)
        write_again(one)
    write_active_report(home / "loop")
    assert verify(home / "loop").is_whole and not verify(home / "loop").unknown, verify(home / "loop")
    return home / "loop"


def begin_model(run: Path) -> None:
    begin(run)
    (run / "model").mkdir()
    begin(run / "model")
    write_text(run / "model" / "card.json", "{}")


def write_again(file: Path) -> None:
    content = file.read_bytes()
    with whole(file) as part:
        part.write_bytes(content)


@pytest.mark.parametrize("turn", [0, 3])
def test_verify_names_every_file_of_a_loop(loop: Path, turn: int) -> None:
    files = files_of(loop)
    assert {one.suffix for one in files} >= {".json", ".extxyz", ".yaml"} and len(files) > 20
    for i, file in enumerate(files):
        with changed(file, files[i - 1], CHANGES[(i + turn) % len(CHANGES)], seed=i):
            state = verify(loop)
            assert str(file.relative_to(loop)) in {**state.changed, **dict.fromkeys(state.missing)}, file
    assert verify(loop).is_whole


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_no_report_is_made_of_a_changed_file(loop: Path, change: Change) -> None:
    files = [one for one in files_of(loop) if one.name in TOLD]
    assert len(files) == 10
    for i, file in enumerate(files):
        with changed(file, files[i - 1], change, seed=i), pytest.raises(ChangedError):
            read_loop(loop)
    assert len(read_loop(loop).rounds) == 2


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_no_frame_is_read_from_a_changed_file(loop: Path, change: Change) -> None:
    files = [one for one in files_of(loop) if one.suffix == ".extxyz"]
    assert len(files) == 10
    for i, file in enumerate(files):
        with changed(file, loop / "active.yaml", change, seed=i), pytest.raises(MatgraftError):
            read(file, want=())


@pytest.mark.parametrize("gone", ["rounds/01", "rounds/01/run", "rounds/01/run/model"])
def test_a_folder_that_is_gone_is_missed(loop: Path, tmp_path: Path, gone: str) -> None:
    """What has hashes of its own takes them with it: the folder above knows that it must be there."""
    copy = Path(shutil.copytree(loop, tmp_path / "loop"))
    shutil.rmtree(copy / gone)
    assert any(name.startswith(gone) for name in verify(copy).missing)
    with pytest.raises(MatgraftError, match="missing"):
        last_model(copy)


def test_nothing_is_read_where_the_hashes_are_gone(loop: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(loop, tmp_path / "loop")) / "rounds/00/run/model"
    (model / FILE).unlink()
    assert verify(tmp_path / "loop").missing == (f"rounds/00/run/model/{FILE}",)
    with pytest.raises(ChangedError):
        checked(model / "card.json")


def test_the_last_model_is_that_of_the_last_round(loop: Path) -> None:
    assert last_model(loop) == loop / "rounds" / "01" / "run"


def test_a_folder_that_matgraft_removes_is_not_missed(loop: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(loop, tmp_path / "loop"))
    remove(copy / "rounds" / "01")
    assert FILE not in str(verify(copy).missing) and verify(copy).is_whole
