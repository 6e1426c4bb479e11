"""Molecular dynamics by ASE's integrators, watched step by step: it stops where a frame is no longer physical.

    start = thermal(box_of_motion(at_rest(atoms, subject)), subject, temperature_K=600, seed=0)
    seen = simulate(start, subject.calculator(), Motion(ensemble="nvt", temperature_K=600, steps=400, timestep_fs=2))
    seen.broke            # None, or what happened and when

| ensemble | integrator                                                                                     |
| -------- | ---------------------------------------------------------------------------------------------- |
| nve      | velocity Verlet                                                                                |
| nvt      | Langevin, BAOAB (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013)), 100 fs           |
| npt      | the same with a Langevin-Hoover piston on the volume (Quigley and Probert, J. Chem. Phys. 120, 11432 (2004)), at a pressure; the shape of the cell is kept |

A ramp moves the temperature of the bath linearly in time.
"""  # noqa: E501 - one row of a table

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray
from pydantic import Field

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array
from matgraft.potentials.data.geometry import SLAB_A, closest_pair, vacuum
from matgraft.potentials.data.sense import UNITS_MAY_CURE, nonsense
from matgraft.potentials.simulation.geometry import Geometry
from matgraft.potentials.simulation.relax import relax
from matgraft.potentials.simulation.subject import Subject

Ensemble = Literal["nve", "nvt", "npt"]

FASTEST_FS, SLOWEST_FS = 0.5, 2.0
"""Timesteps: 0.5 fs follows the stretching of bonds to hydrogen (period some 9 fs) with 18 steps; other elements move
slower by the square root of their mass. Beyond 2 fs the hardest phonons of solids are no longer followed."""
FEWEST_ATOMS, MOST_ATOMS = 30, 70
"""Of a supercell: enough that one atom does not meet its own image, few enough for minutes on one core."""
FRICTION_FS = 100.0
"""Time constant of the thermostat: a few periods of a phonon."""
PISTON_FS = 200.0
"""Period of the volume in a solid of `STIFFNESS`, and time constant of its friction."""
STIFFNESS = 100 * units.GPa
"""Bulk modulus that the mass of the piston is made for. In a softer solid the volume moves slower, by the root."""
COLLAPSED = 0.5
"""Two atoms closer than half the sum of their covalent radii have collapsed: the bonds of no molecule or solid come
near it (the shortest, N2 and CO, have 0.77 of the sum; thermal motion shortens a bond by some 15 %)."""
TOO_HOT = 4.0
"""Times the temperature asked for, beyond chance, where a trajectory with a thermostat has exploded."""
MADE_KT = 3.0
"""kT an atom, all that a solid has, by which the total energy may change without a thermostat."""
LAST_FRAMES = 3
"""frames up to the last that are kept for labels where a trajectory breaks."""
REST_EV_PER_A, REST_STEPS = 0.05, 60
"""Largest force that is left before a start, and most steps to get there: kT at room temperature is far above it."""
WIDTH_A = 0.05
"""Å of the displacements that tell how stiff a structure is."""


class Break(Frozen):
    """Where a trajectory stopped being physical.

    Attributes
    ----------
    what
        ``"collapse"``: two atoms nearer than `COLLAPSED` of the sum of their covalent radii; ``"heat"``: a temperature
        that is no fluctuation of the one asked for, or a total energy that has changed by `MADE_KT`; ``"numbers"``:
        energy or forces are not finite; ``"refused"``: the model raised an error on the frame.
    time_fs
        When.
    value
        The ratio, or the temperature in K; None where there is none.
    said
        What the model said where it refused the frame.
    """

    what: Literal["collapse", "heat", "numbers", "refused"]
    time_fs: float
    value: float | None = None
    said: str = ""

    def sentence(self) -> str:
        """Say it."""
        after = f"after {self.time_fs:.0f} fs"
        if self.what == "collapse":
            return f"{after} two atoms were at {self.value:.2f} of the sum of their covalent radii"
        if self.what == "heat":
            return f"{after} the temperature was {self.value:.0f} K"
        if self.what == "numbers":
            return f"{after} energy or forces were not finite"
        return f"{after} the model refused the frame: {self.said}"


