"""What the terminal shows of `matgraft sample` and `matgraft coverage`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from matgraft.core.report.document import Block, Bullets, Column, Row, Table, Text
from matgraft.core.report.screen import show_blocks
from matgraft.core.report.text import written
from matgraft.potentials.active.sampling.plausible import WORDS
from matgraft.potentials.active.sampling.sampled import Sampled, Walker

MOST_SHOWN = 40
"""Walkers in the table; the JSON has all."""


def show_sampled(screen: Console, facts: Sampled) -> None:
    """Print what became of each walker, what the pool holds, and what was dropped."""
    blocks: list[Block] = []
    if facts.walkers:
        blocks.append(_walkers(facts))
    kinds = [Row(kind, str(count)) for kind, count in facts.kinds.items()]
    blocks.append(Table([Column("Kind", number=False), Column("Frames")], kinds))
    dropped = [f"{count} dropped: {WORDS[reason]}" for reason, count in facts.dropped.items()]
    lost = [f"{name}: {why}" for name, why in facts.lost.items()]
    blocks += [Bullets(dropped), Bullets(lost, title="Missing in the pool" if lost else ""), Bullets(facts.notes)]
    blocks.append(Text(f"{facts.pool}: {facts.n_frames} frames without labels, in {facts.seconds:.0f} s"))
    show_blocks(screen, blocks)


def _walkers(facts: Sampled) -> Table:
    heads = [Column("Walker"), Column("Structure", number=False), Column("Dynamics", number=False)]
    heads += [Column("Walked", "ps"), Column("Ended", number=False), Column("Extrapolation"), Column("Frames")]
    return Table(heads, [Row(*_cells(one)) for one in facts.walkers[:MOST_SHOWN]])


def _cells(one: Walker) -> Iterator[str]:
    pressure = f", {one.pressure_GPa:g} GPa" if one.ensemble == "npt" else ""
    yield str(one.walker)
    yield one.structure
    yield f"{one.ensemble} {one.temperature.text}{pressure}"
    asked = one.asked_steps * one.timestep_fs / 1000
    yield f"{one.steps * one.timestep_fs / 1000:.3g} of {asked:.3g}"
    yield ended(one)
    yield written(one.extrapolation, 2)
    yield str(one.frames)


def ended(one: Walker) -> str:
    """Say why a walker ended."""
    if one.broke is not None:
        return one.broke.sentence()
    if one.reason is not None:
        return f"a frame was not plausible: {WORDS[one.reason]}"
    return "at the gate" if one.stopped == "gate" else "as asked"
