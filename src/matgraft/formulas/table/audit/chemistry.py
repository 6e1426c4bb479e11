"""Looks at the formulas: digits where a letter belongs, charges that cannot balance, elements the encoder never saw."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import numpy as np

from matgraft.core.findings import Code, Fault, Finding
from matgraft.formulas.elements import element_facts
from matgraft.formulas.formula import Formula, FormulaError, parse_formula
from matgraft.formulas.table.audit.base import TableEvidence, count_rows
from matgraft.formulas.valence import elements, nearest_charge

DIGIT = Code("digit-for-letter", "A digit or a letter where another letter belongs", "error")
CHARGE = Code("charge-balance", "Charges that cannot balance")
UNSEEN = Code("elements-unseen", "Elements that the encoder never saw")

BASIC = (3, 4, 11, 12, 19, 20, 37, 38, 55, 56, 87, 88)
BALANCED = 1e-6
"""Charge per atom up to which a formula is neutral."""
OXYGEN = 8
PEROXIDE, OZONIDE = -1.0, -1 / 3
"""States of oxygen; the second beside alkali and alkaline earth metals alone."""
ANIONS = (OXYGEN, 9, 17, 35, 53)
"""O, F, Cl, Br, I: compounds of these with metals alone are ionic."""
MANY = 0.02
LONGEST = 60
"""Characters of a formula in which slips are sought."""
_LEADING_ZERO = re.compile(r"[A-Za-z)\]]0\d*(?![\d.])")
_SYMBOL, _AMOUNT = re.compile(r"[A-Z][a-z]?"), re.compile(r"\d+(?:\.\d*)?|\.\d+")
_LONE_ONE, _OTHER_ONES = re.compile(r"C1(?![\d.])"), re.compile(r"(?:[A-Z][a-z]|[ABD-Z])1(?![\d.])")
"""An amount of 1 at carbon, and at others: who writes it at carbon alone means Cl."""
_SLIPS = ((re.compile(r"(?<=[A-Za-z2-9)\]])0"), "O"), (re.compile(r"C1(?![\d.]*\.)"), "Cl"))
"""What was typed -> what was meant; each place of a formula is tried alone, and all together."""


def digit_for_letter(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for formulas whose charges balance once a zero is read as O, or C1 as Cl, and do not as they stand."""
    formulas = {formula.text: formula for formula in evidence.table.formulas}
    meant = {text: better for text, formula in formulas.items() if (better := likely_reading(formula))}
    if any(_of_metals(formula) for text, formula in formulas.items() if text not in meant):
        meant = {text: better for text, better in meant.items() if not _of_metals(formulas[text])}  # BaCo3 is one more
    if not meant:
        yield DIGIT.passed("no formula becomes a balanced one by a letter in the place of a digit")
        return
    rows = [i for i, formula in enumerate(evidence.table.formulas) if formula.text in meant]
    shown = "; ".join(
        f"line {evidence.lines[i]}: {evidence.table.formulas[i]} reads as {evidence.table.formulas[i].reduced}, likely "
        f"{meant[evidence.table.formulas[i].text]}" for i in rows[:3]
    )  # fmt: skip
    fault = Fault(
        (), f"{count_rows(len(rows), len(evidence))}: {shown}{'; …' if rows[3:] else ''}",
        "write the letter, or leave the rows out", [evidence.dropped(rows)], {"rows": len(rows)},
        "error" if any(beyond_doubt(evidence.table.formulas[i]) for i in rows) else "warning", evidence.at(rows),
    )  # fmt: skip
    yield DIGIT.failed(fault)


def likely_reading(formula: Formula) -> str:
    """Return what was meant by a formula in which a digit stands for a letter; empty where it is sound as it stands.

    Sound are formulas whose charges balance, amounts of 100 in all (alloys), and those that no letter puts right.
    """
    text = formula.text
    if slip := _letter_slip(formula):
        return slip
    lone = bool(_LONE_ONE.search(text)) and not _OTHER_ONES.search(text)
    if len(text) > LONGEST or not (lone or (not neutral(formula) and (beyond_doubt(formula) or _huge(text)))):
        return ""
    for pattern, letter in _SLIPS:
        places = [match.span() for match in pattern.finditer(text)]
        tried = [_with(text, [place], letter) for place in places] + [_with(text, places, letter)] * (len(places) > 1)
        for candidate in tried:
            try:
                read = parse_formula(candidate)
            except FormulaError:
                continue
            once = len(_SYMBOL.findall(candidate)) == len(read) > 1
            if once and (neutral(read) or (is_ionic(read) and can_balance(read))):
                return candidate
    return ""


def _of_metals(formula: Formula) -> bool:
    return len(formula) > 1 and not elements().non_metal[list(formula.numbers)].any()


def _letter_slip(formula: Formula) -> str:
    """Return ``NaCl`` for ``NaCI``, ``CaCO3`` for ``CaCo3``: metals with C and I, or s-block metals with Co3."""
    known, others = elements(), set(formula.numbers)
    if {6, 53} <= others and not known.non_metal[sorted(others - {6, 53})].any() and len(others) > 2:
        meant = re.sub(r"CI(?![a-z])", "Cl", formula.text)
    elif 27 in others and others - {27} and others - {27} <= set(BASIC):
        meant = re.sub(r"(?<!\d)Co3$|(?<=2)Co3$", "CO3", formula.text.strip())
    else:
        return ""
    try:
        read = parse_formula(meant)
    except FormulaError:
        return ""
    return meant if meant != formula.text and neutral(read) else ""


