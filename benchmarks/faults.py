"""Kills, full disks and rivals at every moment of a command: what is left, and whether it is gone on with to the same.

    python benchmarks/faults.py                                  # every verb, 40 trials a fault
    python benchmarks/faults.py --verbs pack --faults kill --trials 400
    python benchmarks/faults.py --report

| fault | what is done |
| --- | --- |
| kill | SIGKILL at a change of a file or folder: each in turn, where there are no more of them than trials |
| moment | the system ends the process after so much CPU time, drawn at random, in compiled code as well |
| chain | killed at a random change, gone on with and killed again, four times |
| full | a disk (tmpfs) runs full at a change, but for 0, 1 or 10 pages; room is made, and it is gone on with |
| worker | a worker process is killed at a change of its own, or after so many seconds |
| two | the command is begun twice at once, within a few milliseconds |

A command is gone on with by ``matgraft ... --resume out``, or typed again. Then every file of the folder is that of an
undisturbed run, byte by byte, but for seconds, dates and numbers of processes; of checkpoints the tensors are compared.
Between the two, `matgraft verify` finds no file that is changed, torn or missing; no part and no lock is left at last.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from _faults import FILLER, Ended, Fault, begin, end, run_command, watch, work_apart
from common import HERE, RESULTS, Results, Row, circumstances, prepare, run, show

from matgraft.core import manifest
from matgraft.core.errors import RunError
from matgraft.core.files import is_part
from matgraft.core.locks import is_lock
from matgraft.core.run_folder import UNFINISHED, resume_commands
from matgraft.core.training.checkpoint import FILE as CHECKPOINT
from matgraft.formulas.learners import forest, inputs
from matgraft.formulas.predictor import inner, predictor
from matgraft.potentials.run.verify import verify

DATA = HERE.parent / "examples" / "data"
KEYS = ("verb", "fault")
FAULTS = ("kill", "moment", "chain", "full", "worker", "two")
OUT = "disk/out"
FIT = "split.validation=0.2 forgetting.size=8 fit.checkpoint_minutes=0.00001"
TABLE = "table.csv --target gap --from encoder"


class Command(NamedTuple):
    """A command that is disturbed.

    Attributes
    ----------
    words
        Typed where frames, tables, an encoder and the finished runs ``si`` and ``form`` lie.
    before
        What lies at `OUT` then.
    """

    words: str
    before: str = ""


COMMANDS = {
    "tune": Command(f"tune few.extxyz --from chgnet --strategy full fit.processes=1 fit.epochs=2 {FIT} --out {OUT}"),
    "tune, two processes": Command(
        f"tune few.extxyz --from chgnet --strategy full fit.processes=2 fit.epochs=2 {FIT} --out {OUT}"
    ),
    "tune on a table": Command(
        f"tune {TABLE} --target modulus --strategy full inner_folds=2 network.epochs=3 network.fewest_steps=3 "
        f"--out {OUT}"
    ),
    "pack": Command(f"pack few.extxyz -o {OUT}.h5"),
    "export": Command(f"export si --to ase -o {OUT}"),
    "report": Command(f"report {OUT}", before="si"),
    "report on a table": Command(f"report {OUT}", before="form"),
    "crossval": Command(f"crossval {TABLE} --strategy descriptors inner_folds=2 --folds 2 -o {OUT}.csv"),
}
FINISHED = {"si": "tune", "form": "tune on a table"}
"""A finished run -> the command that makes it."""
WITH_WORKERS = ("tune, two processes",)
DONE = (0, 1, 6)
"""Exit codes of commands that have ended: a toy need not be a good model."""
IS_THERE = 2
"""Exit code where a command was killed after its last write, and is typed again: its result is there."""
TREES = 4


class Bench:
    """A working folder with a small disk in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.disk = folder, folder / "disk"
        self.chance = random.Random(0)
        write_inputs(folder)
        watch()
        forest.COUNT = TREES
        for room in (inputs, inner, predictor):
            room.cores = lambda: 1  # pools cost more than the toy
        for name, verb in FINISHED.items():
            self._finish(name, verb)

    def _finish(self, name: str, verb: str) -> None:
        """Make a finished run that other commands read, and import what its command imported."""
        with self.mounted():
            if not (self.folder / name).exists():
                ended = self.type_words(COMMANDS[verb].words)
                assert ended.code in DONE, ended.said
                shutil.copytree(self.folder / OUT, self.folder / name)

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Have an empty disk of 64 MB."""
        self.disk.mkdir(exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", "size=192m", "tmpfs", str(self.disk)]
        subprocess.run(words, check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(self.disk)], check=True)

    def clear(self, command: Command) -> None:
        """Empty the disk, and lay there what the command finds."""
        for one in self.disk.iterdir():
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        if command.before:
            shutil.copytree(self.folder / command.before, self.folder / OUT)

    def type_words(self, words: str, fault: Fault = Fault()) -> Ended:  # noqa: B008
        """Type a command."""
        return run_command([*words.split(), *quiet(words)], self.disk, fault, self.folder)


def quiet(words: str) -> list[str]:
    """Return the option that leaves progress bars out, where a command has it."""
    return ["--quiet"] if words.startswith("tune") else []


def write_inputs(folder: Path) -> None:
    """Write frames, a table and a small encoder."""
    import numpy as np
    import pandas as pd
    from ase.io import read, write

    from matgraft.core.registry import save_folder
    from matgraft.formulas.encoder import CompositionBackbone

    write(folder / "few.extxyz", read(DATA / "sige" / "frames.extxyz", ":")[::9])
    shutil.copy(DATA / "sige" / "frames.yaml", folder / "few.yaml")
    if not (folder / "encoder").exists():
        small = CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16, property_names=("a", "b"))
        save_folder(small, folder / "encoder")
    rng = np.random.default_rng(0)
    anions = {"O": 2.0, "S": 1.0, "F": 4.0, "Cl": 3.0}
    metals = ("Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Ni", "Zn", "Al")
    rows = [
        (f"{metal}{n}{anion}", value + rng.normal(0, 0.1), 2 * value + rng.normal(0, 0.1))
        for metal in metals for anion, value in anions.items() for n in (1, 2)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["formula", "gap", "modulus"]).sample(frac=1, random_state=0)
    table[:40].to_csv(folder / "table.csv", index=False)


# --- what is left ----------------------------------------------------------------------------------------------------


class Left(NamedTuple):
    """What a disk holds.

    Attributes
    ----------
    wrong
        Files that `matgraft verify` calls changed or missing, or that are torn under their own name.
    passing
        Parts, locks and temporary folders.
    standing
        Results that the manifest knows to be whole.
    goes_on
        What goes on with the run in `OUT`; empty where the command is typed again.
    content
        File -> hash; of checkpoints that of the tensors.
    """

    wrong: list[str]
    passing: list[str]
    standing: list[str]
    goes_on: str
    content: dict[str, str]


def left_on(disk: Path) -> Left:
    """Look at what is there, in a process of its own."""
    return Left(*work_apart(lambda: _look(disk)))


def _look(disk: Path) -> Left:
    out, wrong, standing = disk / "out", [], []
    files = sorted(one for one in disk.rglob("*") if one.is_file() and one.name != FILLER)
    passing = [str(one.relative_to(disk)) for one in files if is_part(one) or is_lock(one)]
    files = [one for one in files if not is_part(one) and not is_lock(one)]
    if (out / manifest.FILE).exists():
        state = verify(out)
        wrong += [one for one in (*state.changed, *state.missing) if one != UNFINISHED]  # which says what to do
        passing += [f"unknown: {one}" for one in state.unknown]
        for root in (one.parent for one in out.rglob(manifest.FILE)):
            listed = manifest._listed(root)
            standing += [str((root / name).relative_to(disk)) for name, said in listed.items() if said.is_settled]
    elif (out / "run.json").exists():
        wrong.append("run.json without a manifest")
    for store in (one for one in files if one.suffix == ".h5" and one.parent == disk):
        wrong += [] if verify(store).is_whole else [store.name]
    commands = resume_commands(out)
    content = {str(one.relative_to(disk)): _hash(one) for one in files if one.name != manifest.FILE}
    return Left(wrong, passing, standing, " ".join(commands[0][1:]) if commands else "", content)


def _hash(file: Path) -> str:
    if file.name != CHECKPOINT:
        return manifest.file_sha256(file)
    digest = hashlib.sha256()
    for tensor in torch.load(file, weights_only=True)["weights"]:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


# --- trials ----------------------------------------------------------------------------------------------------------


class Undisturbed(NamedTuple):
    """A command that nothing disturbs."""

    ended: Ended
    content: Mapping[str, str]
    varies: frozenset[str]

    def differs(self, content: Mapping[str, str]) -> list[str]:
        """Return the files that are not as they are without a fault."""
        lacking = [name for name, one in self.content.items() if name not in self.varies and content.get(name) != one]
        return lacking + sorted(set(content) - set(self.content))


def undisturbed(bench: Bench, command: Command) -> Undisturbed:
    """Run a command twice: what differs between the two holds seconds or dates, and is not compared."""
    found = []
    for _ in range(2):
        bench.clear(command)
        ended = bench.type_words(command.words)
        assert ended.code in DONE, ended.said
        found.append((ended, left_on(bench.disk).content))
    (_, first), (ended, second) = found
    assert set(first) == set(second), set(first) ^ set(second)
    return Undisturbed(ended, second, frozenset(name for name in first if first[name] != second[name]))


class Trial(NamedTuple):
    """What a fault came to; texts are empty where nothing is wrong."""

    hit: bool
    opens: str = ""
    resumes: str = ""
    differs: str = ""
    lost: str = ""
    leaves: str = ""
    traceback: str = ""

    @property
    def wrong(self) -> str:
        """Everything that is wrong."""
        return "; ".join(f"{name}: {said}" for name, said in self._asdict().items() if name != "hit" and said)


def disturbed(bench: Bench, command: Command, whole: Undisturbed, faults: Sequence[Fault]) -> Trial:
    """Break a command off, once or several times, look, and go on with it."""
    bench.clear(command)
    words, hits, torn = command.words, 0, ""
    opens: list[str] = []
    standing: set[str] = set()
    for fault in faults:
        ended = bench.type_words(words, fault)
        (bench.disk / FILLER).unlink(missing_ok=True)
        torn += traceback_in(ended, fault)
        if ended.code == whole.ended.code:
            break
        hits += 1
        left = left_on(bench.disk)
        opens += left.wrong
        standing |= set(left.standing)
        words = command.words if command.before else left.goes_on or command.words
    if not hits:
        return Trial(hit=bool(torn), traceback=torn)
    ended = bench.type_words(words)
    left = left_on(bench.disk)
    differs = whole.differs(left.content)
    is_done = ended.code == whole.ended.code or (ended.code == IS_THERE and not differs)
    lost = [name for name in standing if name not in left.content and "/checkpoints/" not in name]
    return Trial(
        hit=True,
        opens=", ".join(opens),
        resumes="" if is_done else f"`{words}` ended with {ended.code}: {ended.said[-600:]}",
        differs=", ".join(differs),
        lost=", ".join(lost),
        leaves=", ".join((*left.passing, *left.wrong)),
        traceback=torn + traceback_in(ended, Fault()),
    )


def traceback_in(ended: Ended, fault: Fault) -> str:
    """Return what a command said where that is no sentence, or where a machine's failure has another exit code."""
    if "Traceback" in ended.said or ended.code in (98, 99):
        return ended.said[-2500:]
    if fault.kind in ("full", "worker") and ended.code not in (*DONE, RunError.exit_code):
        return f"exit code {ended.code}: {ended.said[-500:]}"
    return ""


