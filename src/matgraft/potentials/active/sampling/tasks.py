"""From what is asked to tasks that know nothing of each other: a walk, or structures of one kind.

The order of tasks, and the seed of each, follow from the settings and the structures alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from zlib import crc32

import numpy as np

from matgraft.core.errors import OptionError
from matgraft.potentials.active.sampling.makers import MADE_OF, Material
from matgraft.potentials.active.sampling.making import Making
from matgraft.potentials.active.sampling.sampled import Finished
from matgraft.potentials.active.sampling.settings import Maker, SampleSettings
from matgraft.potentials.active.sampling.walkers import Walk
from matgraft.potentials.checks.structures import Structure
from matgraft.potentials.simulation.loading import Model

Task = Walk | Making


def carry_out(task: Task) -> Finished:
    """Do a task."""
    return task.run()


def tasks_of(
    model: Model, key: str, structures: Sequence[Structure], material: Material, settings: SampleSettings
) -> tuple[list[Task], list[str]]:
    """Return the tasks, and what is not done with some structures, in sentences.

    Parameters
    ----------
    model, key
        As a worker loads it, and the hash of what it predicts.

    Raises
    ------
    OptionError
        If nothing of what is asked applies to any structure.
    """
    tasks: list[Task] = [*_walks(model, key, structures, settings)]
    notes = []
    if settings.md and (left := [one.name for one in structures if not _moves(one, settings)]):
        notes.append(f"no {settings.md} dynamics of {', '.join(left)}: {_why_still(settings)}")
    for maker in settings.make:
        of = _of(maker, structures)
        if not of:
            notes.append(f"no {maker} is made: it takes {' or '.join(sorted(MADE_OF[maker]))} structures")
        if maker == "substitute" and of and len(material.elements) < 2:
            notes.append("substitute makes nothing: there is one element; name others, such as elements=Si,Ge")
        first = len(tasks)
        tasks += [
            Making(model, key, maker, one, material, settings, _seed(settings, first + k, maker))
            for k, one in enumerate(of)
        ]
    if not tasks:
        causes = [OptionError(one) for one in notes]
        raise OptionError("nothing that you asked for applies to the structures", causes=causes)
    return tasks, notes


def _walks(model: Model, key: str, structures: Sequence[Structure], settings: SampleSettings) -> Iterator[Walk]:
    if settings.md is None:
        return
    pressures = settings.pressure_GPa if settings.md == "npt" else (0.0,)
    moving = [one for one in structures if _moves(one, settings)]
    each = product(moving, settings.temperature, pressures, range(settings.walkers))
    for number, (structure, temperature, pressure, _) in enumerate(each):
        moves = f"{settings.md} {temperature.text} {pressure:g} GPa"
        yield Walk(model, key, structure, settings, number, temperature, pressure, _seed(settings, number, moves))


def _of(maker: Maker, structures: Sequence[Structure]) -> list[Structure | None]:
    """Return what a maker makes structures of: those that it takes, or nothing at all."""
    if maker == "prototype":
        return [None]
    return [one for one in structures if one.kind in MADE_OF[maker] and not one.lone]


def _moves(structure: Structure, settings: SampleSettings) -> bool:
    return not structure.lone and (settings.md == "nvt" or structure.kind == "bulk")


def _why_still(settings: SampleSettings) -> str:
    return "constant pressure is for bulk" if settings.md == "npt" else "a lone atom has nothing to move against"


def _seed(settings: SampleSettings, number: int, what: str) -> int:
    """Return a seed that no other task has.

    Walkers of two questions under one seed would be pushed by the same random forces: at 300 and 330 K the atoms of
    one stay within 0.004 Å of those of the other, and a frame that is scored on has a twin that is learned from.
    """
    return int(np.random.SeedSequence([settings.seed, number, crc32(what.encode())]).generate_state(1)[0])
