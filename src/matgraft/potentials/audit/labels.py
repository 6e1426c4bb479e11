"""Labels by themselves: missing, not finite, far off, with a net force, from runs that did not converge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from matgraft.core.findings import Code, Fault, Finding
from matgraft.core.quantities import POTENTIAL_QUANTITIES, Array
from matgraft.potentials.audit.base import Evidence, Frames, count, drop
from matgraft.potentials.audit.energy import fit_energy
from matgraft.potentials.audit.forces import judge_forces
from matgraft.potentials.audit.robust import fit_line, spread

LABEL_MISSING = Code("label-missing", "labels that are absent")
NON_FINITE = Code("non-finite", "NaN and infinity in labels and structures", "error")
NET_FORCE = Code("net-force", "forces of a frame add up to zero")
UNCONVERGED = Code("unconverged", "runs that did not converge")
OUTLIER_ENERGY = Code("outlier-energy", "energies far off the others")
OUTLIER_FORCE = Code("outlier-force", "forces far off the others")

NET_LIMIT = 0.02
"""eV/Å per atom. Plane-wave codes stay below 0.001 (Si and Mo sets: 1e-9); constraints and cut-off digits exceed it."""

NET_BLOCKS = 0.1
"""eV/Å per atom from which on most frames block: no code leaves so much without fixed atoms or a field."""

NET_FRAMES = 5
"""Frames of it from which on they block. They may be of one trajectory: the sum of forces is zero in each frame."""

ENERGY_LIMIT, ENERGY_TIMES = 0.4, 10.0
"""eV/atom off the line, and standard deviations of the bulk. The clean Si and Mo sets stay below 0.2 eV/atom."""

ENERGY_LIMIT_ALONE = 2.0
"""eV/atom off the references alone, where no foundation says how much a structure should differ."""

FORCE_LIMIT, FORCE_TIMES = 5.0, 15.0
"""eV/Å between label and prediction at one atom, and times the bulk. Clean Si and Mo sets: 2.7 and 4.4 eV/Å, 9 times"""

FORCE_LIMIT_ALONE = 50.0
"""eV/Å at one atom, where no foundation says how large a force should be."""

_NO_NUMBERS = frozenset(("empty", "not finite"))
"""Kinds of nonsense that are no numbers at all; `structures.senseless` has the others."""

_FALSE = frozenset(("false", "0", "0.0", "f", "no", "n"))
_STEPS = (("electronic_steps", "nelm"), ("n_electronic_steps", "nelm"), ("scf_steps", "max_scf_steps"))
_TOLD_BY = frozenset(("converged", *(name for pair in _STEPS for name in pair)))


def label_missing(evidence: Evidence) -> Iterator[Finding]:
    """Count absent labels."""
    samples, n = evidence.dataset.samples, len(evidence.dataset)
    counts = {name: evidence.dataset.count(name) for name in POTENTIAL_QUANTITIES}
    numbers = {f"n_{name}": float(number) for name, number in counts.items()}
    carried = ", ".join(f"{name} in {number}" for name, number in counts.items())
    bare = [i for i, sample in enumerate(samples) if not any(name in sample.labels for name in counts)]
    if bare:
        said = f"{count(len(bare), n)} carry no label at all ({carried})."
        remedy = "leave them out, or name the key of their labels by the options keys.energy and keys.forces"
        yield LABEL_MISSING.failed(Fault(bare, said, remedy, [drop(bare)], numbers))
        return
    blank = {name: min(n - counts[name], m) for name, m in _not_computed(evidence).items()}
    partial = [name for name, number in counts.items() if 0 < number < n or blank.get(name)]
    if not partial:
        yield LABEL_MISSING.passed(f"Of {count(n)}: {carried}.", **numbers)
        return
    frames = [i for i, sample in enumerate(samples) if any(name not in sample.labels for name in partial)]
    said = f"Of {count(n)}: {carried}; absent labels are left out of the loss."
    told = [f"{name} in {m} frames" for name, m in blank.items() if m]
    said += f" NaN or zeros were read as not computed: {', '.join(told)}." if told else ""
    numbers |= {f"n_{name}_not_computed": float(m) for name, m in blank.items()}
    elsewhere = [name for name in partial if n - counts[name] > blank.get(name, 0)]
    remedy = "compute them, if the model is to learn them from these frames"
    if elsewhere:
        remedy = f"see whether {' and '.join(elsewhere)} stand under another key in these frames; "
        remedy += f"the option keys.{elsewhere[0]} names the key"
    yield LABEL_MISSING.failed(Fault(frames, said, remedy, numbers=numbers))


def _not_computed(evidence: Evidence) -> Counter[str]:
    """Return quantity -> number of frames of the files in which it was not computed."""
    total: Counter[str] = Counter()
    for file in evidence.dataset.provenance.files:
        total.update(file.not_computed)
    return total


def non_finite(evidence: Evidence) -> Iterator[Finding]:
    """Look for NaN and infinity."""
    places = {"structure": [i for i, why in evidence.senseless.items() if why.kind in _NO_NUMBERS]}
    places |= {name: [] for name in evidence.dataset.quantities()}
    for i, sample in enumerate(evidence.dataset):
        for name, value in sample.labels.items():
            if not np.isfinite(value).all():
                places[name].append(i)
    frames = sorted({i for found in places.values() for i in found})
    if not frames:
        yield NON_FINITE.passed(f"Every number of {count(len(evidence.dataset))} is finite.")
        return
    parts = ", ".join(f"{name} in {count(len(found))}" for name, found in places.items() if found)
    numbers = {f"n_{name}": float(len(found)) for name, found in places.items() if found}
    said = f"NaN or infinity, or no atoms at all: {parts}."
    yield NON_FINITE.failed(Fault(frames, said, "leave these frames out", [drop(frames)], numbers))


def net_force(evidence: Evidence) -> Iterator[Finding]:
    """Add up the forces of each frame."""
    frames = evidence.labelled("forces")
    if not len(frames):
        yield NET_FORCE.skipped("no frame carries finite forces")
        return
    net = np.array([np.abs(forces.mean(axis=0)).max() for forces in evidence.label("forces", frames)])
    numbers = {"largest_eV_per_A_per_atom": net.max(), "limit_eV_per_A_per_atom": NET_LIMIT}
    said = f"the largest component of the net force is {net.max():.2g} eV/Å per atom (limit {NET_LIMIT})."
    bad = frames[net > NET_LIMIT]
    if not len(bad):
        yield NET_FORCE.passed(f"In {count(len(frames))} {said}", **numbers)
        return
    remedy = "see whether constraints, an external field or a lost atom explain it; an energy model cannot learn it"
    most = _net_in_most(evidence, frames, net)
    actions = [] if most else [drop(bad)]
    said = f"{count(len(bad), len(frames))} exceed it: {said}"
    yield NET_FORCE.failed(Fault(bad, said, remedy, actions, numbers, "error" if most else "warning"))


def _net_in_most(evidence: Evidence, frames: Frames, net: Array) -> bool:
    """Say whether most frames have a large net force that no fixed atoms explain: no statistics, but several frames."""
    free = np.array([forces.any(axis=1).all() for forces in evidence.label("forces", frames)])
    large = int(((net > NET_BLOCKS) & free).sum())
    return 2 * large > len(frames) and large >= NET_FRAMES


def unconverged(evidence: Evidence) -> Iterator[Finding]:
    """Read the tags ``converged`` and the number of electronic steps."""
    each = evidence.dataset.samples.tags()
    tags = [{name.lower(): value for name, value in own.items() if name.lower() in _TOLD_BY} for own in each]
    if not any("converged" in tag or any(step in tag for step, _ in _STEPS) for tag in tags):
        yield UNCONVERGED.skipped("no tag says whether the runs converged")
        return
    bad = [i for i, tag in enumerate(tags) if tag.get("converged", "").strip().lower() in _FALSE or _used_up(tag)]
    if not bad:
        yield UNCONVERGED.passed(f"No tag in {count(len(tags))} says that a run did not converge.")
        return
    said = f"{count(len(bad), len(tags))} come from runs that did not converge."
    yield UNCONVERGED.failed(
        Fault(bad, said, "leave them out, or run them again", [drop(bad)], {"n_unconverged": len(bad)})
    )


def _used_up(tag: dict[str, str]) -> bool:
    pairs = ((tag.get(steps, ""), tag.get(limit, "")) for steps, limit in _STEPS)
    return any(steps.isdecimal() and limit.isdecimal() and int(steps) >= int(limit) > 0 for steps, limit in pairs)


def outlier_energy(evidence: Evidence) -> Iterator[Finding]:
    """Compare each energy with the line through all, or with the reference energies alone."""
    frames, off, limit = _energies_off(evidence)
    if not len(frames):
        yield OUTLIER_ENERGY.skipped("there are too few finite energies")
        return
    times = ENERGY_TIMES * spread(off)
    limit = max(limit, times)
    bad = frames[np.abs(off) > limit]
    numbers = {"largest_eV_per_atom": np.abs(off).max(), "limit_eV_per_atom": limit}
    if not len(bad):
        said = f"The energies of {count(len(frames))} lie within {np.abs(off).max():.3f} eV/atom of what is expected"
        yield OUTLIER_ENERGY.passed(f"{said} (limit {limit:.3f}).", **numbers)
        return
    said = (
        f"{count(len(bad), len(frames))} lie more than {limit:.2f} eV/atom off what is expected, "
        f"the farthest {np.abs(off).max():.2f}."
    )
    remedy = "look at these runs: other settings, a wrong minimum, a broken output"
    yield OUTLIER_ENERGY.failed(Fault(bad, said, remedy, [drop(bad)], numbers))


def _energies_off(evidence: Evidence) -> tuple[Frames, Array, float]:
    """Return frames, their deviation in eV/atom and the limit on it."""
    fits = [evidence.once(fit_energy, reading) for reading in evidence.readings("energy")]
    lines = [fit for fit in fits if not isinstance(fit, str)]
    if lines:
        return np.concatenate([x.frames for x in lines]), np.concatenate([x.residuals for x in lines]), ENERGY_LIMIT
    frames = evidence.labelled("energy")
    if len(frames) < evidence.fractions.shape[1] + 4:
        return np.array([], dtype=np.int64), np.array([]), ENERGY_LIMIT_ALONE
    energies = np.array(evidence.label("energy", frames)) / evidence.n_atoms[frames]
    alone = fit_line(np.zeros(len(frames)), energies, evidence.fractions[frames])
    return frames, alone.residuals, ENERGY_LIMIT_ALONE


def outlier_force(evidence: Evidence) -> Iterator[Finding]:
    """Compare the force on each atom with the prediction, or with what forces can be at all."""
    paired = evidence.paired("forces")
    frames = paired if len(paired) else evidence.labelled("forces")
    if not len(frames):
        yield OUTLIER_FORCE.skipped("no frame carries finite forces")
        return
    rest, limit = _forces_off(evidence, frames, compared=bool(len(paired)))
    worst = np.array([x.max() for x in rest])
    bad = frames[worst > limit]
    numbers = {"largest_eV_per_A": worst.max(), "limit_eV_per_A": limit}
    than = f"than predicted by {evidence.model}" if len(paired) else "in size"
    said = f"the largest is off by {worst.max():.2f}" if len(paired) else f"the largest is {worst.max():.2f}"
    if not len(bad):
        yield OUTLIER_FORCE.passed(f"In {count(len(frames))} {said} eV/Å at one atom (limit {limit:.2f}).", **numbers)
        return
    text = f"In {count(len(bad), len(frames))} an atom's force is more than {limit:.2f} eV/Å other {than}; {said} eV/Å."
    remedy = "look at these frames: atoms that collide, a broken output, another unit"
    yield OUTLIER_FORCE.failed(Fault(bad, text, remedy, [drop(bad)], numbers))


def _forces_off(evidence: Evidence, frames: Frames, compared: bool) -> tuple[list[Array], float]:
    """Return for each frame the (n,) sizes of what is unexpected in the forces, and the limit on them."""
    labels = evidence.label("forces", frames)
    if not compared:
        return [np.linalg.norm(x, axis=1) for x in labels], FORCE_LIMIT_ALONE
    fit = evidence.once(judge_forces, evidence.readings("forces")[0])
    slope = fit.scale.taken.slope if fit is not None else 1.0
    predicted = evidence.prediction("forces", frames)
    rest = [np.linalg.norm(x / slope - y, axis=1) for x, y in zip(labels, predicted, strict=True)]
    bulk = np.concatenate(rest)
    return rest, max(FORCE_LIMIT, FORCE_TIMES * float(np.sqrt(np.median(bulk**2))))
