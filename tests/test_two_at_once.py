"""Whatever works in a folder is refused while another process does, before it looks at anything else."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from matgraft.core.errors import RunError
from matgraft.core.locks import locked, locked_file
from matgraft.formulas.evaluate import evaluate_table
from matgraft.formulas.few_shot.episodes import learn_metric
from matgraft.formulas.pretraining.run import pretrain, resume_pretraining
from matgraft.formulas.prompts.learning import learn_bank
from matgraft.formulas.report.page import write_property_report
from matgraft.formulas.report.pretraining import write_pretraining_report
from matgraft.formulas.suggest.suggest import keep_suggestions
from matgraft.formulas.tune import resume_table_run, tune_table
from matgraft.potentials.active.sampling.work import parts
from matgraft.potentials.data.pack import pack
from matgraft.potentials.exports import export
from matgraft.potentials.report.active import write_active_report
from matgraft.potentials.report.run import write_report
from matgraft.potentials.run import CheckQuestion, active, check, evaluate_run, resume_run, tune_frames

NOTHING: Any = None
IN_FOLDERS: dict[str, Callable[[Path], object]] = {
    "tune": lambda out: tune_frames(NOTHING, out),
    "tune --resume": lambda out: resume_run(out),
    "tune on a table": lambda out: tune_table(NOTHING, out),
    "tune --resume on a table": lambda out: resume_table_run(out),
    "pretrain": lambda out: pretrain(None, None, NOTHING, out),
    "pretrain --resume": lambda out: resume_pretraining(out),
    "episodes": lambda out: learn_metric(NOTHING, NOTHING, NOTHING, out),
    "prompts": lambda out: learn_bank(NOTHING, NOTHING, NOTHING, out),
    "active": lambda out: active(NOTHING, out),
    "export": lambda out: export(NOTHING, "ase", out),
    "check": lambda out: check(EMT(), CheckQuestion(out=out)),
    "evaluate": lambda out: evaluate_run(out, NOTHING),
    "evaluate a head": lambda out: evaluate_run(Path(f"{out}#PBE"), NOTHING),
    "evaluate on a table": lambda out: evaluate_table(out, NOTHING),
    "suggest": lambda out: keep_suggestions(out, NOTHING),
    "report": lambda out: write_report(out),
    "report of a table": lambda out: write_property_report(out),
    "report of a pretraining": lambda out: write_pretraining_report(out),
    "report of a loop": lambda out: write_active_report(out),
}


def _hold(folder: Path, file: Path, ready: multiprocessing.synchronize.Event) -> None:
    with locked(folder), locked_file(file):
        ready.set()
        signal.pause()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that another process works in, which also writes busy.h5 beside it."""
    folder = tmp_path_factory.mktemp("busy")
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_hold, args=(folder, folder.with_suffix(".h5"), ready))
    process.start()
    assert ready.wait(60)
    yield folder
    process.kill()
    process.join()


@pytest.mark.parametrize("verb", IN_FOLDERS)
def test_a_folder_in_which_another_process_works(busy: Path, verb: str) -> None:
    with pytest.raises(RunError, match="another process works in it"):
        IN_FOLDERS[verb](busy)


def test_a_file_that_another_process_writes(busy: Path, tmp_path: Path) -> None:
    write(tmp_path / "frames.extxyz", bulk("Si"))
    with pytest.raises(RunError, match="another process works in it"):
        pack(tmp_path / "frames.extxyz", busy.with_suffix(".h5"), want=())
    with pytest.raises(RunError, match="another process works in it"), parts(busy.with_suffix(".h5"), {}):
        pass
