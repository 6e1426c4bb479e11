"""Facts hold what the files say, and survive files that are absent, torn or hostile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matgraft.core.errors import RunError
from matgraft.potentials.report.facts import FILES, facts, plain


def test_a_complete_run_is_gathered_whole(run_folder: Path) -> None:
    said = facts(run_folder)
    assert said["absent"] == [] and said["unreadable"] == {}
    assert said["metrics"] == json.loads((run_folder / "metrics.json").read_text())
    assert said["recipe"]["strategy"] == {"name": "full"}
    assert set(said["parity"]["quantities"]) == {"energy", "forces", "stress"}
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_the_part_that_was_scored_is_the_one_shown(run_folder: Path) -> None:
    said = facts(run_folder)
    assert said["parity"]["part"] == "test"
    for name, key in (
        ("energy", "energy_rmse_meV_per_atom"),
        ("forces", "forces_rmse_eV_per_A"),
        ("stress", "stress_rmse_GPa"),
    ):
        shown = said["parity"]["quantities"][name]["models"]["tuned"]["rmse"]
        assert shown == pytest.approx(said["metrics"]["test"][key], rel=1e-6)


@pytest.mark.parametrize("name", [name for name, _ in FILES.values()])
def test_an_absent_file_is_named(run_folder: Path, name: str) -> None:
    (run_folder / name).unlink()
    said = facts(run_folder)
    assert said["absent"] == [name]
    assert said["unreadable"] == {}


@pytest.mark.parametrize("name", [name for name, _ in FILES.values() if name != "history.csv"])
@pytest.mark.parametrize("content", [b'{"torn": ', b"\xff\xfe\x00", b"", b"[1, 2]"])
def test_a_file_that_cannot_be_read_is_named_with_its_reason(run_folder: Path, name: str, content: bytes) -> None:
    (run_folder / name).write_bytes(content)
    said = facts(run_folder)
    assert list(said["unreadable"]) == [name]
    assert said["unreadable"][name]


def test_a_torn_last_line_of_the_history_is_left_out(run_folder: Path) -> None:
    path = run_folder / "history.csv"
    path.write_text("step,seconds,validation_loss\n1,2.0,0.5\n2,4.0,\n3,5.")
    assert facts(run_folder)["history"] == {
        "step": [1, 2, 3], "seconds": [2.0, 4.0, 5.0], "validation_loss": [0.5, None, None]
    }  # fmt: skip


def test_what_is_not_finite_is_seen(run_folder: Path) -> None:
    path = run_folder / "metrics.json"
    path.write_text(path.read_text().replace('"n_groups": 28', '"n_groups": NaN'))
    assert facts(run_folder)["metrics"]["n_groups"] == "nan"


def test_control_characters_do_not_pass() -> None:
    assert plain({"a\x1b[31m": ["b\x00", "c\nd", "\ud800"]}) == {"a�[31m": ["b�", "c\nd", "?"]}


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "nothing"
    if make:
        folder.mkdir()
    with pytest.raises(RunError, match=r"recipe\.yaml"):
        facts(folder)
