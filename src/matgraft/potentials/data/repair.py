"""Put right what reading could not know: groups of frames whose shear components stand in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matgraft.core.errors import OptionError, nearest
from matgraft.core.quantities import parse_shear, reorder_shear
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample


def in_group(sample: Sample, group: str) -> bool:
    """Say whether a frame belongs to ``"tag=value"``."""
    tag, _, value = group.partition("=")
    return sample.tags.get(tag) == value


def occurs(group: str, dataset: Dataset) -> bool:
    """Say whether a frame with a stress belongs to ``"tag=value"``."""
    return any("stress" in sample.labels and in_group(sample, group) for sample in dataset)


def reorder_groups(dataset: Dataset, orders: Mapping[str, str], beside: Sequence[Dataset] = ()) -> Dataset:
    """Return the dataset with the shear components of some groups of frames in their places.

    Parameters
    ----------
    orders
        ``"tag=value"`` -> what really stands in the places yz, xz, xy of these frames' stresses:
        ``{"config_type=Vacancy": "xz,yz,xy"}``.
    beside
        Other parts of the data, which the orders are also for: a group need occur in one part only.

    Raises
    ------
    OptionError
        If a group has no frame with a stress, or an order is none.
    """
    for group, text in orders.items():
        order = parse_shear(text)
        if not any(occurs(group, part) for part in (dataset, *beside)):
            tag = group.partition("=")[0]
            known = sorted({f"{tag}={value}" for part in (dataset, *beside) for value in part.tag(tag) if value})
            raise OptionError(
                f"shear: no frame with a stress has {group!r}", allowed=known, remedy=nearest(group, known)
            )

        def put_right(sample: Sample, group: str = group, order: tuple[str, str, str] = order) -> Sample:
            if "stress" not in sample.labels or not in_group(sample, group):
                return sample
            return sample.with_labels(stress=reorder_shear(sample.labels["stress"], order))

        dataset = dataset.map(put_right)
    return dataset
