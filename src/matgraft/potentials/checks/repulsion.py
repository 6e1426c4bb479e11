"""Short-range repulsion: two atoms that come close must repel each other, for every pair of elements.

Two atoms stand alone in vacuum, at 1.2 down to 0.5 times the sum of their covalent radii (Cordero et al., Dalton Trans.
2832 (2008)). On the way in, the energy falls to a bond and then rises up a wall. Where it falls again there is a hole:
two atoms that get over the edge collapse into it. Data of crystals hold no such distances, so a model guesses there.

What counts is how high the wall is before the hole: a hole behind 5 eV is not reached below some 3000 K.

A shelf outside the bond is no bond, and what lies inside of it no hole: Cr2 has one near 3 Å beside its bond at 1.68 Å
(Casey and Leopold, J. Phys. Chem. 97, 816 (1993)), and Mo2 has one in models of the bulk.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from pydantic import JsonValue

from matgraft.core.findings import Action, Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, FORCES, Array
from matgraft.core.report.document import Block, Drawing, Key, Plot, Plots
from matgraft.core.report.figures import COLOURS, empty_figure
from matgraft.potentials.checks.gates import source
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen, limited, no_worse
from matgraft.potentials.simulation.subject import Subject

FAR, NEAR, POINTS = 1.2, 0.5, 36
"""Ends of a scan by the sum of covalent radii, and its points: a step is 0.02 of a bond, some 0.05 Å."""
CLOSE = 0.8
"""Part of a pair's own bond below which its force must push: a bond that short is far up its wall."""
RESOLVED_eV = 0.1
"""Rise or fall that counts: kT at 1200 K. Smaller ripples hold no pair together."""
SHELF_eV = 0.5
"""A minimum that lies no deeper below all that is outside of it, with no higher a rise inside, is a shelf."""
REACHED_eV = 5.0
"""Energy above its bond that a pair may have: 20 kT at 2900 K."""
MOST_ELEMENTS = 8
"""Elements whose pairs are scanned, the most frequent first: 36 pairs."""
BOX_A, LABEL_BOX_A = 20.0, 12.0
"""Å, edges of the boxes of a scan, which does not repeat, and of a dimer to label, which does."""
LABELLED = (0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9)
"""Distances of the dimers to label, by the sum of the radii."""
MOST_PLOTS = 6
REMEDY = (
    "label the dimers and add them to the training frames, or use replay, which keeps the foundation's short distances "
    "(strategy.name=replay); `matgraft export --to ase --repulsion` adds a repulsion where the model has no data"
)
ACTIONS = (Action(settings={"strategy.name": "replay"}),)


class PairScan(Frozen):
    """Energy and force of two atoms by their distance.

    Attributes
    ----------
    elements
        Of the two atoms.
    bond_A
        Sum of their covalent radii.
    distance_A
        Descending.
    energy_eV
        Of the two atoms; None where it is not finite.
    force_eV_per_A
        On one atom, away from the other; None where it is not finite.
    """

    elements: tuple[str, str]
    bond_A: float
    distance_A: tuple[float, ...]
    energy_eV: tuple[float | None, ...]
    force_eV_per_A: tuple[float | None, ...]

    @property
    def name(self) -> str:
        """Such as ``Si-O``."""
        return "-".join(self.elements)

    def wall(self) -> Wall | None:
        """Follow the energy inwards; None where it is not finite."""
        if None in (*self.energy_eV, *self.force_eV_per_A):
            return None
        energy, force, distance = (np.array(one, dtype=float) for one in (
            self.energy_eV, self.force_eV_per_A, self.distance_A))  # fmt: skip
        bond = _first_minimum(energy)
        inside = _Inside.of(energy, bond)
        while inside.falls and inside.height < SHELF_eV and energy[: bond + 1].max() - energy[bond] < SHELF_eV:
            bond = inside.reached + _first_minimum(energy[inside.reached :])
            inside = _Inside.of(energy, bond)
        close = np.arange(len(energy)) < inside.reached
        close &= (distance <= CLOSE * distance[bond]) & (energy - energy[bond] <= REACHED_eV)
        return Wall(
            starts_at=float(distance[bond] / self.bond_A),
            depth_eV=float(energy[: bond + 1].max() - energy[bond]),
            height_eV=inside.height,
            fall_eV=inside.fall,
            hole_A=float(distance[inside.reached]) if inside.falls else None,
            weakest_eV_per_A=float(force[close].min()) if close.any() else None,
        )


