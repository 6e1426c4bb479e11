"""A small network that says what a run says, many times as fast: knowledge distillation (Hinton et al. 2015).

    student = teach(predictor, asked, said)        # formulas of the table with what the run says of them
    student.predict(formulas)                      # value, interval, standard deviation, distance
    student.closeness                              # how far that is off the run, on rows it was not taught

It is the first layer of the run's own encoder with a head for everything that a prediction has. Its intervals are wider
than the run's by what it is off there, so that they hold as much; formulas of the training set are answered by the run.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.encoder import Sizes, by_length, tensors_of
from matgraft.formulas.encoder_inference import Tokens, features_of
from matgraft.formulas.encoder_network import CompositionEncoder
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.inputs import Array
from matgraft.formulas.learners.network import FittedNetwork
from matgraft.formulas.learners.watched import LoopSettings, WatchedLoss, fit_watched
from matgraft.formulas.predictor.out_of_fold import ONE_SIGMA
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.report.facts import Closeness

TAUGHT = 16_384
"""Rows that are taught. Of formation energies it is then 0.055 eV/atom off, a perceptron on descriptors 0.071."""
HELD = 0.1
"""Part of them that is held out."""
LAYERS = 1
"""Of the encoder: two are 0.007 eV/atom nearer to the run, at half the rate."""
HIDDEN, CHUNK = 256, 512
LOOP = LoopSettings(rate=1e-3, epochs=8, batch=128, weight_decay=1e-4)
NEAR = 0.05
"""Added to distances before their logarithm."""
LEAST = 1e-9
"""Of a standard deviation, before its logarithm."""
BEND = 0.3
"""Error from which on the Huber loss rises in a straight line, in standard deviations."""
ZEROS = 0.01
"""Part of exact zeros among the run's values from which on small values of the student are zero."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """Formulas with what a run says of them.

    Attributes
    ----------
    covariates
        (n, k).
    """

    formulas: Sequence[Formula]
    covariates: Array
    said: Prediction

    def take(self, rows: NDArray[np.int_]) -> Lesson:
        """Return some rows."""
        return Lesson([self.formulas[int(i)] for i in rows], self.covariates[rows], self.said.take(rows))


class StudentNetwork(nn.Module):
    """The first layers of an encoder, and a head."""

    def __init__(self, encoder: CompositionEncoder, n_covariates: int, outputs: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.encoder.layers = self.encoder.layers[:LAYERS]
        self.encoder.head = nn.Sequential()
        width = encoder.width_of_features + n_covariates
        self.head = nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, outputs))

    def forward(self, numbers: Tensor, fractions: Tensor, covariates: Tensor) -> Tensor:
        """Return (B, outputs)."""
        return self.head(torch.cat([by_length(self.encoder.features, numbers, fractions), covariates], 1))


@dataclass(frozen=True, eq=False)
class Scales:
    """On which scales a student learns.

    Attributes
    ----------
    centre, width
        (outputs,) of what it learns; 0 and 1 for probabilities.
    covariate_centre, covariate_width
        (k,).
    zero
        Below this a value is 0.
    off, off_std
        By what intervals are widened, on the scale that the run learned on, and standard deviations.
    """

    centre: Array
    width: Array
    covariate_centre: Array
    covariate_width: Array
    zero: Array
    off: Array
    off_std: Array


@dataclass(frozen=True, eq=False)
class Student:
    """A network that was taught, and the run that answers for its own training rows."""

    module: StudentNetwork
    scales: Scales
    run: Predictor

    def predict(self, formulas: Sequence[Formula], covariates: Array | None = None) -> Prediction:
        """Predict formulas; those of the training set by the run itself."""
        beside = np.zeros((len(formulas), 0)) if covariates is None else covariates
        known = set(self.run.inputs.formulas)
        seen = np.array([formula in known for formula in formulas])
        said = replace(self.alone(formulas, beside), in_training=seen)
        if not (rows := np.flatnonzero(seen)).size:
            return said
        own = self.run.predict([formulas[int(i)] for i in rows], beside[rows] if beside.shape[1] else None)
        rest = np.flatnonzero(~seen)
        joined = Prediction.joined([own, said.take(rest)]) if rest.size else own
        return joined.take(np.argsort(np.concatenate([rows, rest])))

    @torch.inference_mode()
    def alone(self, formulas: Sequence[Formula], covariates: Array) -> Prediction:
        """Return what the network says of formulas."""
        scaled = torch.from_numpy((covariates - self.scales.covariate_centre) / self.scales.covariate_width).float()
        features = features_of(self.module.encoder, Tokens.of(formulas))
        parts = zip(features.split(CHUNK), scaled.to(features.device).split(CHUNK), strict=True)
        out = torch.cat([self.module.head(torch.cat(part, 1)) for part in parts])
        return self._read(out.double().numpy())

    def _read(self, out: Array) -> Prediction:
        distance = np.maximum(np.exp(out[:, -1] * self.scales.width[-1] + self.scales.centre[-1]) - NEAR, 0.0)
        if self.run.labels.n_classes:
            likely = torch.from_numpy(out[:, :-1]).softmax(1).numpy()
            return self.run.calibration.read(likely, likely, distance)
        value, below, above, std, _ = (out * self.scales.width + self.scales.centre).T
        transform, least = self.run.calibration.transform, 0.0
        gaps = [np.hypot(np.maximum(gap, 0), self.scales.off) for gap in (below, above)]
        ends = [transform.back(one) for one in (value, value - gaps[0], value + gaps[1])]
        if transform.positive:
            ends = [np.maximum(one, least) for one in ends]
        ends = [np.where(one < self.scales.zero, least, one) for one in ends]
        return Prediction(ends[0], ends[1], ends[2], np.hypot(np.exp(std), self.scales.off_std), distance)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights and scales by name."""
        weights = {f"weights.{name}": tensor.numpy() for name, tensor in self.module.state_dict().items()}
        return weights | {f"scales.{name}": np.asarray(value, float) for name, value in vars(self.scales).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], run: Predictor) -> Student:
        """Return the student that `arrays` described, of the same run."""
        scales = Scales(**{name[7:]: np.asarray(one) for name, one in arrays.items() if name.startswith("scales.")})
        module = StudentNetwork(encoder_of(run), len(scales.covariate_centre), len(scales.centre))
        state = {
            name[8:]: torch.from_numpy(np.array(one)) for name, one in arrays.items() if name.startswith("weights")
        }
        module.load_state_dict(state)
        return cls(module.eval(), scales, run)


