"""The tables about data: audit, split, coverage, files, level of theory. Facts in, rows of ready text out.

Every function takes the value of `matgraft.potentials.report.facts.facts` and stands whatever is missing from it or odd
in it.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from matgraft.core.findings import Action, list_frames
from matgraft.core.options import offer, shell, typeable
from matgraft.core.report.text import ABSENT, decimals, entries, figure, find, in_words, mapping, number, say, stated

Facts = Mapping[str, Any]

RANGES = {
    "n_atoms": ("Atoms a frame", ""),
    "volume_ratio": ("Volume over the median of its composition", ""),
    "temperature_K": ("Temperature, as tags say", "K"),
    "force_eV_per_A": ("Force on an atom", "eV/Å"),
}
SINGLE = {
    "n_frames": ("Frames", 0),
    "shear_strain": ("Largest shear strain", None),
    "closest_ratio": ("Closest pair of atoms, by the sum of covalent radii", None),
}
"""Key of coverage.json -> title, and decimal places; None gives three significant digits."""
COUNTS = {"formulas": "Formulas", "config_types": "Config types"}


def findings(facts: Facts, outcome: str) -> list[dict[str, Any]]:
    """Return the audit's findings of one outcome, errors before warnings."""
    order = {"error": 0, "warning": 1}
    found = [mapping(one) for one in entries(find(facts, "audit", "findings"))]
    chosen = [one for one in found if one.get("outcome") == outcome]
    return [_finding(one) for one in sorted(chosen, key=lambda one: order.get(str(one.get("severity")), 2))]


def _finding(found: Mapping[str, Any]) -> dict[str, Any]:
    frames, files = ([say(one) for one in entries(found.get(key))] for key in ("frames", "files"))
    return {
        **{key: str(found.get(key) or "") for key in ("code", "title", "severity", "evidence", "remedy")},
        "options": [text for action in entries(found.get("actions")) if (text := _option(action))],
        "frames": f"{len(frames)}: {list_frames(frames, files)}" if frames else "",
        "numbers": [(name, say(value)) for name, value in mapping(found.get("numbers")).items()],
    }


def _option(action: object) -> str:
    try:
        options = Action.model_validate(action).options
        return shell(options) if typeable(options) else offer(options)
    except ValidationError:
        return ""


def split(facts: Facts) -> dict[str, Any] | None:
    """Return frames, share and groups of each part, and what leaks."""
    found = facts["split"]
    if not found:
        return None
    parts = {part: entries(found.get(part)) for part in ("train", "validation", "test", "dropped")}
    total = sum(map(len, parts.values()))
    groups = entries(found.get("groups"))
    sharing = mapping(found.get("sharing"))
    rows = [
        {
            "name": part,
            "frames": len(frames),
            "percent": f"{100 * len(frames) / total:.1f}",
            "groups": _largest_groups(frames, groups),
        }
        for part, frames in parts.items()
        if frames
    ]
    leaks = [*entries(found.get("leaks")), *entries(sharing.get("duplicates"))]
    return {
        "by": say(found.get("by")),
        "reason": say(found.get("reason")),
        "seed": say(found.get("seed")),
        "parts": rows,
        "given": figure(find(sharing, "duplicates", "size"), 0) if sharing else "",
        "leaks": [_leak(mapping(leak)) or say(leak) for leak in leaks],
        "warnings": [say(mapping(warning).get("text")) for warning in entries(found.get("warnings"))],
    }


def _largest_groups(frames: list[Any], groups: list[Any]) -> str:
    names = [str(groups[i]) for i in frames if isinstance(i, int) and 0 <= i < len(groups)]
    counts = Counter(names)
    shown = ", ".join(f"{name} ({count})" for name, count in counts.most_common(5))
    return f"{len(counts)}: {shown}{', …' if len(counts) > 5 else ''}" if counts else ABSENT


def _leak(leak: Mapping[str, Any]) -> str:
    if not {"part", "against", "frames", "pairs", "size"} <= set(leak):
        return ""
    among = f", at least: compared were {say(leak['among'])}" if leak.get("among") else ""
    of = f"of {say(leak['size'])} {say(leak['part'])} frames"
    against = say(leak["against"])
    found = (
        f"{len(entries(leak['frames']))} {of} have a near duplicate in {against} ({say(leak['pairs'])} pairs){among}"
    )
    if close := entries(leak.get("neighbours")):
        found += f"; {len(close)} {of} are neighbours in time of a frame in {against}"
    if unclear := entries(leak.get("unclear")):
        found += (
            f"; of {len(unclear)} {of} it cannot be told whether they are neighbours in time of a frame in {against}"
        )
    return found


