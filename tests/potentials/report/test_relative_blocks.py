"""Relative energies on screen, on the page, and in the verdict."""

from __future__ import annotations

import io

import numpy as np
from ase import Atoms
from rich.console import Console

from matgraft.core.report.screen import show_blocks
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.report.scores import relative_table, score_blocks
from matgraft.potentials.scoring.scores import Scores, summarise
from matgraft.potentials.scoring.verdict import verdict

GAP = {"diamond": 0.0, "beta-tin": 100.0, "fcc": 300.0}


def scored(tuned: float, rival: float, phases: dict[str, float] = GAP) -> Scores:
    """Frames of phases, ten trajectories each; a model stretches the gaps between phases by a factor."""
    rows = [(phase, gap, k) for phase, gap in phases.items() for k in range(10)]
    samples = tuple(
        Sample(
            Atoms("Si2"), {"energy": np.array(-10 + 2e-3 * (gap + k))}, {"phase": phase, "trajectory": f"{phase} {k}"}
        )
        for phase, gap, k in rows
    )
    predictions = {
        model: [{"energy": np.array(-9 + 2e-3 * (factor * gap + k))} for _, gap, k in rows]
        for model, factor in (("tuned", tuned), ("untuned", rival), ("shift", rival))
    }
    dataset = Dataset(samples)
    return summarise(dataset, predictions, dataset.tag("trajectory"))


def said(scores: Scores) -> str:
    console = Console(width=170, record=True, file=io.StringIO())
    show_blocks(console, score_blocks(scores))
    return console.export_text()


def test_the_screen_shows_each_model_with_phases_and_order() -> None:
    shown = said(scored(1.1, -1.0))
    start = shown.index("Relative energies")
    (tuned,) = [line for line in shown[start:].splitlines() if line.strip().startswith("Tuned")]
    assert "100" in tuned and "Between phases" in shown[start:]
    assert "Phases are told by tag 'phase'" in shown
    assert "Every scored frame is of one element: there is nothing to form." in shown


def test_a_model_that_tells_phases_better_has_that_for_it() -> None:
    found = verdict(scored(1.1, -1.0))
    (reason,) = [one for one in found.reasons if one.about == "energies between phases"]
    assert reason.speaks == "for" and "100 % of the pairs in the right order instead of 0 %" in reason.text
    # Gaps of 100, 200 and 300 meV/atom are off by a tenth of each, or by twice each.
    rms = np.sqrt((100**2 + 200**2 + 300**2) / 3)
    assert f"RMSE {0.1 * rms:.3g} instead of {2 * rms:.0f} meV/atom over 300 pairs" in reason.text


def test_a_model_that_tells_phases_worse_has_that_against_it() -> None:
    (reason,) = [one for one in verdict(scored(-1.0, 1.1)).reasons if one.about == "energies between phases"]
    assert reason.speaks == "against"


def test_one_phase_is_no_reason() -> None:
    scores = scored(1.1, 1.2, {"diamond": 0.0})
    assert not [one for one in verdict(scores).reasons if one.about == "energies between phases"]
    assert "No composition has scored frames of two phases (by tag 'phase')" in said(scores)


def test_a_run_of_an_older_version_shows_nothing_of_it() -> None:
    old = Scores.model_validate(scored(1.0, 1.1).model_dump(exclude={"relative", "by_tag", "held", "inside"}))
    assert old.relative is None and "Relative energies" not in said(old)


def test_models_side_by_side_have_a_row_each() -> None:
    """As `matgraft evaluate` sets foundations side by side: each has its figures under ``test``."""
    rows = {name: (scored(factor, 1.0).relative, "test") for name, factor in (("chgnet", 1.1), ("mace:my.model", -1.0))}
    console = Console(width=170, record=True, file=io.StringIO())
    show_blocks(console, relative_table({name: (one, key) for name, (one, key) in rows.items() if one}))
    lines = console.export_text().splitlines()
    (right,) = [line for line in lines if line.strip().startswith("chgnet")]
    (wrong,) = [line for line in lines if line.strip().startswith("mace:my.model")]
    assert "100" in right.split() and "0" in wrong.split()