class _Matching(WatchedLoss["_Tensors"]):
    """Huber losses of what is learned; of probabilities the cross-entropy to the run's."""

    def __init__(self, module: StudentNetwork, n_classes: int, parts: tuple[_Tensors, _Tensors]) -> None:
        super().__init__(*parts, sizes=(parts[0].sizes, parts[1].sizes))
        self.module, self.n_classes = module, n_classes

    def of_part(self, part: _Tensors, positions: Sequence[int], device: torch.device) -> Tensor:
        rows = torch.as_tensor(list(positions))
        longest = int(part.sizes.lengths[rows.numpy()].max())
        out = self.module(part.numbers[rows, :longest], part.fractions[rows, :longest], part.covariates[rows])
        y = part.y[rows].to(out.device)
        huber = functional.huber_loss(out[:, -1:], y[:, -1:], reduction="none", delta=BEND).squeeze(1)
        if self.n_classes:
            return huber - (y[:, :-1] * out[:, :-1].log_softmax(1)).sum(1)
        return functional.huber_loss(out, y, reduction="none", delta=BEND).mean(1)


@dataclass(frozen=True, eq=False)
class _Tensors:
    numbers: Tensor
    fractions: Tensor
    covariates: Tensor
    y: Tensor
    sizes: Sizes

    @classmethod
    def of(cls, lesson: Lesson, learned: Array, scales: Scales) -> _Tensors:
        numbers, fractions = tensors_of(lesson.formulas)
        covariates = (lesson.covariates - scales.covariate_centre) / scales.covariate_width
        y = (learned - scales.centre) / scales.width
        sizes = Sizes((numbers > 0).sum(1).numpy())
        return cls(numbers, fractions, torch.from_numpy(covariates).float(), torch.from_numpy(y).float(), sizes)


