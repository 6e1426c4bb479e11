"""A model folder and its reports whose files were changed: verify names the file, and nothing is loaded in silence."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
from tests.potentials.report.conftest import write_run
from tests.tampering import CHANGES, Change, changed, files_of

from matgraft.core.errors import ChangedError, MatgraftError, RunError
from matgraft.core.files import remove, write_text
from matgraft.core.manifest import begin, folder_state
from matgraft.core.registry import save_folder
from matgraft.core.run_folder import BEGUN, Begun, RunFile, open_run
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.registry import load_potential
from matgraft.potentials.report.facts import read_facts
from matgraft.potentials.run.verify import verify
from matgraft.potentials.run_files import HISTORY, METRICS, SPLIT


@pytest.fixture(scope="module")
def run(chgnet: Potential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "si"
    out.mkdir()
    begin(out)
    write_run(out)
    remove(out / "model")
    save_folder(copy.deepcopy(chgnet), out / "model")
    for one in (one for one in files_of(out) if one.name in (HISTORY, "recipe.yaml")):
        write_text(one, one.read_text())
    return out


def test_the_run_is_whole_and_loads(run: Path) -> None:
    assert verify(run).is_whole, verify(run)
    assert load_potential(run).card.backbone == "chgnet" and not read_facts(run).unreadable


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_no_model_is_loaded_from_a_changed_file(run: Path, change: Change) -> None:
    for i, file in enumerate(files_of(run / "model")):
        with changed(file, run / METRICS.name, change, seed=i):
            assert not verify(run).is_whole
            with pytest.raises(MatgraftError):
                load_potential(run)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_report_says_which_file_it_could_not_believe(run: Path, change: Change) -> None:
    reported = [one for one in files_of(run) if one.parent == run and one.suffix in (".json", ".parquet", ".csv")]
    assert len(reported) > 6
    for i, file in enumerate(reported):
        with changed(file, run / "model" / "card.json", change, seed=i):
            state = verify(run)
            assert file.name in {**state.changed, **dict.fromkeys(state.missing)}
            facts = read_facts(run)
            assert file.name in {*facts.unreadable, *facts.absent} or file.name in ("run.json", "report.json")


def test_a_model_folder_is_verified_where_it_was_copied_to(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run / "model", tmp_path / "mine"))
    assert verify(copy).is_whole and load_potential(copy)


@pytest.mark.parametrize("name", ["../si", "..", "a/../../si", "/", "model"])
def test_no_head_is_a_path(run: Path, name: str) -> None:
    with pytest.raises(MatgraftError):
        load_potential(f"{run}#{name}")


def test_a_folder_that_leads_out_of_a_run_is_refused(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    moved = (copy / "model").rename(tmp_path / "elsewhere")
    (copy / "model").symlink_to(moved)
    (moved / "manifest.txt").unlink()
    with pytest.raises(ChangedError):
        load_potential(copy)


def test_a_killed_run_goes_on_with_its_manifest(tmp_path: Path) -> None:
    file = RunFile("metrics.json", dict[str, float])
    begun = Begun(kind="frames", decides={"x": 1})
    with pytest.raises(RunError, match="killed"), open_run(tmp_path / "run", begun, resume=False):
        file.stage(tmp_path / "run", lambda: {"a": 1.0})
        raise OSError("killed")
    assert BEGUN.read(tmp_path / "run").has_manifest and folder_state(tmp_path / "run").is_whole
    with open_run(tmp_path / "run", begun, resume=True):
        assert file.stage(tmp_path / "run", lambda: {"a": 2.0}) == {"a": 1.0}
        (tmp_path / "run" / "metrics.json").unlink()
        assert file.stage(tmp_path / "run", lambda: {"a": 3.0}) == {"a": 3.0}
    assert verify(tmp_path / "run").is_whole
    assert SPLIT.find(tmp_path / "run") is None
