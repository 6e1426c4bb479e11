"""Which formulas had which labels in the encoder's pretraining, asked for any table before its errors are believed.

    load("composition").labels.of(formulas)    # (n, n_properties) True where the formula had the property as a label

The list lies beside the weights, as ``labels.npz``: `matgraft pretrain` writes it, and who copies the model takes it
along. An encoder without one may have seen anything. A formula is known by 32 bits of the hash of its key: of 10,000
formulas that had no label one is taken for another that had. Labels of the chemical systems that the pretraining held
out count as not seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matgraft.core.files import whole
from matgraft.core.manifest import checked
from matgraft.formulas.formula import Formula

LABELS = "labels.npz"
"""Name of the file in a model folder."""


class LabelOrigin(NamedTuple):
    """Where labels are from: the hash of their table, and the settings that left some of its rows out."""

    table_sha256: str
    exclude: str
    validation: str


class LabelTable(NamedTuple):
    """The list, decoded.

    Attributes
    ----------
    properties
        Names.
    hashes
        (n,) of the formulas that had a label, rising.
    packed
        (n, ceil(n_properties / 8)) bytes: a bit for each property, set where the formula had it (`numpy.packbits`).
    origin
        None where nothing was learned from labels.
    """

    properties: tuple[str, ...]
    hashes: NDArray[np.uint32]
    packed: NDArray[np.uint8]
    origin: LabelOrigin | None


@dataclass(frozen=True, eq=False)
class SeenLabels:
    """The labels of a pretraining.

    Attributes
    ----------
    content
        An npz file, decoded when first asked: models are loaded and saved more often than that.
    """

    content: bytes = field(repr=False)

    @classmethod
    def made_of(cls, labels: Mapping[str, Iterable[Formula]], origin: LabelOrigin | None = None) -> SeenLabels:
        """Return what is known of the formulas of each property, and where that is from."""
        seen = {
            name: np.array([_hash(formula) for formula in formulas], np.uint32) for name, formulas in labels.items()
        }
        hashes = np.unique(np.concatenate([np.zeros(0, np.uint32), *seen.values()]))
        had = np.zeros((len(hashes), len(seen)), bool)
        for k, found in enumerate(seen.values()):
            had[np.searchsorted(hashes, found), k] = True
        file = BytesIO()
        np.savez_compressed(
            file,
            **(origin._asdict() if origin else {}),
            properties=np.array(tuple(labels), np.str_),
            packed=np.packbits(had, axis=1),
            steps=np.diff(hashes, prepend=np.uint32(0)),  # smaller when compressed than the hashes
        )
        return cls(file.getvalue())

    @cached_property
    def table(self) -> LabelTable:
        """The list."""
        with np.load(BytesIO(self.content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        properties, steps, packed = (arrays.pop(name) for name in ("properties", "steps", "packed"))
        origin = LabelOrigin(**{name: str(value) for name, value in arrays.items()}) if arrays else None
        return LabelTable(tuple(map(str, properties)), np.cumsum(steps, dtype=np.uint32), packed, origin)

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the properties."""
        return self.table.properties

    def of(self, formulas: Sequence[Formula]) -> NDArray[np.bool_]:
        """Return (n, n_properties) True where a formula had a property as a label."""
        properties, hashes, packed, _ = self.table
        had = np.zeros((len(formulas), len(properties)), bool)
        if not len(hashes):
            return had
        asked = np.array([_hash(formula) for formula in formulas], np.uint32)
        places = np.minimum(np.searchsorted(hashes, asked), len(hashes) - 1)
        found = hashes[places] == asked
        had[found] = np.unpackbits(packed[places[found]], axis=1, count=len(properties)).astype(bool)
        return had

    def save(self, path: Path) -> None:
        """Write the file."""
        with whole(path) as part:
            part.write_bytes(self.content)

    @classmethod
    def load(cls, path: Path) -> SeenLabels:
        """Read the file; a ChangedError if it is not what was written."""
        return cls(checked(path))


def _hash(formula: Formula) -> int:
    return int.from_bytes(hashlib.sha256(formula.key.encode()).digest()[:4])