def rivals(bench: Bench, command: Command, whole: Undisturbed) -> Trial:
    """Type a command twice at once: one of them works, the other says so, or does the same after it."""
    bench.clear(command)
    words = [*command.words.split(), *quiet(command.words)]
    first = begin(words, bench.disk, Fault(), bench.folder)
    time.sleep(bench.chance.choice((0, 0, bench.chance.uniform(0, 0.05), bench.chance.uniform(0, whole.ended.seconds))))
    second = begin(words, bench.disk, Fault(), bench.folder)
    both = [end(first), end(second)]
    codes = sorted(one.code for one in both)
    said = " | ".join(one.said[-300:] for one in both)
    allowed = {whole.ended.code, RunError.exit_code, IS_THERE}
    left = left_on(bench.disk)
    return Trial(
        hit=True,
        resumes="" if whole.ended.code in codes and set(codes) <= allowed else f"{codes}: {said}",
        differs=", ".join(whole.differs(left.content)),
        leaves=", ".join((*left.passing, *left.wrong)),
        traceback=said if "Traceback" in said else "",
    )


def faults_of(kind: str, bench: Bench, whole: Undisturbed, trials: int) -> Iterator[list[Fault]]:
    """Yield what is done in each trial."""
    chance, count = bench.chance, len(whole.ended.moments)
    moments = list(range(count)) if count <= trials else sorted(chance.sample(range(count), trials))
    for i in range(trials):
        at = moments[i % len(moments)]
        if kind == "kill":
            if i >= len(moments):
                return
            yield [Fault("kill", at)]
        elif kind == "moment":
            yield [Fault("cpu", chance.uniform(0.0, whole.ended.seconds))]
        elif kind == "chain":
            yield [Fault("kill", chance.randrange(count)) for _ in range(4)]
        elif kind == "full":
            yield [Fault("full", at, room=chance.choice((0, 4096, 40960)))]
        elif kind == "worker":
            yield [Fault("worker", chance.uniform(0.0, 2.0))]


