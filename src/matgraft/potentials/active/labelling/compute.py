"""Frames go to workers, and labels into the store, one by one as they come.

A frame whose label is there, or that stands twice, is not computed. What an output says of its level of theory is held
against what is expected before the label is kept: a wrong pseudopotential ends the work, and spoils nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from matgraft.core.executor import Executor
from matgraft.core.executor_settings import Lost
from matgraft.core.files import to_json
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.active.labelling.engine import Engine
from matgraft.potentials.active.labelling.fingerprint import engine_key, frame_key
from matgraft.potentials.active.labelling.labelled import Try
from matgraft.potentials.active.labelling.messages import arrays_of, tags_of
from matgraft.potentials.active.labelling.server import Task, TaskOutcome, label_one
from matgraft.potentials.active.labelling.store import WORK, FailureFacts, LabelFacts, LabelStore, StoredLabel


@dataclass(frozen=True)
class Job:
    """A frame, the engine that labels it, and the keys of both."""

    atoms: Atoms
    engine: Engine
    engine_key: str
    key: str

    @classmethod
    def of(cls, atoms: Atoms, engine: Engine, key: str = "") -> Job:
        """Return a job; the key of an engine takes long where it has files, and may be known."""
        key = key or engine_key(engine)
        return cls(atoms, engine, key, frame_key(atoms, key))


@dataclass
class Bench:
    """What computing needs beside the jobs.

    Attributes
    ----------
    expect
        Raises where the level of theory of an output is not that of an engine.
    ended
        Told as each calculation ends, with why it failed or nothing.
    n_computed, calculation_s
        Calculations that gave a label, and seconds of all.
    """

    store: LabelStore
    executor: Executor
    here: Path
    expect: Callable[[Job, LevelOfTheory], None] = lambda job, theory: None
    ended: Callable[[Job, str], None] = lambda job, failed: None
    n_computed: int = 0
    calculation_s: float = 0.0
    began: set[str] = field(default_factory=set)

    def compute(self, jobs: Iterable[Job], *, retry_failed: bool = False) -> None:
        """Compute the jobs that the store has no answer to."""
        todo = list(self.missing(jobs, retry_failed=retry_failed))
        for job in todo:
            if job.engine_key not in self.began:
                self.store.begin(job.engine_key, to_json(job.engine, indent=None))
                self.began.add(job.engine_key)
        if todo:
            self.executor.run(label_one, map(self._task, todo), lambda i, found: self._keep(todo[i], found))

    def missing(self, jobs: Iterable[Job], *, retry_failed: bool = False) -> Iterator[Job]:
        """Yield the jobs that the store has no answer to, equal ones once."""
        seen: set[str] = set()
        for job in jobs:
            if job.key in seen or self.store.has(job.key):
                continue
            failure = self.store.failure(job.key)
            if failure is None or failure.lost or retry_failed:
                seen.add(job.key)
                yield job

    def _task(self, job: Job) -> Task:
        folder = str((self.store.folder / WORK).resolve())
        return Task(job.engine, job.engine_key, arrays_of(job.atoms), tags_of(job.atoms), folder, str(self.here))

    def _keep(self, job: Job, found: TaskOutcome | Lost) -> None:
        if isinstance(found, Lost):
            tried = (Try(reason=f"the worker was lost: {found.reason}", seconds=0.0),)
            self.store.put_failure(job.key, job.engine_key, FailureFacts(tries=tried, lost=True))
            self.ended(job, tried[-1].reason)
            return
        self.calculation_s += found.seconds + sum(one.seconds for one in found.tries)
        if found.theory is not None:
            self.expect(job, found.theory)
        output = self.store.put_output(job.key, found.output_name, found.output)
        if found.label is None:
            self.store.put_failure(job.key, job.engine_key, FailureFacts(tries=found.tries, output=output))
            self.ended(job, found.tries[-1].reason)
            return
        facts = LabelFacts(theory=found.theory, seconds=found.seconds, tries=found.tries, output=output)
        self.store.put(job.key, job.engine_key, StoredLabel({**arrays_of(job.atoms), **found.label}, facts))
        self.n_computed += 1
        self.ended(job, "")
