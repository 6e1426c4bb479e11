"""Write src/matgraft/formulas/elements.json anew, from pymatgen's `Element`.

    python docs/make_elements.py

The encoder's weights were learned with these numbers: they change with the weights alone, not with a version of
pymatgen. A test holds the file against the installed one.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

from pymatgen.core import Element

from matgraft.formulas.elements import ATTRIBUTES, BLOCKS, FILE, N_ELEMENTS


def facts(Z: int) -> dict[str, Any]:
    """Return what is kept of an element; None where pymatgen has no value."""
    element = Element.from_Z(Z)
    return {
        "symbol": element.symbol,
        **{name: number(element, name) for name in ATTRIBUTES},
        "block": element.block,
        "outer": outer(element),
        "f_element": element.is_lanthanoid or element.is_actinoid,
        "oxidation_states": list(element.oxidation_states),
        "common_oxidation_states": list(element.common_oxidation_states),
        "icsd_oxidation_states": list(element.icsd_oxidation_states),
    }


def number(element: Element, name: str) -> float | None:
    """Return an attribute as a number, None where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of each value that is missing
        try:
            value = float(getattr(element, name))
        except (TypeError, ValueError, AttributeError, KeyError):
            return None
    return value if math.isfinite(value) else None


def outer(element: Element) -> list[int] | None:
    """Return the electrons in the outermost shell of each kind; None of the heaviest elements."""
    found: dict[str, tuple[int, int]] = {}
    try:
        shells = element.full_electronic_structure
    except KeyError:
        return None
    for shell, kind, electrons in shells:
        if shell >= found.get(kind, (0, 0))[0]:
            found[kind] = (shell, electrons)
    return [found.get(block, (0, 0))[1] for block in BLOCKS]


def text() -> str:
    """Return the content of the file, a line an element."""
    lines = ",\n".join(json.dumps(facts(Z)) for Z in range(1, N_ELEMENTS + 1))
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    Path(FILE).write_text(text(), encoding="utf-8")
    print(FILE)
