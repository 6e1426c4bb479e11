"""Engines for tests: a calculator that misbehaves as its frame asks, and a pw.x that does."""

import stat
import sys
from pathlib import Path

from matgraft.potentials.active.labelling.engine import Engine

MODULE = '''
import os, signal, sys, time
from pathlib import Path
import numpy as np
from ase.calculators.calculator import Calculator, all_changes

class Fickle(Calculator):
    """A harmonic crystal; the first atom's x says what happens, a side file who was computed."""

    implemented_properties = ["energy", "forces", "stress"]

    def __init__(self, side="", wait=0.0, spring=1.0):
        super().__init__()
        self.side, self.wait, self.spring = side, wait, spring

    def note(self, word):
        if self.side:
            with open(self.side, "a") as file:
                file.write(f"{word} {self.atoms.positions[0, 0]:.6f}\\n")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.note("begin")
        time.sleep(self.wait)
        how = round(self.atoms.positions[0, 0])
        if how == 1:
            time.sleep(1000)
        if how == 2:
            print("ouch", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == 3:
            raise ValueError("no such thing")
        if how == 9:  # once only
            flag = Path(self.side + ".once")
            if not flag.exists():
                flag.touch()
                os._exit(7)
        print("what a calculator prints goes nowhere near the answers")
        x = self.atoms.positions
        energy, forces = 0.5 * self.spring * float((x**2).sum()), -self.spring * x
        self.results = {"energy": np.nan if how == 4 else energy, "forces": forces * (1e6 if how == 5 else 1.0)}
        if how != 6:
            self.results["stress"] = np.full(6, 0.01)
        if how == 7:
            self.results["forces"] = forces[:1]
        self.note("end")

def make(**keywords):
    return Fickle(**keywords)

def broken():
    raise RuntimeError("no licence")

def nothing():
    return 3
'''

PWX = """
import re, sys, time
text = open(sys.argv[sys.argv.index("-in") + 1]).read()
log = @LOG@
n = int(re.search(r"nat\\s*=\\s*(\\d+)", text)[1])
wave = float(re.search(r"ecutwfc\\s*=\\s*([\\d.]+)", text)[1])
dense = re.search(r"ecutrho\\s*=\\s*([\\d.]+)", text)
rows = text.split("ATOMIC_POSITIONS angstrom")[1].split()
atoms = [(rows[4 * i], [float(x) for x in rows[4 * i + 1 : 4 * i + 4]]) for i in range(n)]
numbers = text.split("CELL_PARAMETERS angstrom")[1].split()[:9]
cell = [[float(x) for x in numbers[3 * i : 3 * i + 3]] for i in range(3)]
how = round(atoms[0][1][0])
if log:
    open(log, "a").write(f"{atoms[0][1][0]:.6f} {wave:g} {text.split('K_POINTS')[1].split('CELL')[0].split()[1:]}\\n")
if how == 1:
    time.sleep(1000)
if how == 2:
    print("     Error in routine electrons (1):\\n     charge is wrong", file=sys.stderr)
    sys.exit(3)
if how == 3:
    print("lorem ipsum " * 100)
    sys.exit(0)
if how == 8:
    atoms[0][1][0] += 0.5
bohr = 0.529177210903
print("     Program PWSCF v.6.7 starts on 1Jan2026")
print(f"     lattice parameter (alat)  = {1 / bohr:12.8f}  a.u.")
print(f"     number of atoms/cell      = {n}")
print(f"     kinetic-energy cutoff     = {wave:.4f}  Ry")
print(f"     charge density cutoff     = {float(dense[1]) if dense else 4 * wave:.4f}  Ry")
print("     Exchange-correlation= @XC@")
print("     crystal axes: (cart. coord. in units of alat)")
for i, row in enumerate(cell):
    print(f"               a({i + 1}) = ( " + " ".join(f"{x:.6f}" for x in row) + " )")
print("     PseudoPot. # 1 for Si read from file:\\n     /x/Si.UPF")
print("     site n.     atom                  positions (alat units)")
for i, (symbol, place) in enumerate(atoms):
    print(f"         {i + 1}   {symbol}  tau( {i + 1}) = ( " + " ".join(f"{x:.7f}" for x in place) + " )")
print("     number of k points=     2\\n                       cart. coord. in units 2pi/alat")
print("        k(    1) = (   0.0000000   0.0000000   0.0000000), wk =   1.0000000")
if how == 4:
    print("     total energy              =     -10.0 Ry")
    print("     convergence NOT achieved after   2 iterations: stopping")
    sys.exit(2)
energy = 0.01 * sum(x * x for _, place in atoms for x in place) - wave / 100
print(f"!    total energy              = {energy:.8f} Ry")
print("     convergence has been achieved in   5 iterations")
if how == 5:
    sys.exit(0)
print("     Forces acting on atoms (cartesian axes, Ry/au):\\n")
for i, (_, place) in enumerate(atoms):
    x, y, z = (-0.02 * one for one in place)
    x = float("nan") if how == 6 else x
    print(f"     atom {i + 1:4d} type  1   force = {x:14.8f} {y:14.8f} {z:14.8f}")
print("\\n     total   stress  (Ry/bohr**3)                   (kbar)     P=        0.00")
for i in range(3):
    print("   ".join(f"{0.0001 * (i == j):.8f}" for j in range(3)) + "           14.71        0.00        0.00")
print("\\n   JOB DONE.")
"""


def program(folder: Path, text: str, name: str = "pw.x") -> Path:
    """Write a program of Python in the place of a DFT binary; return its path."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def espresso(folder: Path, xc: str = "PBE", **changed) -> Engine:
    """Return an engine that runs a pw.x of Python: what it does, the first atom's x says; it logs each call."""
    pseudo = folder / "pseudo"
    pseudo.mkdir(exist_ok=True)
    (pseudo / "Si.UPF").write_text('<UPF version="2.0.1"><PP_HEADER functional="PBE"/></UPF>')
    path = program(folder, PWX.replace("@LOG@", repr(str(folder / "pwx.log"))).replace("@XC@", xc))
    parameters = {
        "pseudo_dir": str(pseudo),
        "pseudopotentials": {"Si": "Si.UPF"},
        "input_data": {"ecutwfc": 20},
        "kspacing": 0.8,
    } | changed.pop("parameters", {})
    return Engine(calculator="espresso", command=[str(path)], parameters=parameters, **changed)
