"""Which head each frame belongs to: one for each level of theory, or for each value of a tag.

    train, test = assign_heads([train, test], by="theory")      # frames carry the tag "head": PBE, PBE+U, r2SCAN
    frames_by_head(train)                                       # {"PBE": [0, 1, 2, ...], "r2SCAN": [...]}
    head_names(train)                                           # ["PBE", "r2SCAN"]; or ["PBE", "foundation"]

Levels of theory are told apart as the audit tells them apart (`matgraft.potentials.data.levels`): what blocks
there as mixed gets a head each here. Names are short and safe as names of folders; two levels of one name are numbered.
Frames of a store stay on disk: a frame's head follows from the frame itself.

Frames of one head are joined by the foundation's own, which no frame of theirs belongs to: what is rehearsed keeps it
(`matgraft.potentials.tuning.replay`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.levels import Levels, energy_scales
from matgraft.potentials.data.sample import Sample

HEAD_TAG = "head"
"""Tag that says which head a frame belongs to. A file may have one already: ``heads.by=head`` takes it."""

THEORY = "theory"
"""Heads by level of theory, not by a tag."""

FOUNDATION = "foundation"
"""Name of the foundation's own head."""

_UNSTATED = "target"
"""Name of the head of frames that state no level of theory."""

Label = Callable[[Sample], Hashable]
"""What tells frames of different heads apart: the number of its level of theory, or a tag's value."""

_SPELLED = {"R2SCAN": "r2SCAN", "RSCAN": "rSCAN"}
"""VASP's word for a functional -> the field's."""

_LONGEST = 40
_SENSIBLE = 20
"""Tags of more values than this are not proposed as heads."""


def assign_heads(parts: Sequence[Dataset], by: str = THEORY, *, foundation: bool | None = None) -> list[Dataset]:
    """Tag every frame with the name of its head.

    Parameters
    ----------
    parts
        The training frames, then any others, such as the test: all are told apart together, so that names agree.
    by
        ``"theory"``, or a tag. Frames of one file of which none states its level of theory are taken for one level,
        those of several files where `foundation` is true.
    foundation
        Whether the model has the foundation's own head too, as of `head_names`; beside one head by a tag where it is
        asked for alone, since a tag was to part the frames.

    Returns
    -------
    list of Dataset
        The parts with the tag ``head``; a note in the first one's provenance says which head is what.

    Raises
    ------
    OptionError
        If `by` is no tag, or all training frames belong to one head and the foundation has none.
    DataError
        If a frame does not say its level of theory or its tag, or a frame of another part belongs to a head without
        training frames.
    """
    train, everything = parts[0], concatenate(parts)
    label = _levels(everything, foundation) if by == THEORY else _values(everything, by)
    n_heads = len({label(sample) for sample in train})
    keeps = keeps_foundation(n_heads, foundation if by == THEORY else bool(foundation))
    if n_heads < 2 and not keeps:
        raise _one_head(train, by, foundation)
    names = _names(everything, label, by, [FOUNDATION] if keeps else [])
    marked = [part.map(lambda sample: sample.with_tags(head=names[label(sample)])) for part in parts]
    for part in marked[1:]:
        refuse_strange_heads(marked[0], part)
    own = [f"{FOUNDATION} (kept by replay frames)"] if keeps else []
    note = f"heads by {by}: {'; '.join([*_lines(marked[0], by), *own])}"
    provenance = train.provenance.model_copy(update={"notes": (*train.provenance.notes, note)})
    return [replace(marked[0], provenance=provenance), *marked[1:]]


def keeps_foundation(n_heads: int, asked: bool | None) -> bool:
    """Say whether a model with so many heads of the frames has the foundation's own too: where asked, or beside one."""
    return n_heads == 1 if asked is None else asked


def head_names(train: Dataset, foundation: bool | None = None) -> list[str]:
    """Return the names of a model's heads: those of its training frames, and the foundation's own.

    Parameters
    ----------
    foundation
        Whether there is the foundation's own. None: where the frames have one head, since one alone shares nothing.

    Raises
    ------
    DataError
        If a frame has no head.
    OptionError
        If frames have a head of the foundation's name.
    """
    names = list(frames_by_head(train))
    if not keeps_foundation(len(names), foundation):
        return names
    if FOUNDATION in names:
        raise OptionError(f"frames have a head named {FOUNDATION}", allowed=["any other name"])
    return [*names, FOUNDATION]