@dataclass(frozen=True)
class _Inside:
    """How the energy goes on inwards of a minimum.

    Attributes
    ----------
    reached
        Position from which on it has fallen again; the number of points where it never does.
    height, fall
        eV, the rise until then and the largest fall.
    """

    reached: int
    falls: bool
    height: float
    fall: float

    @classmethod
    def of(cls, energy: Array, bond: int) -> _Inside:
        """Follow the energy inwards of a position."""
        top = np.maximum.accumulate(energy[bond:])
        fallen = np.flatnonzero(top - energy[bond:] > RESOLVED_eV)
        reached = bond + int(fallen[0]) if len(fallen) else len(energy)
        height, fall = float(top[reached - bond - 1] - energy[bond]), float((top - energy[bond:]).max())
        return cls(reached, bool(len(fallen)), height, fall)


def _first_minimum(energy: Array) -> int:
    """Return the position of the first minimum inwards with a rise that counts, or of the lowest energy."""
    lowest = np.minimum.accumulate(energy)
    risen = np.flatnonzero(energy - lowest > RESOLVED_eV)
    return int(np.argmin(energy[: risen[0]] if len(risen) else energy))


class Wall(Frozen):
    """What two atoms meet as they come close.

    Attributes
    ----------
    starts_at
        Distance of the bond, by the sum of the radii.
    depth_eV
        Of the bond below the highest energy outside of it, in the scan.
    height_eV
        Highest energy above the bond before the energy falls again, or at the end of the scan.
    fall_eV
        Largest fall of the energy inwards of the bond.
    hole_A
        Distance at which the energy has fallen again; None where it never does.
    weakest_eV_per_A
        Smallest repulsive force below `CLOSE` of the bond, up to 5 eV; None where the scan ends before.
    """

    starts_at: float
    depth_eV: float
    height_eV: float
    fall_eV: float
    hole_A: float | None
    weakest_eV_per_A: float | None


class Repulsion(Frozen):
    """What was seen of all pairs."""

    pairs: tuple[PairScan, ...]


