"""The screen can be printed from the JSON alone: whatever it says, `--json` says too."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python
from rich.console import Console

from matgraft.core.audit import AuditFacts
from matgraft.core.files import to_json
from matgraft.core.findings import Action, Finding
from matgraft.core.plugins import Plugin
from matgraft.core.provenance import Provenance
from matgraft.core.registry import BackboneRow
from matgraft.core.report.screen import show_audit
from matgraft.foundations import listed
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.report.evaluations import show_evaluation
from matgraft.potentials.report.screen import (
    TunedFacts,
    frames_audited,
    run_facts,
    show_backbones,
    show_run,
)
from matgraft.potentials.run_files import METRICS, VERDICT
from matgraft.potentials.scoring.evaluate import Evaluation, SeenCounts


def audit(_: Path) -> Any:
    frames = Dataset((Sample(bulk("Si"), {"energy": np.array(-1.0)}),), Provenance(notes=("energies as total",)))
    drop = Action(drop=(0,))
    findings = [
        Finding(code="non-finite", title="Labels", outcome="failed", severity="error", frames=(0,), evidence="one NaN",
                remedy="leave it out", actions=(drop,)),
        Finding(code="net-force", title="Net force", outcome="failed", severity="warning", evidence="0.1 eV/Å"),
        Finding(code="stress-unit", title="Unit", outcome="passed"),
        Finding(code="unconverged", title="Runs", outcome="not applicable"),
    ]  # fmt: skip
    return frames_audited(frames, findings, ["non-finite"])


def run(folder: Path) -> TunedFacts:
    return run_facts(folder, folder / "report.html")


def evaluation(folder: Path) -> Evaluation:
    scores, counts = METRICS.read(folder), SeenCounts(trained_on=1, validated_on=2, unseen=3)
    return Evaluation(**dict(scores), file="a.xyz", frames=counts, verdict=VERDICT.read(folder), with_seen=scores)


Facts = Callable[[Path], Any]
VERBS: dict[str, tuple[Facts, Callable[[Console, Any], object], Any]] = {
    "audit": (audit, show_audit, AuditFacts),
    "tune": (run, show_run, TunedFacts),
    "evaluate": (evaluation, show_evaluation, Evaluation),
    "backbones": (lambda _: listed(), show_backbones, dict[str, BackboneRow | Plugin]),
}


def told(facts: Any) -> Any:
    """What --json prints, read back."""
    return json.loads(to_json(to_jsonable_python(facts, inf_nan_mode="constants")))


def printed(show: Callable[[Console, Any], object], facts: Any) -> str:
    file = io.StringIO()
    show(Console(file=file, width=200), facts)
    return file.getvalue()


@pytest.mark.parametrize("verb", VERBS)
def test_the_screen_needs_nothing_but_the_json(verb: str, run_folder: Path) -> None:
    make, show, kind = VERBS[verb]
    facts = make(run_folder)
    assert printed(show, TypeAdapter(kind).validate_python(told(facts))) == printed(show, facts) != ""


ODD = "gap [eV] of [/x]"
"""Rich takes the first brackets for a style, and fails on the second: no tag is open."""


def odd_run(folder: Path) -> Any:
    return run(folder).model_copy(update={"model": ODD, "report": f"1 {ODD}", "part": f"2 {ODD}"})


@pytest.mark.parametrize(
    ("make", "show", "times"),
    [
        (odd_run, show_run, 3),
    ],
)
def test_names_of_users_are_no_markup(make: Facts, show: Any, times: int, run_folder: Path) -> None:
    assert printed(show, make(run_folder)).count(ODD) == times


@pytest.mark.parametrize(
    ("verb", "on_screen", "in_json"),
    [
        ("audit", "2 of 4 checks failed; nothing blocks training; allowed by you: non-finite",
         {"failed": 2, "blocking": [], "allowed": ["non-finite"], "notes": ["energies as total"]}),
        ("tune", "moved far: the tuned model differs by",
         {"checks", "fit", "ladder", "verdict", "model", "report", "strategy"}),
    ],
)  # fmt: skip
def test_what_the_screen_names_has_a_key(verb: str, on_screen: str, in_json: Any, run_folder: Path) -> None:
    make, show, _ = VERBS[verb]
    facts = make(run_folder)
    assert on_screen in printed(show, facts)
    said = told(facts)
    if isinstance(in_json, set):
        assert set(said) >= in_json
    else:
        assert said | in_json == said
