"""Quantum ESPRESSO's pw.x as an engine: its command, its pseudopotentials, its k-mesh, and its level of theory.

`settled_espresso` turns what an engine file says into what ASE's calculator takes, once, before anything is computed.
A mesh by density is put in whole divisions for each frame: along each reciprocal vector as many as lie no farther apart
than ``kspacing`` (1/Å, with 2 pi, as VASP's KSPACING), and ``koffset`` shifts it by half a division.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import kpts2sizeandoffsets
from ase.config import cfg
from ase.io.espresso_namelist.namelist import Namelist
from pydantic import JsonValue

from matgraft.core.errors import OptionError, nearest
from matgraft.core.provenance import LevelOfTheory, file_hash
from matgraft.potentials.active.labelling.engine import ESPRESSO, Engine
from matgraft.potentials.active.labelling.espresso_parameters import refuse_unreadable
from matgraft.potentials.data.reading.formats.espresso_xml import DISPERSIONS, SMEARINGS
from matgraft.potentials.data.reading.formats.functionals import named

_HEADER = 1 << 18
"""Bytes in which a pseudopotential names its functional: its own input may stand before."""
_FUNCTIONAL = re.compile(
    r'functional\s*=\s*"([^"]+)"|^[ \t]*(\S.*?)[ \t]+Exchange-Correlation functional', re.MULTILINE
)
_U_CARD = re.compile(r"^[ \t]*U[ \t]+([A-Z][a-z]?)\w*-\d([spdf])\s+([\d.]+)", re.MULTILINE)
_OURS: dict[str, JsonValue] = {"calculation": "scf", "tprnfor": True, "tstress": True, "disk_io": "none", "outdir": "."}


def settled_espresso(engine: Engine) -> Engine:
    """Return the engine with its command and the folder of its pseudopotentials, as ASE's own configuration has them.

    Raises
    ------
    OptionError
        If the folder or a pseudopotential is missing, a parameter would be passed over or cannot be meant, or anything
        but a single point is asked for.
    """
    refuse_unreadable(engine)
    section = cfg.parser[ESPRESSO] if cfg.parser.has_section(ESPRESSO) else {}
    command = engine.command or tuple(str(section.get("command", "pw.x")).split())
    folder = engine.parameters.get("pseudo_dir") or section.get("pseudo_dir") or os.environ.get("ESPRESSO_PSEUDO")
    if not folder or not Path(str(folder)).is_dir():
        raise OptionError(
            f"parameters.pseudo_dir: {folder or 'nothing'} is not a folder",
            where="engine",
            allowed=["the folder of the pseudopotentials; default: ASE's configuration, or $ESPRESSO_PSEUDO"],
        )
    asked = namelist(engine.parameters)
    if (kind := asked["control"].get("calculation", "scf")) != "scf":
        raise OptionError(
            f"input_data.calculation is {kind!r}: the label would be that of another structure",
            where="engine",
            allowed=["scf"],
        )
    if "kspacing" in engine.parameters and "kpts" in engine.parameters:
        raise OptionError("kspacing and kpts are both given", where="engine", allowed=["one of them"])
    found = engine.with_parameters(pseudo_dir=str(folder)).model_copy(update={"command": command})
    for symbol, name in pseudopotentials(found).items():
        _refuse_missing(Path(str(folder)), symbol, name)
    return found


def pseudopotentials(engine: Engine) -> dict[str, str]:
    """Return the file of each element."""
    found = engine.parameters.get("pseudopotentials")
    if not isinstance(found, dict) or not found:
        raise OptionError(
            "parameters.pseudopotentials is missing", where="engine", allowed=["{Si: Si.UPF, ...}: a file an element"]
        )
    return {str(symbol): str(name) for symbol, name in found.items()}


def hashes(engine: Engine) -> dict[str, str]:
    """Return the SHA-256 of each element's pseudopotential: another file of one name is another engine."""
    folder = Path(str(engine.parameters["pseudo_dir"]))
    return {symbol: file_hash(folder / name) for symbol, name in pseudopotentials(engine).items()}


