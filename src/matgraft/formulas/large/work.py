"""One part of a table predicted: what a worker does, wherever it runs.

What comes out lies in a store under a name that follows from all that decides it: the part's content, the run's files,
how the table is read. So no part is predicted twice, however often a run is killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import zip_longest
from pathlib import Path

import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from matgraft.core.files import whole, write_text
from matgraft.core.frozen import Frozen
from matgraft.core.manifest import file_sha256
from matgraft.core.version import __version__
from matgraft.formulas.large.parts import Part, PartedTable
from matgraft.formulas.large.student import Student
from matgraft.formulas.predict import PropertyModel
from matgraft.formulas.predictor.store import read_network
from matgraft.formulas.queries import read_part
from matgraft.formulas.table.faults import BadCell, Decision
from matgraft.formulas.table.formula_table import ColumnNames

FAULTY = "faulty"
"""A file of the store: a row cannot be used, so that the other parts are read to the end and not predicted."""
OF_RUN = ("settings.json", "model/**/*", "predictors/**/*", "prompts/**/*")
"""Files of a run that decide what it predicts."""


class Asked(Frozen):
    """What a worker needs beside the part.

    Attributes
    ----------
    run, store
        Folders that every worker sees.
    table
        Without its parts.
    sha256
        Of all that decides a prediction beside the part.
    skip_bad
        Predict the other rows of a part that has some that cannot be used.
    students
        Files of the networks that predict in place of the run, a target each; none: the run does.
    """

    run: Path
    store: Path
    table: PartedTable
    columns: ColumnNames
    sha256: str
    skip_bad: bool
    students: tuple[Path, ...] = ()

    def name(self, part: Part) -> str:
        """Return what a part is called in the store."""
        return hashlib.sha256(f"{self.sha256} {part.sha256}".encode()).hexdigest()

    def result(self, part: Part, target: int) -> Path:
        """Return where the predictions of a part lie, of the target of a number."""
        return self.store / f"{self.name(part)}-{target}.parquet"

    def facts(self, part: Part) -> Path:
        """Return where it lies how a part was read; written last, so that a part with it is done."""
        return self.store / f"{self.name(part)}.json"


class PartFacts(Frozen):
    """How a part was read.

    Attributes
    ----------
    predictions, unlike
        How many were made, and of these how many of formulas unlike the training set.
    bad
        Cells for which rows were left out.
    alloys
        How many cells are alloys whose amounts are by weight or by atoms.
    """

    predictions: int = 0
    unlike: int = 0
    decisions: tuple[Decision, ...] = ()
    bad: tuple[BadCell, ...] = ()
    alloys: int = 0


def digest_of(run: Path, columns: ColumnNames, table: PartedTable) -> str:
    """Return a hash of all that decides a prediction beside the rows of a part."""
    files = sorted(file for pattern in OF_RUN for file in run.glob(pattern) if file.is_file())
    said = [f"{file.relative_to(run)} {file_sha256(file)}" for file in files]
    return hashlib.sha256("\n".join([__version__, repr(columns), str(table.decimal), *said]).encode()).hexdigest()


@lru_cache(maxsize=1)
def opened(run: Path, sha256: str, students: tuple[Path, ...] = ()) -> PropertyModel:
    """Open a run once a process; the trees that it does not keep are fitted, or students stand in for it."""
    model = PropertyModel.open(run)
    for target, student in zip_longest(model.names, students):
        predictor = model.predictor(target)
        if student is None:
            _ = predictor.models, predictor.neighbourhood
        else:
            model.stand_in(target, read_network(student, partial(Student.from_arrays, run=predictor)))
    return model


def predict_part(asked: Asked, piece: Part) -> PartFacts:
    """Predict a part and keep what comes out; raises what makes the whole table unreadable."""
    with one_thread():
        model = opened(asked.run, asked.sha256, asked.students)
        queries, alloys = read_part(model, asked.table.path, asked.columns, asked.table.source(piece))
        facts = PartFacts(decisions=queries.decisions, bad=queries.skipped, alloys=alloys)
        if facts.bad and not asked.skip_bad:
            write_text(asked.store / FAULTY, "")
        if (asked.store / FAULTY).exists():
            return facts
        prompts = queries.parsed or model.asked(queries.formulas)
        columns = model.columns(prompts, queries.cells, asked.table.path) if prompts else {}
        for i, target in enumerate(model.names):
            if target in columns:
                with whole(asked.result(piece, i)) as part:
                    pd.DataFrame(columns[target]).to_parquet(part, index=False)
        unlike = [one for own in columns.values() for one in own["unlike"]]
        facts = facts.model_copy(update={"predictions": len(unlike), "unlike": sum(map(bool, unlike))})
        write_text(asked.facts(piece), facts.model_dump_json())
    return facts


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute by one thread, so that a sum is the same wherever it is made: parts are what runs side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
