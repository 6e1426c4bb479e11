"""A run on a table whose files were changed: verify names the file, and no prediction changes in silence."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.formulas.conftest import TunedRun
from tests.tampering import CHANGES, Change, changed, cut, files_of, flip, overwrite

from matgraft.core.errors import ChangedError, DataError, MatgraftError
from matgraft.core.manifest import FILE, folder_state, note_older
from matgraft.formulas.predict import PropertyModel

ASKED = ["Fe2O3", "NaCl"]


@pytest.fixture(scope="module")
def run(tuned: TunedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tuned.folder, tmp_path_factory.mktemp("changed") / "run"))


@pytest.fixture(scope="module")
def older(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run without hashes."""
    old = Path(shutil.copytree(run, tmp_path_factory.mktemp("older") / "run"))
    for one in old.rglob(FILE):
        one.unlink()
    text = (old / "run.json").read_text()
    (old / "run.json").write_text(text.replace('"has_manifest": true', '"has_manifest": false'))
    with pytest.warns(UserWarning, match="read as they are"):
        note_older(old / "model")
        for one in (old / "predictors").iterdir():
            note_older(one)
    return old


def predict(run: Path) -> list[float]:
    return PropertyModel.open(run).predict(ASKED)["value"].astype(float).tolist()


def of_predictions(run: Path) -> list[Path]:
    """Return the files that predictions follow from."""
    return [one for one in files_of(run) if {"predictors", "model"} & set(one.relative_to(run).parts)]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_verify_names_every_file_that_is_changed(run: Path, change: Change) -> None:
    files = files_of(run)
    assert folder_state(run).is_whole and not folder_state(run).unknown and len(files) > 15
    for i, file in enumerate(files):
        with changed(file, files[i - 1], change, seed=i):
            state = folder_state(run)
            assert str(file.relative_to(run)) in {**state.changed, **dict.fromkeys(state.missing)}
            assert not state.is_whole
    assert folder_state(run).is_whole


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_nothing_is_predicted_from_a_changed_file(run: Path, change: Change) -> None:
    told = {"metrics.json", "domain.json", "history.csv"}
    for i, file in enumerate(one for one in of_predictions(run) if one.name not in told and one.suffix != ".csv"):
        with changed(file, run / "run.json", change, seed=i), pytest.raises(MatgraftError):
            predict(run)
    assert np.isfinite(predict(run)).all()


@pytest.mark.parametrize("change", [flip, cut, overwrite], ids=lambda change: change.__name__)
def test_files_without_hashes_lead_to_errors_of_ours_alone(older: Path, change: Change) -> None:
    """What happens to numbers there cannot be known; but nobody sees a traceback."""
    for i, file in enumerate(one for one in of_predictions(older) if one.stat().st_size):
        with changed(file, older / "run.json", change, seed=i), contextlib.suppress(MatgraftError):
            predict(older)


def weights_of(run: Path) -> Path:
    return next(iter(sorted((run / "predictors").glob("*/networks/*.safetensors"))))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda arrays, name: arrays.pop(name), "lacks|no network can be made"),
        (lambda arrays, name: arrays.update(more=np.ones(3, np.float32)), "unexpected more"),
        (lambda arrays, name: arrays.update({name: arrays[name] * np.nan}), "not finite"),
        (lambda arrays, name: arrays.update({name: arrays[name][..., :-1]}), "no network|shape"),
        (lambda arrays, name: arrays.update({name: arrays[name].astype(np.float64)}), "shape or type"),
    ],
    ids=["missing", "unexpected", "not a number", "shape", "type"],
)
def test_weights_are_read_strictly_where_there_are_no_hashes(
    older: Path, spoil: Callable[[dict[str, np.ndarray], str], object], said: str
) -> None:
    file = weights_of(older)
    names = [name for name in load_file(file) if name.startswith("weights.")]
    for name in (names[0], names[len(names) // 2], names[-1]):
        with changed(file, file, lambda *_: None):
            arrays = load_file(file)
            spoil(arrays, name)
            save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, file)
            with pytest.raises(DataError, match=said):
                predict(older)


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("weights", lambda one: -one, "a weight is below 0"),
        ("weights", lambda one: one * np.nan, "a weight is below 0"),
        ("y", lambda one: one * np.inf, "not finite"),
        ("y", lambda one: one[:-1], "has the shape"),
        ("numbers", lambda one: one + 200, "outside 1 to 118"),
        ("numbers", lambda one: one.astype(float), "atomic numbers are none"),
        ("fractions", lambda one: one * 2, "do not add up"),
        ("lengths", lambda one: one * 0, "instead of"),
    ],
)
def test_training_data_are_what_they_may_be(
    older: Path, name: str, spoil: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    file = next(iter((older / "predictors").glob("*/train.npz")))
    with changed(file, file, lambda *_: None):
        with np.load(file) as content:
            arrays = dict(content)
        np.savez(file, **{**arrays, name: spoil(arrays[name])})
        with pytest.raises(DataError, match=said):
            predict(older)


def test_a_manifest_that_is_gone_is_no_older_folder(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (copy / FILE).unlink()
    with pytest.raises(ChangedError, match="has the hashes of all files"):
        PropertyModel.open(copy)


def test_a_network_that_matgraft_did_not_write_is_no_fit(run: Path) -> None:
    one = weights_of(run)
    more = one.with_name(one.name.replace("-0.", "-7."))
    shutil.copy(one, more)
    try:
        with pytest.raises(MatgraftError):
            predict(run)
    finally:
        more.unlink()
