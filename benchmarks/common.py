"""What the benchmarks share: the published frames, facts about the machine, results that survive a kill, tables.

    parts = published_parts("Si", DATA)              # the authors' training and test frames, a tenth held out
    results = Results(Path("out.json"), keys=("element", "strategy"))
    results.put({"element": "Si", "strategy": "full", ...} | circumstances())   # written at once, atomically

Run as a script it prints the machine, so that the output of ``make bench`` begins with it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from matgraft import read, split
from matgraft.core.errors import DataError, MatgraftError, OptionError
from matgraft.core.processes import cores
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.repair import reorder_groups

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data" / "potentials"
RESULTS = HERE / "results"
ELEMENTS = ("Si", "Mo")
PACKAGES = ("matgraft", "torch", "chgnet", "ase", "pymatgen", "numpy", "lightning-fabric")
BUSY = 0.3
"""Load a core above which timings are not to be trusted: somebody else is computing."""

PIPED = 140
"""Columns of a table that goes into a pipe, where rich would take 80 and break every word."""

T = TypeVar("T")
Row = dict[str, Any]


class Parts(NamedTuple):
    """Frames that learn, frames that choose the best weights, frames that judge."""

    train: Dataset
    validation: Dataset
    test: Dataset


# -------------------------------------------------------------------- frames


def published_parts(
    element: str, folder: Path, *, share: float = 0.1, seed: int = 0, frames: int | None = None
) -> Parts:
    """Return the frames of Zuo et al., J. Phys. Chem. A 124, 731 (2020), split as the published potentials had them.

    Parameters
    ----------
    share
        Part of the training frames drawn at random for validation. The authors' own test is random over snapshots of
        the same trajectories, so a split by trajectory would compare with nobody.
    frames
        Take only so many training and so many test frames, evenly spread: to try a script.

    Raises
    ------
    DataError
        If the files are not there.
    """
    files = [folder / f"{element}_{part}.extxyz" for part in ("train", "test")]
    for file in files:
        if not file.is_file():
            raise DataError("the published frames are missing", where=str(file), remedy="--data FOLDER")
    train, test = (spread(put_right(read(file), element), frames) for file in files)
    parts = split(train, by="random", fractions=(1 - share, share, 0.0), seed=seed)
    return Parts(train[parts.train], train[parts.validation], test)


def put_right(dataset: Dataset, element: str) -> Dataset:
    """Return the frames with every stress in ASE's order of components.

    In the Si frames of dynamics, and in them alone, yz and xz stand in each other's place: `matgraft audit` finds it
    (stress-shear), each trajectory correlates with the foundation's shear at 0.95 to 0.98 once swapped, 0.15 to 0.63
    as read.
    """
    groups = {"config_type=AIMD-NVT", "config_type=Vacancy"} if element == "Si" else set()
    present = {f"config_type={value}" for value in dataset.tag("config_type")}
    return reorder_groups(dataset, dict.fromkeys(sorted(groups & present), "xz,yz,xy"))


def spread(dataset: Dataset, count: int | None) -> Dataset:
    """Return `count` frames evenly spread over a dataset; all of them for None."""
    if count is None or count >= len(dataset):
        return dataset
    return dataset[np.linspace(0, len(dataset) - 1, count).astype(int)]


def frames_of_size(dataset: Dataset, n_atoms: int, count: int) -> Dataset:
    """Return the first `count` frames with `n_atoms` atoms.

    Raises
    ------
    OptionError
        If there are not so many.
    """
    positions = [i for i, sample in enumerate(dataset) if sample.n_atoms == n_atoms][:count]
    if len(positions) < count:
        raise OptionError(f"{count} frames of {n_atoms} atoms asked for, {len(positions)} found")
    return dataset[positions]


# ------------------------------------------------------------- circumstances


def circumstances() -> Row:
    """Return what a figure depends on besides the code: date, machine, versions."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def machine() -> Row:
    """Return cores that may be used, the processor's name, memory in GiB, and the load (1 minute) at this moment."""
    return {
        "cores": cores(),
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "memory_GiB": round(int(_field("/proc/meminfo", "MemTotal").removesuffix("kB") or 0) / 2**20, 1),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 2),
    }


