"""Elastic constants: the full tensor from stresses of strained cells with relaxed atoms, at two strains.

The relaxed primitive cell is strained by plus and minus each Voigt component that symmetry does not make from another
one. The constants are central differences of the stress, so that stress left by the relaxation drops out. They are
fitted to all images of these strains under the point group. The axes are those of the conventional cell as spglib
defines it: a along x, b in the xy plane; c along z where the angles are right or the crystal is hexagonal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms, units

from matgraft.core.errors import RunError
from matgraft.core.findings import Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import STRESS, Array
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
from matgraft.potentials.checks.relaxation import STIFFEN, force_left
from matgraft.potentials.simulation.deform import (
    evaluated,
    fitted_elastic_tensor,
    independent_strains,
    stability,
    strained,
    unit_strain,
)
from matgraft.potentials.simulation.geometry import Geometry, primitive_of, rotations_of, symmetry_of
from matgraft.potentials.simulation.relax import Relaxed, relax, relaxed_crystal
from matgraft.potentials.simulation.subject import Subject

STRAINS = (0.005, 0.01)
"""The smaller one counts, the larger one shows whether it is converged; as in the Materials Project's database."""
FMAX_eV_per_A = 0.001
"""Of the atoms in a strained cell. A strain of 0.005 shifts forces by some 0.05 eV/Å: 2 % of this part is left."""
LABEL_STRAIN = 0.02
"""Of the cells to label: stresses of some 2 GPa, well above what DFT resolves."""

_INDEPENDENT = {
    15: "11 22 33 44 55 66 12 13 23 14 15 16 24 25 26 34 35 36 45 46 56",
    74: "11 22 33 12 13 23 44 55 66",
    88: "11 12 13 16 33 44 66",
    142: "11 12 13 33 44 66",
    148: "11 12 13 14 15 33 44",
    167: "11 12 13 14 33 44",
    194: "11 12 13 33 44",
    230: "11 12 44",
}
"""Last number of the space groups -> the constants that are shown and compared."""
_MONOCLINIC = "11 22 33 12 13 23 44 55 66 15 25 35 46"

Tensor = tuple[tuple[float, ...], ...]


class ElasticConstants(Frozen):
    """An elastic tensor.

    Attributes
    ----------
    relaxed
        How the crystal was relaxed.
    start
        The cell that was strained: the relaxed one or, where the relaxation did not converge, the given one.
    space_group
        Its number.
    C_GPa, C_wide_GPa
        (6, 6) in Voigt's notation, by the smaller and by the larger strain.
    """

    relaxed: Relaxed
    start: Geometry
    space_group: int
    C_GPa: Tensor
    C_wide_GPa: Tensor

    @property
    def constants(self) -> dict[str, float]:
        """The constants that symmetry leaves, ``C11`` -> GPa."""
        last = next(end for end in (2, *_INDEPENDENT) if self.space_group <= end)
        places = _MONOCLINIC if last == 15 else _INDEPENDENT[max(last, 15)]
        return {f"C{place}": self.C_GPa[int(place[0]) - 1][int(place[1]) - 1] for place in places.split()}

    @property
    def smallest_GPa(self) -> float:
        """Smallest eigenvalue."""
        return float(stability(np.array(self.C_GPa))[0])

    @property
    def change(self) -> float:
        """The most that a constant changes with twice the strain, as a part of the largest one."""
        narrow, wide = np.array(self.C_GPa), np.array(self.C_wide_GPa)
        return float(np.abs(wide - narrow).max() / np.abs(narrow).max())

    @property
    def moduli_GPa(self) -> tuple[float, float] | None:
        """Bulk and shear modulus of a polycrystal; None where the crystal is not stable."""
        return hill(np.array(self.C_GPa)) if self.smallest_GPa > 0 else None


class ElasticCheck(PhysicalCheck[ElasticConstants]):
    """The elastic tensor: stability, convergence in strain, constants."""

    code, title, observation = "elastic", "Elastic constants", ElasticConstants
    gates_uses = frozenset({"elastic"})
    suite = "crystal"
    cost = 200

    def observe(self, subject: Subject, case: Case) -> ElasticConstants:
        """Strain the relaxed crystal; all strained cells of both sizes relax together."""
        relaxed = relaxed_crystal(subject, case.own.atoms)
        start = primitive_of(relaxed.geometry.atoms() if relaxed.converged else case.own.atoms)
        components = independent_strains(start)
        cells = [
            strained(start, sign * size * unit_strain(component))
            for size in STRAINS
            for component in components
            for sign in (1, -1)
        ]
        ends = [one.geometry.atoms() for one in relax(subject, cells, fmax=FMAX_eV_per_A)]
        stresses = np.array([one[STRESS.name] for one in evaluated(subject, ends)]) / units.GPa
        if not np.isfinite(stresses).all():
            raise RunError("the stress of a strained cell is not finite")
        pairs = stresses.reshape(len(STRAINS), len(components), 2, 3, 3)
        strains, rotations = [unit_strain(component) for component in components], rotations_of(start)
        narrow, wide = (
            fitted_elastic_tensor(strains, (pairs[i, :, 0] - pairs[i, :, 1]) / (2 * size), rotations)
            for i, size in enumerate(STRAINS)
        )
        return ElasticConstants(
            relaxed=relaxed,
            start=Geometry.of(start),
            space_group=symmetry_of(start).number,
            C_GPa=_rows(narrow),
            C_wide_GPa=_rows(wide),
        )

    def judge(self, seen: Seen[ElasticConstants], case: Case) -> Finding:
        """Hold the tensor against Born's conditions, and its constants against references or the foundation."""
        measures = [force_left(seen.own.relaxed), *_intrinsic(seen, case), *_constants(seen, case)]
        remedy = "label the strained cells in to-label with stress, and give stress more weight"
        return self.finding(
            case, measures, _evidence(seen.own) + failing_measures(measures), remedy=remedy, actions=[STIFFEN]
        )

    def to_label(self, seen: Seen[ElasticConstants], case: Case) -> Sequence[Atoms]:
        """Return the relaxed cell, and cells strained far enough for a label of stress."""
        start = seen.own.start.atoms()
        sizes = [sign * LABEL_STRAIN for sign in (1, -1)]
        strains = [size * unit_strain(component) for component in independent_strains(start) for size in sizes]
        return [start, *(strained(start, strain) for strain in strains)]

    def figures(self, seen: Seen[ElasticConstants], case: Case) -> Sequence[Block]:
        """Return the constants of model, foundation and reference in one table."""
        theirs = _values(seen.foundation) if seen.foundation else {}
        rows = []
        for name, value in _values(seen.own).items():
            reference = case.reference(_key(name))
            cells = (value, theirs.get(name), reference.value if reference else None)
            rows.append(Row(name, *(written(cell, 1) for cell in cells)))
        columns = (Column(name, "GPa") for name in ("model", "foundation", "reference"))
        return [Table([Column("", number=False), *columns], rows, "fit")]


