"""A look at the formulas that the predictor shall serve: which of them the table says little of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from matgraft.core.findings import Code, Fault, Finding
from matgraft.formulas.learners.novelty import Neighbourhood
from matgraft.formulas.table.audit.base import TableEvidence, count_rows

COVERAGE = Code("coverage", "Candidates that are unlike the rows of the table")

OUTSIDE = 0.1
"""Part of the candidates out of domain from which on it is a warning."""
CHUNK = 4096


def candidates_covered(evidence: TableEvidence) -> Iterator[Finding]:
    """Hold candidates against the rows: elements, chemical systems, distance in the features of the encoder."""
    candidates = evidence.candidates
    if candidates is None or evidence.backbone is None:
        yield COVERAGE.skipped("no candidates were named (--for)" if candidates is None else "no encoder was loaded")
        return
    rows = list(dict.fromkeys(evidence.table.formulas))
    known = {symbol for formula in rows for symbol in formula.symbols}
    systems = {formula.chemical_system for formula in rows}
    lacking = Counter(symbol for formula in candidates for symbol in set(formula.symbols) - known)
    n = len(candidates)
    new_elements = sum(not known.issuperset(formula.symbols) for formula in candidates)
    new_systems = sum(formula.chemical_system not in systems for formula in candidates)
    home = Neighbourhood.of({"embedding": evidence.backbone.embed(rows).astype(float)})
    parts = (candidates[i : i + CHUNK] for i in range(0, n, CHUNK))
    distance = np.concatenate(
        [home.distance({"embedding": evidence.backbone.embed(part).astype(float)}) for part in parts]
    )
    outside = distance > 1
    numbers = {"out_of_domain": float(outside.mean()), "new_elements": new_elements / n, "new_systems": new_systems / n}
    text = (
        f"{outside.mean():.0%} of {count_rows(n, what='candidate')} are unlike every row, {new_systems / n:.0%} of a "
    )
    text += "chemical system without a row"
    if lacking:
        shown = ", ".join(f"{symbol} ({k})" for symbol, k in lacking.most_common(8))
        text += f"; no row has {shown}{', …' if len(lacking) > 8 else ''}"
    if outside.mean() <= OUTSIDE and not lacking:
        yield COVERAGE.passed(text, **numbers)
        return
    farthest = np.argsort(-distance, kind="stable")[:5]
    text += f". The farthest: {', '.join(str(candidates[i]) for i in farthest)}"
    remedy = (
        "measure some of the farthest first; or treat their predictions as guesses: `predict` marks them as unlike the "
        "training set"
    )
    yield COVERAGE.failed(Fault((), text, remedy, (), numbers))
