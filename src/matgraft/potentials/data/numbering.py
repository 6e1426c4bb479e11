"""Frames by the number that they have in the file that they were read from, whatever was left out since.

Numbers are a list where one file was read, ``[3, 5-9]``, and a mapping where several were: ``{"a.xyz": [3], "b.xyz":
[5]}``. A number of one file would mean another frame as soon as a file is added, so a list is refused for several.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from pydantic import JsonValue

from matgraft.core.errors import OptionError, nearest
from matgraft.potentials.data.dataset import Dataset

_RANGE = re.compile(r"(?<!\d)(\d++)-(\d+)")

Numbers = tuple[int, ...] | dict[str, tuple[int, ...]]


def leave_out(dataset: Dataset, numbers: Numbers, option: str) -> Dataset:
    """Return the dataset without some frames.

    Parameters
    ----------
    option
        Where the numbers come from, for messages: ``"audit.drop"``.

    Raises
    ------
    OptionError
        If a number or a file is none of the dataset's, if a list could mean any of several files, or if no frame stays.
    """
    if not numbers:
        return dataset
    places = [(sample.file, sample.index) for sample in dataset]
    known: dict[str, list[int]] = defaultdict(list)
    for file, index in places:
        known[file].append(index)
    chosen = {(file, index) for file, own in _by_file(numbers, list(known), option).items() for index in own}
    if missing := sorted(chosen - set(places)):
        file, index = missing[0]
        raise OptionError(
            f"{option} names frame {index}, which is not there", where=file, allowed=[f"0 to {max(known[file])}"]
        )
    kept = [k for k, place in enumerate(places) if place not in chosen]
    if not kept:
        raise OptionError(f"{option} leaves out all {len(dataset)} frames", remedy="leave out fewer")
    return dataset[kept]


def numbers_of_frames(dataset: Dataset, positions: Iterable[int], already: Numbers = (), option: str = "") -> JsonValue:
    """Return the numbers of frames at some positions, as an option takes them.

    Parameters
    ----------
    already
        Numbers that are said under the option already, which stay.
    """
    files = _files(dataset)
    found: dict[str, set[int]] = defaultdict(set)
    for file, own in _by_file(already, files, option).items():
        found[file].update(own)
    for i in positions:
        sample = dataset.samples[i]
        found[sample.file].add(sample.index)
    by_file = {file: _in_ranges(sorted(found[file])) for file in files}
    return by_file[files[0]] if len(files) == 1 else {file: own for file, own in by_file.items() if own}


def expand(numbers: object) -> object:
    """Return numbers with every range, ``"5-9"``, written out; what is no range stays as it is."""
    if isinstance(numbers, Mapping):
        return {file: expand(own) for file, own in numbers.items()}
    if not isinstance(numbers, (list, tuple)):
        return numbers
    ranges = [_RANGE.fullmatch(part) if isinstance(part, str) else None for part in numbers]
    written = [range(int(r[1]), int(r[2]) + 1) if r else (part,) for part, r in zip(numbers, ranges, strict=True)]
    return tuple(number for part in written for number in part)


def _in_ranges(numbers: Sequence[int]) -> list[JsonValue]:
    """Write three numbers and more that follow each other as a range; the numbers ascend."""
    starts = [k for k in range(len(numbers)) if not k or numbers[k] != numbers[k - 1] + 1]
    runs = [numbers[start:end] for start, end in pairwise([*starts, len(numbers)])]
    return [part for run in runs for part in ([f"{run[0]}-{run[-1]}"] if len(run) > 2 else run)]


def _files(dataset: Dataset) -> list[str]:
    """Return the files that were read, also those of which every frame was left out."""
    return list(dict.fromkeys([*(file.name for file in dataset.provenance.files), *(s.file for s in dataset)]))


def _by_file(numbers: Numbers, files: Sequence[str], option: str) -> Mapping[str, Iterable[int]]:
    if isinstance(numbers, dict):
        if strange := [file for file in numbers if file not in files]:
            raise OptionError(
                f"{option} names the file {strange[0]!r}", allowed=files, remedy=nearest(strange[0], files)
            )
        return numbers
    if numbers and len(files) > 1:
        raise OptionError(
            f"{option}={list(numbers)} does not say of which of {len(files)} files these frames are",
            allowed=files,
            options=[{option: {files[0]: list(numbers)}}],
        )
    return {files[0]: numbers} if files else {}
