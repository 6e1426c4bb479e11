"""How far labels are converged, and how much noise they have, before the first of many is computed.

One frame is computed with a denser k-mesh, with a higher cutoff, and moved as a whole by a part of a grid spacing. What
the last of these changes is noise: energy and forces do not depend on where a crystal stands, but on a real-space grid
they do (the egg-box effect). A higher cutoff lowers the energy of all frames of a composition nearly alike, and what
counts is the rest: a second frame is computed too, and the difference of both judged. All of it goes through the store
like any label, so that nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from pydantic import JsonValue

from matgraft.core.quantities import ENERGY, FORCES, STRESS, Array
from matgraft.potentials.active.labelling import espresso
from matgraft.potentials.active.labelling.compute import Bench, Job
from matgraft.potentials.active.labelling.engine import ESPRESSO, Engine
from matgraft.potentials.active.labelling.labelled import Moved, Probe
from matgraft.potentials.data.geometry import SLAB_A, vacuum

DENSER, HIGHER = 1.5, 1.3
"""Factors on divisions of the mesh (up to the next whole one) and on the cutoff."""
STRETCH = 0.02
SAME_A = 1e-3
"""Differences of distances, Å (of products of cell vectors, Å²), below which two frames are one."""
SHIFT_A = (0.11, 0.07, 0.05)
"""A part of the spacing of usual grids (0.1 to 0.3 Å), along no axis of a cell."""


class SettingChange(NamedTuple):
    """A setting that is changed: its name, its words before and after, and the engine or the frame that it makes."""

    setting: str
    before: str
    after: str
    engine: Engine
    atoms: Atoms

    @property
    def of_engine(self) -> bool:
        """Whether it is the engine that changes, and not the frame."""
        return self.setting in ("k-mesh", "cutoff")


def probes_itself(engine: Engine) -> bool:
    """Say whether an engine has a mesh or a cutoff that the probe can vary: it is probed unless that is declined."""
    return engine.calculator in _VARIED


def chosen(frames: Sequence[Atoms]) -> int:
    """Return the number of the frame to probe: the smallest crystal, or the smallest of all."""
    return min(range(len(frames)), key=lambda i: (not frames[i].pbc.any(), len(frames[i])))


def partner_of(frames: Sequence[Atoms], number: int) -> tuple[Atoms, str]:
    """Return another frame of the same composition with its name: one of the frames, or the frame itself, stretched.

    A copy of the probed frame, moved or turned, is no other one: the difference of both is zero at any cutoff.
    """
    own = frames[number].get_chemical_formula()
    same = (i for i, one in enumerate(frames) if one.get_chemical_formula() == own)
    other = next((i for i in same if not _same_shape(frames[i], frames[number])), None)
    if other is not None:
        return frames[other], f"frame {other}"
    stretched = frames[number].copy()
    factor = 1 + STRETCH
    stretched.positions *= factor
    stretched.set_cell(factor * stretched.cell[:])
    return stretched, f"the frame with all lengths {STRETCH:.0%} longer"


def _same_shape(one: Atoms, other: Atoms) -> bool:
    """Say whether two frames of one composition have the same cell and the same distances, as moved copies have."""
    (cell, other_cell), (own, others) = (
        [frame.cell[:] @ frame.cell[:].T for frame in (one, other)],
        [np.sort(frame.get_all_distances(mic=bool(frame.pbc.any())), axis=None) for frame in (one, other)],
    )
    return np.allclose(cell, other_cell, atol=SAME_A) and np.allclose(own, others, atol=SAME_A)


def changes_of(engine: Engine, atoms: Atoms) -> list[SettingChange]:
    """Return the settings that are changed, one at a time."""
    moved = atoms.copy()
    moved.positions += SHIFT_A
    words = ", ".join(f"{x:g}" for x in SHIFT_A)
    vary = _VARIED.get(engine.calculator)
    return [
        *(vary(engine, atoms) if vary else ()),
        SettingChange("shift", "", f"by ({words}) Å", engine, moved),
    ]


def probe(engine: Engine, key: str, frames: Sequence[Atoms], bench: Bench) -> Probe:
    """Return how far the label of one of the frames moves; what the store has is not computed again."""
    number = chosen(frames)
    atoms, changes = frames[number], changes_of(engine, frames[number])
    partner, name = partner_of(frames, number)
    in_pairs = any(one.of_engine for one in changes)
    pair = [Job.of(one, engine, key) for one in ([atoms, partner] if in_pairs else [atoms])]
    changed = [
        [Job.of(one.atoms, one.engine), Job.of(partner, one.engine)]
        if one.of_engine
        else [Job.of(one.atoms, engine, key)]
        for one in changes
    ]
    bench.compute([*pair, *(job for jobs in changed for job in jobs)])
    moved = [_moved(change, pair, jobs, bench) for change, jobs in zip(changes, changed, strict=True)]
    return Probe(
        frame=number,
        formula=atoms.get_chemical_formula(),
        n_atoms=len(atoms),
        partner=name if in_pairs else "",
        moved=tuple(moved),
    )


def _moved(change: SettingChange, pair: Sequence[Job], changed: Sequence[Job], bench: Bench) -> Moved:
    said = {"setting": change.setting, "before": change.before, "after": change.after}
    jobs = [*pair[: len(changed)], *changed]
    labels = [bench.store.label(job.key) for job in jobs]
    found = [label.arrays for label in labels if label is not None]
    if len(found) < len(jobs):
        failed = (bench.store.failure(job.key) for job in jobs)
        return Moved(**said, failed=next(one.tries[-1].reason for one in failed if one))
    before, after = found[0], found[len(changed)]
    energies = [float(one[ENERGY.name]) for one in found]
    per_atom = ENERGY.report_scale / len(before["numbers"])
    energy = per_atom * (energies[len(changed)] - energies[0])
    difference = energy - per_atom * (energies[3] - energies[1]) if change.of_engine else None
    forces = _rms(after[FORCES.name] - before[FORCES.name])
    both = STRESS.name in before and STRESS.name in after
    stress = _rms(after[STRESS.name] - before[STRESS.name]) * STRESS.report_scale if both else None
    aim = pair[0].engine.aim
    limits = {
        "energy": (abs(energy if difference is None else difference), aim.energy_meV_per_atom),
        "forces": (forces, aim.forces_eV_per_A),
        "stress": (stress or 0.0, aim.stress_GPa),
    }
    return Moved(
        **said,
        energy_meV_per_atom=energy,
        difference_meV_per_atom=difference,
        forces_eV_per_A=forces,
        stress_GPa=stress,
        beyond=tuple(name for name, (value, limit) in limits.items() if value > limit),
    )


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


# --- what is changed, by code ----------------------------------------------------------------------------------------


def _denser(divisions: Sequence[int], atoms: Atoms) -> list[int]:
    """Return more divisions along each direction that repeats: through vacuum one is as good as many."""
    empty = vacuum(atoms) > SLAB_A
    return [n if n == 1 and gap else int(np.ceil(n * DENSER)) for n, gap in zip(divisions, empty, strict=True)]


def _mesh_words(divisions: Sequence[int], offset: Sequence[float]) -> str:
    shifted = f", shifted by {', '.join(f'{x:g}' for x in offset)} divisions" if any(offset) else ", Γ-centred"
    return "x".join(map(str, divisions)) + shifted


def _of_espresso(engine: Engine, atoms: Atoms) -> list[SettingChange]:
    found = []
    if (mesh := espresso.mesh_of(engine.parameters, atoms)) is not None:
        divisions, offset = mesh
        denser = _denser(divisions, atoms)
        given = {
            name: value for name, value in engine.parameters.items() if name not in ("kspacing", "kpts", "koffset")
        }
        parameters = {**given, "kpts": list(denser), "koffset": [int(x > 0) for x in offset]}
        other = engine.model_copy(update={"parameters": parameters})
        if denser != list(divisions):
            found.append(
                SettingChange("k-mesh", _mesh_words(divisions, offset), _mesh_words(denser, offset), other, atoms)
            )
    if cutoff := espresso.cutoffs(engine):
        wave, dense = cutoff
        higher = espresso.with_cutoffs(engine, HIGHER * wave, HIGHER * dense)
        before, after = f"{wave:g} and {dense:g} Ry", f"{HIGHER * wave:g} and {HIGHER * dense:g} Ry"
        found.append(SettingChange("cutoff", before, after, higher, atoms))
    return found


def _of_vasp(engine: Engine, atoms: Atoms) -> list[SettingChange]:
    own = {name.lower(): name for name in engine.parameters}
    kpts, spacing, cutoff = (engine.parameters.get(own.get(name, "")) for name in ("kpts", "kspacing", "encut"))
    found = _denser_mesh(engine, own.get("kpts", ""), kpts, atoms)
    if isinstance(spacing, int | float) and not found:
        denser = engine.with_parameters(**{own["kspacing"]: spacing / DENSER})
        found.append(SettingChange("k-mesh", f"{spacing:g} 1/Å", f"{spacing / DENSER:g} 1/Å", denser, atoms))
    if isinstance(cutoff, int | float):
        higher = engine.with_parameters(**{own["encut"]: HIGHER * cutoff})
        found.append(SettingChange("cutoff", f"{cutoff:g} eV", f"{HIGHER * cutoff:g} eV", higher, atoms))
    return found


def _of_gpaw(engine: Engine, atoms: Atoms) -> list[SettingChange]:
    kpts, mode = engine.parameters.get("kpts"), engine.parameters.get("mode")
    found = _denser_mesh(engine, "kpts", kpts, atoms)
    if isinstance(kpts, dict) and isinstance(density := kpts.get("density"), int | float):
        denser = engine.with_parameters(kpts={**kpts, "density": density * DENSER})
        found.append(
            SettingChange("k-mesh", f"density {density:g} Å", f"density {density * DENSER:g} Å", denser, atoms)
        )
    if isinstance(mode, dict) and isinstance(cutoff := mode.get("ecut"), int | float):
        higher = engine.with_parameters(mode={**mode, "ecut": HIGHER * cutoff})
        found.append(SettingChange("cutoff", f"{cutoff:g} eV", f"{HIGHER * cutoff:g} eV", higher, atoms))
    return found


def _denser_mesh(engine: Engine, name: str, kpts: JsonValue, atoms: Atoms) -> list[SettingChange]:
    """Return the change of a mesh that is given in divisions; the rule that shifts it stays."""
    if not (isinstance(kpts, list) and len(kpts) == 3):
        return []
    divisions = [int(str(n)) for n in kpts]
    denser = list[JsonValue](_denser(divisions, atoms))
    before, after = ("x".join(map(str, one)) for one in (divisions, denser))
    return (
        [SettingChange("k-mesh", before, after, engine.with_parameters(**{name: denser}), atoms)]
        if before != after
        else []
    )


_VARIED: dict[str, Callable[[Engine, Atoms], list[SettingChange]]] = {
    ESPRESSO: _of_espresso,
    "vasp": _of_vasp,
    "gpaw": _of_gpaw,
}
