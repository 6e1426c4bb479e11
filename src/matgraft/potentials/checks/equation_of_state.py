"""Equation of state: energy by volume, its one minimum and bulk modulus, and whether stresses are its derivatives.

The relaxed crystal is scaled to eleven volumes and keeps its shape; atoms relax wherever symmetry lets them move.
A Birch-Murnaghan curve of third order is fitted to the energies. It is a cubic polynomial in y = (V0 / V)^(2/3) - 1
(F. Birch, Phys. Rev. 71, 809 (1947)):

    E - E0 = 9 V0 B0 / 16 (2 y² + (B0' - 4) y³)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go
from ase import Atoms, units
from numpy.polynomial import Polynomial
from scipy.interpolate import CubicSpline

from matgraft.core.errors import RunError
from matgraft.core.findings import Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import STRESS, Array
from matgraft.core.report.document import Block, Drawing, Key, Plot, Plots
from matgraft.core.report.figures import COLOURS, empty_figure
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
from matgraft.potentials.checks.relaxation import REHEARSE, STIFFEN, force_left
from matgraft.potentials.data.cells import volume
from matgraft.potentials.simulation.deform import scaled
from matgraft.potentials.simulation.geometry import Geometry, primitive_of
from matgraft.potentials.simulation.relax import Relaxed, relax, relaxed_crystal
from matgraft.potentials.simulation.subject import Subject

RATIOS = tuple(float(ratio) for ratio in np.round(np.linspace(0.92, 1.08, 11), 3))
"""Of the volume; a length by 2.7 %."""


class BirchMurnaghan(Frozen):
    """A curve.

    Attributes
    ----------
    volume_A3
        V0 per atom.
    bulk_modulus_GPa, derivative
        B0, and B0' without a unit.
    """

    volume_A3: float
    bulk_modulus_GPa: float
    derivative: float

    def energy_eV(self, volumes_A3: Array) -> Array:
        """Return the energy per atom above the minimum."""
        y = (self.volume_A3 / volumes_A3) ** (2 / 3) - 1
        scale = 9 * self.volume_A3 * self.bulk_modulus_GPa * units.GPa / 16
        return np.asarray(scale * (2 * y**2 + (self.derivative - 4) * y**3))


class EquationOfState(Frozen):
    """Energies and pressures by volume.

    Attributes
    ----------
    relaxed
        How the crystal was relaxed.
    start
        The cell that was scaled: the relaxed one or, where the relaxation did not converge, the given one.
    volumes_A3, energies_eV
        Per atom, ascending in volume.
    pressures_GPa
        Minus a third of the trace of the stress; empty where the model predicts none.
    """

    relaxed: Relaxed
    start: Geometry
    volumes_A3: tuple[float, ...]
    energies_eV: tuple[float, ...]
    pressures_GPa: tuple[float, ...] = ()

    @property
    def by_energy(self) -> BirchMurnaghan | None:
        """The curve of the energies; None where it has no minimum."""
        return fit_energies(np.array(self.volumes_A3), np.array(self.energies_eV))

    @property
    def work_share(self) -> float | None:
        """The work of the pressures between the volumes over the energy differences; None without pressures.

        It is 1 where stresses are derivatives of the energy. An integral bears the ripples that networks have at the
        edge of their cutoff; a second derivative does not.
        """
        if not self.pressures_GPa:
            return None
        volumes, energies = np.array(self.volumes_A3), np.array(self.energies_eV)
        work = -units.GPa * CubicSpline(volumes, self.pressures_GPa).antiderivative()(volumes)
        return float(np.polynomial.polynomial.polyfit(energies - energies.mean(), work, 1)[1])

    @property
    def fall_meV(self) -> float:
        """The most that the energy falls, meV/atom, in the direction away from its lowest point: 0 for one minimum."""
        energies = 1000 * np.array(self.energies_eV)
        lowest = int(np.argmin(energies))
        sides = (energies[lowest::-1], energies[lowest:])
        return float(max((np.maximum.accumulate(side) - side).max() for side in sides))

    @property
    def residual(self) -> float | None:
        """Root mean square from the curve of the energies, as a part of their range."""
        curve, energies = self.by_energy, np.array(self.energies_eV)
        if curve is None:
            return None
        off = energies - curve.energy_eV(np.array(self.volumes_A3))
        return float(off.std() / np.ptp(energies))


class EquationOfStateCheck(PhysicalCheck[EquationOfState]):
    """One minimum, its bulk modulus, and the agreement of energies with stresses."""

    code, title, observation = "equation-of-state", "Equation of state", EquationOfState
    gates_uses = frozenset({"relax", "elastic"})
    cost = 60

    def observe(self, subject: Subject, case: Case) -> EquationOfState:
        """Scale the relaxed crystal."""
        relaxed = relaxed_crystal(subject, case.own.atoms)
        start = relaxed.geometry.atoms() if relaxed.converged else primitive_of(case.own.atoms)
        ends = relax(subject, [scaled(start, ratio) for ratio in RATIOS])
        if not np.isfinite([one.energy_eV for one in ends]).all():
            raise RunError("the energy of a scaled cell is not finite")
        cells = [one.geometry.atoms() for one in ends]
        found = subject.evaluate(cells) if STRESS.name in subject.quantities else []
        return EquationOfState(
            relaxed=relaxed,
            start=Geometry.of(start),
            volumes_A3=tuple(volume(cell) / len(cell) for cell in cells),
            energies_eV=tuple(one.energy_eV / len(start) for one in ends),
            pressures_GPa=tuple(float(-np.trace(one[STRESS.name]) / 3 / units.GPa) for one in found),
        )

    def judge(self, seen: Seen[EquationOfState], case: Case) -> Finding:
        """Hold the curve against references, foundation and the model's own stresses."""
        measures = [force_left(seen.own.relaxed), *_shape(seen, case), *_moduli(seen, case)]
        failed = {one.name for one in measures if not one.passes}
        soft = failed <= {"B0", "B0'"}
        remedy = (
            "the stiffness is off: add strained frames with labels of stress, and give stress more weight"
            if soft
            else "the energy is not smooth in the volume, or the stresses are not its derivatives: label the scaled "
            "cells in to-label, and see whether the labels of stress have the right sign and unit"
        )
        return self.finding(
            case,
            measures,
            _evidence(seen.own) + failing_measures(measures),
            remedy=remedy,
            actions=[STIFFEN] if soft else [REHEARSE],
        )

    def to_label(self, seen: Seen[EquationOfState], case: Case) -> Sequence[Atoms]:
        """Return every second of the scaled cells."""
        return [scaled(seen.own.start.atoms(), ratio) for ratio in RATIOS[::2]]

    def figures(self, seen: Seen[EquationOfState], case: Case) -> Sequence[Block]:
        """Draw energies by volume: model, foundation and the curve of the reference in one."""
        plot = empty_figure()
        keys = [Key("model", COLOURS["tuned"])]
        _draw(plot, seen.own, "tuned", "model")
        if seen.foundation is not None:
            _draw(plot, seen.foundation, "untuned", "foundation")
            keys.append(Key("foundation", COLOURS["untuned"]))
        if (reference := _reference_curve(seen.own, case)) is not None:
            at = np.linspace(seen.own.volumes_A3[0], seen.own.volumes_A3[-1], 61)
            line = {"color": COLOURS["shift"], "width": 1.5, "dash": "dot"}
            plot.add_scatter(x=at, y=1000 * reference.energy_eV(at), mode="lines", line=line, hoverinfo="skip")
            keys.append(Key("reference, from B0 and the volume", COLOURS["shift"]))
        plot.update_xaxes(title_text="volume (Å³/atom)", nticks=6)
        plot.update_yaxes(title_text="energy (meV/atom)", nticks=6, rangemode="tozero")
        drawing = Drawing(f"{self.code}-{case.own.name}", plot, "energy by volume", "curve")
        return [Plots([Plot(f"Equation of state of {case.own.name}", [drawing])], keys)]


