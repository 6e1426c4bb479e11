"""Reading: seconds of matgraft, ASE and pymatgen for the same files, in one run.

    python benchmarks/reading_speed.py
    python benchmarks/reading_speed.py --scale 0.1       # files of a tenth of the size, to try it
    python benchmarks/reading_speed.py --files OUTCAR --rounds 1
    python benchmarks/reading_speed.py --report          # the markdown table of what is there

Three files are made in a temporary folder, true to format: 10,000 frames of extended XYZ (8 to 64 atoms), a
`vasprun.xml` of 500 ionic steps and 90 MB (1,331 atoms, some 12 electronic steps each), and an OUTCAR of 200 MB (64
atoms). Every reader has a process of its own, in which it reads the file round
by round; the readers take turns, and the figure is the median of the ratio within a round. All hand over structure,
energy and forces of every step, and the stress where they have it: matgraft as samples with their labels in canonical
units and all of its checks, ASE as atoms with a calculator, pymatgen as structures with the ionic step's dictionary.
pymatgen reads no labels of extended XYZ. Of an OUTCAR it reads what it is asked for by pattern: positions and forces,
and the total energies.
Times are the process's own (CPU).
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from ase.data import chemical_symbols
from common import RESULTS, Results, Row, circumstances, number, prepare, run, show

FRAMES, STEPS, OUTCAR_MB = 10_000, 500, 200
ATOMS, XML_ATOMS = 64, 1331
MODULES = {"matgraft": "matgraft.potentials.data.reading.read", "ASE": "ase.io.vasp", "pymatgen": "pymatgen.io.vasp"}
READERS = tuple(MODULES)
HEADER = ("file", "MB", "frames", *(f"{reader} s" for reader in READERS), "ASE / matgraft", "pymatgen / matgraft")
TIMES = {
    "Total CPU time used (sec)": 27.244,
    "User time (sec)": 25.022,
    "System time (sec)": 2.222,
    "Elapsed time (sec)": 31.413,
    "Maximum memory used (kb)": 354228.0,
    "Average memory used (kb)": 0.0,
}
RULE = " " + "-" * 83


def main() -> None:
    """Make the files, time the readers, print the table."""
    options = parse()
    results = Results(options.out, ("file",))
    if not options.report:
        prepare()
        with tempfile.TemporaryDirectory() as folder:
            for name in options.files:
                path = Path(folder) / name
                MAKERS[name](path, options.scale)
                found = compare(path, options.rounds)
                results.put({"file": name, "scale": options.scale, "rounds": options.rounds} | found | circumstances())
                path.unlink()
    show("Seconds to read", HEADER, [line(row) for row in results.rows], as_markdown=options.report)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", nargs="+", choices=MAKERS, default=list(MAKERS))
    parser.add_argument("--scale", type=float, default=1.0, help="part of the frames")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "reading_speed.json")
    parser.add_argument("--report", action="store_true", help="print the results as markdown; measure nothing")
    return parser.parse_args(arguments)


# ------------------------------------------------------------------- readers


def compare(path: Path, rounds: int) -> Row:
    """Time each reader on a file, by turns, each in a process of its own."""
    readers = [reader for reader in READERS if read_by(reader, path) is not None]
    pools = {reader: ProcessPoolExecutor(1, get_context("spawn")) for reader in readers}
    times: dict[str, list[float]] = {reader: [] for reader in readers}
    frames = {}
    try:
        for _ in range(rounds):
            for reader, pool in pools.items():
                seconds, frames[reader] = pool.submit(timed, reader, path).result()
                times[reader].append(seconds)
    finally:
        for pool in pools.values():
            pool.shutdown()
    ratios = {
        other: median(a / b for a, b in zip(times[other], times["matgraft"], strict=True))
        for other in readers
        if other != "matgraft"
    }
    return {
        "MB": round(path.stat().st_size / 1e6, 1),
        "frames": frames,
        "seconds": {reader: round(median(own), 3) for reader, own in times.items()},
        "ratios": {reader: round(ratio, 3) for reader, ratio in ratios.items()},
    }


def timed(reader: str, path: Path) -> tuple[float, int]:
    """Read a file; return the CPU seconds and how many frames came of it."""
    reading = read_by(reader, path)
    assert reading is not None
    import_module(MODULES[reader])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.process_time()
        frames = reading()
        return time.process_time() - began, frames


def read_by(reader: str, path: Path) -> Callable[[], int] | None:
    """Return what reads a file and counts its frames; None where a reader has nothing for it."""
    kind = path.name
    if reader == "matgraft":
        return lambda: _matgraft(path)
    if reader == "ASE":
        return lambda: _ase(path, {"frames.extxyz": "extxyz", "vasprun.xml": "vasp-xml", "OUTCAR": "vasp-out"}[kind])
    return {"vasprun.xml": lambda: _vasprun(path), "OUTCAR": lambda: _outcar(path)}.get(kind)


def _matgraft(path: Path) -> int:
    from matgraft import read

    return len(read(path, want=("energy", "forces", "stress")))


def _ase(path: Path, form: str) -> int:
    from ase.io import read

    frames = read(path, ":", format=form)
    for atoms in frames:
        atoms.get_potential_energy()
        atoms.get_forces()
    return len(frames)


def _vasprun(path: Path) -> int:
    from pymatgen.io.vasp import Vasprun

    run = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    return len([(step["structure"], step["e_fr_energy"], step["forces"]) for step in run.ionic_steps])


def _outcar(path: Path) -> int:
    from pymatgen.io.vasp import Outcar

    file = Outcar(path)
    rows = file.read_table_pattern(
        r"TOTAL-FORCE \(eV/Angst\)\n\s*-+", r"\s+".join([""] + [r"(-?\d+\.\d+)"] * 6), r"\s*-+\n", last_one_only=False
    )
    file.read_pattern({"energy": r"free  energy   TOTEN  =\s+([\d\-.]+)"})
    return min(len(rows), len(file.data["energy"]))


# --------------------------------------------------------------------- files


def write_extxyz(path: Path, scale: float) -> None:
    """Write frames of extended XYZ as ASE and MACE's users have them."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for i in range(int(FRAMES * scale)):
            n = int(rng.choice((8, 16, 32, 64)))
            cell, stress = 2.5 * n ** (1 / 3) * np.eye(3) + 0.1 * rng.standard_normal((3, 3)), rng.normal(0, 0.01, 6)
            columns = np.hstack([_apart(n, rng) @ cell, rng.normal(0, 1, (n, 3))])
            numbers = np.sort(rng.choice((3, 8, 22, 26), n))
            file.write(
                f'{n}\nLattice="{_numbers(cell)}" Properties=species:S:1:pos:R:3:forces:R:3 '
                f"config_type=md_{i // 100} temperature={300 + i % 7} energy={-5.0 * n + rng.normal():.8f} "
                f'stress="{_numbers(stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]])}" pbc="T T T"\n'
            )
            for z, row in zip(numbers, columns, strict=True):
                file.write(f"{chemical_symbols[z]:2}" + "".join(f"{x:17.8f}" for x in row) + "\n")