class Motion(Frozen):
    """How atoms are moved.

    Attributes
    ----------
    ensemble
        See the module's table.
    temperature_K
        Of the thermostat, and what temperatures are held against; of a ramp that at the start.
    final_temperature_K
        That at the end of a ramp; None for one temperature.
    pressure_GPa
        Of the piston.
    steps, timestep_fs
        Length.
    every
        Steps between two values that are kept.
    seed
        Of the thermostat.
    """

    ensemble: Ensemble
    temperature_K: float = Field(gt=0)
    final_temperature_K: float | None = Field(None, gt=0)
    pressure_GPa: float = 0.0
    steps: int = Field(ge=1)
    timestep_fs: float = Field(gt=0)
    every: int = Field(1, ge=1)
    seed: int = 0

    def bath_K(self, step: int) -> float:
        """Return the temperature that is wanted at a step."""
        if self.final_temperature_K is None:
            return self.temperature_K
        return self.temperature_K + (self.final_temperature_K - self.temperature_K) * step / self.steps


class Trajectory(Frozen):
    """What was seen of a trajectory; the lists have one value each `Motion.every` steps, the first at the start.

    Attributes
    ----------
    n_atoms
        Number of atoms.
    times_fs
        (n,)
    potential_eV, kinetic_eV
        (n,) of all atoms together.
    temperature_K
        (n,) from the kinetic energy, 3 n_atoms degrees of freedom.
    closest
        (n,) smallest distance over the sum of the covalent radii; 2 where no pair is nearer than 0.8 of it.
    volume_A3
        (n,) of the cell; 0 without one.
    broke
        None where all went well.
    last
        The last frames, the last of all at the end.
    """

    n_atoms: int
    times_fs: list[float]
    potential_eV: list[float]
    kinetic_eV: list[float]
    temperature_K: list[float]
    closest: list[float]
    volume_A3: list[float]
    broke: Break | None = None
    last: tuple[Geometry, ...] = ()

    @property
    def energy_eV(self) -> Array:
        """(n,) potential and kinetic energy of all atoms."""
        return np.add(self.potential_eV, self.kinetic_eV)


def timestep_fs(atoms: Atoms) -> float:
    """Return the timestep in fs that follows the lightest element: 0.5 for hydrogen, at most 2."""
    lightest = float(atoms.get_masses().min())
    return float(np.clip(FASTEST_FS * np.sqrt(lightest / 1.008), FASTEST_FS, SLOWEST_FS))


