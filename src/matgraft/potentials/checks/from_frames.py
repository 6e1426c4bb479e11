"""References that labelled frames already hold: found, said, and used like with like.

    references, said = references_in(frames, structures)
    for one in properties_in(held_of(frames)):
        one.value(held_of(frames)), one.value(predictions_of_the_same_frames)

| property                        | frames that determine it                                                     |
| ------------------------------- | ---------------------------------------------------------------------------- |
| ``a_A``, ``volume_A3_per_atom`` | a crystal without force and stress; else the minimum of a curve of energies  |
| ``B0_GPa``                      | five or more cells of different volume, two on each side of the lowest       |
| ``B0_clamped_GPa``              | the same where ions feel a force: compared on the same frames alone          |
| ``C11_GPa``, ...                | cells strained by at most 3 % in both senses, with stress, ions relaxed      |
| ``C44_clamped_GPa``, ...        | the same where ions feel a force: compared on the same frames alone          |
| ``vacancy_eV``                  | a supercell of the crystal without one atom, relaxed; one element            |
| ``surface_111_J_per_m2``, ...   | a relaxed slab whose cell in the plane is the smallest one of the facet      |

A property that the frames do not determine is absent. A vacancy in a hot simulation, or a strained cell whose ions were
not relaxed, is no reference for a relaxed model: it is compared on the same frames, by the check ``frames``.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import spglib
from ase import Atoms, units
from ase.geometry import minkowski_reduce

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, FORCES, STRESS, Array, full_to_voigt
from matgraft.potentials.checks.equation_of_state import BirchMurnaghan, fit_energies
from matgraft.potentials.checks.references import Reference, References
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.geometry import SLAB_A, vacuum
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.simulation.deform import rotated
from matgraft.potentials.simulation.geometry import rotations_of, spglib_cell, symmetry_of

STILL_eV_per_A, LARGEST_eV_per_A = 0.05, 0.1
"""Root mean square and largest of the forces up to which ions are relaxed: energies of defects are then right to some
meV. Few atoms of a large cell feel a vacancy, so that the root mean square alone does not tell."""
STILL_BY_STRAIN_eV_per_A = 1.0
"""Root mean square of forces, by the size of a strain, up to which ions have followed it. Clamped ions of silicon feel
11 eV/Å: so a tenth of their relaxation is left, which makes 6 % of its C44."""
AT_REST_eV_per_A = 0.01
STRESS_FREE_GPa = 0.3
"""Largest component of stress of a crystal at rest: a length is off by 0.1 % where the bulk modulus is 100 GPa."""
SMALL_STRAIN, NO_STRAIN = 0.03, 2e-3
"""Largest principal strain that elastic constants are fitted to, and smallest; strains in both senses cancel what is
beyond linear, to some per cent at 0.03."""
ISOTROPIC = 2e-3
"""Difference of principal strains up to which a cell has only changed its volume."""
LARGEST_VOLUME = 0.15
FEWEST_VOLUMES = 5
SAME_CRYSTAL_A = 0.05
"""Å within which a crystal shows its symmetry: labelled crystals are relaxed to about that, and one tolerance counts
throughout, since the axes of elastic constants hang on the space group."""
SAME_SITE_A = 0.02
"""Å from its place in the strained cell up to which an ion is clamped."""
MOST_FRAMES = 20_000
"""Frames that are searched: the first ones."""
FACETS = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
_J_PER_M2 = units.m**2 / units.J

Kind = Literal["volume", "modulus", "elastic", "vacancy", "surface", "phase"]


@dataclass(frozen=True, eq=False)
class Held:
    """A frame with the labels, or the predictions, that it carries.

    Attributes
    ----------
    atoms
        Structure.
    energy
        eV.
    forces
        (n, 3) eV/Å.
    stress
        (3, 3) GPa, all of its components.
    """

    atoms: Atoms
    energy: float | None = None
    forces: Array | None = None
    stress: Array | None = None

    @classmethod
    def of(cls, sample: Sample, values: Mapping[str, Array] | None = None) -> Held:
        """Return a frame with its labels, or with other values of the same names."""
        values = sample.labels if values is None else values
        whole = STRESS.name in values and STRESS.name not in sample.components
        return cls(
            sample.content,
            float(values[ENERGY.name]) if ENERGY.name in values else None,
            values.get(FORCES.name),
            values[STRESS.name] * STRESS.report_scale if whole else None,
        )

    @property
    def force(self) -> float:
        """Root mean square of the forces; infinite where there are none."""
        return np.inf if self.forces is None else float(np.sqrt((self.forces**2).mean()))

    @property
    def is_still(self) -> bool:
        """True if ions are relaxed."""
        if self.forces is None:
            return False
        return self.force <= STILL_eV_per_A and float(np.linalg.norm(self.forces, axis=1).max()) <= LARGEST_eV_per_A

    @property
    def pressed(self) -> float:
        """Largest component of stress, GPa; infinite where there is none."""
        return np.inf if self.stress is None else float(np.abs(self.stress).max())

    @property
    def per_atom(self) -> float:
        """Energy per atom; infinite where there is none."""
        return np.inf if self.energy is None else self.energy / len(self.atoms)

    @property
    def formula(self) -> str:
        """Composition in lowest terms."""
        return str(self.atoms.get_chemical_formula(empirical=True))


class FrameProperty(Frozen):
    """A property that frames hold, so that it can be computed from their labels and from predictions alike.

    Attributes
    ----------
    kind
        How it is computed.
    name, unit
        Its key, such as ``"C11_GPa"``.
    formula
        Of the crystal.
    crystal
        Frame of the crystal that it belongs to.
    frames
        Frames that it is computed from, beside that of the crystal.
    relaxed
        True where it is comparable with a relaxed model.
    component
        Of the elastic tensor, Voigt's two indices from 0.
    """

    kind: Kind
    name: str
    unit: str
    formula: str
    crystal: int
    frames: tuple[int, ...]
    relaxed: bool = True
    component: tuple[int, int] = (0, 0)

    def value(self, held: Mapping[int, Held]) -> float | None:
        """Return the value from labels or predictions; None where it cannot be computed."""
        return _VALUES[self.kind](self, held)

    @property
    def said(self) -> str:
        """Where it comes from, in words."""
        return f"your frames ({_FROM[self.kind].format(len(self.frames))})"


_FROM: Mapping[Kind, str] = {
    "volume": "{} cells of different volume",
    "modulus": "{} cells of different volume",
    "elastic": "{} strained cells",
    "vacancy": "{} supercell without an atom",
    "surface": "{} slab",
    "phase": "{} crystal",
}


def references_in(frames: Dataset, structures: Sequence[Structure]) -> tuple[References, tuple[str, ...]]:
    """Return values that the frames determine, under the structures that they belong to, and what was found."""
    held = held_of(frames)
    found, crystals = properties_in(held), _crystals(held)
    references: dict[str, dict[str, Reference]] = {}
    for one in structures:
        values: dict[str, Reference] = {}
        for crystal in crystals:
            if one.kind == "bulk" and _same_crystal(one.atoms, held[crystal].atoms):
                own = [each for each in found if each.crystal == crystal and each.relaxed]
                values |= _at_rest(held[crystal])
                values |= {each.name: Reference(value=value, source=each.said) for each in own
                           if (value := each.value(held)) is not None}  # fmt: skip
                values |= _lattice_of_curve(values, held[crystal])
        if values:
            references[one.name] = values
    return references, tuple(_sentences(references))


def _sentences(references: References) -> Iterator[str]:
    for name, values in references.items():
        listed = ", ".join(f"{key} {one.value:.4g}" for key, one in values.items())
        yield f"your frames hold for {name}: {listed}"


def held_of(frames: Dataset) -> dict[int, Held]:
    """Return the labelled frames by position."""
    return {i: Held.of(sample) for i, sample in zip(range(MOST_FRAMES), frames, strict=False) if len(sample.content)}


# ------------------------------------------------------------------------------------------------ what is found


def properties_in(held: Mapping[int, Held]) -> list[FrameProperty]:
    """Return all properties that labelled frames hold, each once: that of the most frames counts.

    Of several vacancies, and of several slabs of one facet, that of the lowest energy counts, as in the checks.
    """
    found: dict[tuple[str, str, tuple[int, ...]], FrameProperty] = {}
    crystals = _crystals(held)
    for one in itertools.chain(
        _series(held, crystals), _vacancies(held, crystals), _surfaces(held, crystals), _phases(held, crystals)
    ):
        key = one.formula, one.name, one.frames if one.kind in ("surface", "phase") and "frame" in one.name else ()
        if key not in found or _counts_before(one, found[key], held):
            found[key] = one
    return list(found.values())


def _counts_before(one: FrameProperty, other: FrameProperty, held: Mapping[int, Held]) -> bool:
    if one.kind in ("vacancy", "surface"):
        return (one.value(held) or 0.0) < (other.value(held) or 0.0)
    return len(one.frames) > len(other.frames)


def _crystals(held: Mapping[int, Held]) -> dict[int, Held]:
    """Return crystals at rest, the lowest in energy of each formula and symmetry."""
    lowest: dict[tuple[str, int, int], int] = {}
    for i, one in held.items():
        if one.force > AT_REST_eV_per_A or one.energy is None or kind_of_structure(one.atoms) != "bulk":
            continue
        if one.stress is not None and one.pressed > STRESS_FREE_GPa:
            continue
        group = symmetry_of(one.atoms, SAME_CRYSTAL_A).number
        key = one.formula, group, len(_primitive_cell(one.atoms))
        if group > 1 and (key not in lowest or one.per_atom < held[lowest[key]].per_atom):
            lowest[key] = i
    found: dict[int, Held] = {}
    for i in sorted(lowest.values(), key=lambda i: held[i].per_atom):
        own = [one for one in found.values() if one.formula == held[i].formula]
        if not any(abs(_surplus(held[i].atoms, one.atoms) or 0) == 1 for one in own):  # a vacancy is no other crystal
            found[i] = held[i]
    return found


def _surplus(atoms: Atoms, crystal: Atoms) -> int | None:
    """Return how many more atoms a supercell has than a crystal of its cell; None where it is no supercell of it."""
    primitive = crystal if len(crystal) == 1 else _primitive_cell(crystal)
    times = atoms.cell[:] @ np.linalg.inv(primitive.cell[:])
    if np.abs(times - np.round(times)).max() >= 0.05:
        return None
    return len(atoms) - round(abs(np.linalg.det(times))) * len(primitive)


def _series(held: Mapping[int, Held], crystals: Mapping[int, Held]) -> Iterator[FrameProperty]:
    for crystal, start in crystals.items():
        strains = {i: found for i, one in held.items() if (found := _strain(start, one)) is not None}
        volumes = [i for i, (strain, _, _) in strains.items() if _is_isotropic(strain)]
        relaxed = [i for i in volumes if strains[i][2]]
        for frames in (relaxed, volumes) if relaxed != volumes else (relaxed,):
            if _spans(held, frames):
                yield from _curve_of(start.formula, crystal, frames, relaxed=frames is relaxed)
                break
        yield from _elastic(held, crystal, strains)


Strained = tuple[Array, Array, bool]
"""Stretch minus one (3, 3), rotation (3, 3), and whether ions are relaxed: in both senses of the word."""


def _strain(start: Held, one: Held) -> Strained | None:
    """Return how a frame is strained against a crystal; None where it is another structure, or its ions have moved."""
    if not np.array_equal(start.atoms.numbers, one.atoms.numbers) or not one.atoms.pbc.all():
        return None
    change = np.linalg.inv(start.atoms.cell[:]) @ one.atoms.cell[:]  # rows: x' = x change = x stretch rotation
    left, sizes, right = np.linalg.svd(change)
    if np.abs(sizes - 1).max() > LARGEST_VOLUME:
        return None
    stretch, rotation = left @ np.diag(sizes) @ left.T, left @ right
    moved = (one.atoms.get_scaled_positions() - start.atoms.get_scaled_positions() + 0.5) % 1 - 0.5
    moved = ((moved - moved[:1] + 0.5) % 1 - 0.5) @ one.atoms.cell[:]
    moved -= moved.mean(0)
    farthest, strain = float(np.linalg.norm(moved, axis=1).max()), stretch - np.eye(3)
    relaxed = _has_followed(one, strain) and farthest <= 0.3
    return (strain, rotation, relaxed) if farthest <= SAME_SITE_A or relaxed else None


def _has_followed(one: Held, strain: Array) -> bool:
    """Say whether ions are relaxed after a strain: a small strain moves them with a small force."""
    size = float(np.linalg.norm(strain))
    return one.is_still and one.force <= max(STILL_BY_STRAIN_eV_per_A * size, AT_REST_eV_per_A * (size <= NO_STRAIN))


def _is_isotropic(strain: Array) -> bool:
    return bool(np.ptp(np.linalg.eigvalsh(strain)) <= ISOTROPIC)


def _curve_of(formula: str, crystal: int, frames: Sequence[int], *, relaxed: bool) -> Iterator[FrameProperty]:
    """Yield bulk modulus and volume; the volume of lowest energy is that of the crystal, clamped ions or not."""
    modulus = FrameProperty(
        kind="modulus", name="B0_GPa" if relaxed else "B0_clamped_GPa", unit="GPa", formula=formula, crystal=crystal,
        frames=tuple(frames), relaxed=relaxed,
    )  # fmt: skip
    yield modulus
    volume_of = {"kind": "volume", "name": "volume_A3_per_atom", "unit": "Å³/atom", "relaxed": True}
    yield modulus.model_copy(update=volume_of)


def _spans(held: Mapping[int, Held], frames: Sequence[int]) -> bool:
    """Say whether energies at different volumes determine a curve: five of them, two on each side of the lowest."""
    pairs = sorted({round(volume(held[i].atoms) / len(held[i].atoms), 4): held[i].per_atom for i in frames}.items())
    energies = np.array([energy for _, energy in pairs])
    if len(pairs) < FEWEST_VOLUMES or not np.isfinite(energies).all():
        return False
    return 2 <= int(np.argmin(energies)) <= len(pairs) - 3


def _elastic(held: Mapping[int, Held], crystal: int, strains: Mapping[int, Strained]) -> Iterator[FrameProperty]:
    """Yield components that relaxed frames determine, then those that need frames with clamped ions."""
    usable = {i: found for i, found in strains.items() if held[i].stress is not None and _is_small(found[0])}
    known: set[tuple[int, int]] = set()
    told: dict[bool, list[float]] = {True: [], False: []}
    for relaxed in (True, False):
        chosen = _balanced({i: found for i, found in usable.items() if found[2] or not relaxed})
        if not chosen:
            continue
        tensor, determined = _tensor(held, crystal, chosen)
        for i, k in itertools.combinations_with_replacement(range(6), 2):
            if determined[i, k] and (i, k) not in known and abs(tensor[i, k]) > 1.0:
                known.add((i, k))
                if any(np.isclose(tensor[i, k], one, rtol=1e-4) for one in told[i == k]):
                    continue  # the same constant by symmetry
                told[i == k].append(float(tensor[i, k]))
                name = f"C{i + 1}{k + 1}{'' if relaxed else '_clamped'}_GPa"
                yield FrameProperty(
                    kind="elastic", name=name, unit="GPa", formula=held[crystal].formula, crystal=crystal,
                    frames=tuple(chosen), relaxed=relaxed, component=(i, k),
                )  # fmt: skip


def _is_small(strain: Array) -> bool:
    return bool(NO_STRAIN < np.abs(np.linalg.eigvalsh(strain)).max() <= SMALL_STRAIN)


def _balanced(strains: Mapping[int, Strained]) -> list[int]:
    """Return the frames whose strain is there in the opposite sense as well: together they are linear."""
    found = []
    for i, (strain, _, _) in strains.items():
        size = np.linalg.norm(strain)
        if any(np.linalg.norm(strain + other) < 0.2 * size for other, _, _ in strains.values()):
            found.append(i)
    return found


def _tensor(held: Mapping[int, Held], crystal: int, frames: Sequence[int]) -> tuple[Array, Array]:
    """Fit the elastic tensor (6, 6) in the standard axes; with it which components the strains determine."""
    start = held[crystal].atoms
    axes = _standard_axes(start)
    point_group = axes @ rotations_of(start, SAME_CRYSTAL_A) @ axes.T
    stresses = _stress(held[crystal])
    rows, values = [], []
    for i in frames:
        strain, turn, _ = _found(held[crystal], held[i])
        stress = turn @ _stress(held[i]) @ turn.T - stresses
        rows.append(full_to_voigt(rotated(axes @ strain @ axes.T, point_group)) * np.array([1, 1, 1, 2, 2, 2]))
        values.append(full_to_voigt(rotated(axes @ stress @ axes.T, point_group)))
    strain_rows, stress_rows = np.vstack(rows), np.vstack(values)
    fitted = np.linalg.lstsq(strain_rows, stress_rows, rcond=1e-6)[0]
    _, sizes, right = np.linalg.svd(strain_rows, full_matrices=False)
    seen = right[sizes > 1e-6 * sizes.max()]
    reached = np.abs(np.diag(seen.T @ seen) - 1) < 1e-6  # strains that are determined: rows of C
    tensor = np.where(reached[:, None] & reached, (fitted + fitted.T) / 2, np.where(reached[:, None], fitted, fitted.T))
    return tensor, reached[:, None] | reached


def _stress(one: Held) -> Array:
    """Return the stress; that of a crystal without a label is zero, since its forces are."""
    return np.zeros((3, 3)) if one.stress is None else one.stress


def _found(start: Held, one: Held) -> Strained:
    found = _strain(start, one)
    assert found is not None
    return found


def _standard_axes(atoms: Atoms) -> Array:
    """Return the rotation (3, 3) R from a crystal's axes to spglib's standard ones: a vector v goes to R v."""
    found = spglib.get_symmetry_dataset(spglib_cell(atoms), symprec=SAME_CRYSTAL_A)
    return np.eye(3) if found is None else np.asarray(found.std_rotation_matrix)


def _vacancies(held: Mapping[int, Held], crystals: Mapping[int, Held]) -> Iterator[FrameProperty]:
    """Yield supercells of a crystal of one element that lack one atom, and are relaxed."""
    for crystal, start in crystals.items():
        if len(set(start.atoms.numbers)) > 1:
            continue
        for i, one in held.items():
            if one.formula != start.formula or not one.is_still or not one.atoms.pbc.all():
                continue
            if len(one.atoms) >= 7 and _surplus(one.atoms, start.atoms) == -1:
                yield FrameProperty(
                    kind="vacancy", name="vacancy_eV", unit="eV", formula=start.formula, crystal=crystal, frames=(i,)
                )


def _primitive_cell(atoms: Atoms) -> Atoms:
    """Return the primitive cell in the axes of the crystal."""
    found = spglib.find_primitive(spglib_cell(atoms), symprec=SAME_CRYSTAL_A)
    if found is None:
        return atoms
    cell, positions, numbers = found
    turned = Atoms(numbers, cell=cell, scaled_positions=positions, pbc=True)
    turned.set_cell(turned.cell[:] @ _standard_axes(atoms), scale_atoms=True)
    return turned


def _surfaces(held: Mapping[int, Held], crystals: Mapping[int, Held]) -> Iterator[FrameProperty]:
    """Yield slabs of the lowest crystal's composition; relaxed ones whose cell is that of one facet bear its name."""
    lowest = {one.formula: i for i, one in reversed(list(crystals.items()))}
    for i, one in held.items():
        if one.energy is None or one.formula not in lowest or one.force > 3 * STILL_eV_per_A:
            continue
        if kind_of_structure(one.atoms) == "slab":
            crystal = lowest[one.formula]
            facet = _facet(one.atoms, held[crystal].atoms)
            relaxed = bool(facet) and one.is_still
            name = f"surface_{facet}_J_per_m2" if relaxed else f"surface of frame {i}"
            yield FrameProperty(
                kind="surface",
                name=name,
                unit="J/m²",
                formula=one.formula,
                crystal=crystal,
                frames=(i,),
                relaxed=relaxed,
            )


