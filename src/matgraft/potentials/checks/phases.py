"""Phases: which crystal of a composition is the lowest, and how far the others lie above it.

Structures of one composition are relaxed, cell and ions. Of an element the common prototypes join them: fcc, bcc, hcp,
diamond. Their bonds start as long as Pauling's rule says (J. Am. Chem. Soc. 69, 542 (1947)): a bond is longer by 0.6 Å
log10 of how many more neighbours share it. The energy of each above the user's own structure is compared with the
user's DFT (``fcc_eV_per_atom`` under its name), or with the foundation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from pydantic import JsonValue

from matgraft.core.findings import Action, Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.report.document import Block, Column, Row, Table
from matgraft.core.report.text import written
from matgraft.potentials.checks.gates import source
from matgraft.potentials.checks.physical import (
    FOUNDATION,
    Case,
    PhysicalCheck,
    ReferenceChoice,
    Seen,
    compared,
    structure_hash,
)
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.structures import Structure
from matgraft.potentials.data.cells import volume
from matgraft.potentials.simulation.geometry import Geometry, primitive_of, symmetry_of
from matgraft.potentials.simulation.relax import relax
from matgraft.potentials.simulation.subject import Subject

PROTOTYPES: Mapping[str, int] = {"fcc": 12, "hcp": 12, "bcc": 8, "diamond": 4}
"""Name -> nearest neighbours."""
MOST_FORMULAS, MOST_ATOMS = 3, 64
FMAX_eV_per_A, STEPS = 0.01, 200


class Phase(Frozen):
    """One crystal.

    Attributes
    ----------
    name
        Of the structure, or of the prototype.
    energy_eV
        Per atom, relaxed.
    volume_A3
        Per atom.
    group
        Space group after the relaxation.
    kept
        True if forces fell to 0.01 eV/Å and the space group is that of the start.
    geometry
        Of the relaxed crystal.
    """

    name: str
    energy_eV: float
    volume_A3: float
    group: str
    kept: bool
    geometry: Geometry


class Composition(Frozen):
    """All crystals of one composition, that of the user first."""

    formula: str
    phases: tuple[Phase, ...]

    def above(self) -> dict[str, float]:
        """Return the energies (eV/atom) above the first, of those that kept their symmetry."""
        first, *others = self.phases
        return {one.name: one.energy_eV - first.energy_eV for one in others if one.kept}


class PhasesSeen(Frozen):
    """What was seen."""

    compositions: tuple[Composition, ...]


class PhasesCheck(PhysicalCheck[PhasesSeen]):
    """Energies of competing crystals."""

    code, title, observation = "phases", "Energies of competing phases", PhasesSeen
    scope = "all"
    gates_uses = frozenset({"phases"})
    suite = "full"
    cost = 400

    def why_not(self, subject: Subject, case: Case) -> str:
        """Say that nothing competes."""
        if not _competing(case, subject):
            return "no crystal of a known element, and no two crystals of one composition, are among the structures"
        return super().why_not(subject, case)

    def protocol(self, case: Case) -> Mapping[str, JsonValue]:
        """Return the structures."""
        return {"structures": [[one.name, structure_hash(one.atoms)] for one in case.structures]}

    def observe(self, subject: Subject, case: Case) -> PhasesSeen:
        """Relax all crystals in one batch."""
        groups = _competing(case, subject)
        starts = [atoms for group in groups.values() for atoms in group.values()]
        found = iter(relax(subject, starts, cell=True, fmax=FMAX_eV_per_A, steps=STEPS))
        compositions = []
        for formula, group in groups.items():
            phases = []
            for name, start in group.items():
                one = next(found)
                end = one.geometry.atoms()
                symmetry = symmetry_of(end, 0.05)
                kept = one.converged and symmetry.number == symmetry_of(start, 0.05).number
                phases.append(Phase(
                    name=name, energy_eV=one.energy_eV / len(end), volume_A3=volume(end) / len(end),
                    group=symmetry.symbol, kept=kept, geometry=one.geometry,
                ))  # fmt: skip
            compositions.append(Composition(formula=formula, phases=tuple(phases)))
        return PhasesSeen(compositions=tuple(compositions))

    def judge(self, seen: Seen[PhasesSeen], case: Case) -> Finding:
        """Hold energies above the user's structure, and the order of all, against DFT or the foundation."""
        measures = [one for own in seen.own.compositions for one in _measures(own, _of(seen.foundation, own), case)]
        finding = self.finding(case, measures, _evidence(seen, case), remedy=REMEDY)
        return finding.model_copy(update={"actions": ACTIONS}) if finding.outcome == "failed" else finding

    def to_label(self, seen: Seen[PhasesSeen], case: Case) -> Sequence[Atoms]:
        """Return all relaxed crystals."""
        return [one.geometry.atoms() for own in seen.own.compositions for one in own.phases]

    def figures(self, seen: Seen[PhasesSeen], case: Case) -> Sequence[Block]:
        """Return a table of crystals: model, foundation, reference."""
        heads = [Column("crystal", number=False), Column("space group", number=False), Column("volume", "Å³/atom"),
                 *(Column(name, "eV/atom") for name in ("model", "foundation", "your DFT"))]  # fmt: skip
        rows = []
        for own in seen.own.compositions:
            theirs = _of(seen.foundation, own).above() if seen.foundation else {}
            for one in own.phases:
                name = one.name if one.kept else f"{one.name}, which became another"
                energy = one.energy_eV - own.phases[0].energy_eV
                known = _reference(case, own, one.name)
                values = (energy, theirs.get(one.name), known.value if known else None)
                cells = [written(value, None if value is None else 3) for value in values]
                rows.append(Row(f"{own.formula} {name}", one.group, written(one.volume_A3, 2), *cells))
        return [Table(heads, rows)]


