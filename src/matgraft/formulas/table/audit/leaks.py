"""Looks for what tells the answer: the target among the covariates, columns that number rows, rows that folds part."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from matgraft.core.findings import Action, Code, Fault, Finding
from matgraft.core.statistics import numbered
from matgraft.formulas.table.audit.base import Array, TableEvidence, count_rows

TARGET = Code("covariate-is-target", "The target among the covariates", "error")
IDENTIFIES = Code("covariate-identifies", "A covariate that numbers rows")
GROUPS = Code("groups-across-folds", "Rows of one origin on both sides of a fold")

FEWEST = 10
"""Rows below which nothing is said of a dependence."""
FEW_VALUES = 3
"""Different values of the target that a covariate must share to be called the target."""
EXACT = 1e-6
"""Part of the variance that a covariate leaves open, up to which the target is computed from it."""
NEARLY = 0.98
"""Rank correlation from which on a covariate tells the target."""
NEARLY_LINE, NOT_BY_ONE = 0.99, 0.5
"""Correlation from which on it does as well, and rank correlation below which single large values make it."""
MOST_NUMBERS = 12
"""Covariates of numbers among which a sum that gives the target is sought."""
ALIKE, SURE = 0.15, 1e-4
"""Part of the variance between groups, and odds by chance, from which on rows of a group are alike."""
ORIGINS = ("paper", "doi", "reference", "ref", "source", "author", "lab", "batch", "sample", "furnace", "heat", "year",
           "date", "citation", "group", "team", "patent", "series", "operator", "experiment")  # fmt: skip
"""Words in the name of a column that say where a row is from."""


def covariate_is_target(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for covariates that the target can be computed from: itself, its logarithm, a sum of two columns."""
    names = evidence.columns.covariates
    if not names:
        yield TARGET.skipped("there are no covariates")
        return
    if len(evidence) < FEWEST:
        yield TARGET.skipped(f"fewer than {FEWEST} rows")
        return
    told = {name: how for name in names if (how := _tells(evidence, name))}
    certain = {name: text for name, (text, sure) in told.items() if sure}
    if not certain and not told and (both := _together(evidence)):
        certain = {", ".join(both): "a sum or a product of them is the target, exactly"}
    said = certain or {name: text for name, (text, _) in told.items()}
    if not said:
        yield TARGET.passed(f"no covariate determines the target: {', '.join(names)}")
        return
    text = "; ".join(f"{name}: {how}" for name, how in said.items())
    fault = Fault(
        (), f"{text}. A predictor learns to copy, and its error does not hold for formulas without a measurement",
        f"leave the covariate {', '.join(said)} out, unless it is known before the target is",
        numbers={"covariates": float(len(said))}, severity="error" if certain else "warning",
    )  # fmt: skip
    yield TARGET.failed(fault)


def _tells(evidence: TableEvidence, name: str) -> tuple[str, bool] | None:
    """Return how a covariate tells the target, and whether that is beyond doubt."""
    from scipy.stats import rankdata

    x, y = evidence.numbers(name), evidence.values
    if not evidence.of_numbers:
        return _tells_class(evidence, name)
    if x is None or not np.isfinite(x).all():
        return None
    n_distinct = min(len(np.unique(x)), len(np.unique(y)))
    if n_distinct >= FEW_VALUES and np.allclose(x, y):
        return "it is the target", True
    if n_distinct < FEWEST:
        return None
    ranks = float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    line = abs(float(np.corrcoef(x, y)[0, 1]))
    if line**2 >= 1 - EXACT:
        return "the target is exactly a straight line of it", True
    if abs(ranks) > 1 - 1e-9:
        return f"it {'rises' if ranks > 0 else 'falls'} wherever the target rises, in all {len(y)} rows", True
    if _is_function(x, y, evidence.formulas):
        return "each of its values has one value of the target", True
    if abs(ranks) >= NEARLY:
        return f"its rank correlation with the target is {ranks:.4f}", False
    if line >= NEARLY_LINE and abs(ranks) >= NOT_BY_ONE:
        return f"its correlation with the target is {line:.4f}", False
    return None