def _in_plane(slab: Atoms) -> Array:
    """Return the two cell vectors of a slab."""
    return np.asarray(slab.cell[:][vacuum(slab) <= SLAB_A])


def _facet(slab: Atoms, crystal: Atoms) -> str:
    """Return the facet, of a cubic crystal, whose smallest cell in the plane is that of the slab; empty for none."""
    if symmetry_of(crystal, SAME_CRYSTAL_A).number < 195:
        return ""
    primitive = _primitive_cell(crystal)
    axes = _standard_axes(crystal)
    own = _shape(_in_plane(slab))
    lattice = np.array(list(itertools.product(range(-3, 4), repeat=3))) @ primitive.cell[:] @ axes.T
    fitting = [facet for facet in FACETS if np.allclose(own, _shape(_smallest(lattice, facet)), atol=0.02, rtol=0.015)]
    return "".join(map(str, fitting[0])) if len(fitting) == 1 else ""


def _smallest(lattice: Array, facet: tuple[int, int, int]) -> Array:
    """Return the two shortest independent lattice vectors in a plane."""
    lying = lattice[np.abs(lattice @ np.array(facet)) < 1e-3]
    lying = lying[np.argsort(np.linalg.norm(lying, axis=1))][1:]
    second = next(one for one in lying if np.linalg.norm(np.cross(lying[0], one)) > 1e-3)
    return np.stack([lying[0], second])


