"""A whole run with a condition held out: parts, figures, report, and errors by tag of further frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from matgraft.core.errors import OptionError
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.recipe import make_recipe
from matgraft.potentials.run import evaluate_run, tune_frames
from matgraft.potentials.run_files import METRICS, SEEN, SPLIT
from matgraft.potentials.scoring.table import read_predictions

InProcess = Callable[..., tuple[int, str, str]]
QUICK = (
    "fit.epochs=1", "fit.processes=1", "strategy.name=feature", "forgetting.size=8", "split.validation=0.25",
    "split.test=0.25", "audit.allow=[energy-unit,energy-per-atom,force-unit]",
)  # fmt: skip


@pytest.fixture(scope="module")
def frames(chgnet: Potential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rattled cells of two atoms: four cold trajectories, a hot one, and a frame of it that states no temperature."""
    rng = np.random.default_rng(0)
    cells = [
        Atoms(
            "Si2", scaled_positions=[[0, 0, 0], [0.25] * 3], pbc=True,
            cell=(1 - np.eye(3)) * 2.7 * (1 + 0.03 * rng.standard_normal()),
        )
        for _ in range(15)
    ]  # fmt: skip
    for atoms in cells:
        atoms.positions += 0.1 * rng.standard_normal((2, 3))
    labels = predict_samples(chgnet, [Sample(atoms, {}) for atoms in cells])
    for i, (atoms, label) in enumerate(zip(cells, labels, strict=True)):
        atoms.info |= {"trajectory": f"run {i // 3}", "temperature": 1500 if i >= 12 else 300}
        atoms.calc = SinglePointCalculator(atoms, energy=float(label["energy"]), forces=1.5 * label["forces"])
    del cells[14].info["temperature"]
    file = tmp_path_factory.mktemp("frames") / "frames.extxyz"
    ase.io.write(file, cells)
    return file


@pytest.fixture(scope="module")
def run(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "hold"
    options = ("split.hold=temperature=1500", "scores.by=temperature,element")
    tune_frames(make_recipe(None, [f"train={frames}", *QUICK, *options], verb="tune"), folder, quiet=True)
    return folder


def test_the_run_scores_both_parts_with_each_model(run: Path) -> None:
    parts, scores = SPLIT.read(run), METRICS.read(run)
    assert parts.test == (12, 13) and parts.dropped == (14,) and len(parts.inside) == 3
    assert scores.held == "temperature=1500" and scores.inside is not None
    assert (scores.test["n_frames"], scores.inside.test["n_frames"]) == (2, 3)
    assert scores.by_tag["temperature"]["test"].keys() == {"1500"}
    assert scores.inside.by_tag["temperature"]["shift"].keys() == {"300"}
    assert scores.by_tag["element"]["untuned"]["Si"]["n_frames"] == 2
    table = read_predictions(run / "predictions.parquet")
    own = table[(table.part == "inside") & (table.model == "untuned")]
    errors = np.concatenate([f - label for f, label in zip(own.forces, own.forces_label, strict=True)])
    assert scores.inside.untuned["forces_rmse_eV_per_A"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert sum(len(rows) for rows in SEEN.read(run).train.values()) == len(parts.train)


def test_the_report_shows_both_and_what_was_not_said(run: Path) -> None:
    said = (run / "report.md").read_text()
    assert "Tuned, outside (temperature=1500)" in said and "Tuned, inside (other frames)" in said
    assert "300, inside" in said and "1 of 15 frames do not say whether they have temperature=1500" in said
    assert "Inside" in (run / "report.html").read_text()


def test_further_frames_are_scored_by_tags_of_theirs(run: Path, frames: Path, matgraft: InProcess) -> None:
    code, out, _ = matgraft("evaluate", run, frames, "scores.by=trajectory", "--json")
    found = json.loads(out)
    assert code == 0 and set(found["by_tag"]) == {"trajectory"}
    assert found["with_seen"]["by_tag"]["trajectory"]["test"]["run 4"]["n_frames"] == 3
    own = evaluate_run(run, frames, quiet=True)  # by those of the run
    assert set(own.by_tag) == {"temperature", "element"} and "not stated" in own.by_tag["temperature"]["test"]
    with pytest.raises(OptionError, match="'batch' is neither a tag"):
        evaluate_run(run, frames, ["scores.by=batch"], quiet=True)


def test_what_no_frame_says_is_refused_before_a_model_is_loaded(frames: Path, tmp_path: Path) -> None:
    for options, message in (
        (["scores.by=batch"], "'batch' is neither a tag"),
        (["split.hold=temperature=2000"], "no frame has temperature=2000"),
    ):
        with pytest.raises(OptionError, match=message):
            tune_frames(make_recipe(None, [f"train={frames}", *QUICK, *options]), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_condition_beside_a_test_file_is_refused(frames: Path) -> None:
    with pytest.raises(OptionError, match=r"split.hold is not read: .* without --test"):
        make_recipe(None, [f"train={frames}", f"test={frames}", "split.hold=temperature=1500"], verb="tune")
