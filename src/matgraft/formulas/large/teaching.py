"""Students for a table: the run predicts rows from everywhere in it, and a student of each target learns from them.

They lie in the store of the table's parts, so that a command that was killed goes on with the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from matgraft.core.errors import ChangedError, OptionError
from matgraft.core.files import write_text
from matgraft.core.frozen import Frozen
from matgraft.core.manifest import check_file, checked
from matgraft.core.processes import cores, map_in_processes
from matgraft.formulas.large.parts import Part
from matgraft.formulas.large.student import TAUGHT, Lesson, teach
from matgraft.formulas.large.work import Asked, one_thread, opened
from matgraft.formulas.predict import PropertyModel, covariates_of
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.store import save_network
from matgraft.formulas.queries import read_part
from matgraft.formulas.report.facts import Closeness
from matgraft.formulas.table.unlabelled import Queries

FEWEST = 5 * TAUGHT
"""Rows of a table below which the run has predicted them before a student has learned."""
CHUNK = 1024


class Closenesses(Frozen):
    """What closeness.json of a store holds, by target."""

    of: tuple[Closeness, ...]


def refuse_few(n: int, fewest: int = FEWEST) -> None:
    """Raise an `OptionError` for a table on which a student does not pay."""
    if n < fewest:
        raise OptionError(
            f"--fast is not read with {n:,} rows: the run has predicted them before a small network has learned",
            allowed=[f"tables of {fewest:,} rows and more"],
            remedy="leave the option out",
        )


def taught(how: Asked, parts: Sequence[Part], title: str = "") -> tuple[tuple[Path, ...], tuple[Closeness, ...]]:
    """Return the files of a table's students, and how close each is to the run; taught where they are missing.

    Raises
    ------
    OptionError
        If the run answers prompts, which a student does not read.
    """
    model = PropertyModel.open(how.run)
    if model.tokens:
        raise OptionError("--fast is not read by a run with prompts", where=str(how.run), remedy="leave the option out")
    files = tuple(how.store / f"student-{i}.safetensors" for i in range(len(model.names)))
    record = how.store / f"closeness-{how.sha256}.json"
    if kept := _kept(record, files):
        return files, kept
    model, queries = opened(how.run, how.sha256), _drawn(model, how, parts)
    found = []
    for file, target in zip(files, model.names, strict=True):
        lesson = _lesson(model, target, queries, how.table.path, title and f"{title}: the run predicts {TAUGHT:,} rows")
        student, closeness = teach(model.predictor(target), lesson, target, model.run.settings.seed)
        save_network(student.arrays(), file)
        found.append(closeness)
    write_text(record, Closenesses(of=tuple(found)).model_dump_json())
    return files, tuple(found)


def _kept(record: Path, files: Sequence[Path]) -> tuple[Closeness, ...]:
    """Return what was said of the students; none where they are not there, or not what was written."""
    try:
        for one in files:
            check_file(one)
        return Closenesses.model_validate_json(checked(record)).of
    except (OSError, ChangedError, ValidationError):
        return ()


def _drawn(model: PropertyModel, how: Asked, parts: Sequence[Part]) -> list[Queries]:
    """Return the first rows of every part, as many as are taught in all."""
    each = -(-TAUGHT // len(parts))
    return [read_part(model, how.table.path, how.columns, how.table.source(part, each))[0] for part in parts]


def _lesson(model: PropertyModel, target: str, queries: Sequence[Queries], path: Path, title: str) -> Lesson:
    """Return what the run says of rows."""
    names, predictor = model.names[target], model.predictor(target)
    formulas = [one.formula for some in queries for one in some.parsed or model.asked(some.formulas)]
    covariates = [covariates_of(names, some.cells, len(some.formulas), path) for some in queries if some.formulas]
    beside = np.concatenate([one for one in covariates if one is not None]) if names.code else None
    chunks = [slice(i, i + CHUNK) for i in range(0, len(formulas), CHUNK)]

    def say(rows: slice) -> Prediction:
        with one_thread():
            return predictor.predict(formulas[rows], beside if beside is None else beside[rows])

    said = Prediction.joined(map_in_processes(say, chunks, cores(), title))
    return Lesson(formulas, np.zeros((len(formulas), 0)) if beside is None else beside, said)
