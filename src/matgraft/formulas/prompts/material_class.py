"""What kind of material a formula is, by plain rules of chemistry: OXIDE, HALIDE, ..., ALLOY.

    material_class(parse_formula("Fe2O3"))     # "OXIDE"

The rules, the first that applies: one element alone is an ELEMENT; carbon and hydrogen that make up half of the atoms
are ORGANIC (hybrids such as CH3NH3PbI3 too). Else the anion decides: of F Cl Br I, O, S Se Te, N, P As Sb, C, B, those
that make up a tenth of the atoms and more, the kind with most atoms, and of equal ones the more electronegative (NH4Cl
is a HALIDE, LaOF one too). Nitrogen with as much hydrogen is ammonia or ammonium, and gives way to any other anion. A
steel's carbon is below that tenth. Hydrogen beside no other anion is a HYDRIDE. What is left are metals: INTERMETALLIC
in small whole numbers, up to 40 atoms, else ALLOY.
"""

from __future__ import annotations

from ase.data import atomic_numbers

from matgraft.formulas.formula import Formula

ANIONS = {
    "HALIDE": ("F", "Cl", "Br", "I"),
    "OXIDE": ("O",),
    "NITRIDE": ("N",),
    "CHALCOGENIDE": ("S", "Se", "Te"),
    "CARBIDE": ("C",),
    "PNICTIDE": ("P", "As", "Sb"),
    "BORIDE": ("B",),
}
"""Anions by kind, the more electronegative kinds first."""
MATERIAL_CLASSES = (*ANIONS, "HYDRIDE", "ORGANIC", "ELEMENT", "INTERMETALLIC", "ALLOY")
LEAST_ANION = 0.1
"""Part of the atoms from which on an element counts as anion: Cr23C6 has 0.21 of carbon, a steel below 0.05."""
ORGANIC_PART = 0.5
LARGEST_UNIT = 40
"""Atoms of a formula in whole numbers that still is a compound of metals."""

_KIND = {atomic_numbers[symbol]: kind for kind, symbols in ANIONS.items() for symbol in symbols}
_HYDROGEN, _CARBON, _NITROGEN = 1, 6, 7


def material_class(formula: Formula) -> str:
    """Return one of `MATERIAL_CLASSES`; what a prompt stated is believed."""
    return formula.stated_class or _found(dict(zip(formula.numbers, formula.fractions, strict=True)), formula)


def _found(amounts: dict[int, float], formula: Formula) -> str:
    if len(amounts) == 1:
        return "ELEMENT"
    if {_HYDROGEN, _CARBON} <= set(amounts) and amounts[_HYDROGEN] + amounts[_CARBON] >= ORGANIC_PART:
        return "ORGANIC"
    parts = dict.fromkeys(ANIONS, 0.0)
    for Z, amount in amounts.items():
        if Z in _KIND:
            parts[_KIND[Z]] += amount
    ammonia = amounts.get(_HYDROGEN, 0.0) >= parts["NITRIDE"]
    if ammonia and max(part for name, part in parts.items() if name != "NITRIDE") >= LEAST_ANION:
        parts["NITRIDE"] = 0.0
    kind = max(parts, key=lambda name: round(parts[name], 6))  # of equal ones the first
    if parts[kind] >= LEAST_ANION:
        return kind
    if amounts.get(_HYDROGEN, 0.0) >= LEAST_ANION:
        return "HYDRIDE"
    return "INTERMETALLIC" if (formula.unit_atoms or LARGEST_UNIT + 1) <= LARGEST_UNIT else "ALLOY"
