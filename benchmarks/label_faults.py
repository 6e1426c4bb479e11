"""Faults of labelling: kills, hangs, crashes, a full disk; the store at the end is as if nothing had been.

    python benchmarks/label_faults.py                    # 24 frames, ten kills each
    python benchmarks/label_faults.py --report

| fault | what is done |
| --- | --- |
| none | an undisturbed run |
| driver, 1 and 2 workers | the command is killed (SIGKILL) at ten random moments, and typed again |
| calculators | processes that compute are killed at ten random moments; two workers, ten retries |
| program | a pw.x hangs, crashes, prints garbage, does not converge, breaks off, prints NaN, or another structure |
| disk | the store's disk of 120 kB (a tmpfs, where it can be mounted) runs full and gets room; typed again |

A side file that the calculator writes says which calculations were begun and which ended. A kill may lose what is in
flight: as many calculations as there are workers. All others are done once. A calculation in flight may still come to
its end before its process learns that nobody waits for it; it ends twice then.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write
from common import HERE, RESULTS, Results, Row, circumstances, run, show

from matgraft.core.errors import RunError
from matgraft.potentials.active.labelling.store import LabelStore
from matgraft.potentials.run.label import label

KEYS = ("fault",)
FAULTS = ("one", "two", "calculators", "program", "disk")
LONGEST_S = 600.0


def frames(count: int) -> list[Atoms]:
    """Return distorted copper; the first atom's x tells frames apart."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += 0.1 * rng.standard_normal(atoms.positions.shape)
        found.append(atoms)
    return found


def prepare_folder(folder: Path, count: int, workers: int, retries: int = 0) -> None:
    """Write frames and engine."""
    write(folder / "pool.extxyz", frames(count))
    engine = {
        "calculator": "_counted:make",
        "parameters": {"side": str(folder / "side.txt"), "wait": 0.3},
        "workers": workers,
        "retries": retries,
    }
    (folder / "engine.yaml").write_text(yaml.safe_dump(engine))


def begin(folder: Path) -> subprocess.Popen[bytes]:
    """Type the command."""
    words = [sys.executable, "-m", "matgraft", "label", "pool.extxyz", "--engine", "engine.yaml", "-o", "out.extxyz"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen([*words, "--quiet"], cwd=folder, env=environment, stdout=subprocess.DEVNULL)


def noted(folder: Path) -> list[list[str]]:
    """Return the lines of the side file: word, frame, process."""
    side = folder / "side.txt"
    return [line.split() for line in side.read_text().splitlines()] if side.exists() else []


def content(folder: Path) -> dict[str, tuple[float, bytes]]:
    """Return each label by its frame: energy, and the bytes of the forces."""
    found = {}
    with LabelStore(folder / "labels") as store:
        for key in store.all_keys():
            arrays = store.label(key).arrays
            found[arrays["positions"].tobytes().hex()[:64]] = (float(arrays["energy"]), arrays["forces"].tobytes())
    return found


def row(fault: str, folder: Path, undisturbed: dict[str, tuple[float, bytes]], kills: int, in_flight: int) -> Row:
    """Return what a fault came to, and fail where the store is not that of the undisturbed run."""
    ended = Counter(place for word, place, _ in noted(folder) if word == "end")
    begun = sum(word == "begin" for word, *_ in noted(folder))
    same = content(folder) == undisturbed
    twice = sum(ended.values()) - len(ended)
    assert same, f"{fault}: the store is another"
    assert begun - len(ended) <= kills * in_flight, f"{fault}: {begun - len(ended)} calculations were done again"
    return {
        "fault": fault,
        "kills": kills,
        "labels": len(ended),
        "begun": begun,
        "ended_twice": twice,
        "same_store": same,
    }


def killed_driver(folder: Path, count: int, workers: int, kills: int, seed: int) -> None:
    """Kill the command at random moments after its first calculation, and type it again, until nothing is left."""
    prepare_folder(folder, count, workers)
    chance = random.Random(seed)
    for _ in range(kills):
        driver, before, until = begin(folder), len(noted(folder)), time.monotonic() + LONGEST_S
        while len(noted(folder)) == before and driver.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.7))
        driver.kill()
        driver.wait()
    assert begin(folder).wait(LONGEST_S) == 0


