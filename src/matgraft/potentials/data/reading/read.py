"""Read one's own DFT frames, whatever they are in, and state what was taken for what.

>>> data = read("frames.extxyz")                                 # energy, forces and stress are found by name
>>> data = read("runs/", want=("energy", "forces", "stress"))    # every run of a code below the folder
>>> data = read("frames.extxyz", keys={"energy": "my_e"}, units={"energy": "eV/atom", "stress": "-kBar"})

Files are told apart by content: outputs of codes, JSON records, and everything that ASE reads, each by a file of
`reading.formats`. Names of keys are found in `reading.keys`, numbers become labels in `reading.labels`, the level of
theory comes from the output or from a YAML file beside the data (`reading.theory`). What was decided stands in the
dataset's provenance: keys and units of each file, and notes. A store of frames (`data.store`) is opened, not read: its
samples are read when asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Unpack

import numpy as np
from rich.progress import Progress

from matgraft.core.errors import DataError, OptionError
from matgraft.core.provenance import ENERGY_NAMES, EnergyKind, LevelOfTheory, Provenance, SourceFile, file_hash
from matgraft.core.quantities import Array
from matgraft.core.stand_ins import stand_in
from matgraft.potentials.data.cells import volume, with_clear_cell
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.magnetism import INITIAL_ORDER_TAG, ORDER_TAG, along_one_axis, magnetic_order
from matgraft.potentials.data.reading.absent import Absences
from matgraft.potentials.data.reading.asked import UnsaidError, settled
from matgraft.potentials.data.reading.corrections import Corrections, with_correction
from matgraft.potentials.data.reading.formats.base import FileHead
from matgraft.potentials.data.reading.keys import (
    ENERGY_KINDS,
    WANT,
    Choices,
    Reading,
    bare,
    fitting,
    forces_beside,
    is_gradient,
    is_label,
    is_moment_of_cell,
    present,
    suggest,
    unmatched,
)
from matgraft.potentials.data.reading.labels import Label, find_cheap, find_labels, with_volume
from matgraft.potentials.data.reading.raw import RawFile, RawFrame, scalar_text
from matgraft.potentials.data.reading.remarks import Remarks
from matgraft.potentials.data.reading.sources import Source, locate
from matgraft.potentials.data.reading.stated import in_angstrom
from matgraft.potentials.data.reading.theory import combine, find_sidecar, read_theory
from matgraft.potentials.data.reading.weights import find_weights
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.sense import refuse_senseless, require_sense
from matgraft.potentials.data.store import open_store
from matgraft.potentials.data.store_format import is_store

_SHOWN = 300  # characters of what a reader raised
_KEYS, _TOLD = 60, 1500  # keys that a message lists, and their characters


@dataclass
class _Ledger:
    """What all files together held, to judge at the end whether every wish was met, and what is to be said of them."""

    files: list[SourceFile] = field(default_factory=list)
    existing: dict[str, frozenset[str]] = field(default_factory=dict)
    matched: set[str] = field(default_factory=set)
    cheap: set[str] = field(default_factory=set)
    labelled: set[str] = field(default_factory=set)
    absent: dict[str, str] = field(default_factory=dict)
    typed: bool = False
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def see(self, frame: RawFrame, choices: Choices) -> None:
        """Enter the keys of a frame, the quantities that their shapes fit, and which of the user's keys it has."""
        for key, value in frame.values.items():
            if value is not None and key not in self.existing:
                self.existing[key] = fitting(value, len(frame.atoms))
        self.typed = self.typed or bool(frame.types)
        self.matched.update(q for q, key in choices.keys.items() if present(q, frame.values, key))
        self.cheap.update(q for q, key in choices.cheap.items() if present(q, frame.values, key))

    def note(self, name: str, text: str) -> None:
        """Enter a note on a file."""
        self.notes[text].append(name)

    def provenance(self) -> Provenance:
        """Return the files, and each note once with the files that it is on."""
        notes = tuple(f"{_few(names)}: {text}" for text, names in self.notes.items())
        return Provenance(files=tuple(self.files), notes=notes)


