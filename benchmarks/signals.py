"""Ctrl-C, SIGTERM and a closed terminal at many moments of every verb: exit code, seconds, what is left.

    python benchmarks/signals.py                      # every verb
    python benchmarks/signals.py --verbs tune audit --moments 0.5 4
    python benchmarks/signals.py --report

Moments are seconds of CPU time of the command: 0.1 is before or in the imports, 1 in those of torch, 4 in reading, then
in the work; a moment after the end of the command is left out. Signals go to all processes of the command, as those of
a terminal, in turn SIGINT, SIGTERM and SIGHUP. Looked at afterwards: the exit code (128 and the number), the lines on
standard error, seconds, partial files and locks, temporary files, processes. A run on a table is gone on with.
"""

from __future__ import annotations

import argparse
import getpass
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from common import HERE, RESULTS, Results, Row, circumstances, run, show

DATA = HERE.parent / "examples" / "data"
KEYS = ("verb", "moment", "signal")
MOMENTS = (0.1, 0.5, 1.0, 2.0, 4.0, 6.0, 9.0, 14.0)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST_S = 60.0
_CACHES = {f"torchinductor_{getpass.getuser()}"}
"""What torch keeps for later among temporary files."""
ENGINE = "calculator: ase.calculators.emt:EMT\nworkers: 2\n"
VERBS = {
    "tune": "tune few.extxyz --from chgnet --strategy full fit.processes=2 fit.epochs=50 --out out",
    "tune on a table": "tune small.csv --target formation_energy --out out",
    "crossval": "crossval small.csv --target formation_energy -o out.csv",
    "audit": "audit few.extxyz --from chgnet",
    "pack": "pack few.extxyz few.extxyz few.extxyz -o out.h5",
    "check": "check chgnet --structure si.cif --suite crystal -o out",
    "sample": "sample chgnet --structure si.cif --md nvt --walkers 4 --ps 5 --workers 2 -o out.extxyz",
    "label": "label cu.extxyz --engine engine.yaml --store out -o labelled.extxyz",
    "predict": "predict chgnet few.extxyz -o out.extxyz",
    "report": "report form",
    "export": "export si --to ase -o out",
}
"""Verb -> its command in the folder that `prepare` makes."""


RUNS = {
    "export": ("si", "tune few.extxyz --from chgnet --strategy feature --out si --quiet"),
    "report": ("form", "tune small.csv --target formation_energy --strategy descriptors --out form --quiet"),
}
"""Verb -> the finished run that it needs, and the command that makes it."""


def prepare(folder: Path, verbs: Sequence[str]) -> None:
    """Write what the commands read."""
    from ase.build import bulk
    from ase.io import read, write

    frames = read(DATA / "sige" / "frames.extxyz", ":")
    write(folder / "few.extxyz", frames[:24])
    write(folder / "si.cif", bulk("Si", cubic=True))
    copper = [bulk("Cu", cubic=True) * (1, 1, 1 + i % 2) for i in range(60)]
    for i, atoms in enumerate(copper):
        atoms.rattle(0.05, seed=i)
    write(folder / "cu.extxyz", copper)
    (folder / "engine.yaml").write_text(ENGINE)
    lines = (DATA / "formation" / "formation_energies.csv").read_text().splitlines()
    (folder / "small.csv").write_text("\n".join(lines[:120]) + "\n")
    for name, words in (RUNS[verb] for verb in verbs if verb in RUNS):
        if not (folder / name).exists():
            subprocess.run([sys.executable, "-m", "matgraft", *words.split()], cwd=folder, check=False)


def try_one(folder: Path, verb: str, moment: float, number: signal.Signals) -> Row | None:
    """Send one signal; return what came of it, or None where the command had ended before."""
    for old in folder.glob("out*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as said:
        words = [sys.executable, "-m", "matgraft", *VERBS[verb].split()]
        process = subprocess.Popen(
            words, cwd=folder, env=os.environ | {"TMPDIR": scratch}, stdout=subprocess.DEVNULL, stderr=said,
            start_new_session=True,
        )  # fmt: skip
        watched = psutil.Process(process.pid)
        while process.poll() is None and sum(watched.cpu_times()[:4]) < moment:
            time.sleep(0.01)
        if process.poll() is not None:
            return None
        below = watched.children(recursive=True)
        began = time.monotonic()
        os.killpg(process.pid, number)
        try:
            code = process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        seconds = time.monotonic() - began
        _, alive = psutil.wait_procs(below, timeout=1)
        said.seek(0)
        lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
        left = [one for one in folder.rglob(".*") if ".part." in one.name or ".lock" in one.name]
        return {
            "verb": verb,
            "moment": moment,
            "signal": number.name,
            "code": code,
            "right_code": code == 128 + number,
            "seconds": round(seconds, 2),
            "lines": lines[-4:],
            "one_line": len(lines) == 1,
            "left_files": [str(one.relative_to(folder)) for one in left]
            + [one.name for one in Path(scratch).iterdir()],
            "left_processes": len([one for one in alive if one.status() != psutil.STATUS_ZOMBIE]),
            "resumes": resumes(folder, verb, lines),
        }


def resumes(folder: Path, verb: str, lines: Sequence[str]) -> bool | None:
    """Say whether a run of a table, the only one that is quick, goes on to its end; None where it is not tried."""
    if verb != "tune on a table" or not any("--resume out" in line for line in lines):
        return None
    words = [sys.executable, "-m", "matgraft", "tune", "--resume", "out", "--quiet"]
    return subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode in (0, 6)


def report(rows: Sequence[Row]) -> None:
    """Print one line a verb."""
    columns = ("verb", "moments", "worst s", "codes", "one line", "files left", "processes left", "goes on")
    body = []
    for verb in dict.fromkeys(str(row["verb"]) for row in rows):
        own = [row for row in rows if row["verb"] == verb]
        tried = [row["resumes"] for row in own if row["resumes"] is not None]
        body.append(
            (
                verb, str(len(own)), f"{max(row['seconds'] for row in own):.1f}",
                f"{sum(row['right_code'] for row in own)}/{len(own)}",
                f"{sum(row['one_line'] for row in own)}/{len(own)}",
                str(sum(len(row["left_files"]) for row in own)), str(sum(row["left_processes"] for row in own)),
                f"{sum(tried)}/{len(tried)}" if tried else "-",
            )
        )  # fmt: skip
    show("Signals", columns, body)


def main() -> None:
    """Send signals to commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verbs", nargs="*", default=list(VERBS), choices=list(VERBS))
    parser.add_argument("--moments", nargs="*", type=float, default=MOMENTS)
    parser.add_argument("--folder", type=Path, help="kept between calls; default: a temporary one")
    parser.add_argument("--out", type=Path, default=RESULTS / "signals.json")
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    results = Results(asked.out, keys=KEYS)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup lets all commands ignore it, and ours respect that
    if not asked.report:
        folder = asked.folder or Path(tempfile.mkdtemp())
        folder.mkdir(exist_ok=True)
        prepare(folder, asked.verbs)
        numbers = itertools.cycle(SIGNALS)
        for verb in asked.verbs:
            for moment in asked.moments:
                if (row := try_one(folder, verb, moment, number := next(numbers))) is not None:
                    results.put(row | circumstances())
                    print({**row, "signal": number.name}, flush=True)
    report(results.rows)


if __name__ == "__main__":
    run(main)
