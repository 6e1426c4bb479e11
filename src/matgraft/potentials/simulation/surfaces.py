"""Slabs of a crystal along its planes of low index: two sides alike, and the composition that of the crystal."""

from __future__ import annotations

import warnings

from ase import Atoms
from pymatgen.core.surface import SlabGenerator, get_symmetrically_distinct_miller_indices
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

THICK_A, VACUUM_A = 10.0, 12.0
MOST_FACETS, MOST_TERMINATIONS, MOST_ATOMS = 4, 3, 120


def terminations(crystal: Atoms) -> dict[str, list[Atoms]]:
    """Return for each distinct plane of low index its slabs of two like sides and of the crystal's composition."""
    whole = SpacegroupAnalyzer(AseAtomsAdaptor.get_structure(crystal)).get_conventional_standard_structure()
    found: dict[str, list[Atoms]] = {}
    for plane in sorted(get_symmetrically_distinct_miller_indices(whole, 1), key=lambda one: (sum(map(abs, one)), one)):
        if len(found) == MOST_FACETS:
            break
        with warnings.catch_warnings():  # pymatgen warns of planes that are not in lowest terms
            warnings.simplefilter("ignore")
            generator = SlabGenerator(whole, plane, THICK_A, VACUUM_A, center_slab=True, primitive=True)
            slabs = [one for one in generator.get_slabs() if one.is_symmetric()]
        formula = crystal.get_chemical_formula(empirical=True)
        atoms = [AseAtomsAdaptor.get_atoms(one, msonable=False) for one in slabs]
        atoms = [
            Atoms(one.numbers, one.positions, cell=one.cell[:], pbc=True) for one in atoms if len(one) <= MOST_ATOMS
        ]
        name = "".join(map(str, plane))
        found[name] = [one for one in atoms if one.get_chemical_formula(empirical=True) == formula][:MOST_TERMINATIONS]
    return found
