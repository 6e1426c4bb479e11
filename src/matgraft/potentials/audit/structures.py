"""Structures: elements the foundation has not seen, atoms that collide, odd volumes, no cell, duplicates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from matgraft.core.findings import Action, Code, Fault, Finding, Severity
from matgraft.core.machine import available_memory
from matgraft.core.quantities import LENGTH_UNITS, Array, parse_unit
from matgraft.potentials.audit.base import Evidence, Frames, count, drop
from matgraft.potentials.audit.magnetic import magnetic_states, order_tag
from matgraft.potentials.audit.robust import spread
from matgraft.potentials.audit.same import SAME_A, group_same, nearest_apart
from matgraft.potentials.audit.stiffness import NOBLE, largest_changes
from matgraft.potentials.data.geometry import closest_pair, has_vacuum
from matgraft.potentials.data.groups import TRAJECTORY_KEYS, bare_key
from matgraft.potentials.data.heads import parts_well
from matgraft.potentials.data.magnetism import INITIAL_ORDER_TAG
from matgraft.potentials.data.neighbours import reduced_formula
from matgraft.potentials.data.sense import UNITS_MAY_CURE, nonsense

ELEMENTS_UNSEEN = Code("elements-unseen", "elements that the foundation has not seen", "error")
SENSELESS = Code("senseless", "structures that make no sense", "error")
OUTLIER_DISTANCE = Code("outlier-distance", "atoms closer or farther apart than chemistry allows")
OUTLIER_VOLUME = Code("outlier-volume", "volumes far off the others of the composition")
DUPLICATES = Code("duplicates", "frames that occur more than once")

CLOSEST = 0.5
"""Closest pair over the sum of its covalent radii. Mo at 6000 K comes down to 0.61; H2 has 1.19."""

TYPICAL = 0.6
"""The same of the median frame, below which lengths are in another unit: right sets have 0.75 and more, also those that
are hot and compressed; lengths in Å taken for Bohr have 0.5, those in nm taken for Å 0.1."""

WIDE = 1.5
"""The same of the median frame, above which lengths are in another unit if one makes bonds of it, as those in Bohr."""

_WIDE_FRAMES = 50  # that are measured for it

_BOND = 0.8, 1.4  # closest pairs of right structures, over the sum of their covalent radii

VOLUME_LIMIT, VOLUME_TIMES = 0.5, 8.0
"""Logarithm of the volume over its median (a factor of 1.65), and standard deviations of the bulk."""

CONFLICT = {"energy": 0.005, "forces": 0.05, "stress": 0.003}
"""Difference of exact copies' labels that contradicts: eV/atom, eV/Å, eV/Å³ (0.5 GPa)."""

_AT_REST_A = 1e-5  # between distances of nearest neighbours: below it, atoms stand where they stood

_PLACES = frozenset(("file", "frame", "folder", "trajectory", "head"))
"""Tags that say where a frame is from, not what it is."""

_BYTES_AN_ATOM, _BYTES_A_FRAME, _MEMORY_SHARE = 200, 4000, 0.5
"""What frames take while they are compared, measured, and the part of the free memory that they may take."""

_IMPOSSIBLE = frozenset(("array", "number", "far", "flat"))
_LARGER = LENGTH_UNITS["nm"]

_VOLUME_FRAMES = 5  # fewer of one composition decide nothing


def elements_unseen(evidence: Evidence) -> Iterator[Finding]:
    """Compare elements with those of the foundation."""
    if not evidence.elements:
        yield ELEMENTS_UNSEEN.skipped("the elements that the foundation has seen are not stated")
        return
    unseen = [symbol for symbol in evidence.dataset.elements() if symbol not in evidence.elements]
    if not unseen:
        yield ELEMENTS_UNSEEN.passed(f"{evidence.model} has seen {', '.join(evidence.dataset.elements())}.")
        return
    frames = [i for i, sample in enumerate(evidence.dataset) if set(unseen) & set(sample.content.symbols)]
    said = f"{evidence.model} has not seen {', '.join(unseen)}, in {count(len(frames), len(evidence.dataset))}."
    remedy = "leave these frames out, or start from a foundation that covers the elements"
    yield ELEMENTS_UNSEEN.failed(Fault(frames, said, remedy, [drop(frames)], {"n_unseen": len(unseen)}))


