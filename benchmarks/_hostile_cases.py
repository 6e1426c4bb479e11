"""Inputs that a stranger could send, one kind after another; each makes its own files in a folder that is empty.

    for kind, cases in KINDS.items():
        for case in cases(home):          # home: runs that may be copied, and a module that must not be imported
            case.work(empty_folder)

A case is a name, what is done with it, and whether it must be refused: what is read as if nothing were wrong is then
a silent change.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pandas as pd
import pyarrow as pa
from ase import Atoms
from ase.build import bulk
from ase.io import write
from pyarrow import parquet

from matgraft import cli
from matgraft.core.executor import read_executor
from matgraft.core.settings import read_yaml
from matgraft.formulas.formula import parse_formula
from matgraft.potentials.active.labelling.engine import read_engine
from matgraft.potentials.checks.references import read_references
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.reading.theory import read_theory
from matgraft.potentials.data.store import open_store

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ROOT / "tests" / "fuzz" / "seeds" / "frames"
CANARY = "matgraft_canary"
"""A module that leaves a file where it is imported."""
LONG = "9" * 5000
MIB = 2**20


@dataclass(frozen=True)
class Home:
    """What is made once: a run on formulas and one on frames, with a row of the table and frames that they take."""

    formulas: Path
    frames: Path
    table: Path
    structures: Path


@dataclass(frozen=True)
class Case:
    """An input.

    Attributes
    ----------
    work
        Makes the files in an empty folder and does with them what a user would.
    is_refused
        Whether anything but an error is a fault: nothing honest looks so.
    """

    name: str
    work: Callable[[Path], object]
    is_refused: bool = False


Cases = Iterator[Case]


def command(*words: object) -> None:
    """Run the command line in this process."""
    sys.argv = ["matgraft", *map(str, words)]
    cli.run_command_line()


def file_case(
    name: str,
    file: str,
    content: bytes | Callable[[], bytes],
    verb: Callable[[Path], object],
    *,
    is_refused: bool = False,
) -> Case:
    """Return the case of one file."""

    def work(folder: Path) -> None:
        path = folder / file
        path.write_bytes(content() if callable(content) else content)
        verb(path)

    return Case(name, work, is_refused)


def audit_frames(path: Path) -> None:
    """Audit frames."""
    command("audit", path)


def audit_table(path: Path) -> None:
    """Audit a table."""
    command("audit", path, "--target", "gap")


def walk(path: Path) -> None:
    """Read frames."""
    list(read(path, want=()))


# ------------------------------------------------------------------- 1. code


def code(home: Home) -> Cases:
    """Records that name a module, tags of YAML, pickles: under each name under which readers take them."""
    call = {
        "@module": CANARY,
        "@class": "Canary",
        "@callable": "Canary",
        "data": {"@module": CANARY, "@class": "Canary"},
    }
    structure = {"@module": "pymatgen.core.structure", "@class": "Structure", "lattice": call, "sites": [call]}
    forms = {
        "a record": call,
        "a list of records": [call],
        "a structure": {"structure": call, "energy": 1.0},
        "inside a structure": [{"structure": structure, "outputs": {"energy": 1.0, "forces": [[0, 0, 0]]}}],
        "beside a structure": {"a": {"structure": structure, "energy": 1.0, "calc": call}},
        "a task": {"output": {"structure": call, "energy": 1.0}, "calcs_reversed": [call]},
        "entries": {"entries": [{**call, "composition": call}]},
    }
    for name, content in forms.items():
        text = json.dumps(content).encode()
        yield file_case(f"{name}, .json", "a.json", text, audit_frames)
        yield file_case(f"{name}, .json.gz", "a.json.gz", gzip.compress(text), audit_frames)
        yield file_case(f"{name}, .jsonl as a table", "a.jsonl", json.dumps(content).encode(), audit_table)
    info = json.dumps({"x": call}).replace('"', '\\"')
    keys = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 energy=1.0'
    head = f'1\n{keys} a="_JSON {info}" pbc="T T T"\nSi 0 0 0\n'
    yield file_case("extxyz, info", "a.extxyz", head.encode(), walk)
    bad = pickle.dumps(_Canary())
    yield file_case("pickle as frames", "a.pkl", bad, audit_frames, is_refused=True)
    yield file_case(
        "pickle as a model", "a.model", bad, lambda p: command("predict", p, home.structures), is_refused=True
    )
    yield file_case("pickle in .npz", "a.npz", partial(_pickled_array, bad), audit_frames, is_refused=True)
    yield file_case(
        "pickle as .pth.tar", "a.pth.tar", bad, lambda p: command("predict", p, home.structures), is_refused=True
    )
    for tag in ("object/apply:matgraft_canary.Canary", "module:matgraft_canary", "name:matgraft_canary.Canary"):
        text = f"!!python/{tag} []\n".encode()
        for label, verb in yaml_readers().items():
            yield file_case(f"YAML {tag.split(':')[0]}, {label}", "a.yaml", b"a: " + text, verb, is_refused=True)
    yield Case("key=value", lambda _: command("audit", home.structures, f"keys=!!python/name:{CANARY}.Canary []"), True)


class _Canary:
    def __reduce__(self) -> tuple[object, ...]:
        return (__import__, (CANARY,))


def _pickled_array(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        for name in ("R", "E", "F", "z"):
            archive.writestr(f"{name}.npy", head.getvalue() + content)
    return file.getvalue()


def yaml_readers() -> dict[str, Callable[[Path], object]]:
    """Return what reads YAML."""
    return {
        "recipe": lambda path: command("tune", path),
        "engine": read_engine,
        "executor": read_executor,
        "references": read_references,
        "theory": read_theory,
        "settings": read_yaml,
    }


# ------------------------------------------------------------------- 2. bounded work


def yaml_texts(home: Home) -> Cases:
    """YAML that is deep, long, or stands for more than it is."""
    bomb = b"".join(
        [b"a0: &a0 [x, x]\n", *(b"a%d: &a%d [%s]\n" % (i, i, b"*a%d, " % (i - 1) * 9) for i in range(1, 12))]
    )
    texts = {
        "aliases": bomb,
        "an alias of itself": b"a: &a [*a]\n",
        "merged aliases": b"".join(
            b"a%d: &a%d {<<: [%s]}\n" % (i, i, b"*a%d, " % max(0, i - 1) * 9) for i in range(1, 9)
        ),
        "10,000 brackets": b"a: " + b"[" * 10_000 + b"]" * 10_000,
        "10,000 braces": b"{a: " * 10_000,
        "a block 3,000 deep": b"".join(b" " * i + b"a:\n" for i in range(3000)),
        "dashes": b"- " * 50_000 + b"a",
        "question marks": b"? " * 50_000 + b"a",
        "10 MB": b"a: [1, 2, 3]\n" * 800_000,
        "5,000 digits": b"a: " + LONG.encode(),
        "a key of 5,000 digits": LONG.encode() + b": 1",
        "binary 0b": b"a: 0b" + b"1" * 100_000,
        "base 60": b"a: " + b"1:" * 50_000 + b"1",
        "a date": b"a: 2024-99-99",
        "NUL": b"a: \0b",
        "no UTF-8": b"a: \xff\xfe",
        "a million blank lines": b"\n" * 1_000_000 + b"a: 1",
        "quotes that do not end": b'a: "' + b"x" * 100_000,
    }
    for name, content in texts.items():
        for label, verb in yaml_readers().items():
            yield file_case(f"{name}, {label}", "a.yaml", content, verb)


def options(home: Home) -> Cases:
    """key=value with the same."""
    values = (
        LONG,
        f"[{LONG}]",
        f"1e{LONG}",
        "[" * 5000,
        "{a: " * 5000,
        "&a [*a]",
        "nan",
        ".inf",
        "\udcff",
        " " * 90_000,
        "- " * 9000,
    )
    for key in ("fit.rate", "split.test", "audit.drop", "keys.energy", "references.shift_eV.Si", "forgetting.size"):
        for value in values:
            shown = value if len(value) < 12 else f"{value[:8]}..."
            yield Case(
                f"{key}={shown!r}",
                lambda folder, key=key, value=value: command(
                    "tune", home.structures, f"{key}={value}", "--out", folder / "run"
                ),
                True,
            )


def bombs(home: Home) -> Cases:
    """Packed files of some kB that hold gigabytes."""
    zeros, blanks = b"0" * 16 * MIB, b" \n" * 8 * MIB
    packers = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    for ending, pack in packers.items():
        for label, fill in (("one line", zeros), ("blank lines", blanks)):
            for file, verb in (("a.extxyz", walk), ("OUTCAR", walk), ("a.json", walk), ("a.cif", walk), ("any", walk)):
                content = partial(_many, pack, fill, 96)
                yield file_case(f"{label}, {file}.{ending}", f"{file}.{ending}", content, verb, is_refused=True)
    for label, fill in (("one line", zeros), ("blank lines", blanks), ("rows", b"NaCl,1.0\n" * MIB)):
        content = partial(_many, gzip.compress, fill, 96)
        yield file_case(f"{label}, table.csv.gz", "a.csv.gz", content, audit_table, is_refused=True)
    for ending in ("zst", "zip", "7z"):
        yield file_case(
            f"frames.{ending}", f"a.extxyz.{ending}", partial(_zipped, "a.extxyz", zeros), walk, is_refused=True
        )
    sheet = (
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        + b" " * 16 * MIB * 40
    )
    yield file_case("sheet", "a.xlsx", partial(_workbook, sheet), audit_table, is_refused=True)
    yield file_case(
        "sheet that is a zip of nothing", "a.xlsx", partial(_zipped, "x", zeros), audit_table, is_refused=True
    )
    yield file_case(
        "arrays", "a.npz", partial(_zipped, "R.npy", _array_head((2**28, 3)) + zeros * 20), walk, is_refused=True
    )
    yield file_case(
        "array that is not there", "a.npz", partial(_zipped, "R.npy", _array_head((2**40, 3))), walk, is_refused=True
    )
    yield file_case("parquet", "a.parquet", _repeated, audit_table, is_refused=True)
    yield Case("lmdb", partial(_rows, content=b"[" + b"0," * 200 * MIB + b"0]"), True)
    yield Case("lmdb, no zlib", partial(_rows, content=None), True)
    yield Case("h5", _sparse_store, True)


def _many(pack: Callable[[bytes], bytes], fill: bytes, times: int) -> bytes:
    return pack(fill) * times


def _zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def _workbook(sheet: bytes) -> bytes:
    made = io.BytesIO()
    pd.DataFrame({"formula": ["NaCl"], "gap": [1.0]}).to_excel(made, index=False)
    file = io.BytesIO()
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, sheet if name.endswith("sheet1.xml") else old.read(name))
    return file.getvalue()


def _array_head(shape: tuple[int, ...]) -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return head.getvalue()


def _repeated() -> bytes:
    file = io.BytesIO()
    formulas = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), ["NaCl" + " " * MIB])
    parquet.write_table(pa.table({"formula": formulas, "gap": [1.0] * 3000}), file)
    return file.getvalue()


def _rows(folder: Path, content: bytes | None) -> None:
    path = folder / "a.aselmdb"
    with lmdb.open(str(path), subdir=False, map_size=2**24, lock=False) as rows, rows.begin(write=True) as change:
        change.put(b"nextid", zlib.compress(b"2"))
        change.put(b"1", b"\0" * 100 if content is None else zlib.compress(content))
    walk(path)


def _sparse_store(folder: Path) -> None:
    path = folder / "frames.h5"
    write(folder / "a.extxyz", [_labelled(bulk("Si")), _labelled(bulk("Ge"))])
    from matgraft import pack

    pack(folder / "a.extxyz", path)
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            kind, rest = file[name].dtype, file[name].shape[1:]
            del file[name]
            file.create_dataset(name, shape=(2**36, *rest), dtype=kind, chunks=(2**16, *rest), compression="gzip")
    list(open_store(path))


def _labelled(atoms: Atoms) -> Atoms:
    atoms.info["energy"] = -1.0
    atoms.arrays["forces"] = np.zeros((len(atoms), 3))
    return atoms


def lines(home: Home) -> Cases:
    """Outputs of every code with a line on which a pattern could go back and forth, and outputs that are cut off."""
    fills = {"blanks": b" " * 1_000_000, "digits": b"1" * 1_000_000, "dots": b"1." * 300_000, "words": b"a " * 300_000}
    for kind in sorted(path for path in SEEDS.iterdir() if path.name != "lmdb"):
        (path,) = kind.iterdir()
        content = path.read_bytes()
        middle = content.find(b"\n", len(content) // 2) + 1
        for label, fill in fills.items():
            yield file_case(
                f"{label}, {kind.name}", path.name, content[:middle] + fill + b"\n" + content[middle:], walk
            )
        end = content.rfind(b"\n", 0, middle - 1)
        longer = content[:end] + b" " * 500_000 + content[end:]
        yield file_case(f"blanks at the end of a line, {kind.name}", path.name, longer, walk)
        yield file_case(
            f"a million blank lines, {kind.name}",
            path.name,
            content[:middle] + b"\n" * 1_000_000 + content[middle:],
            walk,
        )
        yield file_case(f"cut off, {kind.name}", path.name, content[: len(content) * 2 // 3], walk)


def counts(home: Home) -> Cases:
    """Headers that ask for more than there is, and numbers of 5,000 digits."""
    cell = 'Lattice="4 0 0 0 4 0 0 0 4"'
    row = "Si 0 0 0\n"
    heads = {
        "atoms": f"1000000000\n{cell} Properties=species:S:1:pos:R:3 energy=1\n{row}",
        "columns": f"1\n{cell} Properties=species:S:1:pos:R:3:a:R:1000000000 energy=1\n{row}",
        "columns of 5,000 digits": f"1\n{cell} Properties=species:S:1:pos:R:3:a:R:{LONG} energy=1\n{row}",
        "atoms of 5,000 digits": f"{LONG}\n{cell} energy=1\n{row}",
        "negative atoms": f"-1\n{cell} energy=1\n{row}",
        "an integer of 5,000 digits": f"1\n{cell} Properties=species:S:1:pos:R:3 energy={LONG}\n{row}",
        "a tag of 5,000 digits": f"1\n{cell} Properties=species:S:1:pos:R:3 energy=1 x={LONG}\n{row}",
        "an array of 5,000 digits": f'1\n{cell} Properties=species:S:1:pos:R:3 energy=1 x="{LONG} {LONG}"\n{row}',
        "a list in brackets": f"1\n{cell} Properties=species:S:1:pos:R:3 energy=1 x={'[' * 50_000}\n{row}",
        "a header without end": f'1\n{cell} energy=1 x="{"a " * 500_000}\n{row}',
        "positions of 5,000 digits": f"1\n{cell} Properties=species:S:1:pos:R:3 energy=1\nSi {LONG} 0 0\n",
        "a magnetic moment": f"1\n{cell} Properties=species:S:1:pos:R:3:magmom:I:1 energy=1\nSi 0 0 0 {LONG}\n",
    }
    for name, text in heads.items():
        yield file_case(f"extxyz, {name}", "a.extxyz", text.encode(), walk)
    box = "ITEM: BOX BOUNDS pp pp pp\n0 1\n0 1\n0 1\nITEM: ATOMS id type x y z\n"
    walls = "0 4 xlo xhi\n0 4 ylo yhi\n0 4 zlo zhi\n\nAtoms\n\n1 1 0 0 0\n"
    poscar = "x\n1.0\n4 0 0\n0 4 0\n0 0 4\nSi\n{}\ndirect\n0 0 0\n"
    files = {
        "POSCAR": poscar.format(10**9),
        "POSCAR ": poscar.format(LONG),
        "XDATCAR": poscar.format(10**9).replace("direct", "Direct configuration= 1"),
        "a.cube": f"x\ny\n{10**9} 0 0 0\n{10**9} 1 0 0\n{10**9} 0 1 0\n{10**9} 0 0 1\n14 0 0 0 0\n",
        "a.xsf": f"CRYSTAL\nPRIMVEC\n4 0 0\n0 4 0\n0 0 4\nPRIMCOORD\n{10**9} 1\n14 0 0 0\n",
        "a.gen": f"{10**9} S\nSi\n1 1 0 0 0\n",
        "a.lammps-data": f"x\n\n{10**9} atoms\n{10**9} atom types\n{walls}",
        "a.dump": f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{10**9}\n{box}1 1 0 0 0\n",
        "a.dump ": f"ITEM: TIMESTEP\n{LONG}\nITEM: NUMBER OF ATOMS\n{LONG}\n{box}",
        "train.cfg": f"BEGIN_CFG\n Size\n {10**9}\n AtomData: id type cartes_x cartes_y cartes_z\n1 0 0 0 0\n",
        "input.data": f"begin\nlattice {LONG} 0 0\natom 0 0 0 Si 0 0 0 0 0\nenergy {LONG}\ncharge 0\nend\n",
    }
    for name, text in files.items():
        yield file_case(f"count, {name}", name.strip(), text.encode(), walk)
    for name, text in {
        "JSON lines": (f'{{"formula": "NaCl", "gap": {LONG}}}\n' * 9, "a.jsonl"),
        "JSON": (f'[{{"formula": "NaCl", "gap": {LONG}}}]', "a.json"),
        "JSON, deep": ('{"a": ' * 10_000, "a.json"),
        "JSON, brackets": ("[" * 100_000, "a.jsonl"),
        "CSV": (f"formula,gap\nNaCl,{LONG}\nMgO,1\n", "a.csv"),
        "CSV, exponent": (f"formula,gap\nNaCl,1e{LONG}\nMgO,1\n", "a.csv"),
        "CSV, amounts": (f"formula,gap\nNa{LONG}Cl,1\nMgO,1\n", "a.csv"),
        "CSV, columns of elements": (f"Fe,Ni,gap\n{LONG},30,1\n70,30,2\n", "a.csv"),
        "CSV, a quotation mark": ('formula,gap\n"NaCl,1\n' + "MgO,1\n" * 200_000, "a.csv"),
        "CSV, a million blank lines": ("formula,gap\n" + "\n" * 1_000_000 + "NaCl,1\n", "a.csv"),
        "CSV, a million commas": ("," * 1_000_000 + "\n1\n", "a.csv"),
        "CSV, blanks": ("formula,gap\n" + " " * 5_000_000 + "\n", "a.csv"),
        "text, blanks": ("formula  gap\nNaCl" + " " * 1_000_000 + "1\n", "a.txt"),
        "CSV, NUL": ("formula,gap\nNa\0Cl,1\n", "a.csv"),
    }.items():
        yield file_case(f"table, {name}", text[1], text[0].encode(), audit_table)


def formulas(home: Home) -> Cases:
    """Formulas that are nested, long or no formulas, to a run that predicts."""
    texts = {
        "brackets": "(" * 10_000 + "Na" + ")" * 10_000,
        "open brackets": "[" * 100_000,
        "40 brackets": "(" * 40 + "NaCl" + ")2" * 40,
        "amounts": "Na" + LONG,
        "an amount of 300": "Na" + "9" * 300 + "Cl",
        "a small amount": "Na0." + "0" * 400 + "1Cl",
        "dots": "CuSO4" + "·H2O" * 5000,
        "dashes": "Fe-" * 30_000,
        "per cent": "Fe-" + "18Cr-" * 500 + "(wt%)",
        "blanks": "Na" + " " * 100_000 + "Cl",
        "letters": "a" * 100_000,
        "surrogates": "Na\udcffCl",
        "other scripts": "Na₂" * 400 + "٣",
        "control characters": "\x1b[2JNaCl",
        "empty": "",
    }
    for name, text in texts.items():
        yield Case(f"{name}, parser", lambda _, text=text: parse_formula(text))
        if len(text) < 100_000:
            yield Case(f"{name}, predict", lambda _, text=text: command("predict", home.formulas, text))


def copied(run: Path, folder: Path) -> Path:
    """Return a copy of a run."""
    return Path(shutil.copytree(run, folder / "run", symlinks=True))
