"""What the formula commands show and write: folds on the screen, predictions and vectors as files.

Each ``show_*`` is given the facts that ``--json`` prints, and nothing else: what the screen says, the JSON says too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from matgraft.core.files import whole
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula
from matgraft.formulas.predictor.predictor import Prediction
from matgraft.formulas.prompts.report import start_lines
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.scoring.pretraining import pretraining_sentence


def show_folds(screen: Console, scored: Mapping[str, Any]) -> None:
    """Print scores a fold, their mean and spread, and the part of the mixture that reads the encoder."""
    names = list(scored["mean"])
    shown = Table("fold", "train", "test", *names, "pretrained")
    for fold in scored["folds"]:
        pretrained = [member["weight"] for member in fold["members"] if member["pretrained"]]
        part = f"{sum(pretrained):.0%}" if pretrained else "not tried"
        cells = [f"{fold[name]:.4g}" if name in fold else "-" for name in names]
        shown.add_row(escape(fold["fold"]), str(fold["n_train"]), str(fold["n_test"]), *cells, part)
    shown.add_row("mean", "", "", *(_over_folds(scored, name) for name in names), "", style="bold")
    screen.print(shown)
    if some := {name: n for name, n in scored["n_folds"].items() if n < len(scored["folds"])}:
        said = ", ".join(f"{name} {n} of {len(scored['folds'])}" for name, n in some.items())
        screen.print(f"a mean is over the folds that have the score; not all have {said}", highlight=False)
    if scored["weighted"]:
        screen.print("scores are weighted: rows count as the column of weights says")
    for lacking, said in (("without_value", "without a value"), ("without_weight", "of weight 0")):
        if count := scored.get(lacking):
            screen.print(f"{count} rows {said} were left out")
    screen.print(f"{scored['n_unlike']} of {scored['n']} rows have a formula unlike their training set")
    screen.print(escape(pretraining_sentence(scored["pretraining"])), soft_wrap=True)


def _over_folds(scored: Mapping[str, Any], name: str) -> str:
    """Write the mean of a score, its spread where there are two folds, and how many folds have it, where not all do."""
    mean, spread, n = (scored[key][name] for key in ("mean", "std", "n_folds"))
    of = f" (of {n})" if n < len(scored["folds"]) else ""
    return f"{mean:.4g}{'' if spread is None else f' ± {spread:.2g}'}{of}"


def show_targets(screen: Console, facts: Mapping[str, Any]) -> None:
    """Print what each target's predictor is made of, how well it does, and the verdict."""
    for target, part in facts["targets"].items():
        title = f"{escape(target)}: {part['n']} rows"
        shown = Table("member", f"{part['criterion']}, out of fold", "weight", title=title)
        for member in part["members"]:
            shown.add_row(member["name"], f"{member['score']:.4g}", f"{member['weight']:.0%}")
        for member in part["dropped"]:
            shown.add_row(member["name"], f"{member['score']:.4g}, first fold", "not needed")
        shown.add_row("together", f"{part['score']:.4g}", "", style="bold")
        screen.print(shown)
        scores = ", ".join(f"{name} {value:.4g}" for name, value in part["scores"].items())
        screen.print(f"  {scores}{' (weighted)' if part['weighted'] else ''}")
        screen.print(f"[bold]{escape(part['verdict']['headline'])}[/]", soft_wrap=True)
        for caution in part["verdict"]["cautions"]:
            screen.print(f"  caution: {escape(caution)}", soft_wrap=True, highlight=False)
    for line in start_lines(facts.get("prompts", {})):
        screen.print(escape(line), highlight=False, soft_wrap=True)
    screen.print(f"report: {escape(facts['report'])}", soft_wrap=True)


def show_predictions(screen: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a line a formula and target."""
    shown = Table("formula", "target", "value", "interval or probability", "")
    for row in rows:
        probabilities = {name[2:]: p for name, p in row.items() if name.startswith("p_")}
        sure = f"{probabilities[row['value']]:.1%}" if probabilities else f"{row['lower']:.4g} to {row['upper']:.4g}"
        value = row["value"] if isinstance(row["value"], str) else f"{row['value']:.4g}"
        unlike = "unlike the training set" if row["unlike"] else ""
        shown.add_row(*map(escape, (row["formula"], row["target"], value)), sure, unlike)
    screen.print(shown)


def show_written(screen: Console, rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Print how many predictions were written, and how many of them are unlike the training set."""
    screen.print(
        f"{escape(str(path))}: {len(rows)} predictions, {sum(row['unlike'] for row in rows)} of them unlike the "
        "training set"
    )


def prediction_rows(
    formulas: Sequence[Formula],
    prediction: Prediction,
    classes: Sequence[str],
    extra: Mapping[str, Any],
    truths: NDArray[np.float64] | None = None,
    lines: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """Return a row a formula: line, formula, truth, value, lower, upper, std, distance, unlike, p_<class>.

    Parameters
    ----------
    classes
        Names of the classes, which then stand in the place of truth and value; empty for numbers.
    extra
        Columns that all rows share.
    """

    def named(value: float) -> Any:
        return classes[int(value)] if classes else float(value)

    rows = []
    for i, formula in enumerate(formulas):
        row: dict[str, Any] = {"line": lines[i]} if lines else {}
        row |= {"formula": str(formula), **extra}
        row |= {"truth": named(truths[i])} if truths is not None else {}
        row["value"] = named(prediction.value[i])
        if not classes:
            row |= {name: float(getattr(prediction, name)[i]) for name in ("lower", "upper")}
        row |= {"std": float(prediction.std[i]), "distance": float(prediction.distance[i])}
        row["unlike"] = bool(prediction.unlike[i])
        if prediction.probabilities is not None:
            row |= {f"p_{name}": float(p) for name, p in zip(classes, prediction.probabilities[i], strict=True)}
        rows.append(row)
    return rows


def write_predictions(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as CSV, atomically."""
    with whole(path) as part:
        pd.DataFrame(rows).to_csv(part, index=False)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read what `write_predictions` wrote: formulas, truths and values as text ("NaN" is sodium with nitrogen)."""
    words = {"formula": str, "truth": str, "value": str, "target": str, "fold": str}
    return pd.read_csv(path, dtype=words, keep_default_na=False, na_values=[""])


def write_vectors(formulas: Sequence[Formula], vectors: NDArray[np.float32], path: Path) -> None:
    """Write formulas and their features as parquet, atomically."""
    frame = pd.DataFrame(vectors, columns=[f"e{i}" for i in range(vectors.shape[1])])
    frame.insert(0, "formula", [str(formula) for formula in formulas])
    with whole(path) as part:
        frame.to_parquet(part, index=False)


def nearest_formulas(
    text: str, formulas: Sequence[Formula], vectors: NDArray[np.float32], encoder: CompositionBackbone, count: int
) -> list[tuple[str, float]]:
    """Return the formulas nearest to one in the encoder's features, with their distances."""
    distances = np.linalg.norm(vectors - encoder.embed([parse_plain(text)]), axis=1)
    return [(str(formulas[i]), float(distances[i])) for i in np.argsort(distances, kind="stable")[:count]]
