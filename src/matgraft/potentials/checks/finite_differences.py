"""Forces and stress against central differences of the energy.

Along a direction d the force is compared with the slope of the energy, by differences of fourth order at four points:

    -F.d = (8 [E(h) - E(-h)] - [E(2h) - E(-2h)]) / 12h

1. A cell of about eight atoms or more is strained by up to 2 %, and its atoms are moved by 0.05 Å, so that no force and
   no stress is zero by symmetry.
2. `DIRECTIONS` random directions move all atoms at once. Of a bulk cell the six components of strain are varied too.
3. The scatter of the energy about a smooth curve is measured. The step is the smallest at which it makes the difference
   uncertain by `WANTED`: some networks have surfaces so rough that steps of 0.01 Å miss their slope by percents. The
   uncertainty is allowed on top of the limit, up to that of single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypedDict

import numpy as np
from ase import Atoms, units

from matgraft.core.errors import RunError
from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, FORCES, STRESS, VOIGT, Array
from matgraft.core.report.document import Block, Drawing, Plot, Plots
from matgraft.core.report.figures import COLOURS, empty_figure
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen, limited
from matgraft.potentials.checks.settings import EVERY_USE
from matgraft.potentials.checks.structures import EVERY_KIND
from matgraft.potentials.simulation.geometry import Geometry
from matgraft.potentials.simulation.probes import distorted, energy_noise
from matgraft.potentials.simulation.subject import Subject

DIRECTIONS = 8
WANTED = (1e-3, 0.02 * units.GPa)
"""Uncertainty of a slope, eV/Å and eV/Å³, that the steps aim at: what relaxations and elastic constants do not feel."""
STEPS_A, STRAINS = (5e-4, 0.015), (2e-4, 4e-3)
"""Smallest and largest step of a coordinate and of a strain."""
ROUNDING_EV = 1e-5
"""Largest uncertainty of the energy per atom that is allowed for: what single precision leaves of some 100 eV."""
POINTS, WEIGHTS = np.array([-2, -1, 1, 2]), np.array([1, -8, 8, -1]) / 12
SURE = 3 * float(np.linalg.norm(WEIGHTS))
"""Three standard deviations of a difference, by that of an energy."""
SEED = 5


class Slopes(Frozen):
    """What is seen.

    Attributes
    ----------
    structure
        What was looked at.
    forces, force_slopes
        (n_directions,) eV/Å: component of the forces along each direction of unit length, and minus the slope of the
        energy.
    stress, stress_slopes
        (6,) eV/Å³ in ASE's order; empty for a structure or a model without.
    force_rms, stress_rms
        Root mean square of all components, eV/Å and eV/Å³.
    force_rounding, stress_rounding
        What rounding of the energy does to a slope.
    """

    structure: Geometry
    forces: tuple[float, ...]
    force_slopes: tuple[float, ...]
    force_rms: float
    force_rounding: float
    stress: tuple[float, ...] = ()
    stress_slopes: tuple[float, ...] = ()
    stress_rms: float = 0.0
    stress_rounding: float = 0.0


class FiniteDifferencesCheck(PhysicalCheck[Slopes]):
    """Hold forces and stress against differences of the energy."""

    code, title, observation = "finite-differences", "Forces and stress are the gradient of the energy", Slopes
    kinds = EVERY_KIND
    gates_uses = EVERY_USE
    cost = 100
    beside_foundation: ClassVar[bool] = False

    def why_not(self, subject: Subject, case: Case) -> str:
        """Return why it does not apply: the force on a single atom is zero, whatever the energy."""
        return super().why_not(subject, case) or ("a single atom has no force" if case.own.lone else "")

    def observe(self, subject: Subject, case: Case) -> Slopes:
        """Evaluate displaced and strained copies in one batch each."""
        bulk = case.own.kind == "bulk"
        atoms = distorted(case.own.atoms, SEED, strained=bulk)
        noise = energy_noise(atoms, subject, SEED)
        forces = _forces(atoms, subject, noise)
        stress = _stress(atoms, subject, noise) if bulk and STRESS.name in subject.quantities else _StressSlopes()
        return Slopes(structure=Geometry.of(atoms), **forces, **stress)

    def judge(self, seen: Seen[Slopes], case: Case) -> Finding:
        """Fail where the differences are larger than rounding."""
        own, gates = seen.own, case.settings.gates
        limit = gates.force_gradient * own.force_rms + own.force_rounding
        error = _rms(np.subtract(own.force_slopes, own.forces))
        measures = [limited("forces against differences", "eV/Å", error, (None, limit), "force_gradient")]
        factor = _scale(own.forces, own.force_slopes)
        said = [f"forces differ from differences of the energy by {error:.2g} eV/Å of {own.force_rms:.2g}{factor}"]
        if own.stress:
            scale = 1 / units.GPa
            limit = (gates.stress_gradient * own.stress_rms + own.stress_rounding) * scale
            error = _rms(np.subtract(own.stress_slopes, own.stress)) * scale
            measures.append(limited("stress against differences", "GPa", error, (None, limit), "stress_gradient"))
            said.append(
                f"stress by {error:.2g} GPa of {own.stress_rms * scale:.2g}{_scale(own.stress, own.stress_slopes)}"
            )
        return self.finding(case, measures, ", ".join(said), remedy=REMEDY)

    def figures(self, seen: Seen[Slopes], case: Case) -> Sequence[Block]:
        """Draw forces and stress against the differences."""
        own = seen.own
        plots = [_parity(f"forces-{case.own.name}", "force along a direction", "eV/Å", own.force_slopes, own.forces)]
        if own.stress:
            pressures = (np.divide(one, units.GPa).tolist() for one in (own.stress_slopes, own.stress))
            plots.append(_parity(f"stress-{case.own.name}", "stress", "GPa", *pressures))
        return [Plots(plots)]


REMEDY = (
    "the model's forces or stress are not the gradient of its energy: relaxations, phonons and dynamics go wrong. Look "
    "at the unit and sign of the stress, at forces that are scaled or come from a readout of their own, and at the "
    "precision (single, not half)"
)


class _ForceSlopes(TypedDict):
    """Fields of `Slopes` that are of forces."""

    forces: tuple[float, ...]
    force_slopes: tuple[float, ...]
    force_rms: float
    force_rounding: float


class _StressSlopes(TypedDict, total=False):
    """Fields of `Slopes` that are of the stress; none for a model without."""

    stress: tuple[float, ...]
    stress_slopes: tuple[float, ...]
    stress_rms: float
    stress_rounding: float


def _forces(atoms: Atoms, subject: Subject, noise: float) -> _ForceSlopes:
    random = np.random.default_rng(SEED + 1)
    directions = random.standard_normal((DIRECTIONS, len(atoms), 3))
    directions /= np.linalg.norm(directions, axis=(1, 2), keepdims=True)
    length = float(np.sqrt(3 * len(atoms)))
    step = length * float(np.clip(SURE * noise / WANTED[0] / length, *STEPS_A))
    images = [atoms.copy()]
    for direction in directions:
        for point in POINTS:
            images.append(atoms.copy())
            images[-1].positions += point * step * direction
    first, *others = subject.evaluate(images)
    forces = np.asarray(first[FORCES.name])
    slopes = -_slopes([float(one[ENERGY.name]) for one in others], step)
    along = (directions * forces).sum(axis=(1, 2))
    _refuse_not_finite(slopes, along)
    return {
        "forces": tuple(along.tolist()),
        "force_slopes": tuple(slopes.tolist()),
        "force_rms": _rms(forces),
        "force_rounding": SURE * min(noise, ROUNDING_EV * len(atoms)) / step,
    }


def _stress(atoms: Atoms, subject: Subject, noise: float) -> _StressSlopes:
    volume = float(atoms.get_volume())
    step = float(np.clip(SURE * noise / WANTED[1] / volume, *STRAINS))
    images = [atoms.copy()]
    for k in range(len(VOIGT)):
        i, j = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[k]
        for point in POINTS:
            strain = np.zeros((3, 3))
            strain[i, j] += point * step / 2
            strain[j, i] += point * step / 2
            images.append(atoms.copy())
            images[-1].set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    first, *others = subject.evaluate(images)
    if STRESS.name not in first:
        return {}
    full = np.asarray(first[STRESS.name])
    stress = full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    slopes = _slopes([float(one[ENERGY.name]) for one in others], step) / volume
    _refuse_not_finite(slopes, stress)
    return {
        "stress": tuple(stress.tolist()),
        "stress_slopes": tuple(slopes.tolist()),
        "stress_rms": _rms(stress),
        "stress_rounding": SURE * min(noise, ROUNDING_EV * len(atoms)) / step / volume,
    }


def _slopes(energies: Sequence[float], step: float) -> Array:
    """Return (n,) slopes from energies at `POINTS` along n directions."""
    return np.asarray(np.reshape(energies, (-1, len(POINTS))) @ WEIGHTS / step, dtype=float)


def _refuse_not_finite(*values: Array) -> None:
    if not all(np.isfinite(one).all() for one in values):
        raise RunError("energies, forces or stress of a distorted cell are not finite")


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _scale(predicted: Sequence[float], slopes: Sequence[float]) -> str:
    """Say by which factor predictions differ from slopes, where one factor explains most of the difference."""
    seen, true = np.asarray(predicted), np.asarray(slopes)
    factor = float(seen @ true / (true @ true)) if true.any() else 1.0
    explained = abs(factor - 1) > 0.02 and _rms(seen - factor * true) < 0.5 * _rms(seen - true)
    return f": {factor:.2f} times the gradient" if explained else ""


def _parity(name: str, what: str, unit: str, slopes: Sequence[float], predicted: Sequence[float]) -> Plot:
    plot = empty_figure()
    ends = [min(*slopes, *predicted), max(*slopes, *predicted)]
    plot.add_scatter(x=ends, y=ends, mode="lines", line={"color": COLOURS["untuned"], "width": 1}, name="equal")
    plot.add_scatter(
        x=list(slopes), y=list(predicted), mode="markers", marker={"color": COLOURS["tuned"]}, name="model"
    )
    plot.update_xaxes(title_text=f"difference of the energy ({unit})")
    plot.update_yaxes(title_text=f"model ({unit})")
    return Plot(what.capitalize(), [Drawing(f"differences-{name}", plot, f"{what} against differences", "parity")])
