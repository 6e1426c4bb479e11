"""Charges and spins: frames in several electronic states, of which no foundation knows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from math import isfinite

from matgraft.core.findings import Action, Code, Fault, Finding, Severity
from matgraft.potentials.audit.base import Evidence, count

NOT_STATED = "not stated"

MIXED_STATES = Code("mixed-states", "frames of several charges or spins")

CHARGES = ("charge", "total_charge", "tot_charge", "net_charge", "system_charge", "cell_charge", "molecular_charge")
"""Names of a tag that holds the charge of a frame, in lower case."""
SPINS = ("spin", "total_spin", "multiplicity", "spin_multiplicity", "total_multiplicity", "mult", "nupdown", "uhf")
"""Names of a tag that holds its spin: the multiplicity, or the number of unpaired electrons."""


def mixed_states(evidence: Evidence) -> Iterator[Finding]:
    """Count charges and spins, and look for a composition that has several."""
    tags = list(evidence.dataset.samples.tags())
    stated = {name: names for names in (CHARGES, SPINS) if (name := _stated(tags, names))}
    if not stated:
        yield MIXED_STATES.skipped("no frame states a charge or a spin")
        return
    values = {name: [_value(own, names) for own in tags] for name, names in stated.items()}
    mixed = [name for name in stated if len(set(_taken(name, values[name]))) > 1]
    if not mixed:
        said = ", ".join(f"{name} {' or '.join(sorted(set(values[name])))}" for name in stated)
        yield MIXED_STATES.passed(f"{count(len(tags), len(tags))} have {said}.".capitalize())
        return
    yield MIXED_STATES.failed(_fault(evidence, mixed[0], values[mixed[0]], mixed))


def _stated(tags: list[Mapping[str, str]], names: tuple[str, ...]) -> str:
    """Return the tag among the names that the most frames have; empty where none has one."""
    found = Counter(name for own in tags for name in own if name.lower() in names)
    return found.most_common(1)[0][0] if found else ""


def _value(tags: Mapping[str, str], names: tuple[str, ...]) -> str:
    """Return what a frame states under the first of the names that it has: equal numbers are one text."""
    own = {name.lower(): text.strip() for name, text in tags.items()}
    text = next((own[name] for name in names if name in own), "")
    try:
        number = float(text)
    except ValueError:
        return NOT_STATED if text.lower() in ("", "none", "null") else text
    return f"{round(number, 6) + 0.0:g}" if isfinite(number) else NOT_STATED


def _taken(name: str, values: list[str]) -> list[str]:
    """Return the values with frames that state no charge taken for neutral."""
    return ["0" if name.lower() in CHARGES and value == NOT_STATED else value for value in values]


def _fault(evidence: Evidence, name: str, values: list[str], mixed: list[str]) -> Fault:
    formulas = [sample.content.get_chemical_formula() for sample in evidence.dataset]
    several = _with_several(formulas, _taken(name, values))
    counts = Counter(values)
    said = f"{name} is {', '.join(f'{value} in {count(n)}' for value, n in sorted(counts.items()))}"
    said += f", and {mixed[1]} differs too" if len(mixed) > 1 else ""
    said += f"; {evidence.model} knows of neither."
    if several:
        have = "composition has" if len(several) == 1 else "compositions have"
        said += f" {len(several)} {have} several, such as {several[0]}: their energies are not one function."
    usual = counts.most_common(1)[0][0]
    severity: Severity = "error" if several and name.lower() in CHARGES else "warning"
    remedy = f"give the frames of each {name} a head of their own, or read those of one {name} alone"
    heads = Action(settings={"strategy.name": "multihead", "heads.by": name})
    frames = [i for i, value in enumerate(values) if value != usual]
    fits = all(name in own for own in evidence.dataset.samples.tags()) and min(counts.values()) > 1
    numbers = {"n_states": len(counts), "n_compositions": len(several)}
    return Fault(frames, said, remedy, [heads] if fits else [], numbers, severity)


def _with_several(formulas: list[str], values: list[str]) -> list[str]:
    """Return the compositions of which frames have several values."""
    found: dict[str, set[str]] = defaultdict(set)
    for formula, value in zip(formulas, values, strict=True):
        found[formula].add(value)
    return sorted(formula for formula, own in found.items() if len(own) > 1)
