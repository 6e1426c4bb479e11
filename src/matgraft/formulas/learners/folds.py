"""Folds of a table's rows: groups are never torn, and no fold holds all rows of a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from matgraft.core.errors import DataError
from matgraft.formulas.learners.inputs import Array, Rows

ATTEMPTS = 100
"""Draws of folds before there are said to be none that will do."""


def inner_folds(groups: Sequence[str], n_folds: int, seed: int, classes: Array | None = None) -> list[Rows]:
    """Return the rows of each fold; rows of one group stay together, and no fold holds all rows of a class.

    Parameters
    ----------
    classes
        (n,) indices of classes; None for values.

    Raises
    ------
    DataError
        If there is one group only, or a class that no drawn folds tear apart.
    """
    from sklearn.model_selection import GroupKFold  # takes a second, which a prediction does not wait for

    distinct = len(set(groups))
    if distinct < 2:
        raise DataError(
            "every row is of one group, or hangs together with the others by formulas that groups share: nothing can "
            "be held out",
            remedy="other groups",
        )
    if classes is not None:
        refuse_lone_classes(groups, classes)
    for attempt in range(ATTEMPTS):
        drawn = GroupKFold(min(n_folds, distinct), shuffle=True, random_state=seed + 1000 * attempt)
        folds = [test for _, test in drawn.split(np.zeros(len(groups)), groups=list(groups))]
        if classes is None:
            return folds
        folds = _spread(folds, groups, classes)
        if keep_classes(folds, classes):
            return folds
    raise DataError(
        f"{ATTEMPTS} draws of {len(folds)} folds each hold all rows of a class in one fold",
        remedy="more folds, or more rows of the rare classes",
    )


def keep_classes(folds: Sequence[Rows], classes: Array) -> bool:
    """Say whether the rest of every fold has every class (n,)."""
    counts = Counter(classes.tolist())
    return all(n < counts[one] for fold in folds for one, n in Counter(classes[fold].tolist()).items())


def refuse_lone_classes(groups: Sequence[str], classes: Array, where: str = "") -> None:
    """Raise a `DataError` for a class whose rows are all of one group: held out, nothing teaches it."""
    if lone := [one for one, home in _homes(groups, classes).items() if len(home) < 2]:
        raise DataError(
            f"every row of class {int(min(lone))} is of one formula or group: it cannot be held out and learned",
            where=where,
            remedy="leave the class out, or add rows of other formulas and groups",
        )


def _spread(folds: Sequence[Rows], groups: Sequence[str], classes: Array) -> list[Rows]:
    """Move a group of each class that one fold holds alone, the smallest, to the fold with the fewest groups.

    Of thirty classes of two groups each, draws alone would hardly ever tear apart all.
    """
    rows_of = Counter(groups)
    fold_of = {groups[i]: k for k, rows in enumerate(folds) for i in rows}
    for home in _homes(groups, classes).values():
        holding = {fold_of[group] for group in home}
        if len(holding) == 1:
            sizes = Counter(fold_of.values())
            others = [k for k in range(len(folds)) if k not in holding]
            moved = min(home, key=lambda group: (rows_of[group], group))
            fold_of[moved] = min(others, key=lambda k: (sizes[k], k))
    places = np.array([fold_of[group] for group in groups])
    return [np.flatnonzero(places == k) for k in range(len(folds))]


def _homes(groups: Sequence[str], classes: Array) -> dict[float, set[str]]:
    """Return the groups of each class."""
    homes: dict[float, set[str]] = {}
    for group, one in zip(groups, classes.tolist(), strict=True):
        homes.setdefault(one, set()).add(group)
    return homes