def box_of_motion(atoms: Atoms, most: int = MOST_ATOMS) -> Atoms:
    """Return the supercell that is widest in every direction with at most so many atoms; vacuum is not repeated.

    A structure with more atoms than that, and a molecule, stay as they are.
    """
    repeats = vacuum(atoms) <= SLAB_A
    largest = most // len(atoms)
    if not repeats.any() or largest < 2:
        return atoms.copy()
    tried = [range(1, largest + 1) if along else range(1, 2) for along in repeats]
    counts = [(a, b, c) for a in tried[0] for b in tried[1] for c in tried[2] if a * b * c <= largest]
    heights = np.where(repeats, _heights(atoms), np.inf)
    best = max(counts, key=lambda count: (round(float((heights * count).min()), 3), -int(np.prod(count))))
    return atoms.repeat(_grown(best, repeats, heights, max(FEWEST_ATOMS // len(atoms), 1), largest))


def at_rest(atoms: Atoms, subject: Subject) -> Atoms:
    """Return the atoms where the model has them at rest, in the given cell; as they are where no rest is near.

    A start uphill turns into heat that no one asked for.
    """
    try:
        (found,) = relax(subject, [atoms], fmax=REST_EV_PER_A, steps=REST_STEPS)
    except Exception:  # whatever a calculator raises where a descent has led: dynamics will tell
        return atoms.copy()
    return found.geometry.atoms() if found.converged else atoms.copy()


def thermal(atoms: Atoms, subject: Subject, temperature_K: float, seed: int) -> Atoms:
    """Return the atoms with displacements and velocities of a temperature.

    Random displacements are scaled so that they cost 3/2 kT an atom, as in a harmonic solid: a trajectory that starts
    from the perfect structure first loses half of its kinetic energy. Momenta add up to zero.
    """
    random = np.random.default_rng(seed)
    moved = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell[:], pbc=atoms.pbc)
    pattern = random.standard_normal((len(atoms), 3))
    pattern -= pattern.mean(axis=0)
    images = [moved.copy() for _ in range(3)]
    for image, amount in zip(images, (0.0, WIDTH_A, -WIDTH_A), strict=True):
        image.positions += amount * pattern
    middle, plus, minus = (float(found["energy"]) for found in subject.evaluate(images))
    stiffness = (plus + minus - 2 * middle) / WIDTH_A**2
    wanted = 3 * (len(atoms) - 1) * units.kB * temperature_K
    width = np.sqrt(wanted / stiffness) if stiffness > 0 else WIDTH_A
    moved.positions += min(width, _largest_move(atoms)) * pattern
    return moving(moved, temperature_K, random)


def moving(atoms: Atoms, temperature_K: float, random: np.random.Generator) -> Atoms:
    """Return the atoms with Maxwell-Boltzmann velocities of exactly a temperature; momenta add up to zero."""
    moved = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell[:], pbc=atoms.pbc)
    masses = moved.get_masses()[:, None]
    momenta = np.sqrt(masses) * random.standard_normal((len(moved), 3))
    momenta -= masses * momenta.sum(axis=0) / masses.sum()
    wanted = 1.5 * (len(moved) - 1) * units.kB * temperature_K
    moved.set_momenta(momenta * np.sqrt(wanted / (momenta**2 / 2 / masses).sum()))
    return moved


def simulate(
    start: Atoms, calculator: BaseCalculator, motion: Motion, each: Callable[[Atoms, float], bool | None] | None = None
) -> Trajectory:
    """Move atoms and watch them.

    Parameters
    ----------
    start
        With velocities (`thermal`); it is not changed.
    each
        Called with the atoms and the time in fs whenever values are kept; where it returns True, the trajectory ends.
    """
    atoms = start.copy()
    atoms.calc = calculator
    times: list[float] = []
    rows: list[tuple[float, float, float, float, float]] = []
    last: deque[Atoms] = deque(maxlen=LAST_FRAMES)
    broke: Break | None = None
    done = 0
    try:
        integrator = _integrator(atoms, motion)
        while broke is None:
            times.append(done * motion.timestep_fs)
            found = _values(atoms)
            broke = _broken(found, rows[0] if rows else found, motion, len(atoms), done)
            if broke is not None and broke.what == "numbers":
                times.pop()
                break
            rows.append(found)
            last.append(atoms.copy())
            ended = each is not None and each(atoms, times[-1])
            if ended or done >= motion.steps:
                break
            for _ in range(min(motion.every, motion.steps - done)):
                if motion.final_temperature_K is not None and isinstance(integrator, LangevinBAOAB):
                    integrator.set_temperature(motion.bath_K(done))
                integrator.step()
                done += 1
    except Exception as error:  # whatever a calculator raises where atoms have come apart
        broke = Break(what="refused", time_fs=(done + 1) * motion.timestep_fs, said=first_line(error))
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(5)]
    names = ("potential_eV", "kinetic_eV", "temperature_K", "closest", "volume_A3")
    kept = dict(zip(names, columns, strict=True))
    return Trajectory(
        n_atoms=len(atoms), times_fs=times[: len(rows)], **kept, broke=broke, last=tuple(map(Geometry.of, last))
    )


