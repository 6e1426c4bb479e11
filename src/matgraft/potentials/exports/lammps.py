"""LAMMPS: the vendor's file, a runnable in.lammps, a small structure.data; verified as far as the machine allows.

The file is opened and evaluated as its pair style does it, on the tensors that LAMMPS would hand over. Where an `lmp`
is found, beside Python or on the PATH, in.lammps is run and its last step compared with the model. If that `lmp` lacks
the pair style, LAMMPS's own words say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write as write_atoms

from matgraft.core.files import whole, write_text
from matgraft.core.quantities import Array
from matgraft.core.signals import temporary_folder
from matgraft.potentials.exports.comparison import (
    ExportCheck,
    compare_all,
    compare_predictions,
    distorted_cell,
    made,
)
from matgraft.potentials.exports.structures import Structures, upright
from matgraft.potentials.models.lammps import LammpsFile
from matgraft.potentials.models.potential import RESOLVED_EV, Potential
from matgraft.potentials.models.references import energy_left_out

INPUT = "in.lammps"
STRUCTURE = "structure.data"
SECONDS = 300
"""For the few steps of in.lammps."""

_INPUT = """\
# {model}
# Needs {build}.
#
#     lmp -in {input}

units           metal
atom_style      atomic
{commands}newton          on

read_data       {structure}

pair_style      {style}
pair_coeff      * * {file} {elements}   # atom types 1 to {n_types}
{references}
thermo          1
velocity        all create 300 1
fix             1 all nve
timestep        0.001

run             5
"""
_REFERENCES = """
# Energies of the elements that {file} leaves out: the energy of the model is v_total.
variable        references atom "{formula}"
compute         references all reduce sum v_references
variable        total equal pe+c_references
thermo_style    custom step temp pe ke v_total press
"""
# Lengths to the last bit, so that rounding of positions does not show in the forces.
_LAST_STEP = """\
include {input}
variable energy equal pe
print "${{energy}}" file {folder}/energy
write_dump all custom {folder}/atoms id xu yu zu fx fy fz modify sort id format float %24.17g
"""


def write_lammps(
    backbone: Potential, folder: Path, file: LammpsFile, structures: Structures | None = None
) -> list[ExportCheck]:
    """Write the vendor's file for LAMMPS, in.lammps and structure.data, and check them.

    Parameters
    ----------
    structures
        The first one is that of in.lammps. Default: crystals of the elements of the card.

    Raises
    ------
    RunError
        If the file, or LAMMPS with it, gives other predictions than the model.
    """
    crystals = [upright(atoms) for atoms in (structures or Structures.of(backbone)).all]
    atoms = crystals[0] if structures and structures.trained else distorted_cell(backbone)
    file.write(folder / file.name)
    order = list(backbone.card.elements)
    with whole(folder / STRUCTURE) as part:
        write_atoms(part, atoms, format="lammps-data", specorder=order, masses=True, units="metal")
    write_text(folder / INPUT, input_text(backbone, file))
    what = f"{file.name} by torch.jit, on the tensors of pair_style {file.style}"
    path = folder / file.name
    found = compare_all(backbone, lambda one: _complete(backbone, one, file.evaluate(path, one)), crystals, str(path))
    return [made(what, found, backbone), run(backbone, folder, file, atoms)]


def _complete(backbone: Potential, atoms: Atoms, found: Mapping[str, Array]) -> dict[str, Array]:
    """Add the reference energies that the file leaves out."""
    rest = energy_left_out(backbone.references_left_out(), atoms)
    return {**found, "energy": np.asarray(found["energy"], dtype=float) + rest}


def input_text(backbone: Potential, file: LammpsFile) -> str:
    """Return an input for LAMMPS: five steps of dynamics from structure.data."""
    elements = backbone.card.elements
    return _INPUT.format(
        model=backbone.card.name,
        build=file.build,
        input=INPUT,
        commands="".join(f"{command}\n" for command in file.commands),
        structure=STRUCTURE,
        style=file.style,
        file=file.name,
        elements=" ".join(elements),
        n_types=len(elements),
        references=_references(backbone, file),
    )


def _references(backbone: Potential, file: LammpsFile) -> str:
    """Return the lines that add the reference energies which the file leaves out; none where it has them all."""
    left, elements = backbone.references_left_out(), backbone.card.elements
    terms = [f"{left.get(symbol, 0.0)!r}*(type=={i})" for i, symbol in enumerate(elements, start=1)]
    if all(abs(left.get(symbol, 0.0)) <= RESOLVED_EV for symbol in elements):
        return ""
    return _REFERENCES.format(file=file.name, formula="+".join(terms))


def run(backbone: Potential, folder: Path, file: LammpsFile, start: Atoms | None = None) -> ExportCheck:
    """Run in.lammps where there is an `lmp`, and compare energy and forces of its last step with the model.

    Parameters
    ----------
    start
        What lies in structure.data. Default: the distorted cell.
    """
    what = f"{INPUT} run in LAMMPS"
    lmp = find_lmp()
    if lmp is None:
        return ExportCheck(what, reason="no lmp beside Python or on the PATH: LAMMPS is not installed")
    with temporary_folder() as temporary:
        commands = temporary / "in.check"
        commands.write_text(_LAST_STEP.format(input=INPUT, folder=str(temporary)), encoding="utf-8")
        said = _call([lmp, "-in", str(commands), "-log", "none"], folder)
        if said:
            return ExportCheck(what, reason=f"{lmp} did not run pair_style {file.style}: {said}")
        atoms, theirs = _last_step(temporary, start or distorted_cell(backbone))
    theirs = _complete(backbone, atoms, theirs)
    return made(what, compare_predictions(backbone, atoms, theirs, str(folder / INPUT)), backbone)


def find_lmp() -> str | None:
    """Return the `lmp` beside this Python, where the wheel puts it, or the one on the PATH."""
    return shutil.which("lmp", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def _call(command: list[str], folder: Path) -> str:
    """Run a command; return what it said of its failure, or nothing."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [f"exit code {done.returncode}"])[-1]


def _last_step(folder: Path, atoms: Atoms) -> tuple[Atoms, dict[str, np.ndarray]]:
    """Read energy, positions and forces that `_LAST_STEP` wrote; the cell is that of the start."""
    table = np.loadtxt(folder / "atoms", skiprows=9)
    atoms.positions = table[:, 1:4]
    return atoms, {"energy": np.loadtxt(folder / "energy"), "forces": table[:, 4:7]}
