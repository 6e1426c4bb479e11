"""The level of theory that an engine's parameters ask for, as far as it follows from them.

Quantum ESPRESSO has a file of its own. What ASE's calculators of VASP, GPAW and tblite take is read here; whatever else
computes states its level of theory under ``theory:`` of the engine file. A field that stands there replaces one that
follows from the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ase import Atoms
from ase.calculators.calculator import kpts2sizeandoffsets
from pydantic import JsonValue

from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.active.labelling import espresso
from matgraft.potentials.active.labelling.engine import ESPRESSO, TBLITE, Engine
from matgraft.potentials.data.reading.formats.functionals import named
from matgraft.potentials.data.reading.formats.vasp.theory import Mesh, level_of_theory, monkhorst_offset

EMPTY: tuple[object, ...] = (None, {}, ())
_VASP_XC: dict[str, dict[str, JsonValue]] = {
    "pbe": {"gga": "PE"},
    "pbesol": {"gga": "PS"},
    "revpbe": {"gga": "RE"},
    "rpbe": {"gga": "RP"},
    "am05": {"gga": "AM"},
    "pw91": {"gga": "91"},
    "lda": {"gga": "CA"},
    "scan": {"metagga": "SCAN"},
    "r2scan": {"metagga": "R2SCAN"},
    "pbe0": {"gga": "PE", "lhfcalc": True, "aexx": 0.25},
    "hse06": {"gga": "PE", "lhfcalc": True, "aexx": 0.25, "hfscreen": 0.2},
    "hse03": {"gga": "PE", "lhfcalc": True, "aexx": 0.25, "hfscreen": 0.3},
}
"""Names that ASE's VASP calculator gives to functionals -> the tags that it writes for them."""
_VASP_DEFAULTS = {"ismear": 1, "sigma": 0.2, "ispin": 1}
_NOT_TAGS = ("xc", "pp", "kpts", "gamma", "reciprocal", "setups", "atoms", "txt", "ldau_luj")


def theory_of(engine: Engine, atoms: Atoms) -> LevelOfTheory | None:
    """Return the level of theory of a frame's label; None where nothing says it."""
    derive = _DERIVED.get(engine.calculator)
    derived = derive(engine, atoms) if derive else None
    if derived is None or engine.theory is None:
        return derived or engine.theory
    return derived.model_copy(update=said_of(engine.theory))


def theory_of_label(engine: Engine, atoms: Atoms, output: LevelOfTheory | None) -> LevelOfTheory | None:
    """Return the level of theory of a label: what its output states, and where that is silent, what was asked."""
    asked = theory_of(engine, atoms)
    if asked is None or output is None:
        return output or asked
    return asked.model_copy(update=said_of(output))


def settled(engine: Engine) -> Engine:
    """Return an engine with all that its level of theory and its labels depend on, or refuse it.

    Raises
    ------
    OptionError
        If something of it is missing on this machine, or cannot be meant.
    """
    return espresso.settled_espresso(engine) if engine.calculator == ESPRESSO else engine


def said_of(theory: LevelOfTheory) -> dict[str, object]:
    """Return the fields that are stated."""
    return {name: value for name, value in theory if value not in EMPTY}


def _of_tblite(engine: Engine, atoms: Atoms) -> LevelOfTheory:
    kelvin = engine.parameters.get("electronic_temperature", 300.0)
    return LevelOfTheory(
        code="tblite",
        functional=str(engine.parameters.get("method", "GFN2-xTB")),
        smearing="Fermi-Dirac",
        smearing_width_eV=float(str(kelvin)) * 8.617333262e-5,
        energy="free",
    )


def _of_vasp(engine: Engine, atoms: Atoms) -> LevelOfTheory:
    given = {key.lower(): value for key, value in engine.parameters.items()}
    tags: dict[str, JsonValue] = {**_VASP_DEFAULTS, **_VASP_XC.get(str(given.get("xc", "")).lower(), {})}
    if espresso.atoms_have_moments(atoms):
        tags["ispin"] = 2
    tags |= {key: value for key, value in given.items() if key not in _NOT_TAGS and value is not None}
    words = {key.upper(): _as_words(value) for key, value in tags.items()}
    found = level_of_theory(words, (), _vasp_mesh(given), "")
    return found.model_copy(update={"energy": "free", **_vasp_u(given.get("ldau_luj"))})


