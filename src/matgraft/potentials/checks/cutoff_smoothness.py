"""Smoothness where atoms enter and leave each other's neighbourhoods.

1. In a distorted cell one atom of each element moves by `PATH_A` in steps of `STEP_A`: on the way many neighbours, near
   and far, cross whatever radius the model cuts at. Two copies of a molecule are drawn apart, from contact to beyond
   the cutoff.
2. Of a smooth function of the step, fourth differences are tiny and change slowly. A jump by J gives differences of J,
   3 J, 3 J and J in a row: a third of the largest, beyond what is usual along the path nearby, is the jump.
3. The places with the largest are passed again in steps `FINER` times smaller, and the worst of these once more. There
   a jump stays as large as it was; what is but steep or rough becomes 4000 times smaller each time.
4. All components of all forces are looked at, and the total energy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from matgraft.core.errors import RunError
from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, FORCES, Array
from matgraft.core.report.document import Block, Drawing, Plot, Plots
from matgraft.core.report.figures import add_legend, empty_figure, style
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen, limited
from matgraft.potentials.checks.structures import EVERY_KIND
from matgraft.potentials.simulation.probes import distorted
from matgraft.potentials.simulation.subject import Subject

PATH_A, STEP_A = 0.4, 0.004
MOST_ELEMENTS = 4
NEAREST_A, FARTHEST_A, MOLECULE_STEP_A = 2.5, 8.0, 0.02
"""Å between the nearest atoms of two molecules, on the way; where the model's cutoff is known, it ends there."""
WINDOW = 12
"""Steps to either side whose fourth differences tell what is usual."""
USUAL = 4.0
"""Times the lower quartile of the differences nearby is usual: jumps, four differences each, do not reach it."""
FINER, PLACES = 8, (5, 2)
"""How much finer the suspected places are passed, and how many of them: first, and once more."""
WEIGHED = np.array([0.003, 0.001])
"""eV/Å and eV: jumps of a force and of the energy that are equally suspect."""
SEED = 7


class Path(Frozen):
    """What was seen along a path.

    Attributes
    ----------
    what
        Which atom moved, in words.
    moved_A
        (n,) along the path.
    energy_eV
        (n,) total energy.
    force_eV_per_A
        (n,) the force component with the largest jump.
    force_jump, energy_jump
        Largest jump of any force component in eV/Å, and of the energy in eV.
    at_A
        Where on the path the largest jump of the force is.
    """

    what: str
    moved_A: tuple[float, ...]
    energy_eV: tuple[float, ...]
    force_eV_per_A: tuple[float, ...]
    force_jump: float
    energy_jump: float
    at_A: float


class Paths(Frozen):
    """All paths."""

    paths: tuple[Path, ...]


class CutoffSmoothnessCheck(PhysicalCheck[Paths]):
    """Look for jumps of forces and energy along paths."""

    code, title, observation = "cutoff-smoothness", "Forces and energy change without jumps", Paths
    kinds = EVERY_KIND
    gates_uses = frozenset({"md", "relax"})
    cost = 150
    beside_foundation: ClassVar[bool] = False

    def why_not(self, subject: Subject, case: Case) -> str:
        """Return why it does not apply: there is no bond in a single atom."""
        return super().why_not(subject, case) or ("a single atom has no neighbours" if case.own.lone else "")

    def observe(self, subject: Subject, case: Case) -> Paths:
        """Evaluate the paths, each in one batch."""
        if case.own.kind == "molecule":
            return Paths(paths=(_apart(case.own.atoms, subject),))
        atoms = distorted(case.own.atoms, SEED, strained=False)
        elements = sorted(set(atoms.numbers.tolist()))[:MOST_ELEMENTS]
        return Paths(paths=tuple(_one_atom(atoms, Z, subject) for Z in elements))

    def judge(self, seen: Seen[Paths], case: Case) -> Finding:
        """Fail a jump of a force or of the energy."""
        gates, paths = case.settings.gates, seen.own.paths
        worst = max(paths, key=lambda path: path.force_jump)
        energy = 1000 * max(path.energy_jump for path in paths)
        measures = [
            limited(
                "jump of a force", "eV/Å", worst.force_jump, (None, gates.force_jump_eV_per_A), "force_jump_eV_per_A"
            ),
            limited("jump of the energy", "meV", energy, (None, gates.energy_jump_meV), "energy_jump_meV"),
        ]
        jumps = not all(one.passes for one in measures)
        where = f", {worst.at_A:.2f} Å along the path where {worst.what}" if jumps else ""
        said = f"largest jump of a force {worst.force_jump:.2g} eV/Å, of the energy {energy:.2g} meV{where}"
        return self.finding(case, measures, said, remedy=REMEDY)

    def figures(self, seen: Seen[Paths], case: Case) -> Sequence[Block]:
        """Draw on each path the force component with the largest jump."""
        plot = empty_figure()
        for i, path in enumerate(seen.own.paths):
            line = {"color": style(i)["colour"]}
            plot.add_scatter(x=path.moved_A, y=path.force_eV_per_A, mode="lines", line=line, name=path.what)
        plot.update_xaxes(title_text="along the path (Å)")
        plot.update_yaxes(title_text="force with the largest jump (eV/Å)")
        add_legend(plot)
        drawing = Drawing(f"smooth-{case.own.name}", plot, "a force component along each path", "curve")
        return [Plots([Plot(f"{case.own.name}: forces as neighbours come and go", [drawing])])]


