"""What the terminal shows of `matgraft sample` and `matgraft coverage`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from matgraft.core.report.document import Block, Bullets, Column, Row, Table, Text
from matgraft.core.report.screen import show_blocks
from matgraft.core.report.text import written
from matgraft.potentials.active.demands import Gaps
from matgraft.potentials.active.sampling.plausible import WORDS
from matgraft.potentials.active.sampling.sampled import Sampled, Walker
from matgraft.potentials.checks.settings import use_in_words

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
    yield how_ended(one)
    yield written(one.extrapolation, 2)
    yield str(one.frames)


def how_ended(one: Walker) -> str:
    """Say why a walker ended."""
    if one.broke is not None:
        return one.broke.sentence()
    if one.reason is not None:
        return f"a frame was not plausible: {WORDS[one.reason]}"
    return "at the gate" if one.stopped == "gate" else "as asked"


def show_gaps(screen: Console, facts: Gaps) -> None:
    """Print what the frames hold, what they lack for each use, and what was proposed."""
    held = [Row(kind, str(count)) for kind, count in facts.coverage.families.items() if count]
    uses = ", ".join(use_in_words(use, facts.wanted.temperature_K) for use in facts.wanted.uses)
    blocks: list[Block] = [
        Text(f"{', '.join(facts.files)}: {facts.coverage.n_frames} frames, for {uses}"),
        Bullets(facts.notes),
        Table([Column("Kind", number=False), Column("Frames")], held),
    ]
    lacking = [one.sentence for one in facts.lacks]
    blocks.append(Bullets(lacking, title="Lacking") if lacking else Text("Nothing is lacking."))
    if facts.out:
        blocks.append(Text(f"{facts.out}: {facts.n_proposed} proposed frames without labels"))
    elif facts.n_proposed:
        blocks.append(Text(f"{facts.n_proposed} frames can be proposed; -o proposed.extxyz writes them"))
    show_blocks(screen, blocks)
