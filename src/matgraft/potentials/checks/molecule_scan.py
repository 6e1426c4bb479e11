"""Bond scans of a molecule: one minimum, a wall on the near side, and a rise to the limit of dissociation.

The molecule is relaxed. Then each distinct bond is stretched and pressed, 0.7 to 2.5 times its length, the fragments on
its two sides kept rigid. Bonds in rings are left out: they have no two sides. Two bonds are alike if their atoms have
the same elements and the same numbers of neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from matgraft.core.errors import RunError
from matgraft.core.findings import Action, Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY
from matgraft.core.report.document import Block, Drawing, Key, Plot, Plots
from matgraft.core.report.figures import COLOURS, empty_figure
from matgraft.potentials.checks.gates import source
from matgraft.potentials.checks.physical import Case, PhysicalCheck, ReferenceChoice, Seen, compared, no_worse
from matgraft.potentials.simulation.relax import relax
from matgraft.potentials.simulation.subject import Subject

BONDED = 1.2
"""Sum of covalent radii, times this, within which two atoms are bonded."""
NEAR, FAR, POINTS = 0.7, 2.5, 46
"""Ends of a scan by the length of the bond, and its points."""
MOST_BONDS, MOST_ATOMS = 8, 200
FMAX_eV_per_A, STEPS = 0.01, 200


class BondScan(Frozen):
    """Energy by the length of one bond.

    Attributes
    ----------
    name
        Elements of its atoms, as ``"H-O"``; with the numbers of their neighbours where several have these elements.
    bond_A
        Length in the relaxed molecule.
    distance_A, energy_eV
        Ascending; None where an energy is not finite.
    """

    name: str
    bond_A: float
    distance_A: tuple[float, ...]
    energy_eV: tuple[float | None, ...]

    def shape(self) -> Shape | None:
        """Read the curve; None where an energy is not finite."""
        if None in self.energy_eV:
            return None
        energy = np.array(self.energy_eV, dtype=float)
        start = int(np.argmin(np.abs(np.array(self.distance_A) - self.bond_A)))
        lowest = int(np.argmin(energy[max(0, start - 3) : start + 4])) + max(0, start - 3)
        out, inward = energy[lowest:], energy[: lowest + 1][::-1]
        return Shape(
            depth_eV=float(energy[-1] - energy[lowest]),
            fall_out_eV=float((np.maximum.accumulate(out) - out).max()),
            fall_in_eV=float((np.maximum.accumulate(inward) - inward).max()),
        )


class Shape(Frozen):
    """What a scan shows.

    Attributes
    ----------
    depth_eV
        Energy at 2.5 times the bond above the minimum.
    fall_out_eV, fall_in_eV
        Largest fall of the energy as the bond is stretched, and as it is pressed: a second minimum.
    """

    depth_eV: float
    fall_out_eV: float
    fall_in_eV: float


class MoleculeScan(Frozen):
    """All bonds, and how many in rings were left out."""

    bonds: tuple[BondScan, ...]
    in_rings: int


class MoleculeScanCheck(PhysicalCheck[MoleculeScan]):
    """Scans of the bonds of a molecule."""

    code, title, observation = "molecule-scan", "Bonds of the molecule, stretched and pressed", MoleculeScan
    kinds = frozenset({"molecule"})
    gates_uses = frozenset({"molecules"})
    cost = 60

    def why_not(self, subject: Subject, case: Case) -> str:
        """Say that there is no bond, or that there are too many atoms."""
        if why := super().why_not(subject, case):
            return why
        if len(case.own.atoms) > MOST_ATOMS:
            return f"it has more than {MOST_ATOMS} atoms"
        bonds, in_rings = distinct_bonds(case.own.atoms)
        return "" if bonds else "it has no bond" + (" that is not in a ring" if in_rings else "")

    def observe(self, subject: Subject, case: Case) -> MoleculeScan:
        """Relax the molecule, and scan all bonds in one batch."""
        bonds, in_rings = distinct_bonds(case.own.atoms)
        (found,) = relax(subject, [case.own.atoms], fmax=FMAX_eV_per_A, steps=STEPS)
        if not np.isfinite(found.energy_eV):
            raise RunError("the energy of the molecule is not finite")
        start = found.geometry.atoms()
        parts = np.linspace(NEAR, FAR, POINTS)
        flat = [_stretched(start, bond, float(part)) for bond in bonds.values() for part in parts]
        energies = iter([float(one[ENERGY.name]) for one in subject.evaluate(flat)])
        scans = []
        for name, (i, k, _) in bonds.items():
            length = float(np.linalg.norm(start.positions[k] - start.positions[i]))
            values = [next(energies) for _ in parts]
            scans.append(BondScan(
                name=name, bond_A=length, distance_A=tuple((parts * length).tolist()),
                energy_eV=tuple(value if np.isfinite(value) else None for value in values),
            ))  # fmt: skip
        return MoleculeScan(bonds=tuple(scans), in_rings=in_rings)

    def judge(self, seen: Seen[MoleculeScan], case: Case) -> Finding:
        """Hold each curve against its shape, and its depth against the user's DFT or the foundation."""
        before = {one.name: one for one in seen.foundation.bonds} if seen.foundation else {}
        measures = [one for bond in seen.own.bonds for one in _measures(bond, before.get(bond.name), case)]
        finding = self.finding(case, measures, _evidence(seen.own), remedy=REMEDY)
        return finding.model_copy(update={"actions": ACTIONS}) if finding.outcome == "failed" else finding

    def to_label(self, seen: Seen[MoleculeScan], case: Case) -> Sequence[Atoms]:
        """Return the molecule with each bond at some lengths."""
        bonds, _ = distinct_bonds(case.own.atoms)
        return [_stretched(case.own.atoms, bond, part) for bond in bonds.values() for part in (0.8, 0.9, 1.2, 1.5, 2.0)]

    def figures(self, seen: Seen[MoleculeScan], case: Case) -> Sequence[Block]:
        """Draw energies by length, those of model and foundation in one."""
        before = {one.name: one for one in seen.foundation.bonds} if seen.foundation else {}
        plots = [Plot(one.name, [_drawn(one, before.get(one.name), case)]) for one in seen.own.bonds]
        keys = [Key("model", COLOURS["tuned"]), *([Key("foundation", COLOURS["untuned"])] if before else [])]
        return [Plots(plots, keys)]


