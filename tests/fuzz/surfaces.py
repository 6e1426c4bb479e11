"""Where text and files of strangers come in: each surface with valid inputs, and the call that reads one.

    for surface in SURFACES.values():
        for seed in surface.seeds():
            surface.call(path_with(seed))     # returns, or raises an error of matgraft's

What follows a reader belongs to its surface: rows of a table become formulas and values, frames of a store are read.
"""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write

from matgraft.core.executor import read_executor
from matgraft.core.limits import _parsed as parse_limits
from matgraft.core.model_files import recognise
from matgraft.core.quantities import parse_shear, parse_unit
from matgraft.core.settings import make_settings
from matgraft.core.texts import parse_json, parse_json_lines, parse_value, parse_yaml
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.pretraining.settings import PretrainSettings
from matgraft.formulas.prompts.text import parse_plain, parse_prompt, parse_stated
from matgraft.formulas.table.formula_table import ColumnNames
from matgraft.formulas.table.lines import read_lines
from matgraft.formulas.table.reading import read_table
from matgraft.formulas.table.unlabelled import read_formulas
from matgraft.potentials.active.labelling.engine import read_engine
from matgraft.potentials.active.sampling.settings import SampleSettings
from matgraft.potentials.active.settings import make_active_recipe
from matgraft.potentials.checks.references import read_references
from matgraft.potentials.checks.settings import CheckSettings, uses_of
from matgraft.potentials.data.conditions import kelvins
from matgraft.potentials.data.pack import pack
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.reading.theory import read_theory
from matgraft.potentials.data.store import open_store, verify_store
from matgraft.potentials.models.registry import load_potential
from matgraft.potentials.recipe import make_recipe

ROOT = Path(__file__).resolve().parents[2]
SEEDS = Path(__file__).parent / "seeds"
ELEMENTS = {"mtp": ("Cu", "S")}
"""Of files that number their elements."""


@dataclass(frozen=True)
class Seed:
    """A valid input: the name of its file, which may tell what it is, and its content."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Surface:
    """A reader or a parser.

    Attributes
    ----------
    seeds
        Makes the valid inputs.
    call
        Reads a file.
    """

    seeds: Callable[[], tuple[Seed, ...]]
    call: Callable[[Path], object]


def of_texts(call: Callable[[str], object], *texts: str) -> Surface:
    """Return the surface of a parser of text, as a shell hands it over: bytes that are no UTF-8 become surrogates."""
    seeds = tuple(Seed("text", text.encode()) for text in texts)
    return Surface(lambda: seeds, lambda path: call(path.read_bytes().decode("utf-8", "surrogateescape")))


def of_yaml(call: Callable[[Path], object], *contents: object) -> Surface:
    """Return the surface of a reader of YAML files."""
    seeds = tuple(Seed("file.yaml", yaml.safe_dump(content, sort_keys=False).encode()) for content in contents)
    return Surface(lambda: seeds, call)


PARAMETERS = {"espresso-in": {"pseudopotentials": {"Na": "Na.upf", "Cl": "Cl.upf"}}}
"""Format -> what ASE asks for beside the frames."""


def written(form: str, name: str, frames: list[Atoms]) -> Seed:
    """Return what ASE writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        several = form in ("extxyz", "traj", "vasp-xdatcar", "json", "db")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CASTEP is not installed; FHI-aims will move to a plugin
            write(path, frames if several else frames[0], format=form, **PARAMETERS.get(form, {}))
        return Seed(name, path.read_bytes())


def labelled_frames() -> list[Atoms]:
    """Return three cells with labels under the names that readers look for."""
    rng = np.random.default_rng(0)
    frames = []
    for i in range(3):
        atoms = bulk("NaCl", "rocksalt", a=5.6 + 0.1 * i)
        atoms.positions += 0.05 * rng.standard_normal((2, 3))
        atoms.info |= {"energy": -7.0 + i, "config_type": "a b", "stress": np.eye(3) * 0.01, "temperature": 300}
        atoms.arrays["forces"] = 0.1 * rng.standard_normal((2, 3))
        frames.append(atoms)
    return frames


@cache
def ase_seeds() -> tuple[Seed, ...]:
    """Return small files of formats that ASE reads."""
    names = {
        "extxyz": "a.extxyz",
        "vasp": "POSCAR",
        "cif": "a.cif",
        "vasp-xdatcar": "XDATCAR",
        "xsf": "a.xsf",
        "traj": "a.traj",
        "json": "a.json",
        "db": "a.db",
        "cube": "a.cube",
        "res": "a.res",
        "lammps-data": "a.lammps-data",
        "espresso-in": "a.pwi",
        "aims": "geometry.in",
        "gen": "a.gen",
        "proteindatabank": "a.pdb",
        "castep-cell": "a.cell",
        "dftb": "a.hsd",
        "xyz": "a.xyz",
        "abinit-in": "a.in",
        "struct": "a.struct",
        "gpumd": "xyz.in",
        "v-sim": "a.ascii",
    }
    return tuple(written(form, name, labelled_frames()) for form, name in names.items())


