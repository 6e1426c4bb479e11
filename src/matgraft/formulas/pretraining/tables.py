"""Pretraining tables as arrays: every formula once, every property standardised, most labels missing.

Raw tables hold wild values (energies of +34 eV/atom, anisotropies of -1786). Each property is centred on its median
and divided by a robust width; one with heavy tails goes through asinh; all are clipped at 6 widths. A property of which
a fifth or more is exactly zero (gaps, distances from the hull) brings a second one along, "is not zero"; properties of
zeros and ones alone are probabilities. The formulas of a chemical system stand on one side of the split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from matgraft.core.errors import DataError, OptionError
from matgraft.core.run_folder import refuse_full_folder
from matgraft.core.unpack import SIGNED, read_whole, refuse_archive
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula, padded, parse_formula

CLIP = 6.0
ZERO_INFLATED = 0.2
HEAVY = 5.0


@dataclass(frozen=True, eq=False)
class Tables:
    """What pretraining sees.

    Attributes
    ----------
    numbers, fractions
        (n, L) elements and atomic fractions, padded with zeros. Single precision would lose that 0.6 is 3 of 5.
    targets
        (n, n_properties) standardised, NaN where absent.
    binary
        (n_properties,) True for probabilities.
    names
        Of the properties.
    held_out
        (n,) True for validation.
    """

    numbers: NDArray[np.uint8]
    fractions: NDArray[np.float64]
    targets: NDArray[np.float32]
    binary: NDArray[np.bool_]
    names: tuple[str, ...]
    held_out: NDArray[np.bool_]

    def formula(self, row: int) -> Formula:
        """Return the formula of a row."""
        present = self.numbers[row] > 0
        return Formula(tuple(map(int, self.numbers[row][present])), tuple(map(float, self.fractions[row][present])))


def read_tables(corpus: Path | None, properties: Path | None, *, exclude: str | None, validation: float) -> Tables:
    """Read a list of formulas and a long table with the columns property, formula, target.

    Formulas are read as they are spelled: such files are written by programs.

    Parameters
    ----------
    exclude
        A column of the property table; rows in which it is 1 are left out.
    validation
        Part of the chemical systems to hold out, chosen by a hash of their names.

    Raises
    ------
    DataError
        If there is nothing to read, or a formula cannot be understood; file and line are named.
    """
    texts = _lines(corpus) if corpus else []
    table = (
        read_property_table(properties, exclude) if properties else pd.DataFrame(columns=["property", "formula", "z"])
    )
    seen: dict[str, Formula] = {}
    for text in [*texts, *table["formula"].unique()]:
        if text not in seen:
            seen[text] = parse_formula(text, is_spelled=True)
    if not seen:
        raise DataError("there is no formula to pretrain on", where=str(corpus or properties))
    rows: dict[Formula, int] = {}
    row_of = {text: rows.setdefault(formula, len(rows)) for text, formula in seen.items()}
    targets, binary, names = _targets(table, row_of, len(rows))
    numbers, fractions = padded(list(rows))
    held_out = np.array([is_held_out(formula.chemical_system, validation) for formula in rows])
    return Tables(numbers.astype(np.uint8), fractions, targets, binary, names, held_out)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in _text(path).splitlines() if line.strip()]


def _text(path: Path) -> str:
    if not path.is_file():
        raise DataError("there is no such file", where=str(path))
    content = read_whole(path, "table_bytes", str(path))
    refuse_archive(path.name, content[:SIGNED], str(path))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"not readable as text: {error}", where=str(path), remedy="save it in UTF-8") from None


def read_property_table(path: Path, exclude: str | None) -> pd.DataFrame:
    """Return a long table with the columns property, formula, target, without the rows that `exclude` marks."""
    kinds = {"property": str, "formula": str}
    try:
        table = pd.read_csv(
            StringIO(_text(path)), keep_default_na=False, na_values={"target": ["", "nan", "NaN"]}, dtype=kinds
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"not readable as a table: {error}", where=str(path), allowed=["CSV in UTF-8"]) from None
    needed = ["property", "formula", "target", *([exclude] if exclude else [])]
    if missing := [name for name in needed if name not in table.columns]:
        raise DataError(
            f"no column {missing[0]!r}",
            where=str(path),
            allowed=needed,
            options=[{"exclude": None}] if missing == [exclude] else [],
        )
    values = pd.to_numeric(table["target"], errors="coerce")
    if (bad := table["target"].notna() & ~np.isfinite(values)).any():
        first = int(np.flatnonzero(bad)[0])
        found = f"the target {str(table['target'].iloc[first])[:40]!r} is not a number"
        raise DataError(found, where=f"{path} line {first + 2}")
    table = table.assign(target=values)
    return table[table[exclude] != 1] if exclude else table


def _targets(
    table: pd.DataFrame, row_of: dict[str, int], n: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], tuple[str, ...]]:
    columns: dict[str, NDArray[np.float32]] = {}
    binary: list[bool] = []
    for name, part in table.groupby("property", sort=True):
        where = np.array([row_of[text] for text in part["formula"]])
        values = part["target"].to_numpy(float)
        for label, z, is_binary in standardised(str(name), values):
            columns[label] = np.full(n, np.nan, np.float32)
            columns[label][where] = z
            binary.append(is_binary)
    stacked = np.stack(list(columns.values()), 1) if columns else np.zeros((n, 0), np.float32)
    return stacked, np.array(binary, bool), tuple(columns)


def standardised(name: str, values: NDArray[np.float64]) -> Iterable[tuple[str, NDArray[np.float64], bool]]:
    """Yield (name, standardised values, is it a probability) of one property; see the module's docstring."""
    if np.isin(values, (0.0, 1.0)).all():
        yield name, values, True
        return
    zeros = np.abs(values) < 1e-9
    if zeros.mean() >= ZERO_INFLATED:
        yield f"{name} > 0", (~zeros).astype(float), True
        body = values[~zeros]
        values = np.where(
            zeros & (zeros.mean() > 0.8), np.nan, values
        )  # nearly all zero: the amount where there is one
    else:
        body = values
    low, middle, high = np.nanquantile(body, [0.25, 0.5, 0.75])
    far = np.nanquantile(np.abs(body - middle), 0.99)
    width = max((high - low) / 1.35, 1e-9)
    z = (values - middle) / width
    if far > HEAVY * width:
        name, z = f"asinh {name}", np.arcsinh(z)
    yield name, np.clip(z, -CLIP, CLIP), False


def is_held_out(system: str, part: float) -> bool:
    """Say whether a chemical system is among the part held out, by a hash of its name."""
    return int.from_bytes(hashlib.sha256(system.encode()).digest()[:8]) / 2**64 < part


def held_out_part(backbone: CompositionBackbone, out: Path) -> float:
    """Return the part of the chemical systems that an encoder's pretraining held out, before something goes into `out`.

    Raises
    ------
    OptionError
        If the folder is not empty, or the encoder's card does not say it.
    """
    refuse_full_folder(out)
    part = (backbone.card.recipe or {}).get("validation")
    if not isinstance(part, float):
        raise OptionError(f"the card of {backbone.card.name} does not say what its pretraining held out")
    return part
