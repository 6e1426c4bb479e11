"""Minutes to the same validation errors: matgraft against each vendor's own trainer (`_vendors`).

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
What is compared is the RMSE of all force components of the validation frames, and that of energies an atom. For the
vendor they are computed by `matgraft.evaluate`, after the run and off the clock, from the weights that it saves each
epoch. For matgraft they are the history of the fit, the same formulas on the averaged weights that it validates; a run
whose best row of history and `evaluate` disagree is refused. All that `adapt` does outside its loop's clock is counted
before its first step. The vendor may be given more minutes than ours: of its runs on these
frames the longest counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from _race import Race
from _vendors import VENDORS
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
from matgraft.core.errors import RunError
from matgraft.core.processes import cores
from matgraft.core.registry import save_folder
from matgraft.core.training.execution import Execution
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning.loss import LossSettings

OURS: dict[str, tuple[str, LossSettings]] = {
    "full": ("full", LossSettings()),
    "partial": ("partial", LossSettings()),
    "feature": ("feature", LossSettings()),
    "full-forces": ("full", LossSettings(energy=0.1, forces=1.0, stress=0.1)),
}
"""Contender -> strategy and loss. The race is for forces alone, which a loss can buy at the price of energies."""
KEYS = ("contender", "foundation", "element", "max_minutes", "n_train", "seed")
TERMS = ("foundation", "element", "n_train", "seed")
FORCES, ENERGY = "forces_rmse_eV_per_A", "energy_rmse_meV_per_atom"
CURVES = {"validation_forces": FORCES, "validation_energies": ENERGY}
"""Field of a row -> the metric that it follows, checkpoint by checkpoint."""
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
    show("Minutes to the other's best forces", DUELS_HEADER, duels_table(results.rows), as_markdown=options.report)
    show("Minutes to both errors of ours", BOTH_HEADER, both_table(results.rows), as_markdown=options.report)


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
        ``minutes`` and the `CURVES` (eV/Å, meV/atom) of each validation, ``models`` with the best weights, and the
        settings. The feature strategy validates on estimates along its cached directions: of its fit the end alone
        counts.
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
        execution=Execution(seed=race.seed, quiet=False),
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
        "best": history.index(chosen),
        "models": [str(best)],
        "settings": settings,
    } | {name: [row[f"validation_{metric}"] for row in history] for name, metric in CURVES.items()}


# ------------------------------------------------------------------- scoring


def scored(ran: Row, parts: Parts) -> Row:
    """Return the curves of validation errors against minutes, and the errors of the weights that one would keep.

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
    if "best" in ran:
        curves, best, kept = {name: ran[name] for name in CURVES}, ran["best"], 0
        agree(curves["validation_forces"][best], validated[kept][FORCES])
    else:
        curves = {name: [each[metric] for each in validated] for name, metric in CURVES.items()}
        best = kept = curves["validation_forces"].index(min(curves["validation_forces"]))
    return {
        "minutes": [round(minutes, 4) for minutes in ran["minutes"]],
        "best_checkpoint": best,
        "best_validation": validated[kept],
        "best_test": evaluate(models[kept], parts.test, processes=cores()),
        "settings": ran["settings"],
    } | {name: [round(value, 5) for value in curve] for name, curve in curves.items()}


def agree(history: float, evaluated: float) -> None:
    """Refuse a history that does not tell what `evaluate` finds."""
    if abs(history / evaluated - 1) > SAME:
        raise RunError(f"validation force error {history:.4f} eV/Å in the history, {evaluated:.4f} by evaluate")


def minutes_to(row: Row, target: float) -> float | None:
    """Return the minutes of the first checkpoint whose validation force error is at or below the target."""
    pairs = zip(row["minutes"], row["validation_forces"], strict=True)
    return next((minutes for minutes, error in pairs if error <= target), None)


def minutes_to_both(row: Row, errors: Row) -> float | None:
    """Return the minutes of the first checkpoint whose validation errors of forces and energies are both reached."""
    curves = zip(row["minutes"], *(row[name] for name in CURVES), strict=True)
    targets = [errors[metric] for metric in CURVES.values()]
    reached = (minutes for minutes, *found in curves if all(e <= t for e, t in zip(found, targets, strict=True)))
    return next(reached, None)


def comparisons(rows: Sequence[Row]) -> list[Row]:
    """Hold each of ours against each of the vendor's on the same frames, where it was given as many minutes or more.

    Returns
    -------
    list of dict
        Best validation force errors (eV/Å); minutes that each took to its own best and to the other's; the ratio of
        ours to the vendor's minutes to the vendor's best, and the vendor's to ours to our best. Beside them the same
        for both errors of the weights that ours keeps, where a row has energies. None where an error was not reached
        in the time given.
    """
    vendors = [row for row in rows if row["contender"] in VENDORS and row is _longest(row, rows)]
    return [
        duel(mine, theirs)
        for mine in rows
        for theirs in vendors
        if mine["contender"] in OURS
        and all(mine[name] == theirs[name] for name in TERMS)
        and mine["max_minutes"] <= theirs["max_minutes"]
    ]


def _longest(row: Row, rows: Sequence[Row]) -> Row:
    """Return the run of this contender on these terms that was given the most minutes."""
    same = [each for each in rows if all(each[name] == row[name] for name in ("contender", *TERMS))]
    return max(same, key=lambda each: each["max_minutes"])


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
    } | (_both(mine, theirs) if all("validation_energies" in row for row in (mine, theirs)) else {})


def _both(mine: Row, theirs: Row) -> Row:
    """Return how long each took to the errors, of energies and of forces, of the weights that ours keeps."""
    kept = mine["minutes"][mine["best_checkpoint"]]
    vendors = minutes_to_both(theirs, mine["best_validation"])
    return {
        "our_meV_per_atom": mine["best_validation"][ENERGY],
        "our_eV_per_A": mine["best_validation"][FORCES],
        "vendor_best_meV_per_atom": min(theirs["validation_energies"]),
        "our_minutes_to_both": kept,
        "vendor_minutes_to_both": vendors,
        "ratio_to_both": round(kept / vendors, 4) if vendors else None,
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
BOTH_HEADER = (
    "ours / vendor's",
    "our meV/atom",
    "and eV/Å",
    "our minutes",
    "vendor's",
    "ratio",
    "vendor's best meV/atom",
    "vendor's best eV/Å",
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
            _reached(each, "vendor_minutes_to_our_best"),
        ]
        for each in comparisons(rows)
    ]


def both_table(rows: Sequence[Row]) -> list[list[str]]:
    """Return a line for each comparison of rows that have energies."""
    return [
        [
            f"{each['foundation']}, {each['element']}, {each['ours']} / {each['vendor']}",
            number(each["our_meV_per_atom"], 1),
            number(each["our_eV_per_A"], 3),
            number(each["our_minutes_to_both"], 1),
            _reached(each, "vendor_minutes_to_both"),
            number(each["ratio_to_both"], 3),
            number(each["vendor_best_meV_per_atom"], 1),
            number(each["vendor_best_eV_per_A"], 3),
        ]
        for each in comparisons(rows)
        if "our_minutes_to_both" in each
    ]


def _reached(each: Row, name: str) -> str:
    """Return the vendor's minutes, or that it did not get there in all that it had."""
    return number(each[name], 1) if each[name] else f"not in {each['vendor_minutes_in_all']:.1f}"


if __name__ == "__main__":
    run(main)