def keywords(engine: Engine, atoms: Atoms) -> dict[str, object]:
    """Return the keywords of ASE's calculator for a frame: a single point with forces and stress, on its own mesh."""
    given = {name: value for name, value in engine.parameters.items() if name not in ("pseudo_dir", "kspacing")}
    data = {section: dict(values) for section, values in namelist(engine.parameters).items()}
    data["control"] = {**_OURS, **data["control"], "pseudo_dir": str(engine.parameters["pseudo_dir"])}
    if (mesh := mesh_of(engine.parameters, atoms)) is not None:
        given["kpts"], shift = list(mesh[0]), mesh[1]
        given["koffset"] = [int(x > 0) for x in shift]
    return {**given, "input_data": data}


def mesh_of(
    parameters: Mapping[str, JsonValue], atoms: Atoms
) -> tuple[tuple[int, int, int], tuple[float, float, float]] | None:
    """Return divisions and offset (in divisions) of the mesh of a frame; None where it is no mesh of such a kind."""
    kpts, spacing = parameters.get("kpts"), parameters.get("kspacing")
    offset = parameters.get("koffset", 0)
    shift = [bool(x) / 2 for x in (offset if isinstance(offset, list) else [offset] * 3)]
    if isinstance(spacing, int | float):
        heights = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal()[:], axis=1)
        counts = [
            max(1, int(np.ceil(h / spacing - 1e-9))) if on else 1 for h, on in zip(heights, atoms.pbc, strict=True)
        ]
    elif isinstance(kpts, dict) and "path" not in kpts:
        # pw.x counts offsets from Γ, ASE from a Monkhorst-Pack mesh: with `gamma: true` and an even number of divisions
        # ASE's writer shifts the mesh off Γ (3.29). What is asked for is taken here; where it is not, Γ is in the mesh.
        counts = [int(n) for n in kpts2sizeandoffsets(atoms=atoms, **kpts)[0]]
        shift = [0.5 if kpts.get("gamma") is False else 0.0] * 3
    elif isinstance(kpts, list) and len(kpts) == 3:
        counts = [int(str(n)) for n in kpts]
    elif kpts is None:
        counts, shift = [1, 1, 1], [0.0, 0.0, 0.0]
    else:
        return None
    (x, y, z), (a, b, c) = counts, shift
    return (x, y, z), (a, b, c)


def cutoffs(engine: Engine) -> tuple[float, float] | None:
    """Return the cutoffs of waves and density, Ry; None where none is stated, and pw.x takes what it finds."""
    system = namelist(engine.parameters)["system"]
    wave = number(system.get("ecutwfc"))
    return (wave, number(system.get("ecutrho")) or 4 * wave) if wave else None


def with_cutoffs(engine: Engine, wave: float, dense: float) -> Engine:
    """Return the engine with other cutoffs, Ry."""
    data = namelist(engine.parameters)
    data["system"] |= {"ecutwfc": wave, "ecutrho": dense}
    return engine.with_parameters(input_data={section: dict(values) for section, values in data.items()})


def espresso_theory(engine: Engine, atoms: Atoms) -> LevelOfTheory:
    """Return the level of theory that the input of a frame asks for."""
    data = namelist(engine.parameters)
    system, files = data["system"], pseudopotentials(engine)
    own = {symbol: files[symbol] for symbol in dict.fromkeys(atoms.symbols) if symbol in files}
    wave, dense = cutoffs(engine) or (None, None)
    mesh = mesh_of(engine.parameters, atoms)
    kind, width = _smearing(system)
    u, orbitals = _hubbard(engine, system, atoms)
    return LevelOfTheory(
        code="Quantum ESPRESSO",
        **named(
            str(system.get("input_dft") or _functional(Path(str(engine.parameters["pseudo_dir"])), tuple(own.values())))
        ),
        dispersion=_dispersion(system),
        hubbard_u=u,
        hubbard_orbital=orbitals,
        spin=(number(system.get("nspin")) or 1) > 1 or bool(system.get("noncolin")) or atoms_have_moments(atoms),
        soc=bool(system.get("lspinorb")),
        cutoff_eV=wave * units.Rydberg if wave else None,
        density_cutoff_eV=dense * units.Rydberg if dense else None,
        kpoints=mesh[0] if mesh else None,
        kpoint_offset=mesh[1] if mesh else None,
        smearing=kind,
        smearing_width_eV=width,
        potentials=tuple(own.values()),
        energy="free",
    )


