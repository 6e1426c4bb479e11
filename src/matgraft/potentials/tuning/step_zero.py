"""Before the first step the prepared model is its foundation, up to the shift of the references, or the run stops.

    check_heads(foundation, prepared, references, train, encoded)     # energies and forces, under each head
    check_replay(objective)                                       # the foundation's labels have no loss

What a strategy freezes, injects or copies must not move a prediction, and what is rehearsed must start at no loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np

from matgraft.core.errors import StepZeroError
from matgraft.core.frozen import Frozen
from matgraft.core.model import Encoded
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import frames_by_head
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.tuning.references import References, ReferenceShift
from matgraft.potentials.tuning.replay import ReplayObjective, under

FRAMES = 8
LARGEST_ENERGY = 1e-4
"""eV/atom: float32 networks leave some 1e-6. References are float64 and leave nothing."""
LARGEST_FORCES = 1e-3
"""eV/Å: float32 leaves some 1e-4 where three atoms stand nearly in line."""


class StepZero(Frozen):
    """How far the prepared model is from its foundation before the first step, up to the shift of the references.

    Attributes
    ----------
    max_energy_difference_eV_per_atom, max_force_difference_eV_per_A
        The largest differences.
    n_frames
        Frames that were compared.
    """

    max_energy_difference_eV_per_atom: float = 0.0
    max_force_difference_eV_per_A: float = 0.0
    n_frames: int = 0

    def __or__(self, other: StepZero) -> StepZero:
        """Return the larger differences, over the frames of both."""
        return StepZero(
            max_energy_difference_eV_per_atom=max(
                self.max_energy_difference_eV_per_atom, other.max_energy_difference_eV_per_atom
            ),
            max_force_difference_eV_per_A=max(self.max_force_difference_eV_per_A, other.max_force_difference_eV_per_A),
            n_frames=self.n_frames + other.n_frames,
        )


def check_heads(
    foundation: Potential, prepared: Potential, references: References, dataset: Dataset, encoded: Sequence[Encoded]
) -> StepZero:
    """Hold the prepared model against its foundation, under each head on frames of its own; the largest differences.

    The foundation's own head has none, and is held against it on those of the others.
    """
    if isinstance(references, ReferenceShift):
        return check_step_zero(foundation, prepared, references, dataset, encoded)
    members = frames_by_head(dataset)
    found = [
        check_step_zero(foundation, prepared, references.heads[name], dataset[frames], [encoded[i] for i in frames])
        for name, frames in members.items()
    ]
    for name in references.heads.keys() - members.keys():
        lent = under(name, dataset[spread_over(dataset)])
        graphs = encode_all(prepared, lent.samples)
        found.append(check_step_zero(foundation, prepared, references.heads[name], lent, graphs))
    return reduce(or_, found)


def spread_over(dataset: Dataset) -> list[int]:
    """Return the positions of the few frames that are looked at."""
    return np.unique(np.linspace(0, len(dataset) - 1, FRAMES).astype(int)).tolist()


def check_step_zero(
    foundation: Potential,
    prepared: Potential,
    shift: ReferenceShift,
    dataset: Dataset,
    encoded: Sequence[Encoded],
) -> StepZero:
    """Hold the prepared model against its foundation on a few frames spread over the data.

    Raises
    ------
    StepZeroError
        If either is larger than rounding.
    """
    chosen = spread_over(dataset)
    samples, graphs = dataset[chosen].samples, [encoded[i] for i in chosen]
    wanted = ("energy", "forces")
    before, after = (predict_samples(model, samples, wanted, encoded=graphs) for model in (foundation, prepared))
    energy = forces = 0.0
    for sample, old, new in zip(samples, before, after, strict=True):
        expected = old["energy"] + shift.energy(sample.content.numbers)
        # np.maximum hands a NaN on, where max drops it.
        energy = float(np.maximum(energy, np.abs(new["energy"] - expected) / sample.n_atoms))
        forces = float(np.maximum(forces, np.abs(new["forces"] - old["forces"]).max()))
    _require_rounding(f"the model differs from {foundation.card.name}", energy, forces)
    return StepZero(
        max_energy_difference_eV_per_atom=energy, max_force_difference_eV_per_A=forces, n_frames=len(chosen)
    )


def check_replay(objective: ReplayObjective) -> float:
    """Hold the prepared model against the labels of the replay frames, and return their mean loss: rounding alone.

    Raises
    ------
    StepZeroError
        If the labels are not what the model says.
    """
    found = objective.replay_metrics()
    energy = found.get("replay_energy_rmse_meV_per_atom", 0.0) / 1000
    forces = found.get("replay_forces_rmse_eV_per_A", 0.0)
    _require_rounding("the labels of the replay frames differ from the model", energy, forces)
    return found["replay_loss"]


def _require_rounding(what: str, energy: float, forces: float) -> None:
    if not (energy <= LARGEST_ENERGY and forces <= LARGEST_FORCES):
        raise StepZeroError(
            f"before the first step {what} by {energy:.2g} eV/atom and {forces:.2g} eV/Å",
            allowed=[f"{LARGEST_ENERGY:g} eV/atom", f"{LARGEST_FORCES:g} eV/Å"],
            remedy="this is a defect of the strategy or the adapter, not of your data: please report it",
        )