REMEDY = "label these crystals and add them to the training frames; give energies more weight (--for phases)"
ACTIONS = (Action(settings={"loss.energy": 100.0}),)


def _of(seen: PhasesSeen | None, own: Composition) -> Composition:
    """Return the same composition of another model; one without phases where it has none."""
    found = [one for one in seen.compositions if one.formula == own.formula] if seen else []
    return found[0] if found else Composition(formula=own.formula, phases=own.phases[:1])


def _reference(case: Case, own: Composition, name: str) -> Reference | None:
    """Return the user's value of a crystal above the first: under the name of the first, or under the formula."""
    return case.reference_of(own.phases[0].name, own.formula, f"{name}_eV_per_atom")


def _measures(own: Composition, theirs: Composition, case: Case) -> Iterator[Measure]:
    before, found = theirs.above(), own.above()
    for name, value in found.items():
        against = ReferenceChoice(_reference(case, own, name), before.get(name))
        label = f"{own.formula} {name} above {own.phases[0].name}"
        yield compared(label, "eV/atom", value, against, "phase_eV", case, relative=False)
    known = {name: one.value for name in found if (one := _reference(case, own, name)) is not None}
    known, known_from = (known, "your DFT") if known else (before, FOUNDATION)
    both = {own.phases[0].name: (0.0, 0.0), **{name: (known[name], found[name]) for name in known if name in found}}
    gate = case.settings.gates.phase_eV
    pairs = [(a, b) for a, b in itertools.combinations(both.values(), 2) if abs(a[0] - b[0]) > gate]
    if pairs:
        swapped = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in pairs)
        yield Measure(
            name=f"{own.formula} pairs of crystals in the wrong order",
            unit="",
            value=float(swapped),
            allowed=(None, 0.0),
            reference=0.0,
            reference_from=known_from,
            gate=f"the order of energies that differ by more than the gate phase_eV: {source('phase_eV')}",
        )


def _evidence(seen: Seen[PhasesSeen], case: Case) -> str:
    said = []
    for own in seen.own.compositions:
        before = _of(seen.foundation, own).above()
        listed = []
        for name, value in own.above().items():
            known = _reference(case, own, name)
            beside = [f"{known.source}: {known.value:.3f}"] if known else []
            beside += [f"foundation: {before[name]:.3f}"] if name in before else []
            listed.append(f"{name} {value:+.3f}" + (f" ({', '.join(beside)})" if beside else ""))
        lost = [one.name for one in own.phases if not one.kept]
        left = f"; {', '.join(lost)} became another crystal or did not come to rest" if lost else ""
        said.append(f"{own.formula}, eV/atom above {own.phases[0].name}: {', '.join(listed) or 'nothing'}{left}")
    return ". ".join(said) + "."


def _competing(case: Case, subject: Subject) -> dict[str, dict[str, Atoms]]:
    """Return formula -> name -> crystal to relax, the user's first; elements have prototypes, others two structures."""
    own: dict[str, list[Structure]] = {}
    for one in case.structures:
        known = subject.elements is None or set(one.atoms.symbols) <= subject.elements
        if one.kind == "bulk" and known and len(one.atoms) <= MOST_ATOMS:
            own.setdefault(one.formula, []).append(one)
    found: dict[str, dict[str, Atoms]] = {}
    for formula, structures in list(own.items())[:MOST_FORMULAS]:
        group = {one.name: primitive_of(one.atoms) for one in structures}
        if len(set(structures[0].atoms.numbers)) == 1:
            group |= _prototypes(structures[0].atoms, group.values())
        if len(group) > 1:
            found[formula] = group
    return found


def _prototypes(atoms: Atoms, known: Iterable[Atoms]) -> dict[str, Atoms]:
    """Return the prototypes of an element that are not among the crystals which are there."""
    groups = {(symmetry_of(one, 0.05).number, len(one)) for one in known}
    distances = neighbor_list("d", atoms, 1.2 * _nearest(atoms))
    bond, neighbours = float(distances.mean()), len(distances) / len(atoms)
    found = {}
    for name, count in PROTOTYPES.items():
        length = bond + 0.6 * np.log10(count / neighbours)
        one = _prototype(str(atoms.symbols[0]), name, length)
        if (symmetry_of(one, 0.05).number, len(primitive_of(one))) not in groups:
            found[name] = primitive_of(one)
    return found


def _nearest(atoms: Atoms) -> float:
    reach = 2.0 * float(np.cbrt(volume(atoms) / len(atoms)))
    return float(neighbor_list("d", atoms, reach).min())


def _prototype(symbol: str, name: str, bond: float) -> Atoms:
    """Return a prototype whose nearest neighbours are so many Å away."""
    a = {"fcc": np.sqrt(2), "hcp": 1.0, "bcc": 2 / np.sqrt(3), "diamond": 4 / np.sqrt(3)}[name] * bond
    return bulk(symbol, name, a=a, c=np.sqrt(8 / 3) * a) if name == "hcp" else bulk(symbol, name, a=a)