def _shape(vectors: Array) -> Array:
    """Return the lengths of two reduced vectors and of their product: what does not hang on how they are chosen."""
    padded = np.vstack([vectors, np.cross(*vectors) / np.linalg.norm(np.cross(*vectors)) * 100])
    reduced = minkowski_reduce(padded)[0]
    short = sorted(np.linalg.norm(reduced, axis=1))[:2]
    return np.array([*short, np.linalg.norm(np.cross(*vectors))])


def _phases(held: Mapping[int, Held], crystals: Mapping[int, Held]) -> Iterator[FrameProperty]:
    """Yield crystals of one composition above the lowest of them."""
    of_formula: dict[str, list[int]] = defaultdict(list)
    for i, one in crystals.items():
        of_formula[one.formula].append(i)
    for formula, (first, *others) in of_formula.items():
        for i in others:
            group = symmetry_of(held[i].atoms, SAME_CRYSTAL_A).symbol
            yield FrameProperty(
                kind="phase", name=f"{group} above the lowest, frame {i}", unit="eV/atom", formula=formula,
                crystal=first, frames=(i,), relaxed=False,
            )  # fmt: skip


# ------------------------------------------------------------------------------------------------ what it comes to


def _per_atom(one: FrameProperty, held: Mapping[int, Held]) -> float:
    return held[one.crystal].per_atom


