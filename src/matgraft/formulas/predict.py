"""Predictions by the predictors of a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.registry import model_folder
from matgraft.core.run_folder import kind_of, resume_commands
from matgraft.formulas.learners.inputs import Array
from matgraft.formulas.predictor.store import PREDICTOR, TargetNames, load_predictor
from matgraft.formulas.prompts.material_class import material_class
from matgraft.formulas.prompts.text import Prompt, parse_plain, parse_prompt, property_tokens
from matgraft.formulas.registry import load_encoder_folder
from matgraft.formulas.report.rows import TableRow, prediction_rows
from matgraft.formulas.settings import SETTINGS
from matgraft.formulas.table.reading import encode_covariates, formula_column, parsed_column, read_cells


def predict_formulas(
    folder: Path, formulas: Sequence[str], cells: pd.DataFrame | None = None, where: Path | None = None
) -> list[TableRow]:
    """Predict with every target of a run.

    Parameters
    ----------
    formulas
        As written; of a run with prompts, with or without the class before and the property behind.
    cells
        A table whose columns hold the covariates, a row a formula.
    where
        The table's file, for errors.

    Returns
    -------
    list of dict
        A row a formula and target, or the target that it asks for: formula, target, value, lower, upper, std, distance,
        unlike, in_training, probabilities; of a run with prompts also material_class.

    Raises
    ------
    DataError
        If the folder is no run; it says what it is. If there is no formula.
    RunError
        If the run is not finished.
    """
    kind = kind_of(folder)
    if kind is None:
        model_folder(folder)  # says what it is instead
    if kind != "formulas":
        raise OptionError(
            "this run reads structures, not formulas", where=str(folder), remedy="`evaluate` scores it on frames"
        )
    if not formulas:
        raise DataError("there is no formula to predict", where=str(where or folder))
    run = SETTINGS.read(folder).run
    parts = _finished(folder, run.targets)
    tokens = property_tokens(run.targets) if run.settings.strategy == "prompt" else {}
    prompts = _prompts(formulas, tokens, None if cells is None else where or folder)
    backbone = load_encoder_folder(folder)
    rows: list[TableRow] = []
    for part in parts:
        predictor, names = load_predictor(part, backbone)
        chosen = [i for i, prompt in enumerate(prompts) if prompt.property in (None, names.target)]
        if not chosen:
            continue
        covariates = _covariates(names, cells, len(formulas), where or folder)
        wanted = [prompts[i].formula for i in chosen]
        prediction = predictor.predict(wanted, covariates if covariates is None else covariates[chosen])
        own = prediction_rows(wanted, prediction, names.classes, {"target": names.target})
        if tokens:
            own = [row | {"material_class": material_class(one)} for row, one in zip(own, wanted, strict=True)]
        rows += own
    return rows


def _finished(folder: Path, targets: Sequence[str]) -> list[Path]:
    """Return the folders of the predictors, one a target."""
    parts = sorted(file.parent for file in (folder / "predictors").glob(f"*/{PREDICTOR.name}"))
    if len(parts) < len(set(targets)):
        raise RunError(
            f"the run is not finished: {len(parts)} of {len(set(targets))} targets have a predictor",
            where=str(folder),
            commands=resume_commands(folder),
        )
    return parts


def formulas_in(path: Path, column: str | None) -> tuple[pd.DataFrame, list[str]]:
    """Return a table's cells and its column of formulas."""
    cells = read_cells(path)
    return cells, list(cells[formula_column(cells, column, path)])


def _prompts(formulas: Sequence[str], tokens: Mapping[str, str], table: Path | None) -> Sequence[Prompt]:
    """Read what is asked; an error names the line of a table."""

    def parse(text: str) -> Prompt:
        return parse_prompt(text, tokens) if tokens else Prompt(parse_plain(text))

    if table is None:
        return [parse(text) for text in formulas]
    return parsed_column(pd.Series(list(formulas), name="formula"), table, parse)


def _covariates(names: TargetNames, cells: pd.DataFrame | None, n: int, where: Path) -> Array | None:
    if not names.code:
        return None
    if cells is None or len(cells) != n:
        columns = ", ".join(names.code)
        raise OptionError(f"the predictor needs {columns} as well", remedy="a table with these columns")
    return encode_covariates(cells, names.code, where)
