"""`matgraft.tune` in Python: what is in memory becomes files of the run, and the end is the command's own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.io import write

import matgraft
from matgraft.core.errors import AuditError, DataError, MatgraftError, OptionError, RunError
from matgraft.potentials.recipe import make_recipe, saved_recipe
from matgraft.potentials.run.verify import verify

from .conftest import QUICK

InProcess = Callable[..., tuple[int, str, str]]


def test_a_run_from_memory_ends_with_verdict_and_report(
    run: matgraft.Run, frames: list[Atoms], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.report.is_file() and run.kind == "frames"
    assert run.verdict == run.facts.verdict
    assert run.exit_code == run.facts.exit_code
    assert run.verdict.level in repr(run) and len(repr(run).splitlines()) == 1
    assert run.verdict.headline in run._repr_html_() and str(run.report) in run._repr_html_()
    assert "energy-unit" in [one.code for one in run.findings]
    again = matgraft.Run(run.folder)
    assert again.verdict == run.verdict
    assert capsys.readouterr() == ("", "")


def test_data_in_memory_are_files_of_the_run(run: matgraft.Run, frames: list[Atoms]) -> None:
    """Their labels are read back, the trajectories part the split, hashes guard them, and a run goes on with them."""
    assert saved_recipe(run.folder).train == str(run.folder / "given" / "frames.extxyz")
    kept = matgraft.read(run.folder / "given" / "frames.extxyz", want=("energy", "forces", "stress"))
    assert kept.tag("trajectory") == [atoms.info["trajectory"] for atoms in frames]
    for sample, atoms in zip(kept, frames, strict=True):
        assert sample.labels["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(sample.labels["forces"], atoms.get_forces(), atol=1e-8)
    state = verify(run.folder)
    assert state.is_whole and "given/frames.extxyz" not in state.unknown
    assert matgraft.resume(run.folder).verdict == run.verdict


def test_the_command_reports_a_run_from_python(run: matgraft.Run, matgraft: InProcess) -> None:
    code, out, err = matgraft("report", run.folder)
    assert code == 0, err
    assert out.strip() == str(run.report)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"fit.rat": 3}, OptionError, "did you mean 'rate'"),
        ({"foundation": "chgnat"}, OptionError, "chgnet"),
        ({"target": "gap"}, OptionError, "names a column of a table, and structures are given"),
        ({"test": []}, DataError, "nothing in what was given"),
    ],
)
def test_what_is_refused_leaves_nothing(
    frames: list[Atoms], tmp_path: Path, change: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        matgraft.tune(frames, tmp_path / "new" / "run", **{**QUICK, **change})
    assert not list(tmp_path.iterdir())


def test_a_finding_that_blocks_leaves_nothing(frames: list[Atoms], tmp_path: Path) -> None:
    wrong = [atoms.copy() for atoms in frames]
    for atoms, like in zip(wrong, frames, strict=True):
        atoms.info["energy"], atoms.arrays["forces"] = like.get_potential_energy(), like.get_forces()
        atoms.symbols[0] = "Cu"
    with pytest.raises(AuditError, match=r"audit\.allow"):
        matgraft.tune(wrong, tmp_path / "run", **QUICK)
    assert not list(tmp_path.iterdir())


def test_a_full_folder_keeps_what_it_has(frames: list[Atoms], tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "mine.txt").write_text("keep me")
    with pytest.raises(OptionError, match="is not empty"):
        matgraft.tune(frames, tmp_path, **QUICK)
    assert (tmp_path / "given" / "mine.txt").read_text() == "keep me"


def test_frames_without_labels_say_which_names_they_have(frames: list[Atoms], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no frame has energy under a known name"):
        matgraft.tune([atoms.copy() for atoms in frames], tmp_path / "run", **QUICK)


def test_options_make_the_recipe_that_the_command_makes(
    frames: list[Atoms], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dots, underscores and a file of a recipe are one."""
    file, made = tmp_path / "frames.extxyz", []
    write(file, frames)
    (tmp_path / "recipe.yaml").write_text(f"train: {file}\nfit: {{epochs: 3}}\n")
    monkeypatch.setattr("matgraft.verbs.tune._tune_frames", lambda recipe, run: made.append(recipe))
    matgraft.tune(file, tmp_path / "a", strategy="full", max_minutes=2, **{"fit.epochs": 3}, seed=4)
    matgraft.tune(str(file), tmp_path / "b", strategy="full", max_minutes=2, fit__epochs=3, seed=4)
    matgraft.tune(tmp_path / "recipe.yaml", tmp_path / "c", strategy="full", max_minutes=2, seed=4)
    asked = make_recipe(
        None, [f"train={file}", "strategy.name=full", "fit.max_minutes=2", "fit.epochs=3", "seed=4"], verb="tune"
    )
    matgraft.tune(asked, tmp_path / "d")
    assert made == [asked] * 4
    assert sorted(one.name for one in tmp_path.iterdir()) == ["frames.extxyz", "recipe.yaml"]
    with pytest.raises(OptionError, match="seed: not read beside a Recipe"):
        matgraft.tune(asked, tmp_path / "e", seed=3)


