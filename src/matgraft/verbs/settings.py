"""From the options of a verb to a recipe of frames, or to a run on a table; and what is told to the logger."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matgraft.core.errors import OptionError, choose
from matgraft.core.findings import Finding
from matgraft.core.options import word
from matgraft.core.reads import Read, refuse_unread
from matgraft.core.settings import make_settings, typed_keys, validated

if TYPE_CHECKING:
    from matgraft.formulas.settings import TableRun
    from matgraft.potentials.recipe import Recipe
    from matgraft.verbs.given import Given

RECIPES = (".yaml", ".yml")
"""Endings of a file that is a recipe, not data."""


def means_table(given: Given, target: str | Sequence[str] | None) -> bool:
    """Say whether a table was given: by its kind, or by its target.

    Raises
    ------
    OptionError
        If structures have a target.
    """
    if target is not None and (given.atoms or given.dataset is not None):
        raise OptionError(
            f"target={target!r} names a column of a table, and structures are given",
            remedy="leave it out: a potential learns energies and forces",
        )
    return given.is_table or target is not None


def name_of(foundation: Any) -> str | None:
    """Return a foundation by the name that a run keeps: what was loaded has a folder, or came by its name.

    Raises
    ------
    OptionError
        If a model in memory can be found nowhere again.
    """
    if foundation is None or isinstance(foundation, (str, Path)):
        return None if foundation is None else str(foundation)
    if folder := getattr(foundation, "folder", None):
        return str(folder)
    raise OptionError(
        f"the foundation is a {type(foundation).__name__} in memory, and a run keeps its name",
        allowed=['the name that it was loaded by, such as "chgnet"', "a run folder", "a file of a vendor"],
    )


def recipe_for(verb: str, files: Mapping[str, Sequence[str]], options: Mapping[str, Any]) -> Recipe:
    """Return the recipe that the options of a verb make.

    Parameters
    ----------
    files
        Of the ``frames`` and of the ``test``. A recipe among the frames is read first, and the options are stronger.
    options
        Keys of a recipe by name, levels by dots or ``__``; None is not said.

    Raises
    ------
    OptionError
        If a key is unknown, does not fit, or is not read by the verb.
    """
    from matgraft.potentials.recipe import make_recipe

    frames = list(files["frames"])
    recipes = [name for name in frames if name.lower().endswith(RECIPES)]
    if len(recipes) > 1:
        raise OptionError(f"several recipes: {', '.join(recipes)}", allowed=["one recipe"])
    named = [name for name in frames if name not in recipes]
    test = list(files.get("test", ()))
    said = {name: _plain(value) for name, value in options.items()}
    recipe = make_recipe(
        Path(recipes[0]) if recipes else None,
        (),
        train=_one_or_several(named),
        test=_one_or_several(test),
        **said,
    )
    recipe.refuse_unread(verb, [name.replace("__", ".") for name, value in said.items() if value is not None])
    return recipe


def _one_or_several(files: Sequence[str]) -> str | list[str] | None:
    return (files[0] if len(files) == 1 else list(files)) if files else None


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def refuse_no_target(files: Sequence[str], target: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the targets; raises an `OptionError`, which offers the columns of the table, where none is named."""
    if len(files) != 1:
        raise OptionError(f"{len(files)} tables are given", allowed=["one table"])
    if target:
        return (target,) if isinstance(target, str) else tuple(target)
    from matgraft.formulas.table.formula_table import ReadOptions
    from matgraft.formulas.table.opening import value_columns

    columns = value_columns(Path(files[0]), None, ReadOptions())
    raise OptionError(
        "a table of formulas needs the column of the values",
        where=files[0],
        allowed=[f"target={name!r}" for name in columns],
    )


def table_run_for(
    verb: str, files: Sequence[str], targets: Sequence[str], options: Mapping[str, Any]
) -> tuple[TableRun, list[str]]:
    """Return what a verb shall do with a table, and the keys of the predictor's settings that were named.

    Parameters
    ----------
    options
        Fields of `TableRun`, and keys of `PredictorSettings` with levels by dots or ``__``; None is not said.

    Raises
    ------
    OptionError
        If a key is unknown, does not fit, or is not read.
    """
    from matgraft.formulas.predictor.members import OF_POTENTIALS, STRATEGIES
    from matgraft.formulas.predictor.settings import PredictorSettings
    from matgraft.formulas.settings import TableRun

    given = {name.replace("__", "."): _plain(value) for name, value in options.items() if value is not None}
    own = {name: value for name, value in given.items() if name in TableRun.model_fields and name != "settings"}
    words = [word(name, value) for name, value in given.items() if name not in own]
    settings = make_settings(PredictorSettings, [], words)
    keys = typed_keys(PredictorSettings, words)
    refuse_unread(verb, (Read("*"), Read("ordinal", "nothing: order=[...] says it", lambda _: False)), keys)
    choose(settings.strategy, STRATEGIES, "strategy", OF_POTENTIALS)
    settings = settings.model_copy(update={"ordinal": bool(own.get("order"))})
    own |= {name: (own[name],) for name in _SEVERAL if isinstance(own.get(name), (str, int))}
    content = {"table": files[0], "targets": tuple(targets), **own}
    return validated(TableRun, {**content, "settings": settings.model_dump()}), keys


_SEVERAL = ("covariates", "order", "drop", "allow", "classes")
"""Fields of `TableRun` that hold several; one alone may be given without a list."""


def told(log: logging.Logger, notes: Sequence[str], findings: Sequence[Finding]) -> None:
    """Tell how data were read, and what the audit found in them."""
    for note in notes:
        log.info("%s", note)
    for one in findings:
        if one.outcome == "failed":
            log.warning("%s", one)
