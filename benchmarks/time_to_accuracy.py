"""Minutes to a validation force error: matgraft against each vendor's own trainer (`vendor_trainers`).

    python benchmarks/time_to_accuracy.py --minutes 20
    python benchmarks/time_to_accuracy.py --foundation matgl:../shared/models/TensorNet-MatPES-PBE-v2025.1-PES
    python benchmarks/time_to_accuracy.py --report     # the markdown tables of what is there

Same frames, same cores, one contender after the other, each in a fresh process:

| contender              | what                                                                       |
| ---------------------- | -------------------------------------------------------------------------- |
| vendor-frozen, -all    | `chgnet.trainer.Trainer` as chgnet's notebook sets it, and with every layer free |
| mace_run_train         | the command of mace-torch, fine-tuning as its documentation shows it       |
| mgl train              | MatGL's trainer with the defaults of its command                           |
| full, partial, feature | `matgraft.adapt` with its defaults                                         |
| full-forces            | full with the loss weights of mace_run_train: forces, and little else      |

The vendor computes on as many threads as there are cores, which is torch's own default; matgraft runs as many processes
of one thread.

The clock runs from the frames in memory to the last checkpoint: building graphs and validating are in it for both, but
that of `mace_run_train` starts when it says that training has started.
What is compared is the RMSE of all force components of the validation frames. For the vendor it is computed by
`matgraft.evaluate`, after the run and off the clock, from the weights that it saves each epoch. For matgraft
it is the history of the fit, the same formula on the averaged weights that it validates; a run whose best row of
history and `evaluate` disagree is refused. All that `adapt` does outside its loop's clock is counted before its first
step.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from _race import VENDORS, Race
from common import (
    DATA,
    ELEMENTS,
    RESULTS,
    Parts,
    Results,
    Row,
    apart,
    circumstances,
    number,
    prepare,
    published_parts,
    run,
    show,
)

from matgraft import adapt, evaluate, load
from matgraft.backbones.base import Potential
from matgraft.backbones.processes import cores
from matgraft.backbones.registry import save_folder
from matgraft.errors import RunError
from matgraft.transfer.loss import LossSettings

OURS: dict[str, tuple[str, LossSettings]] = {
    "full": ("full", LossSettings()),
    "partial": ("partial", LossSettings()),
    "feature": ("feature", LossSettings()),
    "full-forces": ("full", LossSettings(energy=0.1, forces=1.0, stress=0.1)),
}
"""Contender -> strategy and loss. The race is for forces alone, which a loss can buy at the price of energies."""
KEYS = ("contender", "foundation", "element", "max_minutes", "n_train", "seed")
FORCES = "forces_rmse_eV_per_A"
SAME = 0.02
"""Largest relative difference allowed between the history of a fit and `evaluate` on its best weights."""


def main() -> None:
    """Run the contenders that are missing, then print who needed how long for what."""
    options = parse()
    results = Results(options.out, KEYS, lambda rows: {"comparisons": comparisons(rows)})
    if not options.report:
        prepare()
        parts = published_parts(options.element, options.data, seed=options.seed, frames=options.frames)
        theirs = [name for name, trainer in VENDORS.items() if trainer.backbone == options.foundation.split(":")[0]]
        for contender in options.contenders or [*theirs, "full", "feature"]:
            benchmark(contender, parts, options, results)
    show("Best weights", CONTENDERS_HEADER, contenders_table(results.rows), as_markdown=options.report)
    show("Minutes to the other's best", DUELS_HEADER, duels_table(results.rows), as_markdown=options.report)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--foundation", default="chgnet:0.3.0")
    parser.add_argument("--contenders", nargs="+", choices=[*VENDORS, *OURS], help="default: vendor's, full, feature")
    parser.add_argument("--element", choices=ELEMENTS, default="Si")
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, for each contender")
    parser.add_argument("--vendor-epochs", type=int, help="instead of as many as fit into the minutes")
    parser.add_argument("--vendor-threads", type=int, default=cores())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, help="use only so many training and test frames, to try the script")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RESULTS / "time_to_accuracy.json")
    parser.add_argument("--again", action="store_true", help="run anew what the results have already")
    parser.add_argument("--report", action="store_true", help="print the results as markdown; run nothing")
    return parser.parse_args(arguments)


def benchmark(contender: str, parts: Parts, options: argparse.Namespace, results: Results) -> None:
    """Run one contender in a fresh process, score its checkpoints here, and write the result."""
    key = {
        "contender": contender,
        "foundation": load(options.foundation).card.name,
        "element": options.element,
        "max_minutes": options.minutes,
        "n_train": len(parts.train),
        "seed": options.seed,
    }
    if results.find(**key) and not options.again:
        return
    facts = circumstances()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        race = Race(parts, options.minutes, options.seed, folder, options.vendor_threads, options.vendor_epochs)
        if contender in VENDORS:
            ran = apart(VENDORS[contender].run, options.foundation, race)
        else:
            ran = apart(run_ours, options.foundation, contender, race)
        found = scored(ran, parts)
    untuned = evaluate(load(options.foundation), parts.validation, processes=cores())[FORCES]
    results.put(key | {"untuned": untuned} | found | {"n_validation": len(parts.validation)} | facts)


# ---------------------------------------------------------------------- ours


def run_ours(foundation: str, contender: str, race: Race) -> Row:
    """Adapt as a contender of `OURS`, in a process of its own.

    Returns
    -------
    dict
        ``minutes`` and ``forces`` (eV/Å) of each validation, ``models`` with the best weights, and the settings. The
        feature strategy validates on estimates along its cached directions: of its fit the end alone counts.
    """
    torch.set_num_threads(1)
    strategy, loss = OURS[contender]
    parent = load(foundation)
    assert isinstance(parent, Potential)
    began = time.monotonic()
    adapted = adapt(
        parent,
        race.parts.train,
        race.parts.validation,
        strategy=strategy,
        loss=loss,
        max_minutes=race.minutes,
        seed=race.seed,
        quiet=False,
    )
    seconds = time.monotonic() - began
    best = race.folder / "best"
    save_folder(adapted.backbone, best)
    facts = {"loss_weights": adapted.loss.weights(race.parts.train), "processes": adapted.fit.processes}
    settings = adapted.settings.model_dump(exclude_none=True) | facts
    if strategy == "feature":
        return {"minutes": [seconds / 60], "models": [str(best)], "settings": settings}
    before = seconds - adapted.fit.seconds
    history = adapted.fit.history
    chosen = next(row for row in history if row["step"] == adapted.fit.best_step)
    return {
        "minutes": [(before + row["seconds"]) / 60 for row in history],
        "forces": [row[f"validation_{FORCES}"] for row in history],
        "best": history.index(chosen),
        "models": [str(best)],
        "settings": settings,
    }


# ------------------------------------------------------------------- scoring


def scored(ran: Row, parts: Parts) -> Row:
    """Return the curve of validation force errors against minutes, and the errors of the weights that one would keep.

    Those are the vendor's with the smallest validation force error, and ours with the smallest validation loss.

    Raises
    ------
    RunError
        If a run left no weights, or its history is not what `evaluate` finds.
    """
    if not ran["models"]:
        raise RunError("the trainer stopped before its first checkpoint: the loss was not a number")
    models = [load(name) for name in ran["models"]]
    validated = [evaluate(model, parts.validation, processes=cores()) for model in models]
    if "forces" in ran:
        curve, best = ran["forces"], 0
        agree(curve[ran["best"]], validated[0][FORCES])
    else:
        curve = [each[FORCES] for each in validated]
        best = curve.index(min(curve))
    return {
        "minutes": [round(minutes, 4) for minutes in ran["minutes"]],
        "validation_forces": [round(value, 5) for value in curve],
        "best_validation": validated[best],
        "best_test": evaluate(models[best], parts.test, processes=cores()),
        "settings": ran["settings"],
    }


def agree(history: float, evaluated: float) -> None:
    """Refuse a history that does not tell what `evaluate` finds."""
    if abs(history / evaluated - 1) > SAME:
        raise RunError(f"validation force error {history:.4f} eV/Å in the history, {evaluated:.4f} by evaluate")


def minutes_to(row: Row, target: float) -> float | None:
    """Return the minutes of the first checkpoint whose validation force error is at or below the target."""
    pairs = zip(row["minutes"], row["validation_forces"], strict=True)
    return next((minutes for minutes, error in pairs if error <= target), None)


def comparisons(rows: Sequence[Row]) -> list[Row]:
    """Hold each of ours against each of the vendor's on the same frames and minutes.

    Returns
    -------
    list of dict
        Best validation force errors (eV/Å); minutes that each took to its own best and to the other's; the ratio of
        ours to the vendor's minutes to the vendor's best, and the vendor's to ours to our best. None where an error
        was not reached in the time given.
    """
    return [
        duel(mine, theirs)
        for mine in rows
        for theirs in rows
        if mine["contender"] in OURS
        and theirs["contender"] in VENDORS
        and all(mine[name] == theirs[name] for name in KEYS if name != "contender")
    ]


def duel(mine: Row, theirs: Row) -> Row:
    """Return one comparison; see `comparisons`."""
    our_best, vendor_best = min(mine["validation_forces"]), min(theirs["validation_forces"])
    ours, vendors = minutes_to(mine, vendor_best), minutes_to(theirs, vendor_best)
    vendors_to_ours, our_own = minutes_to(theirs, our_best), minutes_to(mine, our_best)
    return {
        "ours": mine["contender"],
        "vendor": theirs["contender"],
        "foundation": mine["foundation"],
        "element": mine["element"],
        "our_best_eV_per_A": our_best,
        "vendor_best_eV_per_A": vendor_best,
        "vendor_beats_untuned": vendor_best < theirs["untuned"],
        "our_minutes_to_vendor_best": ours,
        "vendor_minutes_to_its_best": vendors,
        "ratio_to_vendor_best": round(ours / vendors, 4) if ours and vendors else None,
        "vendor_minutes_to_our_best": vendors_to_ours,
        "our_minutes_to_our_best": our_own,
        "vendor_minutes_in_all": theirs["minutes"][-1],
        "ratio_to_our_best": round(our_own / vendors_to_ours, 4) if our_own and vendors_to_ours else None,
    }


# -------------------------------------------------------------------- tables

CONTENDERS_HEADER = (
    "",
    "untuned eV/Å",
    "best validation eV/Å",
    "test eV/Å",
    "test meV/atom",
    "minutes to its best",
    "minutes in all",
    "checkpoints",
)
DUELS_HEADER = (
    "ours / vendor's",
    "vendor's best eV/Å",
    "vendor's minutes",
    "ours",
    "ratio",
    "our best eV/Å",
    "our minutes",
    "vendor's",
)


def contenders_table(rows: Sequence[Row]) -> list[list[str]]:
    """Return a line for each contender."""
    return [
        [
            f"{row['foundation']}, {row['element']}, {row['contender']}",
            number(row["untuned"], 3),
            number(min(row["validation_forces"]), 3),
            number(row["best_test"][FORCES], 3),
            number(row["best_test"]["energy_rmse_meV_per_atom"], 1),
            number(minutes_to(row, min(row["validation_forces"])), 1),
            number(row["minutes"][-1], 1),
            str(len(row["minutes"])),
        ]
        for row in rows
    ]


def duels_table(rows: Sequence[Row]) -> list[list[str]]:
    """Return a line for each comparison."""
    return [
        [
            f"{each['foundation']}, {each['element']}, {each['ours']} / {each['vendor']}",
            number(each["vendor_best_eV_per_A"], 3) + ("" if each["vendor_beats_untuned"] else " (above untuned)"),
            number(each["vendor_minutes_to_its_best"], 1),
            number(each["our_minutes_to_vendor_best"], 1),
            number(each["ratio_to_vendor_best"], 3),
            number(each["our_best_eV_per_A"], 3),
            number(each["our_minutes_to_our_best"], 1),
            number(each["vendor_minutes_to_our_best"], 1)
            if each["vendor_minutes_to_our_best"]
            else f"not in {each['vendor_minutes_in_all']:.1f}",
        ]
        for each in comparisons(rows)
    ]


if __name__ == "__main__":
    run(main)