def _curve(one: FrameProperty, held: Mapping[int, Held]) -> BirchMurnaghan | None:
    volumes = np.array([volume(held[i].atoms) / len(held[i].atoms) for i in one.frames])
    energies = np.array([held[i].per_atom for i in one.frames])
    return fit_energies(volumes, energies) if np.isfinite(energies).all() else None


def _modulus(one: FrameProperty, held: Mapping[int, Held]) -> float | None:
    found = _curve(one, held)
    return found.bulk_modulus_GPa if found else None


def _volume(one: FrameProperty, held: Mapping[int, Held]) -> float | None:
    found = _curve(one, held)
    return found.volume_A3 if found else None


def _component(one: FrameProperty, held: Mapping[int, Held]) -> float | None:
    if any(held[i].stress is None for i in one.frames):
        return None
    return float(_tensor(held, one.crystal, one.frames)[0][one.component])


def _excess(one: FrameProperty, held: Mapping[int, Held]) -> float:
    (i,) = one.frames
    return len(held[i].atoms) * (held[i].per_atom - _per_atom(one, held))


def _surface(one: FrameProperty, held: Mapping[int, Held]) -> float:
    area = np.linalg.norm(np.cross(*_in_plane(held[one.frames[0]].atoms)))
    return float(_excess(one, held) / (2 * area) * _J_PER_M2)


