"""Formation energies of cubic compounds, computed with CHGNet.

    python examples/data/formation/make_table.py

Each decorated prototype is relaxed by its volume alone: a coarse grid of lengths, then a parabola through the lowest of
a fine one. Elements are relaxed likewise, in the lowest of their candidate crystals; molecules by their bond length.
"""

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii
from ase.spacegroup import crystal
from pymatgen.core import Composition, Element

from matgraft import load
from matgraft.core.model import Backbone
from matgraft.core.quantities import Array
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.predict import predict_samples

SEED = 2026
COARSE = np.arange(0.78, 1.24, 0.04)  # lengths over the estimate; farther out some atoms stand alone
FINE = np.linspace(0.98, 1.02, 5)  # lengths over the minimum of the coarse grid

# Fractional coordinates in the cubic cell, letter by letter of the formula; "fcc" cells are taken as primitive ones.
ORIGIN, QUARTER, HALF, LAST = ([[x, x, x]] for x in (0.0, 0.25, 0.5, 0.75))
FACES = [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]
PROTOTYPES = {"rock salt": ("fcc", [ORIGIN, HALF]), "CsCl": ("sc", [ORIGIN, HALF]), "L1_2": ("sc", [FACES, ORIGIN])}
PROTOTYPES |= {"zincblende": ("fcc", [ORIGIN, QUARTER]), "half-Heusler": ("fcc", [ORIGIN, HALF, QUARTER])}
PROTOTYPES |= {"fluorite": ("fcc", [ORIGIN, QUARTER + LAST]), "antifluorite": ("fcc", [QUARTER + LAST, ORIGIN])}
PROTOTYPES |= {"perovskite": ("sc", [ORIGIN, HALF, FACES]), "Heusler": ("fcc", [QUARTER + LAST, ORIGIN, HALF])}
CELLS = {"sc": np.eye(3), "fcc": (1 - np.eye(3)) / 2}

CATIONS = {1: "Li Na K Rb Cs Cu Ag Tl", 2: "Be Mg Ca Sr Ba Mn Fe Co Ni Cu Zn Cd Ge Sn Pb", 5: "V Nb Ta"}
CATIONS |= {3: "B Al Ga In Sc Y La Nd Gd Dy Er Lu Ti V Cr Mn Fe Co Bi", 4: "Ti Zr Hf V Mo W Mn Si Ge Sn Pb Ce"}
ANIONS = {1: "F Cl Br I H", 2: "O S Se Te", 3: "N P As Sb", 4: "C Si Ge Sn"}
EARLY, LATE = "Mg Ca Sc Y La Lu Ti Zr Hf V Nb Ta", "Fe Co Ni Cu Ru Rh Pd Ag Ir Pt Au"
MAIN = "Al Ga In Si Ge Sn Pb As Sb Bi"
METALS = f"Li Na K Be Sr Ba Gd Cr Mo W Mn Re Os Zn Cd Al Ga In Tl Sn Pb {EARLY} {LATE}"
HEUSLER = (f"Li Mn {LATE}", f"{EARLY} Gd Er Cr Mn Fe", f"Zn {MAIN}")
HALVES = (f"Li Na K {EARLY}", f"Be Zn Cd {LATE}", f"N P {MAIN}")

# References: bond lengths in Å; name, sites, space group and cell; simple lattices, their a over the covalent radius.
DIMERS = {"H": 0.74, "N": 1.10, "O": 1.21, "F": 1.42, "Cl": 1.99, "Br": 2.28, "I": 2.67}
RING = [(2.35 * np.cos(i * np.pi / 4), 2.35 * np.sin(i * np.pi / 4), 0.497 * (-1) ** i) for i in range(8)]  # S8
CRYSTALS: dict[str, tuple[str, list[tuple[float, float, float]], int, list[float]]] = {
    "B": ("alpha", [(0.1189, -0.1189, 0.8912), (0.1969, -0.1969, 0.0243)], 166, [4.908, 4.908, 12.567, 90, 90, 120]),
    "P": ("black", [(0.0, 0.1017, 0.0806)], 64, [3.314, 10.478, 4.376, 90, 90, 90]),
    "Se": ("chains", [(0.2254, 0.0, 1 / 3)], 152, [4.366, 4.366, 4.954, 90, 90, 120]),
    "Te": ("chains", [(0.2636, 0.0, 1 / 3)], 152, [4.456, 4.456, 5.921, 90, 90, 120]),
}
LATTICES = {"sc": 2, "fcc": 8**0.5, "bcc": 4 / 3**0.5, "hcp": 2, "diamond": 8 / 3**0.5}
MEASURED = "Be Mg Sc Y La Gd Dy Er Lu Ti Zr Hf Re Ru Os Co Zn Cd Tl Nd In Sn As Sb Bi"  # with their c/a or angle too

