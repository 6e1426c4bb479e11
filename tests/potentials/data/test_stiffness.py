"""Scans in small steps are no contradiction, however stiff the bond; labels of two theories are one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.data import atomic_masses, atomic_numbers
from ase.neighborlist import neighbor_list
from ase.units import _amu, _c, _e

from matgraft.core.findings import Finding
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.audit.stiffness import bond_stiffness, largest_changes
from matgraft.potentials.audit.structures import CONFLICT, duplicates
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample

# Ground states of diatomic molecules (Huber and Herzberg 1979): vibration in 1/cm, length in Å.
MOLECULES = {
    "H H": (4401.2, 0.7414),
    "N N": (2358.6, 1.0977),
    "C O": (2169.8, 1.1283),
    "C C": (1854.7, 1.2425),
    "H Cl": (2990.9, 1.2746),
    "Mg O": (785.2, 1.749),
    "P P": (780.8, 1.8934),
    "Ti O": (1009.0, 1.6203),
    "Th O": (895.8, 1.8403),
    "Au Au": (190.9, 2.4719),
    "I I": (214.5, 2.666),
    "Cs I": (119.2, 3.3152),
    "Na Na": (159.1, 3.0789),
    "K K": (92.0, 3.9051),
}

STEPS = 6

# Depth in eV, 1/width in 1/Å, length in Å of a Morse curve.
MORSE = {"N2": (9.9, 2.69, 1.098), "H2": (4.75, 1.94, 0.741), "CO": (11.2, 2.30, 1.128), "C8": (3.7, 1.95, 1.545)}


@pytest.mark.parametrize("pair", MOLECULES)
def test_the_bound_holds_for_known_molecules_and_is_not_wide(pair: str) -> None:
    wavenumber, length = MOLECULES[pair]
    Z = np.array([atomic_numbers[symbol] for symbol in pair.split()])
    reduced = _amu / (1 / atomic_masses[Z]).sum()
    measured = reduced * (2 * np.pi * _c * 100 * wavenumber) ** 2 / _e * 1e-20
    assert measured < bond_stiffness(Z[:1], Z[1:], np.array([length]))[0] < 6 * measured


def morse(atoms: Atoms) -> dict[str, np.ndarray]:
    """Labels of a sum over bonds."""
    depth, width, length = MORSE[atoms.get_chemical_formula()]
    i, distance, vector = neighbor_list("idD", atoms, 1.4 * length)
    x = np.exp(-width * (distance - length))
    pull = -2 * depth * width * (x * x - x)  # on i, towards the neighbour
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, (pull / distance)[:, None] * vector)
    labels = {"energy": np.array(depth * (x * x - 2 * x).sum() / 2), "forces": forces}
    if atoms.pbc.all():
        labels["stress"] = np.einsum("k,ki,kj->ij", pull / distance, vector, vector) / 2 / atoms.get_volume()
    return labels


def emt(atoms: Atoms) -> dict[str, np.ndarray]:
    atoms = Atoms(atoms, calculator=EMT())
    return {
        "energy": np.array(atoms.get_potential_energy()),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(voigt=False),
    }


def stretched(name: str, part: float) -> list[Atoms]:
    start = part * MORSE[name][2]
    return [Atoms(name, [[0, 0, 0], [0, 0, start + 0.001 * k]]) for k in range(STEPS)]


def one_atom_moved(crystal: Atoms) -> list[Atoms]:
    frames = [crystal.copy() for _ in range(STEPS)]
    for k, atoms in enumerate(frames):
        atoms.positions[0] += 0.001 * k / np.sqrt(3)
    return frames


def compressed(crystal: Atoms, part: float) -> list[Atoms]:
    frames = [crystal.copy() for _ in range(STEPS)]
    for k, atoms in enumerate(frames):
        atoms.set_cell(atoms.cell[:] * (part + 0.001 * k / atoms.cell.lengths()[0]), scale_atoms=True)
    return frames


DIAMOND, ALUMINIUM = bulk("C", "diamond", 3.567, cubic=True), bulk("Al", cubic=True)
Labels = Callable[[Atoms], dict[str, np.ndarray]]
SERIES: dict[str, tuple[list[Atoms], Labels]] = {
    **{f"{name} {part}": (stretched(name, part), morse) for name in ("N2", "H2", "CO") for part in (0.8, 1.0, 1.2)},
    "diamond, one atom": (one_atom_moved(DIAMOND), morse),
    **{f"diamond, cell {part}": (compressed(DIAMOND, part), morse) for part in (0.9, 1.0, 1.1)},
    "aluminium, one atom": (one_atom_moved(ALUMINIUM), emt),
    **{f"aluminium, cell {part}": (compressed(ALUMINIUM, part), emt) for part in (0.85, 1.0, 1.1)},
}


def looked(frames: list[Atoms], labels: list[dict[str, np.ndarray]]) -> Finding:
    samples = tuple(Sample(atoms, own) for atoms, own in zip(frames, labels, strict=True))
    (finding,) = duplicates(Evidence(Dataset(samples)))
    return finding


@pytest.mark.parametrize("name", SERIES)
def test_right_labels_of_a_scan_in_small_steps_do_not_contradict(name: str) -> None:
    frames, label = SERIES[name]
    found = looked(frames, [label(atoms) for atoms in frames])
    assert found.outcome == "failed" and found.severity == "warning"  # copies they are


OTHER_THEORY = {
    "energy": lambda energy: energy + 0.6,
    "forces": lambda forces: 1.2 * forces + [[0.9, 0.0, 0.0]],
    "stress": lambda stress: stress + 0.08 * np.eye(3),
}


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        *((name, quantity) for name in ("N2 1.0", "H2 1.0") for quantity in ("energy", "forces")),
        *((name, quantity) for name in ("diamond, one atom", "aluminium, one atom") for quantity in OTHER_THEORY),
    ],
)
def test_labels_of_two_theories_contradict_though_atoms_moved(name: str, quantity: str) -> None:
    frames, label = SERIES[name]
    labels = [label(atoms) for atoms in frames]
    for own in labels[1::2]:
        own[quantity] = OTHER_THEORY[quantity](own[quantity])
    found = looked(frames, labels)
    assert found.blocks and quantity in found.evidence


@pytest.mark.parametrize("name", SERIES)
def test_exact_copies_are_allowed_the_tolerance_alone(name: str) -> None:
    (atoms, *_), _ = SERIES[name]
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    assert largest_changes(atoms, turned) == pytest.approx(dict.fromkeys(CONFLICT, 0.0), abs=1e-9)