def _phase(one: FrameProperty, held: Mapping[int, Held]) -> float:
    return held[one.frames[0]].per_atom - _per_atom(one, held)


_VALUES: Mapping[Kind, Callable[[FrameProperty, Mapping[int, Held]], float | None]] = {
    "volume": _volume,
    "modulus": _modulus,
    "elastic": _component,
    "vacancy": _excess,
    "surface": _surface,
    "phase": _phase,
}


def _same_crystal(one: Atoms, other: Atoms) -> bool:
    """Say whether two crystals have one composition, space group and size of the primitive cell, and volumes alike."""
    if one.get_chemical_formula(empirical=True) != other.get_chemical_formula(empirical=True):
        return False
    if symmetry_of(one, SAME_CRYSTAL_A).number != symmetry_of(other, SAME_CRYSTAL_A).number:
        return False
    sizes = [volume(atoms) / len(atoms) for atoms in (one, other)]
    return len(_primitive_cell(one)) == len(_primitive_cell(other)) and 0.7 < sizes[0] / sizes[1] < 1.4


def _at_rest(crystal: Held) -> dict[str, Reference]:
    """Return the lattice of a crystal without stress; nothing where the stress is not labelled."""
    if crystal.pressed > STRESS_FREE_GPa:
        return {}
    cell = np.array(symmetry_of(crystal.atoms, SAME_CRYSTAL_A).to_conventional) @ crystal.atoms.cell[:]
    lengths = dict(zip(("a_A", "b_A", "c_A"), np.linalg.norm(cell, axis=1), strict=True))
    values = {**lengths, "volume_A3_per_atom": volume(crystal.atoms) / len(crystal.atoms)}
    return {
        name: Reference(value=float(value), source="your frames (1 crystal at rest)") for name, value in values.items()
    }


def _lattice_of_curve(values: Mapping[str, Reference], crystal: Held) -> dict[str, Reference]:
    """Return ``a_A`` of a cubic crystal from the minimum of its curve; the bulk modulus from elastic constants."""
    found: dict[str, Reference] = {}
    symmetry = symmetry_of(crystal.atoms, SAME_CRYSTAL_A)
    if symmetry.number < 195:
        return found
    if "a_A" not in values and "volume_A3_per_atom" in values:
        cell = np.array(symmetry.to_conventional) @ crystal.atoms.cell[:]
        atoms = round(abs(np.linalg.det(cell)) / volume(crystal.atoms) * len(crystal.atoms))
        one = values["volume_A3_per_atom"]
        found |= {
            name: Reference(value=float(np.cbrt(one.value * atoms)), source=one.source)
            for name in ("a_A", "b_A", "c_A")
        }
    if "B0_GPa" not in values and {"C11_GPa", "C12_GPa"} <= values.keys():
        both = values["C11_GPa"], values["C12_GPa"]
        found["B0_GPa"] = Reference(value=(both[0].value + 2 * both[1].value) / 3, source=both[0].source)
    return found