def measure(bench: Bench, verb: str, kind: str, trials: int, whole: Undisturbed, results: Results) -> None:
    """Try a fault many times; what has been found is written after each."""
    hit: list[Trial] = []
    for said, one in trials_of(bench, verb, kind, trials, whole):
        if one.wrong:
            print(f"{verb}, {kind}: {said}\n  {one.wrong}", flush=True)
        if one.hit:
            hit.append(one)
            results.put({"verb": verb, "fault": kind, **summary(hit, whole)} | circumstances())
    print(f"{verb}, {kind}: {len(hit)} trials, {sum(not one.wrong for one in hit)} without anything wrong", flush=True)


def trials_of(bench: Bench, verb: str, kind: str, trials: int, whole: Undisturbed) -> Iterator[tuple[list[str], Trial]]:
    """Yield what was done in each trial, and what it came to."""
    command = COMMANDS[verb]
    if kind == "two":
        for _ in range(trials):
            yield ["two at once"], rivals(bench, command, whole)
        return
    for faults in faults_of(kind, bench, whole, trials):
        yield [f"{one}: {moment_of(whole, one)}" for one in faults], disturbed(bench, command, whole, faults)


def summary(hit: Sequence[Trial], whole: Undisturbed) -> Row:
    """Return how many trials went well, and what went wrong in the first others."""
    return {
        "moments": len(whole.ended.moments),
        "trials": len(hit),
        "open": sum(not one.opens for one in hit),
        "resumed": sum(not one.resumes for one in hit),
        "same": sum(not one.differs for one in hit),
        "lost": sum(bool(one.lost) for one in hit),
        "left": sum(bool(one.leaves) for one in hit),
        "tracebacks": sum(bool(one.traceback) for one in hit),
        "not_compared": sorted(whole.varies),
        "wrong": [one.wrong[:400] for one in hit if one.wrong][:5],
    }


