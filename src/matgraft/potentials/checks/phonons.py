"""Phonons: frequencies by finite displacements in a supercell, by phonopy.

The relaxed primitive cell is repeated until each edge is 9.5 Å long. phonopy displaces as few atoms as symmetry leaves,
and all displaced cells are predicted together. Forces of the cell without a displacement are taken off, and the force
constants are made symmetric and blind to translations. What is judged are the modes that fit into the supercell: no
interpolation has a part in them. The bands are for the eye.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go
from ase import Atoms
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points
from phonopy.structure.atoms import PhonopyAtoms

from matgraft.core.errors import RunError
from matgraft.core.findings import Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import FORCES, Array
from matgraft.core.report.document import Block, Drawing, Key, Plot, Plots
from matgraft.core.report.figures import COLOURS, empty_figure
from matgraft.potentials.checks.gates import source
from matgraft.potentials.checks.physical import (
    FOUNDATION,
    Case,
    PhysicalCheck,
    ReferenceChoice,
    Seen,
    compared,
    failing_measures,
    no_worse,
)
from matgraft.potentials.checks.relaxation import FORCES_FIRST, force_left
from matgraft.potentials.data.cells import volume
from matgraft.potentials.simulation.geometry import Geometry, primitive_of
from matgraft.potentials.simulation.relax import Relaxed, relaxed_crystal
from matgraft.potentials.simulation.subject import Subject

EDGE_A = 9.5
"""Å of the shortest edge of a supercell: twice the reach of most force constants; 54 atoms for silicon."""
DISPLACEMENT_A = 0.02
"""Twice phonopy's own, for the noise of single precision; thermal displacements are some 0.1 Å."""
LABEL_DISPLACEMENT_A = 0.05
"""Of the cells to label: forces of some 0.5 eV/Å."""
MOST_ATOMS = 60_000
"""In all displaced cells together: some ten minutes for CHGNet on one core."""
MOST_PRIMITIVE = 200
"""Atoms of a primitive cell: with more, it would take above 60,000 in most crystals."""
POINTS = 120
"""Of the path through the Brillouin zone."""


class Bands(Frozen):
    """Frequencies along a path.

    Attributes
    ----------
    at, frequencies_THz
        (p,) Å⁻¹ along the path, and (p, 3n), imaginary ones negative; two equal `at` are a jump.
    ticks, labels
        Where the special points lie, and their names.
    """

    at: tuple[float, ...]
    frequencies_THz: tuple[tuple[float, ...], ...]
    ticks: tuple[float, ...]
    labels: tuple[str, ...]


class Phonons(Frozen):
    """Phonons of a crystal; imaginary frequencies are negative.

    Attributes
    ----------
    relaxed
        How the crystal was relaxed.
    start
        The primitive cell: the relaxed one or, where the relaxation did not converge, the given one.
    repeats
        Of the primitive cell in the supercell.
    displaced
        Number of displaced cells.
    lowest_THz, lowest_at
        Over the modes that fit into the supercell, with its wave vector in reciprocal cell vectors.
    highest_THz, mean_THz
        Over the same modes.
    optical_THz
        Highest frequency at the zone's centre, without the splitting of polar crystals; None for one atom.
    bands
        Along the standard path.
    """

    relaxed: Relaxed
    start: Geometry
    repeats: tuple[int, int, int]
    displaced: int
    lowest_THz: float
    lowest_at: tuple[float, float, float]
    highest_THz: float
    mean_THz: float
    optical_THz: float | None
    bands: Bands

    @property
    def frequencies(self) -> dict[str, tuple[str, float]]:
        """What is compared: name of the reference -> words and THz."""
        found = {
            "max_frequency_THz": ("highest frequency", self.highest_THz),
            "mean_frequency_THz": ("mean frequency", self.mean_THz),
        }
        if self.optical_THz is not None:
            found["optical_THz"] = ("highest frequency at the zone's centre", self.optical_THz)
        return found