def read(
    source: str | Path | Sequence[str | Path],
    *,
    beside: bool = False,
    progress: bool = False,
    audited: bool = False,
    **how: Unpack[Reading],
) -> Dataset:
    """Read frames with their labels from files and folders.

    Parameters
    ----------
    source
        A file, a folder to search for runs of codes, or several of them; or one store of frames, whose labels are
        canonical and leave the options nothing to say.
    beside
        The file stands beside others that the options were said for: they need not act on it.
    progress
        Show a progress bar over the files.
    audited
        True where an audit follows, which names the structures that make no sense. Else they are refused here.
    how
        Options: `matgraft.potentials.data.reading.keys.Reading`.

    Returns
    -------
    Dataset
        Labels in canonical units: energy () eV, forces (n, 3) eV/Å, stress (3, 3) eV/Å³ with ASE's sign. The structures
        carry no calculator, no constraints and no further arrays. Every scalar of the file is a tag. ``file`` and
        ``frame`` say where a frame came from, unless the file itself says so under these names; runs of codes add
        ``trajectory``, ``folder`` and ``converged``.

    Raises
    ------
    DataError
        If a file is missing, empty, unreadable or cut off; if a wanted label is nowhere; if two keys contradict each
        other; if a value has a wrong shape; if periodic cell vectors are not independent; if structures make no sense
        (`matgraft.potentials.data.sense`).
    OptionError
        If an option cannot be meant, or is not read.
    """
    sources = _locate(source)
    if any(is_store(one.path) for one in sources):
        return _open_store(sources, how)
    choices, stated = Choices.parse(how), _stated(how.get("theory"))
    ledger = _Ledger()
    _tell_unread(sources, ledger)
    files = _read_all(sources, ledger, progress)
    samples: list[Sample] = []
    unsaid: list[DataError] = []
    for one, file in files:
        with _left_out(one, ledger, unsaid), _in_words(one):
            samples.extend(tuple(_convert(one, file, choices, stated, ledger)))
    if len(unsaid) == len(files):
        raise _all_broken(unsaid)
    _judge(ledger, choices, _few([one.name for one in sources]), beside)
    dataset = Dataset(tuple(samples), ledger.provenance())
    if not audited:
        refuse_senseless(dataset)
    return dataset


class Stream(Iterable[Sample]):
    """The samples that `read` returns, one after another, for data larger than the memory.

    What is in memory is one file's frames, of a file that ASE reads one frame; an error is raised where it is met.
    Parameters and errors are those of `read`.
    """

    def __init__(self, source: str | Path | Sequence[str | Path], **how: Unpack[Reading]) -> None:
        self.sources = _locate(source)
        if stores := [one.name for one in self.sources if is_store(one.path)]:
            raise OptionError(f"{stores[0]} is a store already", allowed=["files in the formats of codes"])
        self._choices, self._stated, self._ledger = Choices.parse(how), _stated(how.get("theory")), _Ledger()

    def __iter__(self) -> Iterator[Sample]:
        """Walk over the samples, once."""
        broken: list[DataError] = []
        _tell_unread(self.sources, self._ledger)
        for source in self.sources:
            try:
                file = _read_one(source)
            except DataError as error:
                if not source.found:
                    raise
                broken.append(error)
                self._ledger.note(source.name, f"left out: {error.found}")
            else:
                with _left_out(source, self._ledger, broken), _in_words(source):
                    for sample in _convert(source, file, self._choices, self._stated, self._ledger):
                        require_sense(sample.content, sample.where)
                        yield sample
        if len(broken) == len(self.sources):
            raise _all_broken(broken)
        _judge(self._ledger, self._choices, _few([one.name for one in self.sources]))

    def provenance(self) -> Provenance:
        """Return what is known of the files that have passed."""
        return self._ledger.provenance()


def _locate(source: str | Path | Sequence[str | Path]) -> list[Source]:
    return locate([source] if isinstance(source, (str, Path)) else list(source))


def _tell_unread(sources: Sequence[Source], ledger: _Ledger) -> None:
    """Enter a note on the files of frames that searches left alone and nobody named."""
    read = {source.name for source in sources}
    if names := [name for source in sources for name in source.unread if name not in read]:
        ledger.note(
            _few(names), "not read: a folder is searched for runs alone; a file of frames is read where it is named"
        )


