"""The longer lane: broken inputs for as long as is asked, each in a child process with limits.

    python tests/fuzz/lane.py --minutes 10                      # or: make fuzz ARGS="--minutes 10"
    python tests/fuzz/lane.py --minutes 10 --only tables --seed 3
    python tests/fuzz/lane.py --again runs/fuzz/tables/3f2a91   # what was found, once more

What comes out otherwise than as a result or as an error of matgraft's is kept under runs/fuzz with the input; so is
what takes more time or memory than any input so small should. Surfaces are taken in turn, so that no one is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import random
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parent))

from _limited import Bounds, Outcome, tried
from mutations import mutated
from surfaces import SURFACES, Seed

ROOT = Path(__file__).resolve().parents[2]
BOUNDS = Bounds(cpu_s=20, memory_gib=3)
SLOW_S, LARGE_MIB = 8.0, 1024.0
"""What an input of a few kB may take at most; beyond it, it is kept."""


def main() -> int:
    """Run the lane; return 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same inputs")
    parser.add_argument("--only", default="", help="surfaces whose name has this in it")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "fuzz")
    parser.add_argument("--again", type=Path, help="a folder of an input that was kept")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.again:
        return again(asked.again)
    names = [name for name in SURFACES if asked.only in name]
    if not names:
        parser.error(f"no surface has {asked.only!r} in its name: {', '.join(SURFACES)}")
    kinds, found = hunt(names, 60 * asked.minutes, asked.seed, asked.out)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    print(f"{kinds.total()} inputs to {len(names)} surfaces: {told}; {len(found)} kinds of fault in {asked.out}")
    for fault, (count, folder) in found.items():
        print(f"  {count} times {fault}: {folder}")
    return int(bool(found))


def hunt(names: list[str], seconds: float, seed: int, out: Path) -> tuple[Counter[str], dict[str, tuple[int, Path]]]:
    """Try broken inputs of surfaces in turn; return how they ended, and each kind of fault with its first input."""
    kinds: Counter[str] = Counter()
    found: dict[str, tuple[int, Path]] = {}
    end = time.monotonic() + seconds
    every = [seed.content for name in names for seed in SURFACES[name].seeds() if len(seed.content) < 2**16]
    for i in itertools.count():
        name = names[i % len(names)]
        rng = random.Random(f"{seed} {i}")
        start = rng.choice(SURFACES[name].seeds())
        broken = Seed(start.name, mutated(start.content, rng, every))
        outcome = on_disk(name, broken)
        kinds[outcome.kind] += 1
        if fault := fault_of(outcome):
            key = f"{name}: {fault}"
            count, folder = found.get(key) or (0, keep(out, name, broken, outcome))
            found[key] = count + 1, folder
        if time.monotonic() > end:
            return kinds, found
    raise AssertionError


def on_disk(name: str, broken: Seed) -> Outcome:
    """Give a surface an input as a file."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / broken.name
        path.write_bytes(broken.content)
        return tried(partial(SURFACES[name].call, path), BOUNDS)


def fault_of(outcome: Outcome) -> str:
    """Say what is wrong with an outcome, the same for the same fault; empty where nothing is."""
    if outcome.is_fault:
        last = [line.strip() for line in outcome.told.splitlines() if line.strip()]
        places = re.findall(r'File "[^"]*/(matgraft/[^"]*)", line (\d+)', outcome.told)
        at = ":".join(places[-1]) if places else ""
        return f"{outcome.kind} {re.sub(r'[0-9.]+', '#', last[-1] if last else '')[:90]} {at}"
    if outcome.cpu_s > SLOW_S or outcome.memory_mib > LARGE_MIB:
        return "costly"
    return ""


def keep(out: Path, name: str, broken: Seed, outcome: Outcome) -> Path:
    """Write an input, and what came of it, into a folder of its own."""
    folder = out / re.sub(r"\W+", "-", name) / hashlib.sha256(broken.content).hexdigest()[:8]
    (folder / "input").mkdir(parents=True, exist_ok=True)
    (folder / "input" / broken.name).write_bytes(broken.content)
    facts = f"{outcome.cpu_s} s, {outcome.memory_mib} MiB"
    (folder / "told.txt").write_text(f"{name}\n{outcome.kind}: {facts}\n{outcome.told}\n{outcome.printed}\n")
    return folder


def again(folder: Path) -> int:
    """Try an input that was kept once more, and print what comes of it."""
    name = (folder / "told.txt").read_text().splitlines()[0]
    (file,) = (folder / "input").iterdir()
    outcome = on_disk(name, Seed(file.name, file.read_bytes()))
    print(f"{outcome.kind}: {outcome.cpu_s} s, {outcome.memory_mib} MiB\n{outcome.told}\n{outcome.printed}")
    return int(bool(fault_of(outcome)))


if __name__ == "__main__":
    sys.exit(main())
