"""Features and tangents cached once: the feature strategy trains a head on forces without touching the body.

Along a random direction v of the atoms the energy changes by

    dE/dt = sum_i grad head(h_i) . h'_i,      h'_i = (dh_i/dR) v,

and the label of that slope is -F.v. For v ~ N(0, 1), ``(dE/dt + F.v)^2 / 3N`` is an unbiased estimate of the mean
squared force error (Hutchinson 1989; Sobolev training, Czarnecki et al. 2017). Along a strain direction e the label is
V sigma:e; with N(0, 1) on the diagonal and N(0, 1/2) off it, the mean square over e is V^2 |d sigma|^2. Where only some
components of sigma are labels, e is zero in the others.

The body is passed once a frame: h, then each h' by reverse over reverse (the gradient of <grad_R <h, u>, v> by u), at
about 1.6 forward passes a direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from matgraft.core.errors import OptionError
from matgraft.core.machine import available_memory
from matgraft.core.model import Encoded
from matgraft.core.processes import map_in_processes, timed, workers
from matgraft.core.quantities import STRESS, Array
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning.loss import LossSettings, label_shares
from matgraft.potentials.tuning.memory import SHARE
from matgraft.potentials.tuning.objectives import metrics_of_sums

MEMORY_BYTES = 4 * 2**30
"""Largest cache, or `SHARE` of the memory that can be had where that is less. Beyond it fewer directions a frame are
taken."""
STRESS_SIZE = int(np.prod(STRESS.shape))
"""Components of a stress."""
FEWEST = 2
"""Directions of the atoms below which a frame says too little of its forces."""


@dataclass(frozen=True)
class Directions:
    """How many random directions a frame: of the atoms, and of the strain."""

    atoms: int = 24
    strain: int = 4


@dataclass(frozen=True)
class FrameTangents:
    """What is cached of one frame.

    Attributes
    ----------
    features
        (N, width), entering the head.
    tangents
        (K, N, width): along the atoms' directions, then the strain's.
    slopes
        (K,) eV: labels of dE/dt; NaN where the frame has no such label.
    rest
        Energy label minus references, eV; NaN where absent.
    volume
        Å³, for the stress's scale.
    weight
        Of the frame in the loss.
    label_weights
        Quantity -> weight of this label beside the frame's; 1 where it is not named.
    stress_components
        How many of the stress's nine components are labels, where it is one.
    """

    features: Array
    tangents: Array
    slopes: Array
    rest: float
    volume: float
    weight: float = 1.0
    label_weights: Mapping[str, float] = field(default_factory=dict)
    stress_components: int = STRESS_SIZE

    @property
    def n_atoms(self) -> int:
        """Rows of the frame."""
        return len(self.features)

    @property
    def n_edges(self) -> int:
        """What the cost of a frame grows with: rows times directions."""
        return self.tangents.shape[0] * self.tangents.shape[1]


def choose_directions(
    n_atoms_total: int, width: int, quantities: Sequence[str], memory: int = MEMORY_BYTES
) -> Directions:
    """Take as many directions as pay off: many for a few frames, fewer where there are many atoms.

    Twice the directions are worth less than twice the frames; 320,000 tangent rows take about two minutes a core.
    """
    bound = min(320_000 // max(1, n_atoms_total), memory // (4 * width * max(1, n_atoms_total)))
    count = int(np.clip(bound, FEWEST, 24))
    return Directions(count if "forces" in quantities else 0, max(1, count // 6) if "stress" in quantities else 0)


def plan_directions(backbone: Potential, encoded: Sequence[Encoded], quantities: Sequence[str]) -> Directions:
    """Choose the directions for some training frames, by their atoms and the width of the backbone's features."""
    with torch.no_grad():
        rows = backbone.features(backbone.collate(encoded[:1]).to(backbone.device))
    width = rows.shape[1] * rows.element_size() // 4  # in float32 numbers, by which the cache is bounded
    memory = min(MEMORY_BYTES, int(SHARE * available_memory().bytes))
    return choose_directions(sum(one.n_atoms for one in encoded), width, quantities, memory)


