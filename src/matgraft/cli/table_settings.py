"""Options of a verb on a table, as settings: columns, how the table is read, what is fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from matgraft.cli.common import settings_of, typed
from matgraft.cli.options import Columns
from matgraft.core.errors import OptionError, choose
from matgraft.core.options import word
from matgraft.core.reads import Read, refuse_unread

if TYPE_CHECKING:
    from matgraft.formulas.table.formula_table import ColumnNames


def column_names(columns: Columns, fold: str | None) -> ColumnNames:
    """Return the columns that the options of a command name, and how the table is read."""
    from matgraft.formulas.table.formula_table import ColumnNames

    return ColumnNames(
        formula=columns.formula, fold=fold, covariates=columns.covariate or (), weight=columns.weight,
        group=columns.group or "formula", order=columns.ordered, classes=columns.unordered,
        prompt_class=columns.prompt_class, drop=columns.lines, reading=columns.reading(impute=columns.impute),
    )  # fmt: skip


def reading_options(columns: Columns) -> dict[str, object]:
    """Return how tables are read, as settings of a run."""
    return {name: value for name, value in vars(columns.reading(impute=columns.impute)).items() if name != "can_skip"}


def refuse_no_target_option(data: str, targets: list[str] | None, columns: Columns) -> None:
    """Raise an OptionError, which offers the columns of a table, where none is named as the target."""
    from matgraft.formulas.table.opening import value_columns

    if not targets:
        raise OptionError(
            "a table of formulas needs --target with the column of the values",
            where=data,
            options=[{"--target": name} for name in value_columns(Path(data), columns.formula, columns.reading())],
        )


def predictor_settings(verb: str, options: list[str] | None, columns: Columns, **own: Any) -> tuple[Any, list[str]]:
    """Return the settings, and the keys that were named; `own` are options of the command, weaker than key=value."""
    from matgraft.formulas.predictor.members import OF_POTENTIALS, STRATEGIES
    from matgraft.formulas.predictor.settings import PredictorSettings
    from matgraft.formulas.settings import refuse_prompt_class

    words = [word(name, value) for name, value in own.items() if value is not None] + list(options or ())
    settings = settings_of(PredictorSettings, words)
    given = typed(PredictorSettings, words)
    not_typed = Read("ordinal", "nothing: --order says that classes have an order, and which", lambda _: False)
    refuse_unread(verb, (Read("*"), not_typed), given)
    with_target = "`matgraft tune --strategy domain` takes a table of the target, by --adapt-to; crossval takes none"
    refuse_prompt_class(columns.prompt_class, settings.strategy)
    known = {name: members for name, members in STRATEGIES.items() if verb == "tune" or name != "domain"}
    choose(settings.strategy, known, "strategy", {**OF_POTENTIALS, "domain": with_target})
    return settings.model_copy(update={"ordinal": bool(columns.order)}), given


def tell_start(foundation: str | None) -> None:
    """Say on standard error that of a run on a table the encoder is taken that it began with, not what it tuned."""
    from matgraft.formulas.embedding import is_table_run

    if foundation and is_table_run(foundation):
        said = f"note: {foundation} is a run on a table: the encoder that it began with is taken, not what it tuned"
        Console(stderr=True).print(said, highlight=False, markup=False, soft_wrap=True)