REMEDY = "label the molecule with its bonds stretched and pressed, and add these frames to the training frames"
ACTIONS = (Action(settings={"strategy.name": "replay"}),)


def _measures(one: BondScan, before: BondScan | None, case: Case) -> Iterator[Measure]:
    """Yield the falls on both sides of the minimum, and the depth."""
    shape, known = one.shape(), before.shape() if before else None
    gate = {"allowed": (None, case.settings.gates.scan_eV), "gate": source("scan_eV"), "unit": "eV"}
    for name, value, other in (
        ("stretched", shape and shape.fall_out_eV, known and known.fall_out_eV),
        ("pressed", shape and shape.fall_in_eV, known and known.fall_in_eV),
    ):
        told = Measure.model_validate({"name": f"fall of the energy, {one.name} {name}", "value": value, **gate})
        yield no_worse(told, other if isinstance(other, float) else None)
    if shape is not None:
        against = ReferenceChoice(case.reference(f"bond_{one.name}_eV"), known.depth_eV if known else None)
        yield compared(f"energy to part {one.name}", "eV", shape.depth_eV, against, "bond_energy", case)


def _evidence(seen: MoleculeScan) -> str:
    said = []
    for one in seen.bonds:
        shape = one.shape()
        if shape is None:
            said.append(f"{one.name}: an energy is not finite")
            continue
        falls = [
            f", falls by {value:.2f} eV as it is {how}"
            for how, value in (("stretched", shape.fall_out_eV), ("pressed", shape.fall_in_eV))
            if value > 0.005
        ]
        said.append(f"{one.name} {one.bond_A:.3f} Å, {shape.depth_eV:.2f} eV to part{''.join(falls)}")
    rings = f" {seen.in_rings} bonds in rings are left out." if seen.in_rings else ""
    return f"{'; '.join(said)}.{rings}"


def _drawn(one: BondScan, before: BondScan | None, case: Case) -> Drawing:
    plot = empty_figure()
    for scan, colour, name in ((before, COLOURS["untuned"], "foundation"), (one, COLOURS["tuned"], "model")):
        if scan is not None:
            energy = np.array(scan.energy_eV, dtype=float)
            line = {"color": colour, "width": 2}
            plot.add_scatter(x=scan.distance_A, y=energy - np.nanmin(energy), mode="lines", line=line, name=name)
    plot.update_xaxes(title_text="length (Å)")
    plot.update_yaxes(title_text="energy (eV)")
    return Drawing(f"scan-{case.own.name}-{one.name}", plot, f"energy by the length of {one.name}", "curve")


# ------------------------------------------------------------------------------------------------------- the bonds

Bond = tuple[int, int, NDArray[np.bool_]]
"""Two atoms, and which atoms move with the second."""


def distinct_bonds(atoms: Atoms) -> tuple[dict[str, Bond], int]:
    """Return one bond of each kind by its name, and how many are in rings."""
    bare = Atoms(atoms.numbers, atoms.positions)
    first, second = neighbor_list("ij", bare, natural_cutoffs(bare, mult=BONDED))
    neighbours = np.bincount(first, minlength=len(bare))
    found: dict[tuple[str, ...], Bond] = {}
    in_rings = 0
    for i, k in zip(first.tolist(), second.tolist(), strict=True):
        if i > k:
            continue
        kept = ~(((first == i) & (second == k)) | ((first == k) & (second == i)))
        graph = coo_array((np.ones(kept.sum()), (first[kept], second[kept])), shape=(len(bare), len(bare)))
        _, part = connected_components(graph, directed=False)
        if part[i] == part[k]:
            in_rings += 1
            continue
        kind = tuple(sorted(f"{bare.symbols[n]}{neighbours[n]}" for n in (i, k)))
        if kind not in found and len(found) < MOST_BONDS:
            found[kind] = i, k, part == part[k]
    return _named(found, bare), in_rings


def _named(found: dict[tuple[str, ...], Bond], atoms: Atoms) -> dict[str, Bond]:
    """Name bonds by their elements; with the numbers of neighbours where several have the same."""
    plain = {kind: "-".join(sorted((atoms.symbols[i], atoms.symbols[k]))) for kind, (i, k, _) in found.items()}
    often = [name for name in plain.values() if list(plain.values()).count(name) > 1]
    return {"-".join(kind) if plain[kind] in often else plain[kind]: bond for kind, bond in found.items()}


def _stretched(atoms: Atoms, bond: Bond, part: float) -> Atoms:
    """Return the molecule in free space with one bond at a part of its length, the sides kept rigid."""
    i, k, side = bond
    moved = Atoms(atoms.numbers, atoms.positions)
    moved.positions[side] += (part - 1) * (atoms.positions[k] - atoms.positions[i])
    return moved
