"""Strained cells, the strains that a crystal's symmetry leaves, and stress of models that predict none.

>>> strained(atoms, 0.01 * unit_strain(3))              # e_yz = 0.005: Voigt's e4 = 0.01
>>> evaluated(subject, structures)                      # as Subject.evaluate, with a stress in every cell
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms

from matgraft.core.quantities import ENERGY, STRESS, Array, full_to_voigt, voigt_to_full
from matgraft.potentials.data.cells import volume
from matgraft.potentials.simulation.geometry import rotations_of
from matgraft.potentials.simulation.subject import Subject

ENERGY_STRAIN = 2e-3
"""Strain by which energies are differentiated for a stress. An energy of 10 eV in single precision is known to 1e-6 eV:
the error of a stress is 0.002 GPa in a cell of 40 Å³, and that of the central difference is below 1e-4 of it."""

_SHEAR = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])
_MANDEL = np.array([1.0, 1.0, 1.0, np.sqrt(2), np.sqrt(2), np.sqrt(2)])


def unit_strain(component: int) -> Array:
    """Return the (3, 3) strain whose Voigt component (xx, yy, zz, yz, xz, xy) is 1; a shear is e_ij + e_ji."""
    return voigt_to_full(np.eye(6)[component] * _SHEAR)


def strained(atoms: Atoms, strain: Array) -> Atoms:
    """Return atoms with a symmetric (3, 3) strain of the cell; atoms keep their place in the cell."""
    held = atoms.copy()
    held.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    return held


def scaled(atoms: Atoms, ratio: float) -> Atoms:
    """Return atoms at `ratio` times the volume, all lengths by the same factor."""
    return strained(atoms, (np.cbrt(ratio) - 1) * np.eye(3))


def independent_strains(atoms: Atoms) -> list[int]:
    """Return the fewest Voigt components whose images by symmetry span all strains; two for a cubic crystal."""
    rotations, kept = rotations_of(atoms), list[int]()
    span = np.zeros((0, 6))
    for component in range(6):
        wider = np.vstack([span, _voigt_strain(rotated(unit_strain(component), rotations))])
        own = np.vstack([span, np.eye(6)[component]])
        if np.linalg.matrix_rank(own, tol=1e-3) > np.linalg.matrix_rank(span, tol=1e-3):
            kept, span = [*kept, component], wider
    return kept


def rotated(tensor: Array, rotations: Array) -> Array:
    """Return a (3, 3) tensor under each rotation (n, 3, 3): R t Rᵀ."""
    return np.asarray(rotations @ tensor @ np.swapaxes(rotations, -1, -2))


def fitted_elastic_tensor(strains: Iterable[Array], stresses: Iterable[Array], rotations: Array) -> Array:
    """Fit C in stress = C strain to pairs and their images under the point group: C has the crystal's symmetry.

    Parameters
    ----------
    strains, stresses
        (3, 3) each; together with their images the strains span all strains.

    Returns
    -------
    (6, 6) array
        Voigt's notation, symmetric, in the unit of the stresses.
    """
    strain = np.vstack([_voigt_strain(rotated(one, rotations)) for one in strains])
    stress = np.vstack([full_to_voigt(rotated(one, rotations)) for one in stresses])
    fitted = np.linalg.lstsq(strain, stress, rcond=None)[0]
    return np.asarray((fitted + fitted.T) / 2)


def stability(C: Array) -> Array:
    """Return the six eigenvalues of an elastic tensor (6, 6), smallest first: stable where all are positive (Born).

    They are taken in Mandel's notation, in which they do not hang on the axes.
    """
    return np.asarray(np.linalg.eigvalsh(C * np.outer(_MANDEL, _MANDEL)))


def evaluated(subject: Subject, structures: Sequence[Atoms]) -> list[dict[str, Array]]:
    """Predict structures; where the model has no stress, it is the derivative of the energy by central differences."""
    found = subject.evaluate(structures)
    lacking = [i for i, one in enumerate(found) if STRESS.name not in one and volume(structures[i])]
    copies = [
        strained(structures[i], sign * ENERGY_STRAIN * unit_strain(component))
        for i in lacking
        for component in range(6)
        for sign in (1, -1)
    ]
    energies = np.array([float(one[ENERGY.name]) for one in subject.evaluate(copies)] if copies else [])
    for i, (up, down) in zip(lacking, energies.reshape(-1, 6, 2).transpose(0, 2, 1), strict=True):
        found[i][STRESS.name] = voigt_to_full((up - down) / (2 * ENERGY_STRAIN * volume(structures[i])))
    return found


def _voigt_strain(strain: Array) -> Array:
    """Return strains (..., 3, 3) in Voigt's notation (..., 6): shears are e_ij + e_ji."""
    return full_to_voigt(strain) / _SHEAR
