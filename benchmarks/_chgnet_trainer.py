"""chgnet's own trainer in the race: `chgnet.trainer.Trainer` as chgnet's own notebook sets it.

The notebook is examples/fine_tuning.ipynb of the chgnet repository: embeddings, bases and all but the last atom
convolution frozen, batches of 8, Adam at 1e-2, CosLR, MSE. What differs: targets are "efs", since the frames have no
magnetic moments; the epochs, over which its rate decays, are as many as fit into the minutes, at least its own 5. Its
trainer gets the energies as they are: the notebook does not refit its AtomRef. It starts from 0.3.0.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from _race import Race
from chgnet.data.dataset import StructureData, collate_graphs
from chgnet.model import CHGNet
from chgnet.trainer import Trainer
from common import Parts, Row, spread
from pymatgen.core import Lattice, Structure
from torch.utils.data import DataLoader

from matgraft.core.errors import RunError
from matgraft.core.quantities import parse_unit
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample

BATCH = 8
NOTEBOOK: Row = {"targets": "efs", "optimizer": "Adam", "scheduler": "CosLR", "criterion": "MSE", "learning_rate": 1e-2}
NOTEBOOK_EPOCHS = 5
FROZEN = ("atom_embedding", "bond_embedding", "angle_embedding", "bond_basis_expansion", "angle_basis_expansion")
FROZEN_LAYERS = ("bond_conv_layers", "angle_layers")
"""Modules frozen in the notebook, with all `atom_conv_layers` but the last."""


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


def run_chgnet(frozen: bool, foundation: str, race: Race) -> Row:
    """Train with the vendor's trainer, in a process of its own.

    Returns
    -------
    dict
        ``minutes`` at the end of each epoch, ``models`` by name, and the settings.
    """
    torch.set_num_threads(race.threads)
    random.seed(race.seed)
    parts, folder = race.parts, race.folder
    seconds = 0.0 if race.epochs else seconds_a_batch(parts, frozen, folder)
    epochs = race.epochs or planned_epochs(race.minutes, seconds, len(parts.train))
    train, validation = vendor_data(parts.train), vendor_data(parts.validation)
    trainer = make_trainer(frozen, epochs, race.seed)
    trainer.train(vendor_loader(train, shuffle=True), vendor_loader(validation), save_dir=str(folder))
    for data in (train, validation):
        if data.failed_idx:  # the vendor has put another frame in its place without a word
            raise RunError(f"chgnet could not take frames {data.failed_idx}")
    settings = NOTEBOOK | {"batch": BATCH, "epochs": epochs, "threads": torch.get_num_threads(), "frozen": frozen}
    models = [f"chgnet:{kept(folder, epoch)}" for epoch in range(len(trainer.minutes))]
    return {"minutes": trainer.minutes, "models": models, "settings": settings}


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


def seconds_a_batch(parts: Parts, frozen: bool, folder: Path) -> float:
    """Time one batch by a trial of two short epochs, of which the second has its graphs and its memory ready."""
    batch, frame = vendor_data(spread(parts.train, BATCH)), vendor_data(parts.validation[:1])
    trial = make_trainer(frozen, 2, 0)
    with contextlib.redirect_stdout(None):
        trial.train(vendor_loader(batch), vendor_loader(frame), save_dir=str(folder / "trial"))
    return 60 * (trial.minutes[1] - trial.minutes[0])


def planned_epochs(minutes: float, seconds: float, n_train: int) -> int:
    """Return how many epochs fit into the minutes, at least the notebook's."""
    batches = -(-n_train // BATCH)
    return max(NOTEBOOK_EPOCHS, int(60 * minutes / (batches * seconds)))


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
