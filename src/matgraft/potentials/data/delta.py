"""Differences to a cheap method: labels minus the same labels by it.

    learned = differences(dataset, {"energy": "xtb_energy", "forces": "xtb_forces"})

A model of these is a correction: its energies, forces and stresses are added to those of the cheap method. A label
without its like by the cheap method is no label of the difference, and a note counts these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample


def differences(dataset: Dataset, corrects: Mapping[str, str]) -> Dataset:
    """Return the frames with the differences for labels.

    Parameters
    ----------
    corrects
        Quantity -> key that its cheap label was read from.

    Raises
    ------
    DataError
        If no frame has both labels of a quantity.
    """
    if not len(dataset):
        return dataset
    learned = dataset.map(_difference)
    notes = list(dataset.provenance.notes)
    for quantity in dataset.quantities():
        had, has = dataset.count(quantity), learned.count(quantity)
        key = corrects.get(quantity)
        if key and not has:
            raise DataError(
                f"no frame has {quantity} both as a label and under {key!r}, finite", where=dataset[0].where
            )
        if not key:
            notes.append(f"{quantity} is not learned: no key of it by the cheap method is given")
        elif has < had:
            notes.append(f"{had - has} of {had} frames lack {key!r}: their {quantity} is not learned")
    known = dataset.provenance.model_copy(update={"notes": tuple(notes), "corrects": dict(corrects)})
    return replace(learned, provenance=known)


def _difference(sample: Sample) -> Sample:
    """Return a frame with the differences; a component that either label lacks is none of the difference."""
    labels: dict[str, Array] = {}
    components = dict(sample.components)
    for name in sample.labels.keys() & sample.cheap.keys():
        known = ~np.isnan(sample.cheap[name])
        labels[name] = np.where(known, sample.labels[name] - sample.cheap[name], 0.0)
        if not known.all():
            components[name] = known & components.get(name, known)
    return replace(sample, labels=labels, components=components, cheap={})
