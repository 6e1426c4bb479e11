"""What `matgraft predict` says of structures: the facts, the screen, and the files that they are written to.

| file     | one model                                   | several models                                          |
| -------- | ------------------------------------------- | ------------------------------------------------------- |
| .extxyz  | ``energy``, ``forces``, ``stress``          | ``<model>_energy``, ...; and ``forces_disagreement`` |
| .parquet | a row a structure, as in predictions.parquet | a row a structure and model                             |

Units: eV (total), eV/Å, eV/Å³ with ASE's sign (xx, yy, zz, yz, xz, xy); the disagreement is each atom's, in eV/Å. What
a model does not give, such as the stress of a molecule, is absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write as write_atoms
from ase.units import GPa
from pydantic import Field
from rich.console import Console

from matgraft.core.errors import OptionError
from matgraft.core.files import whole
from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import (
    ENERGY,
    ENERGY_STD,
    EXTRAPOLATION,
    FORCES,
    FORCES_STD,
    POTENTIAL_QUANTITIES,
    PREDICTED,
    STRESS,
    Array,
    Quantity,
    full_to_voigt,
)
from matgraft.core.report.document import Block, Bullets, Column, FindingList, Row, Table, Text
from matgraft.core.report.screen import show_blocks
from matgraft.core.report.text import written
from matgraft.core.targets import ending
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.keys import is_label
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.scoring.frame_errors import Predictions
from matgraft.potentials.scoring.table import predictions_table, write_predictions

MOST_SHOWN = 20
"""Structures on the screen; a file has all."""
WRITTEN = (".extxyz", ".xyz", ".parquet")
"""Endings of the files that predictions are written to."""

Value = float | list[float] | list[list[float]]


class Disagreement(Frozen):
    """How far the models are apart on one structure: the largest difference between two of them.

    Attributes
    ----------
    energy_meV_per_atom
        After the reference energies of each model are shifted to those of the first, by a shift that is fitted on the
        other structures; None where these do not determine it.
    forces_eV_per_A
        The largest of all atoms.
    stress_GPa
        The largest of the six components; None without a stress.
    """

    energy_meV_per_atom: float | None
    forces_eV_per_A: float
    stress_GPa: float | None


class PredictedStructure(Frozen):
    """What the models predict of one structure.

    Attributes
    ----------
    file, index
        Where it was read from.
    formula, n_atoms
        What it is.
    values
        Model -> quantity with its unit (``energy_eV``, ``forces_eV_per_A``, ``stress_eV_per_A3``: xx, yy, zz, yz, xz,
        xy; of a run with an uncertainty ``energy_std_eV``, ``forces_std_eV_per_A``, ``extrapolation``) -> value.
    disagreement
        Between the models; None of one.
    """

    file: str
    index: int
    formula: str
    n_atoms: int
    values: dict[str, dict[str, Value]]
    disagreement: Disagreement | None = None


class StructurePredictions(Frozen):
    """What `matgraft predict` says of structures.

    Attributes
    ----------
    files, notes
        What was read, and how.
    models
        Model -> its level of theory in words.
    structures
        Those that all models can take, in order.
    left_out
        Those that a model cannot take.
    written
        The file that the predictions were written to; empty where there is none.
    prefixes
        Model -> how its keys begin there; empty of one model.
    """

    files: tuple[str, ...]
    notes: tuple[str, ...]
    models: dict[str, str]
    structures: tuple[PredictedStructure, ...]
    left_out: tuple[Finding, ...] = ()
    written: str = ""
    prefixes: dict[str, str] = Field(default_factory=dict)


def prefixes_of(models: Sequence[str]) -> dict[str, str]:
    """Return how the keys of each model begin: its name in letters, digits and underscores, each another one."""
    found: dict[str, str] = {}
    for name in models:
        stem = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "model"
        taken = [one for one in found.values() if one == stem or re.fullmatch(rf"{re.escape(stem)}_\d+", one)]
        found[name] = f"{stem}_{len(taken) + 1}" if taken else stem
    return found


def values_of(prediction: Mapping[str, Array]) -> dict[str, Value]:
    """Return a prediction as JSON can hold it, each quantity with its unit in the name."""
    found = {}
    for name, value in prediction.items():
        flat = full_to_voigt(value) if PREDICTED[name].shape == (3, 3) else value
        found[key_of(PREDICTED[name])] = np.asarray(flat, dtype=float).tolist()
    return found


def key_of(quantity: Quantity) -> str:
    """Return a quantity's name with its unit: ``forces_eV_per_A``."""
    unit = quantity.unit.replace("/", "_per_").replace("Å", "A").replace("³", "3")
    return f"{quantity.name}_{unit}".rstrip("_")


