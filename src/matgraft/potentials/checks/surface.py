"""Surfaces: what it costs to cleave a crystal, facet by facet, and in which order the facets come.

Slabs of the relaxed crystal are cut along its distinct planes of low index (pymatgen), some 10 Å thick with 12 Å of
vacuum. Only slabs whose two sides are alike, and whose composition is that of the crystal, have one surface energy:

    gamma = (E(slab) - N e(crystal)) / (2 A)

Of several such terminations that of the lowest energy is relaxed, its cell fixed. Reconstructions that need a larger
cell in the plane are not found.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from ase import Atoms, units

from matgraft.core.errors import RunError
from matgraft.core.findings import Action, Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.report.document import Block, Column, Row, Table
from matgraft.core.report.text import written
from matgraft.potentials.checks.gates import source
from matgraft.potentials.checks.physical import Case, PhysicalCheck, ReferenceChoice, Seen, compared, no_worse
from matgraft.potentials.simulation.defects import off_saddle
from matgraft.potentials.simulation.geometry import Geometry
from matgraft.potentials.simulation.relax import relax, relaxed_crystal
from matgraft.potentials.simulation.subject import Subject
from matgraft.potentials.simulation.surfaces import terminations

FMAX_eV_per_A, STEPS = 0.02, 150
TOLD_APART = 0.1
"""Part of a surface energy by which two facets must differ for their order to count."""
_J_PER_M2 = units.m**2 / units.J


class Facet(Frozen):
    """One surface.

    Attributes
    ----------
    plane
        Miller indices, as ``"111"``.
    energy, unrelaxed
        J/m², with relaxed and with unrelaxed ions.
    converged
        Whether forces fell to 0.02 eV/Å.
    geometry
        Of the relaxed slab.
    """

    plane: str
    energy: float
    unrelaxed: float
    converged: bool
    geometry: Geometry


class Surfaces(Frozen):
    """What was seen; `left_out` are planes without a slab of two like sides."""

    facets: tuple[Facet, ...]
    left_out: tuple[str, ...]


class SurfaceCheck(PhysicalCheck[Surfaces]):
    """Surface energies of low-index facets."""

    code, title, observation = "surface", "Surface energies", Surfaces
    gates_uses = frozenset({"surfaces"})
    suite = "full"
    cost = 600

    def observe(self, subject: Subject, case: Case) -> Surfaces:
        """Relax the crystal, and one slab of each facet in one batch."""
        crystal = relaxed_crystal(subject, case.own.atoms)
        start = crystal.geometry.atoms()
        per_atom = crystal.energy_eV / len(start)
        planes = terminations(start)
        flat = [slab for slabs in planes.values() for slab in slabs]
        energies = iter([float(one["energy"]) for one in subject.evaluate(flat)])
        before = {plane: [_gamma(slab, next(energies), per_atom) for slab in slabs] for plane, slabs in planes.items()}
        cut = {plane: slabs[int(np.argmin(before[plane]))] for plane, slabs in planes.items() if slabs}
        rng = np.random.default_rng(0)
        found = relax(subject, [off_saddle(slab, rng) for slab in cut.values()], fmax=FMAX_eV_per_A, steps=STEPS)
        if not np.isfinite([per_atom, *(one.energy_eV for one in found)]).all():
            raise RunError("an energy of the crystal or of its slabs is not finite")
        facets = tuple(
            Facet(
                plane=plane,
                energy=_gamma(slab, one.energy_eV, per_atom),
                unrelaxed=min(before[plane]),
                converged=one.converged,
                geometry=one.geometry,
            )
            for (plane, slab), one in zip(cut.items(), found, strict=True)
        )
        return Surfaces(facets=facets, left_out=tuple(plane for plane, slabs in planes.items() if not slabs))

    def judge(self, seen: Seen[Surfaces], case: Case) -> Finding:
        """Hold each energy above zero, and energies and their order against the user's DFT or the foundation."""
        if not seen.own.facets:
            why = f"no plane of low index ({', '.join(seen.own.left_out)}) has a slab of two like sides"
            return self.unable(case, "not applicable", why)
        measures = list(_measures(seen, case))
        finding = self.finding(case, measures, _evidence(seen, case), remedy=REMEDY)
        return finding.model_copy(update={"actions": ACTIONS}) if finding.outcome == "failed" else finding

    def to_label(self, seen: Seen[Surfaces], case: Case) -> Sequence[Atoms]:
        """Return the relaxed slabs."""
        return [one.geometry.atoms() for one in seen.own.facets]

    def figures(self, seen: Seen[Surfaces], case: Case) -> Sequence[Block]:
        """Return a table of facets: model, foundation, reference."""
        theirs = _by_plane(seen.foundation)
        names = "model", "ions unrelaxed", "foundation", "your DFT"
        heads = [Column("facet", number=False), *(Column(name, "J/m²") for name in names)]
        rows = []
        for one in seen.own.facets:
            known = case.reference(_key(one.plane))
            values = one.energy, one.unrelaxed, theirs.get(one.plane), known.value if known else None
            rows.append(Row(f"({one.plane})", *(written(value, None if value is None else 2) for value in values)))
        return [Table(heads, rows)]


