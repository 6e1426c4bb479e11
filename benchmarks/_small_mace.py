"""Train a small MACE from random weights, to have a MACE where none can be downloaded.

    python benchmarks/_small_mace.py frames.extxyz --minutes 60 --out runs/small_mace
    python benchmarks/_small_mace.py --made-by chgnet --elements Si Mo --size 6000   # crystals that chgnet labels
    matgraft tune mine.extxyz --from mace:runs/small_mace/mace.model@HASH        # the name that is printed at the end

32 channels of scalars and of vectors in two layers, a cutoff of 5 Å: 67,000 parameters and 0.8 MB for two elements,
0.3 s of one core a training step and frame of 63 Si atoms. The loop is matgraft's own (`adapt`, every stage learns),
and the reference energies of the elements are its least squares. Made crystals hold the target's elements and fifteen
others: the more elements, the less each is learned in the same minutes. A call that was broken off goes on from its
last checkpoint; one whose model is there only prints the name.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from common import circumstances, prepare, put_right, run, write_json

from matgraft import adapt, evaluate, load, read, split
from matgraft.core.errors import OptionError
from matgraft.core.provenance import file_hash
from matgraft.core.registry import save_folder
from matgraft.core.training.execution import Execution
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.structures import make_structures
from matgraft.potentials.models.mace.pickles import HASH_DIGITS
from matgraft.potentials.models.mace.potential import MACEPotential
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.pseudolabels import encodable, pseudolabel
from matgraft.potentials.tuning.loss import LossSettings

CUTOFF = 5.0
"""Å."""
CHANNELS = 32
RATE = 1e-2
"""Learning rate, mace-torch's own for models from scratch."""
BATCH = 16
"""Made crystals have some 5 atoms: batches of two, as for a user's frames, would spend the time on overhead."""
LOSS = LossSettings(energy=3.0, forces=1.0, stress=30.0)
"""From random weights errors are ten times those of a tuned foundation, and the default weights would let energies and
stresses drown the forces."""
OTHERS = ("H", "C", "N", "O", "Al", "P", "S", "Ti", "Cr", "Fe", "Ni", "Cu", "Ge", "Nb", "W")
"""What else made crystals are of."""
BEGUN = ("frames", "made_by", "elements", "others", "size", "channels", "rate", "batch", "seed")
"""Options that one fit goes on with."""
COUNTED = 50
"""Frames on which neighbours are counted, evenly spread."""


def main(arguments: list[str] | None = None) -> None:
    """Train, unless it is done, and print the name of the model."""
    options = parse(arguments)
    file = options.out / MACEPotential.native_file
    if not file.is_file():
        prepare()
        train_and_save(options)
    facts = json.loads((options.out / "small_mace.json").read_text(encoding="utf-8"))
    print(f"{facts['parameters']} parameters, validation: {facts['validation']}")
    print(f"mace:{file}@{file_hash(file)[:HASH_DIGITS]}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("frames", type=Path, nargs="?", help="labelled frames, in anything that matgraft reads")
    source.add_argument("--made-by", help="a foundation that labels made crystals, slabs and dimers instead")
    parser.add_argument("--elements", nargs="+", default=["Si", "Mo"], help="of half of the made frames")
    parser.add_argument("--others", nargs="*", default=list(OTHERS), help="elements beside them")
    parser.add_argument("--size", type=int, default=6000, help="how many frames are made")
    parser.add_argument("--minutes", type=float, help="of the fit; default 30, if there are no --epochs")
    parser.add_argument("--epochs", type=int, help="of the fit")
    parser.add_argument("--channels", type=int, default=CHANNELS, help="of scalars, and of vectors")
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--batch", type=int, help=f"frames a step; default {BATCH} for made frames")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, of the validation frames and of the fit")
    parser.add_argument("--out", type=Path, default=Path("runs/small_mace"))
    return parser.parse_args(arguments)


