"""A potential of several heads: one body, and for each level of theory or task a readout and reference energies.

    many = MultiHeadPotential(load("chgnet"), ["PBE", "r2SCAN"])   # each head starts as the foundation's readout
    adapt(..., strategy="multihead")                               # does so, refits references a head, and trains all
    plain = many.at("r2SCAN")                                      # one head as a plain potential, in the vendor's form

    E_k = sum_i head_k(h_i) + sum_i reference_k(Z_i)

The features h of an atom do not depend on the head: frames of several heads share a batch, and the body learns from
all of them. Written over the contract, for every backbone: whatever an adapter's last stage is (MACE: all readouts
with scale and shift of the chosen head of the file; MatGL: the gated readout times its scale) is copied as a whole.
Each sample says its head in the tag ``head`` (`matgraft.potentials.data.heads`).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from ase.calculators.calculator import Calculator
from torch import Tensor, nn

from matgraft.core.errors import DataError, OptionError, choose
from matgraft.core.model import Batch, Encoded, Stage
from matgraft.potentials.data.heads import HEAD_TAG
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential

_HEAD = "head"
"""Name of the tensor (B,) of a batch that holds the number of each sample's head."""


class MultiHeadPotential(Potential):
    """Several heads on the body of one potential.

    Parameters
    ----------
    base
        The foundation: its body is used as it is, and changed by training; its last stage is copied for each head.
    names
        Of the heads.

    Raises
    ------
    OptionError
        If there are fewer than two names, or one twice.
    """

    def __init__(self, base: Potential, names: Sequence[str]) -> None:
        if len(names) < 2 or len(set(names)) < len(names):
            raise OptionError(f"heads {', '.join(names) or 'none'}", allowed=["two or more different names"])
        self.base, self.names = base, tuple(names)
        self.card, self.native_file, self.rate = base.card, base.native_file, base.rate
        self.quantities = base.quantities
        readouts = nn.ModuleList([copy.deepcopy(base.head) for _ in names])
        self.module: Any = nn.ModuleDict({"body": base.module, "readouts": readouts})
        self.module.register_buffer("references", base.references.detach().repeat(len(names), 1))

    def at(self, name: str) -> Potential:
        """Return a plain potential with the body and one head: a copy, which saves in the vendor's own format.

        Raises
        ------
        OptionError
            If there is no such head.
        """
        number = self._number(name)
        plain = copy.deepcopy(self.base)
        plain.head.load_state_dict(self.module["readouts"][number].state_dict())
        plain.references.data.copy_(self.references[number])
        return plain

    def references_at(self, name: str) -> Tensor:
        """Return the reference energies (n_elements,) of a head, eV; changed in place."""
        return self.references[self._number(name)]

    @property
    def references(self) -> Tensor:
        """(n_heads, n_elements) eV: added for an atom of atomic number Z under head k at [k, Z - 1]."""
        references: Tensor = self.module.references
        return references

    @property
    def head(self) -> nn.Module:
        """All readouts as one: (N, width + 1) -> (N, 1) eV."""
        return _Readouts(self.module["readouts"])

    def stages(self) -> list[Stage]:
        """Return the base's stages, with the readouts of all heads as the last one."""
        *body, last = self.base.stages()
        readouts = {f"readouts.{i}": readout for i, readout in enumerate(self.module["readouts"])}
        return [*map(_inside, body), Stage(last.name, readouts)]

    @property
    def other_readouts(self) -> Mapping[str, Stage]:
        """Return the base's."""
        return {name: _inside(stage) for name, stage in self.base.other_readouts.items()}

    def matrices(self, layer: nn.Module) -> list[tuple[int, int]]:
        """Ask the base."""
        return self.base.matrices(layer)

    # -------------------------------------------------------------------- frames

    def encode(self, sample: Sample) -> Encoded:
        """Let the base encode the sample, and add the number of its head."""
        name = sample.tags.get(HEAD_TAG, "")
        if name not in self.names:
            raise DataError(f"its head {name!r} is none of this model's", where=sample.where, allowed=self.names)
        encoded = self.base.encode(sample)
        return replace(encoded, tensors={**encoded.tensors, _HEAD: torch.tensor([self.names.index(name)])})

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Let the base join the samples, and add their heads."""
        return self.base.collate(encoded).having(**{_HEAD: torch.cat([one.tensors[_HEAD] for one in encoded])})

    def features(self, batch: Batch) -> Tensor:
        """Return (N, width + 1): the base's features, and the number of the head as the last one."""
        return self.read(batch, ())[0]

    def read(self, batch: Batch, wanted: Collection[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the features, and what the base reads beside them: all heads share it."""
        features, others = self.base.read(batch, wanted)
        return torch.cat([features, self._head_of_atoms(batch)[:, None].to(features.dtype)], dim=1), others

    def sum_sites(self, features: Tensor, batch: Batch) -> Tensor:
        """Return the total energies (B,) eV, each sample's by its own head, in float64."""
        references = self.references[self._head_of_atoms(batch), batch["numbers"] - 1]
        sites = self.head(features).squeeze(-1).double() + references
        return sites.new_zeros(len(batch)).index_add(0, batch.owner, sites)

    @staticmethod
    def _head_of_atoms(batch: Batch) -> Tensor:
        return batch[_HEAD][batch.owner]

    def _number(self, name: str) -> int:
        return choose(name, {one: i for i, one in enumerate(self.names)}, f"head of {self.card.name}")

    # --------------------------------------------------------------------- files

    def save(self, path: Path) -> None:
        """Refuse: a vendor's file holds one head."""
        self._choose_first()

    def vendor_calculator(self, path: Path) -> Calculator:
        """Refuse, as `save` does."""
        self._choose_first()

    def calculator_source(self) -> tuple[str, str, str]:
        """Refuse, as `save` does."""
        self._choose_first()

    def _choose_first(self) -> NoReturn:
        raise OptionError(
            f"this model has {len(self.names)} heads and none is chosen",
            allowed=self.names,
            remedy=f"at({self.names[0]!r}) and the like are plain models",
        )


def _inside(stage: Stage) -> Stage:
    """Return a stage of the base with its paths in the module of several heads."""
    return replace(stage, modules={f"body.{path}": module for path, module in stage.modules.items()})


class _Readouts(nn.Module):
    """Rows whose last feature is the number of their head, each through its own readout: (N, width + 1) -> (N, 1)."""

    def __init__(self, readouts: nn.ModuleList) -> None:
        super().__init__()
        self.readouts = readouts

    def forward(self, rows: Tensor) -> Tensor:
        """Return the atoms' energies without references, eV. A head without rows gets no gradient."""
        features, number = rows[:, :-1], rows[:, -1].round().long()
        energies = features.new_zeros(len(features), 1)
        for i, readout in enumerate(self.readouts):
            mine = (number == i).nonzero().squeeze(1)
            if len(mine):
                energies = energies.index_add(0, mine, readout(features[mine]))
        return energies