def held_out(formulas: Sequence[Formula], seed: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Return rows that are held out and rows that are taught; no formula is among both, however often it stands there.

    Rows of a taught formula are easy: what is off on them says little of formulas that were not taught.
    """
    numbers = {formula: i for i, formula in enumerate(dict.fromkeys(formulas))}
    of_row = np.array([numbers[formula] for formula in formulas])
    drawn = np.random.default_rng(seed).permutation(len(numbers))
    rows = np.argsort(np.argsort(drawn)[of_row], kind="stable")
    cut = max(1, round(HELD * len(rows)))
    while cut < len(rows) - 1 and of_row[rows[cut]] == of_row[rows[cut - 1]]:
        cut += 1
    return rows[:cut], rows[cut:]


def teach(run: Predictor, lesson: Lesson, target: str = "", seed: int = 0) -> tuple[Student, Closeness]:
    """Teach a student what a run says of formulas, and say how far it is off on those that are held out."""
    held, taught = (lesson.take(rows) for rows in held_out(lesson.formulas, seed))
    learned = [_learned(run, one.said) for one in (taught, held)]
    scales = _scales(taught, learned[0], run.labels.n_classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = StudentNetwork(encoder_of(run), lesson.covariates.shape[1], learned[0].shape[1])
        parts = (_Tensors.of(taught, learned[0], scales), _Tensors.of(held, learned[1], scales))
        module.requires_grad_(True).train()
        group = ParamGroup("student", dict(module.named_parameters()))
        fit_watched(_Matching(module, run.labels.n_classes, parts), module, [group], LOOP, seed)
    student = Student(module.eval(), scales, run)
    said = student.alone(held.formulas, held.covariates)
    off = np.abs(said.value - held.said.value)
    closeness = Closeness(
        target=target, taught=len(taught.formulas), held_out=len(held.formulas),
        value=float((off > 0).mean() if run.labels.n_classes else off.mean()),
        of_std=None if run.labels.n_classes else float(np.median(off / np.maximum(held.said.std, LEAST))),
        unlike=float((said.unlike == held.said.unlike).mean()),
    )  # fmt: skip
    if run.labels.n_classes:
        return student, closeness
    apart = np.abs(_learned(run, said)[:, 0] - learned[1][:, 0])
    widened = replace(
        scales,
        off=np.array(np.quantile(apart, run.settings.level)),
        off_std=np.array(np.quantile(off, ONE_SIGMA)),
    )
    return replace(student, scales=widened), closeness


def encoder_of(run: Predictor) -> CompositionEncoder:
    """Return the encoder that a student begins with: the first that the run tuned, else that of its backbone."""
    tuned = next((one for one in run.tuned if isinstance(one, FittedNetwork)), None)
    return tuned.module.encoder if tuned else run.tools.backbone.module


def _learned(run: Predictor, said: Prediction) -> Array:
    """Return (n, outputs) of what a student learns: probabilities, or value, gaps and deviation; and the distance."""
    near = np.log(said.distance + NEAR)[:, None]
    if said.probabilities is not None:
        return np.concatenate([said.probabilities, near], 1)
    scale = run.calibration.transform
    tiny = LEAST if scale.scale == "log" else -np.inf
    value, lower, upper = (scale.forward(np.maximum(one, tiny)) for one in (said.value, said.lower, said.upper))
    return np.stack([value, value - lower, upper - value, np.log(said.std + LEAST), near[:, 0]], 1)


def _scales(taught: Lesson, learned: Array, n_classes: int) -> Scales:
    centre, width = learned.mean(0), np.maximum(learned.std(0), LEAST)
    if n_classes:
        centre[:-1], width[:-1] = 0.0, 1.0
    values, zero = taught.said.value, -np.inf
    if not n_classes and (values == 0).mean() > ZEROS and (values > 0).any():
        zero = float(np.quantile(values[values > 0], 0.01)) / 2
    widths = taught.covariates.std(0)
    return Scales(
        centre, width, taught.covariates.mean(0), np.where(widths > 0, widths, 1.0),
        zero=np.array(zero), off=np.array(0.0), off_std=np.array(0.0),
    )  # fmt: skip
