"""The frames that are to be labelled, and the file of those that are.

A frame keeps its tags, which say where it came from. Labels that it carries, a model's predictions for example, are
left behind with the units that it states for them: new labels are in eV and Å. So are constraints: programs print no
force on an atom that is held. Positions of a file that states a unit of length are put in Å.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write as write_atoms

from matgraft.core.errors import DataError, OptionError
from matgraft.core.files import remove, whole, write_text
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import ENERGY, FORCES, LENGTH_UNITS, MAGMOM, STRESS, Array, find_unit, full_to_voigt
from matgraft.core.targets import ending, is_stream
from matgraft.potentials.active.labelling.messages import CHARGE_TAGS
from matgraft.potentials.active.labelling.theories import said_of
from matgraft.potentials.active.labelling.wire import Arrays
from matgraft.potentials.data.reading.formats.ase_files import read_structures
from matgraft.potentials.data.reading.keys import is_label
from matgraft.potentials.data.reading.stated import stated_units
from matgraft.potentials.data.reading.theory import find_sidecar
from matgraft.potentials.data.sense import require_sense

KEY_TAG = "label_key"
"""Tag of a labelled frame: what its label is kept under in the store."""
_INITIAL = ("initial_magmoms", "initial_charges")


class FrameToLabel(NamedTuple):
    """A frame to label, and where it stands."""

    atoms: Atoms
    where: str


def frames_to_label(frames: Sequence[str | Path] | Sequence[Atoms]) -> list[FrameToLabel]:
    """Return the frames of files, or those that are given.

    Raises
    ------
    DataError
        If a file is missing or cannot be read, or a frame makes no sense, or states a length, charge or spin that
        is none.
    """
    found: list[FrameToLabel] = []
    for one in frames:
        if isinstance(one, Atoms):
            found.append(FrameToLabel(without_labels(one), f"frame {len(found)}"))
        else:
            found += [
                FrameToLabel(without_labels(_in_angstrom(atoms, where)), where)
                for i, atoms in enumerate(_read(Path(one)))
                for where in [f"{Path(one).name} frame {i}"]
            ]
    if not found:
        raise DataError("there is no frame to label", where=", ".join(map(str, frames[:3])))
    for atoms, where in found:
        require_sense(atoms, where)
        for name in CHARGE_TAGS:
            if not isinstance(value := atoms.info.get(name, 0), int | float | str | np.generic):
                raise DataError(
                    f"its tag {name!r} is {value!r}, and the charge or spin of a frame is one number",
                    where=where,
                    remedy="write the number of the whole frame there, or leave the tag out",
                )
    return found


def without_labels(atoms: Atoms) -> Atoms:
    """Return a copy without labels, their units, calculator and constraints; its other tags are kept."""
    made = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell[:], pbc=atoms.pbc)
    made.info = {
        key: value
        for key, value in atoms.info.items()
        if not (is_label(key) or stated_units({key: value}) or (key in CHARGE_TAGS and value is None))
    }
    for name in _INITIAL:
        if name in atoms.arrays:
            made.set_array(name, atoms.arrays[name])
    return made


def labelled(atoms: Atoms, label: Arrays, key: str) -> Atoms:
    """Return a frame with its label, under the names that ASE and every reader know."""
    made = atoms.copy()
    made.info[KEY_TAG] = key
    results: dict[str, float | Array] = {ENERGY.name: float(label[ENERGY.name]), FORCES.name: label[FORCES.name]}
    if STRESS.name in label:
        results[STRESS.name] = full_to_voigt(label[STRESS.name])
    if MAGMOM.name in label:
        results["magmoms"] = label[MAGMOM.name]
    made.calc = SinglePointCalculator(made, **results)
    return made


def refuse_out(out: Path, frames: Sequence[str | Path] | Sequence[Atoms]) -> None:
    """Refuse, before anything is computed, a file that must not be written over.

    Raises
    ------
    OptionError
        If it is one of those that are read, holds frames that were not labelled here, is of another format, or a file
        that is not its own has the name of its level of theory.
    """
    if ending(out, (".extxyz", ".xyz"), stream=".extxyz") is None:
        raise OptionError(f"{out}: labelled frames are written as extended XYZ", allowed=["labelled.extxyz"])
    if is_stream(out):
        return
    if not out.parent.is_dir():
        raise OptionError(f"{out}: there is no folder {out.parent}", remedy="make the folder first")
    if any(not isinstance(one, Atoms) and Path(one).resolve() == out.resolve() for one in frames):
        raise OptionError(f"{out} is read and would be written over", remedy="name another file by -o")
    if not _is_ours(out):
        raise OptionError(
            f"{out} is there, and is not a file of labelled frames that may be written over",
            remedy="name another file by -o",
        )
    theory, foreign = find_sidecar(out)
    for side in (foreign, None if out.exists() else theory):
        if side is not None and side.suffix == ".yaml":
            raise OptionError(
                f"{side} would be written over by the level of theory of {out.name}", remedy="name another file by -o"
            )


def _is_ours(out: Path) -> bool:
    """Say whether a file is not there, or its first frame has the tag that labelled ones have."""
    if not out.exists():
        return True
    with out.open("rb") as file:
        return KEY_TAG.encode() in b"".join(file.readline(1 << 16) for _ in range(2))


def write_labelled(out: Path, frames: Sequence[Atoms], theory: LevelOfTheory | None) -> None:
    """Write labelled frames, and their level of theory beside them; nothing is beside a stream."""
    with whole(out) as part:
        write_atoms(part, list(frames), format="extxyz")
    if is_stream(out):
        return
    side = out.with_suffix(".yaml")
    if theory is None:
        remove(side)
        return
    said = {name: list(value) if isinstance(value, tuple) else value for name, value in said_of(theory).items()}
    lines = (  # a key a line, lists and mappings in one
        yaml.safe_dump(
            {name: value}, allow_unicode=True, default_flow_style=None if isinstance(value, list | dict) else False
        )
        for name, value in said.items()
    )
    write_text(side, f"# Level of theory of {out.name}.\n{''.join(lines)}")


def _in_angstrom(atoms: Atoms, where: str) -> Atoms:
    """Return a frame of a file in Å, whatever unit of length it states."""
    text = stated_units(atoms.info).get("length")
    if text is None:
        return atoms
    unit = find_unit(text, "length")
    if unit is None:
        raise DataError(
            f"the frame states {text!r} for positions, which is not a unit of length",
            where=where,
            remedy=f"state one of {', '.join(LENGTH_UNITS)}, or nothing for Å",
        )
    atoms.set_cell(atoms.cell[:] * unit.factor)
    atoms.positions *= unit.factor
    return atoms


def _read(path: Path) -> list[Atoms]:
    if not path.is_file():
        raise DataError("there is no such file", where=str(path))
    try:
        found = read_structures(path)
    except DataError:
        raise
    except Exception as error:  # whatever ASE's reader of the format raises
        raise DataError(f"no structures can be read: {type(error).__name__}: {error}", where=str(path)) from error
    return list(found)
