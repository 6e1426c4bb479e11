"""Candidates: formulas with their conditions, from a table, a list or elements, without what was measured already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.inputs import Array, Inputs
from matgraft.formulas.predict import IN_MEMORY, PropertyModel, as_cells, covariates_of, formula_list
from matgraft.formulas.predictor.out_of_fold import identities
from matgraft.formulas.queries import open_queries, plainly
from matgraft.formulas.report.suggested import Made
from matgraft.formulas.suggest.compositions import MOST_CANDIDATES, MOST_TRIED, Compositions
from matgraft.formulas.table.faults import refuse
from matgraft.formulas.table.formula_table import ColumnNames
from matgraft.formulas.table.names import formula_column
from matgraft.formulas.table.parsing import alloy_cures, parse_cells
from matgraft.formulas.table.sources import TYPES

Given: TypeAlias = str | Path | Sequence[str] | pd.DataFrame | Compositions
"""A table's file, formulas, a table in memory, or elements."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """What may be measured.

    Attributes
    ----------
    formulas
        (m,) compositions.
    covariates
        (m, k) conditions as numbers.
    conditions
        (m,) the same as they were given, name -> text.
    lines
        (m,) lines of the file, the header being line 1; empty where there is none.
    file, made
        Where they come from.
    n_measured, n_repeated
        Left out: measured already, named before.
    """

    formulas: tuple[Formula, ...]
    covariates: Array
    conditions: tuple[dict[str, str], ...]
    lines: tuple[int, ...] = ()
    file: str | None = None
    made: Made | None = None
    n_measured: int = 0
    n_repeated: int = 0

    def new(self, training: Inputs) -> Candidates:
        """Return those that are no training row, each once.

        Raises
        ------
        DataError
            If none is left, or there are too many.
        """
        where = self.file or ""
        measured = set(identities(training.formulas, training.blocks["covariates"]))
        first: dict[tuple[Formula, bytes], int] = {}
        n_measured = n_repeated = 0
        for i, one in enumerate(identities(self.formulas, self.covariates)):
            if one in measured:
                n_measured += 1
            elif one in first:
                n_repeated += 1
            else:
                first[one] = i
        if not first:
            raise DataError(f"each of {len(self.formulas)} candidates is measured already", where=where,
                            remedy="name formulas that the training table does not have")  # fmt: skip
        if len(first) > MOST_CANDIDATES:
            raise _too_many(len(first), where)
        rows = list(first.values())
        return Candidates(
            tuple(self.formulas[i] for i in rows), self.covariates[rows], tuple(self.conditions[i] for i in rows),
            tuple(self.lines[i] for i in rows) if self.lines else (), self.file, self.made, n_measured, n_repeated,
        )  # fmt: skip


def gather_candidates(
    model: PropertyModel,
    target: str,
    given: Given,
    shared: Mapping[str, float | str],
    columns: ColumnNames | None = None,
) -> Candidates:
    """Return candidates for a target of a run.

    Parameters
    ----------
    shared
        Covariates that all candidates share.
    columns
        How a table is read.

    Raises
    ------
    DataError
        If a formula or a cell cannot be read; file, line and column are named.
    OptionError
        If a covariate of the run is missing, or one is given that the run does not read.
    """
    made: Made | None = None
    path: Path | None = None
    cells: pd.DataFrame | None = None
    if isinstance(given, Compositions):
        compositions, made = given.make()
        texts = [str(one) for one in compositions]
    elif isinstance(given, pd.DataFrame):
        path, cells = IN_MEMORY, as_cells(given)
    elif isinstance(given, Path) or (isinstance(given, str) and given.endswith(TYPES)):
        path = Path(given)
        texts, cells = _rows_of(model, path, columns or ColumnNames())
    else:
        texts = formula_list(given)
    if isinstance(given, pd.DataFrame) and cells is not None:
        texts = list(cells[formula_column(cells, columns.formula if columns else None, IN_MEMORY)])
    file = None if path in (None, IN_MEMORY) else str(path)
    if not texts:
        raise DataError("there is no candidate", where=str(path or model.folder))
    if len(texts) > MOST_TRIED:  # before each is read
        raise _too_many(len(texts), str(path or ""))
    beside = model.shared(shared, len(texts))
    if cells is not None and beside is not None:
        cells = cells.assign(**{str(name): list(column) for name, column in beside.items()})
    cells = beside if cells is None else cells
    formulas = _formulas(model, target, texts, cells, path)
    names = model.names[target]
    covariates = covariates_of(names, cells, len(texts), path or model.folder)
    conditions = [{} for _ in texts] if cells is None else cells[list(names.code)].astype(str).to_dict("records")
    return Candidates(
        tuple(formulas),
        np.zeros((len(texts), 0)) if covariates is None else covariates,
        tuple({str(name): value for name, value in one.items()} for one in conditions),
        tuple(map(int, cells.index)) if file and cells is not None else (),
        file,
        made,
    )


def _too_many(found: int, where: str) -> DataError:
    remedy = "ask about one part after the other, and then about the best of each"
    return DataError(f"{found:,} candidates", where=where, allowed=[f"{MOST_CANDIDATES:,}"], remedy=remedy)


def _formulas(
    model: PropertyModel, target: str, texts: Sequence[str], cells: pd.DataFrame | None, path: Path | None
) -> list[Formula]:
    """Read formulas; of a run with prompts one may say what is asked of it, but nothing else than the target."""
    lines = None if cells is None or path is None else cells.index
    prompts = model.stated(model.asked(texts, path, lines), cells, path)
    for i, prompt in enumerate(prompts):
        if prompt.property not in (None, target):
            line = f"{path} line {lines[i] if lines is not None else i + 2}" if path else texts[i]
            raise OptionError(
                f"the candidate asks for {prompt.property!r}, and suggestions are made for {target!r}",
                where=line,
                remedy="leave what it asks for out, or ask about that target",
            )
    return [prompt.formula for prompt in prompts]


def _rows_of(model: PropertyModel, path: Path, columns: ColumnNames) -> tuple[list[str], pd.DataFrame]:
    """Return the formulas of a file and its cells, without rows that cannot be used where that is asked."""
    how, opened = open_queries(model, path, columns)
    if len(opened.cells) > MOST_TRIED:  # before each is read
        raise _too_many(len(opened.cells), str(path))
    parsed = parse_cells(opened.cells[opened.column], model.parse, how.composition)
    bad = [*opened.faults, *parsed.faults]
    cells = plainly(model, opened).cells[~opened.cells.index.isin({one.line for one in bad})]
    if not how.skip_bad or cells.empty:
        refuse(bad, path, alloy_cures(parsed.alloys), can_skip=not cells.empty)
    return list(cells[opened.column]), cells
