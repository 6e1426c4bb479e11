"""A million rows predicted by the command: rows a second, CPU seconds, the largest process, and a kill in the middle.

    matgraft tune examples/data/formation/formation_energies.csv --target formation_energy --out runs/formation
    python benchmarks/large_table.py --run runs/formation             # 1,000,000 rows, with --fast
    python benchmarks/large_table.py --run runs/formation --whole     # 100,000 rows by the run itself
    python benchmarks/large_table.py --report

The rows are formulas of two to five elements, all different, drawn by a seed. CSV goes to CSV, parquet to parquet;
the few that spell the name of an alloy (CuSn6) are left out.
Seconds are of the wall, from the start of the command to the written file; with ``--fast`` they hold the teaching of
the small network. The killed command is ended by SIGKILL when a third of the parts is done, and typed again: how many
parts it then computes is said by its ``--json``. Its seconds are of both, its CPU seconds of the
second alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from common import RESULTS, Results, Row, circumstances, number, run, show

ELEMENTS = (
    "Li Be B C N O F Na Mg Al Si P S Cl K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Sr Y Zr Nb Mo Sn Ba La W"
)


def formulas(count: int) -> list[str]:
    """Return different formulas of two to five elements with amounts of 1 to 12."""
    rng, symbols = np.random.default_rng(0), np.array(ELEMENTS.split())
    found: dict[str, None] = {}
    while len(found) < count:
        chosen = rng.choice(symbols, rng.integers(2, 6), replace=False)
        amounts = rng.integers(1, 13, len(chosen))
        found["".join(f"{symbol}{n}" if n > 1 else symbol for symbol, n in zip(chosen, amounts, strict=True))] = None
    return list(found)


def command(folder: Path, table: Path, out: Path, *, fast: bool) -> list[str]:
    """Return the command that predicts a table."""
    words = [
        sys.executable,
        "-m",
        "matgraft",
        "predict",
        str(folder),
        str(table),
        "-o",
        str(out),
        "--json",
        "--skip-bad",
    ]
    return [*words, "--fast"] if fast else words


def timed(words: list[str], killed_at: int = 0) -> Row:
    """Run a command, killed once when so many parts are done, and return what it took and said."""
    out = Path(words[words.index("-o") + 1])
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    if killed_at:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        store = out.with_name(f"{out.name}.parts")
        while len(list(store.glob("*-0.parquet"))) < killed_at and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "largest_process_MiB": round(after.ru_maxrss / 1024),
        "said": written_by(json.loads(done.stdout)),
    }


def written_by(said: object) -> Row:
    """Return parts and predictions as the command told them."""
    return next(one for one in _mappings(said) if {"parts", "computed", "predictions"} <= set(one))


def _mappings(value: object) -> Iterator[Row]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _mappings(one)


def main() -> None:
    """Time what is asked for, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run on a table that needs no column but formulas")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--whole", action="store_true", help="a tenth of the rows, by the run itself")
    parser.add_argument("--out", type=Path, default=RESULTS / "large_table.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("how", "rows", "ending", "killed"))
    if chosen.run is not None:
        measure(chosen.run, chosen.rows // 10 if chosen.whole else chosen.rows, results, fast=not chosen.whole)
    lines = [
        [
            row["how"], f"{row['rows']:,}", row["ending"], "once" if row["killed"] else "no", number(row["seconds"], 0),
            number(row["rows"] / row["seconds"], 0), number(row["cpu_seconds"], 0), f"{row['largest_process_MiB']:,}",
            f"{row['computed']} of {row['parts']}",
        ]
        for row in results.rows
    ]  # fmt: skip
    heads = (
        "",
        "rows",
        "as",
        "killed",
        "seconds",
        "rows a second",
        "CPU s",
        "largest process, MiB",
        "parts computed last",
    )
    show("Large tables", heads, lines, as_markdown=chosen.report)


def measure(folder: Path, count: int, results: Results, *, fast: bool) -> None:
    """Predict a table of so many rows, as CSV and as parquet, and as CSV with a kill."""
    with tempfile.TemporaryDirectory() as scratch:
        cells = pd.DataFrame({"formula": formulas(count)})
        for ending, is_killed in (("csv", False), ("parquet", False), ("csv", True)):
            table, out = Path(scratch) / f"table.{ending}", Path(scratch) / f"out-{is_killed}.{ending}"
            cells.to_csv(table, index=False) if ending == "csv" else cells.to_parquet(table, index=False)
            found = timed(command(folder, table, out, fast=fast), killed_at=max(1, count // 60_000) if is_killed else 0)
            said = found.pop("said")
            key = {"how": "--fast" if fast else "the run", "rows": count, "ending": ending, "killed": is_killed}
            counts = {name: said[name] for name in ("parts", "computed", "predictions", "unlike")}
            results.put(key | found | counts | circumstances())


if __name__ == "__main__":
    run(main)
