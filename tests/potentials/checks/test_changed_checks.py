"""A folder of physical checks whose files were changed: verify names each, and no page is made of it in silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write as write_frames
from tests.tampering import CHANGES, Change, changed, files_of

from matgraft.core.errors import ChangedError, MatgraftError
from matgraft.core.manifest import FILE
from matgraft.potentials.active.selection.pool import handed_over
from matgraft.potentials.checks.checked import CHECKED, STRUCTURES, checked_in
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.report.physics import write_physics
from matgraft.potentials.run.check import CheckQuestion, check
from matgraft.potentials.run.verify import verify

ONLY = CheckSettings(only=("equation-of-state", "repulsion"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checks of a crystal of copper, by EMT."""
    home = tmp_path_factory.mktemp("checks")
    write_frames(home / "cu.vasp", bulk("Cu", cubic=True))
    write_physics(check(EMT(), CheckQuestion([home / "cu.vasp"], out=home / "cu"), ONLY, quiet=True))
    assert verify(home / "cu").is_whole and not verify(home / "cu").unknown, verify(home / "cu")
    return home / "cu"


@pytest.mark.parametrize("turn", range(3))
def test_verify_names_every_file(folder: Path, turn: int) -> None:
    files = files_of(folder)
    assert len(files) > 4
    for i, file in enumerate(files):
        with changed(file, files[i - 1], CHANGES[(i + turn) % len(CHANGES)], seed=i):
            state = verify(folder)
            assert str(file.relative_to(folder)) in {**state.changed, **dict.fromkeys(state.missing)}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_found_is_read_from_no_changed_file(folder: Path, change: Change) -> None:
    with changed(folder / CHECKED.name, folder / STRUCTURES, change):
        for read in (checked_in, lambda one: handed_over([one])):
            with pytest.raises(MatgraftError):
                read(folder)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_page_says_which_file_its_plots_would_be_of(folder: Path, tmp_path: Path, change: Change) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "cu"))
    observed = sorted((copy / "observations").iterdir())
    for file in (copy / STRUCTURES, observed[0]):
        with changed(file, observed[-1], change):
            page = write_physics(checked_in(copy)).read_text()
            assert "No plots:" in page and file.name in page
    assert "No plots:" not in write_physics(checked_in(copy)).read_text()


def test_a_changed_observation_is_made_anew(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "cu"))
    write_frames(tmp_path / "cu.vasp", bulk("Cu", cubic=True))
    file = sorted((copy / "observations").iterdir())[0]
    before = file.read_text()
    numbers = json.loads(before)
    file.write_text(json.dumps(numbers).replace("1", "2"))
    check(EMT(), CheckQuestion([tmp_path / "cu.vasp"], out=copy), ONLY, quiet=True)
    assert json.loads(file.read_text()).keys() == numbers.keys() and verify(copy).is_whole


def test_an_older_folder_goes_on_without_hashes(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "cu"))
    (copy / FILE).unlink()
    write_frames(tmp_path / "cu.vasp", bulk("Cu", cubic=True))
    check(EMT(), CheckQuestion([tmp_path / "cu.vasp"], out=copy), ONLY, quiet=True)
    assert not (copy / FILE).exists() and not verify(copy).has_manifest


def test_structures_to_label_are_of_this_folder(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "cu"))
    (copy / FILE).unlink()
    text = (copy / CHECKED.name).read_text()
    content = json.loads(text)
    content["results"][0]["finding"]["actions"] = [{"structures": "../../cu.vasp"}]
    (copy / CHECKED.name).write_text(json.dumps(content))
    write_frames(tmp_path / "cu.vasp", bulk("Cu", cubic=True))
    with pytest.raises((MatgraftError, ChangedError)):
        handed_over([copy])