def _stated(theory: str | Path | None) -> LevelOfTheory | None:
    return None if theory is None else read_theory(Path(theory))


def _open_store(sources: Sequence[Source], how: Reading) -> Dataset:
    """Open the one store that is named; whatever says how numbers are read is refused."""
    where = sources[0].name
    if len(sources) > 1:
        raise OptionError(
            f"{len(sources)} files, a store among them: a store stands alone",
            remedy="pack the frames of all files into one store",
        )
    if how.get("delta"):
        raise OptionError(
            "delta is not read: a store holds no labels of a cheap method",
            where=where,
            remedy="give the files that the store was packed from",
        )
    if idle := [name for name, value in how.items() if value and name != "want"]:
        raise OptionError(
            f"{', '.join(idle)} {'is' if len(idle) == 1 else 'are'} not read: the labels of a store are canonical",
            where=where,
            remedy="say it when the frames are packed",
        )
    dataset, want = open_store(sources[0].path), how.get("want", WANT)
    for quantity in want:
        if not dataset.count(quantity):
            raise DataError(
                f"no frame in the store has {quantity}",
                where=where,
                allowed=dataset.quantities(),
                remedy=f"pack the frames again and name the key of the {quantity}, or do not ask for it",
                options=_without(quantity, want, dataset.quantities()),
            )
    return dataset


# --- reading ---------------------------------------------------------------------------------------------------------


def _read_all(sources: Sequence[Source], ledger: _Ledger, progress: bool) -> list[tuple[Source, RawFile]]:
    """Read every file before judging any, so that one message names all that are broken.

    A broken run that a search came across is left out with a note, as long as another one is whole.
    """
    whole: list[tuple[Source, RawFile]] = []
    broken: list[tuple[Source, DataError]] = []
    with Progress(disable=not progress, transient=True) as bar:
        for source in bar.track(sources, description="reading"):
            try:
                file = _read_one(source)
                with _in_words(source):
                    whole.append((source, replace(file, frames=tuple(file.frames))))
            except DataError as error:
                broken.append((source, error))
    if broken and (not whole or not all(source.found for source, _ in broken)):
        raise _all_broken([error for _, error in broken])
    for source, reason in broken:
        ledger.note(source.name, f"left out: {reason.found}")
    return whole


@contextmanager
def _left_out(source: Source, ledger: _Ledger, unsaid: list[DataError]) -> Iterator[None]:
    """Leave out, with a note, what a search came across and what only the user could complete."""
    try:
        yield
    except UnsaidError as error:
        if not source.found:
            raise
        unsaid.append(error)
        ledger.note(source.name, f"left out: {error.found}; {error.remedy}")


def _read_one(source: Source) -> RawFile:
    try:
        empty = source.path.is_file() and source.path.stat().st_size == 0
    except OSError as error:
        raise DataError(f"it cannot be opened: {error.strerror}", where=source.name) from error
    if empty:
        raise DataError("the file is empty", where=source.name)
    if instead := stand_in(FileHead(source.path).start):
        what, remedy = instead
        raise DataError(f"it is {what}", where=source.name, remedy=remedy)
    with _in_words(source):
        return source.format.read(source.path, source.name)


@contextmanager
def _in_words(source: Source) -> Iterator[None]:
    """Turn what a reader raises on a file that nobody thought of into an error that names the file."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        found = f"it does not read like {source.format.title}: {error!r}"
        raise DataError(found[:_SHOWN], where=source.name, remedy="is it whole, and is it what it seems?") from error


def _all_broken(errors: Sequence[DataError]) -> DataError:
    if len(errors) == 1 or all(isinstance(error, UnsaidError) for error in errors):
        return errors[0]
    listed = "".join(f"\n  {error.where}: {error.found}" for error in errors)
    return DataError(f"{len(errors)} files cannot be read:{listed}", remedy="repair them or take them out")


def _theory(source: Source, file: RawFile, stated: LevelOfTheory | None, ledger: _Ledger) -> LevelOfTheory | None:
    """Return a file's level of theory: from the run, from the file the user named, or from the one beside it."""
    if stated is None and not source.format.is_run:
        sidecar, foreign = find_sidecar(source.path)
        if foreign:
            ledger.note(source.name, f"{foreign.name} beside it states no level of theory, and is passed over")
        if sidecar:
            stated = read_theory(sidecar)
            ledger.note(source.name, f"level of theory from {sidecar.name}")
    theory = combine(file.theory, stated, source.name)
    unknown = "not stated; a file of the same name that ends in .yaml would say it"
    ledger.note(source.name, f"level of theory: {theory.describe() if theory else unknown}")
    return theory


