"""All formats, in the order in which they are asked whether a file is theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from matgraft.potentials.data.reading.formats.abacus import ABACUS
from matgraft.potentials.data.reading.formats.abinit import ABINIT
from matgraft.potentials.data.reading.formats.aims import AIMS
from matgraft.potentials.data.reading.formats.ase_files import ASE_FILES
from matgraft.potentials.data.reading.formats.base import FileHead, Format
from matgraft.potentials.data.reading.formats.castep import CASTEP
from matgraft.potentials.data.reading.formats.cp2k.run import CP2K
from matgraft.potentials.data.reading.formats.deepmd import DEEPMD
from matgraft.potentials.data.reading.formats.espresso import ESPRESSO
from matgraft.potentials.data.reading.formats.espresso_cp import ESPRESSO_CP
from matgraft.potentials.data.reading.formats.espresso_xml import ESPRESSO_XML
from matgraft.potentials.data.reading.formats.gaussian import GAUSSIAN
from matgraft.potentials.data.reading.formats.lammps import LAMMPS
from matgraft.potentials.data.reading.formats.lmdb_rows import LMDB
from matgraft.potentials.data.reading.formats.mtp import MTP
from matgraft.potentials.data.reading.formats.n2p2 import N2P2
from matgraft.potentials.data.reading.formats.npz import NPZ
from matgraft.potentials.data.reading.formats.orca import ENGRAD, ORCA
from matgraft.potentials.data.reading.formats.psi4 import PSI4
from matgraft.potentials.data.reading.formats.pwmat import PWMAT
from matgraft.potentials.data.reading.formats.records import RECORDS
from matgraft.potentials.data.reading.formats.siesta import SIESTA
from matgraft.potentials.data.reading.formats.vasp.files import OUTCAR, VASPRUN

FORMATS: tuple[Format, ...] = (
    VASPRUN,
    OUTCAR,
    ESPRESSO,
    ESPRESSO_XML,
    ESPRESSO_CP,
    CP2K,
    AIMS,
    CASTEP,
    ABINIT,
    ORCA,
    ENGRAD,
    GAUSSIAN,
    PSI4,
    SIESTA,
    ABACUS,
    PWMAT,
    N2P2,
    DEEPMD,
    MTP,
    LAMMPS,
    NPZ,
    LMDB,
    RECORDS,
    ASE_FILES,
)
"""The last one takes every file."""


def format_of(path: Path) -> Format | None:
    """Return the format of a file, or of a folder that is one data set; None for a folder to search.

    Raises
    ------
    DataError
        For an archive, and for a file that is packed in a way that is not read.
    """
    head = FileHead(path)
    head.refuse_archive()  # a file that it holds may be found in its first bytes
    return next((form for form in FORMATS if form.recognises(head)), None)


_FRAMES = (".extxyz", ".xyz", ".traj", ".db", ".aselmdb", ".cfg")
"""Endings of files that usually hold frames and are read where they are named."""


def find_runs(folder: Path) -> tuple[list[tuple[Path, Format]], list[Path]]:
    """Return the runs below a folder with their formats, and files that seem to hold frames and are read if named.

    Both are sorted by path. Every file is asked what it is, by content.
    """
    found: dict[Format, list[Path]] = {form: [] for form in FORMATS if form.find}
    others: list[Path] = []
    for path in sorted(folder.rglob("*")):
        head = FileHead(path)
        form = None if head.is_archive else next((form for form in found if form.recognises(head)), None)
        if form is not None:
            found[form].append(path)
        elif Path(head.name).suffix.lower() in _FRAMES and path.is_file():
            others.append(path)
    return sorted(_runs(found), key=lambda run: run[0]), others


def _runs(found: Mapping[Format, list[Path]]) -> Iterator[tuple[Path, Format]]:
    for form, own in found.items():
        others = [path for other, paths in found.items() if other is not form for path in paths]
        for path in form.find(own, others) if form.find else ():
            yield path, form
