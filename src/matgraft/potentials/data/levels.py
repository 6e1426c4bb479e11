"""Which frames share a level of theory, by what their files state.

    levels = Levels(dataset)
    levels(dataset[0])          # 0, 1, ...; None where the frame states too little to tell
    levels.contested            # {"cutoff": ["520 eV", "400 eV"]}

Two frames contradict each other where both state a field and the values cannot be one setting. What a file does not
state agrees with everything, so that agreement is not transitive: a frame without a cutoff agrees with 400 eV and with
520 eV. Such a frame must not join the two. It is undetermined: of the frames that it agrees with, some contradict each
other in a field that it should state and does not. All other frames form levels, in which no two contradict each other.
A frame to which a field does not apply (no oxygen, no potential of oxygen) belongs to the first level that it fits.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.reading.theory_fields import (
    Statement,
    Value,
    classes,
    functional,
    mesh,
    one_functional,
    stated_fields,
)
from matgraft.potentials.data.sample import Sample

_Distinct = tuple[tuple[str, Value | None], ...]
"""A statement that can be looked up."""

_Stated = tuple[tuple[str, int | None], ...]
"""What a frame states of the contested fields: the class of each value, see `classes`."""


class Levels:
    """The level of theory of a sample, by number; numbers follow the order of the samples.

    Parameters
    ----------
    samples
        All that are to be told apart, walked over once. Those without a statement belong to no level.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._settings: dict[tuple[object, ...], Statement] = {}
        distinct = {self._distinct(sample): None for sample in samples if sample.theory is not None}
        self._classes = _contested(distinct)
        self._levels = _levels(list(dict.fromkeys(map(self._contested_part, distinct))))

    @property
    def contested(self) -> dict[str, list[str]]:
        """Field -> the values that contradict each other, as text: first those of which each contradicts the others."""
        return {name: list(dict.fromkeys(map(str, _one_of_each(values)))) for name, values in self._classes.items()}

    def __call__(self, sample: Sample) -> int | None:
        """Return the number of the sample's level, None where it states too little."""
        if sample.theory is None:
            return None
        return self._levels[self._contested_part(self._distinct(sample))]

    def fits(self, sample: Sample, level: int) -> bool:
        """Say whether a sample with a statement contradicts no frame of a level."""
        own = self._contested_part(self._distinct(sample))
        return all(_agree(own, other) for other, number in self._levels.items() if number == level)

    def unstated(self, sample: Sample) -> list[str]:
        """Return the contested fields that a sample with a statement should state and does not."""
        return [name for name, value in self._contested_part(self._distinct(sample)) if value is None]

    def _distinct(self, sample: Sample) -> _Distinct:
        assert sample.theory is not None
        symbols = tuple(sorted(set(sample.content.symbols)))
        key = (sample.theory.key(), symbols)
        if key not in self._settings:
            self._settings[key] = stated_fields(sample.theory, symbols)
        return tuple(sorted((self._settings[key] | mesh(sample.theory, sample.content)).items()))

    def _contested_part(self, distinct: _Distinct) -> _Stated:
        contested = ((name, value) for name, value in distinct if name in self._classes)
        return tuple((name, None if value is None else self._classes[name][value]) for name, value in contested)


def contradicting(known: LevelOfTheory, samples: Iterable[Sample]) -> dict[int, str]:
    """Return the frames whose functional, hybrid or dispersion is not that of a level of theory, with what they have.

    Such frames are of another potential energy surface, whatever the references. Frames that state nothing of it, and a
    level that does not, contradict nothing.
    """
    judged: dict[int, tuple[LevelOfTheory, bool]] = {}  # frames share what is equal; what is held keeps its id
    found = {}
    for i, sample in enumerate(samples):
        if (theory := sample.theory) is None:
            continue
        if id(theory) not in judged:
            judged[id(theory)] = theory, one_functional(known, theory)
        if not judged[id(theory)][1]:
            found[i] = functional(theory)
    return found


def energy_scales(samples: Sequence[Sample]) -> list[int | None]:
    """Return the level of theory of each sample, by number, None where it states too little: see `Levels`."""
    return list(map(Levels(samples), samples))


def _contested(distinct: Iterable[_Distinct]) -> dict[str, dict[Value, int]]:
    """Return the fields in which any two contradict each other: value -> class, in the order of appearance."""
    values: dict[str, dict[Value, None]] = defaultdict(dict)
    for name, value in itertools.chain.from_iterable(distinct):
        if value is not None:
            values[name][value] = None
    numbers = {name: dict(zip(found, classes(list(found)), strict=True)) for name, found in values.items()}
    return {name: found for name, found in numbers.items() if any(found.values())}


def _one_of_each(classes: Mapping[Value, int]) -> list[Value]:
    """Return all values, with the first of each class in front."""
    first = {number: value for value, number in reversed(list(classes.items()))}
    return list(dict.fromkeys([*(first[number] for number in sorted(first)), *classes]))


def _levels(distinct: Sequence[_Stated]) -> dict[_Stated, int | None]:
    """Return the number of the level of each, given what frames state of the contested fields."""
    found: dict[_Stated, int | None] = dict.fromkeys(distinct)
    members: list[list[_Stated]] = []
    for stated in distinct:
        if _is_undetermined(stated, distinct):
            continue
        fitting = (i for i, level in enumerate(members) if all(_agree(stated, other) for other in level))
        number = next(fitting, len(members))
        if number == len(members):
            members.append([])
        members[number].append(stated)
        found[stated] = number
    return found


def _is_undetermined(stated: _Stated, everything: Sequence[_Stated]) -> bool:
    """Say whether frames that agree with this one contradict each other in a field that it does not state."""
    unstated = [name for name, value in stated if value is None]
    agreeing = [dict(other) for other in everything if _agree(stated, other)] if unstated else []
    return any(len({other.get(name) for other in agreeing} - {None}) > 1 for name in unstated)


def _agree(one: _Stated, other: _Stated) -> bool:
    values = dict(other)
    pairs = ((value, values.get(name)) for name, value in one)
    return all(a is None or b is None or a == b for a, b in pairs)
