"""Which formulas had which labels in the encoder's pretraining, asked for any table before its errors are believed.

    seen = seen_labels(backbone.card)
    seen.of(formulas)                    # (n, n_properties) True where the formula had the property as a label

A formula is known by 32 bits of the hash of its key: of 10,000 formulas that had no label one is taken for another that
had. Labels of the chemical systems that the pretraining held out count as not seen. The shipped file is made by
``python -m matgraft.pretrain.labels``; it belongs to every encoder that was pretrained on the same table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matgraft.backbones.base import ModelCard
from matgraft.data.formula import Formula

FILE = Path(__file__).parent / "composition_weights" / "labels.npz"


@dataclass(frozen=True, eq=False)
class SeenLabels:
    """The labels of a pretraining.

    Attributes
    ----------
    properties
        Names, at most 32.
    hashes
        (n,) of the formulas that had a label, rising.
    masks
        (n,) bit k is set where the formula had property k.
    """

    properties: tuple[str, ...]
    hashes: NDArray[np.uint32]
    masks: NDArray[np.uint32]

    @classmethod
    def made_of(cls, labels: Mapping[str, Iterable[Formula]]) -> SeenLabels:
        """Return what is known of the formulas of each property."""
        known: dict[int, int] = {}
        for k, formulas in enumerate(labels.values()):
            for formula in formulas:
                key = _hash(formula)
                known[key] = known.get(key, 0) | 1 << k
        hashes = np.array(sorted(known), np.uint32)
        return cls(tuple(labels), hashes, np.array([known[int(key)] for key in hashes], np.uint32))

    def of(self, formulas: Sequence[Formula]) -> NDArray[np.bool_]:
        """Return (n, n_properties) True where a formula had a property as a label."""
        asked = np.array([_hash(formula) for formula in formulas], np.uint32)
        places = np.minimum(np.searchsorted(self.hashes, asked), max(0, len(self.hashes) - 1))
        found = self.hashes[places] == asked if len(self.hashes) else np.zeros(len(asked), bool)
        masks = self.masks[places] if len(self.hashes) else np.zeros(len(asked), np.uint32)
        bits = masks[:, None] >> np.arange(len(self.properties), dtype=np.uint32) & 1
        return found[:, None] & bits.astype(bool)

    def save(self, path: Path, origin: Mapping[str, Any]) -> None:
        """Write the labels and where they are from; small, since steps between hashes are."""
        steps = np.diff(self.hashes, prepend=np.uint32(0))
        texts: dict[str, Any] = {name: np.array(str(value)) for name, value in origin.items()}
        np.savez_compressed(path, properties=np.array(self.properties), steps=steps, masks=self.masks, **texts)


def seen_labels(card: ModelCard) -> SeenLabels | None:
    """Return the labels that an encoder was pretrained on; None where that is not known."""
    recipe, origin = card.recipe or {}, _shipped()[1]
    same = origin["table_sha256"] in (card.data_sha256 or {}).values()
    same &= all(str(recipe.get(name)) == origin[name] for name in ("exclude", "validation"))
    return _shipped()[0] if same else None


@lru_cache(maxsize=1)
def _shipped() -> tuple[SeenLabels, dict[str, str]]:
    with np.load(FILE, allow_pickle=False) as content:
        hashes = np.cumsum(content["steps"], dtype=np.uint32)
        origin = {name: str(content[name]) for name in ("table_sha256", "exclude", "validation")}
        return SeenLabels(tuple(map(str, content["properties"])), hashes, content["masks"]), origin


def _hash(formula: Formula) -> int:
    return int.from_bytes(hashlib.sha256(formula.key.encode()).digest()[:4])
