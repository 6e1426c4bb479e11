"""Two heads on two levels of theory: mace-torch's multihead fine-tuning beside ours, on the same frames.

    python benchmarks/two_levels.py --foundation mace:runs/small_mace/mace.model@HASH --epochs 30
    python benchmarks/two_levels.py --foundation mace:... --pair PBE LDA --frames 12 --epochs 1     # to try it
    python benchmarks/two_levels.py --report

Frames are real: displaced supercells of silicon (64 atoms) by VASP, the same displacements by PBE, PBEsol and LDA, each
with its own lattice constant (phonopy/phono3py). The first of a pair is to be kept, and is rehearsed with its
true labels; the second is the user's. A displacement is in the same part for both. Reported are the errors of each head
on the test frames of its level, what the kept head lost on made structures that neither has seen, and minutes.
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from _mace_trainer import FLAGS, SETTINGS, write_frames
from common import DATA, RESULTS, Results, Row, circumstances, number, prepare, run, show, spread

from matgraft import adapt, load, read
from matgraft.core.errors import DataError, RunError
from matgraft.core.provenance import file_hash
from matgraft.core.training.execution import Execution
from matgraft.potentials.checks.base import CheckEvidence
from matgraft.potentials.checks.forgetting import Forgetting
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import FOUNDATION, assign_heads
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.scoring.frame_errors import errors
from matgraft.potentials.scoring.metrics import metrics
from matgraft.potentials.tuning.adapt import shift_references
from matgraft.potentials.tuning.heads import MultiHeadPotential
from matgraft.potentials.tuning.references import fit_references, keep_references
from matgraft.potentials.tuning.replay import ReplaySettings

PHONONS = DATA.parent / "real" / "phonons"
LEVELS = ("PBE", "PBEsol", "LDA")
SHOWN = ("energy_rmse_meV_per_atom", "forces_rmse_eV_per_A")
KEPT, OWN = "kept", "own"
"""The head of the first level, and that of the second."""
THEIRS = {KEPT: "pt_head", OWN: "Default"}
"""Names that mace-torch gives them."""


def main(arguments: list[str] | None = None) -> None:
    """Run both on one pair of levels, and print a table."""
    options = parse(arguments)
    results = Results(options.out, keys=("foundation", KEPT, OWN, "trainer", "epochs"))
    if not options.report:
        measured(options, results)
    report(results.rows, options.report)


def measured(options: argparse.Namespace, results: Results) -> None:
    """Run what is missing on one pair of levels, and write the result of each."""
    prepare()
    levels = [level_frames(options.data, name, options.frames) for name in options.pair]
    foundation = load(options.foundation)
    assert isinstance(foundation, Potential)
    # The foundation knows the first level up to a constant an element, and is not asked to learn it.
    levels[0] = on_references(foundation, levels[0])
    names = {"foundation": foundation.card.name, **dict(zip((KEPT, OWN), options.pair, strict=True))}
    for trainer, work in (("references shifted", untuned), ("matgraft", ours), ("mace-torch", theirs)):
        key = names | {"trainer": trainer, "epochs": options.epochs if work is not untuned else 0}
        if results.find(**key):
            continue
        with tempfile.TemporaryDirectory() as folder:
            facts, began = circumstances(), time.monotonic()
            models = work(options, foundation, levels, Path(folder))
            row = {"minutes": round((time.monotonic() - began) / 60, 2)} | judged(models, foundation, levels)
        results.put(key | {"frames": len(levels[0])} | row | facts)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--foundation", help="a MACE: mace:FILE@HASH; needed but for --report")
    parser.add_argument("--pair", nargs=2, choices=LEVELS, default=["PBE", "PBEsol"], help="kept, and the user's")
    parser.add_argument("--data", type=Path, default=PHONONS)
    parser.add_argument("--frames", type=int, help="of each level; default all 111")
    parser.add_argument("--epochs", type=int, default=30, help="of each fit, over the frames of both levels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "two_levels.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    options = parser.parse_args(arguments)
    if not (options.foundation or options.report):
        parser.error("--foundation mace:FILE@HASH is needed")
    return options


def level_frames(folder: Path, name: str, count: int | None) -> Dataset:
    """Return the frames of one level, in the order of their displacements."""
    archive = folder / f"Si-{name}_vaspruns.tar.lzma"
    if not archive.is_file():
        raise DataError("the phonon sets are missing", where=str(archive), remedy="--data FOLDER")
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(archive, "r:xz") as content:
            content.extractall(place, filter="data")
        return spread(read(sorted(map(str, Path(place).glob("vasprun_xmls/disp-*/vasprun.xml")))), count)


def on_references(foundation: Potential, frames: Dataset) -> Dataset:
    """Return frames whose energies are on the foundation's references."""
    known = predict_samples(foundation, frames.samples)
    shift = fit_references(frames, known)
    return frames.map(lambda sample: sample.with_labels(energy=sample.labels["energy"] - shift.of(sample)))