def _is_function(x: Array, y: Array, formulas: np.ndarray) -> bool:
    """Say whether y is a function of x that rows of different formulas confirm, in many values of x."""
    order = np.lexsort((y, x))
    starts = np.flatnonzero(np.diff(x[order], prepend=np.nan) != 0)
    parts = np.split(order, starts[1:])
    shared = [part for part in parts if len(np.unique(formulas[part])) > 1]
    if len(shared) < FEWEST or len(np.unique(y)) < FEWEST:
        return False
    scale = max(float(y.std()), 1e-300)
    return all(np.ptp(y[part]) <= EXACT * scale for part in shared)


def _tells_class(evidence: TableEvidence, name: str) -> tuple[str, bool] | None:
    """Return how a covariate tells the class: by its words, one for each class; or by a bound between the classes."""
    y = evidence.values.astype(int)
    numbers = evidence.numbers(name)
    words = numbered(list(evidence.words(name)))
    pairs = {*zip(words.tolist(), y.tolist(), strict=True)}
    n_words, n_classes = int(words.max()) + 1, len(evidence.table.classes)
    smallest = int(np.bincount(y, minlength=n_classes).min())
    if len(pairs) == n_words == n_classes and smallest >= 2:
        return "each word belongs to one class, and each class to one word", True
    if len(pairs) == n_words and n_words <= len(y) // 5 and smallest >= 2 and numbers is None:
        return "each word belongs to one class", False
    if numbers is not None and n_classes == 2 and smallest >= 5:
        low, high = (numbers[y == k] for k in (0, 1))
        if low.max() < high.min() or high.max() < low.min():
            return "a bound in it parts the classes without an error", False
    return None