def senseless(evidence: Evidence) -> Iterator[Finding]:
    """Say which structures no model can be asked about; `outlier_distance` has those whose atoms collide."""
    why = {i: one for i, one in evidence.senseless.items() if one.kind in _IMPOSSIBLE}
    if not why:
        yield SENSELESS.passed(f"Every structure of {count(len(evidence.dataset))} can be looked at.")
        return
    first = min(why)
    said = f"{count(len(why), len(evidence.dataset))} make no sense; {evidence.place(first)}: {why[first].found}"
    said += f" (allowed: {why[first].allowed})."
    kinds = Counter(one.kind for one in why.values())
    said += f" By kind: {', '.join(f'{kind} {n}' for kind, n in kinds.items())}." if len(kinds) > 1 else ""
    frames = sorted(why)
    yield SENSELESS.failed(Fault(frames, said, why[first].remedy, [drop(frames)], {"n_senseless": float(len(why))}))


def outlier_distance(evidence: Evidence) -> Iterator[Finding]:
    """Measure the closest pair of each frame."""
    collided = [i for i, why in evidence.senseless.items() if why.kind in UNITS_MAY_CURE]
    frames = np.sort(np.concatenate([evidence.sound, np.array(collided, dtype=np.int64)]))
    if not len(frames):
        yield OUTLIER_DISTANCE.skipped("no frame has a structure that makes sense")
        return
    if wide := _too_wide(evidence):
        yield OUTLIER_DISTANCE.failed(wide)
        return
    pairs = np.array([_closest(evidence, int(i)) for i in frames])
    k = int(np.argmin(pairs[:, 0]))
    if not np.isfinite(pairs[k, 0]):
        yield OUTLIER_DISTANCE.passed(f"No pair in {count(len(frames))} is closer than 0.8 covalent distances.")
        return
    numbers = {"closest_A": pairs[k, 1], "closest_ratio": pairs[k, 0], "limit_ratio": CLOSEST}
    said = f"the closest pair is {pairs[k, 1]:.2f} Å apart, {pairs[k, 0]:.2f} times its covalent distance"
    typical = float(np.median(pairs[:, 0]))
    if typical < TYPICAL:
        bad = frames[pairs[:, 0] < TYPICAL]
        text = f"{count(len(bad), len(frames))} have atoms closer than {TYPICAL} covalent distances; {said}."
        told = _length_units(evidence, typical)
        text += f" In most it would be a bond if lengths are in {' or '.join(told)}." if told else ""
        remedy = "read positions and cell in their unit: in no right set are the atoms of most frames so close"
        actions = [Action(settings={"units.length": name}) for name in told]
        yield OUTLIER_DISTANCE.failed(Fault(bad, text, remedy, actions, numbers, "error"))
        return
    bad = frames[(pairs[:, 0] < CLOSEST) | np.isin(frames, collided)]
    if not len(bad):
        yield OUTLIER_DISTANCE.passed(f"In {count(len(frames))} {said} (limit {CLOSEST}).", **numbers)
        return
    text = f"{count(len(bad), len(frames))} have atoms closer than {CLOSEST} covalent distances; {said}."
    remedy = "see whether positions are in nm, fractional, or of another cell, or leave these frames out"
    severity: Severity | None = "error" if collided else None  # no model can be asked about them
    yield OUTLIER_DISTANCE.failed(Fault(bad, text, remedy, [drop(bad)], numbers, severity))


def _closest(evidence: Evidence, i: int) -> tuple[float, float]:
    """Return ratio and distance of the closest pair of a frame, if need be of the same frame ten times as large.

    Where lengths in nm are taken for Å, neighbours are without number; ten times as large, they are not.
    """
    atoms = evidence.dataset.samples[i].content
    if i not in evidence.senseless:
        return closest_pair(atoms)
    larger = Atoms(atoms.numbers, _LARGER * atoms.positions, cell=_LARGER * atoms.cell[:], pbc=atoms.pbc)
    if nonsense(larger) is not None:
        return 0.0, evidence.senseless[i].value if evidence.senseless[i].kind == "close" else 0.0
    ratio, distance = closest_pair(larger, _LARGER)
    return ratio / _LARGER, distance / _LARGER