REMEDY = "label the slabs and add them, with the crystal, to the training frames; give energies more weight"
ACTIONS = (Action(settings={"loss.energy": 100.0}),)


def _key(plane: str) -> str:
    return f"surface_{plane}_J_per_m2"


def _by_plane(seen: Surfaces | None) -> Mapping[str, float]:
    return {one.plane: one.energy for one in seen.facets} if seen else {}


def _measures(seen: Seen[Surfaces], case: Case) -> Iterator[Measure]:
    theirs, gates = _by_plane(seen.foundation), case.settings.gates
    for one in seen.own.facets:
        against = ReferenceChoice(case.reference(_key(one.plane)), theirs.get(one.plane))
        yield compared(f"surface ({one.plane})", "J/m²", one.energy, against, "surface", case)
    lowest = min(seen.own.facets, key=lambda one: one.energy)
    above = Measure(
        name=f"lowest surface energy ({lowest.plane})",
        unit="J/m²",
        value=lowest.energy,
        allowed=(gates.surface_least, None),
        gate=source("surface_least"),
    )
    yield no_worse(above, min(theirs.values(), default=None))
    yield from _order(seen.own, case)


def _order(own: Surfaces, case: Case) -> Iterator[Measure]:
    """Yield how many pairs of facets come in another order than by the user's DFT, where they differ by 10 %."""
    found = _by_plane(own)
    known = {plane: one.value for plane in found if (one := case.reference(_key(plane))) is not None}
    pairs = [
        (one, other)
        for one, other in itertools.combinations(known, 2)
        if abs(known[one] - known[other]) > TOLD_APART * min(known[one], known[other])
    ]
    if pairs:
        swapped = sum((known[a] - known[b]) * (found[a] - found[b]) < 0 for a, b in pairs)
        yield Measure(
            name="pairs of facets in the wrong order",
            unit="",
            value=float(swapped),
            allowed=(None, 0.0),
            reference=0.0,
            reference_from="your DFT",
            gate=f"the order of energies that differ by {TOLD_APART:.0%} is that of your DFT",
        )


def _evidence(seen: Seen[Surfaces], case: Case) -> str:
    theirs = _by_plane(seen.foundation)

    def beside(plane: str) -> str:
        known = case.reference(_key(plane))
        said = [f"{known.source}: {known.value:.2f}"] if known else []
        said += [f"foundation: {theirs[plane]:.2f}"] if plane in theirs else []
        return f" ({', '.join(said)})" if said else ""

    facets = ", ".join(f"({one.plane}) {one.energy:.2f}{beside(one.plane)}" for one in seen.own.facets)
    left = f" No slab of two like sides: {', '.join(seen.own.left_out)}." if seen.own.left_out else ""
    return f"Surface energies in J/m²: {facets}.{left}"


def _gamma(slab: Atoms, energy: float, per_atom: float) -> float:
    """Return the surface energy in J/m² of a slab whose first two vectors span the plane."""
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    return float((energy - len(slab) * per_atom) / (2 * area) * _J_PER_M2)