def of_frames(kind: str) -> Surface:
    """Return the surface of frames in one format, whose valid files lie beside this one."""
    files = tuple(Seed(path.name, path.read_bytes()) for path in sorted((SEEDS / "frames" / kind).iterdir()))
    return Surface(lambda: files, partial(read_frames, elements=ELEMENTS.get(kind)))


def read_frames(path: Path, elements: tuple[str, ...] | None = None) -> None:
    """Read frames and walk over them."""
    for sample in read(path, want=(), **({"elements": elements} if elements else {})):
        kelvins(sample.tags)


@cache
def table_seeds() -> tuple[Seed, ...]:
    """Return one table in each of its types."""
    rows = [("NaCl", 5.0), ("Fe2O3", 2.2), ("Al0.5Ga0.5N", 4.4), ("SrTiO3", 3.2), ("Cu3Zn", 0.0), ("MgO", 7.8)]
    table = pd.DataFrame(rows, columns=["formula", "gap"]).assign(lab=list("aabbcc"), temperature=300)
    shares = pd.DataFrame({"Fe": [70.0, 60.5], "Ni": [20, 30], "Cr": ["10", "bal"], "gap": [1.0, 2.0]})
    text = table.to_csv(index=False).encode()
    excel, parquet = io.BytesIO(), io.BytesIO()
    table.to_excel(excel, index=False)
    table.to_parquet(parquet, index=False)
    return (
        Seed("a.csv", text),
        Seed("a.tsv", table.to_csv(index=False, sep="\t").encode("utf-16")),
        Seed("b.csv", shares.to_csv(index=False, sep=";", decimal=",").encode("latin-1")),
        Seed("a.csv.gz", gzip.compress(text)),
        Seed("a.jsonl", table.to_json(orient="records", lines=True).encode()),
        Seed("a.json", table.to_json(orient="records").encode()),
        Seed("a.xlsx", excel.getvalue()),
        Seed("a.parquet", parquet.getvalue()),
        Seed("a.txt", b"# measured\nformula  gap\nNaCl   5.0 +- 0.1\nFe2O3  >2.2\n"),
    )


def read_one_table(path: Path) -> None:
    """Read a table with values, and as candidates without."""
    try:
        read_table(path, "gap", ColumnNames(covariates=("temperature",)))
    finally:
        read_formulas(path, ColumnNames(), parse_plain)


@cache
def store_seeds() -> tuple[Seed, ...]:
    """Return a store of frames, and one that is no longer checked by hashes."""
    with tempfile.TemporaryDirectory() as folder:
        source, store = Path(folder) / "a.extxyz", Path(folder) / "frames.h5"
        write(source, labelled_frames(), format="extxyz")
        pack([str(source)], store)
        return (Seed("frames.h5", store.read_bytes()),)


def read_store(path: Path) -> None:
    """Open a store, read all of it, and hold it against its hashes."""
    try:
        list(open_store(path))
    finally:
        verify_store(path)


@cache
def model_seeds() -> tuple[Seed, ...]:
    """Return files such as models lie in."""
    import torch
    from safetensors.numpy import save

    saved, legacy, arrays, hdf5 = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    state = {"layers.0.weight": torch.zeros(2, 2), "epoch": 3}
    torch.save(state, saved)
    torch.save(state, legacy, _use_new_zipfile_serialization=False)
    np.savez(arrays, a=np.zeros(3))
    with h5py.File(hdf5, "w") as file:
        file["a"] = np.zeros(3)
    return (
        Seed("a.pt", saved.getvalue()),
        Seed("a.pth", legacy.getvalue()),
        Seed("a.safetensors", save({"a": np.zeros(3, np.float32)})),
        Seed("a.npz", arrays.getvalue()),
        Seed("a.h5", hdf5.getvalue()),
        Seed("card.json", json.dumps({"name": "x", "elements": ["Si"]}).encode()),
    )


def read_model(path: Path) -> None:
    """Say what a file is, and try to open it as a potential."""
    try:
        recognise(path)
    finally:
        load_potential(path)


RECIPE = {
    "train": "frames.extxyz",
    "foundation": "chgnet",
    "keys": {"energy": "my_e"},
    "units": {"stress": "-kBar"},
    "split": {"by": "trajectory", "test": 0.2},
    "fit": {"rate": 0.001, "epochs": 3},
    "audit": {"drop": [1, "5-9"], "allow": ["stress-sign"]},
}
ENGINE = {
    "calculator": "espresso",
    "command": "pw.x",
    "parameters": {"input_data": {"ecutwfc": 40}, "kpts": [2, 2, 2]},
    "theory": {"functional": "PBE", "cutoff_eV": 520.0, "kpoints": [4, 4, 4]},
}
THEORY = {"functional": "PBE", "cutoff_eV": 520.0, "kpoints": [4, 4, 4], "hubbard_u": {"Fe": 4.0}, "spin": False}
EXECUTOR = {
    "provider": "slurm",
    "workers": 4,
    "walltime": "01:00:00",
    "scheduler_options": "#SBATCH -A x\n#SBATCH -N 1",
}
ACTIVE = {"start": "POSCAR", "engine": "engine.yaml", "sample": {"temperature": "300:900", "md": "npt"}, "rounds": 2}
REFERENCES = {"source": "a paper", "structures": {"Si": {"bulk_modulus_GPa": 98.8, "a_A": 5.43}}}


