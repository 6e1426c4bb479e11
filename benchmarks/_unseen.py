"""Rows of frames that a model was not tuned on, for `uncertainty.py`: whole simulations held out in turn, structures
made to lie outside, and real defects that a model of bulk frames has never seen.

A fit of all layers on the simulations of one fold of `FOLDS`. Its weights are chosen on training frames, so all other
simulations are equally new to the model: each of the other folds sets the deviations once, and is judged once.
"""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from common import DATA, HERE, Row, put_right

from matgraft import adapt, load, read
from matgraft.core.quantities import Array
from matgraft.core.statistics import Units, numbered
from matgraft.core.training.execution import Execution
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.uncertainty import Uncertainty
from matgraft.potentials.uncertainty.fit import fit_on_rows
from matgraft.potentials.uncertainty.rows import FrameRows, frame_rows

SHARED = HERE.parents[1] / "shared"
MODELS = {
    "CHGNet": "chgnet",
    "TensorNet": f"matgl:{SHARED / 'models' / 'TensorNet-MatPES-PBE-v2025.1-PES'}",
    "Nequix": f"nequix:{SHARED / 'models' / 'nequix' / 'nequix-omat-1.nqx'}",
    "MACE": f"mace:{SHARED / 'models' / 'mace' / 'GeSbTe.model'}@3f1251c8655192fa",
}
FOLDS = 3
EPOCHS = 2
MOST = 4
"""Frames that are taken of one simulation."""
MADE = 8
"""Frames of each kind outside."""
FOREIGN = "Sn"
Change = Callable[[Atoms, np.random.Generator], Atoms]


# -------------------------------------------------------------------- frames


def silicon() -> Dataset:
    """The published silicon."""
    return some_of_each(put_right(read(DATA / "Si_train.extxyz"), "Si"))


def molybdenum() -> Dataset:
    """The published molybdenum."""
    return some_of_each(read(DATA / "Mo_train.extxyz"))


def alloys() -> Dataset:
    """The embedded frames of silicon and germanium."""
    return some_of_each(read(HERE.parent / "examples" / "data" / "sige" / "frames.extxyz"))


def phase_change() -> Dataset:
    """Frames of germanium, antimony and tellurium, of which no two belong together."""
    frames = read(SHARED / "data" / "real" / "frames" / "GeSbTe.extxyz")
    return frames[list(range(0, len(frames), 2))]


SETS = {"Si": silicon, "Mo": molybdenum, "SiGe": alloys, "GeSbTe": phase_change}


def simulations(frames: Dataset) -> list[str]:
    """Return the simulation of each frame; where none is named every frame is its own."""
    if "trajectory" in frames[0].tags:
        return [str(name) for name in frames.tag("trajectory")]
    return [str(i) for i in range(len(frames))]


def some_of_each(frames: Dataset) -> Dataset:
    """Return at most `MOST` frames of each simulation, evenly spread."""
    names = np.array(frames.tag("trajectory"))
    chosen: list[int] = []
    for name in dict.fromkeys(names.tolist()):
        own = np.flatnonzero(names == name)
        chosen += own[np.unique(np.linspace(0, len(own) - 1, MOST).astype(int))].tolist()
    return frames[sorted(chosen)]


def is_defect(name: str) -> bool:
    """Say whether a simulation of the published frames is of a vacancy or of a surface."""
    return name.startswith("Vacancy") or "surface" in name


# ------------------------------------------------------------------- outside


def scaled(factor: float) -> Change:
    """Scale a cell."""

    def change(atoms: Atoms, rng: np.random.Generator) -> Atoms:
        atoms.set_cell(atoms.cell[:] * factor, scale_atoms=True)
        return atoms

    return change


