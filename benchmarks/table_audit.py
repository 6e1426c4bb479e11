"""Faults planted into clean tables: what the audit of tables catches, and whether it blocks a table that is right.

    python benchmarks/table_audit.py
    python benchmarks/table_audit.py --report

Tables: measured band gaps and steels of Matbench, densities and melting points (chemicals), formation energies, and the
25 properties of the pretraining table, computed and measured ones. Rows are drawn from each by seed; a fault is planted
into all rows, a tenth of them, or one. It counts as caught if the finding that it stands for fails, or the table is
refused as it is read; a block by any other finding than that counts as wrong.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from common import HERE, RESULTS, Results, Row, circumstances, prepare, run, show

from matgraft.core.errors import DataError
from matgraft.core.findings import Finding
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula, parse_formula
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.audit.audit import audit_table
from matgraft.formulas.table.audit.base import TableEvidence
from matgraft.formulas.table.audit.chemistry import can_balance, is_ionic
from matgraft.formulas.table.formula_table import ColumnNames
from matgraft.formulas.table.reading import read_table

FORMULAS = HERE.parents[1] / "shared" / "data" / "formulas"
EXAMPLES = HERE.parent / "examples" / "data"
SIZES = (60, 400)
SEEDS = 1
CLEAN_SIZES = (20, 60, 400, 2000, 10000)
TENTH = 0.1
Cells = pd.DataFrame
Plant = Callable[[Cells, np.ndarray, np.random.Generator], Cells | None]
"""A table (formula, value) and the rows at fault -> the table with the fault; None where it has no such rows."""


@dataclass(frozen=True)
class Planted:
    """A fault.

    Attributes
    ----------
    code
        Of the finding that it stands for.
    plant
        Puts it into a table.
    shares
        Into which part of the rows: 1 for all, 0 for one row.
    covariates, group
        Columns that the command names.
    only
        Names of tables, where it makes sense in some alone.
    also
        A code that tells it as well.
    """

    code: str
    plant: Plant
    shares: tuple[float, ...] = (TENTH,)
    covariates: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    also: str = ""


def times(factor: float) -> Plant:
    """Put values into another unit."""

    def plant(cells: Cells, rows: np.ndarray, rng: np.random.Generator) -> Cells | None:
        cells = cells.copy()
        changed = cells["value"].to_numpy(float).copy()
        if (changed[rows] != 0).sum() < min(len(rows), 5):
            return None
        changed[rows] *= factor
        return cells.assign(value=changed)

    return plant


def shift(by: float) -> Plant:
    """Add a number to values."""

    def plant(cells: Cells, rows: np.ndarray, rng: np.random.Generator) -> Cells:
        changed = cells["value"].to_numpy(float).copy()
        changed[rows] = np.round(changed[rows] + by, 2)
        return cells.assign(value=changed)

    return plant


def beside(make: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Plant:
    """Add a covariate x made from the values."""
    return lambda cells, rows, rng: cells.assign(x=make(cells["value"].to_numpy(float), rng))


def rewritten(change: Callable[[str], str | None]) -> Plant:
    """Write formulas of some rows otherwise."""

    def plant(cells: Cells, rows: np.ndarray, rng: np.random.Generator) -> Cells | None:
        texts = list(cells["formula"])
        able = [(i, new) for i, text in enumerate(texts) if (new := change(text))]
        chosen = rng.permutation(len(able))[: max(1, min(len(rows), len(able)))]
        if not able:
            return None
        for k in chosen:
            texts[able[k][0]] = able[k][1]
        return cells.assign(formula=texts)

    return plant


def zero_for_oxygen(text: str) -> str | None:
    """Write the O of an oxide of one metal as a zero: Fe2O3 becomes Fe203."""
    formula = parse_formula(text)
    if len(formula) != 2 or 8 not in formula.numbers or not formula.unit_atoms or not is_ionic(formula):
        return None
    first, oxygen = _parts(formula)
    return f"{first}0{oxygen}" if can_balance(formula) else None


def _parts(formula: Formula) -> tuple[str, str]:
    """Return the metal with its amount, and the amount of oxygen, as text."""
    unit = formula.unit_atoms or 0
    counts = {s: round(x * unit) for s, x in zip(formula.symbols, formula.fractions, strict=True)}
    oxygen = counts.pop("O")
    ((metal, n),) = counts.items()
    return metal + (str(n) if n > 1 else ""), str(oxygen) if oxygen > 1 else ""


def too_much_oxygen(text: str) -> str | None:
    """Give an oxide four times its oxygen."""
    formula = parse_formula(text)
    return (
        f"({text})O{formula.unit_atoms * 3}"
        if 8 in formula.numbers and is_ionic(formula) and formula.unit_atoms
        else None
    )


def americium(text: str) -> str | None:
    """Write americium for the heaviest element of a formula."""
    symbol = max(parse_formula(text).symbols, key=len)
    return text.replace(symbol, "Am") if len(symbol) == 2 else None


def repeated(scatter: float) -> Plant:
    """Let rows stand in the table twice, the second time with another value."""

    def plant(cells: Cells, rows: np.ndarray, rng: np.random.Generator) -> Cells:
        again = cells.iloc[rows].copy()
        again["formula"] = [f"({text})2" for text in again["formula"]]
        moved = again["value"] + scatter * cells["value"].std() * rng.normal(size=len(again))
        again["value"] = moved.abs() if (cells["value"] >= 0).all() else moved
        return pd.concat([cells, again], ignore_index=True)

    return plant


def clipped(cells: Cells, rows: np.ndarray, rng: np.random.Generator) -> Cells:
    """Cut values at their ninth decile."""
    return cells.assign(value=cells["value"].clip(upper=float(np.quantile(cells["value"], 0.9))))


def computed(cells: Cells, rows: np.ndarray, rng: np.random.Generator) -> Cells:
    """Let some rows be computed, and the others measured."""
    said = np.full(len(cells), "exp")
    said[rows] = "DFT"
    return cells.assign(origin=said)


def papers(cells: Cells, rows: np.ndarray, rng: np.random.Generator) -> Cells:
    """Let rows be of papers, each with an error of its own of one standard deviation of the table."""
    paper = rng.integers(0, max(6, len(cells) // 12), len(cells))
    offset = rng.normal(0, float(cells["value"].std()), paper.max() + 1)
    moved = cells["value"] + offset[paper]
    return cells.assign(paper=[f"p{k}" for k in paper], value=moved.abs() if (cells["value"] >= 0).all() else moved)


def rare(cells: Cells, rows: np.ndarray, rng: np.random.Generator) -> Cells | None:
    """Make classes of the values, one of them of two rows."""
    order = cells["value"].rank(method="first")
    return cells.assign(value=np.where(order <= 2, "low", np.where(order <= len(cells) / 2, "middle", "high")))


def nearly_all(cells: Cells, rows: np.ndarray, rng: np.random.Generator) -> Cells:
    """Make classes of the values, one of them of 93 % of the rows."""
    return cells.assign(value=np.where(cells["value"].rank(method="first") <= 0.93 * len(cells), "no", "yes"))


def arctangent(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a function of the values that rises everywhere."""
    return np.arctan(values / values.std())


