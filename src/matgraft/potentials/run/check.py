"""Physical checks of a model: a run, a foundation, a vendor's file, or any ASE calculator.

    checked = check("runs/silicon", suite="crystal")
    checked.verdict.level, checked.verdict.exit_code

A run brings its own structures, labelled frames and foundation. What was observed is kept under ``physics/`` in the run
folder, or in the folder that is named, and is not computed again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import write as write_frames

from matgraft.core import manifest
from matgraft.core.errors import DataError, MatgraftError, OptionError, nearest
from matgraft.core.executor import executor
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.files import whole
from matgraft.core.locks import locked, without_locks
from matgraft.core.registry import HEADS, part_head
from matgraft.core.run_folder import kind_of
from matgraft.core.verdict import Verdict
from matgraft.potentials.checks.checked import CHECKED, STRUCTURES, Checked, CheckedStructure
from matgraft.potentials.checks.from_frames import references_in
from matgraft.potentials.checks.physical import SEEN_TAG, Case, PhysicalCheck
from matgraft.potentials.checks.references import References, ase_formula, merged, of_structure, read_references
from matgraft.potentials.checks.runner import OBSERVATIONS, Elsewhere, Result, run_physical
from matgraft.potentials.checks.settings import CheckSettings, Suite
from matgraft.potentials.checks.structures import MOST_STRUCTURES, Structure, structures_in, structures_of
from matgraft.potentials.checks.suite import chosen_checks, with_others
from matgraft.potentials.checks.uses import judge_uses
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.heads import HEAD_TAG
from matgraft.potentials.data.isolated import without_isolated
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.recipe import saved_recipe
from matgraft.potentials.report.physics import write_physics
from matgraft.potentials.run.frames import read_parts
from matgraft.potentials.run.seen_by_fit import SeenByFit
from matgraft.potentials.run_files import MODEL, PHYSICS, VERDICT
from matgraft.potentials.simulation.loading import Model, is_calculator, load_subject, refuse_name

MOST_FRAMES = 5000
"""Labelled frames that are held in memory at most, evenly spread; a check looks at some hundred."""


@dataclass(frozen=True)
class CheckQuestion:
    """What is asked beside the settings.

    Attributes
    ----------
    structures
        Files of structures; of a run those of its own frames are taken where there are none.
    against
        The foundation; of a run its own.
    frames
        Files of labelled frames, or the frames themselves; beside those of a run.
    references
        A file of values of one's own DFT.
    out
        Where everything is kept.
    executor
        Where checks run; None for processes of this machine, one a core.
    """

    structures: Sequence[str | Path] = ()
    against: str | None = None
    frames: Sequence[str | Path] | Dataset = ()
    references: str | Path | None = None
    out: str | Path | None = None
    executor: ExecutorSettings | None = None


@dataclass(frozen=True)
class _Context:
    """What a run, or nothing, brings along."""

    frames: Dataset = field(default_factory=lambda: Dataset(()))
    foundation: str | None = None
    verdict: Verdict | None = None
    notes: tuple[str, ...] = ()


def check(
    model: Model,
    question: CheckQuestion | None = None,
    settings: CheckSettings | None = None,
    *,
    suite: Suite | None = None,
    quiet: bool = False,
) -> Checked:
    """Run the physical checks that are asked for.

    Parameters
    ----------
    model
        A run folder (of several heads ``runs/si#PBE``), a foundation, a vendor's file, ``module:function`` that makes
        an ASE calculator, or such a model or calculator itself.
    suite
        As of the settings, which it replaces: ``check("runs/silicon", suite="quick")``.

    Raises
    ------
    OptionError
        If the model is unknown, or there is no structure to look at.
    DataError
        If a file of structures, frames or references cannot be read.
    """
    question, settings = question or CheckQuestion(), settings or CheckSettings()
    settings = settings.model_copy(update={"suite": suite}) if suite else settings
    checks = chosen_checks(settings)
    refuse_name(model)
    _refuse_sending(question, model)
    folder = _folder(model, question.out)
    with locked(folder, new=True):
        refuse_foreign_folder(folder)
        return _check(checks, model, question, settings, folder, quiet=quiet)


def _check(
    checks: Sequence[PhysicalCheck[Any]],
    model: Model,
    question: CheckQuestion,
    settings: CheckSettings,
    folder: Path,
    *,
    quiet: bool,
) -> Checked:
    context = _context(model)
    own: References = read_references(Path(question.references)) if question.references else {}
    frames = _joined([context.frames, _given(question)])
    structures, notes = _structures(question, frames, model)
    began = time.monotonic()
    subject = load_subject(model, [one.atoms for one in structures])
    against = question.against or context.foundation
    foundation = None if against is None else load_subject(against, [one.atoms for one in structures])
    if foundation is not None and foundation.key == subject.key:
        foundation, notes = None, (*notes, f"{against} is the model itself: it is compared with nothing")
    found, said = references_in(frames, structures)
    given = {one.name: of_structure(own, one.name, one.formula) for one in structures}
    known = merged({name: values for name, values in given.items() if values}, found)
    begin_folder(folder)
    _write_structures(structures, folder)
    case = Case(structures, None, settings, frames, known)
    models = [model] if foundation is None else [model, str(against)]
    with _elsewhere(question.executor, models, structures, folder) as workers:
        progress = "" if quiet else "checks"
        results = run_physical(checks, subject, foundation, case, folder, progress=progress, elsewhere=workers)
    findings = [one.finding for one in results]
    checked = Checked(
        subject=subject.name,
        foundation="" if foundation is None else foundation.name,
        settings=settings,
        structures=tuple(map(CheckedStructure.of, structures)),
        references={name: dict(values) for name, values in known.items()},
        notes=(*context.notes, *notes, *said, *_unread(own, case), *_uncompared(results)),
        results=tuple(results),
        verdict=judge_uses(settings, findings, context.verdict, with_others(one.code for one in checks)),
        seconds=time.monotonic() - began,
        folder=str(folder),
    )
    CHECKED.write(folder, checked)
    return checked


def _context(model: Model) -> _Context:
    """Return what a run brings along: labelled frames, its foundation, the verdict on its fit."""
    if not isinstance(model, str | Path) or is_calculator(str(model)):
        return _Context()
    folder, _ = part_head(model)
    if kind_of(folder) != "frames":
        return _Context()
    foundation, verdict = saved_recipe(folder).foundation, VERDICT.find(folder)
    try:
        return _Context(frames_of(model), foundation, verdict)
    except MatgraftError as error:
        lost = f"the labelled frames of {folder} cannot be read ({error.found}): nothing is compared with them"
        return _Context(foundation=foundation, verdict=verdict, notes=(lost,))


def frames_of(run: str | Path) -> Dataset:
    """Return labelled frames of a run, or of one of its heads, as its recipe reads them, with `SEEN_TAG`.

    Of more than `MOST_FRAMES` as many, evenly spread.

    Raises
    ------
    MatgraftError
        If a file is not there any more, or cannot be read.
    """
    folder, head = part_head(run)
    frames = _joined(list(read_parts(saved_recipe(folder))))
    if head:
        frames = frames[[i for i, name in enumerate(frames.tag(HEAD_TAG)) if name == head]]
    frames = _spread(frames)
    if (seen := SeenByFit.of(folder, frames)) is None:
        return frames
    tagged = [sample.with_tags(**{SEEN_TAG: said}) for sample, said in zip(frames, seen.of_frame, strict=True)]
    return Dataset(tuple(tagged), frames.provenance)


def _spread(frames: Dataset) -> Dataset:
    count = len(frames)
    return frames if count <= MOST_FRAMES else frames[np.linspace(0, count - 1, MOST_FRAMES).astype(int)]


def _given(question: CheckQuestion) -> Dataset:
    """Return the labelled frames that were named or given."""
    if isinstance(question.frames, Dataset):
        return question.frames
    if not question.frames:
        return Dataset(())
    found = read(list(map(str, question.frames)), want=())  # each check says which labels it needs
    if not found.quantities():
        names = ", ".join(map(str, question.frames))
        raise DataError("no frame has labels", where=names, remedy="name structures without labels by --structure")
    return _spread(found)


def _joined(parts: Sequence[Dataset]) -> Dataset:
    return without_isolated(concatenate([part for part in parts if len(part)])) if any(map(len, parts)) else Dataset(())


def _structures(
    question: CheckQuestion, frames: Dataset, model: Model
) -> tuple[tuple[Structure, ...], tuple[str, ...]]:
    """Return what to look at: the files that are named, else what the frames hold."""
    if question.structures:
        return structures_of(question.structures), ()
    if len(frames):
        found, left = structures_in(frames)
        said = f"{left} further compositions or kinds of structures are left out: at most {MOST_STRUCTURES} are taken"
        return found, (said,) if left else ()
    raise OptionError(
        f"there is no structure to check {model} on",
        allowed=[
            "--structure FILE: a crystal, slab or molecule (CIF, POSCAR, extxyz)",
            "--frames FILE: labelled frames",
        ],
    )


@contextmanager
def _elsewhere(
    where: ExecutorSettings | None, models: Sequence[Model], structures: Sequence[Structure], folder: Path
) -> Iterator[Elsewhere | None]:
    """Open the workers that were asked for; each loads the models by their names."""
    if where is None:
        yield None
        return
    probes = [one.atoms for one in structures]
    with executor(where, folder) as pool:
        yield Elsewhere(pool, tuple(partial(load_subject, str(model), probes) for model in models))


def _refuse_sending(question: CheckQuestion, model: Model) -> None:
    """Refuse workers for a model that has no name: none of them could load it."""
    if question.executor is not None and not isinstance(model, str | Path):
        raise OptionError(
            f"a {type(model).__name__} cannot be sent to workers",
            allowed=["a model that is named: a run, a foundation, a file, module:function", "no executor"],
        )


def _folder(model: Model, out: str | Path | None) -> Path:
    """Return where everything is kept: in the run, in the folder that is named, or under checks/."""
    if out is not None:
        return Path(out)
    if isinstance(model, str | Path):
        folder, head = part_head(model)
        if kind_of(folder) == "frames":
            return folder / PHYSICS / head if head else folder / PHYSICS
    name = str(model) if isinstance(model, str | Path) else type(model).__name__
    return Path("checks") / "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)


def refuse_foreign_folder(folder: Path) -> None:
    """Raise an OptionError if a folder holds what no physical checks have left: files of one name would be lost."""
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder} is a file", remedy="name a new folder by --out")
    if folder.is_dir() and without_locks(folder) and not any(folder.glob(f"**/{OBSERVATIONS}")):
        raise OptionError(
            f"{folder} is not empty, and holds no physical checks",
            remedy="name a new folder by --out, or one that `matgraft check` has made",
        )


def begin_folder(folder: Path) -> None:
    """Make a folder of checks; a new one that lies in no run has hashes of its own."""
    (folder / OBSERVATIONS).mkdir(parents=True, exist_ok=True)
    if manifest.folder_of(folder / STRUCTURES) is None and not (folder / STRUCTURES).exists():
        manifest.begin(folder)
    if (folder / manifest.FILE).exists():
        manifest.settle(folder)


def _unread(references: References, case: Case) -> Iterator[str]:
    """Yield a sentence for what stands in a file of references and was compared with nothing."""
    names = [one.name for one in case.structures]
    formulas = [one.formula for one in case.structures]
    for key, values in references.items():
        if key not in names and ase_formula(key) not in formulas:
            yield f"references: {key} is neither a structure nor a formula that was looked at ({', '.join(names)})"
        elif idle := [name for name in values if name not in case.asked]:
            close = [said for name in idle if (said := nearest(name, sorted(case.asked)))]
            hint = f" ({close[0]})" if close else ""
            yield f"references of {key}: no check that was run compares with {', '.join(idle)}{hint}"


def _uncompared(results: Sequence[Result]) -> Iterator[str]:
    """Yield a sentence for each check whose foundation could not be observed."""
    for one in results:
        if one.uncompared:
            of = f" of {one.finding.about}" if one.finding.about else ""
            yield f"{one.finding.code}{of} is not compared with the foundation: {one.uncompared}"


def _write_structures(structures: Sequence[Structure], folder: Path) -> None:
    with whole(folder / STRUCTURES) as path:
        write_frames(path, [one.atoms for one in structures], format="extxyz")


def check_run(run: Path, suite: Suite, *, quiet: bool = False) -> None:
    """Check the model of a finished run, or each of its heads, as ``tune --check`` asks for it."""
    heads = HEADS.find(run / MODEL)
    models = [run] if heads is None else [f"{run}#{name}" for name in heads.heads]
    for model in models:
        write_physics(check(model, suite=suite, quiet=quiet))
