"""The process that computes: it holds one calculator, and answers one frame after another.

    python -P -m matgraft.potentials.active.labelling.child     # begun by `server`, spoken to through pipes

It is the first of a session of its own, so that whatever it begins can be ended with it. What the calculator prints
goes to standard error: the pipe of the answers belongs to nobody else. Should the process that asks be killed, the pipe
of the questions closes, and a thread that watches it ends the whole session. A program that a launcher began in another
session, and whose launcher is gone, is this process's own child then, and ends with it too.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.calculators.genericfileio import GenericFileIOCalculator

from matgraft.core.errors import MatgraftError
from matgraft.core.orphans import adopt_orphans
from matgraft.potentials.active.labelling.calculators import Maker
from matgraft.potentials.active.labelling.engine import Engine
from matgraft.potentials.active.labelling.messages import Answer, Ask, Begin, Ready, atoms_of
from matgraft.potentials.active.labelling.outcome import (
    FailedError,
    FoundLabel,
    asked_of,
    complaint_in,
    found_in,
    of_calculator,
    output_in,
    refuse_unsound,
)
from matgraft.potentials.active.labelling.session import end_session
from matgraft.potentials.active.labelling.wire import Arrays, receive, send_message


def answer_questions() -> None:
    """Answer until the pipe of the questions is closed."""
    adopt_orphans()
    questions, answers = _own_pipes()
    threading.Thread(target=_end_with_parent, args=[questions], daemon=True).start()
    begin, _ = receive(questions, Begin)
    folder = Path.cwd()
    sys.path.insert(0, begin.here)  # as `python -m` finds modules of the folder that the user stands in
    try:
        maker = Maker(begin.engine, folder)
        made = maker(Atoms("H"))
    except MatgraftError as error:
        send_message(answers, Ready(refused=error.found))
        return
    except Exception as error:  # whatever a vendor's constructor raises
        send_message(answers, Ready(refused=f"{type(error).__name__}: {error}"))
        return
    quantities = tuple(made.implemented_properties)
    send_message(answers, Ready(quantities=quantities))
    while True:
        try:
            ask, arrays = receive(questions, Ask)
        except EOFError:
            return
        _empty(folder)
        answer, label = answer_to(atoms_of(arrays, ask.tags), begin.engine, maker, folder)
        send_message(answers, answer, label)


def answer_to(atoms: Atoms, engine: Engine, maker: Maker, folder: Path) -> tuple[Answer, Arrays]:
    """Compute a frame; whatever goes wrong becomes a reason."""
    found, failed, again = None, "", True
    try:
        found = _computed(atoms, maker, folder, engine.max_force_eV_per_A)
    except FailedError as error:
        failed, again = str(error), error.again
    except Exception as error:  # whatever a vendor's code raises
        failed, again = _reason(error, folder, atoms)
    if failed:
        maker.forget()
    name, output = output_in(folder) if any(folder.iterdir()) else ("", b"")
    arrays = dict(found.labels) if found else {}
    if output:
        arrays["output"] = np.frombuffer(output, dtype=np.uint8)
    return Answer(failed=failed, again=again, theory=found.theory if found else None, output=name), arrays


def _computed(atoms: Atoms, maker: Maker, folder: Path, max_force: float) -> FoundLabel:
    calculator = maker(atoms)
    asked = asked_of(calculator.implemented_properties, atoms)
    if isinstance(calculator, GenericFileIOCalculator):  # its own reader is asked where there is none of ours
        calculator.write_inputfiles(atoms, list(asked))
        calculator.template.execute(folder, calculator.profile)
        found = found_in(folder, atoms)
        if found is None:
            calculator.results = _read_by_ase(calculator, folder)
    else:
        calculator.calculate(atoms, list(asked), list(all_changes))
        found = found_in(folder, atoms) if any(folder.iterdir()) else None
    found = found or of_calculator(calculator, asked)
    refuse_unsound(found.labels, atoms, asked, max_force)
    return found


def _read_by_ase(calculator: GenericFileIOCalculator, folder: Path) -> dict[str, object]:
    try:
        return dict(calculator.template.read_results(folder))
    except Exception as error:  # whatever ASE's reader raises on what is no output
        raise FailedError(f"its output cannot be read: {type(error).__name__} {error}".strip()) from error


def _reason(error: Exception, folder: Path, atoms: Atoms) -> tuple[str, bool]:
    """Say why a calculator raised; programs that stop without convergence say so in their output alone."""
    unread = ""
    try:
        _ = found_in(folder, atoms) if any(folder.iterdir()) else None
    except FailedError as failed:
        if not failed.again:
            return str(failed), False
    except Exception as unreadable:  # whatever a reader raises on half an output
        unread = f"; its output cannot be read: {type(unreadable).__name__}"
    complaint = complaint_in(folder)
    return f"{type(error).__name__}: {error}" + (f"; it said: {complaint}" if complaint else unread), True


def _own_pipes() -> tuple[int, int]:
    """Return the pipes of questions and answers, and keep them from whatever the calculator begins, reads or prints."""
    questions, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return questions, answers


def _end_with_parent(questions: int) -> None:
    """Wait until nobody can ask any more, which is told without reading, and end the session."""
    look = select.poll()
    look.register(questions, 0)
    look.poll()
    end_session(os.getpid())


def _empty(folder: Path) -> None:
    for one in folder.iterdir():
        shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()


if __name__ == "__main__":
    answer_questions()