def killed_calculators(folder: Path, count: int, kills: int, seed: int) -> None:
    """Kill processes that compute while the command goes on."""
    prepare_folder(folder, count, workers=2, retries=10)
    driver, chance, done = begin(folder), random.Random(seed), 0
    while driver.poll() is None and done < kills:
        time.sleep(chance.uniform(0.2, 0.6))
        alive = [int(pid) for word, _, pid in noted(folder)[-4:] if Path(f"/proc/{pid}").exists()]
        if alive:
            os.kill(chance.choice(alive), signal.SIGKILL)
            done += 1
    assert driver.wait(LONGEST_S) == 0


def faulty_program(folder: Path) -> Row:
    """Label frames by a pw.x that does every wrong thing once, and right ones among them."""
    sys.path.insert(0, str(HERE.parent / "tests" / "potentials" / "active" / "labelling"))
    import fakes  # the pw.x of the tests

    names = ("hangs", "crashes", "garbage", "unconverged", "breaks off", "NaN", "another structure")
    places = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    pool = [Atoms("Si2", [[x, 0.1, 0.2], [9, 0.3, 0.4]], cell=[12, 10, 10], pbc=True) for x in (*places, 0.2, 0.3)]
    engine = fakes.espresso(folder, timeout=5, retries=0)
    found = label(pool, engine, store=folder / "labels", probed=False, quiet=True)
    assert found.n_labelled == 2 and len(found.failures) == len(names), found
    return {
        "fault": "program",
        "kills": 0,
        "labels": found.n_labelled,
        "reasons": {name: one.reason for name, one in zip(names, found.failures, strict=True)},
        "same_store": True,
    }


def full_disk(folder: Path, count: int, undisturbed: dict[str, tuple[float, bytes]]) -> Row | None:
    """Label onto a disk that runs full, make room, and go on; None where no such disk can be had."""
    prepare_folder(folder, count, workers=1)
    disk = folder / "labels"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(disk)], capture_output=True).returncode:
        return None
    try:
        first = begin(folder).wait(LONGEST_S)
        assert first == RunError.exit_code, first
        before = len(content_of(disk))
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert begin(folder).wait(LONGEST_S) == 0
        return row("disk", folder, undisturbed, 1, 1) | {"labels_when_full": before}
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def content_of(disk: Path) -> list[str]:
    """Return the keys in a store."""
    with LabelStore(disk) as store:
        return store.all_keys()


def measure(count: int, kills: int, seed: int, only: list[str], results: Results) -> None:
    """Run the faults that are named."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    sys.path.insert(0, str(HERE))
    with tempfile.TemporaryDirectory() as root:
        folders = {name: Path(root, name) for name in ("none", "one", "two", "calculators", "program", "disk")}
        for folder in folders.values():
            folder.mkdir()
        prepare_folder(folders["none"], count, 1)
        assert begin(folders["none"]).wait(LONGEST_S) == 0
        undisturbed = content(folders["none"])
        results.put(row("none", folders["none"], undisturbed, 0, 0) | circumstances())
        for name, workers in (("one", 1), ("two", 2)):
            if name in only:
                killed_driver(folders[name], count, workers, kills, seed)
                told = f"driver, {workers} worker{'s' * (workers > 1)}"
                results.put(row(told, folders[name], undisturbed, kills, workers) | circumstances())
        if "calculators" in only:
            killed_calculators(folders["calculators"], count, kills, seed)
            results.put(row("calculators", folders["calculators"], undisturbed, kills, 1) | circumstances())
        if "program" in only:
            results.put(faulty_program(folders["program"]) | circumstances())
        if "disk" in only and (found := full_disk(folders["disk"], count, undisturbed)) is not None:
            results.put(found | circumstances())


def report(results: Results, *, as_markdown: bool) -> None:
    """Print what is there."""
    head = ("fault", "kills", "labels", "calculations begun", "ended twice", "store as undisturbed")
    lines = [
        [
            one["fault"],
            str(one["kills"]),
            str(one["labels"]),
            str(one.get("begun", "–")),
            str(one.get("ended_twice", "–")),
            "yes" if one["same_store"] else "no",
        ]
        for one in results.rows
    ]
    show("Faults of labelling", head, lines, as_markdown=as_markdown)


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "label_faults.json")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    results = Results(options.out, KEYS)
    if not options.report:
        measure(options.count, options.kills, options.seed, options.only, results)
    report(results, as_markdown=options.report)


if __name__ == "__main__":
    run(main)
