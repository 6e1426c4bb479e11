"""MatGL's own trainer in the race: `MGLPotentialTrainer` with the defaults of the command ``mgl train``.

Huber loss, energies and forces at weight 1, stresses at 0.1, Adam at 1e-3 with a cosine over 1000 epochs, batches of
32; the foundation's references, mean and scale are kept, as the command does. The command itself would draw its own
validation frames: its trainer is handed those of the race. The epochs are as many as fit into the minutes.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _race import Race
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from common import Row
from lightning.pytorch.callbacks import Callback

from matgraft import load
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential

DEFAULTS: Row = {
    "energy_weight": 1.0, "force_weight": 1.0, "stress_weight": 0.1, "loss": "huber_loss", "lr": 1e-3,
    "decay_steps": 1000, "decay_alpha": 0.01, "batch_size": 32, "accelerator": "cpu",
}  # fmt: skip


def run_matgl(foundation: str, race: Race) -> Row:
    """Train with MatGL's trainer until the minutes are over.

    Returns
    -------
    dict
        ``minutes`` at the end of each epoch, ``models`` by name, and the settings.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")
        return _train(foundation, race)


def _train(foundation: str, race: Race) -> Row:
    import matgl
    from matgl.utils.training import MGLDatasetLoader, MGLPotentialTrainer

    torch.set_num_threads(race.threads)
    parent = load(foundation)
    assert isinstance(parent, Potential)
    parent.save(race.folder / "start")
    potential: Any = matgl.load_model(str(race.folder / "start"))
    network = potential.model
    began = time.monotonic()
    sets = {
        name: MGLDatasetLoader.from_extxyz(
            _write(dataset, race.folder / f"{name}.extxyz"),
            cutoff=float(network.cutoff), element_types=tuple(network.element_types), save_cache=False,
            root=str(race.folder / name),
        )
        for name, dataset in {"train": race.parts.train, "valid": race.parts.validation}.items()
    }  # fmt: skip
    trainer = MGLPotentialTrainer(
        network,
        data_mean=float(potential.data_mean),
        data_std=float(potential.data_std),
        max_epochs=race.epochs or 100_000,
        devices=1,
        seed=race.seed,
        trainer_kwargs={"logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
                        "enable_model_summary": False, "callbacks": [_Clock(began, race)]},
        **DEFAULTS,
    )  # fmt: skip
    trainer.fit(sets | {"test": sets["valid"]}, atomrefs=_references(potential))
    clock = trainer.trainer_kwargs["callbacks"][0]
    settings = DEFAULTS | {"epochs": len(clock.minutes), "threads": torch.get_num_threads()}
    return {"minutes": clock.minutes, "models": clock.models, "settings": settings}


class _Clock(Callback):  # type: ignore[misc]
    """Notes when an epoch was over, keeps its weights, and ends the fit when its minutes are."""

    def __init__(self, began: float, race: Race) -> None:
        self.began, self.race = began, race
        self.minutes: list[float] = []
        self.models: list[str] = []

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save the potential as MatGL does."""
        if trainer.sanity_checking:
            return
        folder = self.race.folder / f"epoch-{len(self.models)}"
        pl_module.model.save(folder)
        self.models.append(f"matgl:{folder}")
        self.minutes.append((time.monotonic() - self.began) / 60)
        trainer.should_stop = self.minutes[-1] > self.race.minutes


def _references(potential: Any) -> Any:
    references = potential.element_refs
    return None if references is None else np.asarray(references.property_offset.detach())


def _write(dataset: Dataset, file: Path) -> str:
    frames = []
    for sample in dataset:
        atoms = sample.content.copy()
        labels = {"energy": float(sample.labels["energy"]), "forces": sample.labels["forces"]}
        atoms.calc = SinglePointCalculator(atoms, stress=sample.labels["stress"], **labels)
        frames.append(atoms)
    write(file, frames, format="extxyz")
    return str(file)