def _unless_no_text(parse: Callable[[str], object]) -> Callable[[str], object]:
    """Take the ValueError by which a parser of `core.texts` says that a text is no YAML, or no JSON."""

    def call(text: str) -> None:
        try:
            parse(text)
        except ValueError as error:
            if type(error) not in (ValueError, json.JSONDecodeError):
                raise

    return call


def _items(make: Callable[[list[str]], object]) -> Callable[[str], object]:
    return lambda text: make(text.split("\n"))


SURFACES: dict[str, Surface] = {
    **{f"frames:{folder.name}": of_frames(folder.name) for folder in sorted((SEEDS / "frames").iterdir())},
    "frames:ase": Surface(ase_seeds, read_frames),
    "tables": Surface(table_seeds, read_one_table),
    "store": Surface(store_seeds, read_store),
    "models": Surface(model_seeds, read_model),
    "formula": of_texts(
        parse_formula,
        "Fe2O3",
        "Al0.5Ga0.5N",
        "(NH4)2SO4",
        "CuSO4·5H2O",
        "Fe-18Cr-8Ni (wt%)",
        "Ca₃(PO₄)₂",
        "La1-xSrxMnO3",
    ),
    "prompt": of_texts(
        lambda text: [parse_stated(text), parse_prompt(text, {"GAP": "gap"}, ["LAB"])], "[GLASS] SiO2", "SiO2 [GAP]"
    ),
    "key=value": of_texts(
        _items(lambda items: make_recipe(None, items, train="a.xyz")),
        "fit.rate=1e-3\naudit.drop=[1, 5-9]",
        "keys={energy: my_e}",
        "split.by=random\nreferences.shift_eV={Si: 1.0}",
        "want=[energy, forces]",
        "scores.by=[temperature, element]",
    ),
    "key=value of checks": of_texts(
        _items(lambda items: make_settings(CheckSettings, [], items)), "seeds=3\ntemperature_K=[300, 900]", "only=[eos]"
    ),
    "key=value of samples": of_texts(
        _items(lambda items: make_settings(SampleSettings, [], items)),
        "temperature=300:2000\nmd=npt",
        "temperature=300,600,900\nwalkers=2",
        "pressure_GPa=0,10\nps=0.5",
        "make=strain,rattle",
    ),
    "key=value of tables": of_texts(
        _items(lambda items: make_settings(PredictorSettings, [], items)), "strategy=full\ninner_folds=3"
    ),
    "key=value of pretraining": of_texts(
        _items(lambda items: make_settings(PretrainSettings, [], items)),
        "encoder.width=16\nexclude=",
        "fit={epochs: 2}",
    ),
    "uses": of_texts(lambda text: uses_of([text]), "relax,md:300-1200K", "phonons,elastic"),
    "lines": of_texts(read_lines, "3,7-9", "1-1000"),
    "units": of_texts(lambda text: parse_unit(text, "stress"), "-kBar", "eV/A^3", "GPa"),
    "shear": of_texts(parse_shear, "xy,xz,yz"),
    "limits": of_texts(parse_limits, "yaml_bytes=64M,nesting=500", "columns=20000"),
    "yaml": of_texts(
        _unless_no_text(parse_yaml), "a: &b [1, 2.5, x]\nc: *b\n? 1\n: 2024-01-01", "- {a: 1e3}\n- !!str 5\n- ~"
    ),
    "value": of_texts(_unless_no_text(parse_value), "1e-3", "[1, 5-9]", "{a: b}", "2024-01-01"),
    "json": of_texts(_unless_no_text(parse_json), '{"a": [1, 2.5e3, null, true, "x\\u00e9"], "b": {}}'),
    "json lines": of_texts(
        _unless_no_text(lambda text: list(parse_json_lines(text.encode("utf-8", "surrogateescape")))), '{"a": 1}\n\n[2]'
    ),
    "recipe": of_yaml(lambda path: make_recipe(path, []), RECIPE),
    "engine": of_yaml(read_engine, ENGINE, {"calculator": "emt"}),
    "executor": of_yaml(read_executor, EXECUTOR, {"workers": 2}),
    "references": of_yaml(read_references, REFERENCES),
    "theory": of_yaml(read_theory, THEORY),
    "active recipe": of_yaml(make_active_recipe, ACTIVE),
}