def atoms_have_moments(atoms: Atoms) -> bool:
    """Say whether atoms begin with magnetic moments: ASE turns spin on then."""
    return bool(np.any(atoms.get_initial_magnetic_moments()))


def species_of(atoms: Atoms) -> list[str]:
    """Return the element of each species that ASE writes, in their order: one for each initial moment."""
    pairs = zip(atoms.symbols, atoms.get_initial_magnetic_moments().tolist(), strict=True)
    return [symbol for symbol, _ in dict.fromkeys(pairs)]


def namelist(parameters: Mapping[str, JsonValue]) -> dict[str, dict[str, JsonValue]]:
    """Return the input by section, in lower case, however the user nests it."""
    given = parameters.get("input_data") or {}
    if not isinstance(given, dict):
        raise OptionError("parameters.input_data is not a mapping", where="engine", allowed=["{ecutwfc: 40, ...}"])
    found = Namelist({key: dict(value) if isinstance(value, dict) else value for key, value in given.items()})
    found.to_nested("pw")
    return {str(name).lower(): {str(k).lower(): v for k, v in dict(section).items()} for name, section in found.items()}


def _refuse_missing(folder: Path, symbol: str, name: str) -> None:
    if (folder / name).is_file():
        return
    there = sorted(one.name for one in folder.iterdir() if one.name.lower().startswith(symbol.lower()))
    raise OptionError(
        f"parameters.pseudopotentials.{symbol}: there is no {name!r} in {folder}",
        where="engine",
        allowed=there[:10],
        remedy=nearest(name, there),
    )


@lru_cache(maxsize=64)  # asked for each frame, and a pseudopotential is megabytes
def _functional(folder: Path, names: tuple[str, ...]) -> str:
    """Return the functional that the pseudopotentials were made for; empty where they do not say one."""
    found = set()
    for name in names:
        with (folder / name).open("rb") as file:
            text = file.read(_HEADER).decode("utf-8", "replace")
        match = _FUNCTIONAL.search(text)
        found.add(" ".join((match[1] or match[2]).split()[:4]) if match else "")  # a fifth word is the short name
    fields = {str(named(text)): text for text in found}  # one functional has several spellings
    return next(iter(fields.values())) if len(fields) == 1 else ""


def _smearing(system: Mapping[str, JsonValue]) -> tuple[str, float | None]:
    """Return kind and width (eV) of the occupations; pw.x takes fixed ones where nothing is said."""
    occupations = str(system.get("occupations", "fixed")).lower()
    if occupations == "smearing":
        word = str(system.get("smearing", "gaussian")).lower()
        return SMEARINGS.get(word, word), (number(system.get("degauss")) or 0.0) * units.Rydberg
    return ("tetrahedron" if occupations.startswith("tetrahedra") else occupations), None


def _dispersion(system: Mapping[str, JsonValue]) -> str | None:
    word = str(system.get("vdw_corr", "none")).lower()
    if word in ("grimme-d3", "dft-d3"):
        version = int(number(system.get("dftd3_version", 3)) or 0)
        return {3: "D3", 4: "D3(BJ)"}.get(version, f"D3 (version {version})")
    return None if word == "none" else DISPERSIONS.get(word, word)


def _hubbard(engine: Engine, system: Mapping[str, JsonValue], atoms: Atoms) -> tuple[dict[str, float], dict[str, str]]:
    """Return U in eV and its orbital by element: of the card of pw.x 7.1 and later, or of Hubbard_U by species."""
    cards = engine.parameters.get("additional_cards") or ""
    text = "\n".join(map(str, cards)) if isinstance(cards, list) else str(cards)
    rows = _U_CARD.findall(text) if "HUBBARD" in text.upper() else []
    table = {symbol: float(value) for symbol, _, value in rows}
    for i, symbol in enumerate(species_of(atoms), 1):
        if u := number(system.get(f"hubbard_u({i})")):
            table[symbol] = u
    return table, {symbol: orbital for symbol, orbital, _ in rows}


def number(value: JsonValue) -> float | None:
    """Return a number of the input; None where it is not stated; raises an OptionError where it is none."""
    try:
        return None if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise OptionError(f"{value!r} is not a number", where="engine") from error
