"""Run physical checks on all cores, keep what was observed, and turn a crash into a finding.

    results = run_physical(chosen_checks(settings), subject, foundation, case, folder)

Each (check, structure, model) is one task of one process. An observation is written as soon as it is there: a run that
is killed begins again where it was. A check that raises is ``errored``, and the others go on.

Processes are forked where nothing else is said: they begin in milliseconds, where other workers take seconds and load
the model each, and they have calculators that cannot be sent anywhere. `Elsewhere` is for a cluster's nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ase.io import write as write_frames

from matgraft.core.errors import MatgraftError, RunError
from matgraft.core.executor import Executor
from matgraft.core.executor_settings import Lost
from matgraft.core.files import remove, whole
from matgraft.core.findings import Action, Finding
from matgraft.core.frozen import Frozen
from matgraft.core.processes import bar, cores, map_in_processes
from matgraft.core.report.document import Block, Text
from matgraft.core.run_folder import RunFile
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen
from matgraft.potentials.checks.structures import Structure
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.simulation.subject import Subject

OBSERVATIONS = "observations"
TO_LABEL = "to-label"


class Result(Frozen):
    """A finding with what it rests on.

    Attributes
    ----------
    own, foundation
        Files of what was observed of the model and of its foundation; empty where there is none.
    uncompared
        Why the foundation could not be observed; empty where it was, or where there is none.
    """

    finding: Finding
    own: str = ""
    foundation: str = ""
    uncompared: str = ""


@dataclass(frozen=True)
class _Task:
    check: PhysicalCheck[Any]
    case: Case
    subject: Subject

    @property
    def file(self) -> RunFile[Any]:
        key = self.check.key(self.subject, self.case)
        return RunFile(f"{OBSERVATIONS}/{self.check.code}-{key}.json", self.check.observation, indent=None)

    def kept(self, folder: Path) -> Frozen | None:
        """Return the observation that is there; one that cannot be read is made anew."""
        try:
            return self.file.find(folder)
        except RunError:
            return None


@dataclass(frozen=True)
class Elsewhere:
    """Workers that do not share the memory of this process, and how they come by models.

    Attributes
    ----------
    load
        Functions that a worker can import, of the model and its foundation; each is called once a worker.
    """

    pool: Executor
    load: tuple[Callable[[], Subject], ...]

    def observe(self, tasks: Sequence[_Task], case: Case, folder: Path, progress: str) -> list[str]:
        """Observe, and return for each task why it broke off."""
        frames = Dataset(tuple(case.frames), case.frames.provenance)  # a store's file may be out of a node's sight
        function = partial(_observe_elsewhere, self.load, replace(case, frames=frames), folder.resolve())
        said = [""] * len(tasks)
        with bar(progress, len(tasks)) as advance:

            def done(i: int, why: str | Lost) -> None:
                said[i] = f"{tasks[i].subject.name}: {why.reason}" if isinstance(why, Lost) else why
                advance()

            self.pool.run(function, [(one.check, one.case.structure, one.subject.key) for one in tasks], done)
        return said


def _observe_elsewhere(
    load: Sequence[Callable[[], Subject]],
    case: Case,
    folder: Path,
    order: tuple[PhysicalCheck[Any], Structure | None, str],
) -> str:
    check, structure, key = order
    for subject in map(_loaded, load):
        if subject.key == key:
            return _observe(_Task(check, replace(case, structure=structure), subject), folder)
    return "a worker loaded another model than this process did: its files were changed meanwhile"


@lru_cache(maxsize=2)
def _loaded(load: Callable[[], Subject]) -> Subject:
    return load()


def _observe(task: _Task, folder: Path) -> str:
    """Observe and keep what was seen, or return why it broke off."""
    try:
        seen = task.check.observe(task.subject, task.case)
    except Exception as error:  # whatever a calculator raises: the other checks go on
        task.subject.forget()
        return f"{task.subject.name}: {_said(error)}"
    task.file.write(folder, seen)  # a full disk is no fault of the model's
    return ""


def run_physical(
    checks: Sequence[PhysicalCheck[Any]],
    subject: Subject,
    foundation: Subject | None,
    case: Case,
    folder: Path,
    *,
    progress: str = "",
    processes: int | None = None,
    elsewhere: Elsewhere | None = None,
) -> list[Result]:
    """Run checks.

    Parameters
    ----------
    foundation
        Observed as well, for comparison.
    case
        All structures, none in turn.
    folder
        Where observations are kept, and structures to label are written.
    progress
        Title of a progress bar; none if empty.
    processes
        Default: one a core.
    elsewhere
        Takes the place of processes of this machine.
    """
    pairs = [(check, one) for check in checks for one in _cases(check, case)]
    reasons = {i: check.why_not(subject, one) for i, (check, one) in enumerate(pairs)}
    able = [pair for i, pair in enumerate(pairs) if not reasons[i]]
    models = [subject, *([foundation] if foundation is not None else [])]
    tasks = [
        _Task(check, one, model)
        for check, one in able
        for model in (models if check.beside_foundation else models[:1])
        if not check.why_not(model, one)
    ]
    missing = sorted((one for one in tasks if one.kept(folder) is None), key=lambda one: -one.check.cost)

    (folder / OBSERVATIONS).mkdir(parents=True, exist_ok=True)

    if elsewhere is not None:
        said = elsewhere.observe(missing, case, folder, progress)
    else:

        def observe(i: int) -> str:  # tasks reach a forked worker with its memory: networks are not pickled
            return _observe(missing[i], folder)

        said = map_in_processes(observe, range(len(missing)), cores() if processes is None else processes, progress)
    told = zip(missing, said, strict=True)
    broken: Broken = {(id(task.check), task.case.structure, task.subject.key): why for task, why in told if why}
    results = []
    for i, (check, one) in enumerate(pairs):
        if reasons[i]:
            results.append(Result(finding=check.unable(one, "not applicable", reasons[i])))
        elif why := broken.get((id(check), one.structure, subject.key)):
            results.append(Result(finding=check.unable(one, "errored", why)))
        else:
            result = _judge([_Task(check, one, model) for model in models], folder)
            why = _uncompared(check, one, foundation, broken) if foundation and not result.foundation else ""
            results.append(result.model_copy(update={"uncompared": why}))
    return results


Broken = Mapping[tuple[int, Structure | None, str], str]
"""Check, structure and key of a model -> why the observation broke off."""


def _uncompared(check: PhysicalCheck[Any], case: Case, foundation: Subject, broken: Broken) -> str:
    return check.why_not(foundation, case) or broken.get((id(check), case.structure, foundation.key), "")


def figures_of(check: PhysicalCheck[Any], result: Result, case: Case, folder: Path) -> Sequence[Block]:
    """Return what the page shows of a result, from what was kept, or why that cannot be read."""
    if not result.own:
        return ()
    try:
        own, foundation = (
            RunFile(name, check.observation).read(folder) if name else None for name in (result.own, result.foundation)
        )
    except RunError as error:
        return (without_plots(error),)
    return tuple(check.figures(Seen(own, foundation), case))


def without_plots(error: MatgraftError) -> Text:
    """Say why there are no plots."""
    return Text(f"{error.where}: {error.found}", "nothing", mark="No plots:")


def _cases(check: PhysicalCheck[Any], case: Case) -> Iterable[Case]:
    if check.scope == "all":
        return [replace(case, structure=None)]
    return [replace(case, structure=one) for one in case.structures]


def _judge(tasks: Sequence[_Task], folder: Path) -> Result:
    """Judge what was observed of the model, the first of the tasks, beside its foundation."""
    check, case = tasks[0].check, tasks[0].case
    own, *others = (task.kept(folder) for task in tasks)
    if own is None:
        return Result(finding=check.unable(case, "errored", "its observation cannot be read back"))
    beside = others[0] if others else None
    seen: Seen[Any] = Seen(own, beside)
    try:
        finding = check.judge(seen, case)
        remove(folder / _file_to_label(finding))  # of an earlier failure
        if finding.outcome == "failed":
            finding = _with_structures(check, seen, case, finding, folder)
    except (ValueError, ArithmeticError, LookupError) as error:
        return Result(finding=check.unable(case, "errored", _said(error)))
    return Result(finding=finding, own=tasks[0].file.name, foundation=tasks[1].file.name if beside is not None else "")


def _with_structures(check: PhysicalCheck[Any], seen: Seen[Any], case: Case, finding: Finding, folder: Path) -> Finding:
    """Write the structures whose labels would help, and name their file in the finding."""
    structures = list(check.to_label(seen, case))
    if not structures:
        return finding
    name = _file_to_label(finding)
    (folder / TO_LABEL).mkdir(parents=True, exist_ok=True)
    with whole(folder / name) as path:
        write_frames(path, structures, format="extxyz")
    return finding.model_copy(update={"actions": (*finding.actions, Action(structures=name))})


def _file_to_label(finding: Finding) -> str:
    about = "".join(letter if letter.isalnum() else "-" for letter in finding.about)
    return f"{TO_LABEL}/{finding.code}{f'-{about}' if about else ''}.extxyz"


def _said(error: Exception) -> str:
    text = error.found if isinstance(error, MatgraftError) else str(error)
    return text if isinstance(error, MatgraftError) else f"{type(error).__name__}: {text}"[:500]
