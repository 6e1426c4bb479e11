"""The sections about the data: audit, split, coverage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from matgraft.core.report.document import (
    PAGE,
    Block,
    Bullets,
    Cell,
    Column,
    Heading,
    Pairs,
    Row,
    Section,
    Shares,
    SideBySide,
    Table,
    Text,
    finding_blocks,
)
from matgraft.core.report.text import decimals, written
from matgraft.potentials.audit.coverage import Coverage, Span
from matgraft.potentials.data.neighbours import Overlap
from matgraft.potentials.data.splits.parts import Split
from matgraft.potentials.report.facts import RunFacts
from matgraft.potentials.run_files import AUDIT, COVERAGE, SPLIT

MOST_NAMES = 12
"""Formulas or config types that are named with their number of frames."""
MOST_GROUPS = 5
OWN_FILE = "The test part is a separate file: {} frames, which are not in the shares above."


def audit_section(facts: RunFacts) -> Section:
    """Return what the audit found: failed findings in full, the others folded."""
    blocks = facts.blocks(AUDIT.name, facts.audit, lambda audit: finding_blocks(audit.findings))
    return Section("audit", "Audit of the labels", blocks, PAGE | {"markdown"}, nav="Audit")


def split_section(facts: RunFacts) -> Section:
    """Return frames, share and groups of each part, and what leaks."""
    return Section("split", "Split", facts.blocks(SPLIT.name, facts.split, _split))


def _split(split: Split) -> list[Block]:
    parts = {name: frames for name, frames in (*split.parts.items(), ("dropped", split.dropped)) if frames}
    total = sum(map(len, parts.values()))
    percents = {name: 100 * len(frames) / total for name, frames in parts.items()}
    rows = [
        Row(name.capitalize(), str(len(frames)), f"{percents[name]:.1f}", _groups(frames, split.groups))
        for name, frames in parts.items()
    ]
    groups = Column("Groups", "the largest first, frames in brackets", number=False)
    columns = [Column("Part", number=False), Column("Frames"), Column("Share", "%"), groups]
    own = split.sharing  # with a test file of its own
    overlaps = [*split.leaks, *([own.duplicates] if own else [])]
    leaks = [line for overlap in overlaps for line in _leaks(overlap)]
    warnings = [caution.text for caution in split.warnings]  # those of a test file of its own are among them
    return [
        Text(f"By {split.by}: {split.reason}. Seed {split.seed}.", "lead"),
        Shares([round(percent, 1) for percent in percents.values()]),
        Table(columns, rows),
        *([Text(OWN_FILE.format(own.duplicates.size))] if own else []),
        Bullets(leaks or ["None recorded."], "Near duplicates across parts"),
        *([Bullets(warnings, "Warnings")] if warnings else []),
    ]


def _groups(frames: Sequence[int], groups: Sequence[str]) -> str:
    counts = Counter(groups[i] for i in frames)
    shown = ", ".join(f"{name} ({count})" for name, count in counts.most_common(MOST_GROUPS))
    return f"{len(counts)}: {shown}{', …' if len(counts) > MOST_GROUPS else ''}"


def _leaks(overlap: Overlap) -> Iterator[str]:
    yield overlap.describe()
    if overlap.neighbours:
        yield overlap.describe_neighbours()
    if overlap.unclear:
        yield (
            f"of {len(overlap.unclear)} of {overlap.size} {overlap.part} frames it cannot be told whether they are "
            f"neighbours in time of a frame in {overlap.against}"
        )


def coverage_section(facts: RunFacts) -> Section:
    """Return what is missing, frames by kind of structure, and ranges."""
    return Section("coverage", "Coverage", facts.blocks(COVERAGE.name, facts.coverage, _coverage))


def _coverage(found: Coverage) -> list[Block]:
    missing = [f"{one.use} ({one.reason})" for one in found.missing]
    families: list[Block] = [Heading("Kinds of structures"), _families(found)]
    pairs = [("Frames", f"{found.n_frames:,}")]
    if found.n_examined is not None and found.n_examined < found.n_frames:
        pairs += [("Looked at by structure for liquids and adsorbates", f"{found.n_examined:,} frames")]
    pairs += [("Left out", found.left_out_in_words)] * bool(found.left_out)
    pairs += [("Largest shear strain", written(found.shear_strain))] * (found.shear_strain is not None)
    closest = "Closest pair of atoms, by the sum of covalent radii"
    pairs += [(closest, written(found.closest_ratio))] * (found.closest_ratio is not None)
    pairs += [("Formulas", _counted(found.formulas))] * bool(found.formulas)
    phases = [f"{formula}: {_counted(own)}" for formula, own in list(found.phases.items())[:MOST_NAMES]]
    pairs += [(f"Phases, by {found.phases_by}", "; ".join(phases))] * bool(phases)
    pairs += [("Config types", _counted(found.config_types))] * bool(found.config_types)
    return [
        Text(
            "Which structures the data have, and which are missing. For missing kinds the model extrapolates.", "lead"
        ),
        *([Bullets(missing, "Missing")] if missing else []),
        SideBySide([families, [Heading("Ranges"), _ranges(found)]]),
        Pairs(pairs),
    ]


def _families(found: Coverage) -> Table:
    counts = sorted(found.families.items(), key=lambda item: -item[1])
    rows = [
        Row(
            name,
            written(count, 0),
            Cell("", percent=round(100 * count / found.n_frames)),
            manner="" if count else "faint",
        )
        for name, count in counts
    ]
    heads = [Column("Kind", "a frame may be of several", number=False), Column("Frames"), Column("", number=False)]
    return Table(heads, rows)


def _ranges(found: Coverage) -> Table:
    spans = {
        ("Atoms a frame", ""): found.n_atoms,
        ("Volume over the median of its composition", ""): found.volume_ratio,
        ("Temperature, as tags say", "K"): found.temperature_K,
        ("Force on an atom", "eV/Å"): found.force_eV_per_A,
        **{(f"Volume of {formula}", "Å³/atom"): span for formula, span in found.volume_A3.items()},
    }
    rows = [Row(Cell(name, unit), *_ends(span)) for (name, unit), span in spans.items() if span]
    return Table([Column("What", number=False), *map(Column, ("Lowest", "Median", "Highest"))], rows)


def _ends(span: Span) -> list[str]:
    values = (span.low, span.median, span.high)
    whole = all(value == int(value) for value in values)
    places = 0 if whole else min(3, decimals(values[1:]))
    return [written(value, places) for value in values]


def _counted(counts: Mapping[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:MOST_NAMES]]
    return ", ".join([*shown, f"{len(counts) - MOST_NAMES} more"] if len(counts) > MOST_NAMES else shown)