def disagreement_of(
    predictions: Sequence[Mapping[str, Array]], energies: Sequence[float | None], n_atoms: int
) -> Disagreement:
    """Return the largest differences between two models on one structure.

    Parameters
    ----------
    predictions
        Of each model.
    energies
        Of each model (eV), after the shift to the references of the first; None where it is not determined.
    """
    known = [energy for energy in energies if energy is not None]
    stresses = [full_to_voigt(one[STRESS.name]) for one in predictions if STRESS.name in one]
    return Disagreement(
        energy_meV_per_atom=1000 * (max(known) - min(known)) / n_atoms if len(known) == len(predictions) else None,
        forces_eV_per_A=float(force_differences(predictions).max()),
        stress_GPa=float(np.ptp(stresses, axis=0).max() / GPa) if len(stresses) == len(predictions) else None,
    )


def force_differences(predictions: Sequence[Mapping[str, Array]]) -> Array:
    """Return (n_atoms,) the largest difference (eV/Å) between the forces of two models on each atom."""
    forces = np.array([one[FORCES.name] for one in predictions])
    return np.asarray(np.linalg.norm(forces[:, None] - forces[None], axis=-1).max(axis=(0, 1)))


def refuse_other_file(path: Path) -> None:
    """Raise an OptionError if predictions are not written to files of such an ending."""
    if ending(path, WRITTEN, stream=".extxyz") is None:
        raise OptionError(f"{path}: predictions are not written as {path.suffix or 'a file without an ending'}",
                          allowed=[f"*{end}" for end in WRITTEN])  # fmt: skip


def write_structures(dataset: Dataset, predictions: Mapping[str, Predictions], path: Path) -> None:
    """Write structures with what each model predicts; labels that they came with are not written.

    Errors as of `refuse_other_file`.
    """
    refuse_other_file(path)
    if ending(path, WRITTEN, stream=".extxyz") == ".parquet":
        told = {name for each in predictions.values() for one in each for name in one}
        columns = {name: one for name, one in PREDICTED.items() if name in told or name in POTENTIAL_QUANTITIES}
        write_predictions(predictions_table({"predicted": (dataset, predictions)}, columns), path, columns)
        return
    prefixes = prefixes_of(list(predictions))
    frames = [
        predicted(sample, {prefixes[name]: each[i] for name, each in predictions.items()})
        for i, sample in enumerate(dataset)
    ]
    with whole(path) as part:
        write_atoms(part, frames, format="extxyz")


def predicted(sample: Sample, predictions: Mapping[str, Mapping[str, Array]], like: Atoms | None = None) -> Atoms:
    """Return a structure with its tags and the predictions: of one model under ASE's names, of several under theirs.

    Parameters
    ----------
    like
        The structure as the user holds it: it is copied with all that it carries but its calculator.
    """
    content = sample.content
    if like is None:
        atoms = Atoms(content.numbers, content.positions, cell=content.cell, pbc=content.pbc)
        atoms.info |= {name: value for name, value in sample.tags.items() if not is_label(name)}
    else:
        atoms = like.copy()
    if len(predictions) == 1:
        (values,) = predictions.values()
        own = {name: full_to_voigt(value) if name == STRESS.name else value for name, value in values.items()}
        known = {name: own[name] for name in (ENERGY.name, FORCES.name, STRESS.name) if name in own}
        atoms.calc = SinglePointCalculator(atoms, **{**known, ENERGY.name: float(own[ENERGY.name])})
        _add(atoms, {name: value for name, value in values.items() if name not in known})
        return atoms
    for prefix, values in predictions.items():
        _add(atoms, values, f"{prefix}_")
    atoms.arrays["forces_disagreement"] = force_differences(list(predictions.values()))
    return atoms


def _add(atoms: Atoms, values: Mapping[str, Array], prefix: str = "") -> None:
    for name, value in values.items():
        if PREDICTED[name].per == "atom":
            atoms.arrays[prefix + name] = value
        else:
            atoms.info[prefix + name] = full_to_voigt(value) if value.ndim else float(value)