class RepulsionCheck(PhysicalCheck[Repulsion]):
    """Energies of dimers down to half the sum of covalent radii."""

    code, title, observation = "repulsion", "Short-range repulsion", Repulsion
    scope = "all"
    gates_uses = frozenset({"md", "defects"})
    cost = 20

    def why_not(self, subject: Subject, case: Case) -> str:
        """Say which elements are missing."""
        if not (elements := _elements(case)):
            return "there is neither a structure nor a frame, and so no element"
        unknown = [] if subject.elements is None else sorted(set(elements) - subject.elements)
        return f"the model does not know {', '.join(unknown)}" if unknown else super().why_not(subject, case)

    def protocol(self, case: Case) -> Mapping[str, JsonValue]:
        """Return the elements and the points."""
        return {"elements": list(_elements(case)), "scan": [FAR, NEAR, POINTS]}

    def observe(self, subject: Subject, case: Case) -> Repulsion:
        """Scan all pairs in one batch."""
        pairs = list(itertools.combinations_with_replacement(_elements(case), 2))
        scans = [_distances(pair) for pair in pairs]
        flat = [_dimer(pair, d, BOX_A) for pair, scan in zip(pairs, scans, strict=True) for d in scan]
        found = iter(subject.evaluate(flat))
        return Repulsion(
            pairs=tuple(_scan(pair, scan, [next(found) for _ in scan]) for pair, scan in zip(pairs, scans, strict=True))
        )

    def judge(self, seen: Seen[Repulsion], case: Case) -> Finding:
        """Each pair has a wall that is high enough, and pushes below its bond."""
        judged = [(one, _measures(one, before, case)) for one, before in _both(seen)]
        failed = [one for one, measures in judged if not all(measure.passes for measure in measures)]
        measures = [measure for _, own in judged for measure in own]
        finding = self.finding(case, measures, _evidence(seen, failed), remedy=REMEDY)
        return finding.model_copy(update={"actions": ACTIONS}) if finding.outcome == "failed" else finding

    def to_label(self, seen: Seen[Repulsion], case: Case) -> Sequence[Atoms]:
        """Return dimers of the pairs that fail, at seven distances in a box that repeats."""
        return [
            _dimer(one.elements, part * one.bond_A, LABEL_BOX_A, periodic=True)
            for one, before in _both(seen)
            if not all(measure.passes for measure in _measures(one, before, case))
            for part in LABELLED
        ]

    def figures(self, seen: Seen[Repulsion], case: Case) -> Sequence[Block]:
        """Draw energies by distance, those of model and foundation in one; the lowest walls first."""
        ranked = sorted(_both(seen), key=lambda both: wall.height_eV if (wall := both[0].wall()) else -np.inf)
        keys = [Key("model", COLOURS["tuned"]), *([Key("foundation", COLOURS["untuned"])] if seen.foundation else [])]
        return [Plots([Plot(one.name, [_drawn(one, before)]) for one, before in ranked[:MOST_PLOTS]], keys)]


def _both(seen: Seen[Repulsion]) -> list[tuple[PairScan, PairScan | None]]:
    """Return each pair with that of the foundation."""
    before = {one.elements: one for one in seen.foundation.pairs} if seen.foundation else {}
    return [(one, before.get(one.elements)) for one in seen.own.pairs]


def _measures(one: PairScan, before: PairScan | None, case: Case) -> list[Measure]:
    """Return height and start of the wall, and the weakest force on it."""
    gates, wall, known = case.settings.gates, one.wall(), before and before.wall()
    height = gates.repulsion_flat_eV if wall is None or wall.hole_A is None else gates.repulsion_wall_eV
    gate = "repulsion_flat_eV" if wall is None or wall.hole_A is None else "repulsion_wall_eV"

    def measure(name: str, unit: str, gate: str, least: float, value: float | None, other: float | None) -> Measure:
        told = Measure(name=f"{name}, {one.name}", unit=unit, value=value, allowed=(least, None), gate=source(gate))
        return no_worse(told, other)

    def depth(own: Wall) -> Measure:
        told = limited(f"bond, {one.name}", "eV", own.depth_eV, (None, gates.repulsion_depth_eV), "repulsion_depth_eV")
        return no_worse(told, known.depth_eV if known else None)

    if wall is None:
        return [measure("wall", "eV", gate, height, None, known.height_eV if known else None)]
    found = [
        measure("wall", "eV", gate, height, wall.height_eV, known.height_eV if known else None),
        measure("bond over radii", "", "repulsion_bond", gates.repulsion_bond, wall.starts_at,
                known.starts_at if known else None),
        depth(wall),
    ]  # fmt: skip
    if wall.weakest_eV_per_A is not None:
        weakest = known.weakest_eV_per_A if known else None
        found.append(measure("weakest push", "eV/Å", "repulsion_push", gates.repulsion_push,
                             wall.weakest_eV_per_A, weakest))  # fmt: skip
    return found


