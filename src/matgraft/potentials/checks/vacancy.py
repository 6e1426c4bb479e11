"""Vacancies: what it costs to take an atom out of a crystal.

The crystal is relaxed, a supercell of it is built, and one atom of each kind of site is taken out; ions relax at the
crystal's own volume. Of an element, with N atoms in the supercell,

    E_f = E(N - 1) - (N - 1) / N E(N)

Of a compound a single vacancy hangs on where the atom goes. What does not is the Schottky energy: one formula unit is
taken out, each atom from its cheapest site, and put back as crystal. No chemical potential enters, nor does the zero of
the energies of the elements.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from matgraft.core.errors import RunError
from matgraft.core.findings import Action, Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.report.document import Block, Column, Row, Table
from matgraft.core.report.text import written
from matgraft.potentials.checks.gates import source
from matgraft.potentials.checks.physical import Case, PhysicalCheck, ReferenceChoice, Seen, compared, no_worse
from matgraft.potentials.simulation.defects import MOST_ATOMS, distinct_sites, off_saddle, supercell, without_site
from matgraft.potentials.simulation.geometry import Geometry
from matgraft.potentials.simulation.relax import relax, relaxed_crystal
from matgraft.potentials.simulation.subject import Subject

FMAX_eV_per_A, STEPS = 0.02, 120
"""Energies of vacancies are then converged to some meV."""
MOST_ELEMENTS = 3


class Site(Frozen):
    """A vacancy of one kind of site.

    Attributes
    ----------
    symbol
        Of the atom that is missing.
    removal_eV, unrelaxed_eV
        Energy with the vacancy minus that of the whole supercell, with relaxed and with unrelaxed ions.
    converged
        Whether forces fell to 0.02 eV/Å.
    geometry
        Where the ions ended.
    """

    symbol: str
    removal_eV: float
    unrelaxed_eV: float
    converged: bool
    geometry: Geometry


class Vacancies(Frozen):
    """What was seen.

    Attributes
    ----------
    per_atom_eV
        Energy of the crystal.
    n_atoms
        Of the whole supercell.
    unit
        Atoms of one formula unit by symbol.
    sites
        One of each kind of site, at most `MOST_SITES`.
    """

    per_atom_eV: float
    n_atoms: int
    unit: dict[str, int]
    sites: tuple[Site, ...]

    @property
    def name(self) -> str:
        """Key of the energy."""
        return "vacancy_eV" if len(self.unit) == 1 else "schottky_eV"

    def energy_eV(self, *, relaxed: bool = True) -> float:
        """Return the formation energy of one vacancy of an element; of all those of a formula unit of a compound."""
        energies: dict[str, float] = {}
        for one in self.sites:
            value = one.removal_eV if relaxed else one.unrelaxed_eV
            energies[one.symbol] = min(value, energies.get(one.symbol, np.inf))
        unit = dict.fromkeys(self.unit, 1) if len(self.unit) == 1 else self.unit
        return sum(count * (energies[symbol] + self.per_atom_eV) for symbol, count in unit.items())


class VacancyCheck(PhysicalCheck[Vacancies]):
    """Formation energy of vacancies."""

    code, title, observation = "vacancy", "Vacancy formation energy", Vacancies
    gates_uses = frozenset({"defects"})
    suite = "crystal"
    cost = 300

    def why_not(self, subject: Subject, case: Case) -> str:
        """Say that there are too many elements, or too many atoms."""
        if why := super().why_not(subject, case):
            return why
        if len(set(case.own.atoms.symbols)) > MOST_ELEMENTS:
            return f"it has more than {MOST_ELEMENTS} elements"
        if len(case.own.atoms) > MOST_ATOMS:
            return f"its cell has more than {MOST_ATOMS} atoms"
        return ""

    def observe(self, subject: Subject, case: Case) -> Vacancies:
        """Relax the crystal, and all vacancies in one batch."""
        crystal = relaxed_crystal(subject, case.own.atoms)
        start = crystal.geometry.atoms()
        whole = supercell(start)
        sites = distinct_sites(whole)
        empty = [without_site(whole, site) for site in sites]
        rng = np.random.default_rng(0)
        rattled = [off_saddle(one, rng) for one in empty]
        total = len(whole) * crystal.energy_eV / len(start)
        before = [float(one["energy"]) for one in subject.evaluate(empty)]
        after = relax(subject, rattled, fmax=FMAX_eV_per_A, steps=STEPS)
        if not np.isfinite([total, *before, *(one.energy_eV for one in after)]).all():
            raise RunError("an energy of the crystal or of its vacancies is not finite")
        found = [
            Site(symbol=whole.symbols[site], removal_eV=one.energy_eV - total, unrelaxed_eV=energy - total,
                 converged=one.converged, geometry=one.geometry)
            for site, energy, one in zip(sites, before, after, strict=True)
        ]  # fmt: skip
        unit, _ = whole.symbols.formula.reduce()
        return Vacancies(
            per_atom_eV=crystal.energy_eV / len(start), n_atoms=len(whole), unit=unit.count(), sites=tuple(found)
        )

    def judge(self, seen: Seen[Vacancies], case: Case) -> Finding:
        """Hold the formation energy above zero, and against the user's DFT or the foundation's."""
        own, theirs = seen.own, seen.foundation
        value, other = own.energy_eV(), theirs.energy_eV() if theirs else None
        against = ReferenceChoice(case.reference(own.name), other)
        positive = Measure(
            name="formation energy above zero",
            unit="eV",
            value=value,
            allowed=(case.settings.gates.vacancy_eV, None),
            gate=source("vacancy_eV"),
        )
        measures = [
            compared(own.name.removesuffix("_eV"), "eV", value, against, "vacancy", case),
            no_worse(positive, other),
        ]
        return self.finding(case, measures, _evidence(seen, case), remedy=REMEDY).model_copy(
            update={"actions": ACTIONS if not all(one.passes for one in measures) else ()}
        )

    def to_label(self, seen: Seen[Vacancies], case: Case) -> Sequence[Atoms]:
        """Return the relaxed vacancies."""
        return [one.geometry.atoms() for one in seen.own.sites]

    def figures(self, seen: Seen[Vacancies], case: Case) -> Sequence[Block]:
        """Return a table of model, foundation and reference."""
        heads = [Column("model", number=False), Column("formation energy", "eV"), Column("ions unrelaxed", "eV")]
        rows = [
            Row(who, written(one.energy_eV(), 3), written(one.energy_eV(relaxed=False), 3))
            for who, one in (("model", seen.own), ("foundation", seen.foundation))
            if one is not None
        ]
        known = case.reference(seen.own.name)
        return [Table(heads, [*rows, *([Row(known.source, written(known.value, 3), "")] if known else [])])]


REMEDY = "label the vacancies and add them, with the crystal, to the training frames; give energies more weight"
ACTIONS = (Action(settings={"loss.energy": 100.0}),)


def _evidence(seen: Seen[Vacancies], case: Case) -> str:
    own, theirs = seen.own, seen.foundation
    what = "one vacancy" if len(own.unit) == 1 else f"all vacancies of a formula unit {case.own.formula} (Schottky)"
    known = case.reference(own.name)
    beside = [f"{known.source}: {known.value:.2f} eV"] if known else []
    beside += [f"foundation: {theirs.energy_eV():.2f} eV"] if theirs else []
    slow = "; ions did not come to rest" if not all(one.converged for one in own.sites) else ""
    compared_with = f" ({', '.join(beside)})" if beside else ""
    return (
        f"{what[0].upper()}{what[1:]} in {own.n_atoms} sites costs {own.energy_eV():.2f} eV"
        f"{compared_with}, {own.energy_eV(relaxed=False):.2f} eV with unrelaxed ions{slow}."
    )
