"""What the formula commands show on the screen: folds, targets, predictions."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from matgraft.core.report.grid import show_grid
from matgraft.core.report.screen import show_section
from matgraft.formulas.report.facts import Closeness, TableEvaluation, TableResult, WrittenTable
from matgraft.formulas.report.further import further_section
from matgraft.formulas.report.page import members_section, scores_section
from matgraft.formulas.report.prompts import prompts_section
from matgraft.formulas.report.suggested import Suggested, suggested_section
from matgraft.formulas.scoring.folds import CrossValidation
from matgraft.formulas.scoring.pretraining import pretraining_sentence
from matgraft.formulas.scoring.strategies import StrategyComparison


def show_folds(screen: Console, scored: CrossValidation) -> None:
    """Print scores a fold, their mean and spread, and the part of the mixture that reads the encoder."""
    names, n = list(scored.mean), len(scored.folds)
    shown = Table("fold", "train", "test", *names, "pretrained")
    for fold in scored.folds:
        part = "not tried" if fold.pretrained is None else f"{fold.pretrained:.0%}"
        cells = [f"{fold.scores[name]:.4g}" if name in fold.scores else "-" for name in names]
        shown.add_row(escape(fold.fold), str(fold.n_train), str(fold.n_test), *cells, part)
    shown.add_row("mean", "", "", *(_over_folds(scored, name) for name in names), "", style="bold")
    show_grid(screen, shown)
    if some := ", ".join(f"{name} {k} of {n}" for name, k in scored.n_folds.items() if k < n):
        screen.print(f"a mean is over the folds that have the score; not all have {some}", highlight=False)
    if scored.weighted:
        screen.print("scores are weighted: rows count as the column of weights says")
    for count, which in ((scored.without_value, "without a value"), (scored.without_weight, "of weight 0")):
        if count:
            screen.print(f"{count} rows {which} were left out")
    screen.print(f"{scored.n_unlike} of {scored.n} rows have a formula unlike their training set")
    if scored.n_in_training:
        screen.print(
            f"{scored.n_in_training} of {scored.n} rows have a formula that is in their training set, too: the scores "
            "are not those of new formulas",
            soft_wrap=True,
        )
    screen.print(escape(pretraining_sentence(scored.pretraining)), soft_wrap=True)
    if found := [one.code for one in scored.findings if one.outcome == "failed"]:
        screen.print(f"the audit of the table found {', '.join(found)}", soft_wrap=True)


def show_comparison(screen: Console, found: StrategyComparison) -> None:
    """Print strategies side by side, the one of least error first."""
    shown = Table(
        "strategy",
        found.criterion,
        "95 % interval",
        "more than the best",
        "95 % interval",
        "minutes",
    )
    for row in found.rows:
        more = "" if row.strategy == found.best else f"{row.difference:+.3g}"
        ends = (_between(row.interval), more, _between(row.difference_interval))
        style = "bold" if row.strategy in found.as_good else None
        shown.add_row(row.strategy, f"{row.error:.4g}", *ends, f"{row.minutes:.2f}", style=style)
    show_grid(screen, shown)
    others = [name for name in found.as_good if name != found.best]
    said = "every other one is worse beyond doubt"
    if others:
        said = f"{', '.join(others)} cannot be told from it; the fastest of these is {found.fastest}"
    screen.print(f"{found.best} has the least error: {said}", soft_wrap=True)
    screen.print(
        f"{found.n} rows, {found.n_units} sets that share no formula and no group, {found.n_folds} folds, the same for "
        "all",
        soft_wrap=True,
    )


def _between(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.3g} to {ends[1]:.3g}"


def _over_folds(scored: CrossValidation, name: str) -> str:
    """Write the mean of a score, its spread where there are two folds, and how many folds have it, where not all do."""
    mean, spread, n = scored.mean[name], scored.std[name], scored.n_folds[name]
    of = f" (of {n})" if n < len(scored.folds) else ""
    return f"{mean:.4g}{'' if spread is None else f' ± {spread:.2g}'}{of}"


def show_targets(screen: Console, result: TableResult) -> None:
    """Print what each target's predictor is made of, how well it does, and the verdict."""
    for name, metrics in result.targets.items():
        show_section(screen, members_section(name, metrics, "members"))
        show_section(screen, scores_section(name, metrics, "target"))
        if metrics.test:
            show_section(screen, further_section(metrics.test, 0))
    if result.prompts:
        show_section(screen, prompts_section(result.prompts))
    screen.print(f"report: {escape(result.report)}", soft_wrap=True)


def show_table_evaluation(screen: Console, found: TableEvaluation) -> None:
    """Print what a further table says of each target."""
    for scores in found.targets.values():
        show_section(screen, further_section(scores, 0))
    if found.without:
        screen.print(f"the table has no column {escape(', '.join(found.without))}: not scored", soft_wrap=True)
    screen.print(f"predictions: {escape(found.predictions)}\nreport: {escape(found.report)}", soft_wrap=True)


def show_suggested(screen: Console, found: Suggested) -> None:
    """Print what to measure next, and why."""
    show_section(screen, suggested_section(found, "next"))


def show_many_written(screen: Console, written: WrittenTable) -> None:
    """Print how many predictions were written, and how many of them are unlike the training set."""
    screen.print(
        f"{escape(written.file)}: {written.predictions} predictions, {written.unlike} of them unlike the training set"
    )
    for one in written.closeness:
        screen.print(f"{escape(one.target)}: {_close(one)}")


def _close(one: Closeness) -> str:
    off = (
        f"it gives another class to {one.value:.1%}"
        if one.of_std is None
        else f"it is {one.value:.3g} off on average (median {one.of_std:.2f} of the run's standard deviation), and its "
        "intervals are wider by that"
    )
    return (
        f"a small network learned from {one.taught:,} predictions of the run. On {one.held_out:,} others {off}. For "
        f"{one.unlike:.0%} of them both agree whether the formula is unlike the training set"
    )
