"""What the terminal shows of audits and runs; of evaluations `matgraft.potentials.report.evaluations` says it.

Each ``show_*`` is given the facts that ``--json`` prints, and nothing else: what the screen says, the JSON says too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from textwrap import fill

from rich.console import Console

from matgraft.core.audit import AuditFacts, audit_facts
from matgraft.core.findings import Finding, Findings
from matgraft.core.plugins import Plugin
from matgraft.core.registry import BackboneRow
from matgraft.core.report.document import (
    EVERYWHERE,
    Pairs,
    Section,
    verdict_section,
)
from matgraft.core.report.screen import show_blocks, show_failed, show_section
from matgraft.core.verdict import Outcome, Verdict
from matgraft.potentials import run_files as files
from matgraft.potentials.checks.checked import Checked, checked_in
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.recipe import saved_recipe
from matgraft.potentials.report.forgetting import forgetting_blocks
from matgraft.potentials.report.ladder import climb_section
from matgraft.potentials.report.physics import physics_sections
from matgraft.potentials.report.scores import score_blocks
from matgraft.potentials.report.training import fit_section
from matgraft.potentials.scoring.scores import Scores
from matgraft.potentials.tuning.facts import FitFacts
from matgraft.potentials.tuning.ladder import Climb


def frames_audited(
    dataset: Dataset, findings: Sequence[Finding], allow: Collection[str] = (), notes: Sequence[str] = ()
) -> AuditFacts:
    """Return what an audit of frames says, with how they were read and further notes."""
    return audit_facts(repr(dataset), findings, allow, (*dataset.provenance.notes, *notes))


def show_first(screen: Console, found: Sequence[Finding]) -> None:
    """Print what was found before a foundation is loaded; nothing where nothing was."""
    show_failed(screen, "Before the foundation is asked:", found)


class TunedFacts(Scores):
    """What `matgraft tune` says of a finished run on frames: all of metrics.json, and more.

    Attributes
    ----------
    run, report, model
        Paths.
    strategy, max_minutes
        As chosen.
    verdict, fit, checks, ladder
        The content of their files; ladder is None without a climb.
    physics
        Physical checks, where they were asked for.
    """

    run: str
    report: str
    model: str
    strategy: str
    max_minutes: float | None
    verdict: Verdict
    fit: FitFacts
    checks: Findings
    ladder: Climb | None
    physics: tuple[Checked, ...] = ()

    @property
    def exit_code(self) -> int:
        """That of the verdict on the fit, or 1 where a physical check says that the model is not fit."""
        unfit = [one.verdict.exit_code for one in self.physics if one.verdict.outcome == Outcome.NOT_FIT]
        return self.verdict.exit_code or max(unfit, default=0)


def run_facts(run: Path, report: Path) -> TunedFacts:
    """Return what `matgraft tune` says of a finished run on frames."""
    recipe = saved_recipe(run)
    return TunedFacts(
        run=str(run),
        report=str(report),
        model=str(run / files.MODEL),
        strategy=recipe.strategy.name or "",
        max_minutes=recipe.fit.max_minutes,
        verdict=files.VERDICT.read(run),
        fit=files.FIT.read(run),
        checks=files.CHECKS.read(run),
        ladder=files.CLIMB.find(run),
        physics=tuple(map(checked_in, files.checked_folders(run))),
        **dict(files.METRICS.read(run)),
    )


def show_run(screen: Console, facts: TunedFacts) -> None:
    """Print the verdict, the errors, how the fit went, and where the report is."""
    show_section(screen, verdict_section(facts.verdict, score_blocks(facts)))
    if facts.ladder:
        show_section(screen, climb_section(facts.ladder))
    show_section(screen, Section("forgetting", "Forgetting", forgetting_blocks(facts.checks), EVERYWHERE))
    for section in physics_sections(facts.physics):
        if "screen" in section.forms:
            show_section(screen, section)
    show_section(screen, fit_section(facts.fit))
    bound = f", at most {facts.max_minutes:g} minutes" if facts.max_minutes else ""
    models = [f"{facts.run}#{head}" for head in facts.heads] or [facts.model]
    rows = [("strategy", facts.strategy + bound), *(("model", model) for model in models), ("report", facts.report)]
    show_blocks(screen, [Pairs(rows)])


def show_backbones(screen: Console, rows: Mapping[str, BackboneRow | Plugin]) -> None:
    """Print what can be tuned: a name that one types stands on one line, however narrow the screen is."""
    for name, row in rows.items():
        if isinstance(row, Plugin):
            text = f"{name} (of the package {row.package} {row.version}; imported when it is named)"
            screen.print(text, style="bold", highlight=False, markup=False, soft_wrap=True)
            continue
        needs = "installed" if row.installed else f'not installed: pip install "matgraft[{row.extra}]"'
        lines = {"releases": ", ".join(row.releases), "weights": row.weights_from, "licence": row.licence}
        screen.print(f"{name} ({needs})", style="bold", highlight=False, markup=False, soft_wrap=True)
        for label, text in lines.items():
            width = max(20, screen.width - len(INDENT))
            wrapped = fill(text, width, break_long_words=False, break_on_hyphens=False).replace("\n", "\n" + INDENT)
            screen.print(f"  {label:<9} {wrapped}", highlight=False, markup=False, soft_wrap=True)


INDENT = " " * 12
