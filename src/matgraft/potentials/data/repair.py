"""Put right what reading could not know: groups of frames whose shear components stand in another order.

A group is ``"tag=value"``, or ``"tag=AIMD*"`` for all values that begin so: ``*`` stands for any text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile

from matgraft.core.errors import OptionError, nearest
from matgraft.core.quantities import parse_shear, reorder_shear
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample


def in_group(sample: Sample, group: str) -> bool:
    """Say whether a frame belongs to ``"tag=value"``; ``*`` in the value stands for any text."""
    tag, _, value = group.partition("=")
    own = sample.tags.get(tag)
    return own is not None and (own == value or _matches(own, value))


def _matches(text: str, pattern: str) -> bool:
    return "*" in pattern and re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def shortest_patterns(values: Collection[str], others: Collection[str]) -> list[str]:
    """Return patterns that hold for some values and for none of the others: whole values, or how several begin.

    >>> shortest_patterns({"AIMD 300 K", "AIMD 600 K", "slab"}, {"bulk"})
    ['AIMD *', 'slab']
    """
    if len(values) < 2:
        return sorted(values)
    first, last = min(values), max(values)
    start = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    if start and not any(other.startswith(start) for other in others):
        return [f"{start}*"]
    by_next: dict[str, set[str]] = defaultdict(set)
    for value in values:
        by_next[value[: len(start) + 1]].add(value)
    return [pattern for _, part in sorted(by_next.items()) for pattern in shortest_patterns(part, others)]


def occurs(group: str, dataset: Dataset) -> bool:
    """Say whether a frame with a stress belongs to a group."""
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