def first_line(error: Exception) -> str:
    """Return what an error says, or its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _integrator(atoms: Atoms, motion: Motion) -> VelocityVerlet | LangevinBAOAB:
    step = motion.timestep_fs * units.fs
    if motion.ensemble == "nve":
        return VelocityVerlet(atoms, step)
    random = np.random.default_rng(motion.seed)
    bath = {"temperature_K": motion.temperature_K, "T_tau": FRICTION_FS * units.fs, "rng": random}
    if motion.ensemble == "nvt":
        return LangevinBAOAB(atoms, step, **bath)
    period = PISTON_FS * units.fs
    mass = 9 * STIFFNESS * atoms.get_volume() * (period / 2 / np.pi) ** 2  # W x'' = -9 B V x, V = V0 exp(3 x)
    stress = 0.0 - motion.pressure_GPa * units.GPa
    return LangevinBAOAB(atoms, step, externalstress=stress, hydrostatic=True, P_tau=period, P_mass=mass, **bath)


def _values(atoms: Atoms) -> tuple[float, float, float, float, float]:
    """Return potential and kinetic energy, temperature, closest pair and volume; NaN where a force is not finite."""
    finite = np.isfinite(atoms.get_forces()).all()
    potential = float(atoms.get_potential_energy()) if finite else np.nan
    kinetic = float(atoms.get_kinetic_energy())
    closest = min(_closest(atoms), 2.0) if finite else np.nan
    return potential, kinetic, kinetic / (1.5 * len(atoms) * units.kB), closest, float(atoms.cell.volume)


def _closest(atoms: Atoms) -> float:
    """Return the closest pair by its covalent radii: 0 where atoms coincide, NaN where no structure is left."""
    why = nonsense(atoms)
    if why is None:
        return closest_pair(atoms)[0]
    return 0.0 if why.kind in UNITS_MAY_CURE else float("nan")


def _broken(
    found: tuple[float, ...], first: tuple[float, ...], motion: Motion, n_atoms: int, step: int
) -> Break | None:
    time_fs = step * motion.timestep_fs
    if not np.isfinite(found).all():
        return Break(what="numbers", time_fs=time_fs)
    if found[3] < COLLAPSED:
        return Break(what="collapse", time_fs=time_fs, value=found[3])
    if motion.ensemble == "nve":
        hot = abs(sum(found[:2]) - sum(first[:2])) > MADE_KT * n_atoms * units.kB * motion.temperature_K
    else:
        chance = 1 + 6 * np.sqrt(2 / (3 * n_atoms))  # six standard deviations of a temperature
        hot = found[2] > max(TOO_HOT, float(chance)) * motion.bath_K(step)
    if hot:
        return Break(what="heat", time_fs=time_fs, value=found[2])
    return None


def _heights(atoms: Atoms) -> Array:
    """(3,) Å between the faces of the cell; infinite without a vector."""
    cell = atoms.cell.complete()[:]
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return np.where(np.linalg.norm(atoms.cell[:], axis=1) > 0, heights, np.inf)


def _grown(
    count: tuple[int, ...], repeats: NDArray[np.bool_], heights: Array, least: int, most: int
) -> tuple[int, ...]:
    """Repeat the shortest direction further until there are enough atoms, while there are not too many."""
    grown = np.array(count)
    while np.prod(grown) < least:
        shortest = int(np.argmin(np.where(repeats, heights * grown, np.inf)))
        if np.prod(grown) // grown[shortest] * (grown[shortest] + 1) > most:
            break
        grown[shortest] += 1
    return tuple(int(number) for number in grown)


def _largest_move(atoms: Atoms) -> float:
    """Å that displacements may have on average along an axis: a tenth of the shortest distance."""
    distance = closest_pair(atoms, scope=3.0)[1]
    return 0.1 * distance if np.isfinite(distance) else 2 * WIDTH_A