def frames_by_head(dataset: Dataset) -> dict[str, list[int]]:
    """Return the positions of each head's frames, heads in the order in which they appear.

    Raises
    ------
    DataError
        If a frame has no head.
    """
    found: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(dataset.tag(HEAD_TAG)):
        if not name:
            remedy = "assign_heads([train, validation], by=...)"
            raise DataError("this frame belongs to no head", where=dataset[i].where, remedy=remedy)
        found[name].append(i)
    return dict(found)


_LONG_ENOUGH = 10  # frames: of fewer, blocks leave a part empty (`matgraft.potentials.data.splits.blocks.SHORTEST_CUT`)


def require_heads(train: Dataset, validation: Dataset) -> None:
    """Raise a DataError unless every head has frames to learn from and frames to stop the learning by."""
    counts = [Counter(part.tag(HEAD_TAG)) for part in (train, validation)]
    poor = {name: (counts[0][name], counts[1][name]) for name in counts[0] | counts[1]}
    poor = {name: both for name, both in poor.items() if not all(both)}
    if poor:
        shown = [f"{name} ({n} training, {m} validation)" for name, (n, m) in list(poor.items())[:5]]
        shown += [f"{len(poor) - 5} more"] if len(poor) > 5 else []
        raise DataError(
            f"each head needs training and validation frames, and these lack some: {', '.join(shown)}",
            remedy="cut trajectories where a head has too few, hold out more for validation, or give more frames",
            options=[{"split.by": "blocks"}] if all(sum(both) >= _LONG_ENOUGH for both in poor.values()) else [],
        )


# ------------------------------------------------------------------ what parts them


def _levels(frames: Dataset, foundation: bool | None) -> Label:
    """Return what tells the level of theory of a frame, by number: numbers follow the order of these frames."""
    silent = [sample for sample in frames if sample.theory is None]
    one_file = len({sample.file for sample in silent}) == 1
    if silent and len(silent) == len(frames) and (one_file if foundation is None else foundation):
        return lambda sample: None
    if silent:
        raise DataError(
            f"{len(silent)} of {len(frames)} frames state no level of theory, so they belong to no head",
            where=silent[0].where,
            remedy="state it in a YAML file beside the data, or divide the frames by one of their tags"
            + ("; or treat all as one level" if len(silent) == len(frames) else ""),
            options=[*_by_tag(frames), *([{"heads.foundation": True}] if len(silent) == len(frames) else [])],
        )
    levels = Levels(frames)
    undetermined = [sample for sample in frames if levels(sample) is None]
    if undetermined:
        fields = dict.fromkeys(name for sample in undetermined for name in levels.unstated(sample))
        raise DataError(
            f"{len(undetermined)} of {len(frames)} frames fit several levels of theory, since they do not state "
            f"{', '.join(fields)}",
            where=undetermined[0].where,
            remedy="state it in a YAML file beside the data, or divide the frames by one of their tags",
            options=_by_tag(frames),
        )
    return levels


def _values(frames: Dataset, tag: str) -> Label:
    """Return what tells the value of a frame's tag; every frame has one."""
    known = sorted({name for tags in frames.samples.tags() for name in tags})
    if tag not in known:
        raise OptionError(
            f"heads.by={tag!r} is not a tag of the frames",
            allowed=[THEORY, *known],
            remedy=nearest(tag, [THEORY, *known]),
        )
    missing = [i for i, value in enumerate(frames.tag(tag)) if not value.strip()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(frames)} frames have no value for {tag!r}, so they belong to no head",
            where=frames[missing[0]].where,
            remedy="fill it in, leave these frames out, or part the frames by another tag",
            options=_by_tag(frames),
        )
    return lambda sample: sample.tags[tag].strip()