def parts_of(frames: Dataset) -> tuple[Dataset, Dataset, Dataset]:
    """Part by position, so that a displacement is in one part whatever the level: eight, one and one of ten."""
    place = [i % 10 for i in range(len(frames))]
    choose = {"train": range(8), "validation": (8,), "test": (9,)}
    train, validation, test = (frames[[i for i, p in enumerate(place) if p in kept]] for kept in choose.values())
    return train, validation, test


def untuned(
    options: argparse.Namespace, foundation: Potential, levels: list[Dataset], folder: Path
) -> dict[str, Potential]:
    """Take the foundation for both, for the user's level with its references shifted."""
    own, train = copy.deepcopy(foundation), parts_of(levels[1])[0]
    shift_references(own, fit_references(train, predict_samples(own, train.samples)))
    return {KEPT: foundation, OWN: own}


def ours(
    options: argparse.Namespace, foundation: Potential, levels: list[Dataset], folder: Path
) -> dict[str, Potential]:
    """Tune by strategy multihead; the first level is rehearsed with its own labels."""
    kept, _, _ = parts_of(levels[0])
    train, validation, _ = assign_heads(list(parts_of(levels[1])), foundation=True)
    file = folder / "kept.extxyz"
    write_frames(kept, file)
    adapted = adapt(
        foundation,
        train,
        validation,
        strategy="multihead",
        foundation_head=True,
        replay=ReplaySettings(file=str(file), labels="file"),
        execution=Execution(folder / "checkpoints", options.seed),
        epochs=options.epochs,
    )
    many = adapted.backbone
    assert isinstance(many, MultiHeadPotential)
    return {KEPT: many.at(FOUNDATION), OWN: many.at(many.names[0])}


def theirs(
    options: argparse.Namespace, foundation: Potential, levels: list[Dataset], folder: Path
) -> dict[str, Potential]:
    """Tune by the command ``mace_run_train`` with ``--multiheads_finetuning``, as its documentation shows it."""
    foundation.save(folder / "start.model")
    files: Row = {}
    for prefix, frames in (("pt_", levels[0]), ("", levels[1])):
        for name, part in zip(("train", "valid"), parts_of(frames)[:2], strict=True):
            files[f"{prefix}{name}_file"] = folder / f"{prefix}{name}.extxyz"
            write_frames(part, files[f"{prefix}{name}_file"])
    given = SETTINGS | files | {
        "name": "two", "seed": options.seed, "foundation_model": folder / "start.model", "work_dir": folder,
        "multiheads_finetuning": "True", "force_mh_ft_lr": "True", "max_num_epochs": options.epochs,
        "E0s": "estimated",  # from the foundation's residuals, as ours; averages are refused with several heads
    }  # fmt: skip
    given |= {f"{name}_key": f"REF_{name}" for name in ("energy", "forces", "stress")}
    words = [f"--{name}={value}" for name, value in given.items()] + [f"--{flag}" for flag in FLAGS]
    command = [sys.executable, "-W", "ignore", "-m", "mace.cli.run_train", *words]
    log = folder / "log.txt"
    with log.open("w") as out:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=folder, env=environment, stdout=out, stderr=out, check=False)
    model = folder / "two.model"
    if not model.is_file():
        raise RunError("mace_run_train wrote no model:\n" + log.read_text(errors="replace")[-2000:])
    loaded = {head: load(f"mace:{model}@{file_hash(model)}#{name}") for head, name in THEIRS.items()}
    return {head: one for head, one in loaded.items() if isinstance(one, Potential)}


def judged(models: dict[str, Potential], foundation: Potential, levels: list[Dataset]) -> Row:
    """Return the errors of each head on the test frames of its level, and what the kept one lost elsewhere."""
    found: Row = {}
    for head, frames in zip((KEPT, OWN), levels, strict=True):
        test = parts_of(frames)[2]
        figures = metrics(errors(test, predict_samples(models[head], test.samples)))
        found |= {f"{head}_{name}": round(figures[name], 4) for name in SHOWN}
    train = parts_of(levels[0])[0]
    told = Forgetting(size=24).run(CheckEvidence(models[KEPT], foundation, keep_references(train), train))
    return found | {"lost": {name: round(value, 4) for name, value in told.numbers.items()}}


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print a table for each pair of levels."""
    for kept, own in dict.fromkeys((row[KEPT], row[OWN]) for row in rows):
        header = ["", *(f"{level}, {unit}" for level in (kept, own) for unit in ("meV/atom", "eV/Å"))]
        header += [f"{kept} lost, meV/atom", "eV/Å", "epochs", "minutes"]
        lines = [line(row) for row in rows if (row[KEPT], row[OWN]) == (kept, own)]
        show(f"{kept} is kept, {own} is the user's: test errors", header, lines, as_markdown=as_markdown)


def line(row: Row) -> list[str]:
    """Return a row of the table."""
    figures = [number(row[f"{head}_{name}"], 2 if "energy" in name else 4) for head in (KEPT, OWN) for name in SHOWN]
    lost = [number(row["lost"].get(f"inside_{name}"), digits) for name, digits in zip(SHOWN, (1, 3), strict=True)]
    return [row["trainer"], *figures, *lost, str(row["epochs"]), number(row["minutes"], 1)]


if __name__ == "__main__":
    run(main)