# --- samples ---------------------------------------------------------------------------------------------------------

_Used = Mapping[str, Mapping[tuple[str, str], int]]
"""Quantity -> (key, unit) -> number of frames that it was read from."""


def _convert(
    source: Source, file: RawFile, choices: Choices, stated: LevelOfTheory | None, ledger: _Ledger
) -> Iterator[Sample]:
    """Turn a file's frames into samples; in the end, note which keys and units they were read from."""
    theory = _theory(source, file, stated, ledger)
    theories: dict[object, LevelOfTheory | None] = {}  # frames share what is equal
    used: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    kinds = {**ENERGY_KINDS, **file.conventions.energies}
    absences = Absences(lambda: _energies_per_atom(source, file, choices))
    corrections = Corrections()
    n = cellless = 0
    remarks = Remarks(choices)
    for index, written in enumerate(file.frames):
        where = f"{source.name} frame {index}"
        frame = in_angstrom(written, choices.units.get("length"), where)
        ledger.see(frame, choices)
        frame = with_volume(settled(frame, file.conventions, choices, where), file, choices, where)
        labels = absences.take_out(frame.atoms, find_labels(frame, file, choices, where))
        for quantity, label in labels.items():
            used[quantity][label.key, label.unit] += 1
        kind = kinds.get(labels["energy"].key.lower()) if "energy" in labels else None
        correction = corrections.of(frame, labels.get("energy"))
        level = (kind, correction, frame.theory.key() if frame.theory else None)
        if level not in theories:
            own = combine(frame.theory, stated, source.name) if frame.theory else theory
            own = _with_energy(own, kind, source.name)
            theories[level] = with_correction(own, correction, source.name, is_run=source.format.is_run)
        tags = _with_orders(_tags(source, index, frame, choices), frame, labels)
        weights = find_weights(tags, labels, where)
        remarks.see(frame, labels, weights)
        n, cellless = n + 1, cellless + _lacks_cell(frame, choices)
        yield Sample(
            with_clear_cell(frame.atoms, where),
            {name: label.value for name, label in labels.items()},
            tags,
            weights.frame,
            source.name,
            index,
            theories[level],
            weights.labels,
            {name: label.components for name, label in labels.items() if label.components is not None},
            find_cheap(frame, file, choices, where),
        )
    ledger.labelled.update(used)
    ledger.absent.update(list(absences.counts))
    origin = _origin(source, file, used, n, _fixed(file, choices, used))
    told = {"units": origin.units | remarks.units, "not_computed": absences.by_quantity()}
    ledger.files.append(origin.model_copy(update=told))
    notes = [*file.notes, *_what_was_read(used, n, kinds, choices), *absences.notes(n), *corrections.notes(n)]
    notes += remarks.notes(used)
    notes += [_LEFT_OUT.format(cellless)] if cellless else []
    for text in notes:
        ledger.note(source.name, text)


def _energies_per_atom(source: Source, file: RawFile, choices: Choices) -> Array:
    """Return the energies of all frames of a file (eV/atom); one whose frames are walked over once is read again."""
    file = file if isinstance(file.frames, tuple) else _read_one(source)
    energies = [
        float(labels["energy"].value) / len(frame.atoms)
        for index, frame in enumerate(file.frames)
        if "energy" in (labels := find_labels(frame, file, choices, f"{source.name} frame {index}"))
    ]
    return np.array(energies)


