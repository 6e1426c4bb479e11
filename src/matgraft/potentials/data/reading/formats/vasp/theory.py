"""The level of theory of a VASP run, from its raw parameters.

Both `vasprun.xml` and `OUTCAR` come down to the same things: parameters by name as words, the species with their
pseudopotentials, and the k-mesh. What a parameter leaves open (``GGA = --``) is what VASP itself takes then: the
functional that the pseudopotentials were made with. Tags as documented in the VASP manual.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from matgraft.core.provenance import KPointScheme, LevelOfTheory
from matgraft.potentials.data.reading.formats.vasp import functional as vasp_functional
from matgraft.potentials.data.reading.formats.vasp.parameters import Parameters, flag, leading_numbers, stated_number

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
    metagga = vasp_functional.metagga(p)
    return LevelOfTheory(
        code="VASP",
        version=version or None,
        # a meta-GGA takes the place of the GGA
        functional=None if metagga else vasp_functional.gga_of(p, [kind.title for kind in species]),
        metagga=metagga,
        hybrid=vasp_functional.hybrid(p),
        dispersion=vasp_functional.dispersion(p),
        hubbard_u=_hubbard(p, species),
        hubbard_orbital=_orbitals(p, species),
        hubbard_form=_hubbard_form(p),
        spin=_spin(p),
        soc=flag(p, "LSORBIT"),
        aspherical=flag(p, "LASPH"),
        cutoff_eV=stated_number(p, "ENMAX") or stated_number(p, "ENCUT"),
        density_cutoff_eV=stated_number(p, "ENAUG"),
        kpoints=mesh.divisions,
        kpoint_offset=mesh.offset,
        kpoint_scheme=mesh.scheme,
        smearing=_smearing(p),
        smearing_width_eV=stated_number(p, "SIGMA"),
        potentials=tuple(kind.title for kind in species),
    )


def temperature_tag(parameters: Parameters, step: int) -> dict[str, str]:
    """Return the tag ``temperature`` (K) of an ionic step, counted from 1, of a molecular dynamics run; else nothing.

    VASP goes from TEBEG to TEEND in NSW steps; without TEEND it stays at TEBEG.
    """
    if stated_number(parameters, "IBRION") != 0:
        return {}
    first, last, steps = (stated_number(parameters, name) for name in ("TEBEG", "TEEND", "NSW"))
    if first is None or first <= 0:
        return {}
    ramp = 0.0 if last is None or last < 0 or not steps else (last - first) * step / steps
    return {"temperature": f"{first + ramp:g}"}


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
    if not flag(p, "LDAU"):
        return []
    effective = int(stated_number(p, "LDAUTYPE") or 2) == 2
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
    if not flag(p, "LDAU"):
        return None
    return "without exchange splitting" if stated_number(p, "LDAUTYPE") == 4 else "rotationally invariant"


def _orbitals(p: Parameters, species: Sequence[Species]) -> dict[str, str]:
    """Return the orbital of each element that has a U."""
    return {name: "spdf"[int(orbital)] for name, (_, _, orbital) in _corrected(p, species) if 0 <= orbital < 4}


def _u_and_j(p: Parameters, n: int) -> list[tuple[float, float]]:
    u, j = ((leading_numbers(p.get(name, ())) + [0.0] * n)[:n] for name in ("LDAUU", "LDAUJ"))
    rows = zip(_orbital_numbers(p, n), u, j, strict=True)
    return [(u, j) if orbital >= 0 else (0.0, 0.0) for orbital, u, j in rows]


def _orbital_numbers(p: Parameters, n: int) -> list[float]:
    """Return l by species, -1 for no U; VASP's default are d orbitals."""
    stated = leading_numbers(p.get("LDAUL", ()))
    return (stated + [0.0] * n)[:n] if stated else [2.0] * n


def _spin(p: Parameters) -> bool | None:
    polarised = stated_number(p, "ISPIN")
    if flag(p, "LNONCOLLINEAR") or flag(p, "LSORBIT"):
        return True
    return None if polarised is None else polarised == 2


def _smearing(p: Parameters) -> str | None:
    scheme = stated_number(p, "ISMEAR")
    if scheme is None:
        return None
    unlisted = f"Methfessel-Paxton {int(scheme)}" if scheme > 0 else f"ISMEAR={int(scheme)}"
    return _ISMEAR.get(int(scheme), unlisted)
