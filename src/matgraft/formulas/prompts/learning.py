"""The bank: prompts for the pretraining properties, learned with the encoder frozen, that unseen tasks start from.

    bank = learn_bank(Path("dft_properties.csv.gz"), load("composition"), BankSettings(), Path("runs/bank"))

One question a property (standardised as in pretraining), the same number of labels of each at most, one pass. What
learns are the prompts of classes and properties and the readout. The labels are those that the encoder learned from;
the chemical systems that its pretraining held out judge.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from matgraft.core.errors import DataError
from matgraft.core.frozen import Frozen
from matgraft.core.locks import works_in
from matgraft.core.provenance import file_hash
from matgraft.core.training.execution import Execution
from matgraft.core.training.fit import fit
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.encoder import CompositionBackbone, Sizes
from matgraft.formulas.learners.quantiles import MIDDLE, pinball
from matgraft.formulas.pretraining.tables import Tables, held_out_part, read_tables
from matgraft.formulas.prompts.bank import Bank, BankCard
from matgraft.formulas.prompts.prompts import PromptedEncoder, class_indices

CHUNK = 1024


class BankSettings(Frozen):
    """How a bank is learned."""

    labels: int = Field(10_000, ge=16)
    """Largest number of labels of a property."""
    held: int = Field(300, ge=1)
    """Largest number of held-out labels of a property that judge."""
    exclude: str | None = "in_matbench_task"
    """Column of the table whose rows with 1 are left out; ``exclude=`` takes all rows."""
    fit: FitSettings = FitSettings(rate=0.02, epochs=1, batch=128, ema=0.99, clip=1.0, processes=1)
    seed: int = 0


class BankObjective:
    """Pinball loss of values, log loss of yes and no, for the one training loop; a sample is a label."""

    def __init__(self, module: PromptedEncoder, tables: Tables, settings: BankSettings) -> None:
        self.module, self.tables = module, tables
        self.binary = torch.from_numpy(tables.binary)
        self.lengths = (tables.numbers > 0).sum(1)
        self.parts = [
            _drawn(tables, of, most, settings.seed)
            for of, most in ((~tables.held_out, settings.labels), (tables.held_out, settings.held))
        ]
        self.classes = torch.zeros(len(tables.numbers), dtype=torch.long)
        used = np.unique(np.concatenate([rows for rows, _ in self.parts]))
        self.classes[torch.from_numpy(used)] = class_indices([tables.formula(int(row)) for row in used])
        self.training, self.validation = (Sizes(self.lengths[rows]) for rows, _ in self.parts)

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return (B,)."""
        answers, y, binary, _ = self._answers(0, positions, device)
        return torch.where(binary, _log_loss(answers, y), pinball(answers, y))

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the error and the number of labels of each question, flattened (2, P)."""
        sums = torch.zeros(2, len(self.binary), dtype=torch.float64)
        with torch.no_grad():
            for start in range(0, len(positions), CHUNK):
                answers, y, binary, asked = self._answers(1, positions[start : start + CHUNK], device)
                middle = answers[:, MIDDLE]
                error = (torch.where(binary, middle.sigmoid(), middle) - y).abs().cpu()
                sums[0].index_add_(0, asked, error.double())
                sums[1].index_add_(0, asked, torch.ones_like(error, dtype=torch.float64))
        return sums.flatten()

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        """Return the mean absolute error of each property, and over them as ``validation_loss``."""
        error, count = sums.view(2, -1)
        means = {name: float(e / n) for name, e, n in zip(self.tables.names, error, count, strict=True) if n}
        if not means:
            raise DataError("no label is of a held-out chemical system", remedy="a larger table")
        return {"validation_loss": float(np.mean(list(means.values())))} | means

    def _answers(
        self, part: int, positions: Sequence[int], device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        chosen = np.asarray(positions)
        rows, asked = (each[chosen] for each in self.parts[part])
        longest = int(self.lengths[rows].max())
        numbers = torch.from_numpy(self.tables.numbers[rows, :longest].astype(np.int64))
        fractions = torch.from_numpy(self.tables.fractions[rows, :longest].astype(np.float32))
        y = torch.from_numpy(self.tables.targets[rows, asked])
        questions = torch.from_numpy(asked)
        inputs = (numbers, fractions, self.classes[torch.from_numpy(rows)], questions)
        answers = self.module(*(tensor.to(device) for tensor in inputs))
        return answers, y.to(device), self.binary[questions].to(device), questions


@works_in("out", new=True)
def learn_bank(
    table: Path, backbone: CompositionBackbone, settings: BankSettings, out: Path, *, quiet: bool = False
) -> Bank:
    """Learn a bank and write its folder.

    Raises
    ------
    OptionError
        If the folder is not empty, or the encoder's card does not say what its pretraining held out.
    DataError
        If the table cannot be read, or holds no label of a held-out chemical system.
    """
    part = held_out_part(backbone, out)
    began = time.monotonic()
    tables = read_tables(None, table, exclude=settings.exclude, validation=part)
    module = PromptedEncoder(backbone.module, tables.names, seed=settings.seed)
    objective = BankObjective(module, tables, settings)
    groups = [ParamGroup("prompts and readout", module.learned())]
    module.train()
    execution = Execution(seed=settings.seed, title="prompts", quiet=quiet)
    result = fit(objective, module, groups, settings.fit, execution)
    last = result.history[-1]
    card = BankCard(
        encoder_sha256=backbone.card.weights_sha256,
        questions=tables.names,
        yes_or_no=tuple(name for name, binary in zip(tables.names, tables.binary, strict=True) if binary),
        scores={name: round(last[name], 4) for name in tables.names if name in last},
        head_scores=_head_scores(backbone, objective),
        recipe=settings.model_dump(mode="json"),
        labels=len(objective.training),
        data_sha256={table.name: file_hash(table)},
        minutes=round((time.monotonic() - began) / 60, 1),
    )
    bank = Bank(str(out), card, {name: one.detach() for name, one in module.learned().items()})
    bank.save(out)
    return bank


@torch.no_grad()
def _head_scores(backbone: CompositionBackbone, objective: BankObjective) -> dict[str, float]:
    """Return the errors of the encoder's own head on the labels that judge, where it knows the properties."""
    tables, (rows, asked) = objective.tables, objective.parts[1]
    if backbone.property_names != tables.names:
        return {}
    parts = []
    for some in np.array_split(rows, -(-len(rows) // CHUNK)):
        numbers, fractions = tables.numbers[some].astype(np.int64), tables.fractions[some].astype(np.float32)
        parts.append(backbone.module(torch.from_numpy(numbers), torch.from_numpy(fractions)))
    said = torch.cat(parts)[torch.arange(len(rows)), torch.from_numpy(asked)]
    told = torch.where(objective.binary[torch.from_numpy(asked)], said.sigmoid(), said).numpy()
    error = np.abs(told - tables.targets[rows, asked])
    return {tables.names[i]: round(float(error[asked == i].mean()), 4) for i in np.unique(asked)}


def _drawn(tables: Tables, of: NDArray[np.bool_], most: int, seed: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Return rows and questions of at most `most` labels a property."""
    generator = np.random.default_rng(seed)
    rows, asked = [], []
    for question in range(len(tables.names)):
        known = np.flatnonzero(of & np.isfinite(tables.targets[:, question]))
        rows.append(generator.permutation(known)[:most])
        asked.append(np.full(len(rows[-1]), question))
    return np.concatenate(rows), np.concatenate(asked)


def _log_loss(answers: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(answers[:, MIDDLE], y.clamp(0, 1), reduction="none")
