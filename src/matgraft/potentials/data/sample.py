"""One labelled frame.

A `Sample` holds a structure (`ase.Atoms`), the labels that exist for it in canonical units (see
`matgraft.core.quantities`), and tags that say where it belongs. A label that is absent is absent from the mapping:
never zero, never NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame.

    Attributes
    ----------
    content
        `ase.Atoms` without calculator.
    labels
        Quantity name -> array in canonical units; read-only.
    tags
        Short facts by name: ``trajectory``, ``config_type``, and every other scalar the file gave.
    weight
        Factor on this sample's part of the loss and of the fit of the reference energies: 0 is no influence, 2 is two
        copies.
    label_weights
        Quantity -> factor on this label's part alone, beside `weight`; 1 where it is not named. A label of weight 0 is
        still audited and scored.
    components
        Quantity -> boolean array of the shape of one value: which of its components are labels, such as the four
        in-plane components of a slab's stress. All are, where it is not named. The others become zero, and are no
        labels.
    cheap
        Quantity -> the same label by a cheap method, in canonical units; of the frames of a correction alone.
    file, index
        Where it was read from: file name and position in it (from 0).
    theory
        Level of theory of the labels, or None where nobody said.
    """

    content: Any
    labels: Mapping[str, Array]
    tags: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0
    file: str = ""
    index: int = 0
    theory: LevelOfTheory | None = None
    label_weights: Mapping[str, float] = field(default_factory=dict)
    components: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    cheap: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze labels and tags."""
        labels = {name: np.array(value, dtype=float) for name, value in self.labels.items()}  # the giver keeps its own
        for name in self.components.keys() & labels.keys():
            labels[name][~self.components[name]] = 0.0
        for value in labels.values():
            value.setflags(write=False)
        object.__setattr__(self, "labels", MappingProxyType(labels))
        object.__setattr__(self, "tags", MappingProxyType(dict(self.tags)))

    def __getstate__(self) -> dict[str, object]:
        """Return plain dicts for pickling, which mapping proxies refuse."""
        return {**self.__dict__, "labels": dict(self.labels), "tags": dict(self.tags)}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore the read-only views."""
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def where(self) -> str:
        """The place to name in a message: ``frames.extxyz frame 12``."""
        return f"{self.file or 'data'} frame {self.index}"

    @property
    def n_atoms(self) -> int:
        """Number of atoms of a structure."""
        return len(self.content)

    def weight_of(self, quantity: str) -> float:
        """Return what a label counts in the loss: the frame's weight, times the label's, times its part of components.

        The mean square of a stress is over nine components: one with four known ones counts as four ninths.
        """
        known = float(self.components[quantity].mean()) if quantity in self.components else 1.0
        return self.weight * self.label_weights.get(quantity, 1.0) * known

    def with_labels(self, **labels: Array) -> Sample:
        """Return a copy whose given labels are replaced."""
        return replace(self, labels={**self.labels, **labels})

    def weighing(self, weight: float) -> Sample:
        """Return a copy with another weight in the loss."""
        return replace(self, weight=weight)

    def with_tags(self, **tags: str) -> Sample:
        """Return a copy with further tags."""
        return replace(self, tags={**self.tags, **tags})
