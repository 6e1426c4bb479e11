"""A whole run from a store: pack, tune, and the same facts as from the file."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from matgraft.cli import app
from matgraft.core.errors import OptionError
from matgraft.core.settings import validated
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run import tune_frames


@pytest.fixture(scope="module")
def frames(chgnet: Potential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve rattled cells of two atoms in four trajectories; the labels are the foundation's, with larger forces."""
    rng = np.random.default_rng(0)
    cells = [Atoms("Si2", scaled_positions=[[0, 0, 0], [0.25] * 3], cell=_cell(rng), pbc=True) for _ in range(12)]
    for atoms in cells:
        atoms.positions += 0.1 * rng.standard_normal((2, 3))
    labels = predict_samples(chgnet, [Sample(atoms, {}) for atoms in cells])
    for i, (atoms, label) in enumerate(zip(cells, labels, strict=True)):
        atoms.info["trajectory"] = f"run {i // 3}"
        atoms.calc = SinglePointCalculator(atoms, energy=float(label["energy"]), forces=1.5 * label["forces"])
    file = tmp_path_factory.mktemp("frames") / "frames.extxyz"
    ase.io.write(file, cells)
    return file


def _cell(rng: np.random.Generator) -> np.ndarray:
    return (1 - np.eye(3)) * 2.7 * (1 + 0.03 * rng.standard_normal())


def recipe(train: Path) -> Recipe:
    content = {
        "train": str(train),
        "fit": {"epochs": 2, "batch": 2, "processes": 1},
        "audit": {"allow": ["energy-unit", "energy-per-atom", "force-unit"]},
        "strategy": {"name": "full"},
        "forgetting": {"size": 14},
        "split": {"validation": 0.25, "test": 0.25},
    }
    return validated(Recipe, content, "test")


def test_a_run_from_a_store_is_the_run_from_the_file(frames: Path, tmp_path: Path) -> None:
    packed = CliRunner().invoke(app, ["pack", str(frames), "-o", str(tmp_path / "frames.h5"), "--json"])
    assert packed.exit_code == 0, packed.output
    assert json.loads(packed.output)["n_frames"] == 12
    for name, train in (("file", frames), ("store", tmp_path / "frames.h5")):
        tune_frames(recipe(train), tmp_path / name, quiet=True)
    facts = ("split.json", "references.json", "metrics.json", "coverage.json")
    for name in facts:
        assert json.loads((tmp_path / "store" / name).read_text()) == json.loads((tmp_path / "file" / name).read_text())
    provenance = [json.loads((tmp_path / run / "provenance.json").read_text()) for run in ("file", "store")]
    assert provenance[0]["data_sha256"] == provenance[1]["data_sha256"]
    assert provenance[0]["files"] == provenance[1]["files"]
    tables = [pd.read_parquet(tmp_path / run / "predictions.parquet") for run in ("file", "store")]
    pd.testing.assert_frame_equal(*tables)
    assert (tmp_path / "store" / "report.html").stat().st_size > 10_000


def test_packing_takes_options_of_reading_alone(frames: Path, tmp_path: Path) -> None:
    def pack(*words: str) -> BaseException | None:
        return CliRunner().invoke(app, ["pack", str(frames), "-o", str(tmp_path / "x.h5"), *words]).exception

    for words, said in (
        (["fit.rate=1"], "is not read by `matgraft pack`"),
        (["shear={'a=b': 'xz,yz,xy'}"], "shear of groups"),
    ):
        error = pack(*words)
        assert isinstance(error, OptionError)
        assert said in str(error)
    assert pack("units.energy=meV", "want=[energy]", "--quiet") is None
    assert (tmp_path / "x.h5").is_file()
