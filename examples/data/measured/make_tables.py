"""Measured melting points and densities of inorganic compounds, from the tables of the package chemicals.

    pip install chemicals
    python examples/data/measured/make_tables.py

Reads the package's files and imports none of its code. The README says what is left out and why.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pandas as pd
from pymatgen.core import Composition

HERE = Path(__file__).parent
CONSTANTS = "Misc/Physical Constants of Inorganic Compounds.csv"
IDENTIFIERS = (
    "Inorganic db.tsv",
    "chemical identifiers pubchem small.tsv",
    "chemical identifiers pubchem large.tsv",
    "chemical identifiers example user db.tsv",
)
LIGHTEST = 0.1
"""g/cm3; lithium has 0.534, and no gas at room temperature has 0.02."""
ALIKE = 0.05
"""Values of one formula that differ by more than this part of their mean belong to polymorphs or isomers."""


def package() -> Path:
    """Return the folder of the installed package."""
    found = importlib.util.find_spec("chemicals")
    if found is None or found.origin is None:
        raise SystemExit("the package chemicals is not installed: pip install chemicals")
    return Path(found.origin).parent


def given_formulas(folder: Path) -> dict[str, str]:
    """Return the package's formulas by CAS number; of several files the first that has one."""
    known: dict[str, str] = {}
    for name in IDENTIFIERS:
        for line in (folder / "Identifiers" / name).read_text(encoding="utf-8").splitlines():
            _, cas, formula, *_ = line.split("\t")
            known.setdefault(cas, formula)
    return known


def compounds(folder: Path) -> pd.DataFrame:
    """Return name, formula, Tm and Tb in K, and rho in g/cm3 of the compounds with a formula that can be believed."""
    table = pd.read_csv(folder / CONSTANTS, sep="\t", dtype={"CAS": str})
    put_right = pd.read_csv(HERE / "formulas.csv", keep_default_na=False).set_index("cas")["formula"]
    formulas = given_formulas(folder) | put_right.to_dict()
    texts = table["CAS"].map(formulas).fillna("")
    kept = [bool(text) and not re.search(r"[+-]|[DT](?![a-z])", text) for text in texts]  # no ions, no isotopes
    table, texts = table[kept], texts[kept]
    compositions = [Composition(text) for text in texts]
    table = table.assign(formula=[one.reduced_formula for one in compositions], rho=table["rho"] / 1000)
    return table[["C" not in one or "H" not in one for one in compositions]]


def one_a_formula(table: pd.DataFrame, column: str) -> pd.Series:
    """Return the mean of a column by formula; without formulas whose values differ, as those of polymorphs do."""
    values = table.dropna(subset=column).groupby("formula")[column]
    alike = values.max() - values.min() <= ALIKE * values.mean()
    return values.mean()[alike]


def write(values: pd.Series, name: str, digits: int) -> None:
    """Write a table beside this file."""
    file = HERE / f"{name}.csv"
    values.round(digits).to_csv(file)
    print(f"{file.name}: {len(values)} formulas, {values.min():g} to {values.max():g}")


def main() -> None:
    """Make both tables."""
    table = compounds(package())
    dry = ~table["Chemical"].str.endswith("hydrate")
    melts = table[dry & ~(table["Tm"] >= table["Tb"])]
    write(one_a_formula(melts, "Tm").rename("melting_point_K"), "melting_points", 2)
    dense = table[table["rho"] >= LIGHTEST]
    write(one_a_formula(dense, "rho").rename("density_g_cm3"), "densities", 4)


if __name__ == "__main__":
    main()
