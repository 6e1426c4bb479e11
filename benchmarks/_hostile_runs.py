"""Structures without sense, and run folders that somebody has changed: the second half of the hostile inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from _hostile_cases import Case, Cases, Home, command, copied, file_case
from ase import Atoms
from ase.build import bulk
from ase.io import write
from safetensors.numpy import load_file, save_file

from matgraft.core.manifest import FILE


def nonsense() -> dict[str, Atoms]:
    """Return structures that no potential can be asked about."""
    silicon, rng = bulk("Si", cubic=True), np.random.default_rng(0)

    def changed(change: Callable[[Atoms], object]) -> Atoms:
        atoms = silicon.copy()
        change(atoms)
        return atoms

    def cell(*vectors: float) -> Atoms:
        return Atoms("Si", cell=vectors, pbc=True)

    return {
        "flat, 1e-3 Å": cell(4, 4, 1e-3),
        "flat, 1e-5 Å": cell(4, 4, 1e-5),
        "needle": cell(1e-4, 1e-4, 4),
        "skewed": Atoms("Si", cell=[[4, 0, 0], [4, 1e-7, 0], [0, 0, 4]], pbc=True),
        "1e200 Å long": cell(1e200, 4, 4),
        "far": changed(lambda atoms: atoms.translate([1e10, 0, 0])),
        "spread": Atoms("Si2", positions=[[0, 0, 0], [1e10, 0, 0]]),
        "crowded": Atoms("Si100", positions=rng.random((100, 3)), cell=[1, 1, 1], pbc=True),
        "a crowd in a wide cell": Atoms("Si3000", positions=rng.random((3000, 3)), cell=[50, 50, 50], pbc=True),
        "on one place": Atoms("Si2", positions=np.zeros((2, 3)), cell=[4, 4, 4], pbc=True),
        "NaN position": changed(lambda atoms: atoms.positions.__setitem__((0, 0), np.nan)),
        "infinite position": changed(lambda atoms: atoms.positions.__setitem__((0, 0), np.inf)),
        "NaN cell": changed(lambda atoms: atoms.cell.__setitem__((0, 0), np.nan)),
        "no cell, periodic": Atoms("Si", cell=np.zeros((3, 3)), pbc=True),
        "no atoms": Atoms(cell=[4, 4, 4], pbc=True),
        "atom 0": Atoms(numbers=[0], cell=[4, 4, 4], pbc=True),
        "atom 119": Atoms(numbers=[119], cell=[4, 4, 4], pbc=True),
    }


def structures(home: Home) -> Cases:
    """Structures without sense to predictions, the audit, tuning, checks and the calculator."""
    verbs: dict[str, Callable[[Path], object]] = {
        "predict": lambda path: command("predict", "chgnet", path),
        "tune": lambda path: command("tune", path, "--from", "chgnet", "--out", path.parent / "run"),
        "check": lambda path: command("check", "chgnet", path, "--out", path.parent / "checks"),
        "export's calculator": lambda path: None,
    }
    for name, atoms in nonsense().items():
        for label, verb in verbs.items():
            if label.startswith("export"):
                yield Case(f"{name}, calculator", lambda _, atoms=atoms: calculated(atoms), True)
            elif name != "atom 119":  # ASE has no symbol for it to write
                yield Case(f"{name}, {label}", partial(_given, atoms, verb), True)


def _given(atoms: Atoms, verb: Callable[[Path], object], folder: Path) -> None:
    labelled = atoms.copy()
    labelled.info["energy"] = -1.0
    labelled.arrays["forces"] = np.zeros((len(atoms), 3))
    path = folder / "a.extxyz"
    write(path, [labelled] * 3, format="extxyz")
    verb(path)


def calculated(atoms: Atoms) -> None:
    """Ask the calculator for an energy."""
    from matgraft import load

    atoms.calc = load("chgnet").calculator()
    atoms.get_potential_energy()


def text_files(run: Path) -> list[Path]:
    """Return JSON and YAML of a run, the shortest path first."""
    found = [path.relative_to(run) for path in run.rglob("*") if path.suffix in (".json", ".yaml")]
    return sorted(found, key=lambda path: (len(path.parts), str(path)))


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "one byte": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "cut off": lambda content: content[: len(content) // 2],
    "another kind": lambda _: b"[1, 2, 3]",
    "nothing": lambda _: b"",
    "5,000 digits": lambda content: content.replace(b": ", b": " + b"9" * 5000, 1),
    "NaN": lambda _: b'{"a": NaN}',
    "deep": lambda _: b'{"a": ' * 20_000,
    "NUL": lambda content: content.replace(b"{", b"{\0", 1),
    "a record of code": lambda _: b'{"@module": "matgraft_canary", "@class": "Canary"}',
}


def run_files(home: Home) -> Cases:
    """Each file of a run with something else in it: told by verify, and never a traceback of what reads it."""
    for label, run in (("formulas", home.formulas), ("frames", home.frames)):
        names = sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file() and path.name != FILE)
        for name in names:
            yield Case(
                f"{label}: a byte of {name}, verify", partial(_edited, run, name, EDITS["one byte"], "verify"), True
            )
        for i, name in enumerate(text_files(run)):
            edit = list(EDITS)[i % len(EDITS)]
            verb = ("predict", "report", "evaluate")[i % 3]
            work = partial(_edited, run, name, EDITS[edit], verb, home=home, has_hashes=False)
            yield Case(f"{label}: {name}, {edit}, no hashes, {verb}", work)
    for edit in EDITS:
        for name in ("settings.json", "run.json", "model/card.json"):
            work = partial(_edited, home.formulas, Path(name), EDITS[edit], "predict", home=home)
            yield Case(f"formulas: {name}, {edit}, predict", work, True)


def _edited(
    run: Path,
    name: Path,
    edit: Callable[[bytes], bytes],
    verb: str,
    folder: Path,
    *,
    home: Home | None = None,
    has_hashes: bool = True,
) -> None:
    here = copied(run, folder)
    content = (here / name).read_bytes()
    (here / name).unlink()
    (here / name).write_bytes(edit(content) or b"x" if len(content) < 5 else edit(content))
    if not has_hashes:
        for one in here.rglob(FILE):
            one.unlink()
    words: list[object] = []
    if verb == "predict" and home:
        words = ["NaCl"] if run == home.formulas else [home.structures]
    if verb == "evaluate" and home:
        words = [home.table] if run == home.formulas else [home.structures]
    command(verb, here, *words)


def arrays(home: Home) -> Cases:
    """Weights that are swapped, lacking, not finite or of another shape; links and paths that lead out of a folder."""
    edits: dict[str, Callable[[dict[str, np.ndarray], str], object]] = {
        "NaN": lambda arrays, name: arrays.update({name: arrays[name] * np.nan}),
        "missing": lambda arrays, name: arrays.pop(name),
        "of another shape": lambda arrays, name: arrays.update({name: arrays[name][..., :-1]}),
        "more": lambda arrays, name: arrays.update(more=np.ones(3, np.float32)),
    }
    weights = sorted(path.relative_to(home.formulas) for path in home.formulas.rglob("*.safetensors"))
    for file in weights[:4]:
        for edit, change in edits.items():
            for has_hashes in (True, False):
                work = partial(_spoiled, home, file, change, has_hashes)
                yield Case(f"{file}: a tensor is {edit}, hashes {has_hashes}", work, edit != "more" or has_hashes)
    for one, other in pairwise(weights):
        yield Case(f"{one} and {other} swapped", partial(_swapped, home, one, other), True)
    for name in ("model/card.json", "settings.json", str(weights[0])):
        yield Case(f"{name} is a link", partial(_linked, home, name), True)
    for head in ("../other", "../../etc", "/etc/passwd", ".", "..", "a/../../x", "\0", "x" * 5000, ""):
        yield Case(
            f"RUN#{head[:12]!r}",
            lambda _, head=head: command("predict", f"{home.frames}#{head}", home.structures),
            True,
        )
    yield Case("a run that is a link to itself", _loop, True)
    yield Case("a pipe in the place of a run", _pipe, True)


def _spoiled(
    home: Home, file: Path, change: Callable[[dict[str, np.ndarray], str], object], has_hashes: bool, folder: Path
) -> None:
    here = copied(home.formulas, folder)
    content = load_file(here / file)
    change(content, max(content, key=lambda name: content[name].size))
    save_file({name: np.ascontiguousarray(array) for name, array in content.items()}, here / file)
    if not has_hashes:
        for one in here.rglob(FILE):
            one.unlink()
    command("predict", here, "NaCl")


def _swapped(home: Home, one: Path, other: Path, folder: Path) -> None:
    here = copied(home.formulas, folder)
    first, second = (here / one).read_bytes(), (here / other).read_bytes()
    (here / one).write_bytes(second)
    (here / other).write_bytes(first)
    command("predict" if first != second else "nothing", here, "NaCl")


def _linked(home: Home, name: str, folder: Path) -> None:
    here = copied(home.formulas, folder)
    (here / name).rename(folder / "elsewhere")
    (here / name).symlink_to(folder / "elsewhere")
    command("predict", here, "NaCl")


def _loop(folder: Path) -> None:
    (folder / "run").symlink_to(folder / "run")
    command("predict", folder / "run", "NaCl")


def _pipe(folder: Path) -> None:
    import os

    os.mkfifo(folder / "a.extxyz")
    command("predict", "chgnet", folder / "a.extxyz")


def records(home: Home) -> Cases:
    """JSON records whose numbers are no numbers."""
    for value in ("1e400", "9" * 5000, "NaN", '"x"', "[]", "null", "[" * 500):
        lattice = f'{{"matrix": [[{value},0,0],[0,4,0],[0,0,4]]}}'
        text = f'[{{"structure": {{"lattice": {lattice}, "sites": []}}, "energy": {value}}}]'
        yield file_case(
            f"numbers {value[:6]}", "a.json", text.encode(), lambda path: command("audit", path), is_refused=True
        )
    for value in (json.dumps({"__ndarray__": [[2**40, 3], "float64", []]}), json.dumps({"__complex__": [1, 2]})):
        row = ", ".join(f'"{name}": {value}' for name in ("numbers", "positions", "cell"))
        text = f'{{"1": {{{row}}}, "ids": [1], "nextid": 2}}'
        yield file_case(
            f"arrays {value[:12]}", "a.json", text.encode(), lambda path: command("audit", path), is_refused=True
        )