def _too_wide(evidence: Evidence) -> Fault | None:
    """Look for frames of three or more atoms in which no pair is a bond, and would be in another unit of length."""
    several = [i for i in evidence.sound if evidence.n_atoms[i] > 2]
    contents = [evidence.dataset.samples[i].content for i in several[:: -(-len(several) // _WIDE_FRAMES) or 1]]
    contents = [atoms for atoms in contents if not np.isin(atoms.numbers, NOBLE).any()]
    if 2 * len(several) < len(evidence.sound) or not contents:
        return None
    pairs = np.array([closest_pair(atoms, _BOND[1] / LENGTH_UNITS["Bohr"]) for atoms in contents])
    typical, distance = np.median(pairs, axis=0)
    told = _length_units(evidence, float(typical)) if typical > WIDE else []
    if not told:
        return None
    said = f"In most frames the closest pair is {distance:.2f} Å apart, {typical:.2f} times its covalent distance."
    said += f" It would be a bond if lengths are in {' or '.join(told)}."
    actions = [Action(settings={"units.length": name}) for name in told]
    numbers = {"closest_A": distance, "closest_ratio": typical, "limit_ratio": WIDE}
    remedy = "read positions and cell in their unit: the atoms of most frames have no neighbour"
    return Fault(several, said, remedy, actions, numbers, "error")


def _length_units(evidence: Evidence, ratio: float) -> list[str]:
    """Return the units of length in which the typical closest pair would be a bond, where files leave a choice."""
    files = evidence.dataset.provenance.files
    taken = {file.units.get("length", "Å") for file in files} or {"Å"}
    if len(taken) > 1 or any(file.fixed for file in files):
        return []
    (one,) = taken
    was = parse_unit(one, "length").factor
    return [name for name, factor in LENGTH_UNITS.items() if _BOND[0] < ratio * factor / was < _BOND[1]]


def outlier_volume(evidence: Evidence) -> Iterator[Finding]:
    """Compare volumes per atom of bulk frames within each composition."""
    by_formula: dict[str, list[int]] = defaultdict(list)
    for i in evidence.sound:
        atoms = evidence.dataset.samples[i].content
        if evidence.volumes[i] > 0 and atoms.pbc.all() and not has_vacuum(atoms):
            by_formula[reduced_formula(atoms)].append(int(i))
    groups = [np.array(frames) for frames in by_formula.values() if len(frames) >= _VOLUME_FRAMES]
    if not groups:
        yield OUTLIER_VOLUME.skipped(f"no composition has {_VOLUME_FRAMES} bulk frames")
        return
    off = [_log_deviation(evidence, frames) for frames in groups]
    bad = np.sort(np.concatenate([g[np.abs(x) > _volume_limit(x)] for g, x in zip(groups, off, strict=True)]))
    every = np.concatenate(off)
    low, high = float(np.exp(every.min())), float(np.exp(every.max()))
    said = f"volumes per atom are {low:.2f} to {high:.2f} times the median of their composition"
    numbers = {"smallest_ratio": low, "largest_ratio": high}
    if not len(bad):
        yield OUTLIER_VOLUME.passed(f"In {count(len(every))} of the bulk {said}.", **numbers)
        return
    remedy = "see whether the cell is in another unit, or of another frame"
    text = f"{count(len(bad), len(every))} of the bulk are far off: {said}."
    yield OUTLIER_VOLUME.failed(Fault(bad, text, remedy, [drop(bad)], numbers))


def _log_deviation(evidence: Evidence, frames: Frames) -> Array:
    logs = np.log(evidence.volumes[frames] / evidence.n_atoms[frames])
    return np.asarray(logs - np.median(logs))


def _volume_limit(deviations: Array) -> float:
    return max(VOLUME_LIMIT, VOLUME_TIMES * spread(deviations))


def duplicates(evidence: Evidence) -> Iterator[Finding]:
    """Find frames that are one structure, however it is turned, shifted and written, and compare their labels."""
    if lack := _lack_of_memory(evidence):
        yield DUPLICATES.skipped(lack)
        return
    groups = find_duplicates(evidence)
    if not groups:
        yield DUPLICATES.passed(f"No two of {count(len(evidence.sound))} are the same.", tolerance_A=SAME_A)
        return
    conflicts = [group for group in groups if _contradict(evidence, group)]
    copies = drop(sorted(int(i) for group in groups for i in group[1:]))
    numbers = {"n_groups": len(groups), "n_conflicting": len(conflicts), "tolerance_A": SAME_A}
    if conflicts:
        yield DUPLICATES.failed(_conflict(evidence, conflicts, copies, numbers))
        return
    frames = np.sort(np.concatenate(groups))
    said = f"{count(len(frames))} are {len(groups)} structures, within {SAME_A} Å; their labels agree."
    remedy = "leave the copies out, or accept that they count more; keep copies out of the test part"
    yield DUPLICATES.failed(Fault(frames, said, remedy, [copies], numbers))


def _lack_of_memory(evidence: Evidence) -> str:
    """Say what comparing the frames takes, if it is more than can be had."""
    needed = int(evidence.n_atoms.sum()) * _BYTES_AN_ATOM + len(evidence.n_atoms) * _BYTES_A_FRAME
    had = available_memory()
    if needed <= _MEMORY_SHARE * had.bytes:
        return ""
    return (
        f"To compare {count(len(evidence.n_atoms))} takes some {needed / 2**30:.1f} GiB, more than "
        f"{_MEMORY_SHARE:.0%} of the {had.bytes / 2**30:.1f} GiB that {had.by} leaves: give the job more memory, or "
        "audit parts of the frames one by one."
    )


def _conflict(evidence: Evidence, conflicts: list[Frames], copies: Action, numbers: Mapping[str, float]) -> Fault:
    """Say by how much the labels of copies differ, and which tag tells these copies apart if one does."""
    frames = np.sort(np.concatenate(conflicts))
    listed = "; ".join(_differences(evidence, group) for group in conflicts[:3])
    said = f"{count(len(frames))} are {len(conflicts)} structures with labels that contradict: {listed}."
    if told := _of_magnetism(evidence, conflicts, listed, numbers):
        return told
    if tag := _telling_tag(evidence, conflicts):
        values = sorted({evidence.dataset.tag(tag)[i] for i in frames})
        said += f" They differ in the tag {tag!r} ({', '.join(values)}), which the foundation does not know of."
        remedy = (
            f"give the frames of each {tag} a head of their own, or keep one; the second option keeps the first frame"
        )
        heads = Action(settings={"strategy.name": "multihead", "heads.by": tag})
        return Fault(frames, said, remedy, [heads, copies], numbers, "error")
    remedy = "see why the labels differ and keep the one that you trust; the option keeps the first of each structure"
    return Fault(frames, said, remedy, [copies], numbers, "error")


def _of_magnetism(
    evidence: Evidence, conflicts: list[Frames], listed: str, numbers: Mapping[str, float]
) -> Fault | None:
    """Say that the copies are in several magnetic states, where no labels contradict within one."""
    frames = np.sort(np.concatenate(conflicts))
    if not (tag := order_tag(evidence, frames)):
        return None
    states = [np.array(magnetic_states(evidence, group, tag)) for group in conflicts]
    within = [group[own == state] for group, own in zip(conflicts, states, strict=True) for state in set(own.tolist())]
    if any(_contradict(evidence, same) for same in within):
        return None
    found = ", ".join(sorted(set(np.concatenate(states).tolist())))
    at_start = " at the start" * (tag == INITIAL_ORDER_TAG)
    said = f"{count(len(frames))} are {len(conflicts)} structures in several magnetic orders{at_start} ({found})"
    said += f": {listed}. {evidence.model} does not know the order, and learns a mean of them."
    if _tells(evidence, conflicts, np.array(evidence.dataset.tag(tag))):
        remedy = "give the frames of each order a head of their own, or leave those of all orders but one out"
        action = Action(settings={"strategy.name": "multihead", "heads.by": tag})
    else:
        remedy = "leave those of all orders but one out; the option keeps the order of the lowest energy"
        higher = [group[own != _lowest(evidence, group, own)] for group, own in zip(conflicts, states, strict=True)]
        action = drop(sorted(int(i) for i in np.concatenate(higher)))
    return Fault(frames, said, remedy, [action], numbers, "warning")


def _lowest(evidence: Evidence, group: Frames, states: NDArray[np.str_]) -> str:
    """Return the state of the copy of the lowest energy, of the first where none has an energy."""
    frames, energies = _labels(evidence, group, "energy")
    return str(states[group == frames[int(np.argmin(energies))]][0] if frames else states[0])


def _telling_tag(evidence: Evidence, conflicts: list[Frames]) -> str:
    """Return the tag of the fewest values within each of which no labels contradict; empty without one."""
    found: dict[str, int] = {}
    for name in sorted({name for tags in evidence.dataset.samples.tags() for name in tags} - _PLACES):
        values = np.array(evidence.dataset.tag(name))
        if _tells(evidence, conflicts, values):
            found[name] = len(set(values.tolist()))
    return min(found, key=lambda name: found[name], default="")


def _tells(evidence: Evidence, conflicts: list[Frames], values: NDArray[np.str_]) -> bool:
    """Say whether the values of a tag are heads to be, within each of which no labels contradict."""
    return parts_well(Counter(values.tolist())) and not any(
        _contradict(evidence, group[values[group] == value]) for group in conflicts for value in set(values[group])
    )


def find_duplicates(evidence: Evidence) -> list[Frames]:
    """Return groups of frames that are the same structure as the first of the group, see `same`."""
    contents = [sample.content for sample in evidence.dataset.samples.take(evidence.sound)]
    return [evidence.sound[group] for group in group_same(contents)]


def _contradict(evidence: Evidence, group: Frames) -> bool:
    return any(_beyond(evidence, group, quantity) for quantity in CONFLICT)


def _beyond(evidence: Evidence, group: Frames, quantity: str) -> bool:
    """Say whether a label differs from that of the first copy by more than the tolerance and stiff bonds allow."""
    frames, labels = _labels(evidence, group, quantity)
    for i, label in zip(frames[1:], labels[1:], strict=True):
        difference = float(np.abs(label - labels[0]).max())
        if (
            difference > CONFLICT[quantity]
            and not _steps_of_one_run(evidence, frames[0], i)
            and difference > CONFLICT[quantity] + _change(evidence, frames[0], i, quantity)
        ):
            return True
    return False


def _steps_of_one_run(evidence: Evidence, first: int, second: int) -> bool:
    """Say whether two frames are steps of one simulation or relaxation: what one run says does not contradict itself.

    Steps move. Frames that a file puts into one trajectory, and whose atoms stand at the very same places, are copies.
    """
    one, other = (evidence.dataset.samples[i] for i in (first, second))
    if one.tags.get("trajectory") == one.file == other.file != "":  # the output of one run
        return True
    shared = {name for name, value in one.tags.items() if value and other.tags.get(name) == value}
    named = any(bare_key(name) in TRAJECTORY_KEYS for name in shared)
    return named and nearest_apart(one.content, other.content) > _AT_REST_A


def _change(evidence: Evidence, first: int, copy: int, quantity: str) -> float:
    contents = [evidence.dataset.samples[i].content for i in (first, copy)]
    return largest_changes(*contents)[quantity]


def _range(evidence: Evidence, group: Frames, quantity: str) -> float:
    """Largest difference among a group's labels."""
    _, labels = _labels(evidence, group, quantity)
    return float(np.ptp(np.stack(labels), axis=0).max()) if len(labels) > 1 else 0.0


def _labels(evidence: Evidence, group: Frames, quantity: str) -> tuple[list[int], list[Array]]:
    """Return the frames with a finite label, and the labels in a form that neither order nor inversion changes."""
    n_atoms = int(evidence.n_atoms[group[0]])
    labels = {int(i): evidence.dataset.samples[i].labels.get(quantity) for i in group}
    finite = {i: _invariant(quantity, x, n_atoms) for i, x in labels.items() if x is not None and np.isfinite(x).all()}
    return list(finite), list(finite.values())


def _invariant(quantity: str, label: Array, n_atoms: int) -> Array:
    if quantity == "energy":
        return np.asarray(label / n_atoms)
    return np.asarray(np.sort(np.linalg.norm(label, axis=1)) if quantity == "forces" else np.linalg.eigvalsh(label))


def _differences(evidence: Evidence, group: Frames) -> str:
    parts: Sequence[str] = [
        f"{quantity} by {_range(evidence, group, quantity):.3g} {unit}"
        for quantity, unit in (("energy", "eV/atom"), ("forces", "eV/Å"), ("stress", "eV/Å³"))
        if _range(evidence, group, quantity) > 0
    ]
    return f"{', '.join(evidence.place(i) for i in group[:4])} differ in {', '.join(parts)}"