def _apart(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return fractional positions (n, 3) near the points of a grid: atoms drawn at random may lie on one another."""
    side = int(np.ceil(n ** (1 / 3) - 1e-9))
    points = np.stack(np.unravel_index(rng.permutation(side**3)[:n], (side,) * 3), axis=1)
    return (points + rng.uniform(0.3, 0.7, (n, 3))) / side


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{x:.8f}" for x in values.ravel())


def _md(steps: int, n: int = ATOMS) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Return cell, fractional positions, forces and stress in kBar of the steps of a made-up dynamics."""
    rng = np.random.default_rng(0)
    cell, start = 11.0 * (n / ATOMS) ** (1 / 3) * np.eye(3), _apart(n, rng)
    for _ in range(steps):
        stress = rng.normal(0, 10, (3, 3))
        forces = rng.normal(0, 1, (n, 3))
        yield cell, start + 0.01 * rng.standard_normal((n, 3)), forces - forces.mean(axis=0), stress + stress.T


def write_vasprun(path: Path, scale: float) -> None:
    """Write a vasprun.xml of VASP 6 of a molecular dynamics run."""

    def rows(values: np.ndarray, depth: int) -> str:
        return "".join(" " * depth + "<v> " + "".join(f"{x:17.8f}" for x in row) + " </v>\n" for row in values)

    def structure(cell: np.ndarray, positions: np.ndarray, name: str = "") -> str:
        return (
            f' <structure{name}>\n  <crystal>\n   <varray name="basis" >\n{rows(cell, 4)}   </varray>\n'
            f'   <i name="volume">   {np.linalg.det(cell):12.8f} </i>\n   <varray name="rec_basis" >\n'
            f'{rows(np.linalg.inv(cell).T, 4)}   </varray>\n  </crystal>\n  <varray name="positions" >\n'
            f"{rows(positions, 3)}  </varray>\n </structure>\n"
        )

    def energy(value: float, keys: tuple[str, ...]) -> str:
        return "   <energy>\n" + "".join(f'    <i name="{key}">{value:16.8f} </i>\n' for key in keys) + "   </energy>\n"

    plain = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    last = ("alphaZ", "ewald", "hartreedc", "XCdc", "pawpsdc", "pawaedc", "eentropy", "bandstr", "atom", *plain)
    rng = np.random.default_rng(1)
    with path.open("w", encoding="latin-1") as file:
        cell, positions, *_ = next(_md(1, XML_ATOMS))
        file.write(XML_HEAD + structure(cell, positions, ' name="initialpos" '))
        for cell, positions, forces, stress in _md(int(STEPS * scale), XML_ATOMS):
            value, cycles = -300 + rng.normal(), int(rng.integers(8, 17))
            file.write(" <calculation>\n")
            for i in range(cycles):
                file.write('  <scstep>\n   <time name="dav">    0.61    0.62</time>\n')
                file.write('   <time name="total">    0.69    0.70</time>\n')
                file.write(energy(value, last if i in (0, cycles - 1) else plain) + "  </scstep>\n")
            file.write(structure(cell, positions))
            file.write(f'  <varray name="forces" >\n{rows(forces, 3)}  </varray>\n')
            file.write(f'  <varray name="stress" >\n{rows(stress, 3)}  </varray>\n')
            file.write(energy(value, (*plain, "kinetic", "lattice kinetic", "nosepot", "nosekinetic", "total")))
            file.write('  <time name="totalsc">    8.05    8.12</time>\n </calculation>\n')
        file.write(structure(cell, positions, ' name="finalpos" ') + "</modeling>\n")


XML_HEAD = (
    """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">6.3.0  </i>
 </generator>
 <incar>
  <i name="ENCUT">    520.00000000</i>
  <i type="int" name="IBRION">     0</i>
 </incar>
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions">       1        1        1 </v>
   <v name="usershift">      0.00000000       0.00000000       0.00000000 </v>
  </generation>
  <varray name="kpointlist" >
   <v>       0.00000000       0.00000000       0.00000000 </v>
  </varray>
  <varray name="weights" >
   <v>       1.00000000 </v>
  </varray>
 </kpoints>
 <parameters>
  <separator name="electronic" >
   <i name="ENMAX">    520.00000000</i>
   <i type="int" name="ISPIN">     1</i>
   <separator name="electronic convergence" >
    <i type="int" name="NELM">    60</i>
   </separator>
  </separator>
  <separator name="ionic" >
   <i type="int" name="NSW">   500</i>
   <i type="int" name="IBRION">     0</i>
   <i name="PSTRESS">      0.00000000</i>
  </separator>
 </parameters>
 <atominfo>
  <atoms>    1331 </atoms>
  <types>       1 </types>
  <array name="atoms" >
   <dimension dim="1">ion</dimension>
   <field type="string">element</field>
   <field type="int">atomtype</field>
   <set>
"""
    + "    <rc><c>Si</c><c>   1</c></rc>\n" * XML_ATOMS
    + """   </set>
  </array>
  <array name="atomtypes" >
   <dimension dim="1">type</dimension>
   <field type="int">atomspertype</field>
   <field type="string">element</field>
   <field>mass</field>
   <field>valence</field>
   <field type="string">pseudopotential</field>
   <set>
    <rc><c>1331</c><c>Si</c><c>     28.08500000</c><c>      4.00000000</c><c>  PAW_PBE Si 05Jan2001    </c></rc>
   </set>
  </array>
 </atominfo>
"""
)


def write_outcar(path: Path, scale: float) -> None:
    """Write an OUTCAR of VASP 6 of a molecular dynamics run, as NWRITE = 2 prints it."""
    size, step, rng = OUTCAR_MB * 1e6 * scale, 0, np.random.default_rng(2)
    md = _md(10**9)
    with path.open("w", encoding="ascii") as file:
        cell, positions, forces, stress = next(md)
        file.write(OUTCAR_HEAD + _lattice(cell))
        while file.tell() < size:
            step += 1
            cell, positions, forces, stress = next(md)
            value, cycles = -300 + rng.normal(), int(rng.integers(8, 17))
            for i in range(1, cycles + 1):
                file.write(_electronic(step, i, value))
            file.write(_ionic(cell, positions @ cell, forces, stress, value))
        file.write(" General timing and accounting informations for this job:\n" + " " + "=" * 56 + "\n")
        for name, value in TIMES.items():
            file.write(f"{name:>40}: {value:12.3f}\n")


def _lattice(cell: np.ndarray) -> str:
    rows = np.hstack([cell, np.linalg.inv(cell).T])
    text = "".join("   " + "".join(f"{x:13.9f}" for x in r[:3]) + "   " + "".join(f"{x:13.9f}" for x in r[3:]) + "\n"
                   for r in rows)  # fmt: skip
    return f"      direct lattice vectors                 reciprocal lattice vectors\n{text}\n"


OUTCAR_HEAD = f""" vasp.6.3.0 20Jan22 (build Apr 09 2022 18:33:31) complex

 executed on             LinuxIFC date 2022.01.01  00:00:00
 running on  128 total cores
 INCAR:
   ENCUT = 520
 POTCAR:    PAW_PBE Si 05Jan2001
 POTCAR:    PAW_PBE Si 05Jan2001
   VRHFIN =Si: s2p2
   TITEL  = PAW_PBE Si 05Jan2001
   POMASS =   28.085; ZVAL   =    4.000    mass and valenz

   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=    160
   number of dos      NEDOS =    301   number of ions     NIONS = {ATOMS:6}
   non local maximal  LDIM  =      4   non local SUM 2l+1 LMDIM =      8
   total plane-waves  NPLWV = 262144
   dimension x,y,z NGX =    64 NGY =   64 NGZ =   64
   dimension x,y,z NGXF=   128 NGYF=  128 NGZF=  128
   ions per type =            {ATOMS:4}
   ISPIN  =      1    spin polarized calculation?
   ENCUT  =  520.0 eV  38.22 Ry    6.18 a.u.  10.05 10.05 10.05*2*pi/ulx,y,z
   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps
   NSW    =   5000    number of steps for IOM
   IBRION =      0    ionic relax: 0-MD 1-quasi-New 2-CG
   ISMEAR =     0;   SIGMA  =   0.05  broadening in eV -4-tet -1-fermi 0-gaus
  Ionic Valenz
   ZVAL   =   4.00
   NELECT =     256.0000    total number of electrons

 k-points in units of 2pi/SCALE and weight: Gamma
   0.00000000  0.00000000  0.00000000       1.000

 k-points in reciprocal lattice and weights: Gamma
   0.00000000  0.00000000  0.00000000       1.000

 k-point   1 :   0.0000 0.0000 0.0000  plane waves:   16061

 maximum and minimum number of plane-waves per node :     16061    16061

"""


def _electronic(step: int, i: int, value: float) -> str:
    times = "".join(f"{name:>10}:  cpu time      0.0102: real time      0.0105\\n" for name in (
        "POTLOK", "SETDIJ", "EDDIAG", "RMM-DIIS", "ORTHCH", "DOS", "CHARGE", "MIXING"))  # fmt: skip
    terms = "".join(f"  {name} = {123.45678901:18.8f}\n" for name in (
        "alpha Z        PSCENC", "Ewald energy   TEWEN ", "-Hartree energ DENC  ", "-exchange      EXHF  ",
        "-V(xc)+E(xc)   XCENC ", "entropy T*S    EENTRO", "eigenvalues    EBANDS",
        "atomic energy  EATOM "))  # fmt: skip
    rule = "-" * 39
    return (
        f"\n{rule} Iteration {step:6}({i:4})  {rule}\n\n\n{times}    {'-' * 44}\n"
        "      LOOP:  cpu time      0.0936: real time      0.1048\n\n eigenvalue-minimisations  :   1216\n"
        " total energy-change (2. order) : 0.2944242E+01  (-0.4748563E+00)\n"
        " number of electron     256.0000007 magnetization\n augmentation part        0.2052833 magnetization\n\n"
        " Broyden mixing:\n  rms(total) = 0.37023E+00    rms(broyden)= 0.37021E+00\n  rms(prec ) = 0.51924E+00\n"
        "  weight for this iteration     100.00\n\n eigenvalues of (default mixing * dielectric matrix)\n"
        "  average eigenvalue GAMMA=   2.0981\n  1.7106  2.4856\n\n Free energy of the ion-electron system (eV)\n"
        f"  {'-' * 51}\n{terms}  {'-' * 51}\n  free energy    TOTEN  = {value:18.8f} eV\n\n"
        f"  energy without entropy = {value:18.8f}  energy(sigma->0) = {value:18.8f}\n\n\n{'-' * 104}\n\n\n"
    )


def _ionic(cell: np.ndarray, positions: np.ndarray, forces: np.ndarray, stress: np.ndarray, value: float) -> str:
    bands = "".join(f"{i:7}  {-5 + i / 10:10.4f}  {2.0:11.5f}\n" for i in range(1, 161))
    parts = "".join("   " + "   ".join(" ".join(f"{x:.3E}"[:9] for x in row) for _ in range(4)) + "\n"
                    for row in np.abs(forces))  # fmt: skip
    table = "".join("".join(f"{x:13.5f}" for x in p) + "   " + "".join(f"{x:14.6f}" for x in f) + "\n"
                    for p, f in zip(positions, forces, strict=True))  # fmt: skip
    six = "".join(f"{stress[i, j]:12.5f}" for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)))
    terms = "".join(f"  {name:8}" + "".join(f"{1.2345:12.5f}" for _ in range(6)) + "\n" for name in (
        "Alpha Z", "Ewald", "Hartree", "E(xc)", "Local", "n-local", "augment", "Kinetic", "Fock"))  # fmt: skip
    return f"""
 E-fermi :   5.1234     XC(G=0):  -9.1234     alpha+bet :-10.1234

 k-point     1 :       0.0000    0.0000    0.0000
  band No.  band energies     occupation
{bands}

------------------------ aborting loop because EDIFF is reached ----------------------------------------


  FORCE on cell =-STRESS in cart. coord.  units (eV):
  Direction    XX          YY          ZZ          XY          YZ          ZX
  --------------------------------------------------------------------------------------
{terms}  -------------------------------------------------------------------------------------
  Total       1.33798    -0.20684     0.29258     0.48006     1.38738    -0.02079
  in kB   {six}
  external pressure =        4.44 kB  Pullay stress =        0.00 kB


 VOLUME and BASIS-vectors are now :
 -----------------------------------------------------------------------------
  energy-cutoff  :      520.00
  volume of cell :    {np.linalg.det(cell):8.2f}
{_lattice(cell)}  length of vectors
    11.000000000 11.000000000 11.000000000     0.090909091  0.090909091  0.090909091


 FORCES acting on ions
    electron-ion (+dipol)            ewald-force                    non-local-force
 -----------------------------------------------------------------------------------------------
{parts} -----------------------------------------------------------------------------------------------

 POSITION                                       TOTAL-FORCE (eV/Angst)
{RULE}
{table}{RULE}
    total drift:                                0.000539      0.001275     -0.000772


{"-" * 104}



  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  = {value:18.8f} eV

  energy  without entropy= {value:17.8f}  energy(sigma->0) = {value:17.8f}



{"-" * 104}


  ENERGY OF THE ELECTRON-ION-THERMOSTAT SYSTEM (eV)
  ---------------------------------------------------
% ion-electron   TOTEN  = {value:18.6f}  see above
  kinetic energy EKIN   =         2.445678
  total energy   ETOTAL = {value + 2.4:18.6f} eV

     LOOP+:  cpu time     21.4366: real time     21.8690

"""


MAKERS = {"frames.extxyz": write_extxyz, "vasprun.xml": write_vasprun, "OUTCAR": write_outcar}


# -------------------------------------------------------------------- tables


def line(row: Row) -> list[str]:
    """Return a line of the table."""
    kind = re.sub("frames.extxyz", "extended XYZ", row["file"])
    seconds = [number(row["seconds"].get(reader), 2) for reader in READERS]
    ratios = [number(row["ratios"].get(reader), 2) for reader in READERS if reader != "matgraft"]
    return [kind, number(row["MB"], 1), f"{row['frames']['matgraft']:,}", *seconds, *ratios]


if __name__ == "__main__":
    run(main)
