"""Fine-tune a foundation on structures or on a table, as `matgraft tune` does: with an audit, a verdict and a report.

run = tune(frames, "runs/mine", foundation="chgnet", max_minutes=30)
run.verdict, run.report, run.calculator()
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matgraft.core.errors import OptionError
from matgraft.core.run_folder import kind_of, next_run
from matgraft.verbs.given import Data, Given, kept, parsed
from matgraft.verbs.run import Run
from matgraft.verbs.settings import means_table, name_of, recipe_for, refuse_no_target, table_run_for, told

if TYPE_CHECKING:
    from matgraft.core.findings import Finding
    from matgraft.formulas.table.facts import TableReading

_log = logging.getLogger(__name__)


def tune(
    data: Data,
    out: str | Path | None = None,
    *,
    target: str | Sequence[str] | None = None,
    test: Data = None,
    foundation: Any = None,
    strategy: str | None = None,
    max_minutes: float | None = None,
    **options: Any,
) -> Run:
    """Fine-tune a foundation on your own frames or table.

    Parameters
    ----------
    data
        Frames with labels: a list of `ase.Atoms` as `ase.io.read` gives them, a `Dataset`, files or folders. A table of
        formulas with values: a `pandas.DataFrame`, a mapping of columns, a file. Or a recipe: a `Recipe`, or its YAML
        file. What is in memory is written into the run folder.
    out
        The run folder, new or empty; by default ``runs/001``, ``runs/002``, ...
    target
        Column of the values, of a table; several for several.
    test
        Frames, or rows of a table, that no fit sees: as `data`.
    foundation
        By default ``"chgnet"``, for tables ``"composition"``.
    strategy, max_minutes
        What learns, and how long at most; the second is read for frames.
    options
        All other keys of a recipe, levels by dots: ``seed=1, **{"fit.rate": 1e-3}``; ``fit__rate=1e-3`` is the same.
        Of a table also ``formula``, ``covariates``, ``weight``, ``group``, ``order``, ``allow``, ``drop``, ...

    Returns
    -------
    Run
        With ``verdict``, ``report``, ``calculator()`` and ``predict(...)``.

    Raises
    ------
    AuditError
        If a finding blocks; nothing is left behind then.
    DataError, OptionError
        If data or options cannot be used; nothing is left behind then.
    RunError
        If the run breaks off; `matgraft.resume` goes on with it.
    """
    from matgraft.potentials.recipe import Recipe

    run = Path(out) if out is not None else next_run()
    said = {"foundation": name_of(foundation), "strategy": strategy, "max_minutes": max_minutes, **options}
    if isinstance(data, Recipe):
        _refuse_beside_recipe({"target": target, "test": test, **said})
        return _tune_frames(data, run)
    parts = {"data": parsed(data)} | ({} if test is None else {"test": parsed(test)})
    if means_table(parts["data"], target):
        return _tune_table(parts, run, target, said)
    said |= {"strategy.name": said.pop("strategy"), "fit.max_minutes": said.pop("max_minutes")}
    with kept({_FRAMES.get(name, name): given for name, given in parts.items()}, run) as files:
        return _tune_frames(recipe_for("tune", files, said), run)


_FRAMES = {"data": "frames"}


def _refuse_beside_recipe(given: Mapping[str, object]) -> None:
    if beside := [name for name, value in given.items() if value is not None]:
        raise OptionError(f"{', '.join(beside)}: not read beside a Recipe", remedy="say it in make_recipe(...)")


def _tune_frames(recipe: Any, run: Path) -> Run:
    from matgraft.potentials.run import tune_frames

    _, chosen = recipe.named()
    if chosen:
        _log.info("%s", chosen.replace("--strategy", "strategy="))
    tune_frames(recipe, run, quiet=True, tell=_tell_findings)
    return _finished(run)


def _tune_table(
    parts: Mapping[str, Given], run: Path, target: str | Sequence[str] | None, said: dict[str, object]
) -> Run:
    from matgraft.formulas.tune import tune_table

    if said.pop("max_minutes") is not None:
        raise OptionError("max_minutes is not read for a table", remedy="remove it")
    with kept({"table" if name == "data" else name: given for name, given in parts.items()}, run) as files:
        targets = refuse_no_target(files["table"], target)
        further = {"test": files["test"][0]} if "test" in files else {}
        asked, keys = table_run_for("tune", files["table"], targets, {**said, **further})
        tune_table(asked, run, given=keys, quiet=True, note=_tell_reading, tell=_tell_findings)
    return _finished(run)


def resume(run: str | Path) -> Run:
    """Go on with a run that was stopped; of a finished one the report is written again.

    Parameters
    ----------
    run
        Its folder.

    Raises
    ------
    RunError
        If the folder holds no run, or its data or its foundation changed since it began.
    """
    from matgraft.formulas.tune import resume_table_run
    from matgraft.potentials.run import resume_run

    folder = Path(run)
    if kind_of(folder) == "formulas":
        resume_table_run(folder, quiet=True)
    else:
        resume_run(folder, quiet=True, tell=_tell_findings)
    return _finished(folder)


def _finished(folder: Path) -> Run:
    run = Run(folder)
    for name, verdict in run.verdicts.items():
        _log.info("%s: %s. %s", name, verdict.level, verdict.headline)
    _log.info("report: %s", run.report)
    return run


def _tell_findings(found: Sequence[Finding]) -> None:
    told(_log, (), found)


def _tell_reading(reading: TableReading) -> None:
    from matgraft.formulas.table.faults import sentences

    for line in sentences(reading.decisions):
        _log.info("%s: %s", reading.table, line)