REMEDY = (
    "the model cuts something off hard, at its cutoff or within: energy is not conserved, and relaxations stall. Use a "
    "cutoff function that goes to zero with its derivative, or another backbone"
)


def jumps(values: Array) -> Array:
    """Return (n - 4, k) by how much values (n, k) jump at each step, beyond what is usual nearby; not below 0."""
    steps = np.abs(np.diff(values, 4, axis=0)) / 3
    starts = np.clip(np.arange(len(steps)) - WINDOW, 0, max(len(steps) - 2 * WINDOW - 1, 0))
    usual = np.stack([np.quantile(steps[start : start + 2 * WINDOW + 1], 0.25, axis=0) for start in starts])
    return np.maximum(steps - USUAL * usual, 0.0)


def _one_atom(atoms: Atoms, Z: int, subject: Subject) -> Path:
    """Move the first atom of an element."""
    mover = int(np.flatnonzero(atoms.numbers == Z)[0])
    direction = np.random.default_rng(SEED + Z).standard_normal(3)
    direction /= np.linalg.norm(direction)

    def at(moved: float) -> Atoms:
        image = atoms.copy()
        image.positions[mover] += (moved - PATH_A / 2) * direction
        return image

    return _path(f"an atom of {chemical_symbols[Z]} moves", np.arange(0, PATH_A, STEP_A), at, subject)


def _apart(atoms: Atoms, subject: Subject) -> Path:
    """Draw two copies of a molecule apart along a random direction, from contact to beyond the cutoff."""
    random = np.random.default_rng(SEED)
    one = Atoms(atoms.numbers, atoms.positions)
    other = one.copy()
    other.rotate(float(random.uniform(30, 330)), random.standard_normal(3).tolist(), center="COM")
    direction = random.standard_normal(3)
    direction /= np.linalg.norm(direction)
    nearest = max(NEAREST_A, 2.4 * float(covalent_radii[atoms.numbers].max()))
    farthest = (subject.cutoff_A or FARTHEST_A) + 0.3
    shift = _shift_to(one.positions, other.positions, direction, nearest)
    way = np.arange(0, max(farthest - nearest, 0.5), MOLECULE_STEP_A)

    def at(moved: float) -> Atoms:
        image = one + other
        image.positions[len(one) :] += (shift + moved) * direction
        return image

    return _path("two molecules are drawn apart", way, at, subject)


def _shift_to(fixed: Array, free: Array, direction: Array, nearest: float) -> float:
    """Return how far to shift along a direction until the nearest two atoms are so far apart."""
    apart = free[None] - fixed[:, None]
    along = apart @ direction
    across = (apart**2).sum(axis=2) - along**2
    reach = np.sqrt(np.maximum(nearest**2 - across, 0.0)) - along
    return float(np.where(across < nearest**2, reach, -np.inf).max())


@dataclass(frozen=True)
class _Pass:
    """Energies (n,) and forces (n, k) at places (n,) of a path, and their jumps (n - 4, 2): largest force, energy."""

    way: Array
    energies: Array
    forces: Array
    jumps: Array

    @property
    def suspicion(self) -> Array:
        """(n - 4,) jumps in units of `WEIGHED`."""
        return np.asarray((self.jumps / WEIGHED).max(axis=1), dtype=float)

    def worst(self, n: int) -> list[float]:
        """Return the middles of the n most suspect places, each farther than two steps from the others."""
        suspicion, found = self.suspicion, []
        for _ in range(n):
            k = int(suspicion.argmax())
            found.append(float(self.way[k + 2]))
            suspicion[max(k - 2, 0) : k + 3] = -1.0
        return found


def _passed(way: Array, at: Callable[[float], Atoms], subject: Subject) -> _Pass:
    found = subject.evaluate([at(float(place)) for place in way])
    energies = np.array([float(one[ENERGY.name]) for one in found])
    forces = np.stack([np.asarray(one[FORCES.name]).ravel() for one in found])
    if not (np.isfinite(energies).all() and np.isfinite(forces).all()):
        raise RunError("energies or forces along the path are not finite")
    both = np.stack([jumps(forces).max(axis=1), jumps(energies[:, None])[:, 0]], axis=1)
    return _Pass(way, energies, forces, both)


def _path(what: str, way: Array, at: Callable[[float], Atoms], subject: Subject) -> Path:
    whole = _passed(way, at, subject)
    around = np.arange(-2 * FINER, 2 * FINER + 1, dtype=float) * float(way[1] - way[0]) / FINER
    finer = [_passed(np.add(place, around), at, subject) for place in whole.worst(PLACES[0])]
    suspects = sorted(finer, key=lambda one: -one.suspicion.max())[: PLACES[1]]
    passes = [_passed(np.add(one.worst(1)[0], around / FINER), at, subject) for one in suspects]
    force = max(passes, key=lambda one: float(one.jumps[:, 0].max()))
    shown = int(np.abs(jumps(force.forces)).max(axis=0).argmax())
    return Path(
        what=what,
        moved_A=tuple(way.tolist()),
        energy_eV=tuple(whole.energies.tolist()),
        force_eV_per_A=tuple(whole.forces[:, shown].tolist()),
        force_jump=float(force.jumps[:, 0].max()),
        energy_jump=max(float(one.jumps[:, 1].max()) for one in passes),
        at_A=float(force.way[int(force.jumps[:, 0].argmax()) + 2]),
    )
