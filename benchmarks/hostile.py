"""Hostile and broken inputs: what comes of each, with the time and the memory that it takes.

    python benchmarks/hostile.py                       # every kind, 10 to 60 minutes
    python benchmarks/hostile.py --only formulas       # kinds, or cases, whose name has this in it

All inputs are made here, two small runs included. Each is given to the command line or to a reader in a child process
that may take 20 s of the processor and 4 GiB. Wanted: a result, or an error of matgraft's; and an error wherever no
honest input looks so. Nothing else may come out, and no module that an input names may be imported.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from _hostile_cases import CANARY, Case, Cases, Home, bombs, code, command, counts, formulas, lines, options, yaml_texts
from _hostile_runs import arrays, records, run_files, structures
from _limited import Bounds, Outcome, tried
from common import RESULTS, Results, circumstances, prepare, run, show

from matgraft.core.errors import DataError
from matgraft.foundations import load

ROOT = Path(__file__).resolve().parents[1]
KINDS: dict[str, Callable[[Home], Cases]] = {
    "code": code,
    "YAML": yaml_texts,
    "options": options,
    "bombs": bombs,
    "lines": lines,
    "counts": counts,
    "formulas": formulas,
    "records": records,
    "structures": structures,
    "run files": run_files,
    "arrays and paths": arrays,
}
BOUNDS = Bounds(cpu_s=20, memory_gib=4, wall_s=400)
COLUMNS = ("inputs", "refused", "read", "tracebacks", "memory errors", "hangs", "deaths", "silent", "code run")
Row = dict[str, Any]


def main() -> None:
    """Try all cases of the kinds that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="kinds whose name has this in it")
    parser.add_argument("--out", type=Path, default=RESULTS / "hostile.json")
    parser.add_argument("--work", type=Path, help="folder that keeps the two runs for the next time")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    asked = parser.parse_args()
    results = Results(asked.out, ("kind",))
    if not asked.report:
        prepare()
        warnings.simplefilter("ignore")
        with tempfile.TemporaryDirectory(prefix="hostile-") as temporary:
            work = (asked.work or Path(temporary)).resolve()
            home, mark = home_in(work), work / "imported"
            (work / f"{CANARY}.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Canary: pass\n")
            sys.path.insert(0, str(work))
            load("chgnet")  # what all children need is imported once
            for kind, cases in KINDS.items():
                if asked.only in kind:
                    for row in rows_of(kind, cases(home), mark):
                        results.put(row | circumstances())
    report(results.rows, asked.report)


def home_in(work: Path) -> Home:
    """Make the two runs, if they are not there."""
    home = Home(work / "formulas", work / "frames", work / "table.csv", work / "frames.extxyz")
    data = ROOT / "examples" / "data"
    work.mkdir(parents=True, exist_ok=True)
    home.table.write_text("".join((data / "formation/formation_energies.csv").open().readlines()[:24]))
    home.structures.write_bytes((data / "sige/test.extxyz").read_bytes())
    words: dict[Path, tuple[object, ...]] = {
        home.formulas: (home.table, "--target", "formation_energy", "--from", "composition"),
        home.frames: (data / "sige/frames.extxyz", "--from", "chgnet", "--strategy", "feature", "fit.epochs=1"),
    }
    for folder, what in words.items():
        if not folder.is_dir():
            outcome = tried(partial(command, "tune", *what, "--out", folder), Bounds(cpu_s=900, wall_s=3600))
            if not (folder / "report.html").is_file():
                raise DataError(f"the run could not be made: {outcome.told}{outcome.printed}", where=str(folder))
    return home


def rows_of(kind: str, cases: Cases, mark: Path) -> Iterator[Row]:
    """Try the cases of a kind, and yield after each the counts so far: what is ended keeps what it has."""
    ends: Counter[str] = Counter()
    faults: list[str] = []
    worst = {"cpu_s": (0.0, ""), "memory_mib": (0.0, "")}
    for case in cases:
        mark.unlink(missing_ok=True)
        outcome = of_case(case)
        end = "code run" if mark.exists() else end_of(case, outcome)
        ends[end] += 1
        if end not in ("refused", "read"):
            last = (outcome.told.strip().splitlines() or [""])[-1]
            faults.append(f"{case.name}: {end} {last[:200]}")
            print(f"{kind}: {faults[-1]}\n{outcome.told[-1500:]}\n{outcome.printed[-500:]}", flush=True)
        for name in worst:
            worst[name] = max(worst[name], (getattr(outcome, name), case.name))
        yield {
            "kind": kind,
            "inputs": ends.total(),
            **{name: ends[name] for name in COLUMNS[1:]},
            "largest_cpu_s": worst["cpu_s"][0],
            "largest_memory_MiB": worst["memory_mib"][0],
            "slowest": worst["cpu_s"][1],
            "largest": worst["memory_mib"][1],
            "faults": faults,
        }


def of_case(case: Case) -> Outcome:
    """Try a case in an empty folder of its own."""
    with tempfile.TemporaryDirectory(prefix="case-") as folder:

        def work() -> None:
            os.chdir(folder)
            case.work(Path(folder))

        return tried(work, BOUNDS)


def end_of(case: Case, outcome: Outcome) -> str:
    """Name the column of an outcome."""
    names = {"traceback": "tracebacks", "memory": "memory errors", "hang": "hangs", "killed": "deaths"}
    if outcome.is_fault:
        return names[outcome.kind]
    if "Traceback (most recent call last)" in outcome.printed:
        return "tracebacks"
    return "refused" if outcome.kind == "own error" else "silent" if case.is_refused else "read"


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print the counts."""
    header = ("kind", *COLUMNS, "most CPU (s)", "most memory (MiB)")
    body = [
        [
            row["kind"],
            *(str(row[name]) for name in COLUMNS),
            f"{row['largest_cpu_s']:.1f}",
            f"{row['largest_memory_MiB']:.0f}",
        ]
        for row in rows
    ]
    total = ["all", *(str(sum(row[name] for row in rows)) for name in COLUMNS)]
    total += [
        f"{max((row[name] for row in rows), default=0):.{digits}f}"
        for name, digits in (("largest_cpu_s", 1), ("largest_memory_MiB", 0))
    ]
    show("What came of hostile inputs", header, [*body, total] if body else [], as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)
