"""Labelled frames of a round by what they are for, each with where it comes from.

What was drawn to score on goes to ``audit.extxyz``, all else to ``learn.extxyz``; a file that would hold no frame is
not written. The level of theory lies beside each.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.io import write as write_frames

from matgraft.core.files import remove, whole
from matgraft.potentials.active.rounds import AUDIT, LABELLED_FRAMES, LEARN, Merged, RoundFacts
from matgraft.potentials.data.groups import WALKER_KEY
from matgraft.potentials.data.reading.formats.ase_files import read_structures


def merge_labelled(folder: Path, number: int, rounds: Sequence[RoundFacts]) -> Merged:
    """Part the labelled frames of a round, which `folder` holds.

    Parameters
    ----------
    rounds
        Those before.
    """
    labelled = folder / LABELLED_FRAMES
    frames = read_structures(labelled) if labelled.is_file() and labelled.stat().st_size else []
    for atoms in frames:
        # Walkers are counted from 0 in each round. By these tags frames of one stay together wherever they are split.
        walker = f"round {number}: {atoms.info.get('walker', 'frame')}"
        atoms.info |= {WALKER_KEY: walker, "trajectory": walker}
        atoms.info["round"] = number
    parts = {
        name: [one for one in frames if (one.info.get("why") == "audit") == (name == AUDIT)] for name in (LEARN, AUDIT)
    }
    for name, own in parts.items():
        _write(own, folder / name, labelled.with_suffix(".yaml"))
    before = rounds[-1] if rounds else None
    return Merged(
        learn=len(parts[LEARN]),
        audit=len(parts[AUDIT]),
        n_learn=len(parts[LEARN]) + (before.n_learn if before else 0),
        n_audit=len(parts[AUDIT]) + (before.n_audit if before else 0),
    )


def _write(frames: Sequence[Atoms], path: Path, theory: Path) -> None:
    if not frames:
        remove(path)
        return
    if theory.is_file():
        with whole(path.with_suffix(".yaml")) as part:
            shutil.copyfile(theory, part)
    with whole(path) as part:
        write_frames(part, frames, format="extxyz")
