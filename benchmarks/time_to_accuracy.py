"""Minutes to a validation force error: matgraft against `chgnet.trainer.Trainer` as chgnet's own notebook sets it.

    python benchmarks/time_to_accuracy.py --minutes 20
    python benchmarks/time_to_accuracy.py --report     # the markdown tables of what is there

Same frames, same cores, one contender after the other, each in a fresh process:

| contender     | what                                                                                             |
| ------------- | ------------------------------------------------------------------------------------------------ |
| vendor-frozen | examples/fine_tuning.ipynb of the chgnet repository: embeddings, bases and all but the last atom   |
|               | convolution frozen, batches of 8, Adam at 1e-2, CosLR, MSE                                        |
| vendor-all    | the same with every layer free                                                                   |
| full, partial, | `matgraft.adapt` with its defaults                                                               |
| feature       |                                                                                                  |

What differs from the notebook: targets are "efs", since the frames have no magnetic moments; the epochs, over which its
rate decays, are as many as fit into the minutes, at least its own 5. Its trainer gets the energies as they are: the
notebook does not refit its AtomRef. The vendor computes on as many threads as there are cores, which is torch's own
default; matgraft runs as many processes of one thread.

The clock runs from the frames in memory to the last checkpoint: building graphs and validating are in it for both.
What is compared is the RMSE of all force components of the validation frames. For the vendor it is computed by
`matgraft.evaluate`, after the run and off the clock, from the weights that its trainer saves each epoch. For matgraft
it is the history of the fit, the same formula on the averaged weights that it validates; a run whose best row of
history and `evaluate` disagree is refused. All that `adapt` does outside its loop's clock is counted before its first
step.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from chgnet.data.dataset import StructureData, collate_graphs
from chgnet.model import CHGNet
from chgnet.trainer import Trainer
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
    spread,
)
from pymatgen.core import Lattice, Structure
from torch.utils.data import DataLoader

from matgraft import adapt, evaluate, load
from matgraft.backbones.base import Potential
from matgraft.backbones.processes import cores
from matgraft.data.dataset import Dataset, Sample
from matgraft.errors import RunError
from matgraft.quantities import parse_unit

FOUNDATION = "chgnet:0.3.0"
VENDOR = ("vendor-frozen", "vendor-all")
OURS = ("full", "partial", "feature")
KEYS = ("contender", "element", "max_minutes", "n_train", "seed")
FORCES = "forces_rmse_eV_per_A"
BATCH = 8
NOTEBOOK: Row = {"targets": "efs", "optimizer": "Adam", "scheduler": "CosLR", "criterion": "MSE", "learning_rate": 1e-2}
NOTEBOOK_EPOCHS = 5
FROZEN = ("atom_embedding", "bond_embedding", "angle_embedding", "bond_basis_expansion", "angle_basis_expansion")
FROZEN_LAYERS = ("bond_conv_layers", "angle_layers")
"""Modules frozen in the notebook, with all `atom_conv_layers` but the last."""
SAME = 0.02
"""Largest relative difference allowed between the history of a fit and `evaluate` on its best weights."""


def main() -> None:
    """Run the contenders that are missing, then print who needed how long for what."""
    options = parse()
    results = Results(options.out, KEYS, lambda rows: {"comparisons": comparisons(rows)})
    if not options.report:
        prepare()
        parts = published_parts(options.element, options.data, seed=options.seed, frames=options.frames)
        for contender in options.contenders:
            benchmark(contender, parts, options, results)
    show("Best weights", CONTENDERS_HEADER, contenders_table(results.rows), as_markdown=options.report)
    show("Minutes to the other's best", DUELS_HEADER, duels_table(results.rows), as_markdown=options.report)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contenders", nargs="+", choices=VENDOR + OURS, default=[*VENDOR, "full", "feature"])
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
        if contender in VENDOR:
            threads, epochs = options.vendor_threads, options.vendor_epochs
            ran = apart(run_vendor, contender, parts, options.minutes, epochs, threads, options.seed, folder)
        else:
            ran = apart(run_ours, contender, parts, options.minutes, options.seed, folder)
        found = scored(ran, parts)
    untuned = evaluate(load(FOUNDATION), parts.validation, processes=cores())[FORCES]
    results.put(key | {"untuned": untuned} | found | {"n_validation": len(parts.validation)} | facts)


# -------------------------------------------------------------------- vendor


class ClockedTrainer(Trainer):
    """The vendor's trainer, which notes when an epoch was over and keeps its weights (by itself it keeps the last)."""

    def train(self, *arguments: Any, **options: Any) -> None:
        """Start the clock and train."""
        self.minutes: list[float] = []
        self.began = time.monotonic()
        super().train(*arguments, **options)

    def save_checkpoint(self, epoch: int, mae_error: dict[str, float], save_dir: str) -> None:
        """Save as the vendor does, read the clock, and put a copy aside."""
        super().save_checkpoint(epoch, mae_error, save_dir)
        self.minutes.append((time.monotonic() - self.began) / 60)
        (written,) = Path(save_dir).glob(f"epoch{epoch}_*")
        shutil.copyfile(written, kept(Path(save_dir), epoch))