Decoration = tuple[str, tuple[str, ...]]


def decorate(name: str, *letters: str) -> list[Decoration]:
    """Return all decorations of a prototype with different elements, one list of them a letter."""
    product = itertools.product(*(elements.split() for elements in letters))
    return [(name, one) for one in product if len(set(one)) == len(one)]


def decorations(rng: np.random.Generator) -> list[Decoration]:
    """Return what is computed: the small families whole, of each large one a number drawn."""
    chosen = [("perovskite", ("Sr", "Ti", "O")), ("CsCl", ("Ni", "Al"))]  # the README names them
    for q, name in itertools.product(ANIONS, ("rock salt", "CsCl", "zincblende")):  # charges balance
        chosen += decorate(name, CATIONS[q], ANIONS[q])
    for q in (1, 2):
        chosen += decorate("fluorite", CATIONS[2 * q], ANIONS[q]) + decorate("antifluorite", CATIONS[q], ANIONS[2 * q])
    halves = [one for one in decorate("half-Heusler", *HALVES) if sum(Element(s).group for s in one[1]) % 10 == 8]
    families = [(160, halves), (240, decorate("Heusler", *HEUSLER))]  # halves: 8 or 18 valence electrons
    families += [(200, decorate("CsCl", METALS, METALS)), (220, decorate("L1_2", METALS, METALS))]
    families += [(n, decorate("perovskite", CATIONS[1], CATIONS[2], x)) for n, x in ((60, "F"), (90, "Cl Br I H"))]
    for n, x in (120, "O"), (50, "S Se Te"):
        lists = (decorate("perovskite", CATIONS[a], CATIONS[6 - a], x) for a in (1, 2, 3))
        families += [(n, [one for family in lists for one in family])]
    for n, family in families:
        chosen += [family[i] for i in rng.choice(len(family), n, replace=False)]
    turned = [(name, (*abc[i:], *abc[:i])) for name, abc in chosen if name == "half-Heusler" for i in (1, 2)]
    return list(dict.fromkeys(chosen + turned))


def compound(name: str, letters: Sequence[str]) -> Atoms:
    """Return the primitive cell whose nearest unlike atoms are, on average, as far as their covalent radii say."""
    lattice, sites = PROTOTYPES[name]
    symbols = [s for s, places in zip(letters, sites, strict=True) for _ in places]
    unit = Atoms(symbols, positions=[place for places in sites for place in places], cell=CELLS[lattice], pbc=True)
    distances, radii = unit.get_all_distances(mic=True), covalent_radii[unit.numbers]
    apart = np.where(unit.numbers[:, None] != unit.numbers, distances, np.inf)
    nearest = apart < apart.min(1, keepdims=True) + 1e-6
    return scaled(unit, float(np.mean(np.add.outer(radii, radii)[nearest] / distances[nearest])))


def elemental(symbol: str) -> dict[str, Atoms]:
    """Return candidates for the reference of an element by name; molecules have no cell."""
    if symbol == "S":
        return {"ring": Atoms("S8", RING)}
    if symbol in DIMERS:
        return {"dimer": Atoms([symbol] * 2, [[0, 0, 0], [0, 0, DIMERS[symbol]]])}
    if symbol in CRYSTALS:
        name, sites, group, cell = CRYSTALS[symbol]
        return {name: crystal([symbol] * len(sites), sites, spacegroup=group, cellpar=cell)}
    radius = covalent_radii[atomic_numbers[symbol]]
    cells = {name: bulk(symbol, name, a=length * radius) for name, length in LATTICES.items()}
    return cells | ({"measured": bulk(symbol)} if symbol in MEASURED.split() else {})


