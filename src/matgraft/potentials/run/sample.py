"""Frames without labels for a pool: walkers of dynamics that stop at the gate, and structures that are made.

    sampled = sample("runs/silicon", SampleQuestion("pool.extxyz", ["si.cif"]), SampleSettings(md="nvt"))
    sampled.n_frames, sampled.walkers[0].stopped

What is finished lies in a folder beside the pool, so that a command that was killed goes on when it is typed again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms
from ase.io import write as write_frames
from pydantic import JsonValue

from matgraft.core.errors import OptionError, RunError
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.files import whole
from matgraft.core.quantities import FORCES, STRESS
from matgraft.core.registry import part_head
from matgraft.core.run_folder import by_option, kind_of
from matgraft.potentials.active.sampling.makers import Material
from matgraft.potentials.active.sampling.model import calculator_of, has_gate
from matgraft.potentials.active.sampling.plausible import WORDS, Reason
from matgraft.potentials.active.sampling.prototypes import Bond
from matgraft.potentials.active.sampling.sampled import Sampled, dropped_in
from matgraft.potentials.active.sampling.settings import MAKERS, SampleSettings
from matgraft.potentials.active.sampling.tasks import tasks_of
from matgraft.potentials.active.sampling.work import finish_tasks, parts
from matgraft.potentials.checks.physical import structure_hash
from matgraft.potentials.checks.structures import Structure, structures_given, structures_in, structures_of
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.run.check import frames_of
from matgraft.potentials.run.coverage import refuse_pool
from matgraft.potentials.simulation.loading import Model, load_subject, refuse_name
from matgraft.potentials.simulation.subject import Subject


@dataclass(frozen=True)
class SampleQuestion:
    """What is asked beside the settings.

    Attributes
    ----------
    out
        The pool, new: extended XYZ.
    structures
        Files of structures, or structures; of a run those of its own frames are taken where there are none.
    executor
        Where walkers run.
    in_loop
        A loop asks: its models have a gate from the second round on, so that a foundation leaves ``gate`` unread.
    """

    out: str | Path
    structures: Sequence[str | Path | Atoms] = ()
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    in_loop: bool = False


def sample(model: Model, question: SampleQuestion, settings: SampleSettings, *, quiet: bool = False) -> Sampled:
    """Sample frames.

    Parameters
    ----------
    model
        A run folder (of several heads ``runs/si#PBE``), a foundation, a vendor's file, ``module:function`` that makes
        an ASE calculator, or such a model or calculator itself, which works in this process alone.

    Raises
    ------
    OptionError
        If nothing is asked for, a setting is not read, the pool is there, the model is unknown or does not know an
        element, or there is no structure.
    RunError
        If no frame is left.
    """
    began, out = time.monotonic(), Path(question.out)
    _refuse(settings, out)
    refuse_name(model)
    structures, frames, notes = _structures(model, question, settings)
    subject = load_subject(model, [one.atoms for one in structures])
    gate = has_gate(calculator_of(subject))
    _refuse_subject(subject, structures, settings, gate or question.in_loop)
    named = model if isinstance(model, str | Path) or subject.potential is None else subject.potential.folder or model
    tasks, idle = tasks_of(named, subject.key, structures, _material(structures, frames, settings), settings)
    decides: dict[str, JsonValue] = {
        "the model": subject.key,
        "the structures": [structure_hash(one.atoms) for one in structures],
        **by_option(settings),
    }
    where = question.executor if isinstance(named, str | Path) else None
    with parts(out, decides) as folder:
        finished, lost = finish_tasks(tasks, folder, where, quiet=quiet)
        pool = [frame for one in finished for frame in one.frames]
        if pool:
            with whole(out) as part:
                write_frames(part, [one.atoms() for one in pool], format="extxyz")
    dropped = dropped_in(finished)
    if not pool:
        raise _nothing_left(dropped, lost)
    if settings.md and not gate:
        notes = (*notes, f"{subject.name} does not say how sure it is: no walker stops at a gate")
    return Sampled(
        model=subject.name,
        pool=str(out),
        n_frames=len(pool),
        kinds=dict(Counter(one.kind for one in pool)),
        origins=dict(Counter(one.origin for one in pool)),
        dropped=dropped,
        walkers=tuple(one.walker for one in finished if one.walker is not None),
        lost=lost,
        has_gate=gate,
        notes=(*notes, *idle),
        seconds=time.monotonic() - began,
    )


def _nothing_left(dropped: Mapping[Reason, int], lost: Mapping[str, str]) -> RunError:
    said = [f"dropped {count}: {WORDS[reason]}" for reason, count in dropped.items()]
    said += [f"{name}: {why}" for name, why in lost.items()]
    return RunError(
        "no frame is left",
        causes=[RunError(one) for one in said],
        remedy="begin with another structure or at a lower temperature, or set wider bounds (plausible.*)",
    )


# ------------------------------------------------------------------------------------------- before anything is moved


def _refuse(settings: SampleSettings, out: Path) -> None:
    if settings.md is None and not settings.make:
        raise OptionError("nothing is asked for", allowed=["--md nvt", "--md npt", f"--make {','.join(MAKERS)}"])
    settings.refuse_unread()
    refuse_pool(out)


def _structures(
    model: Model, question: SampleQuestion, settings: SampleSettings
) -> tuple[tuple[Structure, ...], Dataset, tuple[str, ...]]:
    """Return what to begin with, the run's labelled frames where they are needed, and what is left out."""
    of_run = isinstance(model, str | Path) and kind_of(part_head(model)[0]) == "frames"
    swaps = not settings.elements and {"substitute", "prototype"} & set(settings.make)
    frames = frames_of(model) if of_run and (not question.structures or swaps) else Dataset(())  # type: ignore[arg-type]
    given = [one for one in question.structures if isinstance(one, Atoms)]
    files = [one for one in question.structures if not isinstance(one, Atoms)]
    if given or files:
        return (*structures_of(files), *structures_given(given)), frames, ()
    if len(frames):
        found, left = structures_in(frames)
        said = f"{left} further compositions or kinds of structures of the run's frames are left out: name them"
        return found, frames, (said,) if left else ()
    raise OptionError(
        f"there is no structure to sample with {model}",
        allowed=["--structure FILE: a crystal, slab or molecule (CIF, POSCAR, extxyz)"],
    )


def _refuse_subject(subject: Subject, structures: Sequence[Structure], settings: SampleSettings, gate: bool) -> None:
    if FORCES.name not in subject.quantities:
        raise OptionError(f"{subject.name} predicts no forces", allowed=["a model that predicts forces"])
    if settings.md == "npt" and STRESS.name not in subject.quantities:
        raise OptionError(f"{subject.name} predicts no stress, which npt needs", options=[{"--md": "nvt"}])
    if not gate and settings.gate != SampleSettings().gate:
        raise OptionError(
            f"gate is not read: {subject.name} does not say how sure it is",
            allowed=["a run of `matgraft tune` with uncertainty=true"],
            remedy="leave it out",
        )
    if subject.elements is None:
        return
    for one in structures:
        if unknown := sorted(set(one.atoms.symbols) - subject.elements):
            raise OptionError(
                f"{subject.name} does not know {', '.join(unknown)}",
                where=one.name,
                remedy="leave the structure out, or take a model that knows its elements",
            )
    if unknown := sorted(set(settings.elements) - subject.elements):
        raise OptionError(f"{subject.name} does not know {', '.join(unknown)}", where="elements")


def _material(structures: Sequence[Structure], frames: Dataset, settings: SampleSettings) -> Material:
    own = dict.fromkeys([*(str(symbol) for one in structures for symbol in one.atoms.symbols), *frames.elements()])
    return Material(
        elements=settings.elements or tuple(own),
        bond=Bond.of([one.atoms for one in structures if one.kind == "bulk"]),
    )