def beyond_doubt(formula: Formula) -> bool:
    """Say whether a formula is written as nobody would: an amount that begins with 0, one element with an amount."""
    return bool(_LEADING_ZERO.search(formula.text)) or (len(formula) == 1 and formula.text[-1:].isdigit())


def _huge(text: str) -> bool:
    """Say whether an amount with a 0 in it is huge beside the others, which are not those of an alloy; or C is C1."""
    amounts = [float(amount) for amount in _AMOUNT.findall(text)]
    if abs(sum(amounts) - 100) < 1:
        return False
    return bool(_SLIPS[1][0].search(text)) or any(amount > 100 and "0" in f"{amount:.0f}"[1:] for amount in amounts)


def _with(text: str, places: list[tuple[int, int]], letter: str) -> str:
    for start, end in reversed(places):
        text = text[:start] + letter + text[end:]
    return text


def neutral(formula: Formula) -> bool:
    """Say whether some choice of common oxidation states, one an element, adds up to zero."""
    known = elements()
    fractions = np.array(formula.fractions)
    return nearest_charge(fractions, [known.common[Z] for Z in formula.numbers]) < BALANCED


def charge_balance(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for oxides and halides of metals whose charges no states of their elements can balance.

    Each element may be in several states at once (Fe3O4): only what lies outside the lowest and the highest sum is
    told.
    """
    asked = [i for i, formula in enumerate(evidence.table.formulas) if is_ionic(formula)]
    if not asked:
        yield CHARGE.skipped("no oxide or halide of metals alone")
        return
    rows = [i for i in asked if not can_balance(evidence.table.formulas[i])]
    if not rows:
        yield CHARGE.passed(f"the charges of {len(asked)} oxides and halides of metals can balance")
        return
    shown = "; ".join(f"line {evidence.lines[i]}: {evidence.table.formulas[i]}" for i in rows[:5])
    fault = Fault(
        (), f"{len(rows)} of {len(asked)} oxides and halides of metals cannot be neutral with any "
        f"states that their elements are known in: {shown}{'; …' if rows[5:] else ''}",
        "look at amounts, brackets and missing elements (hydrogen); suboxides and radicals are right as they stand",
        [evidence.dropped(rows)], {"rows": len(rows), "asked": len(asked)},
        "warning" if len(rows) > MANY * len(asked) or len(rows) >= 3 else "info", evidence.at(rows),
    )  # fmt: skip
    yield CHARGE.failed(fault)


def is_ionic(formula: Formula) -> bool:
    """Say whether a formula is of metals with oxygen or one halogen alone, and not mostly metal."""
    known = elements()
    anions = [Z for Z in formula.numbers if Z in ANIONS]
    others = [Z for Z in formula.numbers if Z not in ANIONS]
    share = sum(x for Z, x in zip(formula.numbers, formula.fractions, strict=True) if Z in ANIONS)
    return len(anions) == 1 and bool(others) and not known.non_metal[others].any() and share >= 0.3


def can_balance(formula: Formula) -> bool:
    """Say whether charges can balance where each element takes any mean of its states, cations positive ones."""
    low = high = 0.0
    basic = any(Z in BASIC for Z in formula.numbers)
    for Z, x in zip(formula.numbers, formula.fractions, strict=True):
        lowest, highest = _states()[Z]
        if Z in ANIONS:
            highest = (OZONIDE if basic else PEROXIDE) if Z == OXYGEN else lowest
        elif highest <= 0:
            return True  # nothing is known of this element
        low, high = low + x * (lowest if Z in ANIONS else max(lowest, 0.0)), high + x * highest
    return low <= BALANCED and high >= -BALANCED


@cache
def _states() -> tuple[tuple[float, float], ...]:
    """Return the lowest and the highest oxidation state that is known of each element, rare ones too, by number."""
    common = elements()
    found = [(0.0, 0.0)]
    for Z, element in enumerate(element_facts(), 1):
        every = (*element.oxidation_states, *common.common[Z], *common.icsd[Z])
        positive = [state for state in every if state > 0]
        low = min(every) if Z in ANIONS else min(positive, default=0.0)
        found.append((float(low), float(max(every, default=0.0))))
    return tuple(found)


def elements_not_pretrained(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for elements that the encoder's pretraining had no formula of."""
    if evidence.backbone is None:
        yield UNSEEN.skipped("no encoder was loaded")
        return
    seen = set(evidence.backbone.card.elements)
    if not seen:
        yield UNSEEN.skipped("the card of the encoder does not say which elements it saw")
        return
    formulas = evidence.table.formulas
    rows = [i for i, formula in enumerate(formulas) if not seen.issuperset(formula.symbols)]
    if not rows:
        yield UNSEEN.passed(f"the encoder saw every element of the table ({len(seen)} in all)")
        return
    missing = sorted({symbol for i in rows for symbol in formulas[i].symbols} - seen)
    fault = Fault(
        (), f"{', '.join(missing)} in {count_rows(len(rows), len(formulas))}: the encoder knows of them what stands in "
        f"tables of elements alone: {evidence.named(rows)}",
        "leave the rows out, or treat their predictions as guesses", [evidence.dropped(rows)],
        {"rows": len(rows)}, None, evidence.at(rows),
    )  # fmt: skip
    yield UNSEEN.failed(fault)
