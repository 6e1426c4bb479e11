"""Choose frames of a pool to label: `matgraft select`.

    selected = select("runs/si", ["pool.extxyz"], 20, out=Path("chosen.extxyz"))
    selected.chosen[0].why, selected.left_out

The model passes over the pool once. A run brings the frames that it was fitted to: they are not chosen again, and the
chosen frames are unlike them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write as write_frames

from matgraft.core.errors import DataError, MatgraftError, OptionError
from matgraft.core.files import whole
from matgraft.core.processes import cores
from matgraft.core.reads import Read, refuse_unread
from matgraft.core.registry import part_head
from matgraft.core.run_folder import kind_of
from matgraft.core.targets import ending
from matgraft.potentials.active.selection.diversity import Surroundings
from matgraft.potentials.active.selection.pool import (
    ORIGIN,
    STEP,
    STRUCTURE,
    WALKER,
    candidates_of,
    handed_over,
    plausible,
    read_pool,
)
from matgraft.potentials.active.selection.select import NOTHING, choose_candidates
from matgraft.potentials.active.selection.selected import Chosen, Left, Selected
from matgraft.potentials.active.selection.settings import SelectSettings
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.seen import fingerprints
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_what_can_be
from matgraft.potentials.models.registry import load_potential, names_are_words
from matgraft.potentials.models.uncertainty import Known, Uncertainty
from matgraft.potentials.run.check import frames_of
from matgraft.potentials.run_files import SEEN, checked_folders
from matgraft.potentials.uncertainty.known import fit_known
from matgraft.potentials.uncertainty.rows import FrameRows, frame_rows

READS = (
    Read("*"),
    Read("low", "models with an uncertainty", lambda asked: asked["sure"]),
    Read("high", "models with an uncertainty", lambda asked: asked["sure"]),
    Read(
        "strata",
        "diversity=stratified",
        lambda asked: asked["stratified"],
        options=({"diversity": "stratified"},),
    ),
)
"""The settings that a selection reads."""

KEPT = (ORIGIN, WALKER, STEP, STRUCTURE, "config_type", "temperature", "pressure")
"""Tags of the pool that the chosen frames keep."""
WRITTEN = (".extxyz", ".xyz")
ATOMS_AT_ONCE = 20_000
"""Atoms whose graphs are in memory at once."""


def select(
    model: str | Path | Potential,
    pool: Sequence[str | Path] | Sequence[Atoms],
    n: int,
    settings: SelectSettings | None = None,
    *,
    beside: Sequence[str | Path] | Dataset = (),
    typed: Collection[str] = (),
    checks: bool = False,
    out: Path | None = None,
    quiet: bool = False,
) -> Selected:
    """Choose frames.

    Parameters
    ----------
    model
        A run, a foundation or a model itself. One without an uncertainty chooses by diversity alone.
    pool
        Files of structures, or structures; tags ``origin``, ``walker`` and ``step`` say where each is from.
    n
        How many, those to score on among them.
    beside
        Further frames that are labelled already, which are not chosen again.
    typed
        Settings that were typed, and that must be read.
    checks
        Add the structures that failed checks of the run hand over.
    out
        File (extxyz) of the chosen frames, with what `Chosen` says of each.

    Raises
    ------
    OptionError
        If the model is unknown, or a setting that was typed is not read with it.
    DataError
        If a file cannot be read, or the model can take no frame.
    """
    settings = settings or SelectSettings()
    if n < 1:
        raise OptionError(f"-n {n}: there is nothing to choose", allowed=["1 or more"])
    run = _run_of(model)
    if checks and run is None:
        raise OptionError(f"--checks is not read with {model}", allowed=["a run that `matgraft check` has looked at"])
    given = beside if isinstance(beside, Dataset) else read_pool(beside) if beside else Dataset(())
    asked_for = handed_over(checked_folders(run)) if checks and run is not None else Dataset(())
    frames = concatenate([one for one in (read_pool(pool), asked_for) if len(one)])
    _refuse_strata(settings, frames)
    potential = _loaded(model)
    uncertainty = Uncertainty.find(potential.folder, potential.card)
    stratified = settings.diversity == "stratified"
    refuse_unread("select", READS, typed, {"sure": uncertainty is not None, "stratified": stratified})
    seen = SEEN.find(run) if run is not None else None
    left: Counter[Left] = Counter()
    sound = plausible(frames, [*(seen.parts if seen else ()), fingerprints(given)], settings.seed, left)
    rows, taken = rows_of(potential, frames[sound], quiet)
    left["untakable"] += len(sound) - len(taken)
    if left["untakable"] == len(frames):
        raise DataError(f"{potential.card.name} can take no frame of the pool", remedy="choose by a model that can")
    known, notes = _known(model, potential, uncertainty, given, quiet)
    choice = NOTHING
    if taken:
        described = candidates_of(frames, settings.strata)
        candidates = [described[sound[i]] for i in taken]
        threshold = uncertainty.card.gate.threshold if uncertainty else None
        choice = choose_candidates(candidates, Surroundings.of(rows, known, settings.seed), threshold, n, settings)
    if out is not None and choice.chosen:
        write_chosen(frames, choice.chosen, out)
    return Selected(
        model=potential.card.name,
        settings=settings,
        asked=n,
        n_pool=len(frames),
        outside=choice.outside,
        chosen=choice.chosen,
        left_out=dict(+(left + choice.left_out)),
        notes=(*notes, *choice.notes),
        written=str(out) if out and choice.chosen else "",
    )


def refuse_other_frame_file(path: Path) -> None:
    """Raise an OptionError if chosen frames are not written to a file of such an ending."""
    if ending(path, WRITTEN, stream=".extxyz") is None:
        raise OptionError(
            f"{path}: chosen frames are not written as {path.suffix or 'a file without an ending'}",
            allowed=[f"*{ending}" for ending in WRITTEN],
        )


def _run_of(model: str | Path | Potential) -> Path | None:
    """Return the folder of a run on frames; None where the model is of none."""
    if isinstance(model, Potential):
        return None
    folder, _ = part_head(model)
    return folder if kind_of(folder) == "frames" else None


def _loaded(model: str | Path | Potential) -> Potential:
    if isinstance(model, Potential):
        return model
    with names_are_words():
        return load_potential(model)


def _refuse_strata(settings: SelectSettings, frames: Dataset) -> None:
    if settings.diversity == "stratified" and not any(frames.tag(settings.strata)):
        tags = sorted({name for own in frames.samples.tags() for name in own})
        raise OptionError(f"no frame of the pool has the tag {settings.strata!r}", where="strata", allowed=tags)


def rows_of(potential: Potential, frames: Dataset, quiet: bool) -> tuple[list[FrameRows], list[int]]:
    """Return the rows that enter the last stage of the model, and the positions of the frames that it can take."""
    sizes = np.cumsum([len(numbers) for numbers in frames.samples.numbers()])
    parts = np.split(np.arange(len(frames)), np.flatnonzero(np.diff(sizes // ATOMS_AT_ONCE)) + 1)
    rows: list[FrameRows] = []
    taken: list[int] = []
    for part in [one for one in parts if len(one)]:
        graphs, able, _ = encode_what_can_be(potential, frames[part].samples, processes=cores())
        if able:
            some = frames[part[able]]
            title = "" if quiet else f"{potential.card.name} on the pool"
            rows += frame_rows(potential, some, errors=False, encoded=graphs, progress=title)
            taken += part[able].tolist()
    return rows, taken


def _known(
    model: str | Path | Potential,
    potential: Potential,
    uncertainty: Uncertainty | None,
    given: Dataset,
    quiet: bool,
) -> tuple[Known | None, tuple[str, ...]]:
    """Return the rows of frames that count as chosen already, and what is to be said of them."""
    if uncertainty is not None:
        return uncertainty.known, ()
    notes = [f"{potential.card.name} has no uncertainty: frames are chosen by diversity alone, and there is no window"]
    learned = [given] if len(given) else []
    if not isinstance(model, Potential) and _run_of(model) is not None:
        try:
            learned.append(frames_of(model))
        except MatgraftError as error:
            notes.append(f"the frames of {model} cannot be read ({error.found}): chosen frames may resemble them")
    rows = rows_of(potential, concatenate(learned), quiet)[0] if learned else []
    return (fit_known(rows, np.arange(len(rows)), 0).known if rows else None), tuple(notes)


def write_chosen(frames: Dataset, chosen: Sequence[Chosen], out: Path) -> None:
    """Write the chosen frames, each with why it was chosen."""
    found = []
    for one in chosen:
        sample = frames[one.index]
        atoms = sample.content.copy()
        tags = {name: sample.tags[name] for name in KEPT if sample.tags.get(name)}
        facts = {"why": one.why, "extrapolation": one.extrapolation, "distance": one.distance, "pool": one.index}
        atoms.info = {**tags, WALKER: one.walker, **{name: fact for name, fact in facts.items() if fact is not None}}
        found.append(atoms)
    with whole(out) as part:
        write_frames(part, found, format="extxyz")