def fit_energies(volumes_A3: Array, energies_eV: Array) -> BirchMurnaghan | None:
    """Fit a curve to energies per atom; None where it has no minimum."""
    energy = Polynomial.fit(volumes_A3 ** (-2 / 3), energies_eV, 3).convert()
    bend = energy.deriv(2)
    roots = np.atleast_1d(energy.deriv().roots()).astype(complex)
    minima = [float(x.real) for x in roots if abs(x.imag) < 1e-12 and x.real > 0 and float(bend(x.real)) > 0]
    if not minima:
        return None
    x = minima[0]
    square, cube = float(bend(x)) * x**2 / 2, float(energy.deriv(3)(x)) * x**3 / 6
    volume_A3 = x**-1.5
    modulus = 8 * square / (9 * volume_A3) / units.GPa
    return BirchMurnaghan(volume_A3=volume_A3, bulk_modulus_GPa=modulus, derivative=4 + 2 * cube / square)


def _shape(seen: Seen[EquationOfState], case: Case) -> Iterator[Measure]:
    """Return what the curve must be, whatever the crystal: one minimum where stress is zero, smooth."""
    own, theirs, gates = seen.own, seen.foundation, case.settings.gates
    fall = Measure(
        name="fall of the energy away from its minimum",
        unit="meV/atom",
        value=own.fall_meV,
        allowed=(None, gates.eos_rise_meV),
        gate=source("eos_rise_meV"),
    )
    yield no_worse(fall, theirs.fall_meV if theirs else None)
    residual = Measure(
        name="distance from a Birch-Murnaghan curve over the range of the energy",
        unit="",
        value=own.residual,
        allowed=(None, gates.eos_residual),
        gate=source("eos_residual"),
    )
    yield no_worse(residual, theirs.residual if theirs else None)
    start = own.start.atoms()
    ratio = own.by_energy.volume_A3 * len(start) / volume(start) if own.by_energy else None
    width = gates.eos_volume if own.relaxed.converged else 0.08
    yield Measure(
        name="volume of lowest energy over the relaxed one",
        unit="",
        value=ratio,
        allowed=(1 - width, 1 + width),
        gate=source("eos_volume"),
    )


