"""Frames labelled by an engine, from the store where they are there: a straight line from files to a file.

labelled = label([Path("chosen.extxyz")], Path("engine.yaml"), out=Path("labelled.extxyz"))
labelled.n_labelled, labelled.failures
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ase import Atoms
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from matgraft.core.errors import RunError
from matgraft.core.executor import executor, read_executor
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.files import remove, to_json, write_json
from matgraft.core.locks import locked
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.signals import AGAIN, goes_on_by, temporary
from matgraft.core.targets import is_stream
from matgraft.potentials.active.labelling.compute import Bench, Job
from matgraft.potentials.active.labelling.engine import (
    Engine,
    read_engine,
    refuse_no_program,
    refuse_unusable,
    with_whole_paths,
)
from matgraft.potentials.active.labelling.fingerprint import (
    Compared,
    Stated,
    common,
    compare_theories,
    engine_key,
    kinds,
    printed,
    refuse_differing,
)
from matgraft.potentials.active.labelling.frames import (
    FrameToLabel,
    frames_to_label,
    labelled,
    refuse_out,
    write_labelled,
)
from matgraft.potentials.active.labelling.labelled import Failure, Labelled, Probe
from matgraft.potentials.active.labelling.outcome import too_large
from matgraft.potentials.active.labelling.probe import probe, probes_itself
from matgraft.potentials.active.labelling.server import close_server
from matgraft.potentials.active.labelling.store import WORK, LabelStore
from matgraft.potentials.active.labelling.suited import refuse_unsuited
from matgraft.potentials.active.labelling.theories import settled, theory_of, theory_of_label
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read

STORE = Path("labels")
"""The folder of labels where none is named."""
Frames = Sequence[str | Path] | Sequence[Atoms]


def label(
    frames: Frames,
    engine: Engine | str | Path,
    *,
    out: str | Path | None = None,
    store: str | Path | None = None,
    against: LevelOfTheory | Dataset | None = None,
    probed: bool | None = None,
    retry_failed: bool = False,
    quiet: bool = False,
) -> Labelled:
    """Label frames.

    Parameters
    ----------
    frames
        Files of structures, or structures.
    engine
        The engine or its file.
    out
        File for the labelled frames, extended XYZ; their level of theory goes beside it as YAML, frames without a label
        into a file of failures.
    store
        Folder of the labels; default `STORE` in the current folder.
    against
        Level of theory that the labels shall have, or training frames that have it.
    probed
        Whether convergence and noise are measured first. Default: once for an engine with a k-mesh or a cutoff.
    retry_failed
        Try frames again that failed in an earlier call.

    Raises
    ------
    DataError
        If a file cannot be read, or the engine computes at another level of theory.
    OptionError
        If the engine cannot be used, or another process labels into the store.
    RunError
        If the store is damaged or cannot be written, or an output is not of the level of theory that was asked.
    """
    began = time.monotonic()
    # 1. What is asked, and whether it can be done.
    if isinstance(engine, str | Path):
        engine = read_engine(Path(engine))
    out = None if out is None else Path(out)
    refuse_unusable(engine)
    engine = settled(with_whole_paths(engine, Path.cwd()))
    refuse_no_program(engine)
    if out is not None:
        refuse_out(out, frames)
    asked = frames_to_label(frames)
    refuse_unsuited(engine, asked)
    data = _stated(against)
    compared = None if against is None else _compared(engine, asked, data)
    workers = _workers(engine)
    # 2. What is not in the store is computed.
    key = engine_key(engine)
    jobs = [Job.of(one.atoms, engine, key) for one in asked]
    with _open(Path(store or STORE)) as kept:
        before = {job.key for job in jobs if kept.has(job.key)}
        failed_before = {job.key for job in jobs if kept.failure(job.key)} if not retry_failed else set()
        with _bench(kept, workers, key, data) as bench:
            found = _probe(engine, jobs, bench, probed, quiet=quiet)
            todo = sum(1 for _ in bench.missing(jobs, retry_failed=retry_failed))
            with _progress(bench, todo, quiet=quiet):
                bench.compute(jobs, retry_failed=retry_failed)
        # 3. What came of it.
        told, theories, failures = _told(asked, jobs, kept, failed_before)
        store_folder = str(kept.folder)
    theory = common(theories)
    result = Labelled(
        engine=engine.calculator,
        engine_key=key,
        n_asked=len(asked),
        n_labelled=len(told),
        n_from_store=sum(job.key in before for job in jobs),
        n_computed=bench.n_computed,
        failures=tuple(failures),
        theory=theory,
        compared=compared,
        probe=found,
        notes=tuple(_notes(engine, compared, theory, against)),
        seconds=time.monotonic() - began,
        calculation_s=bench.calculation_s,
        store=store_folder,
        written=str(out) if out and told else "",
    )
    if out is not None:
        _write(out, told, theory, failures)
    return result


def like_frames(files: Sequence[str | Path]) -> Dataset:
    """Read training frames for their level of theory; labels need not be there.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    return read(list(map(str, files)), want=())


def refuse_other_theory(engine: Engine, data: Dataset) -> None:
    """Refuse, before there is a frame to label, an engine of another level of theory than training frames have.

    Densities of the k-mesh are left out: they depend on the frames that will be labelled.

    Raises
    ------
    DataError
        With every difference.
    """
    stated = _stated(data)
    asked = [theory_of(engine, atoms) for _, atoms in stated if atoms is not None]
    refuse_differing(compare_theories([(one, None) for one in asked if one is not None], stated), "engine")


def failures_file(out: Path) -> Path:
    """Return where the failures of a file of labelled frames stand."""
    return out.with_suffix(".failures.json")


# --- before ----------------------------------------------------------------------------------------------------------