def noisy(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the values with errors of a hundredth of their standard deviation."""
    return values + 0.01 * values.std() * rng.normal(size=len(values))


TEMPERATURES = ("melting_point_K",)
FAULTS: dict[str, Planted] = {
    "one value times 100,000": Planted("outlier-value", times(1e5), (0.0,)),
    "other unit: times 96.485": Planted("mixed-units", times(96.4853)),
    "other unit: times 1,000": Planted("mixed-units", times(1000.0)),
    "other unit: times 27.211": Planted("mixed-units", times(27.2114)),
    "other unit: times 23.06": Planted("mixed-units", times(23.0605)),
    "other unit: a thousandth": Planted("mixed-units", times(1e-3)),
    "°C among K": Planted("temperature-offset", shift(-273.15), only=TEMPERATURES, also="impossible-value"),
    "wrong sign": Planted("impossible-value", times(-1.0), only=("density_g_cm3", "melting_point_K")),
    "target as covariate": Planted("covariate-is-target", beside(lambda y, rng: y), (1.0,), ("x",)),
    "multiple of the target": Planted("covariate-is-target", beside(lambda y, rng: 2.3 * y + 1), (1.0,), ("x",)),
    "arctangent of the target": Planted("covariate-is-target", beside(arctangent), (1.0,), ("x",)),
    "target with errors of 1 %": Planted("covariate-is-target", beside(noisy), (1.0,), ("x",)),
    "row number as covariate": Planted(
        "covariate-identifies", beside(lambda y, rng: np.arange(len(y), dtype=float)), (1.0,), ("x",)
    ),
    "zero for O": Planted("digit-for-letter", rewritten(zero_for_oxygen), (0.0, TENTH)),
    "too much oxygen": Planted("charge-balance", rewritten(too_much_oxygen)),
    "americium": Planted("elements-unseen", rewritten(americium)),
    "formulas repeated, other values": Planted("repeated-formula", repeated(0.3)),
    "formulas repeated, same values": Planted("duplicates", repeated(0.0)),
    "cut at the ninth decile": Planted("censored", clipped, (1.0,)),
    "computed among measured": Planted("mixed-provenance", computed),
    "papers with offsets": Planted("groups-across-folds", papers, (1.0,)),
    "a class of two rows": Planted("rare-classes", rare, (1.0,)),
    "one class of 93 %": Planted("imbalance", nearly_all, (1.0,)),
}


def tables() -> dict[str, Cells]:
    """Return clean tables (formula, value) by the name of the value."""
    found = {
        "gap_eV": pd.read_csv(FORMULAS / "matbench_expt_gap.csv").rename(columns={"target": "value"}),
        "yield_strength": pd.read_csv(FORMULAS / "matbench_steels.csv").rename(columns={"target": "value"}),
    }
    for file, name in (
        ("formation/formation_energies.csv", "formation_energy"),
        ("formation/formation_energies.csv", "a"),
        ("measured/densities.csv", "density_g_cm3"),
        ("measured/melting_points.csv", "melting_point_K"),
    ):
        found[name] = pd.read_csv(EXAMPLES / file).rename(columns={name: "value"})
    every = pd.read_csv(FORMULAS / "dft_properties.csv.gz")
    for name, rows in every.groupby("property"):
        if not set(rows["target"].unique()) <= {0.0, 1.0}:
            found[str(name)] = rows.rename(columns={"target": "value"})
    return {name: cells[["formula", "value"]].dropna().reset_index(drop=True) for name, cells in found.items()}


def drawn(cells: Cells, n: int, seed: int) -> Cells:
    """Return rows drawn by seed; all where there are fewer."""
    return cells.sample(min(n, len(cells)), random_state=seed).reset_index(drop=True)


def audited(
    cells: Cells, name: str, folder: Path, covariates: tuple[str, ...], encoder: CompositionBackbone
) -> tuple[Finding, ...]:
    """Write a table, read it as a user's and look at it."""
    cells.rename(columns={"value": name}).to_csv(folder / "table.csv", index=False)
    columns = ColumnNames(covariates=covariates)
    return audit_table(TableEvidence(read_table(folder / "table.csv", name, columns), name, columns, encoder))


def clean(names: dict[str, Cells], folder: Path, encoder: CompositionBackbone, rows: int | None) -> Iterator[Row]:
    """Look at tables that are right."""
    for n in (n for n in CLEAN_SIZES if rows in (None, n)):
        codes: Counter[str] = Counter()
        blocks: list[str] = []
        seconds = []
        count = 0
        for name, cells in names.items():
            if len(cells) < n and n > CLEAN_SIZES[0]:
                continue
            for seed in range(1 if n > 1000 else 4):
                began = time.perf_counter()
                found = audited(drawn(cells, n, seed), name, folder, (), encoder)
                seconds.append(time.perf_counter() - began)
                failed = [one for one in found if one.outcome == "failed"]
                codes.update(one.code for one in failed if one.severity == "warning")
                blocks += [f"{name}, seed {seed}: {one.code}" for one in failed if one.blocks]
                count += 1
        yield {
            "part": "clean", "fault": "none", "share": "", "n": n, "tables": count, "blocks": blocks,
            "warnings": dict(codes.most_common()), "seconds": round(float(np.median(seconds)), 2),
        } | circumstances()  # fmt: skip


def planted(names: dict[str, Cells], folder: Path, encoder: CompositionBackbone, what: str, n: int) -> Iterator[Row]:
    """Plant one fault into every table, and look."""
    fault = FAULTS[what]
    for share in fault.shares:
        caught = blocked = count = 0
        wrong: list[str] = []
        missed: list[str] = []
        for name, cells in names.items():
            if (fault.only and name not in fault.only) or len(cells) < n:
                continue
            for seed in range(SEEDS):
                rng = np.random.default_rng(seed)
                rows = rng.permutation(n)[: max(1, round(share * n))]
                some = fault.plant(drawn(cells, n, seed), rows, rng)
                if some is None:
                    continue
                count += 1
                try:
                    looked = audited(some, name, folder, fault.covariates, encoder)
                except DataError:  # refused as it is read
                    caught, blocked = caught + 1, blocked + 1
                    continue
                found = [one for one in looked if one.outcome == "failed"]
                own = [one for one in found if one.code in (fault.code, fault.also)]
                caught += bool(own)
                blocked += any(one.blocks for one in own)
                missed += [] if own else [f"{name}, seed {seed}"]
                wrong += [f"{name}, seed {seed}: {one.code}" for one in found if one.blocks and one not in own]
        yield {
            "part": "planted", "fault": what, "share": "one row" if share == 0 else "all" if share == 1 else "a tenth",
            "n": n, "code": fault.code, "tables": count, "caught": caught, "blocked": blocked, "wrong_blocks": wrong,
            "missed": missed,
        } | circumstances()  # fmt: skip


def report(rows: list[Row], *, as_markdown: bool) -> None:
    """Print what stands in the results."""
    header = ("Rows", "Tables", "Blocked", "Warned of", "Seconds (median)")
    lines = [
        [f"{row['n']:,}", str(row["tables"]), ", ".join(row["blocks"]) or "0",
         ", ".join(f"{code} {k}" for code, k in row["warnings"].items()) or "nothing", f"{row['seconds']:.2f}"]
        for row in rows if row["part"] == "clean"
    ]  # fmt: skip
    show("Tables that are right", header, lines, as_markdown=as_markdown)
    header = ("Fault", "Code", "In", "Rows", "Tables", "Caught", "Blocked", "Blocked for another reason")
    lines = [
        [row["fault"], row["code"], row["share"], str(row["n"]), str(row["tables"]), str(row["caught"]),
         str(row["blocked"]), str(len(row["wrong_blocks"]))]
        for row in rows if row["part"] == "planted"
    ]  # fmt: skip
    show("Planted faults", header, lines, as_markdown=as_markdown)


def main() -> None:
    """Run what has no result yet, or print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "table_audit.json")
    parser.add_argument("--only", help="one fault, or 'none' for the clean tables")
    parser.add_argument("--rows", type=int, help="only tables of so many rows")
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    results = Results(asked.out, keys=("part", "fault", "share", "n"))
    if not asked.report:
        prepare()
        names, encoder = tables(), load_encoder("composition")
        with TemporaryDirectory() as folder:
            if asked.only in (None, "none"):
                for row in clean(names, Path(folder), encoder, asked.rows):
                    results.put(row)
            for what in FAULTS:
                for n in (n for n in SIZES if asked.only in (None, what) and asked.rows in (None, n)):
                    for row in planted(names, Path(folder), encoder, what, n):
                        results.put(row)
    report(results.rows, as_markdown=asked.report)


if __name__ == "__main__":
    run(main)