def train_and_save(options: argparse.Namespace) -> None:
    """Fit a new model, or go on with the fit in the folder; write the model and how well it does."""
    frames = labelled(options)
    parts = split(frames, fractions=(0.9, 0.1, 0.0), seed=options.seed)
    train, validation = frames[parts.train], known_to(frames[parts.train], frames[parts.validation])
    options.out.mkdir(parents=True, exist_ok=True)
    refuse_another_fit(options)
    bounds = {"epochs": options.epochs, "max_minutes": options.minutes}
    adapted = adapt(
        untrained(train, options.channels, options.seed),
        train,
        validation,
        strategy="full",
        execution=Execution(options.out / "checkpoints", options.seed, resume=True, quiet=False),
        loss=LOSS,
        optimizer="adam",  # as the MACE of the tables was made
        rate=options.rate,
        batch=options.batch or (BATCH if options.made_by else None),
        **(bounds if any(bounds.values()) else {"max_minutes": 30.0}),
    )
    facts = {
        "frames": options.frames.name if options.frames else f"{options.size} made, labelled by {options.made_by}",
        "n_train": len(train),
        "n_validation": len(validation),
        "parameters": adapted.total,
        "references_eV": adapted.references.shift_eV,
        "minutes": round(adapted.fit.seconds / 60, 2),
        "steps": adapted.fit.steps,
        "validation": evaluate(adapted.backbone, validation),
    }
    write_json(options.out / "small_mace.json", facts | circumstances())
    save_folder(adapted.backbone, options.out)  # last: it says that all is done


def labelled(options: argparse.Namespace) -> Dataset:
    """Return the frames of the file, or those made."""
    if options.frames:
        frames = read(options.frames)
        return put_right(frames, "-".join(frames.elements()))
    foundation = load(options.made_by)
    assert isinstance(foundation, Potential)
    known = [symbol for symbol in foundation.card.elements if symbol in {*options.elements, *options.others}]
    taken, encoded = encodable(foundation, make_structures(options.elements, known, options.size, seed=options.seed))
    return pseudolabel(foundation, taken, encoded, progress="frames to learn from")


def known_to(train: Dataset, frames: Dataset) -> Dataset:
    """Return the frames that hold no element that `train` lacks."""
    known = set(train.elements())
    return frames[[i for i, sample in enumerate(frames) if set(sample.content.get_chemical_symbols()) <= known]]


def refuse_another_fit(options: argparse.Namespace) -> None:
    """Keep what a fit was begun with, and refuse to go on with something else."""
    begun = {name: str(getattr(options, name)) for name in BEGUN}
    file = options.out / "begun.json"
    if not file.is_file():
        write_json(file, begun)
    if json.loads(file.read_text(encoding="utf-8")) != begun:
        raise OptionError(f"the fit in {options.out} was begun with other options", remedy="another --out")


def untrained(train: Dataset, channels: int, seed: int) -> MACEPotential:
    """Return a ScaleShiftMACE with random weights, scaled as mace-torch does: by forces and neighbours."""
    numbers = [atomic_numbers[symbol] for symbol in train.elements()]
    numbers.sort()
    forces = np.concatenate([sample.labels["forces"] for sample in train if "forces" in sample.labels])
    torch.manual_seed(seed)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # e3nn's and mace-torch's own
        warnings.simplefilter("ignore")
        module = _scale_shift_mace(
            atomic_numbers=numbers,
            num_elements=len(numbers),
            atomic_energies=np.zeros(len(numbers)),  # least squares follow on the residuals
            atomic_inter_scale=float(np.sqrt(np.mean(forces**2))),
            atomic_inter_shift=0.0,
            avg_num_neighbors=mean_neighbours(train),
            hidden=f"{channels}x0e + {channels}x1o",
        )
    return MACEPotential(module, name="small MACE", licence="that of the frames")


def mean_neighbours(frames: Dataset) -> float:
    """Return the mean number of neighbours within the cutoff."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, COUNTED).astype(int))
    counts = [len(neighbor_list("i", frames[int(i)].content, CUTOFF)) / frames[int(i)].n_atoms for i in chosen]
    return float(np.mean(counts))


def _scale_shift_mace(*, hidden: str, **given: Any) -> torch.nn.Module:
    from mace import modules  # the adapter has imported it, and undone what that does to torch.load

    irreps = modules.blocks.o3.Irreps
    return modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        hidden_irreps=irreps(hidden),
        MLP_irreps=irreps("16x0e"),
        gate=modules.gate_dict["silu"],
        correlation=3,
        radial_MLP=[64, 64, 64],
        **given,
    ).float()


if __name__ == "__main__":
    run(main)