def _stated(against: LevelOfTheory | Dataset | None) -> list[Stated]:
    if against is None:
        return []
    if isinstance(against, LevelOfTheory):
        return [(against, None)]
    return kinds((sample.theory, sample.content) for sample in against)


def _compared(engine: Engine, asked: Sequence[FrameToLabel], data: Sequence[Stated]) -> Compared:
    own = kinds((theory_of(engine, atoms), atoms) for atoms, _ in asked)
    found = compare_theories(own, data)
    refuse_differing(found, "engine")
    return found


def _workers(engine: Engine) -> ExecutorSettings:
    said = "workers" in engine.model_fields_set or engine.executor is None
    return read_executor(engine.executor, engine.workers if said else None)


@contextmanager
def _open(folder: Path) -> Iterator[LabelStore]:
    """Open the store; what a killed run left of its work is cleared away."""
    goes_on_by(lambda: AGAIN)
    with locked(folder, new=True), LabelStore(folder) as store, temporary(folder / WORK):
        shutil.rmtree(folder / WORK, ignore_errors=True)
        try:
            yield store
        finally:
            shutil.rmtree(folder / WORK, ignore_errors=True)


# --- computing -------------------------------------------------------------------------------------------------------


@contextmanager
def _bench(store: LabelStore, workers: ExecutorSettings, key: str, data: Sequence[Stated]) -> Iterator[Bench]:
    """Open what computes; an output of another level of theory than was asked, or than the data have, ends it."""

    def expect(job: Job, theory: LevelOfTheory) -> None:
        asked = theory_of(job.engine, job.atoms)
        own = printed(compare_theories([(theory, job.atoms)], [(asked, job.atoms)] if asked else []))
        if own.differing:
            said = "; ".join(f"{one.field} {one.engine}, asked was {one.data}" for one in own.differing)
            raise RunError(
                f"the output differs from what the engine was asked: {said}",
                where=f"engine {job.engine.calculator}",
                remedy="look at the program and its pseudopotentials; labels that were kept are right",
            )
        if job.engine_key == key:  # the probe varies settings on purpose
            refuse_differing(compare_theories([(theory, job.atoms)], data), "the output of the engine")

    folder = store.folder / WORK
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with executor(workers, folder) as pool:
            yield Bench(store, pool, Path.cwd(), expect)
    finally:
        close_server()


def _probe(engine: Engine, jobs: Sequence[Job], bench: Bench, asked: bool | None, *, quiet: bool) -> Probe | None:
    """Return the probe of the engine, from the store where it was made before; None where none is wanted."""
    kept = bench.store.probe(jobs[0].engine_key)
    if kept is not None and not asked:
        return None if asked is False else Probe.model_validate_json(kept)
    if asked is False or (asked is None and not probes_itself(engine)):
        return None
    if not quiet:
        Console(stderr=True).print("measuring convergence and noise of the labels on one frame, once (--no-probe: not)")
    found = probe(engine, jobs[0].engine_key, [job.atoms for job in jobs], bench)
    if not any(one.failed for one in found.moved):  # else the next call tries again
        bench.store.put_probe(jobs[0].engine_key, to_json(found, indent=None))
    return found


@contextmanager
def _progress(bench: Bench, total: int, *, quiet: bool) -> Iterator[None]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet or not total) as bar:
        task, failed = bar.add_task("labels", total=total), 0

        def ended(job: Job, why: str) -> None:
            nonlocal failed
            failed += bool(why)
            bar.update(task, advance=1, description=f"labels, {failed} failed" if failed else "labels")

        bench.ended = ended
        yield


# --- after -----------------------------------------------------------------------------------------------------------


def _told(
    asked: Sequence[FrameToLabel], jobs: Sequence[Job], store: LabelStore, failed_before: set[str]
) -> tuple[list[Atoms], list[LevelOfTheory], list[Failure]]:
    frames, theories, failures = [], [], []
    for i, (one, job) in enumerate(zip(asked, jobs, strict=True)):
        found = store.label(job.key)
        if found is not None and (large := too_large(found.arrays, job.engine.max_force_eV_per_A)):
            failures.append(Failure(frame=i, where=one.where, reason=large, tries=found.facts.tries))
        elif found is not None:
            frames.append(labelled(one.atoms, found.arrays, job.key))
            theory = theory_of_label(job.engine, job.atoms, found.facts.theory)
            theories += [theory] if theory else []
        elif (failure := store.failure(job.key)) is not None:
            before = job.key in failed_before and not failure.lost
            reason = failure.tries[-1].reason
            output = str(store.folder / failure.output) if failure.output else ""
            failures.append(
                Failure(frame=i, where=one.where, reason=reason, tries=failure.tries, before=before, output=output)
            )
        else:
            raise RunError(f"{one.where} has neither a label nor a failure", where=str(store.folder))
    return frames, theories, failures


def _notes(engine: Engine, compared: Compared | None, theory: LevelOfTheory | None, against: object) -> Iterator[str]:
    if theory is None:
        yield f"{engine.calculator} states no level of theory: write it under theory: in the engine file"
    if compared is None:
        return
    if not compared.n_data:
        yield "the training data state no level of theory: the engine was compared with nothing"
    if compared.only_data:
        yield f"stated by the training data alone, and not compared: {', '.join(compared.only_data)}"
    if compared.only_engine:
        yield f"stated by the engine alone, and not compared: {', '.join(compared.only_engine)}"


def _write(out: Path, frames: Sequence[Atoms], theory: LevelOfTheory | None, failures: Sequence[Failure]) -> None:
    if frames:
        write_labelled(out, frames, theory)
    if is_stream(out):  # nothing is beside it; the failures are told, and in the store
        return
    if failures:
        write_json(failures_file(out), list(failures))
    else:
        remove(failures_file(out))