def _one_head(train: Dataset, by: str, foundation: bool | None) -> OptionError:
    """Say which other options would part the frames."""
    by_theory = by != THEORY and all(s.theory for s in train) and parts_well(Counter(energy_scales(train.samples)))
    return OptionError(
        f"all {len(train)} training frames belong to one head by {by}: strategy multihead needs two",
        remedy="train one head, keep the foundation's own beside it, or divide the frames in another way",
        options=[
            {"strategy.name": "full", "heads.by": None, **({} if foundation is None else {"heads.foundation": None})},
            *([{"heads.by": THEORY}] if by_theory else []),
            *_by_tag(train, by),
            {"heads.foundation": True},
        ],
    )


def _by_tag(frames: Dataset, by: str = "") -> list[dict[str, str]]:
    """Return an option for each tag, other than `by`, that would part the frames."""
    tags = sorted({name for tags in frames.samples.tags() for name in tags} - {by, HEAD_TAG})
    return [{"heads.by": tag} for tag in tags if parts_well(Counter(frames.tag(tag)))]


def parts_well(counts: Counter[Any]) -> bool:
    """Say whether every frame has a value, and the values are few with several frames each."""
    return not {"", None} & set(counts) and 2 <= len(counts) <= _SENSIBLE and min(counts.values()) > 1


def refuse_strange_heads(train: Dataset, others: Dataset) -> None:
    """Raise a DataError for frames to score on whose head no training frame has."""
    known = dict.fromkeys(train.tag(HEAD_TAG))
    strange = [i for i, name in enumerate(others.tag(HEAD_TAG)) if name not in known]
    if strange:
        first = others[strange[0]]
        raise DataError(
            f"{len(strange)} frames to score on belong to heads that no training frame has, "
            f"the first to {first.tags[HEAD_TAG]}",
            where=first.where,
            allowed=known,
            remedy="take them out of the test, or add training frames of their kind",
        )


# --------------------------------------------------------------------------- names


def _names(frames: Dataset, label: Label, by: str, reserved: Sequence[str]) -> dict[Hashable, str]:
    """Name each label; a name that another has already, or that is reserved, in whatever case, gets a number."""
    stems = _functionals(frames, label) if by == THEORY else {each: str(each) for each in map(label, frames)}
    names: dict[Hashable, str] = {}
    for each, text in stems.items():
        stem = _safe(text)
        taken = {name.lower() for name in [*names.values(), *reserved]}  # some file systems do not tell PBE from pbe
        tries = (stem if i == 1 else f"{stem}-{i}" for i in range(1, len(stems) + len(reserved) + 1))
        names[each] = next(name for name in tries if name.lower() not in taken)
    return names


def _functionals(frames: Dataset, label: Label) -> dict[Hashable, str]:
    """Return ``PBE``, ``PBE+U``, ``r2SCAN``, ``PBE-D3-BJ`` for each level of theory, by its first frame; +U by any."""
    first: dict[Hashable, LevelOfTheory | None] = {}
    corrected: set[Hashable] = set()
    for sample in frames:
        first.setdefault(label(sample), sample.theory)
        if sample.theory and any(sample.theory.hubbard_u.values()):
            corrected.add(label(sample))
    return {each: functional_of(theory, corrected=each in corrected) for each, theory in first.items()}


def functional_of(theory: LevelOfTheory | None, *, corrected: bool) -> str:
    """Return the short name of a level of theory: ``PBE``, ``PBE+U`` where it is corrected, ``PBE-D3-BJ``."""
    if theory is None:
        return _UNSTATED
    name = theory.hybrid or theory.metagga or theory.functional or theory.code or "theory"
    dispersion = f"-{theory.dispersion}" if theory.dispersion else ""
    return f"{_SPELLED.get(name, name)}{'+U' if corrected else ''}{dispersion}"


def _safe(text: str) -> str:
    """Keep letters, digits, ``+``, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9+_]+", "-", text).strip("-")[:_LONGEST].strip("-") or "head"


def _lines(train: Dataset, by: str) -> list[str]:
    """Introduce each head: name, frames, what it stands for."""
    lines = []
    for name, frames in frames_by_head(train).items():
        theory = train[frames[0]].theory
        what = f"; {theory.describe()}" if theory is not None and by == THEORY else ""
        lines.append(f"{name} ({len(frames)} frame{'s' * (len(frames) > 1)}{what})")
    return lines
