"""Structure in motion: radial distribution and mean square displacement, beside trajectories among the labelled frames.

1. Frames of the same composition, kind, number of atoms and tagged temperature are a reference trajectory: the group
   with the most frames, at least `FEWEST_FRAMES`.
2. Langevin dynamics at that temperature starts from its first frame, in its cell; the first quarter is left out.
3. The distances of each pair of elements up to `REACH_A` are counted. The overlap error is the part of the pairs that
   lies at other distances than in the frames: half the area between two normalised distributions.
4. The mean square displacement is that about mean positions. It needs no time between frames, but frames over more
   than a period of the vibrations: where either half of them shows clearly less of it, or where atoms leave their
   sites, as in a melt, it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from pydantic import JsonValue

from matgraft.core.errors import RunError
from matgraft.core.findings import Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array
from matgraft.core.report.document import Block, Drawing, Plot, Plots
from matgraft.core.report.figures import COLOURS, add_legend, empty_figure
from matgraft.potentials.checks.gates import source
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen, structure_hash
from matgraft.potentials.checks.settings import Suite
from matgraft.potentials.checks.structures import kind_of_structure
from matgraft.potentials.checks.thermostat import LEFT_OUT
from matgraft.potentials.data.conditions import values
from matgraft.potentials.data.geometry import neighbours_within
from matgraft.potentials.simulation.dynamics import Break, Motion, moving, simulate, timestep_fs
from matgraft.potentials.simulation.geometry import Geometry
from matgraft.potentials.simulation.subject import Subject

FEWEST_FRAMES, MOST_FRAMES = 10, 100
REACH_A, BIN_A = 6.0, 0.1
STEPS, EVERY = 600, 5
WHOLE = 0.75
"""Part of the mean square displacement that the halves of a trajectory must have, each about its own mean positions. A
harmonic oscillator has 0.25 of it over a small part of its period, some 0.6 over one period, and 1 over many."""
SITE_A2 = 1.0
"""Å² of mean square displacement beyond which atoms have left their sites."""
MOST_ELEMENTS = 3
SEED = 1
YOURS = "your frames"


class Distances(Frozen):
    """Pairs of two elements: the part of them in each bin, and g(r), of some frames."""

    pair: str
    parts: tuple[float, ...]
    rdf: tuple[float, ...]


class InMotion(Frozen):
    """What is seen.

    Attributes
    ----------
    temperature_K, n_frames, n_atoms
        Of the reference trajectory.
    model, frames
        Distances in the dynamics and in the reference frames, by pair of elements.
    halves
        Overlap error between the first and the second half of the reference frames, by pair of elements.
    model_msd_A2, frames_msd_A2
        Mean square displacement about mean positions; None where atoms leave their sites, or the time is too short.
    broke
        Where the dynamics broke off.
    last
        Its last frames.
    """

    temperature_K: float
    n_frames: int
    n_atoms: int
    model: tuple[Distances, ...]
    frames: tuple[Distances, ...]
    halves: tuple[float, ...]
    model_msd_A2: float | None
    frames_msd_A2: float | None
    broke: Break | None
    last: tuple[Geometry, ...]

    @property
    def errors(self) -> tuple[float, ...]:
        """Overlap error of each pair of elements, 0 to 1."""
        return tuple(overlap_error(a.parts, b.parts) for a, b in zip(self.model, self.frames, strict=True))


class StructureInMotionCheck(PhysicalCheck[InMotion]):
    """Hold distances and displacements in dynamics against labelled frames."""

    code, title, observation = "structure-in-motion", "Structure and vibrations in dynamics against frames", InMotion
    gates_uses = frozenset({"md"})
    suite: ClassVar[Suite] = "full"
    cost = 3000

    def why_not(self, subject: Subject, case: Case) -> str:
        """Return why it does not apply: there is no reference trajectory."""
        reason = super().why_not(subject, case)
        return reason or ("" if reference_of(case) else WITHOUT)

    def protocol(self, case: Case) -> Mapping[str, JsonValue]:
        """Return the reference trajectory."""
        found = reference_of(case)
        if found is None:
            return {}
        return {"temperature_K": found.temperature_K, "frames": [structure_hash(one) for one in found.frames]}

    def observe(self, subject: Subject, case: Case) -> InMotion:
        """Run the dynamics and count distances in both."""
        reference = reference_of(case)
        if reference is None:
            raise RunError(WITHOUT)
        seen: list[Atoms] = []
        start = moving(reference.frames[0], reference.temperature_K, np.random.default_rng(SEED))
        motion = Motion(
            ensemble="nvt",
            temperature_K=reference.temperature_K,
            steps=STEPS,
            timestep_fs=timestep_fs(start),
            every=EVERY,
            seed=SEED,
        )
        run = simulate(start, subject.calculator(), motion, lambda now, _: seen.append(now.copy()))
        kept = seen[len(seen) // LEFT_OUT :]
        middle = len(reference.frames) // 2
        halves = [distances(half) for half in (reference.frames[:middle], reference.frames[middle:])]
        return InMotion(
            temperature_K=reference.temperature_K,
            n_frames=len(reference.frames),
            n_atoms=len(start),
            model=distances(kept),
            frames=distances(reference.frames),
            halves=tuple(overlap_error(a.parts, b.parts) for a, b in zip(*halves, strict=True)),
            model_msd_A2=displacement(kept),
            frames_msd_A2=displacement(reference.frames),
            broke=run.broke,
            last=run.last,
        )

    def judge(self, seen: Seen[InMotion], case: Case) -> Finding:
        """Fail pairs at other distances than in the frames, and vibrations of another size."""
        own = seen.own
        said = [
            f"{own.n_atoms} atoms at {own.temperature_K:g} K beside {own.n_frames} of your frames",
            *(_pair_words(own, seen.foundation, k) for k in range(len(own.frames))),
            *([_msd_words(own)] if own.model_msd_A2 is not None else []),
            *([own.broke.sentence()] if own.broke else []),
        ]
        return self.finding(case, list(_measures(own, case)), "; ".join(said), remedy=REMEDY)

    def to_label(self, seen: Seen[InMotion], case: Case) -> Sequence[Atoms]:
        """Return the last frames of the dynamics."""
        return [frame.atoms() for frame in seen.own.last]

    def figures(self, seen: Seen[InMotion], case: Case) -> Sequence[Block]:
        """Draw g(r) of model, foundation and frames for each pair of elements."""
        plots = []
        for k, frames in enumerate(seen.own.frames):
            plot = empty_figure()
            lines = [("your frames", frames, "shift"), ("model", seen.own.model[k], "tuned")]
            lines += [("foundation", seen.foundation.model[k], "untuned")] if seen.foundation else []
            for name, one, colour in lines:
                places = (BIN_A * (np.arange(len(one.rdf)) + 0.5)).tolist()
                plot.add_scatter(x=places, y=one.rdf, mode="lines", line={"color": COLOURS[colour]}, name=name)
            plot.update_xaxes(title_text="distance (Å)")
            plot.update_yaxes(title_text="g(r)")
            add_legend(plot)
            drawing = Drawing(f"rdf-{case.own.name}-{frames.pair}", plot, f"g(r) of {frames.pair}", "curve")
            plots.append(Plot(f"{frames.pair} at {seen.own.temperature_K:g} K", [drawing]))
        return [Plots(plots)]


WITHOUT = f"no {FEWEST_FRAMES} labelled frames have this composition, one number of atoms and one temperature as a tag"
REMEDY = (
    "label the frames in to-label; frames of dynamics at this temperature, and a larger loss.forces, mend "
    "stiffness and order"
)


@dataclass(frozen=True)
class ReferenceTrajectory:
    """Labelled frames of one composition, number of atoms and temperature."""

    temperature_K: float
    frames: tuple[Atoms, ...]


def reference_of(case: Case) -> ReferenceTrajectory | None:
    """Return the reference trajectory of the structure in turn; None where there is none."""
    temperatures = values(case.frames, "temperature") if len(case.frames) else []
    shares = _shares(case.own.atoms.numbers)
    groups: dict[tuple[float, int], list[int]] = {}
    for i, (kelvin, numbers) in enumerate(zip(temperatures, case.frames.samples.numbers(), strict=True)):
        if isinstance(kelvin, float) and kelvin > 0 and _shares(numbers) == shares:
            groups.setdefault((kelvin, len(numbers)), []).append(i)
    for (kelvin, _), members in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(members) < FEWEST_FRAMES:
            return None
        chosen = [members[int(k)] for k in np.linspace(0, len(members) - 1, min(len(members), MOST_FRAMES))]
        frames = [case.frames[i].content for i in chosen]
        if kind_of_structure(frames[0]) == case.own.kind:
            return ReferenceTrajectory(kelvin, tuple(frames))
    return None


def _shares(numbers: NDArray[np.int64]) -> tuple[tuple[int, float], ...]:
    found, counts = np.unique(numbers, return_counts=True)
    return tuple((int(Z), round(float(count) / len(numbers), 6)) for Z, count in zip(found, counts, strict=True))


def distances(frames: Sequence[Atoms]) -> tuple[Distances, ...]:
    """Count the distances in frames, for each pair of up to three elements.

    g(r) is the count over that of evenly spread atoms, bins of `BIN_A` up to `REACH_A`.
    """
    elements = sorted(set(frames[0].numbers.tolist()))[:MOST_ELEMENTS]
    bins = np.arange(0, REACH_A + BIN_A / 2, BIN_A)
    shells = 4 / 3 * np.pi * np.diff(bins**3)
    pairs = list(combinations_with_replacement(elements, 2))
    counts = np.zeros((len(pairs), len(shells)))
    even = np.zeros((len(pairs), len(shells)))
    for atoms in frames:
        i, j, r = neighbours_within(REACH_A, atoms.positions, atoms.cell.complete()[:], atoms.pbc)
        Z = atoms.numbers
        for k, (one, other) in enumerate(pairs):
            counts[k] += np.histogram(r[(Z[i] == one) & (Z[j] == other)], bins)[0]
            even[k] += (one == Z).sum() * (other == Z).sum() / atoms.get_volume() * shells
    return tuple(
        Distances(
            pair="-".join(chemical_symbols[Z] for Z in pair),
            parts=tuple((counts[k] / max(counts[k].sum(), 1.0)).tolist()),
            rdf=tuple((counts[k] / even[k]).tolist()),
        )
        for k, pair in enumerate(pairs)
    )


def overlap_error(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the part, 0 to 1, of a normalised distribution that lies elsewhere than in another."""
    return float(np.abs(np.subtract(one, other)).sum() / 2)