def _field(file: str, name: str) -> str:
    """Return the first value of a ``name : value`` file of Linux; empty where there is none."""
    if not Path(file).is_file():
        return ""
    lines = (line.partition(":") for line in Path(file).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def prepare() -> None:
    """Make this process and its children a CPU benchmark: no GPU, one thread a process; say so if others compute."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    if load > BUSY * cores():
        Console(stderr=True).print(f"[yellow]the machine is busy (load {load:.1f}): times will be too long[/]")


def apart(work: Callable[..., T], *arguments: Any) -> T:
    """Return ``work(*arguments)``, done in a fresh process: no threads, settings or memory left by what ran before."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


# ------------------------------------------------------------------- results


@dataclass
class Results:
    """Rows of results in a JSON file, which is whole at any moment: a killed benchmark keeps what it has.

    Attributes
    ----------
    keys
        Fields that tell rows apart: a row put again replaces the one that agrees in them.
    head
        Makes what stands above the rows from them: notes, comparisons.
    """

    path: Path
    keys: tuple[str, ...]
    head: Callable[[list[Row]], Row] = lambda rows: {}
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read what is there."""
        if not self.path.is_file():
            return
        try:
            self.rows = json.loads(self.path.read_text(encoding="utf-8"))["rows"]
        except (ValueError, KeyError) as error:
            raise DataError("no results of a benchmark", where=str(self.path), remedy="--out ANOTHER") from error

    def find(self, **key: Any) -> Row | None:
        """Return the row with these values of the keys."""
        assert set(key) == set(self.keys)
        return next((row for row in self.rows if all(row.get(name) == key[name] for name in key)), None)

    def put(self, row: Row) -> None:
        """Add a row, or replace the one with its keys, and write."""
        old = self.find(**{name: row[name] for name in self.keys})
        self.rows = [row if each is old else each for each in self.rows] + ([] if old else [row])
        write_json(self.path, self.head(self.rows) | {"rows": self.rows})


class Case(Protocol):
    """A file and what is true of it."""

    @property
    def file(self) -> str:
        """Path below the shared folder."""


C = TypeVar("C", bound=Case)


def judge_cases(
    about: str,
    results: Results,
    shared: Path,
    cases: Iterable[C],
    judged: Callable[[C], Row],
    report: Callable[[list[Row], bool], None],
) -> None:
    """Judge every file that the command line asks for, and print the table; skipped where the files are not there."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="files whose path has this in it")
    parser.add_argument("--out", type=Path, default=results.path)
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    if chosen.out != results.path:
        results = Results(chosen.out, results.keys, results.head)
    if not chosen.report:
        prepare()
        if not shared.is_dir():
            print(f"skipped: {shared} is not there")
            return
        for case in cases:
            if chosen.only in case.file:
                results.put(judged(case) | circumstances())
    report(results.rows, chosen.report)


def write_json(path: Path, facts: Row) -> None:
    """Write atomically, each item of a list on its own line: readable, and a new row is one line of a diff."""
    fields = ",\n".join(f" {json.dumps(name)}: {_text(value)}" for name, value in facts.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text("{\n" + fields + "\n}\n", encoding="utf-8")
    part.replace(path)


def _text(value: Any) -> str:
    if not (isinstance(value, list) and value):
        return json.dumps(value, ensure_ascii=False)
    return "[\n  " + ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n ]"


def columns(history: Sequence[Row], names: Sequence[str], most: int = 60) -> dict[str, list[float]]:
    """Turn a history into columns of at most `most` evenly spread rows, the last one among them, to five digits."""
    if not history:
        return {name: [] for name in names}
    chosen = np.unique(np.linspace(0, len(history) - 1, most).round().astype(int))
    return {name: [float(f"{history[i][name]:.5g}") for i in chosen] for name in names}


# -------------------------------------------------------------------- tables


def number(value: float | None, digits: int = 2) -> str:
    """Format a number; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def show(title: str, header: Sequence[str], lines: Sequence[Sequence[str]], *, as_markdown: bool = False) -> None:
    """Print a table, if it has lines: for the terminal, or as markdown."""
    if not lines:
        return
    if as_markdown:
        print(f"### {title}\n\n{markdown(header, lines)}\n")
        return
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right")
    for line in lines:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else PIPED).print(table)


def sentence(facts: Row) -> str:
    """Return facts as one line; a list with what is in it."""
    told = {name: ", ".join(value) or "none" if isinstance(value, list) else value for name, value in facts.items()}
    return "; ".join(f"{name}: {value}" for name, value in told.items())


def run(main: Callable[[], None]) -> None:
    """Call a script's main function; an error that a user can act on is printed without a traceback."""
    try:
        main()
    except MatgraftError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    for name, value in circumstances().items():
        print(f"{name}: {value}")
