"""A look for computed beside measured values, and for two methods, in one column."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from matgraft.core.findings import Action, Code, Fault, Finding
from matgraft.core.statistics import numbered
from matgraft.formulas.table.audit.base import TableEvidence
from matgraft.formulas.table.audit.expected import bulk_spread

PROVENANCE = Code("mixed-provenance", "Computed and measured values, or two methods")

FEWEST = 5
SIGMAS = 4.0
MOST_WORDS = 20
KINDS = {
    "measured": r"exp|experiment\w*|measured|measurement|lab|xrd|uv-?vis|ellipsometry|icsd",
    "computed": r"calc\w*|comput\w*|theor\w*|dft\w*|ab ?initio|simulat\w*|predict\w*|estimat\w*"
    r"|pbe(?:sol)?(?:\+u)?|lda|hse\w*|scan|r2scan|gw|g0w0|mbj|tb-mbj|mp|oqmd|aflow|jarvis|materials project",
}
_WORDS = {kind: re.compile(rf"(?:^|[\s_/(-])(?:{words})(?:$|[\s_/)-])", re.IGNORECASE) for kind, words in KINDS.items()}
_METHODS = re.compile(r"^(?:pbe(?:sol)?(?:\+u)?|lda|hse\w*|scan|r2scan|gw|g0w0|mbj|tb-mbj|b3lyp)$", re.IGNORECASE)


def mixed_provenance(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for a column that says that some rows are computed and others measured, or which method gave which."""
    found = [(name, kinds) for name in evidence.table.cells.columns if (kinds := _kinds(evidence, str(name)))]
    if not found:
        yield PROVENANCE.passed("no column shows values of different origin")
        return
    name, kinds = found[0]
    used = name in evidence.used
    names, of = list(dict.fromkeys(kinds)), numbered(kinds)
    counts = ", ".join(f"{one} {kinds.count(one)}" for one in names)
    text = f"column {name!r}: {counts}"
    numbers: dict[str, float] = {}
    if evidence.of_numbers and (offset := _offset(evidence, of)):
        difference, error, between = offset
        numbers = {"offset": difference, "standard_error": error}
        text += (
            f". For their formulas {names[between[0]]} values lie {abs(difference):.3g} ± {error:.2g} "
            f"{'above' if difference > 0 else 'below'} {names[between[1]]} ones"
        )
    if used:
        yield PROVENANCE.passed(f"{text}; the column is used")
        return
    fault = Fault(
        (), text, f"give {name} as a covariate, so that the predictor learns what differs, or train on one kind",
        [Action(settings={"--covariate": str(name)})], numbers,
    )  # fmt: skip
    yield PROVENANCE.failed(fault)


def _kinds(evidence: TableEvidence, name: str) -> list[str] | None:
    """Return the kind of each row by the words of a column; None where it does not say two kinds."""
    if name in (evidence.target, evidence.columns.formula) or evidence.numbers(name) is not None:
        return None
    words = list(evidence.words(name))
    if not 2 <= len(set(words)) <= MOST_WORDS:
        return None
    kind_of = {word: next((kind for kind, known in _WORDS.items() if known.search(word)), "") for word in set(words)}
    if len({kind for kind in kind_of.values() if kind}) == 2:
        return [kind_of[word] or "other" for word in words]
    if sum(bool(_METHODS.match(word)) for word in kind_of) >= 2:
        return [word or "none" for word in words]
    return None


def _offset(evidence: TableEvidence, of: np.ndarray) -> tuple[float, float, tuple[int, int]] | None:
    """Return the difference of two kinds from what is near for their formulas, its error, and which; None if unsure."""
    sizes = np.argsort(-np.bincount(of))[:2]
    parts = [evidence.departures.linear[of == k] for k in sizes]
    parts = [part[np.isfinite(part)] for part in parts]
    if min(map(len, parts)) < FEWEST:
        return None
    difference = float(np.median(parts[0]) - np.median(parts[1]))
    error = float(1.25 * np.sqrt(sum(max(bulk_spread(part), 1e-12) ** 2 / len(part) for part in parts)))
    return (difference, error, (int(sizes[0]), int(sizes[1]))) if abs(difference) > SIGMAS * error else None
