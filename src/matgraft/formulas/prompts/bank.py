"""The bank of prompts: questions already learned, of which an unseen task takes the nearest one to start from.

    bank = BANKS.choose(None, load("composition"))                  # the shipped one
    answers = bank_answers(bank.prompted(backbone), formulas)       # (n, n_questions)
    start = nearest_prompt(answers, y, weights)                     # which, how near, and the map between the two

Nearest is the question whose answers on the task's own rows correlate best with the labels, rising or falling
(Pearson's r, largest by amount). The task begins with a copy of its prompt and with the bank's readout; offset and
slope are those of the straight line through answers and labels, so that step 0 is the nearest prompt's answer.

A bank folder holds ``bank.safetensors`` (prompts of classes and questions, the readout) and ``bank.json``, the card: of
which encoder, learned from what, how well it answers. It belongs to one encoder, by the hash of its weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from safetensors.torch import save_file
from torch import Tensor

from matgraft.core.files import whole
from matgraft.core.manifest import begin
from matgraft.core.run_folder import RunFile
from matgraft.core.weights import load_arrays, put_some, refuse_infinite
from matgraft.formulas.encoder import CompositionBackbone, tensors_of
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.quantiles import MIDDLE
from matgraft.formulas.prompts.prompts import PromptedEncoder, class_indices
from matgraft.formulas.registry import LearnedCard, LearnedFolder

SHIPPED = Path(__file__).parent / "prompt_weights"
WEIGHTS = "bank.safetensors"
CHUNK = 1024
FLATTEST = 0.1
"""Smallest slope, in widths of the labels over widths of the answers: a flatter start would hardly learn."""
Array = NDArray[np.float64]


class BankCard(LearnedCard):
    """What a bank is and where it comes from.

    Attributes
    ----------
    questions
        Names of the properties, in the order of their prompts.
    yes_or_no
        Those that are answered by a logit. Nothing taught the quantiles around it, so no task of values starts there.
    scores
        Mean absolute error of each on held-out chemical systems, standardised as in pretraining; of questions for yes
        or no that of the probability.
    head_scores
        Of the encoder's own head on the same labels.
    labels
        How many it was learned from.
    """

    questions: tuple[str, ...]
    yes_or_no: tuple[str, ...] = ()
    scores: dict[str, float] = Field(default_factory=dict)
    head_scores: dict[str, float] = Field(default_factory=dict)
    labels: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _asks_of_its_own(self) -> Self:
        if strangers := set(self.yes_or_no) - set(self.questions):
            raise ValueError(f"{min(strangers)!r} is answered by yes or no, and is none of the questions")
        return self


CARD = RunFile("bank.json", BankCard)


@dataclass(frozen=True, eq=False)
class Bank:
    """A bank folder, opened.

    Attributes
    ----------
    name
        ``shipped`` or the folder.
    weights
        Of a `PromptedEncoder` with the card's questions, without the encoder.
    """

    name: str
    card: BankCard
    weights: Mapping[str, Tensor]

    def save(self, folder: Path) -> None:
        """Write the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        begin(folder)
        with whole(folder / WEIGHTS) as part:
            save_file({name: tensor.contiguous() for name, tensor in self.weights.items()}, part)
        CARD.write(folder, self.card)

    @property
    def sha256(self) -> str:
        """Hash of what a task takes over: questions and weights."""
        digest = hashlib.sha256(json.dumps([self.card.questions, self.card.yes_or_no]).encode())
        for name, tensor in sorted(self.weights.items()):
            digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def of_values(self) -> NDArray[np.bool_]:
        """(n_questions,) True for those that are answered by a value."""
        return np.array([name not in self.card.yes_or_no for name in self.card.questions])

    def prompted(self, backbone: CompositionBackbone) -> PromptedEncoder:
        """Return the encoder with the bank's prompts."""
        module = PromptedEncoder(backbone.module, self.card.questions)
        put_some(module.state_dict(), self.weights, self.name)
        return module.eval()


def _opened(folder: Path, name: str, card: BankCard) -> Bank:
    arrays = load_arrays(folder / WEIGHTS)
    refuse_infinite(arrays, folder / WEIGHTS)
    return Bank(name, card, {name: torch.from_numpy(one) for name, one in arrays.items()})


BANKS = LearnedFolder("bank of prompts", CARD, _opened, SHIPPED, option="prompt.bank", verb="prompts")


@torch.no_grad()
def bank_answers(module: PromptedEncoder, formulas: Sequence[Formula]) -> Array:
    """Return what each question of a module answers, (n, n_questions)."""
    n, Q = len(formulas), len(module.names)
    numbers, fractions = tensors_of(formulas)
    classes = class_indices(formulas)
    rows, questions = torch.arange(n).repeat_interleave(Q), torch.arange(Q).repeat(n)
    parts = [
        module(numbers[some], fractions[some], classes[some], asked)[:, MIDDLE]
        for some, asked in zip(rows.split(CHUNK), questions.split(CHUNK), strict=True)
    ]
    return torch.cat(parts).view(n, Q).double().numpy()


@dataclass(frozen=True)
class Start:
    """Where a question starts from.

    Attributes
    ----------
    nearest
        Index of the bank's question.
    similarity
        Correlation of its answers with the labels, -1 to 1.
    offset, slope
        labels = offset + slope * answers, as well as a straight line can.
    """

    nearest: int
    similarity: float
    offset: float
    slope: float


def nearest_prompt(answers: Array, y: Array, weights: Array, able: NDArray[np.bool_] | None = None) -> Start:
    """Return the start of a task with labels y (n,), each counted by a weight, from a bank's answers (n, n_questions).

    `able` (n_questions,) is False for questions that are not to be started from. Where labels or answers do not vary
    the similarity is 0.
    """
    share = weights / weights.sum()
    mean, centre = share @ answers, float(share @ y)
    spread = np.sqrt(share @ (answers - mean) ** 2)
    width = float(np.sqrt(share @ (y - centre) ** 2))
    joint = (share * (y - centre)) @ (answers - mean)
    similarity = np.divide(joint, spread * width, out=np.zeros_like(joint), where=spread * width > 1e-12)
    best = int(np.argmax(np.abs(similarity) if able is None else np.where(able, np.abs(similarity), -1.0)))
    r = float(similarity[best])
    slope = (-1 if r < 0 else 1) * max(abs(r), FLATTEST) * (width or 1.0) / max(float(spread[best]), 1e-6)
    return Start(best, r, centre - slope * float(mean[best]), slope)
