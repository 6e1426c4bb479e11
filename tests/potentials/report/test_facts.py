"""Facts hold what the files say, and survive files that are absent, torn or of an earlier version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matgraft.core.errors import RunError
from matgraft.potentials.report.facts import MODEL_CARD, REPORT, RunFacts, read_facts
from matgraft.potentials.report.run import write_report
from matgraft.potentials.run_files import (
    AUDIT,
    CHECKS,
    COVERAGE,
    FIT,
    HISTORY,
    METRICS,
    PREDICTIONS,
    PROVENANCE,
    RECIPE,
    REFERENCES,
    SPLIT,
    VERDICT,
)  # fmt: skip

TYPED = [file.name for file in
         (PROVENANCE, AUDIT, COVERAGE, SPLIT, REFERENCES, FIT, METRICS, CHECKS, VERDICT, MODEL_CARD)]  # fmt: skip
FILES = [*TYPED, RECIPE, HISTORY, PREDICTIONS]


def test_a_complete_run_is_gathered_whole(facts: RunFacts, pattern: Path) -> None:
    assert facts.absent == () and facts.unreadable == {}
    assert facts.metrics == METRICS.read(pattern) and facts.recipe and facts.recipe.strategy.name == "full"
    assert facts.parity and set(facts.parity.quantities) == {"energy", "forces", "stress"}


def test_the_report_as_data_is_read_back_as_it_was(run_folder: Path) -> None:
    write_report(run_folder)
    assert REPORT.read(run_folder) == read_facts(run_folder)
    said = json.loads((run_folder / "report.json").read_text())
    assert said["metrics"] == json.loads((run_folder / "metrics.json").read_text())


def test_the_part_that_was_scored_is_the_one_shown(facts: RunFacts) -> None:
    assert facts.parity and facts.metrics and facts.parity.part == "test"
    for name, key in (
        ("energy", "energy_rmse_meV_per_atom"),
        ("forces", "forces_rmse_eV_per_A"),
        ("stress", "stress_rmse_GPa"),
    ):
        shown = facts.parity.quantities[name].models["tuned"].rmse
        assert shown == pytest.approx(facts.metrics.test[key], rel=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_an_absent_file_is_named(run_folder: Path, name: str) -> None:
    (run_folder / name).unlink()
    said = read_facts(run_folder)
    assert said.absent == (name,) and said.unreadable == {}


@pytest.mark.parametrize("content", [b'{"torn": ', b"\xff\xfe\x00", b"", b"[1, 2]"])
def test_files_that_cannot_be_read_are_named_with_their_reasons(run_folder: Path, content: bytes) -> None:
    broken = [name for name in FILES if name != HISTORY]
    for name in broken:
        (run_folder / name).write_bytes(content)
    said = read_facts(run_folder)
    assert set(said.unreadable) == set(broken) and all(said.unreadable.values())
    assert said.history is not None


def test_files_of_an_earlier_version_are_named(run_folder: Path) -> None:
    (run_folder / "verdict.json").write_text('{"level": "mixed", "headline": "Mixed.", "reasons_for": []}')
    checks = json.loads((run_folder / "checks.json").read_text())
    checks["findings"][0]["details"] = {"rows": [{"chemistry": "inside", "energy_rmse_meV_per_atom": 3.0}]}
    (run_folder / "checks.json").write_text(json.dumps(checks))
    said = read_facts(run_folder)
    assert set(said.unreadable) == {"verdict.json", "checks.json"} and said.metrics is not None
    assert (
        said.unreadable["verdict.json"] == "it is damaged or of another version of matgraft (outcome: Field required)"
    )
    assert "of another version of matgraft (rows.0.kind: " in said.unreadable["checks.json"]


def test_a_torn_last_line_of_the_history_is_left_out(run_folder: Path) -> None:
    (run_folder / HISTORY).write_text("step,seconds,validation_loss\n1,2.0,0.5\n2,4.0,\n3,5.")
    assert read_facts(run_folder).history == {
        "step": [1, 2, 3], "seconds": [2.0, 4.0, 5.0], "validation_loss": [0.5, None, None]
    }  # fmt: skip


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "nothing"
    if make:
        folder.mkdir()
    with pytest.raises(RunError, match=r"recipe\.yaml"):
        read_facts(folder)