def test_a_run_that_is_not_finished_is_none(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="this is not a run"):
        matgraft.Run(tmp_path)
    (tmp_path / "run.json").write_text('{"kind": "frames", "decides": {}}')
    with pytest.raises(RunError, match="not finished"):
        matgraft.Run(tmp_path)


TABLE = pd.DataFrame(
    {
        "formula": [f"{a}{n}{b}" for a in ("Li", "Na", "K", "Rb") for b in ("F", "Cl", "Br", "I") for n in ("", "2")],
        "gap": np.linspace(1.0, 8.0, 32) + np.tile([0.0, 0.3], 16),
    }
)


@pytest.fixture(scope="module")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> matgraft.Run:
    folder = tmp_path_factory.mktemp("tables") / "run"
    return matgraft.tune(TABLE, folder, target="gap", strategy="descriptors")


def test_a_table_in_memory_ends_with_verdict_and_report(table_run: matgraft.Run) -> None:
    assert table_run.kind == "formulas" and table_run.report.is_file()
    assert table_run.verdict == table_run.verdicts["gap"]
    assert verify(table_run.folder).is_whole
    assert (table_run.folder / "given" / "table.csv").is_file()
    with pytest.raises(OptionError, match="it has no forces"):
        table_run.calculator()


def test_formulas_are_predicted_as_text_list_table_or_file(table_run: matgraft.Run, tmp_path: Path) -> None:
    TABLE[["formula"]][:2].to_csv(tmp_path / "asked.csv", index=False)
    asked = [["LiF", "Li2F"], {"formula": ["LiF", "Li2F"]}, TABLE[["formula"]][:2], tmp_path / "asked.csv"]
    found = [matgraft.predict(table_run.folder, one) for one in asked]
    assert list(found[0]["formula"]) == ["LiF", "Li2F"]
    for one in found[1:]:
        pd.testing.assert_frame_equal(one, found[0])
    assert table_run.predict("LiF")["value"][0] == found[0]["value"][0]
    with pytest.raises(DataError, match="the model reads formulas"):
        table_run.predict(Atoms("LiF", positions=[[0, 0, 0], [0, 0, 2]]))
    with pytest.raises(OptionError, match="pressure is not a covariate"):
        table_run.predict(["LiF"], pressure=3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, r"target='gap'"),
        ({"target": "gap", "max_minutes": 3}, "max_minutes is not read for a table"),
        ({"target": "gap", "stratgy": "full"}, "strategy"),
        ({"target": "gap", "ordinal": True}, "order"),
        ({"target": "gapp"}, "gap"),
    ],
)
def test_a_table_is_refused_with_what_is_allowed(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(MatgraftError, match=said):
        matgraft.tune(TABLE, tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())


def test_the_logger_tells_what_is_done(
    frames: list[Atoms], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matgraft.potentials.run.conduct.load_potential", lambda name: 1 / 0)
    with caplog.at_level(logging.INFO, "matgraft"), pytest.raises(ZeroDivisionError):
        matgraft.tune(frames[:3], tmp_path / "run", foundation="toy")
    said = [one.getMessage() for one in caplog.records]
    assert "3 frames are read, and 0 to test on" in said
    assert any(line.startswith("no strategy= given: ladder") for line in said)
    assert all(one.name.startswith("matgraft.") for one in caplog.records)
    assert not list(tmp_path.iterdir())
