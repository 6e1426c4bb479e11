"""mace-torch's own trainer in the race: the command ``mace_run_train``, fine-tuning as its documentation shows it.

Naive fine-tuning: lr 0.01, batches of 2, energy and force weights 1 and 10, EMA 0.99, AMSGrad, float32, E0s by least
squares; stresses with weight 1 and the ``stress`` loss, since the frames have them. It is stopped when its minutes are
over. Its clock starts when it reports that training has started: imports and graphs are not counted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from _race import Race
from ase.io import write
from common import Row

from matgraft import load
from matgraft.core.errors import RunError
from matgraft.core.provenance import file_hash
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential

SETTINGS: Row = {
    "multiheads_finetuning": "False", "E0s": "average", "scaling": "rms_forces_scaling", "lr": 0.01, "batch_size": 2,
    "loss": "stress", "energy_weight": 1.0, "forces_weight": 10.0, "stress_weight": 1.0, "compute_stress": "True",
    "ema_decay": 0.99, "default_dtype": "float32", "device": "cpu", "error_table": "PerAtomRMSE",
}  # fmt: skip
FLAGS = ("ema", "amsgrad", "save_all_checkpoints")
KEYS = {"energy": "REF_energy", "forces": "REF_forces", "stress": "REF_stress"}
STARTED = "Started training"
POLL = 0.2
"""Seconds between two looks at the log."""


def run_mace(foundation: str, race: Race) -> Row:
    """Run the command, stop it when its minutes are over, and read its checkpoints.

    Returns
    -------
    dict
        ``minutes`` at which each epoch's checkpoint was written, ``models`` by name, and the settings.
    """
    folder = race.folder
    parent = load(foundation)
    assert isinstance(parent, Potential)
    start = folder / "start.model"
    parent.save(start)
    for name in ("train", "validation"):
        write_frames(getattr(race.parts, name), folder / f"{name}.extxyz")
    began = _run(_command(race, start), folder, race)
    files = sorted((folder / "checkpoints").glob("*_epoch-*.pt"), key=lambda file: file.stat().st_mtime)
    return {
        "minutes": [(file.stat().st_mtime - began) / 60 for file in files],
        "models": [model_of(file, start) for file in files],
        "settings": SETTINGS | dict.fromkeys(FLAGS, True) | {"threads": race.threads},
    }


def _command(race: Race, start: Path) -> list[str]:
    given = SETTINGS | {
        "name": "race", "seed": race.seed, "foundation_model": start, "work_dir": race.folder,
        "train_file": race.folder / "train.extxyz", "valid_file": race.folder / "validation.extxyz",
        "max_num_epochs": race.epochs or 10_000, "patience": 10_000,
        **{f"{name}_key": key for name, key in KEYS.items()},
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in given.items()] + [f"--{flag}" for flag in FLAGS]
    return [sys.executable, "-W", "ignore", "-m", "mace.cli.run_train", *words]


def _run(command: list[str], folder: Path, race: Race) -> float:
    """Run the command for the minutes of the race, and return the time (s since the epoch) at which training began."""
    log = folder / "log.txt"
    environment = os.environ | {"OMP_NUM_THREADS": str(race.threads)}
    began = 0.0
    with log.open("w") as out, subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out) as child:
        while child.poll() is None and not (began and time.time() > began + 60 * race.minutes):
            time.sleep(POLL)
            if not began and STARTED in log.read_text(errors="replace"):
                began = time.time()
        child.terminate()
    if not began or child.returncode > 0:
        raise RunError("mace_run_train failed:\n" + log.read_text(errors="replace")[-2000:])
    return began


def write_frames(dataset: Dataset, file: Path) -> None:
    """Write frames as extended XYZ, labels under `KEYS`."""
    frames = []
    for sample in dataset:
        atoms = sample.content.copy()
        atoms.calc = None
        atoms.info, extra = {KEYS["energy"]: float(sample.labels["energy"])}, sample.labels
        atoms.info[KEYS["stress"]] = extra["stress"].reshape(9)
        atoms.arrays[KEYS["forces"]] = extra["forces"]
        frames.append(atoms)
    write(file, frames, format="extxyz")


def model_of(checkpoint: Path, start: Path) -> str:
    """Return the name of a model file with a checkpoint's weights: the start's architecture, for the frames' elements.

    The command leaves the other elements of its foundation out.
    """
    from mace.tools.scripts_utils import extract_config_mace_model

    foundation: Any = torch.load(start, map_location="cpu", weights_only=False)  # written above
    state = torch.load(checkpoint, map_location="cpu", weights_only=False)["model"]  # written by the command above
    numbers = state["atomic_numbers"].tolist()
    energies = state["atomic_energies_fn.atomic_energies"].reshape(-1).numpy()
    left = {"atomic_numbers": numbers, "num_elements": len(numbers), "atomic_energies": energies}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # e3nn compiles its layers by TorchScript, which is deprecated
        model = type(foundation)(**extract_config_mace_model(foundation) | left)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    # The command holds the references as (heads, elements), also where the file that it was given has (elements,).
    model.load_state_dict({name: tensor.reshape(shapes[name]) for name, tensor in state.items()})
    file = checkpoint.with_suffix(".model")
    torch.save(model, file)
    return f"mace:{file}@{file_hash(file)}"