def molten(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Displace every coordinate by 0.5 Å (standard deviation)."""
    atoms.positions += 0.5 * rng.standard_normal(atoms.positions.shape)
    return atoms


def interstitial(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Put another atom of the first element into the widest of 60 random places."""
    places = rng.random((60, 3)) @ atoms.cell[:]
    symbol = atoms.symbols[0]
    widest = [(atoms + Atoms(symbol, [p])).get_distances(len(atoms), range(len(atoms)), mic=True).min() for p in places]
    return atoms + Atoms(symbol, [places[int(np.argmax(widest))]])


def vacancy(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Take out an atom, and its nearest neighbour where there are more than 20."""
    first = int(rng.integers(len(atoms)))
    order = np.argsort(atoms.get_distances(first, range(len(atoms)), mic=True))
    del atoms[sorted(order[: 2 if len(atoms) > 20 else 1].tolist())]
    return atoms


def foreign(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Make one atom `FOREIGN`."""
    atoms.symbols[int(rng.integers(len(atoms)))] = FOREIGN
    return atoms


OUTSIDE: Mapping[str, Change] = {
    "cell -5 %": scaled(0.95),
    "cell -10 %": scaled(0.9),
    "cell +5 %": scaled(1.05),
    "cell +10 %": scaled(1.1),
    "molten": molten,
    "interstitial": interstitial,
    "vacancy": vacancy,
    "foreign element": foreign,
}


def outside(frames: Dataset, change: Change) -> Dataset:
    """Return frames made of evenly spread ones of at least eight atoms."""
    rng = np.random.default_rng(0)
    large = [sample for sample in frames if sample.n_atoms >= 8]
    chosen = [large[i] for i in np.unique(np.linspace(0, len(large) - 1, MADE).astype(int))]
    return Dataset([Sample(change(s.content.copy(), rng), {}, file="made", index=i) for i, s in enumerate(chosen)])


# ---------------------------------------------------------------------- rows


@dataclass(frozen=True)
class Unseen:
    """What one tuned model says of frames.

    Attributes
    ----------
    train, held
        Rows of training frames, and of held-out frames with their errors.
    train_units, held_units
        Number of the simulation of each frame.
    fold
        Of each held-out frame: 1 or 2, the folds that are not trained on; of a model of bulk frames 1 for bulk frames
        of other simulations and 2 for defects.
    names
        Of the simulations.
    made
        Of each kind outside, rows without errors; none where the model learned of defects.
    cost
        Seconds of a force call and of the figures, of the largest held-out frame.
    """

    train: list[FrameRows]
    train_units: Units
    held: list[FrameRows]
    held_units: Units
    fold: Array
    names: list[str]
    made: dict[str, list[FrameRows]]
    steps: int
    cost: Row | None = None


def tuned(model_name: str, train: Dataset) -> tuple[Potential, int]:
    """Return a model after a short fit of all layers, and its steps."""
    fitted = adapt(
        load(MODELS[model_name]),
        train,
        train[list(range(0, len(train), 4))],
        strategy="full",
        epochs=EPOCHS,
        processes=1,
        execution=Execution(seed=0, quiet=True),
    )
    return fitted.backbone, fitted.fit.history[-1]["step"] if fitted.fit.history else 0


def parts(names: list[str], turn: int | None) -> Iterator[int]:
    """Yield of each frame its part: 0 to train on, 1 and 2 held out; by `turn`, or of bulk frames where it is None.

    Bulk simulations are dealt out by their order, so that those at the lowest and the highest temperature are trained
    on: what is hotter than all training frames is outside of them.
    """
    every = list(dict.fromkeys(names))
    shuffled = np.random.default_rng(0).permutation(every).tolist()
    ordered = sorted((name for name in every if not is_defect(name)), key=natural)
    place = {name: i for i, name in enumerate(shuffled if turn is not None else ordered)}
    for name in names:
        if turn is None:
            yield place[name] % 2 if name in place else 2
        else:
            yield (place[name] - turn) % FOLDS


def natural(name: str) -> list[str]:
    """Return a key by which 300 K comes before 1500 K."""
    return [part.zfill(6) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def cost(model: Potential, uncertainty: Uncertainty, sample: Sample, frame: FrameRows) -> Row:
    """Return seconds of a force call and of the figures, the medians of some rounds in turn."""
    calls, figures = [], []
    for _ in range(5):
        began = time.perf_counter()
        predict_samples(model, [sample])
        middle = time.perf_counter()
        uncertainty.estimate(frame.rows, frame.numbers, frame.forces)
        calls.append(middle - began)
        figures.append(time.perf_counter() - middle)
    call, own = float(np.median(calls[1:])), float(np.median(figures[1:]))
    return {"atoms": sample.n_atoms, "force call, s": call, "figures, s": own, "share": own / call}


def unseen(set_name: str, model_name: str, turn: int | None, kept: Path | None) -> Unseen:
    """Tune a model and pass all frames through it, or read what an earlier call left in the folder `kept`."""
    file = kept / f"{set_name}-{model_name}-{turn}.pickle" if kept else None
    if file is not None and file.is_file():
        found: Unseen = pickle.loads(file.read_bytes())
        return found
    frames = SETS[set_name]()
    names = simulations(frames)
    units, part = numbered(names), np.array(list(parts(names, turn)))
    train, held = np.flatnonzero(part == 0), np.flatnonzero(part > 0)
    model, steps = tuned(model_name, frames[train])
    has_none = turn is None or not any(
        map(is_defect, names)
    )  # of a model that learned defects a vacancy is not outside
    inside = frames[np.flatnonzero(part == 1)]
    kinds = [kind for kind, change in OUTSIDE.items() if change is not foreign or FOREIGN in model.card.elements]
    made = {kind: outside(inside, OUTSIDE[kind]) for kind in kinds} if has_none else {}
    of_train, of_held = frame_rows(model, frames[train], errors=False), frame_rows(model, frames[held], errors=True)
    largest = max(range(len(held)), key=lambda i: len(of_held[i].numbers))
    uncertainty = fit_on_rows((of_train, units[train]), (of_held, units[held]), "")
    found = Unseen(
        of_train,
        units[train],
        of_held,
        units[held],
        part[held],
        list(dict.fromkeys(names)),
        {kind: frame_rows(model, own, errors=False) for kind, own in made.items()},
        steps,
        cost(model, uncertainty, frames[int(held[largest])], of_held[largest]),
    )
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(found))
    return found
