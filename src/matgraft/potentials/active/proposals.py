"""Frames that fill what a training set lacks: made from its own crystals, as `matgraft sample --make` makes them.

No model is asked. Temperatures are therefore displacements of a solid of medium stiffness, `AT_300_K`; where there is a
model, walkers of `matgraft sample` are the better frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice

import numpy as np
from ase import Atoms

from matgraft.potentials.active.demands import Kind, Lack
from matgraft.potentials.active.sampling.makers import MADE, MadeStructure, Material
from matgraft.potentials.active.sampling.plausible import Bounds, StartFrames
from matgraft.potentials.active.sampling.prototypes import BINARIES, ELEMENTS, distorted_supercell, prototype
from matgraft.potentials.active.sampling.rattle import rattled
from matgraft.potentials.active.sampling.sampled import PoolFrame
from matgraft.potentials.active.sampling.settings import Maker, SampleSettings
from matgraft.potentials.checks.structures import Structure
from matgraft.potentials.simulation.deform import scaled
from matgraft.potentials.simulation.dynamics import box_of_motion
from matgraft.potentials.simulation.geometry import Geometry, primitive_of, symmetry_of

AT_300_K = 0.08
"""Å along an axis at 300 K: silicon (0.076) and copper (0.083) by their Debye-Waller factors."""
SMALL_A = (0.01, 0.02, 0.03)
DENSE = 0.85
SAME_A = 0.05
"""Å within which a crystal shows the space group of a prototype."""
SPARE = 4
"""Times the frames that are lacking that may be made, since some are not plausible."""
Rng = np.random.Generator
Frames = Iterator[tuple[Maker, MadeStructure]]


def propose_frames(
    lacks: Sequence[Lack], structures: Sequence[Structure], material: Material, seed: int = 0
) -> tuple[list[Lack], list[PoolFrame]]:
    """Propose frames for what is lacking; each kind once, where several uses lack it.

    Returns
    -------
    lacks, frames
        The lacks with how many frames were proposed for each: fewer than wanted where no crystal can be made so.
    """
    crystals = [one for one in structures if one.kind == "bulk"]
    frames: list[PoolFrame] = []
    told: list[Lack] = []
    done: dict[tuple[Kind, float | None], int] = {}
    for number, lack in enumerate(lacks):
        key = (lack.kind, lack.wanted_K)
        if key not in done:
            rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
            found = list(islice(_by_turns(lack, crystals, material, rng), lack.needed - lack.found))
            frames += found
            done[key] = len(found)
        told.append(lack.model_copy(update={"proposed": done[key]}))
    return told, frames


def _by_turns(lack: Lack, crystals: Sequence[Structure], material: Material, rng: Rng) -> Iterator[PoolFrame]:
    """Yield plausible frames of one kind, from one crystal after another, until none has more."""
    if lack.kind not in MAKE:
        return
    open_ = [(one, MAKE[lack.kind](one, lack, material, rng)) for one in crystals]
    while open_:
        for one, made in list(open_):
            frame = _next(one, made)
            if frame is None:
                open_.remove((one, made))
            else:
                yield frame


def _next(structure: Structure, made: Frames) -> PoolFrame | None:
    """Return the next plausible frame; None where there is no more."""
    for maker, one in made:
        if Bounds().why_not_shape(one.atoms, StartFrames()) is None:
            return PoolFrame(geometry=Geometry.of(one.atoms), kind=maker, origin=one.origin, structure=structure.name)
    return None


def _of(maker: Maker, **given: object) -> Callable[[Structure, Lack, Material, Rng], Frames]:
    """Return what makes frames as `matgraft sample` does, with these settings, and some to spare."""

    def make(structure: Structure, lack: Lack, material: Material, rng: Rng) -> Frames:
        settings = SampleSettings.model_validate({"make": (maker,), "count": SPARE * lack.needed, **given})
        return ((maker, one) for one in MADE[maker](structure, material, settings, rng))

    return make


def _at_temperature(structure: Structure, lack: Lack, material: Material, rng: Rng) -> Frames:
    assert lack.wanted_K is not None
    width = min(1.0, AT_300_K * float(np.sqrt(lack.wanted_K / 300)))
    box = box_of_motion(structure.atoms)
    for ratio in islice(cycle((1.0, 1.02, 0.98)), lack.needed):
        made = rattled(scaled(box, ratio), width, rng)
        yield "rattle", MadeStructure(made, f"rattle of {lack.wanted_K:g} K, {width:.2f} Å")


def _colliding(structure: Structure, lack: Lack, material: Material, rng: Rng) -> Frames:
    box = scaled(box_of_motion(structure.atoms), DENSE)
    for _ in range(lack.needed):
        yield "rattle", MadeStructure(rattled(box, 0.3, rng, kept=0.7), f"rattle 0.3 Å at {DENSE:g} of the volume")


def _at_rest(structure: Structure, lack: Lack, material: Material, rng: Rng) -> Frames:
    cell = primitive_of(structure.atoms)
    for ratio in islice((1.0, 0.99, 1.01, 0.98, 1.02), lack.needed):
        yield "strain", MadeStructure(scaled(cell, ratio), f"crystal at {ratio:g} of its volume")


def _other_phases(structure: Structure, lack: Lack, material: Material, rng: Rng) -> Frames:
    """Yield prototypes of the composition that the crystal itself is not, at rest and distorted."""
    elements = tuple(dict.fromkeys(str(symbol) for symbol in structure.atoms.symbols))
    names = ELEMENTS if len(elements) == 1 else BINARIES if len(elements) == 2 else ()
    for name in names:
        either = (prototype(name, order, material.bond) for order in (elements, elements[::-1]))
        fitting = (one for one in either if one.get_chemical_formula(empirical=True) == structure.formula)
        atoms = next(fitting, None)  # where both fit, of AB, they are one crystal
        if atoms is not None and _crystal(atoms) != _crystal(structure.atoms):
            yield "prototype", MadeStructure(atoms, f"prototype {name} {structure.formula}")
            yield (
                "prototype",
                MadeStructure(distorted_supercell(atoms, 0.05, rng), f"prototype {name} {structure.formula}"),
            )


def _crystal(atoms: Atoms) -> tuple[int, int]:
    """Return the space group, and the atoms of the primitive cell: what tells prototypes apart."""
    return symmetry_of(atoms, SAME_A).number, len(primitive_of(atoms))


MAKE: Mapping[Kind, Callable[[Structure, Lack, Material, Rng], Frames]] = {
    "bulk": _at_rest,
    "relaxed": _at_rest,
    "displaced": _of("rattle", rattle_A=SMALL_A),
    "compressed": _of("strain", volumes=(0.95, 0.92, 0.9, 0.87, 0.85), strains=()),
    "expanded": _of("strain", volumes=(1.05, 1.08, 1.1, 1.12, 1.15), strains=()),
    "sheared": _of("strain", volumes=(), strains=(0.02, 0.04, 0.03)),
    "cold": _at_temperature,
    "hot": _at_temperature,
    "close": _colliding,
    "vacancy": _of("vacancy"),
    "interstitial": _of("interstitial"),
    "surface": _of("surface"),
    "phases": _other_phases,
}
"""Kind -> what makes frames of it; of labels and molecules nothing does."""
