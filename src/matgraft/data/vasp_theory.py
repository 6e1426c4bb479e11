"""The level of theory of a VASP run, from its raw parameters.

Both `vasprun.xml` and `OUTCAR` come down to the same things: parameters by name as words, the species with their
pseudopotentials, and the k-mesh. What a parameter leaves open (``GGA = --``) is what VASP itself takes then: the
functional that the pseudopotentials were made with. Tags as documented in the VASP manual.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
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
    "ML": "rPW86",
    "CX": "cx",
    "B3": "B3LYP",
}
# Functionals of the tag MK differ by their parameters mu and beta (PARAM1, PARAM2), kernels by Zab.
# Source: VASP manual, "Nonlocal vdW-DF functionals".
_MK = {(0.1234, 1.0): "optB86b", (0.1234, 0.711357): "B86R"}
_ZAB = {-0.8491: "vdW-DF", -1.8867: "vdW-DF2"}
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
_ISMEAR = {
    -15: "Fermi-Dirac (tetrahedron, Blöchl)",
    -14: "Fermi-Dirac (tetrahedron)",
    -5: "tetrahedron (Blöchl)",
    -4: "tetrahedron",
    -3: "one of SMEARINGS",  # each ionic step has a kind and a width of its own
    -2: "fixed",
    -1: "Fermi-Dirac",
    0: "Gaussian",
}
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
    p = {name.upper(): words for name, words in parameters.items()}
    metagga = _metagga(p)
    return LevelOfTheory(
        code="VASP",
        version=version or None,
        functional=None if metagga else _functional(p, species),  # a meta-GGA takes the place of the GGA
        metagga=metagga,
        hybrid=_hybrid(p),
        dispersion=_dispersion(p),
        hubbard_u=_hubbard(p, species),
        hubbard_orbital=_orbitals(p, species),
        hubbard_form=_hubbard_form(p),
        spin=_spin(p),
        soc=_flag(p, "LSORBIT"),
        aspherical=_flag(p, "LASPH"),
        cutoff_eV=_number(p, "ENMAX") or _number(p, "ENCUT"),
        density_cutoff_eV=_number(p, "ENAUG"),
        kpoints=mesh.divisions,
        kpoint_offset=mesh.offset,
        kpoint_scheme=mesh.scheme,
        smearing=_smearing(p),
        smearing_width_eV=_number(p, "SIGMA"),
        potentials=tuple(kind.title for kind in species),
    )


def temperature(parameters: Parameters, step: int) -> dict[str, str]:
    """Return the tag ``temperature`` (K) of an ionic step, counted from 1, of a molecular dynamics run; else nothing.

    VASP goes from TEBEG to TEEND in NSW steps; without TEEND it stays at TEBEG.
    """
    if _number(parameters, "IBRION") != 0:
        return {}
    first, last, steps = (_number(parameters, name) for name in ("TEBEG", "TEEND", "NSW"))
    if first is None or first <= 0:
        return {}
    ramp = 0.0 if last is None or last < 0 or not steps else (last - first) * step / steps
    return {"temperature": f"{first + ramp:g}"}


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
    if tag == "MK":
        return _mk(p)
    if tag:
        return _GGA.get(tag, f"GGA={tag}")
    titles = {kind.title.split()[0] for kind in species if kind.title.split()}
    families = {_family(title) for title in titles}
    return " + ".join(sorted(families)) or None


def _mk(p: Parameters) -> str:
    stated = (_number(p, "PARAM1"), _number(p, "PARAM2"))
    mu, beta = (default if value is None else value for value, default in zip(stated, (0.1234, 1.0), strict=True))
    known = (
        name for pair, name in _MK.items() if math.isclose(mu, pair[0]) and math.isclose(beta, pair[1], rel_tol=1e-5)
    )
    return next(known, f"MK (PARAM1={mu:g}, PARAM2={beta:g})")


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
    code = int(_number(p, "IVDW") or 0) or int(_flag(p, "LVDW") or 0)  # LVDW: the older name of IVDW = 1
    parts = [_IVDW.get(code, f"IVDW={code}")] if code else []
    parts += [_kernel(p)] if _flag(p, "LUSE_VDW") else []
    return " + ".join(parts) or None


def _kernel(p: Parameters) -> str:
    """Return the non-local correlation: BPARAM chooses rVV10, Zab the kernels of vdW-DF."""
    b, zab = _number(p, "BPARAM"), _number(p, "ZAB_VDW")
    if b:
        return f"rVV10 (b={b:g})"
    if zab is None:
        return "vdW-DF"
    known = (name for value, name in _ZAB.items() if math.isclose(zab, value, abs_tol=1e-3))
    return next(known, f"vdW-DF (Zab={zab:g})")


def _hubbard(p: Parameters, species: Sequence[Species]) -> dict[str, float]:
    """Return U in eV by element: U - J in Dudarev's form (LDAUTYPE 2), which knows no other."""
    table: dict[str, float] = {}
    for name, (u, j, _) in _corrected(p, species):
        if u or " " in name:
            table[name] = u
        if j:
            table[f"{name} (J)"] = j
    return table


def _corrected(p: Parameters, species: Sequence[Species]) -> list[tuple[str, tuple[float, float, float]]]:
    """Return U, J and l of each element with a U; species of one element that differ are numbered, largest U first."""
    if not _flag(p, "LDAU"):
        return []
    effective = int(_number(p, "LDAUTYPE") or 2) == 2
    found: dict[str, set[tuple[float, float, float]]] = defaultdict(set)
    for kind, (u, j), orbital in zip(
        species, _u_and_j(p, len(species)), _orbital_numbers(p, len(species)), strict=True
    ):
        own = (u - j, 0.0) if effective else (u, j)
        found[kind.element].add((*own, orbital) if any(own) else (0.0, 0.0, -1.0))
    return [
        (element if len(rows) == 1 else f"{element} {i}", row)
        for element, rows in found.items()
        if any(u or j for u, j, _ in rows)
        for i, row in enumerate(sorted(rows, reverse=True), 1)
    ]


def _hubbard_form(p: Parameters) -> str | None:
    """Return the form of U; types 1 and 2 are one: Dudarev's is Liechtenstein's with J = 0."""
    if not _flag(p, "LDAU"):
        return None
    return "without exchange splitting" if _number(p, "LDAUTYPE") == 4 else "rotationally invariant"


def _orbitals(p: Parameters, species: Sequence[Species]) -> dict[str, str]:
    """Return the orbital of each element that has a U."""
    return {name: "spdf"[int(orbital)] for name, (_, _, orbital) in _corrected(p, species) if 0 <= orbital < 4}


def _u_and_j(p: Parameters, n: int) -> list[tuple[float, float]]:
    u, j = ((_numbers(p.get(name, ())) + [0.0] * n)[:n] for name in ("LDAUU", "LDAUJ"))
    rows = zip(_orbital_numbers(p, n), u, j, strict=True)
    return [(u, j) if orbital >= 0 else (0.0, 0.0) for orbital, u, j in rows]


def _orbital_numbers(p: Parameters, n: int) -> list[float]:
    """Return l by species, -1 for no U; VASP's default are d orbitals."""
    stated = _numbers(p.get("LDAUL", ()))
    return (stated + [0.0] * n)[:n] if stated else [2.0] * n


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
    unlisted = f"Methfessel-Paxton {int(scheme)}" if scheme > 0 else f"ISMEAR={int(scheme)}"
    return _ISMEAR.get(int(scheme), unlisted)