def kept(folder: Path, epoch: int) -> Path:
    """Return the name under which an epoch's weights are kept; the vendor clears away what begins with "epoch"."""
    return folder / f"kept-{epoch}.pth.tar"


def run_vendor(
    contender: str, parts: Parts, minutes: float, epochs: int | None, threads: int, seed: int, folder: Path
) -> Row:
    """Train with the vendor's trainer, in a process of its own.

    Returns
    -------
    dict
        ``minutes`` at the end of each epoch, ``files`` with its weights, and the settings.
    """
    torch.set_num_threads(threads)
    random.seed(seed)
    frozen = contender == "vendor-frozen"
    epochs = epochs or planned_epochs(minutes, vendor_seconds_a_batch(parts, frozen, folder), len(parts.train))
    train, validation = vendor_data(parts.train), vendor_data(parts.validation)
    trainer = make_trainer(frozen, epochs, seed)
    trainer.train(vendor_loader(train, shuffle=True), vendor_loader(validation), save_dir=str(folder))
    for data in (train, validation):
        if data.failed_idx:  # the vendor has put another frame in its place without a word
            raise RunError(f"chgnet could not take frames {data.failed_idx}")
    settings = NOTEBOOK | {"batch": BATCH, "epochs": epochs, "threads": torch.get_num_threads(), "frozen": frozen}
    files = [kept(folder, epoch) for epoch in range(len(trainer.minutes))]
    return {"minutes": trainer.minutes, "files": files, "settings": settings}


def make_trainer(frozen: bool, epochs: int, seed: int) -> ClockedTrainer:
    """Return the notebook's trainer on fresh weights of 0.3.0."""
    model = vendor_model()
    if frozen:
        freeze(model)
    return ClockedTrainer(model=model, **NOTEBOOK, epochs=epochs, torch_seed=seed, use_device="cpu", print_freq=6)


def vendor_model() -> CHGNet:
    """Return the vendor's 0.3.0, on the CPU, silently."""
    with contextlib.redirect_stdout(None):
        return CHGNet.load(use_device="cpu", verbose=False)


def freeze(model: CHGNet) -> None:
    """Freeze what the notebook freezes."""
    modules = [getattr(model, name) for name in (*FROZEN, *FROZEN_LAYERS)]
    for module in (*modules, *model.atom_conv_layers[:-1]):
        for parameter in module.parameters():
            parameter.requires_grad = False


