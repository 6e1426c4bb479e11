"""What the terminal shows: findings, errors beside their baselines, the verdict.

Each ``show_*`` is given the facts that ``--json`` prints, and nothing else: what the screen says, the JSON says too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from matgraft.core.findings import Finding, blocking, list_frames
from matgraft.core.options import offer
from matgraft.core.verdict import Tone, Verdict
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.report import checks
from matgraft.potentials.report.ladder import rows

METRICS = {
    "energy_rmse_meV_per_atom": ("energy RMSE", "meV/atom", 1),
    "energy_mae_meV_per_atom": ("energy MAE", "meV/atom", 1),
    "forces_rmse_eV_per_A": ("force RMSE", "eV/Å", 4),
    "forces_mae_eV_per_A": ("force MAE", "eV/Å", 4),
    "stress_rmse_GPa": ("stress RMSE", "GPa", 3),
    "stress_mae_GPa": ("stress MAE", "GPa", 3),
}
MODELS = {"test": "tuned", "shift": "shift alone", "untuned": "foundation"}
_COLOURS = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_TONES: dict[Tone, str] = {"good": "green", "caution": "yellow", "bad": "red", "unknown": "white"}


class AuditFacts(TypedDict):
    """What `matgraft audit` says.

    Attributes
    ----------
    data, notes
        What was read, in a line, and how.
    findings
        As `Finding.model_dump` gives them.
    failed
        How many looks found something.
    blocking, allowed
        Codes that block training, and codes that would but are allowed.
    """

    data: str
    notes: list[str]
    findings: list[dict[str, Any]]
    failed: int
    blocking: list[str]
    allowed: list[str]


def audit_facts(dataset: Dataset, findings: Sequence[Finding], allow: Collection[str] = ()) -> AuditFacts:
    """Return what an audit says; `allow` are codes of findings that shall not block."""
    blocked = blocking(findings, allow)
    return {
        "data": repr(dataset),
        "notes": list(dataset.provenance.notes),
        "findings": [finding.model_dump() for finding in findings],
        "failed": sum(finding.outcome == "failed" for finding in findings),
        "blocking": [finding.code for finding in blocked],
        "allowed": [finding.code for finding in blocking(findings) if finding not in blocked],
    }


def show_findings(screen: Console, facts: AuditFacts) -> None:
    """Print what was read, the findings that failed with their remedies, and the codes that passed."""
    findings = [Finding.model_validate(finding) for finding in facts["findings"]]
    screen.print(escape(facts["data"]), highlight=False)
    for note in facts["notes"]:
        screen.print(f"  [dim]{escape(note)}[/]", highlight=False)
    failed = [finding for finding in findings if finding.outcome == "failed"]
    for finding in sorted(failed, key=lambda one: list(_COLOURS).index(one.severity)):
        title = f"[{_COLOURS[finding.severity]}]{finding.severity}[/] [bold]{finding.code}[/] {escape(finding.title)}"
        screen.print(f"\n{title}", highlight=False)
        screen.print(f"  {escape(finding.evidence)}", highlight=False)
        if finding.frames:
            shown = f"{list_frames(finding.frames, finding.files)} ({len(finding.frames)})"
            screen.print(f"  [dim]frames:[/] {escape(shown)}", highlight=False)
        if finding.remedy:
            screen.print(f"  [dim]remedy:[/] {escape(finding.remedy)}", highlight=False)
        for action in finding.actions:  # unwrapped, to be copied behind the command
            screen.print(f"  [dim]{escape(offer(action.options))}[/]", highlight=False, soft_wrap=True)
    for outcome in ("passed", "not applicable"):
        codes = [finding.code for finding in findings if finding.outcome == outcome]
        if codes:
            screen.print(f"\n[dim]{outcome}:[/] {', '.join(codes)}", highlight=False)
    allowed, blocked = len(facts["allowed"]), len(facts["blocking"])
    rest = f", {allowed} would and are allowed" if allowed else ""
    screen.print(f"\n{facts['failed']} of {len(findings)} looks found something, {blocked} block(s) training{rest}.")


def show_metrics(screen: Console, summary: Mapping[str, Any]) -> None:
    """Print the errors of the tuned model beside its baselines."""
    counted = summary["test"]
    title = f"errors on the {escape(summary['part'])} frames ({counted['n_frames']} frames, {counted['n_atoms']} atoms)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    models = [model for model in MODELS if summary.get(model)]
    for model in models:
        table.add_column(MODELS[model], justify="right")
    table.add_column("tuned, 95 %", justify="right", no_wrap=True)
    for key, (name, unit, digits) in METRICS.items():
        if key in counted:
            values = [_figure(summary[model].get(key), digits) for model in models]
            ends = summary.get("intervals", {}).get("test", {}).get(key)
            interval = " to ".join(_figure(end, digits) for end in ends) if ends else "-"
            table.add_row(name, unit, *values, interval)
    screen.print(table)


def show_evaluation(screen: Console, summary: Mapping[str, Any]) -> None:
    """Print how many of the frames the fit has seen, the verdict on the others, and the errors of both."""
    if counts := summary["frames"]:
        screen.print(
            f"{summary['file']}: {counts['trained_on']} of {sum(counts.values())} frames were trained on, "
            f"{counts['validated_on']} were validated on, {counts['unseen']} are unseen",
            highlight=False, soft_wrap=True, markup=False,
        )  # fmt: skip
    verdict = Verdict.model_validate(summary["verdict"])
    _show_verdict(screen, verdict)
    show_metrics(screen, summary)
    if summary.get("with_seen"):
        screen.print("The same with the frames that the fit has seen; such errors look better than they are:")
        show_metrics(screen, summary["with_seen"])
    _show_sentences(screen, verdict)


def show_heads(screen: Console, run: str, summaries: Mapping[str, Any]) -> None:
    """Print the errors of each head on its own frames beside its baselines, and what to call it."""
    table = Table(title="errors by head (RMSE)", title_justify="left", box=SIMPLE_HEAD)
    for column in ("", "frames", "", "unit", *MODELS.values()):
        table.add_column(column, justify="right" if column in MODELS.values() else "left")
    for name, summary in summaries.items():
        first = [escape(f"{run}#{name}"), str(summary["test"]["n_frames"])]
        for key, (title, unit, digits) in METRICS.items():
            if key in summary["test"] and "_rmse_" in key:
                values = [_figure(summary.get(m, {}).get(key), digits) for m in MODELS]
                table.add_row(*first, title, unit, *values)
                first = ["", ""]
    screen.print(table)


def run_facts(run: Path, report: Path) -> dict[str, Any]:
    """Return what `matgraft tune` says of a finished run on frames.

    Returns
    -------
    dict
        ``run``, ``report`` and ``model`` (paths), ``strategy`` and ``max_minutes`` (as chosen), ``verdict``, ``fit``,
        ``checks`` and ``ladder`` (the content of their files; ladder None without a climb), and all of metrics.json.
    """
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    ladder = run / "ladder.json"
    return {
        "run": str(run),
        "report": str(report),
        "model": str(run / "model"),
        "strategy": recipe["strategy"]["name"],
        "max_minutes": recipe["fit"].get("max_minutes"),
        **{name: _json(run / f"{name}.json") for name in ("verdict", "fit", "checks")},
        "ladder": _json(ladder) if ladder.is_file() else None,
        **_json(run / "metrics.json"),
    }


def show_run(screen: Console, facts: Mapping[str, Any]) -> None:
    """Print the verdict, the errors, and where the report is; facts as of `run_facts`."""
    verdict, fit = Verdict.model_validate(facts["verdict"]), facts["fit"]
    _show_verdict(screen, verdict)
    if verdict.chosen:
        screen.print(escape(verdict.chosen), highlight=False)
        show_ladder(screen, facts)
    show_metrics(screen, facts)
    if facts.get("heads"):
        show_heads(screen, facts["run"], facts["heads"])
    _show_sentences(screen, verdict)
    if forgotten := checks.line(facts):
        screen.print(f"\nmoved from the foundation: {escape(forgotten)}", highlight=False)
    minutes = fit["seconds"] / 60
    start = "" if fit["best_step"] or not fit["steps"] else " (the starting weights: no step was better)"
    bound = f", at most {facts['max_minutes']:g} minutes" if facts["max_minutes"] else ""
    screen.print(
        f"\nstrategy: {facts['strategy']}{bound}\n"
        f"fit: {fit['steps']} steps in {minutes:.1f} min on {fit['processes']} process(es), best at step "
        f"{fit['best_step']}{start} by {fit['criterion']}, stopped: {fit['stopped']}",
        highlight=False,
    )
    screen.print(f"model:  {escape(facts['model'])}", highlight=False, soft_wrap=True)
    screen.print(f"report: {escape(facts['report'])}", highlight=False, soft_wrap=True)


def show_ladder(screen: Console, facts: Mapping[str, Any]) -> None:
    """Print the rungs of a climb."""
    climb = rows(facts)
    assert climb is not None
    table = Table(title="rungs, RMSE on the validation frames", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("rung", no_wrap=True)
    for title in ("minutes", *(f"{c['name'].lower()}, {c['unit']}" for c in climb["columns"]), "loss", "taken off"):
        table.add_column(title, justify="right")
    table.add_column("verdict")
    for row in climb["rows"]:
        verdict = f"{row['verdict']}: {row['why']}" if row["why"] else row["verdict"]
        table.add_row(row["name"], row["minutes"], *row["cells"], row["loss"], row["gain"], escape(verdict))
    screen.print(table)


def show_backbones(screen: Console, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what can be tuned."""
    table = Table(box=SIMPLE_HEAD)
    for column in ("name", "releases", "installed", "extra", "weights from", "licence"):
        table.add_column(column)
    for name, row in rows.items():
        extra = f'pip install "matgraft[{row["extra"]}]"' if row["extra"] else "none needed"
        installed = "yes" if row["installed"] else "no"
        table.add_row(name, ", ".join(row["releases"]), installed, escape(extra), row["weights_from"], row["licence"])
    screen.print(table)


def _show_verdict(screen: Console, verdict: Verdict) -> None:
    screen.print(Panel(escape(verdict.headline), title=f"[bold]{verdict.level}[/]", border_style=_TONES[verdict.tone]))


def _show_sentences(screen: Console, verdict: Verdict) -> None:
    for caution in verdict.cautions:
        screen.print(f"[yellow]![/] {escape(caution.text)}", highlight=False)
    for one in verdict.not_fit_for:
        screen.print(f"[red]x[/] do not trust it for {escape(one.use)} ({escape(one.reason)})", highlight=False)


def _figure(value: float | str | None, digits: int) -> str:
    """Write a figure; of a diverged model a file holds "inf" or "nan"."""
    return "-" if value is None else f"{float(value):.{digits}f}"


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