def _evidence(seen: Seen[Repulsion], failed: Sequence[PairScan]) -> str:
    before = {one.elements: one for one in seen.foundation.pairs} if seen.foundation else {}
    if failed:
        return "; ".join(_said(one, before.get(one.elements)) for one in failed[:4]) + _more(len(failed) - 4) + "."
    walls = [wall for one in seen.own.pairs if (wall := one.wall())]
    holes = [f"{one.name} at {wall.hole_A:.2f} Å behind {wall.height_eV:.1f} eV"
             for one in seen.own.pairs if (wall := one.wall()) and wall.hole_A is not None]  # fmt: skip
    lowest = min(one.height_eV for one in walls)
    low = f"Every pair of elements ({len(walls)}) repels; the lowest wall is {lowest:.1f} eV high."
    return low + (f" Holes out of reach: {', '.join(holes[:4])}." if holes else "")


def _said(one: PairScan, before: PairScan | None) -> str:
    wall = one.wall()
    if wall is None:
        return f"{one.name}: energy or force is not finite"
    known = before.wall() if before else None
    foundation = f" (the foundation: {known.height_eV:.2f} eV)" if known else ""
    if wall.hole_A is not None:
        return (
            f"{one.name} falls by {wall.fall_eV:.2f} eV inside {wall.hole_A:.2f} Å, behind a wall of "
            f"{wall.height_eV:.2f} eV{foundation}"
        )
    push = "" if wall.weakest_eV_per_A is None else f", with a push of at least {wall.weakest_eV_per_A:.2f} eV/Å"
    return (
        f"{one.name} has its bond at {wall.starts_at:.2f} of the radii, {wall.depth_eV:.2f} eV deep, and a wall of "
        f"{wall.height_eV:.2f} eV{foundation}{push}"
    )


def _more(count: int) -> str:
    return f"; and {count} further pairs" if count > 0 else ""


def _drawn(one: PairScan, before: PairScan | None) -> Drawing:
    plot = empty_figure()
    for scan, colour, name in ((before, COLOURS["untuned"], "foundation"), (one, COLOURS["tuned"], "model")):
        if scan is not None:
            ends = np.array(scan.energy_eV, dtype=float)
            plot.add_scatter(
                x=scan.distance_A, y=ends - ends[0], mode="lines", line={"color": colour, "width": 2}, name=name
            )
    plot.update_xaxes(title_text="distance (Å)")
    plot.update_yaxes(title_text="energy (eV)")
    return Drawing(f"repulsion-{one.name}", plot, f"energy of {one.name} by distance", "curve")


def _elements(case: Case) -> tuple[str, ...]:
    """Return the elements of structures and frames, the most frequent first where there are too many, then sorted."""
    counts: dict[str, int] = {}
    for atoms in (one.atoms for one in case.structures):
        for symbol in set(atoms.symbols):
            counts[symbol] = counts.get(symbol, 0) + len(case.frames) + 1
    for numbers in case.frames.samples.numbers():
        for symbol in set(Atoms(numbers=numbers).symbols):
            counts[symbol] = counts.get(symbol, 0) + 1
    chosen = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))[:MOST_ELEMENTS]
    return tuple(sorted(chosen, key=lambda symbol: atomic_numbers[symbol]))


def _bond(pair: tuple[str, str]) -> float:
    return float(sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair))


def _distances(pair: tuple[str, str]) -> list[float]:
    return [float(part) * _bond(pair) for part in np.linspace(FAR, NEAR, POINTS)]


def _dimer(pair: tuple[str, str], distance: float, edge: float, *, periodic: bool = False) -> Atoms:
    atoms = Atoms(list(pair), positions=[[0, 0, 0], [0, 0, distance]], cell=[edge] * 3, pbc=periodic)
    atoms.center()
    return atoms


def _scan(pair: tuple[str, str], distances: Sequence[float], found: Sequence[Mapping[str, Array]]) -> PairScan:
    return PairScan(
        elements=pair,
        bond_A=_bond(pair),
        distance_A=tuple(distances),
        energy_eV=tuple(_number(one[ENERGY.name]) for one in found),
        force_eV_per_A=tuple(_number(one[FORCES.name][1, 2]) for one in found),
    )


def _number(value: Array | float) -> float | None:
    return float(value) if np.isfinite(value) else None