def scaled(atoms: Atoms, factor: float) -> Atoms:
    """Return a copy with all lengths multiplied."""
    return Atoms(atoms.numbers, atoms.positions * factor, cell=atoms.cell[:] * factor, pbc=atoms.pbc)


def minima(foundation: Backbone, cells: Sequence[Atoms], grid: Array) -> tuple[Array, Array]:
    """Return energies in eV/atom and length factors at the minimum over a grid; NaN where that is at an edge."""
    samples = [Sample(scaled(atoms, factor), {}) for atoms in cells for factor in grid]
    found = [float(one["energy"]) for one in predict_samples(foundation, samples, ["energy"])]
    energies = np.reshape(found, (len(cells), len(grid))) / [[len(atoms)] for atoms in cells]
    lowest = energies.argmin(1)
    middle = np.clip(lowest, 1, len(grid) - 2)
    below, at, above = (energies[np.arange(len(cells)), middle + i] for i in (-1, 0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):  # a parabola through the three lowest
        shift = np.where(lowest == middle, (below - above) / (above - 2 * at + below) / 2, np.nan)
    return at + (above - below) * shift / 4, grid[middle] + shift * (grid[1] - grid[0])


def relax(foundation: Backbone, cells: Sequence[Atoms], grid: Array) -> tuple[Array, Array]:
    """Return energies in eV/atom and length factors of cells that are only scaled; NaN where no minimum was found."""
    parts, start = [], time.monotonic()
    for i in range(0, len(cells), 100):
        _, factors = minima(foundation, cells[i : i + 100], grid)
        centred = [scaled(atoms, f) for atoms, f in zip(cells[i : i + 100], np.nan_to_num(factors, nan=1), strict=True)]
        energies, fine = minima(foundation, centred, FINE)
        parts.append((energies + 0 * factors, factors * fine))
        print(f"{i + len(centred)} of {len(cells)}, {time.monotonic() - start:.0f} s", flush=True)
    return np.concatenate([e for e, _ in parts]), np.concatenate([f for _, f in parts])


def main() -> None:
    """Compute references and compounds, and write the table."""
    start, foundation, todo = time.monotonic(), load("chgnet"), decorations(np.random.default_rng(SEED))
    print(foundation.card.name, foundation.card.weights_from)
    references: dict[str, tuple[float, str]] = {}
    elements = [(s, *one) for s in sorted({s for _, abc in todo for s in abc}) for one in elemental(s).items()]
    energies, _ = relax(foundation, [atoms for *_, atoms in elements], COARSE)
    for (symbol, name, _), energy in zip(elements, np.nan_to_num(energies, nan=np.inf), strict=True):
        references[symbol] = min(references.get(symbol, (np.inf, "")), (float(energy), name))
    print(", ".join(f"{symbol} {name} {energy:.3f}" for symbol, (energy, name) in references.items()))

    cells, rows = [compound(*one) for one in todo], dict[str, tuple[float, str, float]]()
    energies, factors = relax(foundation, cells, COARSE)
    for (name, _), atoms, energy, factor in zip(todo, cells, energies, factors, strict=True):
        formation = energy - float(np.mean([references[s][0] for s in atoms.symbols]))
        if np.isfinite(formation):
            a = factor * (atoms.get_volume() / np.linalg.det(CELLS[PROTOTYPES[name][0]])) ** (1 / 3)
            formula, row = Composition(str(atoms.symbols)).reduced_formula, (round(formation, 4), name, round(a, 3))
            rows[formula] = min(rows.get(formula, row), row)  # the lowest prototype of a formula
    table = pd.DataFrame([(formula, *row) for formula, row in sorted(rows.items())])
    table.columns = ["formula", "formation_energy", "prototype", "a"]
    table.to_csv(Path(__file__).with_name("formation_energies.csv"), index=False)
    print(
        len(todo), "tried, without a minimum:", Counter(n for (n, _), e in zip(todo, energies, strict=True) if e != e)
    )
    print(len(rows), "formulas", dict(table.prototype.value_counts()), f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
