"""From the frames of a file to samples: labels in canonical units, tags and a level of theory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from matgraft.core.errors import DataError
from matgraft.core.provenance import ENERGY_NAMES, EnergyKind, LevelOfTheory, SourceFile, file_hash
from matgraft.core.quantities import Array
from matgraft.potentials.data.cells import volume, with_clear_cell
from matgraft.potentials.data.magnetism import INITIAL_ORDER_TAG, ORDER_TAG, along_one_axis, magnetic_order
from matgraft.potentials.data.reading.absent import Absences
from matgraft.potentials.data.reading.asked import with_elements
from matgraft.potentials.data.reading.corrections import Corrections, with_correction
from matgraft.potentials.data.reading.keys import ENERGY_KINDS, Choices, bare, is_label, is_moment_of_cell, present
from matgraft.potentials.data.reading.labels import Label, find_cheap, find_labels, with_volume
from matgraft.potentials.data.reading.ledger import Ledger
from matgraft.potentials.data.reading.opening import raw_file
from matgraft.potentials.data.reading.raw import RawFile, RawFrame, scalar_text
from matgraft.potentials.data.reading.remarks import Remarks
from matgraft.potentials.data.reading.sources import Source
from matgraft.potentials.data.reading.stated import in_angstrom
from matgraft.potentials.data.reading.theory import combine, find_sidecar, read_theory
from matgraft.potentials.data.reading.weights import find_weights
from matgraft.potentials.data.sample import Sample


def _theory(source: Source, file: RawFile, stated: LevelOfTheory | None, ledger: Ledger) -> LevelOfTheory | None:
    """Return a file's level of theory: from the run, from the file the user named, or from the one beside it."""
    if stated is None and not source.format.is_run:
        sidecar, foreign = find_sidecar(source.path)
        if foreign:
            ledger.note(source.name, f"{foreign.name} beside it states no level of theory, and is ignored")
        if sidecar:
            stated = read_theory(sidecar)
            ledger.note(source.name, f"level of theory from {sidecar.name}")
    theory = combine(file.theory, stated, source.name)
    unknown = "not stated; a file of the same name that ends in .yaml would say it"
    ledger.note(source.name, f"level of theory: {theory.describe() if theory else unknown}")
    return theory


_Used = Mapping[str, Mapping[tuple[str, str], int]]
"""Quantity -> (key, unit) -> number of frames that it was read from."""


def samples_of(
    source: Source, file: RawFile, choices: Choices, stated: LevelOfTheory | None, ledger: Ledger
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
        frame = with_volume(with_elements(frame, file.conventions, choices, where), file, choices, where)
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
    file = file if isinstance(file.frames, tuple) else raw_file(source)
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