class PhononsCheck(PhysicalCheck[Phonons]):
    """No new imaginary mode, and the frequencies."""

    code, title, observation = "phonons", "Phonons", Phonons
    gates_uses = frozenset({"phonons"})
    suite = "crystal"
    cost = 150

    def why_not(self, subject: Subject, case: Case) -> str:
        """Return also whether the cell is too large."""
        if reason := super().why_not(subject, case):
            return reason
        cell = primitive_of(case.own.atoms)
        if len(cell) > MOST_PRIMITIVE:
            return f"the primitive cell has {len(cell)} atoms; phonons are taken of cells with up to {MOST_PRIMITIVE}"
        repeats = repeats_of(cell, cell)
        size = len(cell) * int(np.prod(repeats))
        if 6 * len(cell) * size <= MOST_ATOMS:  # without any symmetry
            return ""
        count = len(_displaced(cell, repeats, DISPLACEMENT_A)[1]) * size
        return f"the displaced cells have {count:,} atoms, more than {MOST_ATOMS:,}" if count > MOST_ATOMS else ""

    def observe(self, subject: Subject, case: Case) -> Phonons:
        """Displace atoms of the relaxed crystal, and diagonalise."""
        relaxed = relaxed_crystal(subject, case.own.atoms)
        start = primitive_of(relaxed.geometry.atoms() if relaxed.converged else case.own.atoms)
        repeats = repeats_of(start, case.own.atoms)
        phonon, displaced = _displaced(start, repeats, DISPLACEMENT_A)
        rest, *forces = (one[FORCES.name] for one in subject.evaluate([_atoms(phonon.supercell), *displaced]))
        if not np.isfinite(forces).all():
            raise RunError("a force in a displaced cell is not finite")
        phonon.forces = [one - rest for one in forces]
        phonon.produce_force_constants(show_drift=False)
        phonon.symmetrize_force_constants(show_drift=False)
        frequencies = _at(phonon, fitting := get_commensurate_points(np.diag(repeats)))
        lowest = int(frequencies.min(axis=1).argmin())
        centre = _at(phonon, np.zeros((1, 3)))
        return Phonons(
            relaxed=relaxed,
            start=Geometry.of(start),
            repeats=repeats,
            displaced=len(displaced),
            lowest_THz=float(frequencies.min()),
            lowest_at=tuple(fitting[lowest].tolist()),
            highest_THz=float(frequencies.max()),
            mean_THz=float(frequencies.mean()),
            optical_THz=float(centre.max()) if len(start) > 1 else None,
            bands=_bands(phonon, start),
        )

    def judge(self, seen: Seen[Phonons], case: Case) -> Finding:
        """Look for new imaginary modes, and hold frequencies against references or the foundation."""
        lowest = _lowest(seen, case)
        measures = [force_left(seen.own.relaxed), lowest, *_frequencies(seen, case)]
        remedy = (
            "the frequencies are off: label the displaced cells in to-label, and give forces more weight"
            if lowest.passes
            else "the crystal is not stable: label the displaced cells in to-label, and frames along the "
            "imaginary mode; where your DFT has the mode too, say so by min_frequency_THz in the references"
        )
        return self.finding(
            case, measures, _evidence(seen, case) + failing_measures(measures), remedy=remedy, actions=[FORCES_FIRST]
        )

    def to_label(self, seen: Seen[Phonons], case: Case) -> Sequence[Atoms]:
        """Return displaced supercells, with forces large enough for a label."""
        return _displaced(seen.own.start.atoms(), seen.own.repeats, LABEL_DISPLACEMENT_A)[1]

    def figures(self, seen: Seen[Phonons], case: Case) -> Sequence[Block]:
        """Draw the bands of model and foundation, and the frequencies of the reference."""
        plot, own = empty_figure(), seen.own.bands
        keys = [Key("model", COLOURS["tuned"])]
        if seen.foundation is not None and seen.foundation.bands.labels == own.labels:
            theirs = seen.foundation.bands
            _draw(plot, theirs, own.at[-1] / theirs.at[-1], "untuned", "foundation")
            keys.append(Key("foundation", COLOURS["untuned"]))
        _draw(plot, own, 1.0, "tuned", "model")
        names = {"optical_THz": "optical, zone centre", "max_frequency_THz": "highest"}
        for key, name in names.items():
            if (reference := case.reference(key)) is not None:
                line = {"color": COLOURS["shift"], "width": 1.5, "dash": "dot"}
                ends, level = [0, own.at[-1]], [reference.value] * 2
                plot.add_scatter(x=ends, y=level, mode="lines", line=line, hoverinfo="skip")
                keys.append(Key(f"reference: {name}", COLOURS["shift"]))
        plot.update_xaxes(tickvals=own.ticks, ticktext=own.labels, showgrid=True, range=[0, own.at[-1]])
        plot.update_yaxes(title_text="frequency (THz), imaginary below 0", nticks=7, zeroline=True)
        drawing = Drawing(f"{self.code}-{case.own.name}", plot, "phonon frequency by wave vector", "curve")
        return [Plots([Plot(f"Phonons of {case.own.name}", [drawing])], keys)]


def repeats_of(cell: Atoms, given: Atoms) -> tuple[int, int, int]:
    """Return how often a primitive cell is repeated, at the volume that the given structure has.

    Model and foundation relax to lengths that differ by a per cent, and shall have the same supercell.
    """
    scale = np.cbrt(volume(given) / len(given) * len(cell) / volume(cell))
    a, b, c = (int(np.ceil(EDGE_A / (length * scale))) for length in cell.cell.lengths())
    return a, b, c


