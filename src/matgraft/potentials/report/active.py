"""The report of a loop: how it ended, the rounds, the error against the number of DFT frames, what was chosen and why.

write_active_report(Path("runs/loop"))      # report.html, beside it report.md and report.json (the facts)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import plotly.graph_objects as go
from rich.console import Console

from matgraft.core.errors import RunError
from matgraft.core.files import write_text
from matgraft.core.frozen import Frozen
from matgraft.core.locks import works_in
from matgraft.core.report.document import (
    EVERYWHERE,
    PAGE,
    Block,
    Bullets,
    Cell,
    Column,
    Document,
    Drawing,
    Pairs,
    Plot,
    Plots,
    Row,
    Section,
    Table,
    Text,
)
from matgraft.core.report.figures import COLOURS, add_legend, empty_figure
from matgraft.core.report.html import to_html
from matgraft.core.report.markdown import to_markdown
from matgraft.core.report.screen import show_document
from matgraft.core.report.text import ABSENT, percent, written
from matgraft.core.run_folder import RunFile
from matgraft.core.verdict import Tone
from matgraft.potentials.active.labelling.labelled import Labelled
from matgraft.potentials.active.rounds import (
    CURVE,
    ENDED,
    LABELLED,
    REASONS,
    SELECTED,
    Curve,
    CurvePoint,
    Ended,
    Errors,
    RoundFacts,
    round_folder,
    rounds_kept,
    sampled_file,
)
from matgraft.potentials.active.rounds import Reason as EndReason
from matgraft.potentials.active.sampling.sampled import Sampled, Stop
from matgraft.potentials.active.selection.selected import LEFT, WHY, Chosen, Left, Selected

WALKER_ENDS: dict[Stop, str] = {
    "end": "the end of the walk",
    "gate": "the gate of the model",
    "break": "a break of the dynamics",
    "implausible": "an implausible frame",
}
FINAL: frozenset[EndReason] = frozenset({"nothing to label"})
"""Reasons after which a loop that goes on ends at once: what it samples and chooses from does not change."""
STAGES = ("sample", "select", "label", "tune", "check")


class LoopFacts(Frozen):
    """What the folder of a loop says.

    Attributes
    ----------
    ended
        None where it has not ended yet.
    sampled, selected, labelled
        By number of the round; those that frames of one's own began with have none.
    """

    folder: str
    ended: Ended | None
    rounds: tuple[RoundFacts, ...]
    sampled: dict[int, tuple[Sampled, ...]]
    selected: dict[int, Selected]
    labelled: dict[int, Labelled]
    curve: Curve

    @property
    def level(self) -> str:
        """How it ended, in a few words."""
        if self.ended is None:
            return "under way"
        return "converged" if self.ended.converged else "not converged"


FACTS = RunFile("report.json", LoopFacts)


def read_loop(out: Path) -> LoopFacts:
    """Read what the folder of a loop says.

    Raises
    ------
    RunError
        If there is no such folder.
    """
    if not out.is_dir():
        raise RunError("there is no such folder", where=str(out))
    rounds = rounds_kept(out)
    numbers = range(len(rounds) + 1)  # the round that is not done has some of them too
    sampled = {number: _blocks_of(round_folder(out, number)) for number in numbers}
    selected = {number: SELECTED.kept(round_folder(out, number)) for number in numbers}
    labelled = {number: LABELLED.kept(round_folder(out, number)) for number in numbers}
    return LoopFacts(
        folder=str(out),
        ended=ENDED.kept(out),
        rounds=tuple(rounds),
        sampled={number: found for number, found in sampled.items() if found},
        selected={number: found for number, found in selected.items() if found},
        labelled={number: found for number, found in labelled.items() if found},
        curve=CURVE.kept(out) or Curve(),
    )


def _blocks_of(folder: Path) -> tuple[Sampled, ...]:
    """Return what is known of the blocks of sampling of a round."""
    found: list[Sampled] = []
    while (one := sampled_file(len(found)).kept(folder)) is not None:
        found.append(one)
    return tuple(found)


@works_in("out")
def write_active_report(out: Path) -> Path:
    """Write report.html, report.md and report.json into the folder of a loop; return the page."""
    facts = read_loop(Path(out))
    document = active_document(facts)
    FACTS.write(out, facts)
    write_text(out / "report.md", to_markdown(document))
    write_text(out / "report.html", to_html(document))
    return out / "report.html"


def show_loop(screen: Console, facts: LoopFacts) -> None:
    """Print how a loop went."""
    show_document(screen, active_document(facts))


def active_document(facts: LoopFacts) -> Document:
    """Return the report."""
    sections = [
        _outcome(facts),
        _rounds(facts),
        _error_section(facts),
        _sampled_section(facts),
        _chosen_section(facts),
        _left_section(facts),
        _failures(facts),
        _time(facts),
    ]
    return Document(Path(facts.folder).name, sections, level=facts.level, kind="matgraft active learning")


# --------------------------------------------------------------------------------------------------------- the sections


def _outcome(facts: LoopFacts) -> Section:
    ended, n = facts.ended, len(facts.rounds)
    frames = ended.dft_frames if ended else facts.rounds[-1].dft_frames if facts.rounds else 0
    counted = f"{n} round{'s' * (n != 1)}, {frames} DFT frames"
    if ended is None:
        headline = f"Under way: {counted}."
    else:
        headline = f"{facts.level.capitalize()} after {counted}: {REASONS[ended.reason]}."
    blocks: list[Block] = [Text(headline, "headline")]
    if ended and ended.lacking:
        blocks.append(Bullets(ended.lacking, "Not reached", "×", "bad"))
    rows = [("Model", Cell(f"{facts.folder}/{ended.model}", code=True))] if ended and ended.model else []
    if ended is None or (not ended.converged and ended.reason not in FINAL):
        more = "" if ended is None else _more(ended, n)
        rows.append(("Go on", Cell(f"matgraft active --resume {facts.folder}{more}", code=True)))
    tone: Tone = "unknown" if ended is None else "good" if ended.converged else "caution"
    return Section("outcome", f"The loop: {facts.level}", [*blocks, Pairs(rows)], EVERYWHERE, tone, nav="Outcome")


def _more(ended: Ended, rounds: int) -> str:
    """Return the options that give a spent budget back."""
    options = {
        "rounds": f" rounds={rounds + 3}",
        "frames": f" stop.frames={max(10, 2 * ended.dft_frames)}",
        "no gain": " stop.gain=0",
        "hours": " stop.hours=null",
    }
    return options.get(ended.reason, "")


def _rounds(facts: LoopFacts) -> Section:
    lead = (
        "Errors are root mean squares on frames drawn at random from what was sampled, which nothing is learned from: "
        "those of all rounds so far, by the model of the round. Fresh: of forces, on those of this round alone, by the "
        "model that sampled them, before any fit. Gain: the part by which the error of forces fell on the same frames."
    )
    columns = [
        Column("Round"),
        Column("DFT"),
        Column("Sampled"),
        Column("Outside"),
        Column("Learned"),
        Column("Scored"),
        Column("Energy", "meV/atom"),
        Column("Forces", "eV/Å"),
        Column("Fresh", "eV/Å"),
        Column("Gain"),
    ]
    verdicts = [Column("Round"), Column("Tuning", number=False), Column("Checks", number=False)]
    blocks: list[Block] = [
        Text(lead, "lead"),
        Table(columns, [_round_row(one) for one in facts.rounds], "fit"),
        Table(verdicts, [Row(str(one.number), one.level, str(one.fit_for or ABSENT)) for one in facts.rounds], "fit"),
    ]
    return Section("rounds", "Rounds", blocks if facts.rounds else [Text("No round is done.", "nothing")], EVERYWHERE)


def _round_row(one: RoundFacts) -> Row:
    own = "" if one.part == "test" else one.part
    fresh = one.fresh.forces_eV_per_A if one.fresh else None
    return Row(
        str(one.number),
        str(one.dft_frames),
        str(one.n_pool),
        ABSENT if one.outside is None else percent(one.outside, 0),
        *(str(one.n_learn), str(one.n_audit)),
        Cell(written(one.errors.energy_meV_per_atom), own),
        Cell(written(one.errors.forces_eV_per_A), own),
        written(fresh),
        ABSENT if one.gain is None else percent(one.gain, 0).replace("-", "−"),
    )


def _error_section(facts: LoopFacts) -> Section:
    """Return the errors of all models on the same frames, against the number of DFT frames."""
    points = facts.curve.points
    if not points:
        said = "All models are scored on the same frames when the loop ends, where there are some to score on."
        return Section("error", "Error against DFT frames", [Text(said, "nothing")])
    n = points[-1].errors.n_frames
    lead = f"All models on the same {n} frames, which no round has learned from."
    plots = [
        Plot(name, [Drawing(f"active-{name.lower()}", drawn, f"{name}: error against DFT frames", "curve")])
        for name, drawn in (
            ("Energy", _figure(facts, "energy RMSE (meV/atom)", lambda one: one.energy_meV_per_atom)),
            ("Forces", _figure(facts, "forces RMSE (eV/Å)", lambda one: one.forces_eV_per_A)),
        )
        if drawn is not None
    ]
    columns = [Column("Round"), Column("DFT frames"), Column("Energy", "meV/atom"), Column("Forces", "eV/Å")]
    table = Table(columns, [_point_row(one) for one in points], "fit")
    blocks: list[Block] = [Text(lead, "lead"), *([Plots(plots)] if plots else []), table]
    return Section("error", "Error against DFT frames", blocks, EVERYWHERE)


def _point_row(one: CurvePoint) -> Row:
    errors = one.errors
    return Row(
        str(one.number), str(one.dft_frames), written(errors.energy_meV_per_atom), written(errors.forces_eV_per_A)
    )


def _figure(facts: LoopFacts, axis: str, error: Callable[[Errors], float | None]) -> go.Figure | None:
    whole = [(one.dft_frames, error(one.errors)) for one in facts.curve.points]
    fresh = [(one.dft_frames - one.labelled, error(one.fresh)) for one in facts.rounds if one.fresh]
    if not any(value is not None for _, value in whole):
        return None
    plot = empty_figure()
    for name, points, colour in (("same frames", whole, "tuned"), ("fresh frames, before the fit", fresh, "untuned")):
        told = [(n, value) for n, value in points if value is not None]
        plot.add_scatter(
            x=[n for n, _ in told],
            y=[value for _, value in told],
            name=name,
            mode="lines+markers",
            line={"color": COLOURS[colour]},
        )
    plot.update_xaxes(title="DFT frames", rangemode="tozero")
    plot.update_yaxes(title=axis, rangemode="tozero")
    add_legend(plot)
    return plot


def _sampled_section(facts: LoopFacts) -> Section:
    """Return what was sampled in each round by origin, how walkers ended, and what is missing."""
    rows, ends, lost = [], [], []
    for number, blocks in facts.sampled.items():
        origins = sum((Counter(one.origins) for one in blocks), Counter[str]())
        rows += [Row(str(number), origin, str(count)) for origin, count in origins.items()]
        stops = Counter(walker.stopped for one in blocks for walker in one.walkers)
        if stops:
            said = ", ".join(f"{count} at {WALKER_ENDS[stop]}" for stop, count in stops.items())
            ends.append(f"round {number}: {said}")
        lost += [f"round {number}, {name}: {why}" for one in blocks for name, why in one.lost.items()]
    columns = [Column("Round"), Column("Origin", number=False), Column("Frames")]
    lists = [Bullets(ends, "Walkers ended"), Bullets(lost, "Missing", "!", "caution")]
    blocks_: list[Block] = [Table(columns, rows, "fit"), *(one for one in lists if one.lines)]
    return Section("sampled", "What was sampled", blocks_ if rows else [Text("Nothing was sampled yet.", "nothing")])


def _chosen_section(facts: LoopFacts) -> Section:
    """Return what was chosen in each round: by reason and origin, with the range of the extrapolation."""
    words = ("Round", "Why", "Origin", "Frames", "Extrapolation")
    columns = [Column(one, number=one in ("Round", "Frames")) for one in words]
    rows = [row for number, one in facts.selected.items() for row in _chosen_rows(number, one.chosen)]
    used = dict.fromkeys(one.why for found in facts.selected.values() for one in found.chosen)
    notes = dict.fromkeys(f"round {number}: {note}" for number, one in facts.selected.items() for note in one.notes)
    lists = [Bullets([f"{why}: {WHY[why]}" for why in used], "Why"), Bullets(list(notes), "Notes")]
    blocks: list[Block] = [Table(columns, rows), *(one for one in lists if one.lines)]
    nothing = [Text("Nothing was chosen yet.", "nothing")]
    return Section("chosen", "What was chosen, and why", blocks if rows else nothing, EVERYWHERE)


def _chosen_rows(number: int, chosen: Sequence[Chosen]) -> Iterator[Row]:
    groups: dict[tuple[str, str], list[Chosen]] = defaultdict(list)
    for one in chosen:
        groups[one.why, one.origin].append(one)
    for (why, origin), own in groups.items():
        told = [one.extrapolation for one in own if one.extrapolation is not None]
        span = f"{written(min(told), 2)} to {written(max(told), 2)}" if told else ABSENT
        yield Row(str(number), why, origin, str(len(own)), span)


def _left_section(facts: LoopFacts) -> Section:
    """Return why the other frames of the pools were left out."""
    reasons: list[Left] = [reason for reason in LEFT if any(reason in one.left_out for one in facts.selected.values())]
    columns = [Column("Reason", number=False), *(Column(f"Round {number}") for number in facts.selected)]
    rows = [Row(LEFT[one], *(str(own.left_out.get(one, 0)) for own in facts.selected.values())) for one in reasons]
    blocks: list[Block] = [Table(columns, rows)] if rows else [Text("No frame was left out.", "nothing")]
    return Section("left", "What was left out", blocks, PAGE)


def _failures(facts: LoopFacts) -> Section:
    lines = [
        f"round {number}, {one.where}: {one.reason}" for number, own in facts.labelled.items() for one in own.failures
    ]
    blocks: list[Block] = [Bullets(lines) if lines else Text("Every frame that was asked for has a label.")]
    return Section("failures", "Frames without a label", blocks, EVERYWHERE if lines else PAGE)


def _time(facts: LoopFacts) -> Section:
    columns = [Column("Round"), *(Column(one.capitalize(), "min") for one in STAGES)]
    rows = [
        Row(
            str(one.number),
            *(written(one.seconds[stage] / 60, 1) if stage in one.seconds else ABSENT for stage in STAGES),
        )
        for one in facts.rounds
    ]
    blocks: list[Block] = [Table(columns, rows, "fit")] if rows else [Text("No round is done.", "nothing")]
    return Section("time", "Time", blocks, PAGE)


def round_line(one: RoundFacts) -> str:
    """Return what came of a round, in a line for the screen while the loop goes on."""
    energy, forces = one.errors.energy_meV_per_atom, one.errors.forces_eV_per_A
    outside = "" if one.outside is None else f", {percent(one.outside, 0)} of the sampled frames outside of the gate"
    checks = "" if one.fit_for is None else f"; checks: {one.fit_for}"
    return (
        f"round {one.number}: {one.dft_frames} DFT frames{outside}; on {one.part} frames {written(energy)} meV/atom, "
        f"{written(forces)} eV/Å; {one.level}{checks}"
    )