def _with_energy(theory: LevelOfTheory | None, kind: EnergyKind | None, where: str) -> LevelOfTheory | None:
    """Record which energy a key held; raise if another one was stated."""
    if theory is None or kind is None:
        return theory
    if theory.energy not in (None, kind):
        raise DataError(f"energy is {kind!r} by its key, {theory.energy!r} was stated", where=where)
    return theory.model_copy(update={"energy": kind})


def _tags(source: Source, index: int, frame: RawFrame, choices: Choices) -> dict[str, str]:
    """Return where a frame comes from, and every scalar of it that is no label."""
    tags = {"file": source.name, "frame": str(index)} | _run_tags(source) | dict(frame.tags)
    chosen = {key.lower() for key in (*choices.keys.values(), *choices.cheap.values())}
    for key, value in frame.values.items():
        labelled = is_label(key) and not is_moment_of_cell(key, value, len(frame.atoms))
        text = None if labelled or key.lower() in chosen else scalar_text(value)
        if text is not None:
            tags[bare(key)] = text
    return tags


def _with_orders(tags: dict[str, str], frame: RawFrame, labels: Mapping[str, Label]) -> dict[str, str]:
    """Return the tags with the magnetic order, where moments along one axis tell it and the file does not."""
    final = frame.values[labels["magmom"].key] if "magmom" in labels else ()
    given = {ORDER_TAG: final, INITIAL_ORDER_TAG: frame.values.get("initial_magmoms", ())}
    moments = {tag: np.asarray(own) for tag, own in given.items()}
    n = len(frame.atoms)
    known = {tag: along_one_axis(own) for tag, own in moments.items() if own.shape in ((n,), (n, 3))}
    return {tag: magnetic_order(own) for tag, own in known.items() if own is not None} | tags


def _run_tags(source: Source) -> dict[str, str]:
    """Return the tags of a code's run: each is one trajectory, named by its path."""
    if not source.format.is_run:
        return {}
    return {"trajectory": source.name, "folder": source.path.parent.name}


def _fixed(file: RawFile, choices: Choices, used: _Used) -> tuple[str, ...]:
    """Return the quantities that the format fixes, less those on which the user said something else."""
    own = {"stress" if name == "virial" else name for name in choices.units}  # a length is of no label
    own |= {"stress"} if choices.shear else set()
    return tuple(quantity for quantity in used if file.conventions.fixed and quantity not in own)


def _origin(source: Source, file: RawFile, used: _Used, n: int, fixed: tuple[str, ...]) -> SourceFile:
    kinds = {**ENERGY_KINDS, **file.conventions.energies}
    energies = [kinds[key.lower()] for key, _ in used.get("energy", ()) if key.lower() in kinds]
    return SourceFile(
        name=source.name,
        sha256=file_hash(source.path, *file.others),
        n_samples=n,
        format=file.conventions.format,
        energies=tuple(dict.fromkeys(energies)),
        keys={quantity: ", ".join(dict.fromkeys(key for key, _ in counts)) for quantity, counts in used.items()},
        units={quantity: ", ".join(dict.fromkeys(unit for _, unit in counts)) for quantity, counts in used.items()},
        fixed=fixed,
    )


# --- what is told -----------------------------------------------------------------------------------------------------


def _what_was_read(used: _Used, n: int, kinds: Mapping[str, EnergyKind], choices: Choices) -> list[str]:
    notes = []
    for quantity, counts in used.items():
        parts = []
        for (key, unit), m in counts.items():
            kind = kinds.get(key.lower()) if quantity == "energy" else None
            parts.append(f"{key!r} in {unit}" + (f", the {ENERGY_NAMES[kind]}" if kind else ""))
            parts[-1] += f" ({m} frames)" if m < n else ""
        notes.append(f"{quantity} read from {' and '.join(parts)}")
    for quantity in dict.fromkeys([*used, *choices.want]):
        missing = n - sum(used.get(quantity, {}).values())
        notes += [f"{quantity} is absent in {missing} of {n} frames"] if missing else []
    return notes


_LEFT_OUT = (
    "stress left out in {} frames without a cell of three vectors, so without a volume; of a slab a "
    "virial (units.virial=eV) or a stress per area (units.stress=N/m) is read all the same"
)


