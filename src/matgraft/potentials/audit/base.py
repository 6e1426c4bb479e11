"""What every look is given, and how it says what it saw.

`Evidence` holds the dataset beside the foundation's predictions and answers what looks keep asking: which frames have a
sound label and prediction, which belong together, in which unit a label was read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from matgraft.core.findings import Action
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import DEFAULT_UNITS, Array, Unit, full_to_voigt, parse_unit
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.sense import Nonsense, nonsense

Frames = NDArray[np.int64]
_NONE: Frames = np.array([], dtype=np.int64)
V = TypeVar("V")

UNASKED = "no predictions of a foundation model were given"
"""Why labels are not compared, where nothing else is said."""


@dataclass(frozen=True, eq=False)
class LabelReading:
    """Frames whose label was taken for one unit.

    Attributes
    ----------
    unit
        The unit it was taken for.
    virial
        True if the numbers were taken for a virial, not a stress.
    frames
        Positions in the dataset.
    fixed
        True if the format of the files leaves no other unit, sign or order.
    """

    unit: Unit
    virial: bool
    frames: Frames
    fixed: bool = False


@dataclass(frozen=True, eq=False)
class Evidence:
    """Labels beside predictions.

    Attributes
    ----------
    dataset
        The frames.
    predictions
        One mapping a frame: quantity -> array in canonical units; None where no foundation was asked.
    elements
        Chemical symbols that the foundation has seen; empty if unknown.
    model
        Its name, for sentences.
    unasked
        Why there are no predictions, where there are none.
    theory
        The foundation's level of theory; None where none was asked.
    own_heads
        True where the frames have a head of their own.
    """

    dataset: Dataset
    predictions: Sequence[Mapping[str, Array]] | None = None
    elements: tuple[str, ...] = ()
    model: str = "the foundation"
    unasked: str = UNASKED
    theory: LevelOfTheory | None = None
    own_heads: bool = False

    @cached_property
    def n_atoms(self) -> NDArray[np.int64]:
        """(n_frames,) number of atoms."""
        return np.array([len(numbers) for numbers in self.dataset.samples.numbers()], dtype=np.int64)

    @cached_property
    def volumes(self) -> Array:
        """(n_frames,) Å³; 0 for a frame without a cell in three directions, or whose structure makes no sense."""
        cells = np.array([sample.content.cell[:] for sample in self.dataset], dtype=float).reshape(-1, 3, 3)
        whole = np.isin(np.arange(len(cells)), self.sound)
        return np.where(whole, np.abs(np.linalg.det(np.where(whole[:, None, None], cells, 0.0))), 0.0)

    @cached_property
    def senseless(self) -> dict[int, Nonsense]:
        """Frames whose structures make no sense, and why."""
        found = ((i, nonsense(sample.content)) for i, sample in enumerate(self.dataset))
        return {i: why for i, why in found if why is not None}

    @cached_property
    def sound(self) -> Frames:
        """Frames whose structures make sense."""
        return _where(i not in self.senseless for i in range(len(self.dataset)))

    @cached_property
    def fractions(self) -> Array:
        """(n_frames, n_elements) part of the atoms that each element makes up."""
        each = self.dataset.samples.numbers()
        elements = np.array(sorted({Z for numbers in each for Z in set(numbers.tolist())}))
        counts = [(numbers[:, None] == elements).sum(axis=0) for numbers in self.dataset.samples.numbers()]
        return np.array(counts, dtype=float).reshape(-1, len(elements)) / np.maximum(self.n_atoms, 1)[:, None]

    @cached_property
    def groups(self) -> list[Frames]:
        """Sound frames of each trajectory."""
        labels = find_groups(self.dataset.samples.take(self.sound)).labels
        return [self.sound[members] for members in _members(labels)]

    @cached_property
    def blocks(self) -> NDArray[np.int64]:
        """(n_frames,) number of the trajectory of each sound frame: what resampling takes as one."""
        found = np.full(len(self.dataset), -1, dtype=np.int64)
        for k, members in enumerate(self.groups):
            found[members] = k
        return found

    @cached_property
    def _files(self) -> list[str]:
        return [sample.file for sample in self.dataset]

    @cached_property
    def _finite_labels(self) -> dict[str, NDArray[np.bool_]]:
        """Label -> (n_frames,) whether a frame carries it and every number of it is finite."""
        found = {name: np.zeros(len(self.dataset), dtype=bool) for name in self.dataset.quantities()}
        for i, sample in enumerate(self.dataset):
            for name, value in sample.labels.items():
                found[name][i] = np.isfinite(value).all()
        return found

    def grouped_by(self, tag: str) -> list[Frames]:
        """Frames of each value of a tag."""
        return _members(self.dataset.tag(tag))

    def place(self, i: int) -> str:
        """Name a frame by its number in its file, or in the dataset where it is of no file."""
        sample = self.dataset.samples[int(i)]
        return sample.where if sample.file else f"frame {i}"

    def labelled(self, quantity: str) -> Frames:
        """Sound frames with a finite label."""
        return self.sound[self._finite_labels[quantity][self.sound]] if quantity in self._finite_labels else _NONE

    def paired(self, quantity: str) -> Frames:
        """Sound frames with a finite label and a finite prediction of one shape."""
        if self.predictions is None:
            return _NONE
        frames = self.labelled(quantity)
        pairs = zip(frames, self.dataset.samples.take(frames).label(quantity), strict=True)
        return np.array([i for i, label in pairs if self._predicted(quantity, i, label)], dtype=np.int64)

    def _predicted(self, quantity: str, i: int, label: Array) -> bool:
        assert self.predictions is not None
        value = self.predictions[i].get(quantity)
        fits = value is not None and np.shape(value) == np.shape(label)
        return fits and _finite(value) and (quantity != "stress" or self.volumes[i] > 0)

    def label(self, quantity: str, frames: Sequence[int] | Frames) -> list[Array]:
        """Labels of some frames."""
        return list(self.dataset.samples.take(frames).label(quantity))

    def stress_components(self, frames: Sequence[int] | Frames) -> NDArray[np.bool_]:
        """(n, 6) which components of the stresses of some frames are labels, as xx, yy, zz, yz, xz, xy.

        All are, but of some slabs those in the plane alone.
        """
        whole = np.ones((3, 3))
        samples = self.dataset.samples.take(frames)
        given = np.array([sample.components.get("stress", whole) for sample in samples], dtype=float)
        return np.asarray(full_to_voigt(given.reshape(-1, 3, 3)) > 0.5)

    def prediction(self, quantity: str, frames: Sequence[int] | Frames) -> list[Array]:
        """Return predictions for some frames."""
        assert self.predictions is not None
        return [np.asarray(self.predictions[int(i)][quantity], dtype=float) for i in frames]

    @cached_property
    def _made(self) -> dict[Any, Any]:
        return {}

    def once(self, judge: Callable[[Evidence, LabelReading], V], reading: LabelReading) -> V:
        """Return ``judge(self, reading)``: several looks ask for one verdict, which is made once."""
        if (judge, reading) not in self._made:
            self._made[judge, reading] = judge(self, reading)
        return cast(V, self._made[judge, reading])

    def readings(self, quantity: str) -> list[LabelReading]:
        """Frames that can be judged, by the unit that their labels were taken for, the most frames first."""
        if quantity not in self._made:
            self._made[quantity] = self._readings(quantity)
        return cast(list[LabelReading], self._made[quantity])

    def _readings(self, quantity: str) -> list[LabelReading]:
        files = self.dataset.provenance.files
        texts = {file.name: (file.units.get(quantity, ""), quantity in file.fixed) for file in files}
        found: dict[tuple[str, bool], list[int]] = defaultdict(list)
        for i in self.paired(quantity):
            found[texts.get(self._files[i], ("", False))].append(int(i))
        readings = [_reading(quantity, text, frames, fixed) for (text, fixed), frames in found.items()]
        return sorted(readings, key=lambda reading: -len(reading.frames))

    def why_unpaired(self, quantity: str) -> str:
        """Say why there is nothing to hold against the foundation."""
        if self.predictions is None:
            return self.unasked
        if not len(self.labelled(quantity)):
            return f"no frame carries a finite {quantity} label"
        return f"{self.model} gave no {quantity} for the frames that carry the label"


def split_by_group(
    evidence: Evidence, frames: Frames, judge: Callable[[Frames], V | None], wrong: Callable[[Any], bool]
) -> tuple[V | None, Frames]:
    """Judge trajectory by trajectory; one that cannot tell goes with the whole, unless another one is found right.

    Returns
    -------
    verdict
        On the frames that are wrong, or on all where none is; None where nobody can tell.
    frames
        Those that are wrong.
    """
    overall = judge(frames)
    asked = np.zeros(len(evidence.dataset), dtype=bool)
    asked[frames] = True
    parts = [part for part in (group[asked[group]] for group in evidence.groups) if len(part)]
    verdicts = [judge(part) for part in parts]
    mixed = any(verdict is not None and not wrong(verdict) for verdict in verdicts)
    verdicts = [overall if verdict is None and not mixed else verdict for verdict in verdicts]
    told = [verdict for verdict in (overall, *verdicts) if verdict is not None]
    faulty = [part for part, verdict in zip(parts, verdicts, strict=True) if verdict is not None and wrong(verdict)]
    if not faulty:
        return next((verdict for verdict in told if not wrong(verdict)), None), np.array([], dtype=np.int64)
    chosen = np.sort(np.concatenate(faulty))
    pooled = judge(chosen)
    return pooled if pooled is not None and wrong(pooled) else next(v for v in told if wrong(v)), chosen


def drop(frames: Iterable[int]) -> Action:
    """Return the action that leaves frames out."""
    return Action(drop=tuple(int(i) for i in frames))


def count(number: int, of: int | None = None) -> str:
    """Say how many frames, in words that can start a sentence."""
    if of is not None and number == of:
        return "the only frame" if of == 1 else f"all {of} frames"
    among = "" if of is None else f" of {of}"
    return f"{number}{among} frame{'' if (of or number) == 1 else 's'}"


def _reading(quantity: str, text: str, frames: list[int], fixed: bool) -> LabelReading:
    # A file whose frames were read in several units names them all: what was made of them is canonical.
    text = "" if ", " in text else text
    virial = text.endswith(" (virial)")
    place = "virial" if virial else quantity
    unit = parse_unit(text.removesuffix(" (virial)") or DEFAULT_UNITS[place], place)
    return LabelReading(unit, virial, np.array(frames, dtype=np.int64), fixed)


def _members(labels: Sequence[str]) -> list[Frames]:
    members: dict[str, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        members[label].append(i)
    return [np.array(frames, dtype=np.int64) for frames in members.values()]


def _where(flags: Iterable[bool]) -> Frames:
    return np.flatnonzero(np.array(list(flags), dtype=bool))


def _finite(value: Array | None) -> bool:
    return value is not None and bool(np.isfinite(value).all())
