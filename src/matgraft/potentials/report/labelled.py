"""What the terminal shows of labelling: how many frames have a label, why others have none, how sure labels are."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from matgraft.core.report.document import Block, Bullets, Column, Row, Table, Text
from matgraft.core.report.screen import show_blocks
from matgraft.potentials.active.labelling.labelled import Failure, Labelled, Moved, Probe

MOST = 10
"""Failures that are listed; the file beside the labelled frames has all."""


def show_labelled(screen: Console, labelled: Labelled) -> None:
    """Print what came of labelling."""
    show_blocks(screen, labelling_blocks(labelled))


def labelling_blocks(labelled: Labelled) -> list[Block]:
    """Return what came of labelling as blocks."""
    found: list[Block] = [Text(_headline(labelled))]
    if labelled.theory:
        found.append(Text(f"Level of theory: {labelled.theory.describe()}."))
    found += [Text(f"{note}.", mark="Note:", tone="caution") for note in labelled.notes]
    if labelled.probe:
        found += probe_blocks(labelled.probe)
    if labelled.failures:
        found.append(Bullets(_failures(labelled.failures), f"Without a label: {len(labelled.failures)}", "✕", "bad"))
        if any(one.before for one in labelled.failures):
            found.append(Text("What failed in an earlier call was not tried again: --retry-failed does."))
    if labelled.written:
        found.append(Text(f"Labelled frames: {labelled.written}"))
    return found


def probe_blocks(probe: Probe) -> list[Block]:
    """Return how far labels are converged and how noisy they are."""
    title = f"Convergence and noise, measured on frame {probe.frame} ({probe.formula})"
    columns = [
        Column("Changed", number=False),
        Column("from", number=False),
        Column("to", number=False),
        Column("energy", "meV/atom"),
        Column("above another frame", "meV/atom"),
        Column("forces", "eV/Å"),
        Column("stress", "GPa"),
    ]
    found: list[Block] = [
        Text(f"{title}; root mean square of forces and stress."),
        Table(columns, [_row(one) for one in probe.moved]),
    ]
    for one in probe.moved:
        if one.failed:
            found.append(Text(f"{one.setting}: no figure, {one.failed}.", mark="Note:", tone="caution"))
        elif one.beyond:
            what = "noise" if one.setting == "shift" else f"a better {one.setting}"
            found.append(
                Text(f"{what} moves {', '.join(one.beyond)} beyond what is aimed for.", mark="Warning:", tone="caution")
            )
    return found


def _row(one: Moved) -> Row:
    if one.failed:
        return Row(one.setting, one.before, one.after, "–", "–", "–", "–")
    difference = "–" if one.difference_meV_per_atom is None else _figure(one.difference_meV_per_atom)
    stress = "–" if one.stress_GPa is None else _figure(one.stress_GPa)
    energy = _figure(one.energy_meV_per_atom)
    return Row(one.setting, one.before, one.after, energy, difference, _figure(one.forces_eV_per_A), stress)


def _headline(labelled: Labelled) -> str:
    parts = [f"{labelled.n_labelled} of {labelled.n_asked} frames have a label by {labelled.engine}"]
    parts += [f"{labelled.n_from_store} of them were in the store {labelled.store}"] if labelled.n_from_store else []
    parts += [f"{labelled.n_computed} calculations, {labelled.calculation_s:.1f} s"] if labelled.n_computed else []
    return "; ".join(parts) + "."


def _failures(failures: tuple[Failure, ...]) -> list[str]:
    said = [f"{one.where}: {one.reason}{_tries(one)}" for one in failures[:MOST]]
    if rest := failures[MOST:]:
        reasons = Counter(one.reason for one in rest).most_common(1)[0]
        said.append(f"{len(rest)} further; most often ({reasons[1]}): {reasons[0]}")
    return said


def _tries(one: Failure) -> str:
    reasons = [each.reason for each in one.tries]
    if len(reasons) < 2:
        return ""
    if len(set(reasons)) == 1:
        return f" ({len(reasons)} tries)"
    return f" ({len(reasons)} tries; before: {'; '.join(dict.fromkeys(reasons[:-1]))})"


def _figure(value: float) -> str:
    return f"{value:.3g}"
