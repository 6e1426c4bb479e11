"""Errors inside and outside of a condition side by side, and tables by any tag: figures, verdict, screen."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from rich.console import Console

from matgraft.core.report.screen import show_blocks
from matgraft.core.verdict import Outcome
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.report.scores import score_blocks
from matgraft.potentials.scoring.scores import Scores, summarise
from matgraft.potentials.scoring.verdict import verdict


def scored(
    error: float, rival: float, *, tags: Sequence[dict[str, str]] = (), n: int = 24, part: str = "test"
) -> Scores:
    """Score frames of eight trajectories on which both models err by so many eV/Å, up and down."""
    signs = np.where(np.arange(n) % 2, 1.0, -1.0)
    own = list(tags) or [{}] * n
    samples = tuple(Sample(Atoms("Si2"), {"forces": np.zeros((2, 3))}, {"trajectory": str(i % 8), **own[i]})
                    for i in range(n))  # fmt: skip
    predictions = {
        model: [{"forces": np.full((2, 3), sign * size * (1 + 0.01 * i))} for i, sign in enumerate(signs)]
        for model, size in (("tuned", error), ("untuned", rival), ("shift", rival))
    }
    dataset = Dataset(samples)
    by = sorted({name for each in own for name in each})
    return summarise(dataset, predictions, dataset.tag("trajectory"), part=part, by=by)


def held(outside: Scores, inside: Scores | None) -> Scores:
    return outside.model_copy(update={"held": "temperature=1500", "inside": inside})


def said(scores: Scores) -> str:
    console = Console(width=150, record=True, file=io.StringIO())
    show_blocks(console, score_blocks(scores))
    return console.export_text()


def test_the_verdict_is_on_what_was_not_trained_and_names_the_error_inside() -> None:
    found = verdict(held(scored(0.4, 1.0), scored(0.1, 1.0, part="inside")))
    assert found.outcome is Outcome.BETTER
    assert "24 test frames with temperature=1500, which no training frame has, of 8 trajectories" in found.headline
    (reason,) = [one for one in found.reasons if one.about == "forces where temperature=1500"]
    assert reason.text.startswith("Forces: 4 times the error where temperature=1500") and reason.speaks == "against"
    assert "0.447" in reason.text and "0.112" in reason.text  # the RMS of 1 + 0.01 i is 1.1171 for 24 frames


def test_an_error_that_is_no_larger_outside_speaks_for_nobody() -> None:
    found = verdict(held(scored(0.1, 1.0), scored(0.1, 1.0)))
    (reason,) = [one for one in found.reasons if one.about == "forces where temperature=1500"]
    assert reason.speaks == "neither" and reason.text.startswith("Forces: 1 times the error")


def test_a_model_that_lost_inside_has_reservations() -> None:
    found = verdict(held(scored(0.4, 1.0), scored(2.0, 1.0)))
    assert found.outcome is Outcome.RESERVED and found.first is not None and found.first.code == "worse-inside"


def test_a_test_without_anything_beside_it_says_so() -> None:
    found = verdict(held(scored(0.4, 1.0), None))
    (note,) = [one for one in found.cautions if one.code == "nothing-inside"]
    assert note.actions[0].options == {"split.test": 0.1}


def test_the_screen_sets_both_side_by_side_with_intervals() -> None:
    lines = said(held(scored(0.4, 1.0), scored(0.1, 1.0, n=16))).splitlines()
    (outside,) = [line for line in lines if line.strip().startswith("Tuned, outside (temperature=1500)")]
    (inside,) = [line for line in lines if line.strip().startswith("Tuned, inside (other frames)")]
    assert "24" in outside and "0.447" in outside and "16" in inside and "0.108" in inside
    assert "Foundation, inside (other frames)" in "\n".join(lines)


def test_a_table_by_a_tag_that_some_frames_lack_counts_them_apart() -> None:
    tags: list[dict[str, str]] = [{"phase": "melt"}] * 6 + [{"phase": "solid"}] * 6 + [{}] * 12
    scores = scored(0.4, 1.0, tags=tags)
    table = scores.by_tag["phase"]["test"]
    assert {value: row["n_frames"] for value, row in table.items()} == {"melt": 6, "solid": 6, "not stated": 12}
    expected = 0.4 * np.sqrt(np.mean([(1 + 0.01 * i) ** 2 for i in range(6)]))
    assert table["melt"]["forces_rmse_eV_per_A"] == pytest.approx(expected)
    assert "not stated" in said(scores) and "Root mean square error by phase" in said(scores)


def test_a_value_of_a_tag_that_became_worse_is_named_in_the_verdict() -> None:
    tags = [{"phase": "melt" if i % 2 else "solid"} for i in range(24)]
    scores = scored(0.4, 1.0, tags=tags)
    scores.by_tag["phase"]["test"]["melt"]["forces_rmse_eV_per_A"] = 7.5
    found = verdict(scores)
    assert "structures of phase 'melt'" in [one.use for one in found.not_fit_for]
    assert any(one.text.startswith("Worse on phase 'melt' (12 frames)") for one in found.reasons)


def test_a_value_that_all_scored_frames_have_is_not_named_again() -> None:
    scores = scored(0.4, 1.0, tags=[{"temperature": "1500"}] * 24)
    scores.by_tag["temperature"]["test"]["1500"]["forces_rmse_eV_per_A"] = 7.5
    found = verdict(scores)
    assert "1500" not in " ".join([one.text for one in found.reasons] + [one.use for one in found.not_fit_for])


def test_frames_beside_a_condition_have_rows_of_their_own() -> None:
    outside = scored(0.4, 1.0, tags=[{"temperature": "1500"}] * 24)
    inside = scored(0.1, 1.0, tags=[{"temperature": "300"}] * 12 + [{"temperature": "900"}] * 12)
    shown = said(held(outside, inside))
    assert all(row in shown for row in ("300, inside", "900, inside", "1500"))


def test_a_tag_that_no_scored_frame_has_makes_no_table() -> None:
    scores = scored(0.4, 1.0).model_copy(update={"by_tag": {"phase": {"test": {}, "untuned": {}, "shift": {}}}})
    assert "No scored frame says its phase." in said(scores)
    assert "phase" not in "".join(one.text for one in verdict(scores).reasons)
