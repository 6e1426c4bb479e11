"""The published foundations of MACE: licence, level of theory, and where mace-torch keeps them."""

from __future__ import annotations

from pathlib import Path

from matgraft.core.provenance import UNCORRECTED, LevelOfTheory
from matgraft.potentials.models.published import MACE, mace_file

_PBE = LevelOfTheory(code="VASP", functional="PBE", spin=True, soc=False, correction=UNCORRECTED)
_R2SCAN = LevelOfTheory(code="VASP", metagga="R2SCAN", spin=True, soc=False, correction=UNCORRECTED)
_OFF = LevelOfTheory(code="Psi4", hybrid="wB97M", dispersion="D3(BJ)", soc=False)
_ASL = "ASL (academic use only)"
FOUNDATIONS: dict[str, tuple[str, LevelOfTheory]] = {
    "medium-mpa-0": ("MIT", _PBE),
    "small": ("MIT", _PBE),
    "medium": ("MIT", _PBE),
    "large": ("MIT", _PBE),
    "small-0b": ("MIT", _PBE),
    "medium-0b": ("MIT", _PBE),
    "small-0b2": ("MIT", _PBE),
    "medium-0b2": ("MIT", _PBE),
    "large-0b2": ("MIT", _PBE),
    "medium-0b3": ("MIT", _PBE),
    "small-omat-0": (_ASL, _PBE),
    "medium-omat-0": (_ASL, _PBE),
    "mace-matpes-pbe-0": (_ASL, _PBE),
    "mace-matpes-r2scan-0": (_ASL, _R2SCAN),
    "mh-0": (_ASL, LevelOfTheory()),
    "mh-1": (_ASL, LevelOfTheory()),
    "off-small": (_ASL, _OFF),
    "off-medium": (_ASL, _OFF),
    "off-large": (_ASL, _OFF),
}
"""Names of mace-torch (``off-``: MACE-OFF23) -> licence and level of theory, whose U for oxides is not listed."""


def cached_file(release: str) -> tuple[Path, str]:
    """Return where mace-torch keeps a foundation, and the address that it comes from."""
    source, _ = MACE[release]
    return mace_file(release, source), source