def displacement(frames: Sequence[Atoms]) -> float | None:
    """Return the mean square displacement in Å² about mean positions.

    None where atoms leave their sites, and where the frames, in the order of time, are over too short a time.
    """
    first = frames[0]
    if len(frames) < FEWEST_FRAMES or any((one.numbers != first.numbers).any() for one in frames):
        return None
    cell = np.mean([one.cell[:] for one in frames], axis=0)
    start = first.get_scaled_positions(wrap=False)
    moves = np.stack([one.get_scaled_positions(wrap=False) - start for one in frames])
    moves -= np.round(moves)  # all directions of a bulk repeat
    moves = moves @ cell
    moves -= np.average(moves, axis=1, weights=first.get_masses())[:, None]
    found = _spread(moves)
    middle = len(moves) // 2
    within_halves = (_spread(moves[:middle]) + _spread(moves[middle:])) / 2
    return found if found < SITE_A2 and within_halves >= WHOLE * found else None


def _spread(moves: Array) -> float:
    """Return the mean square in Å² of displacements (n_frames, n, 3) about their means over the frames."""
    n_frames = len(moves)
    return float(((moves - moves.mean(axis=0)) ** 2).sum(axis=2).mean()) * n_frames / (n_frames - 1)


def _measures(own: InMotion, case: Case) -> Iterator[Measure]:
    gates = case.settings.gates
    for error, half, frames in zip(own.errors, own.halves, own.frames, strict=True):
        yield Measure(
            name=f"overlap error {frames.pair}",
            unit="",
            value=error,
            allowed=(None, gates.overlap + half),
            reference_from=YOURS,
            gate=source("overlap"),
        )
    if own.model_msd_A2 is not None and own.frames_msd_A2 is not None:
        ends = (own.frames_msd_A2 * (1 - gates.displacement), own.frames_msd_A2 * (1 + gates.displacement))
        yield Measure(
            name="mean square displacement",
            unit="Å²",
            value=own.model_msd_A2,
            allowed=ends,
            reference=own.frames_msd_A2,
            reference_from=YOURS,
            gate=source("displacement"),
        )
    if own.broke:
        allowed = (None, gates.broken_off)
        yield Measure(name="trajectories that broke off", unit="", value=1, allowed=allowed, gate=source("broken_off"))


def _pair_words(own: InMotion, foundation: InMotion | None, k: int) -> str:
    beside = f" (the foundation: {100 * foundation.errors[k]:.1f} %)" if foundation else ""
    return (
        f"{100 * own.errors[k]:.1f} % of the {own.frames[k].pair} pairs lie at other distances{beside}, "
        f"{100 * own.halves[k]:.1f} % between two halves of the frames"
    )


def _msd_words(own: InMotion) -> str:
    frames = f", in the frames {own.frames_msd_A2:.3f}" if own.frames_msd_A2 is not None else ""
    return f"mean square displacement {own.model_msd_A2:.3f} Å²{frames}"
