"""The level of theory of a VASP run, from its raw parameters.

Both `vasprun.xml` and `OUTCAR` come down to the same things: parameters by name as words, the species with their
pseudopotentials, and the k-mesh. What a parameter leaves open (``GGA = --``) is what VASP itself takes then: the
functional that the pseudopotentials were made with. Tags as documented in the VASP manual.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matgraft.data.provenance import KPointScheme, LevelOfTheory

Parameters = Mapping[str, Sequence[str]]
"""Name of a tag -> its value as words: ``{"LDAUU": ["4.0", "0.0"]}``."""

_NUMBER = re.compile(r"[-+]?\d*\.?\d+\.?(?:[eE][-+]?\d+)?")
_GGA = {
    "PE": "PBE",
    "PS": "PBEsol",
    "RP": "RPBE",
    "RE": "revPBE",
    "91": "PW91",
    "AM": "AM05",
    "CA": "LDA",
    "OR": "optPBE",
    "BO": "optB88",
    "MK": "optB86b",
    "B3": "B3LYP",
}
_IVDW = {
    1: "D2",
    10: "D2",
    11: "D3",
    12: "D3(BJ)",
    13: "D4",
    2: "TS",
    20: "TS",
    21: "TS-HI",
    202: "MBD",
    263: "MBD-NL",
    4: "dDsC",
}
_ISMEAR = {-5: "tetrahedron (Blöchl)", -4: "tetrahedron", -3: "fixed", -2: "fixed", -1: "Fermi-Dirac", 0: "Gaussian"}
# (AEXX, lowest and highest HFSCREEN in 1/Å) of hybrids on PBE that have a name. HSE06: 0.2, or 0.207 (0.11/Bohr).
_HYBRIDS = {"PBE0": (0.25, 0.0, 0.0), "HSE06": (0.25, 0.2, 0.21), "HSE03": (0.25, 0.3, 0.3)}


@dataclass(frozen=True)
class Species:
    """One type of atom: element, number of atoms, title of its pseudopotential."""

    element: str
    count: int
    title: str


@dataclass(frozen=True)
class Mesh:
    """A k-mesh: divisions, its offset from Γ in units of a division, its scheme; None where it is not stated."""

    divisions: tuple[int, int, int] | None = None
    offset: tuple[float, float, float] | None = None
    scheme: KPointScheme | None = None


def monkhorst_offset(divisions: Sequence[int], shift: Sequence[float]) -> tuple[float, float, float]:
    """Return the offset from Γ of a Monkhorst-Pack mesh: half a division wherever their number is even.

    Source: Monkhorst and Pack, Phys. Rev. B 13, 5188 (1976), k = (2r - N - 1) / 2N.
    """
    x, y, z = ((s + (0.5 if n % 2 == 0 else 0.0)) % 1.0 for n, s in zip(divisions, shift, strict=True))
    return x, y, z


def level_of_theory(parameters: Parameters, species: Sequence[Species], mesh: Mesh, version: str) -> LevelOfTheory:
    """Put together a level of theory; which energy the label is stays open until the key is chosen.

    Parameters
    ----------
    parameters
        What VASP used, or where it does not say, what the INCAR asked for.
    """
    p = parameters
    metagga = _metagga(p)
    return LevelOfTheory(
        code="VASP",
        version=version or None,
        functional=None if metagga else _functional(p, species),  # a meta-GGA takes the place of the GGA
        metagga=metagga,
        hybrid=_hybrid(p),
        dispersion=_dispersion(p),
        hubbard_u=_hubbard(p, species),
        spin=_spin(p),
        soc=_flag(p, "LSORBIT"),
        cutoff_eV=_number(p, "ENMAX") or _number(p, "ENCUT"),
        density_cutoff_eV=_number(p, "ENAUG"),
        kpoints=mesh.divisions,
        kpoint_offset=mesh.offset,
        kpoint_scheme=mesh.scheme,
        smearing=_smearing(p),
        smearing_width_eV=_number(p, "SIGMA"),
        potentials=tuple(kind.title for kind in species),
    )


def _word(p: Parameters, name: str) -> str:
    words = p.get(name) or [""]
    word = words[0].strip().strip("'\"")
    return "" if word.upper() in ("--", "NONE") else word


def _number(p: Parameters, name: str) -> float | None:
    try:
        value = float(_word(p, name))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _flag(p: Parameters, name: str) -> bool | None:
    word = _word(p, name).strip(".").upper()
    return word.startswith("T") if word else None


def _functional(p: Parameters, species: Sequence[Species]) -> str | None:
    tag = _word(p, "GGA").upper()
    if tag:
        return _GGA.get(tag, f"GGA={tag}")
    titles = {kind.title.split()[0] for kind in species if kind.title.split()}
    families = {_family(title) for title in titles}
    return " + ".join(sorted(families)) or None


def _family(title: str) -> str:
    """Return the functional of a pseudopotential from the first word of its title."""
    if "PBE" in title:
        return "PBE"
    return "PW91" if "GGA" in title else "LDA"


def _metagga(p: Parameters) -> str | None:
    tag = _word(p, "METAGGA").upper()
    return {"": None, "F": None, "R2SCAN": "r2SCAN", "RSCAN": "rSCAN"}.get(tag, tag)


def _hybrid(p: Parameters) -> str | None:
    if not _flag(p, "LHFCALC"):
        return None
    exchange, screening = _number(p, "AEXX"), _number(p, "HFSCREEN") or 0.0
    said = f"AEXX={exchange:g}, HFSCREEN={screening:g}" if exchange is not None else "AEXX not stated"
    on_pbe = _word(p, "GGA").upper() in ("", "PE")
    names = [
        name
        for name, (fraction, low, high) in _HYBRIDS.items()
        if exchange == fraction and low <= screening <= high and on_pbe and not _metagga(p)
    ]
    return f"{names[0]} ({said})" if names else f"hybrid ({said})"


def _dispersion(p: Parameters) -> str | None:
    code = int(_number(p, "IVDW") or 0)
    parts = [_IVDW.get(code, f"IVDW={code}")] if code else []
    parts += ["vdW-DF"] if _flag(p, "LUSE_VDW") else []
    return " + ".join(parts) or None


def _hubbard(p: Parameters, species: Sequence[Species]) -> dict[str, float]:
    """Return U in eV by element: U - J in Dudarev's form (LDAUTYPE 2), which knows no other."""
    if not _flag(p, "LDAU"):
        return {}
    effective = int(_number(p, "LDAUTYPE") or 2) == 2
    table: dict[str, float] = {}
    for kind, (u, j) in zip(species, _u_and_j(p, len(species)), strict=True):
        value = u - j if effective else u
        if value:
            table[kind.element] = value
        if j and not effective:
            table[f"{kind.element} (J)"] = j
    return table


