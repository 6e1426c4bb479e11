"""Short-range repulsion of Ziegler, Biersack and Littmark, added where a model has no data; numpy and ASE alone.

    Repelled(calculator, {"Si-Si": 1.78})      # below 1.78 Å the screened repulsion of the nuclei is added

The energy of a pair is S(r) Z_a Z_b e^2 / (4 pi eps0 r) phi(r / a), with the universal screening phi and the length
a = 0.46850 Å / (Z_a^0.23 + Z_b^0.23) (Ziegler, Biersack, Littmark: The Stopping and Range of Ions in Solids, 1985).
S falls smoothly (continuous second derivative) from 1 at `INNER` of the reach to 0 at the reach: beyond it the model is
what it was, to the bit.

Its text is copied into calculator.py where an export asks for it: it imports nothing of matgraft.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress

COULOMB_EV_A = 14.399645
"""e^2 / (4 pi eps0), eV Å."""
SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
INNER = 0.6
"""Part of the reach within which the repulsion is whole."""
BY_ATOM = frozenset({"energies", "node_energy", "node_energies", "stresses"})
"""What calculators say of each atom: without the repulsion it would not add up to the whole."""


class Repelled(Calculator):
    """A calculator with a short-range repulsion: energy eV, forces (n, 3) eV/Å, stress (6,) eV/Å³.

    Parameters
    ----------
    inner
        A calculator of ASE in these units.
    reach
        Pair of symbols, ``"Ge-Si"``, in the order of the alphabet -> Å beyond which nothing is added.
    """

    def __init__(self, inner: Calculator, reach: Mapping[str, float]) -> None:
        super().__init__()
        self.implemented_properties = [name for name in inner.implemented_properties if name not in BY_ATOM]
        self.inner, self.reach = inner, dict(reach)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Ask the inner calculator, and add the repulsion of pairs that are closer than their reach."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self.inner.calculate(self.atoms.copy(), properties, system_changes)
        energy, forces, virial = repulsion(self.atoms, self.reach)
        self.results = {name: value for name, value in self.inner.results.items() if name not in BY_ATOM}
        for name in ("energy", "free_energy"):
            if name in self.results:
                self.results[name] = float(self.results[name]) + energy
        self.results["forces"] = np.asarray(self.results["forces"], dtype=float) + forces
        if "stress" in self.results and self.atoms.cell.rank == 3:
            stress = full_3x3_to_voigt_6_stress(virial / self.atoms.get_volume())
            self.results["stress"] = np.asarray(self.results["stress"], dtype=float) + stress


def repulsion(atoms: Atoms, reach: Mapping[str, float]) -> tuple[float, np.ndarray, np.ndarray]:
    """Return energy (eV), forces (n, 3) in eV/Å and virial (3, 3) in eV of all pairs within their reach."""
    forces = np.zeros((len(atoms), 3))
    cutoffs = {tuple(pair.split("-")): distance for pair, distance in reach.items()}
    i, j, d, vectors = neighbor_list("ijdD", atoms, cutoffs) if cutoffs else (np.zeros(0, int),) * 4
    if not len(i):
        return 0.0, forces, np.zeros((3, 3))
    symbols = np.array(atoms.get_chemical_symbols())
    reaches = np.array([reach["-".join(sorted((symbols[a], symbols[b])))] for a, b in zip(i, j, strict=True)])
    value, slope = pair_energy(d, atoms.numbers[i], atoms.numbers[j], reaches)
    along = slope[:, None] * vectors / d[:, None]  # each pair stands in the list twice
    np.add.at(forces, i, along)
    return float(value.sum() / 2), forces, np.einsum("ki,kj->ij", along, vectors) / 2


def pair_energy(r: np.ndarray, Z_a: np.ndarray, Z_b: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return energies (eV) of pairs at distances r (Å) and their slopes (eV/Å), each switched off at its reach."""
    screened = r * (Z_a**0.23 + Z_b**0.23) / 0.46850
    terms = [(share * np.exp(-rate * screened), rate) for share, rate in SCREENING]
    phi = sum(term for term, _ in terms)
    dphi = -sum(rate * term for term, rate in terms) * screened / r
    bare = COULOMB_EV_A * Z_a * Z_b / r
    whole, slope = bare * phi, bare * (dphi - phi / r)
    x = np.clip((r / reach - INNER) / (1 - INNER), 0.0, 1.0)
    switch = 1 - x**3 * (10 - 15 * x + 6 * x**2)
    dswitch = -30 * x**2 * (1 - x) ** 2 / ((1 - INNER) * reach)
    return whole * switch, slope * switch + whole * dswitch


def pairs_of(symbols: Sequence[str]) -> list[str]:
    """Return all pairs of some elements, ``"Ge-Si"`` and so on, in the order of the alphabet."""
    known = sorted(set(symbols) & set(atomic_numbers))
    return [f"{a}-{b}" for k, a in enumerate(known) for b in known[k:]]
