"""Tasks of one pool, done wherever there are workers; what is finished is kept beside the pool until it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

from matgraft.core.errors import OptionError, RunError
from matgraft.core.executor import Serial, executor
from matgraft.core.executor_settings import ExecutorSettings, Lost
from matgraft.core.files import remove
from matgraft.core.locks import locked_file
from matgraft.core.processes import bar
from matgraft.core.run_folder import RunFile, made_folder, unused
from matgraft.core.signals import AGAIN, goes_on_by
from matgraft.core.targets import is_stream
from matgraft.potentials.active.sampling.sampled import Finished
from matgraft.potentials.active.sampling.tasks import Task, carry_out

BEGAN = RunFile("began.json", dict[str, JsonValue])
"""What the finished tasks beside a pool were begun with."""


@contextmanager
def parts(out: Path, decides: Mapping[str, JsonValue]) -> Iterator[Path]:
    """Make the folder of what is finished, or go on with it; it goes where the block ends without an error.

    Parameters
    ----------
    out
        The pool; of a stream the folder lies in the current one.
    decides
        By role, what decides the frames.

    Raises
    ------
    OptionError
        If it was begun with something else.
    """
    folder = (Path(out.name) if is_stream(out) else out).with_name(f"{out.name}.parts")
    before = BEGAN.find(folder)
    if before is not None and before != dict(decides):
        changed = [name for name in decides if before.get(name) != decides[name]]
        raise OptionError(
            f"{folder} holds what an earlier command finished, with other values of {', '.join(changed)}",
            remedy="type that command again to go on with it, remove the folder, or take another name",
            options=[{"--out": unused(out)}],
        )
    goes_on_by(lambda: AGAIN)
    with locked_file(out), made_folder(folder):
        BEGAN.write(folder, dict(decides))
        yield folder
    remove(folder)


def finish_tasks(
    tasks: Sequence[Task], folder: Path, where: ExecutorSettings | None, *, quiet: bool
) -> tuple[list[Finished], dict[str, str]]:
    """Do what is not finished.

    Parameters
    ----------
    where
        None for this process.

    Returns
    -------
    finished, lost
        In the order of the tasks; name of a task -> why nothing, or not all, came of it.
    """
    lost: dict[str, str] = {}
    missing = [i for i in range(len(tasks)) if _kept(folder, i) is None]
    title = "" if quiet else "walkers and kinds of structures"
    with bar(title, len(tasks), len(tasks) - len(missing)) as advance:

        def done(k: int, result: Finished | Lost) -> None:
            if isinstance(result, Lost):
                lost[tasks[missing[k]].name] = result.reason
            else:
                _file(missing[k]).write(folder, result)
            advance()

        todo = [tasks[i] for i in missing]
        if where is None or len(todo) < 2:  # a process takes longer to begin than most tasks
            Serial().run(carry_out, todo, done)
        else:
            with executor(where, folder) as pool:
                pool.run(carry_out, todo, done)
    found = {i: one for i in range(len(tasks)) if (one := _kept(folder, i)) is not None}
    lost |= {tasks[i].name: one.failed for i, one in found.items() if one.failed}
    return list(found.values()), lost


def _file(number: int) -> RunFile[Finished]:
    return RunFile(f"task-{number:04d}.json", Finished, indent=None)


def _kept(folder: Path, number: int) -> Finished | None:
    """Return what a task left; one that cannot be read is done anew."""
    try:
        return _file(number).find(folder)
    except RunError:
        return None
