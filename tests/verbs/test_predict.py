"""`matgraft.predict` on structures, and `matgraft.audit` of frames and tables in memory."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

import matgraft
from matgraft.core.errors import DataError, MatgraftError, OptionError
from matgraft.potentials.data.dataset import Dataset

from .conftest import Toy
from .test_tune import TABLE


def test_predictions_are_those_of_the_calculator(run: matgraft.Run, frames: list[Atoms]) -> None:
    frames[0].info["id"] = 7
    found = run.predict(frames[:3])
    assert isinstance(found, matgraft.Predictions) and len(found) == 3
    for atoms, one in zip(frames, found, strict=False):
        like = atoms.copy()
        like.calc = run.calculator(uncertainty=True)
        np.testing.assert_allclose(one.get_forces(), like.get_forces(), atol=1e-6)
        np.testing.assert_allclose(one.get_stress(), like.get_stress(), atol=1e-6)
        np.testing.assert_allclose(one.arrays["extrapolation"], like.calc.results["extrapolation"], atol=1e-4)
    assert found[0].info["id"] == 7 and isinstance(found[:2], matgraft.Predictions)
    np.testing.assert_allclose(found.energies, [one.get_potential_energy() for one in found])
    assert found.forces[0].shape == (8, 3) and found.stresses[0].shape == (6,)
    assert "3 structures" in repr(found) and "extrapolation" in repr(found)
    assert frames[0].calc.name != "matgraft"  # what was given stays as it is


def test_models_and_structures_come_in_many_ways(run: matgraft.Run, frames: list[Atoms], tmp_path: Path) -> None:
    write(tmp_path / "a.extxyz", frames[:2])
    energies = run.predict(frames[:2]).energies
    dataset = matgraft.read(tmp_path / "a.extxyz")
    for model in (run.folder, str(run.folder), run.model):
        for data in (frames[:2], dataset, tmp_path / "a.extxyz", [str(tmp_path / "a.extxyz")]):
            np.testing.assert_allclose(matgraft.predict(model, data).energies, energies, atol=1e-6)
    one = matgraft.predict("toy", frames[0])
    assert len(one) == 1 and one.stresses[0] is not None
    assert matgraft.predict(Toy(), Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2.3]])).stresses == [None]


def test_predictions_are_written_and_read(run: matgraft.Run, frames: list[Atoms], tmp_path: Path) -> None:
    found = run.predict(frames[:2])
    write(tmp_path / "out.extxyz", found)
    again = read(tmp_path / "out.extxyz", ":")
    np.testing.assert_allclose([one.get_potential_energy() for one in again], found.energies)
    assert again[0].arrays["forces_std"].shape == (8, 3) or again[0].arrays["forces_std"].shape == (8,)


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        ("toy", "nowhere.cif", "no such file"),
        ("toy", 5, "neither a structure"),
        ("toy", TABLE, "the model reads structures"),
        ("toy", [bulk("Si"), Atoms()], "no atoms"),
        ("composition", ["NaCl"], "predicts neither structures nor properties"),
        (3, ["NaCl"], "int predicts neither"),
        ("toyy", bulk("Si"), "toy"),
    ],
)
def test_what_cannot_be_predicted_is_told(model: object, data: object, said: str) -> None:
    with pytest.raises(MatgraftError, match=said):
        matgraft.predict(model, data)


def test_options_of_reading_are_refused_in_memory(frames: list[Atoms]) -> None:
    with pytest.raises(OptionError, match="elements: not read, as the structures are in memory"):
        matgraft.predict("toy", frames, elements="Si")


def test_an_audit_in_memory_is_that_of_the_file(
    frames: list[Atoms], tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [atoms.copy() for atoms in frames]
    for atoms, like in zip(wrong, frames, strict=True):
        atoms.info["energy"], atoms.arrays["forces"] = like.get_potential_energy(), like.get_forces()
        atoms.symbols[0] = "Cu"
    write(tmp_path / "frames.extxyz", wrong)
    with caplog.at_level(logging.INFO, "matgraft"):
        found = matgraft.audit(wrong, foundation="toy")
    assert found.findings == matgraft.audit(tmp_path / "frames.extxyz", foundation="toy").findings
    assert "elements-unseen" in found.blocking
    assert f"{found.failed} of {len(found.findings)} checks failed" in repr(found)
    assert "elements-unseen failed (error)" in repr(found) and "elements-unseen" in found._repr_html_()
    assert any("elements-unseen" in one.getMessage() for one in caplog.records if one.levelno == logging.WARNING)
    allowed = matgraft.audit(wrong, foundation="toy", **{"audit.allow": list(found.blocking)})
    assert not allowed.blocking and set(allowed.allowed) == set(found.blocking)
    assert capsys.readouterr() == ("", "")


def test_an_audit_takes_a_dataset_and_a_loaded_run(run: matgraft.Run, pairs: Dataset) -> None:
    assert matgraft.audit(pairs, foundation=run.model).findings
    assert matgraft.audit(pairs, foundation=run).findings
    with pytest.raises(OptionError, match="Toy in memory"):
        matgraft.audit(pairs, foundation=Toy())


def test_an_audit_of_a_table_in_memory() -> None:
    wrong = pd.concat([TABLE, pd.DataFrame({"formula": ["LiF"], "gap": [900.0]})])
    found = matgraft.audit(wrong, target="gap")
    assert found.failed and "33 rows" in found.data
    with pytest.raises(OptionError, match="target='gap'"):
        matgraft.audit(wrong)
    with pytest.raises(DataError, match="nothing in what was given"):
        matgraft.audit([])