def _lacks_cell(frame: RawFrame, choices: Choices) -> bool:
    """Say whether a frame gives a stress but has no cell to refer it to."""
    return not volume(frame.atoms) and bool(present("stress", frame.values, choices.keys.get("stress")))


def _few(names: Sequence[str]) -> str:
    shown = names if len(names) <= 3 else [*names[:2], f"and {len(names) - 2} more"]
    return ", ".join(shown)


# --- was every wish met ----------------------------------------------------------------------------------------------


def _judge(ledger: _Ledger, choices: Choices, where: str, beside: bool = False) -> None:
    """Raise if a wanted label is nowhere or an option matched nothing that need not do without."""
    for quantity, key in choices.keys.items():
        if quantity not in ledger.matched and not (beside and quantity not in choices.want):
            raise unmatched(quantity, key, ledger.existing)
    for quantity, key in choices.cheap.items():
        if quantity not in ledger.cheap:
            raise unmatched(quantity, key, ledger.existing, "delta")
    for quantity in choices.want:
        if quantity not in ledger.labelled:
            raise _nowhere(quantity, ledger, choices.want, where)
    if beside:
        return
    idle = [
        f"units.{name}"
        for name in choices.units
        if name != "length" and ("stress" if name == "virial" else name) not in ledger.labelled
    ]
    idle += ["shear"] if choices.shear and "stress" not in ledger.labelled else []
    if choices.elements and not ledger.typed:
        raise OptionError(
            "elements is given, but the files name the elements of their atoms",
            where=where,
            options=[{"elements": None}],
        )
    if idle:
        raise OptionError(
            f"{' and '.join(idle)} is given, but no frame has that label",
            where=where,
            options=[dict.fromkeys(idle)],
        )


def _without(quantity: str, want: Collection[str], there: Collection[str]) -> list[dict[str, list[str]]]:
    """Return the option that asks for the other labels that are there; none where there are no others."""
    others = [name for name in want if name != quantity and name in there]
    return [{"want": others}] if others else []


def _gradient(key: str, ledger: _Ledger) -> dict[str, str]:
    """Return the option that reads a gradient of the energy as forces, in the unit that goes with the energy's."""
    written = {text for file in ledger.files for text in file.units.get("energy", "eV").split(", ")}
    unit = forces_beside(written.pop()) if len(written) == 1 else ""
    return {"keys.forces": bare(key), "units.forces": f"-{unit or 'eV/Å'}"}


def _nowhere(quantity: str, ledger: _Ledger, want: Collection[str], where: str) -> DataError:
    if quantity in ledger.absent:
        return DataError(
            f"no frame has {quantity} that was computed: every one is {ledger.absent[quantity]}",
            where=where,
            remedy=f"do not ask for {quantity}, or give a file that has it",
            options=_without(quantity, want, ledger.labelled),
        )
    fitting = [key for key, fits in ledger.existing.items() if quantity in fits]
    gradients = [key for key in fitting if quantity == "forces" and is_gradient(key)]
    likely: list[dict[str, str]] = [_gradient(key, ledger) for key in gradients]
    likely = likely or suggest(quantity, fitting)
    existing = sorted(ledger.existing)
    if not any(ledger.existing.values()):
        return DataError(
            f"no frame has {quantity} under a known name: these are structures without results of a computation",
            where=where,
            remedy="give what the code wrote, such as vasprun.xml or OUTCAR, or extxyz with energy and forces; "
            "`matgraft predict` and `matgraft label` take structures alone",
            options=_without(quantity, want, ledger.labelled),
        )
    shown = ", ".join([*existing[:_KEYS], *["..."] * (len(existing) > _KEYS)])
    return DataError(
        f"no frame has {quantity} under a known name; the keys are {shown[:_TOLD] or 'none at all'}",
        where=where,
        remedy=f"name the key that holds the {quantity}, or do not ask for it"
        + ("; forces are minus the gradient of the energy" if gradients else ""),
        options=[*likely, *_without(quantity, want, ledger.labelled)],
    )
