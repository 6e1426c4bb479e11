"""Errors inside and outside of what was learned: a temperature held out, and surfaces, on the published Si frames.

    python benchmarks/held_out.py                                        # 3 minutes a fit
    python benchmarks/held_out.py --hold "temperature=1518" --minutes 2
    python benchmarks/held_out.py --report

The training and test frames of Zuo et al., J. Phys. Chem. A 124, 731 (2020), are taken together and split as
``split.hold`` does: *outside* are the frames that meet the condition, of whose trajectories none is learned; *inside*
are trajectories held out from the others. Every strategy gets the same frames, seed and minutes. The foundation with
its references shifted says how much harder the frames outside are before anything was learned.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from common import DATA, RESULTS, Results, Row, circumstances, number, prepare, put_right, run, show, spread

from matgraft import adapt, evaluate, load, read
from matgraft.core.errors import DataError
from matgraft.core.processes import cores
from matgraft.core.training.execution import Execution
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.splits.parts import Split
from matgraft.potentials.data.splits.split import split
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.tuning.adapt import shift_references
from matgraft.potentials.tuning.references import fit_references

HELD = ("temperature>2000", "config_type=Surface")
"""Melts at 2530 and 3374 K; surfaces. Silicon melts at 1687 K: what is left of the dynamics are crystals."""
SHIFT = "references shifted"
FRACTIONS = (0.6, 0.15, 0.25)
"""For training, validation and inside: with a tenth inside, that part would be one simulation and one frame."""
STRATEGIES = (SHIFT, "full", "feature", "lora", "replay")
SIDES = ("inside", "outside")
METRICS = ("energy_rmse_meV_per_atom", "forces_rmse_eV_per_A", "stress_rmse_GPa")


def published(folder: Path) -> Dataset:
    """Return all published Si frames, with shears in ASE's order."""
    files = [folder / f"Si_{part}.extxyz" for part in ("train", "test")]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise DataError("the published frames are missing", where=missing[0], remedy="--data FOLDER")
    return put_right(read([str(file) for file in files]), "Si")


def fitted(foundation: Potential, train: Dataset, validation: Dataset, key: Row) -> tuple[Potential, Row]:
    """Return the model of a strategy, and what its fit took."""
    began = time.monotonic()
    if key["strategy"] == SHIFT:
        shift_references(
            foundation, fit_references(train, predict_samples(foundation, train, ("energy",), processes=cores()))
        )
        return foundation, {"minutes": round((time.monotonic() - began) / 60, 2)}
    adapted = adapt(
        foundation, train, validation, strategy=key["strategy"], max_minutes=key["max_minutes"],
        execution=Execution(seed=key["seed"], quiet=False),
    )  # fmt: skip
    minutes = round((time.monotonic() - began) / 60, 2)
    return adapted.backbone, {"minutes": minutes, "steps": adapted.fit.steps, "epochs": adapted.fit.epochs}


def sizes(parts: Split) -> Row:
    """Return the frames and the trajectories of each part."""
    names = {"train": parts.train, "validation": parts.validation, "inside": parts.inside, "outside": parts.test}
    found: Row = {f"n_{name}": len(positions) for name, positions in names.items()}
    return found | {f"groups_{name}": len({parts.groups[i] for i in own}) for name, own in names.items()}


def main() -> None:
    """Fit what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hold", action="append", help=f"conditions; default {', '.join(HELD)}")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--minutes", type=float, default=3.0, help="of a fit")
    parser.add_argument("--foundation", default="chgnet:0.3.0")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the fit")
    parser.add_argument("--frames", type=int, help="so many of them, evenly spread, to try the script")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RESULTS / "held_out.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("hold", "foundation", "strategy", "max_minutes", "seed"))
    if not chosen.report:
        prepare()
        for hold in chosen.hold or HELD:
            held_out(hold, chosen, results)
    report(results.rows, chosen.report)


def held_out(hold: str, chosen: argparse.Namespace, results: Results) -> None:
    """Fit by each strategy that is missing, and score it on both sides of the condition."""
    frames = spread(published(chosen.data), chosen.frames)
    parts = split(frames, fractions=FRACTIONS, hold=hold, seed=chosen.seed)
    print(parts)
    sides = dict(zip(SIDES, (frames[parts.inside], frames[parts.test]), strict=True))
    for strategy in chosen.strategies:
        key = {"hold": hold, "foundation": chosen.foundation, "strategy": strategy,
               "max_minutes": None if strategy == SHIFT else chosen.minutes, "seed": chosen.seed}  # fmt: skip
        if results.find(**key):
            continue
        facts, foundation = circumstances(), load(chosen.foundation)
        assert isinstance(foundation, Potential)
        model, took = fitted(foundation, frames[parts.train], frames[parts.validation], key)
        scores = {side: evaluate(model, own, processes=cores()) for side, own in sides.items()}
        results.put(key | took | scores | sizes(parts) | facts)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print a table for each condition: root mean square errors inside and outside."""
    header = (
        "strategy",
        *(f"{what}, {side}" for what in ("meV/atom", "eV/Å", "GPa") for side in SIDES),
        "steps",
        "minutes",
    )
    for hold in dict.fromkeys(row["hold"] for row in rows):
        own = [row for row in rows if row["hold"] == hold]
        counts = ", ".join(f"{own[0][f'n_{side}']} frames {side}" for side in SIDES)
        lines = [
            [row["strategy"], *(number(row[side][name], digits) for name, digits in zip(METRICS, (1, 3, 2), strict=True)
                                for side in SIDES), str(row.get("steps", "–")), number(row["minutes"], 1)]
            for row in own
        ]  # fmt: skip
        show(f"{hold.replace('>', ' > ')}: {counts}", header, lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)
