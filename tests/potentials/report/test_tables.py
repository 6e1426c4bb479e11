"""Rows of ready text, and what they make of odd facts."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from matgraft.core.files import write_json
from matgraft.core.report import text
from matgraft.potentials.audit.coverage import coverage
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.report import origins, tables
from matgraft.potentials.report.facts import facts, plain
from matgraft.potentials.report.html import to_html
from matgraft.potentials.report.markdown import to_markdown
from matgraft.potentials.report.screen import run_facts, show_run


def edit(run: Path, name: str, **changes: Any) -> dict[str, Any]:
    content = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps(content | changes))
    return facts(run)


@pytest.mark.parametrize(
    ("value", "places", "written"),
    [(0.13744, None, "0.137"), (95.51, None, "95.5"), (12345.6, None, "12,346"), (5.0, 2, "5.00"), (0, None, "0"),
     (None, None, "–"), ("nan", None, "nan"), (True, None, "–"), (-0.0812, None, "-0.0812")],
)  # fmt: skip
def test_figures_have_three_digits(value: Any, places: int | None, written: str) -> None:
    assert text.figure(value, places) == written


def test_frames_are_counted_without_decimals(run_folder: Path) -> None:
    """The page said 54.0 frames."""
    said = origins.coverage(edit(run_folder, "coverage.json", n_frames=54, shear_strain=0.25))
    assert said is not None and said["facts"][:2] == [("Frames", "54"), ("Largest shear strain", "0.250")]


def test_what_coverage_writes_reaches_the_page(run_folder: Path) -> None:
    """As a run writes it: every measure has a row, and none is shown as a bare dictionary."""
    sizes, forces = (0.97, 1.0, 1.06), np.array([[0.25, 0.0, 0.0], [-0.25, 0.0, 0.0]])
    frames = [Sample(bulk("Si", a=5.43 * size), {"forces": forces}, {"temperature": "300"}) for size in sizes]
    write_json(run_folder / "coverage.json", coverage(Dataset(tuple(frames))).model_dump())
    said = origins.coverage(facts(run_folder))
    assert said is not None
    ranges = {name: (unit, ends) for name, unit, ends in said["ranges"]}
    volumes = [f"{(5.43 * size) ** 3 / 8:.1f}" for size in sizes]
    assert ranges["Volume of Si"] == ("Å³/atom", volumes)
    assert ranges["Temperature, as tags say"] == ("K", ["300"] * 3)
    assert "{" not in " ".join(value for _, value in said["facts"])
    assert volumes[2] in to_html(facts(run_folder)) and "volume_A3" not in to_html(facts(run_folder))


def test_scores_compare_with_the_stronger_baseline(run_folder: Path) -> None:
    said = edit(run_folder, "metrics.json")
    scores = tables.scores(said)
    assert [row["model"] for row in scores["rows"]] == ["untuned", "shift", "tuned"]
    assert [column["unit"] for column in scores["columns"]] == ["meV/atom", "eV/Å", "GPa"]
    energy = said["metrics"]
    ratio = energy["test"]["energy_rmse_meV_per_atom"] / energy["shift"]["energy_rmse_meV_per_atom"]
    assert scores["gains"][0] == {
        "ratio": f"{ratio:.2f}", "interval": f"{0.9 * ratio:.2f} to {1.12 * ratio:.2f}",
        "against": "references shifted", "outcome": "lower error",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        ([0.5, 0.9], "lower error"),
        ([0.9, 1.1], "not beyond chance"),
        ([1.2, 1.4], "higher error"),
        ([0.5, 0.9995], "not beyond chance"),  # as the verdict says: rounding alone moves an error by so much
        (None, "undecided"),
    ],
)
def test_a_gain_within_its_interval_is_called_so(run_folder: Path, interval: Any, outcome: str) -> None:
    one = {"ratio": 0.7, "interval": interval}
    said = edit(run_folder, "metrics.json", gain={m: {"forces_rmse_eV_per_A": one} for m in ("untuned", "shift")})
    assert tables.scores(said)["gains"][1]["outcome"] == outcome


def test_a_diverged_model_is_seen(run_folder: Path) -> None:
    said = edit(run_folder, "metrics.json", test={"forces_rmse_eV_per_A": float("nan"), "n_frames": 40})
    tuned = tables.scores(said)["rows"][-1]["cells"]
    assert tuned[1]["value"] == "nan"
    assert ">nan<" in to_html(said)


def test_a_model_without_any_error_has_a_column() -> None:
    rows = {"test": {"bulk": {"energy_rmse_meV_per_atom": 0.0, "n_frames": 3}}}
    found = tables.by_type({"metrics": {"by_config_type": rows}})
    assert [column["name"] for column in found["columns"]] == ["Energy, tuned"]
    assert found["rows"] == [{"name": "bulk", "n_frames": "3", "cells": ["0"]}]


def test_the_gravest_caution_is_set_apart(run_folder: Path) -> None:
    verdict = tables.verdict(facts(run_folder))
    assert verdict["tone"] == "good"
    assert verdict["headline"].endswith("0.677 GPa.")
    assert verdict["caution"] == "2 of 40 test frames have a near duplicate in train"


def test_an_unknown_outcome_is_not_readable(run_folder: Path) -> None:
    found = edit(run_folder, "verdict.json", outcome="splendid")
    assert (tables.verdict(found)["tone"], "outcome" in found["unreadable"]["verdict.json"]) == ("unknown", True)


def test_errors_come_before_warnings(run_folder: Path) -> None:
    found = origins.findings(facts(run_folder), "failed")
    assert [one["code"] for one in found] == ["stress-shear", "net-force"]
    assert found[1]["frames"] == "8: 3, 17, 18, 44, 45, 46, 47, 48"


def test_the_split_counts_frames_and_groups(run_folder: Path) -> None:
    split = origins.split(facts(run_folder))
    assert split is not None
    assert [(part["name"], part["frames"], part["percent"]) for part in split["parts"]] == [
        ("train", 180, "70.9"), ("validation", 34, "13.4"), ("test", 40, "15.7")
    ]  # fmt: skip
    assert split["parts"][1]["groups"].startswith("16: ")
    assert split["leaks"] == ["2 of 40 test frames have a near duplicate in train (3 pairs)"]


def test_a_test_file_of_its_own_is_said(run_folder: Path) -> None:
    overlap = {"part": "test", "against": "train", "size": 25, "frames": [], "pairs": 0}
    split = origins.split(edit(run_folder, "split.json", test=[], leaks=[], sharing={"duplicates": overlap}))
    assert split is not None
    assert split["given"] == "25"
    assert split["leaks"] == ["0 of 25 test frames have a near duplicate in train (0 pairs)"]


def test_the_strategy_is_shown_with_the_options_that_were_given(run_folder: Path) -> None:
    said = facts(run_folder)
    said["recipe"]["strategy"] = {"name": "lora", "stages": ["readout", "embedding"], "rank": 4, "decay": None}
    assert dict(tables.settings(said))["Strategy"] == "lora, stages readout, embedding, rank 4"
    assert "Strategy: lora, stages readout, embedding, rank 4" in to_markdown(said)
    said["recipe"]["strategy"] = {"name": "full", "stages": [], "rank": None}
    assert dict(tables.settings(said))["Strategy"] == "full"
    del said["recipe"]["strategy"]
    assert "Strategy" not in dict(tables.settings(said))


def test_commands_survive_a_shell(run_folder: Path) -> None:
    run = run_folder.rename(run_folder.with_name("my run; rm -rf $HOME"))
    words = [shlex.split(line) for line in origins.commands(facts(run))]
    assert words[0] == ["matgraft", "tune", f"{run}/recipe.yaml", "--out", f"{run}-again"]
    assert words[1] == ["matgraft", "evaluate", str(run), "test.extxyz"]


KNOWN = """
test untuned shift part intervals by_config_type worst_force_decile gain n_groups energy_rmse_meV_per_atom n_frames
forces_rmse_eV_per_A stress_rmse_GPa level headline cautions findings outcome severity frames numbers train groups
leaks sharing duplicates shift_eV undetermined rank missing families volume_A3 files theory units name notes
keys versions data_sha256 step_zero best_step seconds loss_weights strategy parent interval
"""
KEYS = st.sampled_from(KNOWN.split())
LEAVES = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.sampled_from(["", "failed", "Si", "<b>", "{{"])
)
JUNK = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)
DOCUMENTS = (
    "recipe",
    "provenance",
    "audit",
    "coverage",
    "split",
    "references",
    "fit",
    "metrics",
    "card",
)


@given(st.fixed_dictionaries({name: st.none() | st.dictionaries(KEYS, JUNK, max_size=8) for name in DOCUMENTS}))
@settings(max_examples=40, deadline=None)
def test_odd_facts_still_make_a_report(documents: dict[str, Any]) -> None:
    empty = {"run": "r", "matgraft_version": "", "recipe_text": "", "history": None, "parity": None, "verdict": None}
    said = plain({**empty, "absent": [], "unreadable": {}, **documents})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matgraft.core.report.page.get_plotlyjs", lambda: "")  # 5 MB, forty times
        assert to_html(said).count("<h2") == 10
    assert to_markdown(said).startswith("# r: ")


@pytest.mark.parametrize(("best", "said"), [(0, True), (405, False)])
def test_a_fit_that_gave_its_start_back_says_so(run_folder: Path, tmp_path: Path, best: int, said: bool) -> None:
    """On the page and on the screen; step 0 is a row of the history."""
    fit = json.loads((run_folder / "fit.json").read_text())
    (run_folder / "fit.json").write_text(json.dumps({**fit, "processes": 1, "best_step": best}))
    shown = dict(tables.training(facts(run_folder)))["Best checkpoint"]
    assert shown == f"step {best}{', the starting weights: no step was better' if said else ''}"
    with (tmp_path / "screen.txt").open("w") as file:
        show_run(Console(file=file, width=160), run_facts(run_folder, run_folder / "report.html"))
    words = " (the starting weights: no step was better)" if said else ""
    assert f"best at step {best}{words} by validation_loss" in (tmp_path / "screen.txt").read_text()