def _moduli(seen: Seen[EquationOfState], case: Case) -> Iterator[Measure]:
    """Return B0 and B0' against references, and B0 against that of the pressures."""
    own, theirs = seen.own.by_energy, seen.foundation.by_energy if seen.foundation else None
    if own is None:
        return
    against = ReferenceChoice(case.reference("B0_GPa"), theirs.bulk_modulus_GPa if theirs else None)
    yield compared("B0", "GPa", own.bulk_modulus_GPa, against, "bulk_modulus", case)
    against = ReferenceChoice(case.reference("B0_prime"), theirs.derivative if theirs else None)
    yield compared("B0'", "", own.derivative, against, "bulk_derivative", case, relative=False)
    if (share := seen.own.work_share) is not None:
        gate = case.settings.gates.stress_work
        name, within = "work of the stresses over differences of the energy", (1 - gate, 1 + gate)
        yield Measure(name=name, unit="", value=share, allowed=within, gate=source("stress_work"))


def _evidence(seen: EquationOfState) -> str:
    curve, share = seen.by_energy, seen.work_share
    if curve is None:
        return f"the energy has no minimum within {100 * (RATIOS[-1] - 1):.0f} % of the volume"
    begun = "" if seen.relaxed.converged else "; around the given cell, since the relaxation did not converge"
    stresses = "" if share is None else f"; the work of the stresses is {share:.3f} of the energy"
    modulus = f"B0 {curve.bulk_modulus_GPa:.1f} GPa, B0' {curve.derivative:.2f}"
    return f"{modulus}, V0 {curve.volume_A3:.2f} Å³/atom{stresses}{begun}"


def _draw(plot: go.Figure, seen: EquationOfState, colour: str, name: str) -> None:
    """Add energies above their lowest, with the curve fitted to them."""
    volumes, energies = np.array(seen.volumes_A3), np.array(seen.energies_eV)
    curve = seen.by_energy
    zero = float((energies - curve.energy_eV(volumes)).mean()) if curve else float(energies.min())
    line, hover = {"color": COLOURS[colour], "width": 2}, f"{name} %{{y:.1f}} meV/atom at %{{x:.2f}} Å³<extra></extra>"
    marker = {"size": 6, "color": COLOURS[colour]}
    plot.add_scatter(x=volumes, y=1000 * (energies - zero), mode="markers", marker=marker, hovertemplate=hover)
    if curve:
        at = np.linspace(volumes[0], volumes[-1], 61)
        plot.add_scatter(x=at, y=1000 * curve.energy_eV(at), mode="lines", line=line, hoverinfo="skip")


def _reference_curve(seen: EquationOfState, case: Case) -> BirchMurnaghan | None:
    """Return the curve of the user's DFT, where B0 and the volume are known; B0' is 4 where it is not."""
    modulus, at = case.reference("B0_GPa"), case.reference("volume_A3_per_atom")
    if modulus is None or at is None:
        return None
    derivative = case.reference("B0_prime")
    return BirchMurnaghan(
        volume_A3=at.value, bulk_modulus_GPa=modulus.value, derivative=derivative.value if derivative else 4.0
    )
