"""The contract between matgraft and a pretrained model.

An adapter says five things; everything else (batches, losses, freezing, heads, LoRA, forgetting, export checks) is
written once against them:

| method        | from                     | to                                                       |
| ------------- | ------------------------ | -------------------------------------------------------- |
| `encode`      | a frame or a formula     | `Encoded`: its graph or tokens as tensors, computed once   |
| `collate`     | a list of `Encoded`      | `Batch`                                                  |
| `features`    | a `Batch`                | (n_rows, width): what enters the last stage               |
| `head`        | features                 | (n_rows, 1): the last stage, a plain module                |
| `stages`      |                          | named parts, input -> readout: all that a strategy knows    |

A row is an atom for a potential, a formula for a composition encoder. What was not asked for, or cannot be had, is
absent from the answer: never zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from torch import Tensor, nn

from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Quantity


class ModelCard(BaseModel):
    """What a user must know of a model before trusting it.

    Units: cutoff Å, references eV per atom.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    name: str
    backbone: str
    vendor_version: str
    licence: str
    citation: str = ""
    elements: tuple[str, ...] = ()
    theory: LevelOfTheory = LevelOfTheory()
    quantities: tuple[str, ...] = ()
    cutoff_A: float | None = None
    dtype: str = "float32"
    n_parameters: int = 0
    weights_sha256: str = ""
    weights_from: str = ""
    references_eV: dict[str, float] = Field(default_factory=dict)
    head: str = ""
    """Which of the heads that were tuned together it is; empty where there was one."""
    corrects: dict[str, str] = Field(default_factory=dict)
    """Quantity -> key of the cheap label that the model's is added to; empty for a model of whole energies."""
    parent: ModelCard | None = None
    """Card of the foundation that a tuned model comes from."""
    recipe: dict[str, JsonValue] | None = None
    """Every setting of the tuning or the pretraining; each wing has types for its own."""
    data_sha256: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, JsonValue] | None = None
    """Figures of the tuning or the pretraining; each wing has types for its own."""


@dataclass(frozen=True)
class Stage:
    """A named part of a model, for freezing, rates and adapters.

    Attributes
    ----------
    name
        Stable within a backbone, such as ``"interaction-3"``.
    modules
        Path within `Backbone.module` -> module.
    """

    name: str
    modules: Mapping[str, nn.Module]

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters by their full name in `Backbone.module`."""
        return {
            f"{path}.{name}" if name else path: parameter
            for path, module in self.modules.items()
            for name, parameter in module.named_parameters()
        }


@dataclass(frozen=True)
class Encoded:
    """One sample as tensors, ready to collate.

    Attributes
    ----------
    n_atoms, n_edges
        What memory and time grow with; batches are budgeted by them. Edges include angles where a model has them.
    tensors
        Whatever the adapter's `collate` needs.
    """

    n_atoms: int
    n_edges: int
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """Several samples in one set of tensors.

    Attributes
    ----------
    counts
        (B,) rows of each sample.
    owner
        (n_rows,) sample of each row.
    tensors
        The adapter's own. A potential has at least ``numbers`` (N,), ``positions`` (N, 3) Å, ``strain`` (B, 3, 3) and
        ``volume`` (B,) Å³, as `matgraft.potentials.data.cells.volume` finds it: 0 for what has no stress.
    """

    counts: Tensor
    owner: Tensor
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.counts)

    def __getitem__(self, name: str) -> Tensor:
        """Return one of the adapter's tensors."""
        return self.tensors[name]

    def having(self, **tensors: Tensor) -> Batch:
        """Return a copy with some tensors replaced."""
        return replace(self, tensors={**self.tensors, **tensors})

    def to(self, device: torch.device | str) -> Batch:
        """Return a copy on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return Batch(self.counts.to(device), self.owner.to(device), moved)


class Backbone(ABC):
    """A pretrained model behind the contract. See the module's docstring for shapes and units."""

    card: ModelCard
    module: nn.Module
    quantities: Mapping[str, Quantity]
    native_file: str
    """Name of the vendor's file inside a model folder; of a folder, where its loader wants several files."""
    weights_file: str = ""
    """Name of the tensors beside it where the vendor's file is a pickle: `save` writes both, and this one is opened."""
    folder: Path | None = None
    """The model folder that it was opened from, with its card and what else lies there; None of any other model."""

    def __repr__(self) -> str:
        """Say what it is: name, elements, parameters, level of theory, and what it was tuned from."""
        n_elements, theory = len(self.card.elements), self.card.theory.describe()
        parts = [
            f"{n_elements} element{'s' * (n_elements != 1)}" if n_elements else "",
            f"{sum(one.numel() for one in self.module.parameters()):,} parameters",
            theory if self.card.theory != LevelOfTheory() else "",
            f"tuned from {self.card.parent.name}" if self.card.parent else "not tuned",
            f"head {self.card.head}" if self.card.head else "",
        ]
        return f"{type(self).__name__}({self.card.name}: {', '.join(filter(None, parts))})"

    @property
    def device(self) -> torch.device:
        """Where the model lies, and so computes; ``module.to`` moves it."""
        return next(self.module.parameters()).device

    @abstractmethod
    def encode(self, sample: Any) -> Encoded:
        """Turn a frame or a formula into tensors. Raises `DataError` where the model cannot take it."""

    @abstractmethod
    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Join encoded samples."""

    @abstractmethod
    def features(self, batch: Batch) -> Tensor:
        """Return (n_rows, width), differentiable by whatever in the batch requires a gradient."""

    @property
    @abstractmethod
    def head(self) -> nn.Module:
        """The last stage: (n_rows, width) -> (n_rows, 1)."""

    @abstractmethod
    def stages(self) -> list[Stage]:
        """Return the parts in the order the data pass them; the last one is the readout, parameters of `head`."""

    def matrices(self, layer: nn.Module) -> list[tuple[int, int]]:
        """Return (rows, columns) of the matrices whose entries, in order, are ``layer.weight``; none if not linear.

        They are what a low-rank update can act on. An adapter whose vendor has linear layers of its own adds these.
        """
        return [(layer.out_features, layer.in_features)] if isinstance(layer, nn.Linear) else []

    @abstractmethod
    def forward(self, batch: Batch, wanted: Collection[str], *, create_graph: bool = False) -> dict[str, Tensor]:
        """Return the wanted quantities that this model has; `create_graph` if a loss on derivatives follows."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the vendor's own file or folder, which its loader opens to the same predictions, and `weights_file`."""