def vendor_seconds_a_batch(parts: Parts, frozen: bool, folder: Path) -> float:
    """Time one batch by a trial of two short epochs, of which the second has its graphs and its memory ready."""
    batch, frame = vendor_data(spread(parts.train, BATCH)), vendor_data(parts.validation[:1])
    trial = make_trainer(frozen, 2, 0)
    with contextlib.redirect_stdout(None):
        trial.train(vendor_loader(batch), vendor_loader(frame), save_dir=str(folder / "trial"))
    return 60 * (trial.minutes[1] - trial.minutes[0])


def planned_epochs(minutes: float, seconds_a_batch: float, n_train: int) -> int:
    """Return how many epochs fit into the minutes, at least the notebook's."""
    batches = -(-n_train // BATCH)
    return max(NOTEBOOK_EPOCHS, int(60 * minutes / (batches * seconds_a_batch)))


def vendor_loader(data: StructureData, *, shuffle: bool = False) -> DataLoader[Any]:
    """Return batches of the notebook's size."""
    return DataLoader(data, batch_size=BATCH, collate_fn=collate_graphs, shuffle=shuffle)


def vendor_data(dataset: Dataset) -> StructureData:
    """Return the frames as the vendor's data class, which makes their graphs when first asked and keeps them."""
    labels = [vendor_labels(sample) for sample in dataset]
    with contextlib.redirect_stdout(None):
        return StructureData(
            structures=[vendor_structure(sample) for sample in dataset],
            energies=[label["energy"] for label in labels],
            forces=[label["forces"] for label in labels],
            stresses=[label["stress"] for label in labels],
            shuffle=False,
        )


def vendor_structure(sample: Sample) -> Structure:
    """Return a frame as pymatgen's structure, atoms in the same order."""
    atoms = sample.content
    return Structure(Lattice(atoms.cell[:]), atoms.numbers, atoms.positions, coords_are_cartesian=True)


def vendor_labels(sample: Sample) -> Row:
    """Return the labels as `StructureData` wants them: eV/atom, eV/Å, and VASP's kBar, which it turns into GPa."""
    units = {"energy": "eV/atom", "forces": "eV/Å", "stress": "-kBar"}
    return {
        name: parse_unit(unit, of=name).from_canonical(sample.labels[name], sample.n_atoms).tolist()
        for name, unit in units.items()
    }


# ---------------------------------------------------------------------- ours


def run_ours(strategy: str, parts: Parts, minutes: float, seed: int, folder: Path) -> Row:
    """Adapt by a strategy, in a process of its own.

    Returns
    -------
    dict
        ``minutes`` and ``forces`` (eV/Å) of each validation, ``files`` with the best weights, and the settings. The
        feature strategy validates on estimates along its cached directions: of its fit the end alone counts.
    """
    torch.set_num_threads(1)
    parent = load(FOUNDATION)
    assert isinstance(parent, Potential)
    began = time.monotonic()
    adapted = adapt(
        parent, parts.train, parts.validation, strategy=strategy, max_minutes=minutes, seed=seed, quiet=False
    )
    seconds = time.monotonic() - began
    file = folder / "best.pth.tar"
    adapted.backbone.save(file)
    settings = adapted.settings.model_dump(exclude_none=True) | {"processes": adapted.fit.processes}
    if strategy == "feature":
        return {"minutes": [seconds / 60], "files": [file], "settings": settings}
    before = seconds - adapted.fit.seconds
    history = adapted.fit.history
    best = next(row for row in history if row["step"] == adapted.fit.best_step)
    return {
        "minutes": [(before + row["seconds"]) / 60 for row in history],
        "forces": [row[f"validation_{FORCES}"] for row in history],
        "best": history.index(best),
        "files": [file],
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
    if not ran["files"]:
        raise RunError("the trainer stopped before its first checkpoint: the loss was not a number")
    models = [load(f"chgnet:{file}") for file in ran["files"]]
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
        and theirs["contender"] in VENDOR
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
            f"{row['element']} {row['contender']}",
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
            f"{each['element']} {each['ours']} / {each['vendor']}",
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