def _vasp_u(rows: JsonValue) -> Mapping[str, Mapping[str, float | str]]:
    """Return the fields of U for what ASE takes as ``ldau_luj``: element -> L, U and J."""
    if not isinstance(rows, dict):
        return {}
    given = {symbol: row for symbol, row in rows.items() if isinstance(row, dict)}
    orbitals = {symbol: espresso.number(row.get("L", -1)) for symbol, row in given.items()}
    on = {symbol: int(L) for symbol, L in orbitals.items() if L is not None and L >= 0}
    u, j = ({symbol: espresso.number(given[symbol].get(key, 0)) or 0.0 for symbol in on} for key in ("U", "J"))
    return {
        "hubbard_u": {symbol: u[symbol] - j[symbol] for symbol in on},
        "hubbard_orbital": {symbol: "spdf"[L] for symbol, L in on.items()},
    }


def _vasp_mesh(given: Mapping[str, JsonValue]) -> Mesh:
    kpts, gamma = given.get("kpts"), given.get("gamma")
    if isinstance(kpts, list) and len(kpts) == 3:
        x, y, z = (int(str(n)) for n in kpts)
        shift = (0.0, 0.0, 0.0)
        return Mesh((x, y, z), shift if gamma else monkhorst_offset((x, y, z), shift), None)
    centred = bool(given.get("kgamma", True) if "kspacing" in given else gamma)
    return Mesh(None, None, "Gamma" if centred else "Monkhorst-Pack") if kpts or "kspacing" in given else Mesh()


def _as_words(value: JsonValue) -> list[str]:
    if isinstance(value, bool):
        return ["T" if value else "F"]
    return [str(one) for one in value] if isinstance(value, list) else str(value).split()


def _of_gpaw(engine: Engine, atoms: Atoms) -> LevelOfTheory:
    given = engine.parameters
    mode, xc = given.get("mode"), given.get("xc", "LDA")
    mode = mode if isinstance(mode, dict) else {"name": mode or "fd"}
    cutoff = mode.get("ecut", 340.0) if mode.get("name") == "pw" else None
    occupations = given.get("occupations")
    smearing = occupations if isinstance(occupations, dict) else {}
    mesh = _gpaw_mesh(given.get("kpts"), atoms)
    width = smearing.get("width")
    return LevelOfTheory(
        code="GPAW",
        **named(str(xc.get("name", "") if isinstance(xc, dict) else xc)),
        basis=str(given["basis"]) if mode.get("name") == "lcao" and "basis" in given else None,
        spin=bool(given.get("spinpol")) or espresso.atoms_have_moments(atoms),
        cutoff_eV=None if cutoff is None else float(str(cutoff)),
        kpoints=mesh.divisions,
        kpoint_offset=mesh.offset,
        smearing=str(smearing["name"]) if "name" in smearing else None,
        smearing_width_eV=None if width is None else float(str(width)),
        energy="free",
    )


def _gpaw_mesh(kpts: Any, atoms: Atoms) -> Mesh:
    """Return a mesh as ASE reads it: Monkhorst-Pack, and shifted where ``gamma`` asks for it."""
    given = {"size": kpts} if isinstance(kpts, list) and len(kpts) == 3 else kpts
    if not isinstance(given, dict) or "path" in given:
        return Mesh()
    size, shift = kpts2sizeandoffsets(atoms=atoms, **given)
    x, y, z = (int(n) for n in size)
    return Mesh((x, y, z), monkhorst_offset((x, y, z), [s * n for s, n in zip(shift, size, strict=True)]))


_DERIVED: Mapping[str, Callable[[Engine, Atoms], LevelOfTheory]] = {
    ESPRESSO: espresso.espresso_theory,
    TBLITE: _of_tblite,
    "vasp": _of_vasp,
    "gpaw": _of_gpaw,
}