def coverage(facts: Facts) -> dict[str, Any] | None:
    """Return what is missing, frames by kind of structure, ranges, and whatever else coverage.json says."""
    found = facts["coverage"]
    if not found:
        return None
    ranges = [(*RANGES[key], mapping(found.get(key))) for key in RANGES]
    volumes = mapping(found.get("volume_A3"))
    ranges += [(f"Volume of {formula}", "Å³/atom", mapping(ends)) for formula, ends in volumes.items()]
    known = {*RANGES, *SINGLE, *COUNTS, "families", "missing", "volume_A3"}
    return {
        "missing": [
            f"{say(mapping(one).get('use'))} ({say(mapping(one).get('reason'))})"
            for one in entries(found.get("missing"))
        ],
        "families": _shares(mapping(found.get("families")), number(found.get("n_frames"))),
        "ranges": [(name, unit, _ends(ends)) for name, unit, ends in ranges if ends],
        "facts": [
            *(
                (title, figure(found[key], places))
                for key, (title, places) in SINGLE.items()
                if number(found.get(key)) is not None
            ),
            *((title, _counted(mapping(found.get(key)))) for key, title in COUNTS.items() if found.get(key)),
            *((in_words(key), say(value)) for key, value in found.items() if key not in known),
        ],
    }


def _shares(counts: Mapping[str, Any], total: float | None) -> list[dict[str, str]]:
    known = [(name, value) for name, count in counts.items() if (value := number(count)) is not None]
    return [
        {"name": name, "frames": figure(count, 0), "percent": f"{min(100.0, 100 * count / total):.0f}" if total else ""}
        for name, count in sorted(known, key=lambda item: -item[1])
    ]


def _ends(ends: Mapping[str, Any]) -> list[str]:
    values = [number(ends.get(key)) for key in ("low", "median", "high")]
    whole = all(value is None or value == int(value) for value in values)
    places = 0 if whole else min(3, decimals(value for value in values[1:]))
    return [figure(value, places) for value in values]


def _counted(counts: Mapping[str, Any], most: int = 12) -> str:
    shown = [f"{name} ({say(count)})" for name, count in list(counts.items())[:most]]
    return ", ".join([*shown, f"{len(counts) - most} more"] if len(counts) > most else shown)


def files(facts: Facts) -> list[dict[str, str]]:
    """Return the files read: name, frames, keys, units, hash."""
    found = [mapping(f) for key in ("files", "test_files") for f in entries(find(facts, "provenance", key))]
    return [
        {
            "name": say(file.get("name")),
            "frames": figure(file.get("n_samples"), 0),
            "read": "; ".join(_labels_read(file)) or ABSENT,
            "sha256": say(file.get("sha256")),
        }
        for file in found
    ]


def _labels_read(file: Mapping[str, Any]) -> list[str]:
    keys, units = mapping(file.get("keys")), mapping(file.get("units"))
    named = {name: f" from {say(key)!r}" for name, key in keys.items()}
    taken = {name: f" in {say(unit)}" for name, unit in units.items()}
    return [f"{name}{named.get(name, '')}{taken.get(name, '')}" for name in dict.fromkeys([*keys, *units])]


def theories(facts: Facts) -> list[list[tuple[str, str]]]:
    """Return each level of theory as what was stated."""
    found = [mapping(theory) for theory in entries(find(facts, "provenance", "theory"))]
    return [[(in_words(name), say(value)) for name, value in mapping(stated(theory)).items()] for theory in found]


def card(facts: Facts) -> list[tuple[str, str]]:
    """Return what the foundation's card says; what other sections show is left out."""
    found = mapping(facts["card"])
    found = mapping(found.get("parent")) or found
    left_out = {"recipe", "metrics", "references_eV", "data_sha256"}
    rows = [(in_words(name), say(stated(value))) for name, value in found.items() if name not in left_out]
    return [(name, text) for name, text in rows if text != ABSENT]


def commands(facts: Facts) -> list[str]:
    """Return what to type to make, score and show this run again."""
    run, test = str(facts.get("folder") or facts["run"]), find(facts, "recipe", "test")
    scored = test if isinstance(test, str) and test else "FRAMES"
    heads = [f"{run}#{head}" for head in mapping(find(facts, "card", "heads"))]
    words = [
        ("tune", f"{run}/recipe.yaml", "--out", f"{run}-again"),
        *[("evaluate", head, "FRAMES") for head in heads],
        *([] if heads else [("evaluate", run, scored)]),
        ("report", run),
    ]
    return [shlex.join(("matgraft", *line)) for line in words]