def show_structures(screen: Console, facts: StructurePredictions) -> None:
    """Print what each model predicts of the first structures, how far models are apart, and what was written."""
    one = len(facts.models) == 1
    shown = facts.structures[:MOST_SHOWN]
    first = [Column("Structure", number=False), Column("Formula", number=False), Column("Atoms")]
    sure = one and any(EXTRAPOLATION.name in values for s in facts.structures for values in s.values.values())
    table = Table([*first, *((*_ONE, *(_SURE if sure else ())) if one else _several_heads(facts))],
                  [Row(*_place(s), *(_one_model(s) if one else _several_models(s, facts))) for s in shown])  # fmt: skip
    theories = [f"{name}: {theory}" for name, theory in facts.models.items()]
    blocks: list[Block] = [Bullets([*facts.notes, *theories]), table]
    if more := len(facts.structures) - len(shown):
        blocks.append(Text(f"… and {more} more" + ("" if facts.written else "; -o predictions.extxyz writes all")))
    if not one:
        blocks.append(Text(_APART))
    if sure:
        blocks.append(Text(_HOW_SURE))
    if facts.left_out:
        blocks.append(FindingList(facts.left_out))
    if facts.written:
        blocks.append(Text(_written_sentence(facts)))
    show_blocks(screen, blocks)


_ONE = (Column("Energy", "eV"), Column("Energy", "eV/atom"), Column("Largest force", "eV/Å"), Column("Pressure", "GPa"))

_SURE = (Column("Std", "meV/atom"), Column("Largest std", "eV/Å"), Column("Extrapolation"))
_HOW_SURE = (
    "Std: the standard deviation that the model states of the energy, and the largest of a component of a force. "
    "Extrapolation: of the atom that is farthest from the training frames; above 1 it is outside of them."
)


_APART = (
    "Apart: the largest difference between two models. Energies are compared after the references of each model are "
    "shifted to those of the first; a dash says that the other structures do not determine this shift."
)


def _several_heads(facts: StructurePredictions) -> list[Column]:
    apart = (("Energies", "meV/atom"), ("Forces", "eV/Å"), ("Stresses", "GPa"))
    return [
        *(Column(f"Energy, {name}", "eV/atom") for name in facts.models),
        *(Column(f"{name} apart", unit) for name, unit in apart),
    ]


def _place(structure: PredictedStructure) -> tuple[str, str, str]:
    return f"{structure.file} {structure.index}", structure.formula, str(structure.n_atoms)


def _one_model(structure: PredictedStructure) -> list[str]:
    (values,) = structure.values.values()
    energy, stress = values["energy_eV"], values.get("stress_eV_per_A3")
    assert isinstance(energy, float)
    largest = float(np.linalg.norm(values["forces_eV_per_A"], axis=-1).max())
    pressure = None if stress is None else -float(np.mean(np.asarray(stress)[:3])) / GPa
    found = [written(energy, 4), written(energy / structure.n_atoms, 4), written(largest, 3), written(pressure, 2)]
    return [*found, *_how_sure(values, structure.n_atoms)]


def _how_sure(values: Mapping[str, Value], n_atoms: int) -> list[str]:
    """Return the cells of `_SURE`; none where the model does not say how sure it is."""
    if EXTRAPOLATION.name not in values:
        return []
    keys = [key_of(PREDICTED[name]) for name in (ENERGY_STD.name, FORCES_STD.name, EXTRAPOLATION.name)]
    energy, force, extrapolation = (float(np.max(values[key])) if key in values else None for key in keys)
    return [
        written(None if energy is None else 1000 * energy / n_atoms, 1),
        written(force, 3),
        written(extrapolation, 2),
    ]


def _several_models(structure: PredictedStructure, facts: StructurePredictions) -> list[str]:
    apart = structure.disagreement
    assert apart is not None
    energies = [np.asarray(structure.values[name]["energy_eV"]) / structure.n_atoms for name in facts.models]
    return [
        *(written(float(energy), 4) for energy in energies),
        written(apart.energy_meV_per_atom, 1),
        written(apart.forces_eV_per_A, 3),
        written(apart.stress_GPa, 2),
    ]


def _written_sentence(facts: StructurePredictions) -> str:
    units = "energy in eV, forces in eV/Å, stress in eV/Å³ (tension positive)"
    keys = ", ".join(f"{prefix}_energy" for prefix in facts.prefixes.values())
    under = f" under {keys} and so on, forces_disagreement of each atom in eV/Å" if facts.prefixes else ""
    return f"{facts.written}: {len(facts.structures)} structures, {units}{under}"