def hill(C: Array) -> tuple[float, float]:
    """Return bulk and shear modulus of a polycrystal, the means of Voigt's and Reuss's.

    R. Hill, Proc. Phys. Soc. A 65, 349 (1952).

    Parameters
    ----------
    C
        (6, 6), invertible.
    """
    c_diagonal, c_off, c_shear = _sums(C)
    s_diagonal, s_off, s_shear = _sums(np.asarray(np.linalg.inv(C)))
    bulk = ((c_diagonal + 2 * c_off) / 9 + 1 / (s_diagonal + 2 * s_off)) / 2
    shear = ((c_diagonal - c_off + 3 * c_shear) / 15 + 15 / (4 * s_diagonal - 4 * s_off + 3 * s_shear)) / 2
    return bulk, shear


def _sums(tensor: Array) -> tuple[float, float, float]:
    """Return 11 + 22 + 33, 12 + 13 + 23 and 44 + 55 + 66."""
    diagonal = np.diag(tensor)
    return float(diagonal[:3].sum()), float(tensor[0, 1] + tensor[0, 2] + tensor[1, 2]), float(diagonal[3:].sum())


def _rows(tensor: Array) -> Tensor:
    return tuple(tuple(float(value) for value in row) for row in tensor)


def _values(seen: ElasticConstants) -> dict[str, float]:
    """Return what is compared: the constants, the bulk modulus and, of a stable crystal, the shear modulus.

    The bulk modulus is that of a cell that keeps its shape, as the equation of state has it: one name of a
    reference means one value. In graphite that of a polycrystal is half of it.
    """
    moduli = seen.moduli_GPa
    at_constant_shape = float(np.array(seen.C_GPa)[:3, :3].sum() / 9)
    shear = {} if moduli is None else {"shear modulus": moduli[1]}
    return {**seen.constants, "bulk modulus": at_constant_shape, **shear}


def _key(name: str) -> str:
    """Return the name of a reference: ``C11_GPa``, ``B0_GPa``, ``G_GPa``."""
    return {"bulk modulus": "B0_GPa", "shear modulus": "G_GPa"}.get(name, f"{name}_GPa")


def _intrinsic(seen: Seen[ElasticConstants], case: Case) -> Iterator[Measure]:
    """Return stability, and convergence in the strain."""
    own, theirs, gates = seen.own, seen.foundation, case.settings.gates
    name, least = "smallest eigenvalue of the elastic tensor", (gates.born_GPa, None)
    born = Measure(name=name, unit="GPa", value=own.smallest_GPa, allowed=least, gate=source("born_GPa"))
    yield no_worse(born, theirs.smallest_GPa if theirs else None)
    name, most = "change with twice the strain, of the largest constant", (None, gates.elastic_strain)
    change = Measure(name=name, unit="", value=own.change, allowed=most, gate=source("elastic_strain"))
    yield no_worse(change, theirs.change if theirs else None)


def _constants(seen: Seen[ElasticConstants], case: Case) -> Iterator[Measure]:
    theirs, least = _values(seen.foundation) if seen.foundation else {}, case.settings.gates.elastic_least_GPa
    if all(case.reference(_key(name)) is not None for name in seen.own.constants):
        # The moduli follow from constants that the user's DFT judges: the foundation has no say in them.
        theirs = {name: value for name, value in theirs.items() if name in seen.own.constants}
    signless = ("C14", "C15", "C16") if seen.own.space_group > 74 else ()
    for name, value in _values(seen.own).items():
        reference = case.reference(_key(name))
        if reference is not None and name in signless:  # the sign hangs on the choice of axes
            reference = reference.model_copy(update={"value": float(np.copysign(reference.value, value))})
        against = ReferenceChoice(reference, theirs.get(name))
        gate = "bulk_modulus" if name == "bulk modulus" else "elastic"
        yield compared(name, "GPa", value, against, gate, case, least=least)


def _evidence(seen: ElasticConstants) -> str:
    moduli = seen.moduli_GPa
    said = ", ".join(f"{name} {value:.1f}" for name, value in seen.constants.items())
    poly = "not stable" if moduli is None else f"bulk {moduli[0]:.1f}, shear {moduli[1]:.1f} GPa"
    begun = "" if seen.relaxed.converged else "; around the given cell, since the relaxation did not converge"
    stable = f"smallest eigenvalue {seen.smallest_GPa:.1f} GPa; twice the strain changes {100 * seen.change:.1f} %"
    return f"{said} GPa; {poly}; {stable}{begun}"
