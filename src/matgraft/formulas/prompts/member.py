"""Strategy prompt: the encoder frozen, one readout for all targets, and a prompt that asks for each.

    fit = fit_prompts(backbone, {"gap": (inputs, labels), "energy": ...}, held, PromptSettings(), seed=0)
    fit.of("gap")(inputs)                 # (n, 99) quantiles, or (n, n_classes) probabilities

Targets learn together: a row is a formula and one of its labels, and what it lacks is no row. A target of values is one
question, of two classes one ("is it the second?"), of more classes one a class. Each question starts from the nearest
of the bank (`matgraft.formulas.prompts.bank`), and learns its prompt, an offset and a slope; all share the readout.
Bonding descriptors and covariates shift the prompt, each along a vector that begins at zero. The prompts of classes are
the bank's as they are; without a bank they learn as well, and all begins at random. The user's own classes
begin at zero beside them, and all targets share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.encoder import CompositionBackbone, Sizes, tensors_of
from matgraft.formulas.learners.inputs import Array, Inputs, Labels, Part
from matgraft.formulas.learners.network import Scaling, between
from matgraft.formulas.learners.quantiles import MIDDLE, pinball
from matgraft.formulas.learners.watched import Curves, LoopSettings, WatchedLoss, curve_arrays, curves_of, fit_watched
from matgraft.formulas.prompts.bank import BANKS, Bank, Start, bank_answers, nearest_prompt
from matgraft.formulas.prompts.prompts import PromptedEncoder, class_indices

BESIDE = ("valence", "covariates")
"""Blocks that shift a question. Bonding descriptors took gaps from 0.50 to 0.46 eV and steels from 160 to 107 MPa."""
STARTING_ROWS = 100
"""Rows that the nearest prompt is chosen by: each costs as many passes as the bank has questions."""
OWN = "own_class."
"""With what the names of the user's own classes begin among the arrays of a fit."""
LOGIT = 4.0
"""Logits by which a probability near one half changes by 1."""
CHUNK = 1024
Parts = Mapping[str, Part]


class PromptSettings(LoopSettings):
    """How prompts are tuned."""

    rate: float = Field(0.01, gt=0)
    bank: str | None = None
    """``shipped``, ``none`` or a folder of `matgraft prompts`; None takes the shipped one where it belongs."""


@dataclass(frozen=True)
class TargetQuestion:
    """What one target asks.

    Attributes
    ----------
    first
        Index of its first question.
    starts
        A start a question; none where there is no bank.
    """

    first: int
    n_classes: int
    scaling: Scaling
    starts: tuple[Start, ...] = ()

    @property
    def n_questions(self) -> int:
        """Return how many questions it is."""
        return questions_of(self.n_classes)


def questions_of(n_classes: int) -> int:
    """Return the number of questions of a target: 0 classes are values."""
    return n_classes if n_classes > 2 else 1