def affordable(
    plan: Directions,
    minutes: float,
    backbone: Potential,
    train: Dataset,
    encoded: Sequence[Encoded],
    held_out: Sequence[Encoded] = (),
) -> tuple[Directions, float]:
    """Take no more directions than can be cached in some minutes, by the time that a frame of the usual size takes.

    A direction costs CHGNet a forward pass and a half of 10 ms an atom, other networks several times that.

    Returns
    -------
    Directions, float
        At least two a frame, where the plan has any; and the minutes that they will take, of all training and
        held-out frames.
    """
    i, frames = usual_size(encoded, held_out)
    few = Directions(min(FEWEST, plan.atoms), min(1, plan.strain))
    seconds, _ = timed(lambda: cache_tangents(backbone, train[[i]], [encoded[i]], few))
    each = seconds / max(1, few.atoms + few.strain) * frames / workers() / 60
    if each * (plan.atoms + plan.strain) <= minutes or plan.atoms <= FEWEST:
        return plan, each * max(1, plan.atoms + plan.strain)
    atoms = max(FEWEST, int(plan.atoms * minutes / (each * (plan.atoms + plan.strain))))
    fewer = Directions(atoms, min(plan.strain, max(1, atoms // 6)))
    return fewer, each * (fewer.atoms + fewer.strain)


def usual_size(encoded: Sequence[Encoded], held_out: Sequence[Encoded] = ()) -> tuple[int, float]:
    """Return a frame of the median size, and how many of its size all frames make up, by edges."""
    sizes = np.array([one.n_edges for one in encoded])
    i = int(np.argsort(sizes)[len(sizes) // 2])
    return i, float(sizes.sum() + sum(one.n_edges for one in held_out)) / max(1, int(sizes[i]))


def cache_tangents(
    backbone: Potential,
    dataset: Dataset,
    encoded: Sequence[Encoded],
    directions: Directions,
    *,
    seed: int = 0,
    processes: int = 1,
    progress: str = "",
) -> list[FrameTangents]:
    """Pass every frame through the body once and keep features and tangents.

    Parameters
    ----------
    seed
        Of the directions; each frame has its own, whatever the order of work.

    Returns
    -------
    list of FrameTangents
        Aligned with the dataset, in the model's own precision.
    """
    backbone.module.eval()

    def one_frame(i: int) -> FrameTangents:
        return _frame_tangents(backbone, dataset[i], encoded[i], directions, np.random.default_rng([seed, i]))

    return map_in_processes(one_frame, range(len(dataset)), processes, progress)


def _frame_tangents(
    backbone: Potential, sample: Sample, encoded: Encoded, directions: Directions, rng: np.random.Generator
) -> FrameTangents:
    batch = backbone.differentiable(backbone.collate([encoded]).to(backbone.device), ("forces", "stress"))
    with torch.enable_grad():
        features = backbone.features(batch)
        probe = torch.zeros_like(features, requires_grad=True)
        by = (batch["positions"], batch["strain"])
        slopes_by_probe = torch.autograd.grad(features, by, probe, create_graph=True)
    moves = rng.standard_normal((directions.atoms, *batch["positions"].shape))
    strains = _strain_directions(rng, directions.strain if float(batch["volume"]) > 0 else 0)
    known = sample.components.get("stress", np.ones((3, 3), dtype=bool))
    strains = np.where(known, strains, 0.0)
    tangents = [_along(slopes_by_probe[0], probe, move) for move in moves]
    tangents += [_along(slopes_by_probe[1], probe, strain[None]) for strain in strains]
    references = float(backbone.references.detach().double()[batch["numbers"] - 1].sum())
    rows = features.detach().cpu().numpy()
    return FrameTangents(
        features=rows,
        tangents=np.stack(tangents) if tangents else np.zeros((0, *rows.shape), dtype=rows.dtype),
        slopes=_slopes(sample, moves, strains),
        rest=float(sample.labels["energy"]) - references if "energy" in sample.labels else np.nan,
        volume=float(batch["volume"]),
        weight=sample.weight,
        label_weights=sample.label_weights,
        stress_components=int(known.sum()),
    )


def _along(slope: Tensor, probe: Tensor, direction: Array) -> Array:
    vector = torch.as_tensor(direction, dtype=slope.dtype, device=slope.device)
    (tangent,) = torch.autograd.grad(slope, probe, vector, retain_graph=True)
    return np.asarray(tangent.cpu().numpy())


def _strain_directions(rng: np.random.Generator, count: int) -> Array:
    drawn = rng.standard_normal((count, 3, 3))
    return np.asarray((drawn + drawn.transpose(0, 2, 1)) / 2)


def _slopes(sample: Sample, moves: Array, strains: Array) -> Array:
    nothing = np.full(len(moves), np.nan)
    of_moves = -np.einsum("kij,ij->k", moves, sample.labels["forces"]) if "forces" in sample.labels else nothing
    if "stress" in sample.labels and len(strains):
        volume = sample.content.get_volume()
        of_strains = volume * np.einsum("kij,ij->k", strains, sample.labels["stress"])
    else:
        of_strains = np.full(len(strains), np.nan)
    return np.concatenate([of_moves, of_strains])


def require_squares(settings: LossSettings) -> None:
    """Refuse a loss that is no mean square: the estimate along random directions holds for squares alone."""
    if settings.kind != "mse":
        raise OptionError(f"loss.kind={settings.kind} cannot act on cached tangents", allowed=["mse"])


class TangentObjective:
    """Losses of a head on cached features and tangents.

    The formula is that of `frame_losses`, with forces and stresses estimated along the cached directions.

    Raises
    ------
    OptionError
        If the loss is not a mean square: the estimate holds for squares alone.
    """

    def __init__(
        self,
        backbone: Potential,
        train: Dataset,
        settings: LossSettings,
        cached: Sequence[FrameTangents],
        held_out: Sequence[FrameTangents],
        directions: Directions,
    ) -> None:
        require_squares(settings)
        self.head = backbone.head
        self.weights = settings.weights(train)
        self.shares = label_shares(train, self.weights)
        self.training, self.validation = cached, held_out
        self.n_moves = directions.atoms

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the loss (B,) of some training frames."""
        frames = [self.training[i] for i in positions]
        squares = self._squares(frames, device, train=True)
        weight = torch.tensor([frame.weight for frame in frames], dtype=torch.float64, device=device)
        own = {name: [frame.label_weights.get(name, 1.0) for frame in frames] for name in squares}
        terms = [self.weights[name] * squares[name] * squares[name].new_tensor(own[name]) for name in squares]
        return weight * torch.stack(terms).sum(0)

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the sums of `error_sums`, forces and stresses estimated along the cached directions."""
        total = torch.zeros(len(self.weights), 4, dtype=torch.float64)
        for i in positions:
            frame = self.validation[i]
            for k, (name, square) in enumerate(self._squares([frame], device).items()):
                count, of = self._label_count(frame, name)
                found = float(square.detach())  # the mean over all `of` numbers: those that are no label add zero
                weight = frame.weight * frame.label_weights.get(name, 1.0) if count else 0.0
                total[k] += torch.tensor(
                    [weight * found, weight * (count / of), of * found, count], dtype=torch.float64
                )
        return total.flatten()

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        """Return validation_loss and the estimated RMSE of each trained quantity."""
        return metrics_of_sums(sums, self.weights, self.shares)

    def _squares(
        self, frames: Sequence[FrameTangents], device: torch.device, *, train: bool = False
    ) -> dict[str, Tensor]:
        """Return (B,) mean squared errors by quantity, in the loss's units; zero where a frame has no such label."""
        counts = torch.tensor([frame.n_atoms for frame in frames], device=device)
        owner = torch.repeat_interleave(torch.arange(len(frames), device=device), counts)
        features = torch.cat([torch.as_tensor(frame.features) for frame in frames]).to(device).requires_grad_()
        with torch.enable_grad():
            sites = self.head(features).squeeze(-1)
            (slope,) = torch.autograd.grad(sites.sum(), features, create_graph=train)
        energy = _by_frame(sites.double(), owner, len(frames))
        rest = torch.tensor([frame.rest for frame in frames], dtype=torch.float64, device=device)
        squares = {"energy": (_error(energy, rest) / counts).square()}
        rows = torch.split(slope, counts.tolist())
        errors = [self._slope_errors(frame, row, device) for frame, row in zip(frames, rows, strict=True)]
        moves, strains = (torch.stack([_mean_square(error[part]) for error in errors]) for part in self._parts())
        volumes = torch.tensor([frame.volume for frame in frames], dtype=torch.float64, device=device)
        squares["forces"] = moves / (3 * counts)
        squares["stress"] = strains / (STRESS_SIZE * torch.where(volumes > 0, volumes, 1.0).square())
        return {name: squares[name] for name in self.weights}

    def _parts(self) -> tuple[slice, slice]:
        return slice(0, self.n_moves), slice(self.n_moves, None)

    @staticmethod
    def _slope_errors(frame: FrameTangents, slope: Tensor, device: torch.device) -> Tensor:
        tangents = torch.as_tensor(frame.tangents).to(device)
        predicted = torch.mv(tangents.flatten(1), slope.flatten()).double()
        return _error(predicted, torch.as_tensor(frame.slopes, device=device))

    def _label_count(self, frame: FrameTangents, name: str) -> tuple[int, int]:
        """Return how many numbers the label of a frame has, none where it is absent; and of how many they are."""
        moves, strains = (frame.slopes[part] for part in self._parts())
        if name == "energy":
            return int(np.isfinite(frame.rest)), 1
        if name == "forces":
            return 3 * frame.n_atoms * int(np.isfinite(moves).any()), 3 * frame.n_atoms
        return frame.stress_components * int(np.isfinite(strains).any()), STRESS_SIZE


def _error(predicted: Tensor, label: Tensor) -> Tensor:
    """Return the difference, zero and without gradient where the label is absent (NaN)."""
    return torch.where(torch.isfinite(label), predicted - label, 0.0)


def _mean_square(error: Tensor) -> Tensor:
    return error.square().sum() / max(1, len(error))


def _by_frame(values: Tensor, owner: Tensor, frames: int) -> Tensor:
    return values.new_zeros(frames).index_add(0, owner, values)
