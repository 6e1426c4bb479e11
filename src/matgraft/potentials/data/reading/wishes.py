"""Was every wish met: a wanted label that is nowhere, or an option that matched nothing, is an error."""

from __future__ import annotations

from collections.abc import Collection

from matgraft.core.errors import DataError, OptionError
from matgraft.potentials.data.reading.keys import Choices, bare, forces_beside, is_gradient, suggest_key, unmatched
from matgraft.potentials.data.reading.ledger import Ledger

_KEYS, _TOLD = 60, 1500
"""Keys that a message lists, and their characters."""


def refuse_unmet(ledger: Ledger, choices: Choices, where: str, beside: bool = False) -> None:
    """Raise if a wanted label is nowhere or an option matched nothing that need not do without."""
    for quantity, key in choices.keys.items():
        if quantity not in ledger.matched and not (beside and quantity not in choices.want):
            raise unmatched(quantity, key, ledger.existing)
    for quantity, key in choices.cheap.items():
        if quantity not in ledger.cheap:
            raise unmatched(quantity, key, ledger.existing, "delta")
    for quantity in choices.want:
        if quantity not in ledger.labelled:
            raise _nowhere(quantity, ledger, choices.want, where)
    if beside:
        return
    idle = [
        f"units.{name}"
        for name in choices.units
        if name != "length" and ("stress" if name == "virial" else name) not in ledger.labelled
    ]
    idle += ["shear"] if choices.shear and "stress" not in ledger.labelled else []
    if choices.elements and not ledger.typed:
        raise OptionError(
            "elements is given, but the files name the elements of their atoms",
            where=where,
            options=[{"elements": None}],
        )
    if idle:
        raise OptionError(
            f"{' and '.join(idle)} is given, but no frame has that label",
            where=where,
            options=[dict.fromkeys(idle)],
        )


def wants_without(quantity: str, want: Collection[str], there: Collection[str]) -> list[dict[str, list[str]]]:
    """Return the option that asks for the other labels that are there; none where there are no others."""
    others = [name for name in want if name != quantity and name in there]
    return [{"want": others}] if others else []


def _gradient(key: str, ledger: Ledger) -> dict[str, str]:
    """Return the option that reads a gradient of the energy as forces, in the unit that goes with the energy's."""
    written = {text for file in ledger.files for text in file.units.get("energy", "eV").split(", ")}
    unit = forces_beside(written.pop()) if len(written) == 1 else ""
    return {"keys.forces": bare(key), "units.forces": f"-{unit or 'eV/Å'}"}


def _nowhere(quantity: str, ledger: Ledger, want: Collection[str], where: str) -> DataError:
    if quantity in ledger.absent:
        return DataError(
            f"no frame has {quantity} that was computed: every one is {ledger.absent[quantity]}",
            where=where,
            remedy=f"do not ask for {quantity}, or give a file that has it",
            options=wants_without(quantity, want, ledger.labelled),
        )
    fitting = [key for key, fits in ledger.existing.items() if quantity in fits]
    gradients = [key for key in fitting if quantity == "forces" and is_gradient(key)]
    likely: list[dict[str, str]] = [_gradient(key, ledger) for key in gradients]
    likely = likely or suggest_key(quantity, fitting)
    existing = sorted(ledger.existing)
    if not any(ledger.existing.values()):
        return DataError(
            f"no frame has {quantity} under a known name: these are structures without results of a computation",
            where=where,
            remedy="give what the code wrote, such as vasprun.xml or OUTCAR, or extxyz with energy and forces; "
            "`matgraft predict` and `matgraft label` take structures alone",
            options=wants_without(quantity, want, ledger.labelled),
        )
    shown = ", ".join([*existing[:_KEYS], *["..."] * (len(existing) > _KEYS)])
    return DataError(
        f"no frame has {quantity} under a known name; the keys are {shown[:_TOLD] or 'none at all'}",
        where=where,
        remedy=f"name the key that holds the {quantity}, or do not ask for it"
        + ("; forces are minus the gradient of the energy" if gradients else ""),
        options=[*likely, *wants_without(quantity, want, ledger.labelled)],
    )