class PromptFit:
    """Prompts tuned for some targets, on a frozen encoder.

    Attributes
    ----------
    curves
        How the losses of the fit went; empty for one that an earlier version made.
    """

    def __init__(
        self, module: PromptedEncoder, asked: Mapping[str, TargetQuestion], curves: Curves | None = None
    ) -> None:
        self.module, self.asked = module.eval(), dict(asked)
        self.curves: Curves = curves or {}

    def of(self, target: str) -> PromptedNetwork:
        """Return what answers one target."""
        return PromptedNetwork(self, target)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything but the encoder by name."""
        found = {f"weights.{name}": one.detach().numpy() for name, one in self.module.learned().items()}
        found |= curve_arrays(self.curves)
        found |= {f"{OWN}{name}": np.array([i]) for i, name in enumerate(self.module.own_names)}
        for target, asked in self.asked.items():
            numbers = {"first": asked.first, "n_classes": asked.n_classes} | vars(asked.scaling)
            for name in ("nearest", "similarity", "offset", "slope"):
                numbers[f"start_{name}"] = [getattr(start, name) for start in asked.starts]
            found |= {f"asked.{name}.{target}": np.asarray(value, np.float64) for name, value in numbers.items()}
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], backbone: CompositionBackbone) -> PromptFit:
        """Return the fit that `arrays` described."""
        by_target: dict[str, dict[str, NDArray[Any]]] = {}
        for key in (key for key in arrays if key.startswith("asked.")):
            _, name, target = key.split(".", 2)
            by_target.setdefault(target, {})[name] = arrays[key]
        asked = {target: _asked(numbers) for target, numbers in by_target.items()}
        asked = dict(sorted(asked.items(), key=lambda item: item[1].first))
        names = [name for target, one in asked.items() for name in [target] * one.n_questions]
        own = {int(place[0]): key.removeprefix(OWN) for key, place in arrays.items() if key.startswith(OWN)}
        width = arrays["weights.covariates"].shape[1]
        module = PromptedEncoder(backbone.module, names, width, own=[own[i] for i in sorted(own)])
        state = {name: torch.from_numpy(np.array(arrays[f"weights.{name}"])) for name in module.learned()}
        module.load_state_dict(state, strict=False)
        return cls(module, asked, curves_of(arrays))


class PromptedNetwork:
    """One target's answers, by a fit that others may share."""

    def __init__(self, fit: PromptFit, target: str) -> None:
        self.fit, self.target, self.asked, self.curves = fit, target, fit.asked[target], fit.curves

    @torch.no_grad()
    def __call__(self, inputs: Inputs) -> Array:
        """Return (n, 99) quantiles, or (n, n_classes) probabilities."""
        asked, parts = self.asked, []
        for each in self._questions(inputs):
            answers = [self.fit.module(*one) for one in each]
            parts.append(_logits(torch.stack(answers, 1)) if asked.n_classes else answers[0])
        out = torch.cat(parts).double()
        if asked.n_classes:
            return out.softmax(1).numpy()
        learned = np.sort(out.numpy(), axis=1) * asked.scaling.width + asked.scaling.centre
        return between(np.where(learned < asked.scaling.zero, 0.0, learned))

    @torch.no_grad()
    def features(self, inputs: Inputs) -> Array:
        """Return the pooled features (n, width) of formulas that are asked; of several questions their mean."""
        frozen, parts = self.fit.module.frozen, []
        for each in self._questions(inputs):
            pooled = [frozen.pooled(self.fit.module.tokens(*one), one[0], one[1]) for one in each]
            parts.append(torch.stack(pooled).mean(0))
        return torch.cat(parts).double().numpy()

    @torch.no_grad()
    def element_vectors(self, inputs: Inputs) -> list[Array]:
        """Return of each formula that is asked a vector an element (n_elements, width)."""
        rows: list[Array] = []
        for each in self._questions(inputs):
            rows += list(torch.stack([self.fit.module.tokens(*one) for one in each]).mean(0).double().numpy())
        return [row[1 : len(formula) + 1] for row, formula in zip(rows, inputs.formulas, strict=True)]

    def _questions(self, inputs: Inputs) -> Iterator[list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]]:
        """Yield of some formulas what the module reads, once a question."""
        asked = self.asked
        covariates = _padded(asked.scaling.covariates(inputs, BESIDE), self.fit.module)
        for start in range(0, len(inputs), CHUNK):
            rows = slice(start, start + CHUNK)
            formulas = inputs.formulas[rows]
            numbers, fractions = tensors_of(formulas)
            classes = class_indices(formulas, self.fit.module.own_names)
            each = [torch.full((len(formulas),), asked.first + k) for k in range(asked.n_questions)]
            yield [(numbers, fractions, classes, question, covariates[rows]) for question in each]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the whole fit."""
        return self.fit.arrays()


class PromptObjective(WatchedLoss["_Rows"]):
    """Pinball loss of values and log loss of classes, for the one training loop; a sample is a label."""

    def __init__(self, module: PromptedEncoder, asked: Mapping[str, TargetQuestion], train: Parts, held: Parts) -> None:
        self.module, self.asked = module, list(asked.values())
        parts = _Rows.of(module, asked, train), _Rows.of(module, asked, held)
        super().__init__(*parts, sizes=(parts[0].sizes, parts[1].sizes))

    def of_part(self, part: _Rows, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the losses (B,) of some labels of a part."""
        rows = torch.as_tensor(list(positions))
        counts = part.n_questions[rows]
        each = rows.repeat_interleave(counts)
        within = torch.arange(len(each)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        longest = int(part.lengths[rows].max())
        asked = (part.numbers[each, :longest], part.fractions[each, :longest], part.classes[each],
                 part.first[each] + within, part.covariates[each])  # fmt: skip
        answers = self.module(*(tensor.to(device) for tensor in asked))
        y, losses = part.y[rows].to(device), torch.zeros(len(rows), device=device)
        for i, one in enumerate(self.asked):
            own, theirs = part.target[rows] == i, part.target[each] == i
            if not bool(own.any()):
                continue
            if one.n_classes:
                logits = _logits(answers[theirs].view(-1, one.n_questions, answers.shape[1]))
                losses[own] = functional.cross_entropy(logits, y[own].long(), reduction="none")
            else:
                losses[own] = pinball(answers[theirs], y[own])
        return part.weights[rows].to(device) * losses


@dataclass(frozen=True)
class _Rows:
    """Labels of all targets, one below the other."""

    numbers: Tensor
    fractions: Tensor
    classes: Tensor
    covariates: Tensor
    y: Tensor
    weights: Tensor
    target: Tensor
    first: Tensor
    n_questions: Tensor
    lengths: Tensor
    sizes: Sizes

    @classmethod
    def of(cls, module: PromptedEncoder, asked: Mapping[str, TargetQuestion], parts: Parts) -> _Rows:
        formulas = [formula for name in asked for formula in parts[name][0].formulas]
        numbers, fractions = tensors_of(formulas)
        counts = torch.tensor([len(parts[name][0]) for name in asked])
        lengths = (numbers > 0).sum(1)

        def repeated(values: Sequence[int]) -> Tensor:
            return torch.tensor(values).repeat_interleave(counts)

        scalings = {name: one.scaling for name, one in asked.items()}
        return cls(
            numbers=numbers,
            fractions=fractions,
            classes=class_indices(formulas, module.own_names),
            covariates=torch.cat(
                [_padded(s.covariates(parts[name][0], BESIDE), module) for name, s in scalings.items()]
            ),
            y=torch.cat([torch.from_numpy(s.standardised(parts[name][1].y)).float() for name, s in scalings.items()]),
            weights=torch.cat([torch.from_numpy(parts[name][1].weights).float() for name in asked]),
            target=repeated(list(range(len(asked)))),
            first=repeated([one.first for one in asked.values()]),
            n_questions=repeated([one.n_questions for one in asked.values()]),
            lengths=lengths,
            sizes=Sizes(lengths.numpy()),
        )


def fit_prompts(
    backbone: CompositionBackbone, train: Parts, held: Parts, settings: PromptSettings, seed: int
) -> PromptFit:
    """Tune prompts for all targets together; the held parts are only watched."""
    bank = BANKS.choose(settings.bank, backbone)
    module, asked = prepared(backbone, bank, train, seed)
    learned = module.learned()
    if bank is not None:
        learned.pop("classes").requires_grad_(False)
    objective = PromptObjective(module, asked, train, held)
    module.train()
    curves = fit_watched(objective, module, [ParamGroup("prompts and readout", learned)], settings, seed)
    return PromptFit(module, asked, curves)


def prepared(
    backbone: CompositionBackbone, bank: Bank | None, train: Parts, seed: int
) -> tuple[PromptedEncoder, dict[str, TargetQuestion]]:
    """Return the module as it is before the first step: each question a copy of the bank's nearest."""
    asked: dict[str, TargetQuestion] = {}
    names: list[str] = []
    for name, (inputs, labels) in train.items():
        asked[name] = TargetQuestion(len(names), labels.n_classes, Scaling.of(inputs, labels, BESIDE))
        names += [name] * asked[name].n_questions
    widest = max(inputs.matrix(BESIDE).shape[1] for inputs, _ in train.values())
    own = sorted({one.own_class for inputs, _ in train.values() for one in inputs.formulas if one.own_class})
    module = PromptedEncoder(backbone.module, names, widest, seed, own)
    if bank is None:
        return module, asked
    known = bank.prompted(backbone)
    module.classes.data.copy_(known.classes)
    module.readout.load_state_dict(known.readout.state_dict())
    for name, one in asked.items():
        starts = _starts(known, bank, *train[name], one, seed)
        asked[name] = replace(one, starts=starts)
        for question, start in enumerate(starts, start=one.first):
            offset, slope = known.offset[start.nearest], known.slope[start.nearest]
            module.questions.data[question] = known.questions[start.nearest]
            module.offset.data[question] = start.offset + start.slope * offset
            module.slope.data[question] = start.slope * slope
    return module, asked


def _starts(
    known: PromptedEncoder, bank: Bank, inputs: Inputs, labels: Labels, asked: TargetQuestion, seed: int
) -> tuple[Start, ...]:
    rows = np.sort(np.random.default_rng(seed).permutation(len(inputs))[:STARTING_ROWS])
    answers = bank_answers(known, [inputs.formulas[i] for i in rows])
    y, weights = labels.y[rows], labels.weights[rows]
    if not weights.any():
        weights = np.ones(len(rows))
    if not labels.n_classes:
        return (nearest_prompt(answers, asked.scaling.standardised(y), weights, bank.of_values),)
    sought = [1] if labels.n_classes == 2 else range(labels.n_classes)
    return tuple(_as_logit(nearest_prompt(answers, (y == k).astype(float), weights)) for k in sought)


def _as_logit(start: Start) -> Start:
    """Return the start of a yes or no: a probability's straight line, as logits around one half."""
    return replace(start, offset=LOGIT * (start.offset - 0.5), slope=LOGIT * start.slope)


def _logits(answers: Tensor) -> Tensor:
    """Return (B, n_classes) of answers (B, n_questions, 21); a single question speaks of the second of two classes."""
    middle = answers[:, :, MIDDLE]
    return functional.pad(middle, (1, 0)) if middle.shape[1] == 1 else middle


def _padded(covariates: Tensor, module: PromptedEncoder) -> Tensor:
    return functional.pad(covariates, (0, module.covariates.shape[1] - covariates.shape[1]))


def _asked(numbers: Mapping[str, NDArray[Any]]) -> TargetQuestion:
    fields = ("nearest", "similarity", "offset", "slope")
    rows = zip(*(numbers[f"start_{name}"] for name in fields), strict=True)
    starts = tuple(Start(int(nearest), float(r), float(a), float(b)) for nearest, r, a, b in rows)
    first, n_classes = (int(numbers[name].item()) for name in ("first", "n_classes"))
    return TargetQuestion(first, n_classes, Scaling.from_arrays(numbers), starts)