def _together(evidence: TableEvidence) -> tuple[str, ...]:
    """Return the covariates of numbers a sum of multiples of which is the target exactly; empty where none is."""
    columns = {name: x for name in evidence.columns.covariates if (x := evidence.numbers(name)) is not None}
    columns = {name: x for name, x in columns.items() if np.isfinite(x).all()}
    if not evidence.of_numbers or not 2 <= len(columns) <= MOST_NUMBERS or len(evidence) < 3 * len(columns) + FEWEST:
        return ()
    for scale in (lambda x: x, np.log):
        sides = np.stack([*columns.values(), evidence.values], 1)
        if scale is np.log and (sides <= 0).any():
            return ()
        sides = scale(sides)
        x = np.column_stack([sides[:, :-1] - sides[:, :-1].mean(0)])
        y = sides[:, -1] - sides[:, -1].mean()
        if y.std() > 0 and float(((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2).sum() / (y**2).sum()) <= EXACT:
            return tuple(columns)
    return ()


def covariate_identifies(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for covariates that number rows, or name nearly each of them."""
    names = evidence.columns.covariates
    if not names or len(evidence) < FEWEST:
        yield IDENTIFIES.skipped("there are no covariates" if not names else f"fewer than {FEWEST} rows")
        return
    found = {name: how for name in names if (how := _identifies(evidence, name))}
    if not found:
        yield IDENTIFIES.passed(f"no covariate numbers the rows: {', '.join(names)}")
        return
    text = "; ".join(f"{name}: {how}" for name, how in found.items())
    fault = Fault(
        (), f"{text}. It identifies rows and does not help for a new formula",
        f"leave the covariate {', '.join(found)} out", numbers={"covariates": float(len(found))},
    )  # fmt: skip
    yield IDENTIFIES.failed(fault)


def _identifies(evidence: TableEvidence, name: str) -> str:
    x = evidence.numbers(name)
    words = numbered(list(evidence.words(name)))
    if x is None:
        n = int(words.max()) + 1
        return f"{n} words in {len(words)} rows" if n > len(words) / 2 else ""
    steps = np.diff(x)
    if np.isfinite(x).all() and (x % 1 == 0).all() and len(np.unique(x)) == len(x) and abs(steps).max() <= 3:
        return "whole numbers that go on from row to row"
    return ""


def groups_across_folds(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for a column that says where rows are from, and whether folds part what belongs together."""
    own, by = evidence.columns.group, evidence.table.groups
    how = "by chemical system" if own == "chemical-system" else f"by {own}" if by else "by formula alone"
    if evidence.table.folds and (torn := _torn(evidence)):
        rows, text = torn
        remedy = "do not name a column of folds: then the rows of one formula stay in one fold"
        yield GROUPS.failed(Fault((), text, remedy, numbers={"rows": len(rows)}, lines=evidence.at(rows)))
        return
    if by or own == "chemical-system":
        yield GROUPS.passed(f"folds are drawn {how}, and keep {len(set(evidence.table.grouped(own)))} sets together")
        return
    likely = [one for name in evidence.unused if (one := _origin(evidence, name))]
    if not likely:
        yield GROUPS.passed(f"folds are drawn {how}; no other column says that rows belong together")
        return
    share, odds, name, sizes = max(likely)
    alike = share >= ALIKE and odds <= SURE
    groups = f"{len(sizes)} groups of {sizes.mean():.1f} on average"
    text = f"folds are drawn {how}. Column {name!r} parts the rows into {groups}"
    if alike:
        text += (
            f"; {share:.0%} of what formulas leave open goes with it (by chance {odds:.1g}). A fold that holds some "
            "rows of a group knows more of its others than of a new one"
        )
    fault = Fault(
        (), text, f"hold out by {name}, if the predictor shall serve new ones",
        [Action(settings={"--group": name})], {"share": share, "origins": len(sizes)}, "warning" if alike else "info",
    )  # fmt: skip
    yield GROUPS.failed(fault)


def _torn(evidence: TableEvidence) -> tuple[np.ndarray, str] | None:
    """Return rows whose formula stands in another fold of the table as well, and what is said of them."""
    folds = numbered(evidence.table.folds)
    pairs = np.unique(np.stack([evidence.formulas, folds], 1), axis=0)
    several = np.bincount(pairs[:, 0]) > 1
    rows = np.flatnonzero(several[evidence.formulas])
    if not len(rows):
        return None
    how_many, fold = count_rows(len(rows), len(evidence)), evidence.columns.fold
    said = f"{how_many} have a formula that stands in several folds of {fold!r}"
    return rows, f"{said}: {evidence.named(rows)}. Their error is not that of new formulas"


def _origin(evidence: TableEvidence, name: str) -> tuple[float, float, str, np.ndarray] | None:
    """Return how alike rows of one word are, the odds of that, the column, and the sizes; None where it names none."""
    words = list(evidence.words(name))
    numbers = evidence.numbers(name)
    of = numbered(words)
    sizes = np.bincount(of)
    of_origin = any(part in ORIGINS for part in name.lower().replace("-", "_").replace(" ", "_").split("_"))
    if not 3 <= len(sizes) <= len(of) / 2 or (numbers is not None and not of_origin):
        return None
    departures = evidence.departures.linear if evidence.of_numbers else np.full(len(of), np.nan)
    share, odds = between_groups(departures, of)
    return (share, odds, name, sizes) if of_origin or (share >= ALIKE and odds <= SURE) else None


def between_groups(values: Array, of: np.ndarray) -> tuple[float, float]:
    """Return the intraclass correlation of ranks and the odds of its F by chance (one-way analysis of variance)."""
    from scipy.stats import f as fisher
    from scipy.stats import rankdata

    known = np.isfinite(values)
    if known.sum() < FEWEST:
        return 0.0, 1.0
    y, groups = rankdata(values[known]), numbered(of[known].tolist())
    n, k = len(y), int(groups.max()) + 1
    sizes = np.bincount(groups)
    if not 1 < k < n:
        return 0.0, 1.0
    means = np.bincount(groups, y) / sizes
    between = float((sizes * (means - y.mean()) ** 2).sum() / (k - 1))
    within = float(((y - means[groups]) ** 2).sum() / (n - k))
    if within <= 0:
        return 0.0, 1.0
    typical = (n - (sizes**2).sum() / n) / (k - 1)
    return max(0.0, (between - within) / (between + (typical - 1) * within)), float(
        fisher.sf(between / within, k - 1, n - k)
    )
