"""Relaxation: whether the energy has a minimum where the structure is, and whether its cell is the right one.

Of a crystal the primitive cell is relaxed: lengths, angles and positions. Of slabs, wires and molecules the positions
are. The protocol is in `matgraft.potentials.simulation.relax`; the checks of elasticity and phonons begin with the same
relaxed crystal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.geometry import cell_to_cellpar

from matgraft.core.findings import Action, Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array
from matgraft.core.report.document import Block, Column, Row, Table
from matgraft.core.report.text import written
from matgraft.potentials.checks.gates import source
from matgraft.potentials.checks.physical import (
    Case,
    PhysicalCheck,
    ReferenceChoice,
    Seen,
    compared,
    failing_measures,
    no_worse,
)
from matgraft.potentials.checks.structures import EVERY_KIND
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.geometry import closest_pair
from matgraft.potentials.simulation.geometry import Geometry, primitive_of, symmetry_of
from matgraft.potentials.simulation.relax import Relaxed, relax, relaxed_crystal
from matgraft.potentials.simulation.subject import Subject

SYMMETRY_A = 0.05
"""Å within which the relaxed crystal must show the symmetry operations of the given one: single precision moves atoms
by 0.001 Å, a distortion by 0.1 Å."""
_SCOPE = 1.5
"""Parts of the sum of the largest covalent radii within which the closest pair is looked for."""
STRESS_WEIGHT = 300.0
"""Of the loss, where lengths or stiffness are off: three times the default."""
FORCES_WEIGHT = 3.0
"""Of the loss, where frequencies are off: three times the default."""
STIFFEN = Action(settings={"loss.stress": STRESS_WEIGHT})
FORCES_FIRST = Action(settings={"loss.forces": FORCES_WEIGHT})
REHEARSE = Action(settings={"strategy.name": "replay"})


class Lattice(Frozen):
    """Lengths (Å) and angles (degrees) of the conventional cell, and the volume per atom (Å³)."""

    lengths_A: tuple[float, float, float]
    angles_deg: tuple[float, float, float]
    volume_A3: float

    @property
    def values(self) -> dict[str, tuple[str, str, float]]:
        """Return name, unit and value by the name of the reference: ``a_A`` -> ``("a", "Å", 5.469)``."""
        lengths = {f"{name}_A": (name, "Å", value) for name, value in zip("abc", self.lengths_A, strict=True)}
        angles = zip(("alpha", "beta", "gamma"), self.angles_deg, strict=True)
        return {
            **lengths,
            **{f"{name}_deg": (name, "°", value) for name, value in angles},
            "volume_A3_per_atom": ("volume", "Å³/atom", self.volume_A3),
        }


class Relaxation(Frozen):
    """What a relaxation shows.

    Attributes
    ----------
    given, relaxed
        The structure before; and after, with how it went.
    lattice_before, lattice
        Of a crystal; the conventional cell is that of the given structure's space group.
    group_before, group
        Space groups of a crystal: of the given one within `SYMPREC_A`, of the relaxed one within `SYMMETRY_A`.
    operations_kept
        Rotations and reflections of the relaxed crystal, as a part of those of the given one.
    moved_A
        The farthest that an atom moved within the cell, less what all moved together.
    closest
        Distance of the closest pair over the sum of the covalent radii; infinite where no pair comes near.
    """

    given: Geometry
    relaxed: Relaxed
    lattice_before: Lattice | None = None
    lattice: Lattice | None = None
    group_before: str = ""
    group: str = ""
    operations_kept: float | None = None
    moved_A: float
    closest: float


class RelaxationCheck(PhysicalCheck[Relaxation]):
    """Lattice, positions and symmetry of the relaxed structure."""

    code, title, observation = "relaxation", "Relaxation", Relaxation
    kinds = EVERY_KIND
    gates_uses = frozenset({"relax"})
    cost = 30

    def observe(self, subject: Subject, case: Case) -> Relaxation:
        """Relax the structure."""
        if case.own.kind != "bulk":
            relaxed = relax(subject, [case.own.atoms])[0]
            return _seen(case.own.atoms, relaxed)
        given = primitive_of(case.own.atoms)
        return _crystal_seen(given, relaxed_crystal(subject, case.own.atoms))

    def judge(self, seen: Seen[Relaxation], case: Case) -> Finding:
        """Hold lattice, symmetry and positions against references, foundation and the given structure."""
        measures = [force_left(seen.own.relaxed), *_measures(seen, case)]
        failed = {one.name for one in measures if not one.passes}
        lost = failed - {"a", "b", "c", "alpha", "beta", "gamma", "volume"}
        remedy = (
            "there is no minimum of the energy where the structure is: label the structures in to-label and "
            "frames of molecular dynamics around them, and use replay to keep what the foundation knew"
            if lost
            else "the cell is off: add strained frames with labels of stress, and give stress more weight"
        )
        actions = [REHEARSE] if lost else [STIFFEN]
        return self.finding(
            case, measures, _evidence(seen.own) + failing_measures(measures), remedy=remedy, actions=actions
        )

    def to_label(self, seen: Seen[Relaxation], case: Case) -> Sequence[Atoms]:
        """Return the structure as it was given and as it was relaxed."""
        return [seen.own.given.atoms(), seen.own.relaxed.geometry.atoms()]

    def figures(self, seen: Seen[Relaxation], case: Case) -> Sequence[Block]:
        """Return the lattice as given, relaxed by model and foundation, and by the reference."""
        own, before = seen.own.lattice, seen.own.lattice_before
        if own is None or before is None:
            return ()
        foundation = seen.foundation.lattice if seen.foundation else None
        columns = [Column("", number=False), *map(Column, ("given", "model", "foundation", "reference"))]
        rows = []
        for key, (name, unit, value) in own.values.items():
            reference = case.reference(key)
            cells = (
                before.values[key][2],
                value,
                foundation.values[key][2] if foundation else None,
                reference.value if reference else None,
            )
            rows.append(Row(f"{name} ({unit})", *(written(cell, 2 if unit == "°" else 3) for cell in cells)))
        return [Table(columns, rows, "fit")]


def force_left(relaxed: Relaxed) -> Measure:
    """Return the largest force left: what all checks of a relaxed crystal rest on."""
    return Measure(
        name="largest force after the relaxation",
        unit="eV/Å",
        value=relaxed.force_eV_per_A,
        allowed=(None, relaxed.fmax_eV_per_A),
        gate=f"the relaxation ends below {relaxed.fmax_eV_per_A:g} eV/Å",
    )


def _seen(given: Atoms, relaxed: Relaxed) -> Relaxation:
    """Read what happened to a slab, a wire or a molecule."""
    after = relaxed.geometry.atoms()
    moved, closest = _farthest(after.positions - given.positions), closest_pair(after, _SCOPE)[0]
    return Relaxation(given=Geometry.of(given), relaxed=relaxed, moved_A=moved, closest=closest)


def _crystal_seen(given: Atoms, relaxed: Relaxed) -> Relaxation:
    """Read what happened to a crystal."""
    after = relaxed.geometry.atoms()
    inside = after.positions @ np.linalg.inv(after.cell[:]) - given.positions @ np.linalg.inv(given.cell[:])
    before, now = symmetry_of(given), symmetry_of(after, SYMMETRY_A)
    conventional = np.array(before.to_conventional)
    return Relaxation(
        given=Geometry.of(given),
        relaxed=relaxed,
        lattice_before=_lattice(given, conventional),
        lattice=_lattice(after, conventional),
        group_before=before.symbol,
        group=now.symbol,
        operations_kept=now.operations / before.operations,
        moved_A=_farthest(inside @ after.cell[:]),
        closest=closest_pair(after, _SCOPE)[0],
    )


def _farthest(shift: Array) -> float:
    """Return the longest of displacements (n, 3), less what all have in common."""
    return float(np.linalg.norm(shift - shift.mean(axis=0), axis=1).max())


def _lattice(atoms: Atoms, conventional: Array) -> Lattice:
    parameters = [float(value) for value in cell_to_cellpar(conventional @ atoms.cell[:])]
    per_atom = volume(atoms) / len(atoms)
    return Lattice.model_validate({"lengths_A": parameters[:3], "angles_deg": parameters[3:], "volume_A3": per_atom})


def _measures(seen: Seen[Relaxation], case: Case) -> Iterator[Measure]:
    own, foundation = seen.own, seen.foundation
    if own.lattice is not None and own.lattice_before is not None:
        theirs = foundation.lattice.values if foundation and foundation.lattice else {}
        for key, (name, unit, value) in own.lattice.values.items():
            against = ReferenceChoice(case.reference(key), theirs[key][2] if theirs else None)
            gate = "angle_deg" if unit == "°" else "volume" if name == "volume" else "lattice"
            yield compared(name, unit, value, against, gate, case, relative=unit != "°")
        before = theirs["volume_A3_per_atom"][2] / own.lattice_before.volume_A3 if theirs else None
        yield no_worse(_against_given(own.lattice, own.lattice_before, case), before)
    if own.operations_kept is not None:
        kept = Measure(
            name="symmetry operations kept",
            unit="",
            value=own.operations_kept,
            allowed=(1.0, None),
            gate=f"a relaxed crystal keeps the operations of the given one within {SYMMETRY_A:g} Å",
        )
        yield no_worse(kept, foundation.operations_kept if foundation else None)
    yield _moved(seen, case)
    if np.isfinite(own.closest):
        smallest = case.settings.gates.closest
        name = "closest pair over the sum of covalent radii"
        yield Measure(name=name, unit="", value=own.closest, allowed=(smallest, None), gate=source("closest"))


def _against_given(lattice: Lattice, before: Lattice, case: Case) -> Measure:
    gate = case.settings.gates.given_volume
    return Measure(
        name="volume over that of the given structure",
        unit="",
        value=lattice.volume_A3 / before.volume_A3,
        allowed=(1 - gate, 1 + gate),
        gate=source("given_volume"),
    )


def _moved(seen: Seen[Relaxation], case: Case) -> Measure:
    """Return how far atoms moved: as far as in the foundation is no fault of the model's."""
    gate = case.settings.gates.moved_A
    most = gate if seen.foundation is None else max(gate, 1.5 * seen.foundation.moved_A)
    name = "farthest that an atom moved"
    return Measure(name=name, unit="Å", value=seen.own.moved_A, allowed=(None, most), gate=source("moved_A"))


def _evidence(seen: Relaxation) -> str:
    went = seen.relaxed
    said = f"{went.steps} steps to {went.force_eV_per_A:.2g} eV/Å; atoms moved {seen.moved_A:.3f} Å at most"
    if seen.lattice is None or seen.lattice_before is None:
        return said
    lengths = ", ".join(f"{name} {value:.3f}" for name, value in zip("abc", seen.lattice.lengths_A, strict=True))
    change = seen.lattice.volume_A3 / seen.lattice_before.volume_A3 - 1
    group = seen.group if seen.group == seen.group_before else f"{seen.group_before} became {seen.group}"
    return f"{group}, {lengths} Å, volume {100 * change:+.1f} % of the given one; {said}"