def moment_of(whole: Undisturbed, fault: Fault) -> str:
    """Say what a moment is."""
    return whole.ended.moments[int(fault.at)] if fault.kind in ("kill", "full") else f"{fault.at:.3f} s"


def report(rows: Sequence[Row], *, as_markdown: bool) -> None:
    """Print a line a verb and a fault."""
    head = ("verb", "fault", "trials", "opens", "gone on with", "the same", "lost", "left over", "tracebacks")
    names = ("trials", "open", "resumed", "same", "lost", "left", "tracebacks")
    lines = [[str(row["verb"]), str(row["fault"]), *(str(row[name]) for name in names)] for row in rows]
    lines.append(["all", "", *(str(sum(row[name] for row in rows)) for name in names)])
    show("Kills, full disks and rivals", head, lines if rows else [], as_markdown=as_markdown)


def main() -> None:
    """Disturb commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verbs", nargs="*", default=list(COMMANDS), choices=list(COMMANDS))
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=FAULTS)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept between calls; default: a temporary one")
    parser.add_argument("--out", type=Path, default=RESULTS / "faults.json")
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    results = Results(asked.out, KEYS)
    if not asked.report:
        if os.geteuid():
            sys.exit("a disk that runs full is mounted by root alone")
        prepare()
        folder = asked.folder or Path(tempfile.mkdtemp())
        folder.mkdir(exist_ok=True)
        bench = Bench(folder)
        bench.chance.seed(asked.seed)
        for verb in asked.verbs:
            with bench.mounted():
                whole = undisturbed(bench, COMMANDS[verb])
                print(f"{verb}: {len(whole.ended.moments)} moments, {whole.ended.seconds:.2f} s", flush=True)
                for kind in asked.faults:
                    if kind != "worker" or verb in WITH_WORKERS:
                        measure(bench, verb, kind, asked.trials, whole, results)
    report(results.rows, as_markdown=asked.report)


if __name__ == "__main__":
    run(main)
