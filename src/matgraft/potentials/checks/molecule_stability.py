"""A molecule keeps its bonds in Langevin dynamics at the highest temperature asked for.

1. Two atoms nearer than `BONDED` times the sum of their covalent radii are bonded in the given geometry. Dynamics
   starts where the model has the molecule at rest.
2. A bond is broken where it is `BROKEN` times as long as it was, and one has formed where two other atoms are nearer
   than `FORMED` times the sum of their radii. The stretching of a bond at 1200 K stays within some 25 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from pydantic import JsonValue

from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array
from matgraft.core.report.document import Block, Drawing, Plot, Plots
from matgraft.core.report.figures import add_legend, empty_figure, style
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen, limited
from matgraft.potentials.data.phases import BONDED
from matgraft.potentials.simulation.dynamics import Motion, Trajectory, at_rest, simulate, thermal, timestep_fs
from matgraft.potentials.simulation.geometry import Geometry
from matgraft.potentials.simulation.subject import Subject

STEPS, EVERY = 400, 2
BROKEN, FORMED = 1.7, 1.1


class BondChange(Frozen):
    """A bond that broke or formed: the numbers of its atoms, when, and the frame."""

    what: str
    atoms: tuple[int, int]
    time_fs: float
    frame: Geometry


class Molecule(Frozen):
    """What is seen.

    Attributes
    ----------
    temperature_K
        Of the thermostat.
    bonds
        How many there are.
    each
        One trajectory a seed.
    changes
        The first change of each bond, over all trajectories.
    longest
        (n,) of each trajectory: by how much the most stretched bond is longer than in the given geometry.
    """

    temperature_K: float
    bonds: int
    each: tuple[Trajectory, ...]
    changes: tuple[BondChange, ...]
    longest: tuple[tuple[float, ...], ...]


class MoleculeStabilityCheck(PhysicalCheck[Molecule]):
    """Count bonds that break or form."""

    code, title, observation = "molecule-stability", "A molecule keeps its bonds in dynamics", Molecule
    kinds = frozenset({"molecule"})
    gates_uses = frozenset({"molecules", "md"})
    cost = 500
    beside_foundation: ClassVar[bool] = False

    def why_not(self, subject: Subject, case: Case) -> str:
        """Return why it does not apply: there is no bond."""
        reason = super().why_not(subject, case)
        return reason or ("" if bonds_of(case.own.atoms).any() else "no two atoms are bonded")

    def protocol(self, case: Case) -> Mapping[str, JsonValue]:
        """Return temperature and seeds."""
        return {"temperature_K": case.settings.temperature_K[1], "seeds": case.settings.seeds}

    def observe(self, subject: Subject, case: Case) -> Molecule:
        """Move the molecule once for each seed, and watch its bonds."""
        temperature, atoms = case.settings.temperature_K[1], case.own.atoms
        start = at_rest(atoms, subject)
        watched = [_watched(atoms, start, subject, temperature, seed) for seed in range(case.settings.seeds)]
        return Molecule(
            temperature_K=temperature,
            bonds=int(bonds_of(atoms).sum()),
            each=tuple(one.trajectory for one in watched),
            changes=_first_changes([change for one in watched for change in one.changes]),
            longest=tuple(one.longest for one in watched),
        )

    def judge(self, seen: Seen[Molecule], case: Case) -> Finding:
        """Fail a bond that broke or formed, and a trajectory that broke off."""
        own, gates = seen.own, case.settings.gates
        broken = [one.broke for one in own.each if one.broke]
        measures = [
            limited("bonds that broke or formed", "", len(own.changes), (None, gates.bonds_changed), "bonds_changed"),
            limited("trajectories that broke off", "", len(broken), (None, gates.broken_off), "broken_off"),
        ]
        stretched = max((max(one) for one in own.longest if one), default=0.0)
        first = f"; the first {_words(own.changes[0])}" if own.changes else ""
        off = f"; {broken[0].sentence()}" if broken else ""
        length = max(one.times_fs[-1] if one.times_fs else 0.0 for one in own.each)
        said = (
            f"{own.bonds} bonds, {len(own.each)} trajectories of {length:.0f} fs at {own.temperature_K:g} K: "
            f"{len(own.changes)} broke or formed{first}; the most stretched was {100 * stretched:.0f} % longer{off}"
        )
        return self.finding(case, measures, said, remedy=REMEDY)

    def to_label(self, seen: Seen[Molecule], case: Case) -> Sequence[Atoms]:
        """Return the frames where a bond first broke or formed, and the last of what broke off."""
        broken = [frame for one in seen.own.each if one.broke for frame in one.last]
        return [frame.atoms() for frame in (*(change.frame for change in seen.own.changes), *broken)]

    def figures(self, seen: Seen[Molecule], case: Case) -> Sequence[Block]:
        """Draw the most stretched bond by time."""
        plot = empty_figure()
        for seed, (one, longest) in enumerate(zip(seen.own.each, seen.own.longest, strict=True)):
            line = {"color": style(seed)["colour"]}
            percent = [100 * value for value in longest]
            plot.add_scatter(x=one.times_fs[: len(percent)], y=percent, mode="lines", line=line, name=f"seed {seed}")
        plot.update_xaxes(title_text="time (fs)")
        plot.update_yaxes(title_text="most stretched bond (% longer)")
        add_legend(plot)
        drawing = Drawing(f"bonds-{case.own.name}", plot, "the most stretched bond by time", "curve")
        return [Plots([Plot(f"{case.own.name}: bonds at {seen.own.temperature_K:g} K", [drawing])])]


REMEDY = (
    "label the frames in to-label, and stretched and compressed bonds of this molecule; foundations trained "
    "on crystals have seen few molecules"
)


class _Watched(Frozen):
    trajectory: Trajectory
    changes: tuple[BondChange, ...]
    longest: tuple[float, ...]


def _first_changes(changes: Sequence[BondChange]) -> tuple[BondChange, ...]:
    """Return the first change of each pair of atoms: a bond that breaks in two trajectories is one that breaks."""
    first: dict[tuple[int, int], BondChange] = {}
    for change in sorted(changes, key=lambda one: one.time_fs):
        first.setdefault(change.atoms, change)
    return tuple(first.values())


def bonds_of(atoms: Atoms) -> Array:
    """Return (n_pairs,) which pairs of atoms are bonded: 0-1, 0-2 to the last, then 1-2 and on."""
    return np.asarray(_lengths(atoms) < BONDED * _radii(atoms))


def _lengths(atoms: Atoms) -> Array:
    """(n_pairs,) distances in Å; a molecule may reach across the faces of its box."""
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    return np.asarray(distances[np.triu_indices(len(atoms), 1)], dtype=float)


def _radii(atoms: Atoms) -> Array:
    """(n_pairs,) sums of covalent radii in Å."""
    i, j = np.triu_indices(len(atoms), 1)
    radii = covalent_radii[atoms.numbers]
    return np.asarray(radii[i] + radii[j], dtype=float)


def _watched(atoms: Atoms, rest: Atoms, subject: Subject, temperature_K: float, seed: int) -> _Watched:
    bonded, radii, start = bonds_of(atoms), _radii(atoms), _lengths(atoms)
    i, j = np.triu_indices(len(atoms), 1)
    changes: dict[int, BondChange] = {}
    longest: list[float] = []

    def watch(now: Atoms, time_fs: float) -> None:
        lengths = _lengths(now)
        longest.append(float((lengths / start)[bonded].max()) - 1)
        for pair in np.flatnonzero(np.where(bonded, lengths > BROKEN * start, lengths < FORMED * radii)):
            what = "broke" if bonded[pair] else "formed"
            change = BondChange(what=what, atoms=(int(i[pair]), int(j[pair])), time_fs=time_fs, frame=Geometry.of(now))
            changes.setdefault(int(pair), change)

    motion = Motion(
        ensemble="nvt",
        temperature_K=temperature_K,
        steps=STEPS,
        timestep_fs=timestep_fs(atoms),
        every=EVERY,
        seed=seed,
    )
    trajectory = simulate(thermal(rest, subject, temperature_K, seed), subject.calculator(), motion, watch)
    return _Watched(trajectory=trajectory, changes=tuple(changes.values()), longest=tuple(longest))


def _words(change: BondChange) -> str:
    symbols = change.frame.atoms().symbols
    names = "-".join(f"{symbols[k]}{k}" for k in change.atoms)
    return f"{names} {change.what} after {change.time_fs:.0f} fs"