def _u_and_j(p: Parameters, n: int) -> list[tuple[float, float]]:
    columns = {name: _numbers(p.get(name, ())) for name in ("LDAUL", "LDAUU", "LDAUJ")}
    padded = {name: (values + [0.0] * n)[:n] for name, values in columns.items()}
    if not columns["LDAUL"]:
        padded["LDAUL"] = [2.0] * n  # VASP's default: d orbitals
    rows = zip(padded["LDAUL"], padded["LDAUU"], padded["LDAUJ"], strict=True)
    return [(u, j) if orbital >= 0 else (0.0, 0.0) for orbital, u, j in rows]


def _numbers(words: Sequence[str]) -> list[float]:
    """Return the leading numbers: a comment may follow in an INCAR."""
    return [float(word) for word in itertools.takewhile(_NUMBER.fullmatch, words)]


def _spin(p: Parameters) -> bool | None:
    polarised = _number(p, "ISPIN")
    if _flag(p, "LNONCOLLINEAR") or _flag(p, "LSORBIT"):
        return True
    return None if polarised is None else polarised == 2


def _smearing(p: Parameters) -> str | None:
    scheme = _number(p, "ISMEAR")
    if scheme is None:
        return None
    return _ISMEAR.get(int(scheme), f"Methfessel-Paxton {int(scheme)}")