def _displaced(cell: Atoms, repeats: Sequence[int], distance_A: float) -> tuple[Phonopy, list[Atoms]]:
    """Return phonopy with the fewest displacements, and the displaced cells."""
    unit = PhonopyAtoms(numbers=cell.numbers, cell=cell.cell[:], scaled_positions=cell.get_scaled_positions())
    phonon = Phonopy(unit, supercell_matrix=np.diag(repeats), primitive_matrix="P", log_level=0)
    phonon.generate_displacements(distance=distance_A)
    return phonon, [_atoms(one) for one in phonon.supercells_with_displacements or ()]


def _atoms(cell: PhonopyAtoms) -> Atoms:
    return Atoms(cell.numbers, scaled_positions=cell.scaled_positions, cell=cell.cell, pbc=True)


def _at(phonon: Phonopy, wave_vectors: Array) -> Array:
    """Return frequencies (q, 3n) in THz, imaginary ones negative."""
    phonon.run_qpoints(wave_vectors)
    assert phonon.qpoints is not None
    return np.array(phonon.qpoints.frequencies)


def _bands(phonon: Phonopy, cell: Atoms) -> Bands:
    path = cell.cell.bandpath(npoints=POINTS)
    at, places, names = path.get_linear_kpoint_axis()
    ticks: dict[float, str] = {}
    for place, name in zip(places.tolist(), names, strict=True):  # two points at one place: the path jumps
        ticks[place] = f"{ticks[place]}|{name}" if place in ticks else str(name)
    return Bands.model_validate(
        {
            "at": at.tolist(),
            "frequencies_THz": _at(phonon, path.kpts).tolist(),
            "ticks": list(ticks),
            "labels": [label.replace("G", "Γ") for label in ticks.values()],
        }
    )


def _lowest(seen: Seen[Phonons], case: Case) -> Measure:
    measure = Measure(
        name="lowest frequency",
        unit="THz",
        value=seen.own.lowest_THz,
        allowed=(-case.settings.gates.imaginary_THz, None),
        gate=source("imaginary_THz"),
    )
    if (known := case.reference("min_frequency_THz")) is not None:
        return no_worse(measure, known.value, known.source)
    return no_worse(measure, seen.foundation.lowest_THz if seen.foundation else None)


def _frequencies(seen: Seen[Phonons], case: Case) -> Iterator[Measure]:
    theirs = seen.foundation.frequencies if seen.foundation else {}
    for key, (name, value) in seen.own.frequencies.items():
        other = theirs[key][1] if key in theirs else None
        yield compared(name, "THz", value, ReferenceChoice(case.reference(key), other), "frequency", case)


def _evidence(seen: Seen[Phonons], case: Case) -> str:
    own, gate = seen.own, case.settings.gates.imaginary_THz
    where = ", ".join(f"{value:g}" for value in np.round(own.lowest_at, 3))
    imaginary = own.lowest_THz < -gate
    said = f"imaginary mode of {abs(own.lowest_THz):.2f}i THz at ({where})" if imaginary else "no imaginary mode"
    if imaginary and seen.foundation is not None and seen.foundation.lowest_THz < -gate:
        said += f", {abs(seen.foundation.lowest_THz):.2f}i THz in {FOUNDATION}"
    optical = "" if own.optical_THz is None else f", {own.optical_THz:.2f} THz at most at the zone's centre"
    cell = "x".join(map(str, own.repeats))
    begun = "" if own.relaxed.converged else "; in the given cell, since the relaxation did not converge"
    return f"{said}; highest {own.highest_THz:.2f}, mean {own.mean_THz:.2f} THz{optical}; {cell} cells{begun}"


def _draw(plot: go.Figure, bands: Bands, stretch: float, colour: str, name: str) -> None:
    """Add all bands as one line that breaks between bands and at jumps of the path."""
    at, frequencies = stretch * np.array(bands.at), np.array(bands.frequencies_THz)
    jumps = np.flatnonzero(np.diff(at) == 0) + 1
    x, y = (
        [*np.insert(at, jumps, np.nan), np.nan],
        [[*np.insert(band, jumps, np.nan), np.nan] for band in frequencies.T],
    )
    line, hover = {"color": COLOURS[colour], "width": 1.5}, f"{name} %{{y:.2f}} THz<extra></extra>"
    plot.add_scatter(x=x * len(y), y=np.concatenate(y), mode="lines", line=line, hovertemplate=hover)
