"""torch-sim: model.py, which returns torch-sim's own model of the vendor's file.

It is run in a process of its own, without matgraft, and compared with the model; where torch-sim is not installed it
is written, and the check says that it was not made.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write as write_atoms

from matgraft.core.errors import RunError
from matgraft.core.files import write_text
from matgraft.core.signals import temporary_folder
from matgraft.potentials.exports.comparison import ExportCheck, compare_all, made
from matgraft.potentials.exports.structures import Structures
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.references import FILE as REFERENCES

FILE = "model.py"
PACKAGE = "torch-sim-atomistic"

_MODEL = '''"""Model of torch-sim for a potential tuned by matgraft. Needs {package}, not matgraft.

    from model import model
    torch_sim.integrate(system=atoms, model=model(), ...)

{references} has the reference energies that {native} leaves out; they are added in float64.
"""

import json
from pathlib import Path

from ase.data import atomic_numbers
{imports}


def vendor(device=None):
    """Return torch-sim's own model of the vendor's file."""
{body}


def model(device=None):
    """Return the model: energy in eV, forces in eV/Å, stress in eV/Å³. Default device: a GPU where there is one."""
    tuned = vendor(device)
    references = torch.zeros(119, dtype=torch.float64, device=tuned.device)
    for symbol, energy in json.loads(Path(__file__).with_name({references!r}).read_text(encoding="utf-8")).items():
        references[atomic_numbers[symbol]] = energy

    def add_references(module, arguments, found):
        state = arguments[0]
        energy = found["energy"].double().index_add(0, state.system_idx, references[state.atomic_numbers])
        return dict(found) | {{"energy": energy}}

    tuned.register_forward_hook(add_references)
    return tuned
'''
_RUN = """
import sys
import ase.io, numpy, torch, torch_sim
from model import model

tuned = model(torch.device("cpu"))
arrays = {}
for i, atoms in enumerate(ase.io.read(sys.argv[1], index=":")):
    found = tuned(torch_sim.io.atoms_to_state([atoms], tuned.device, tuned.dtype))
    arrays |= {f"{name}-{i}": found[name].detach().double().numpy() for name in ("energy", "forces", "stress")}
numpy.savez(sys.argv[2], **arrays)
"""


def write_torch_sim(
    backbone: Potential, folder: Path, source: tuple[str, str, str], structures: Structures | None = None
) -> list[ExportCheck]:
    """Write model.py beside the native file, and run it where torch-sim is installed.

    Parameters
    ----------
    source
        As `Potential.torch_sim_source` returns it.
    structures
        What is compared on. Default: crystals of the elements of the card.

    Raises
    ------
    RunError
        If model.py fails, or gives other predictions than the model.
    """
    package, imports, body = source
    lines = "\n".join(f"    {line}" if line else "" for line in body.splitlines())
    names = {"package": f"{PACKAGE} and {package}", "references": REFERENCES, "native": backbone.native_file}
    write_text(folder / FILE, _MODEL.format(imports=imports, body=lines, **names))
    what = f"{FILE} run by torch-sim"
    if not installed():
        return [ExportCheck(what, reason=f"{PACKAGE} is not installed")]
    return [made(what, _run(backbone, folder, (structures or Structures.of(backbone)).all), backbone)]


def installed() -> bool:
    """Say whether torch-sim can be imported."""
    return importlib.util.find_spec("torch_sim") is not None


def _run(backbone: Potential, folder: Path, structures: Sequence[Atoms]) -> dict[str, float]:
    with temporary_folder() as temporary:
        frames, found = temporary / "cells.traj", temporary / "found.npz"
        write_atoms(frames, list(structures))
        command = [sys.executable, "-c", _RUN, str(frames), str(found)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RunError(f"{FILE} fails: {(done.stderr.splitlines() or ['no reason'])[-1]}", where=str(folder))
        with np.load(found) as arrays:
            read = dict(arrays)
    theirs = iter(
        {"energy": read[f"energy-{i}"][0], "forces": read[f"forces-{i}"], "stress": read[f"stress-{i}"][0]}
        for i in range(len(structures))
    )
    return compare_all(backbone, lambda atoms: next(theirs), structures, str(folder / FILE))
