"""Hand a tuned model to other tools, and prove that what was written says the same.

| target    | beside vendor's file, card, reference_energies   | what opens it                                        |
| --------- | ------------------------------------------------ | ---------------------------------------------------- |
| native    | nothing                                          | the vendor's own loader, e.g. ``CHGNet.from_file``   |
| ase       | calculator.py (``calculator()``)                 | any ASE script, with the vendor's package alone      |
| lammps    | the vendor's file for it, in.lammps, a structure | LAMMPS with the vendor's pair style                  |
| torch-sim | model.py (``model()``)                           | torch-sim, with the vendor's package                 |

Every target begins with the native file, which the vendor's own code opens for a comparison on training frames and on
crystals of all elements of the card (`matgraft.potentials.exports.structures`).
README.md in the folder says what was checked and what was not. What cannot be checked on this machine is no error: it
is written, and said. Which backbone has which target stands in `matgraft.potentials.models.registry`.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import runpy
import textwrap
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from matgraft.core.errors import ExtraError, OptionError, choose
from matgraft.core.files import write_text
from matgraft.core.locks import works_in
from matgraft.core.registry import model_folder, save_folder
from matgraft.core.run_folder import new_folder, refuse_full_folder
from matgraft.core.version import __version__
from matgraft.potentials.data import boxes
from matgraft.potentials.exports import lammps, standalone, torch_sim, zbl
from matgraft.potentials.exports.comparison import (
    ROUNDING,
    ExportCheck,
    Exported,
    made,
    note_on_references,
    verify_export,
    with_calculator,
)
from matgraft.potentials.exports.repulsion import reach_of_pairs
from matgraft.potentials.exports.structures import FILE, Structures
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.references import FILE as REFERENCES
from matgraft.potentials.models.registry import INSTEAD, POTENTIALS, load_potential_folder

_CALCULATOR = '''"""ASE calculator of a potential tuned by matgraft. Needs {package}, not matgraft.

    from calculator import calculator
    atoms.calc = {use}

A slab is the same slab with or without its third vector, whatever pbc says of the vacuum. The reference energies that
{native} leaves out stand in {references}, and are added in float64.
{correction}"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
{repulsion_imports}from ase.stress import full_3x3_to_voigt_6_stress
{imports}

CUTOFF = {cutoff!r}
"""Å, of the neighbours."""

{boxes}

{wrapper}
{repulsion}
def vendor():
    """Return the vendor's own calculator."""
    {body}


def calculator():
    """Return the calculator: energy in eV, forces in eV/Å, stress in eV/Å³."""
    references = json.loads(Path(__file__).with_name({references!r}).read_text(encoding="utf-8"))
    return {made}
'''
_REPULSION_IMPORTS = """from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
"""
_REPULSION = '''
REACH = {reach!r}
"""Å; closer pairs repel each other in addition. Nearer than in any training frame, and than any bond."""

{code}
'''
_README = """\
# {name}

Written by matgraft {version} for `{target}`: {opens}.

## What was checked

On {on}.
Largest differences from the model, and what {dtype}, in which the vendor's code sums, allows; for energies besides
{rounding} units in the last place of that sum.

{checks}
{notes}"""


@dataclass(frozen=True)
class ExportTarget:
    """One tool to export to.

    Attributes
    ----------
    opens
        What opens the export, for people.
    asks
        What the backbone has to say for it; raises an `OptionError`, before anything is written, if it has nothing.
    write
        Writes what comes beside the native file from that, and returns the checks made of it.
    """

    opens: str
    asks: Callable[[Potential], Any]
    write: Callable[[Potential, Path, Any, Structures], list[ExportCheck]]


def _native(backbone: Potential, folder: Path, structures: Structures) -> list[ExportCheck]:
    what = f"{backbone.native_file} by the vendor's calculator"
    try:
        return [made(what, verify_export(backbone, folder, structures), backbone)]
    except ExtraError as error:  # a vendor whose package matgraft does without
        again = with_calculator(backbone, load_potential_folder(folder).calculator(), str(folder), structures)
        opened = made(f"{backbone.native_file} opened again by matgraft", again, backbone)
        return [opened, ExportCheck(what, reason=error.found)]


def _ase(
    backbone: Potential,
    folder: Path,
    source: tuple[str, str, str],
    structures: Structures,
    reach: Mapping[str, float] | None = None,
) -> list[ExportCheck]:
    script = folder / "calculator.py"
    write_text(script, _script(backbone, source, reach))
    what = "calculator.py run by ASE"
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):  # the vendor's: a user would see them
            warnings.simplefilter("ignore")
            calculator = runpy.run_path(str(script))["calculator"]()
    except ModuleNotFoundError as error:
        return [ExportCheck(what, reason=f"the package {error.name!r} is not installed")]
    return [made(what, with_calculator(backbone, calculator, str(script), structures), backbone)]


def _script(backbone: Potential, source: tuple[str, str, str], reach: Mapping[str, float] | None = None) -> str:
    package, imports, body = source
    tuned = "TunedCalculator(vendor(), references, CUTOFF)"
    return _CALCULATOR.format(
        package=package,
        native=backbone.native_file,
        references=REFERENCES,
        imports=imports,
        cutoff=float(backbone.card.cutoff_A or 0),
        boxes=_code_of(boxes),
        wrapper=_code_of(standalone),
        repulsion="" if reach is None else _REPULSION.format(reach=dict(reach), code=_code_of(zbl)),
        repulsion_imports="" if reach is None else _REPULSION_IMPORTS,
        made=tuned if reach is None else f"Repelled({tuned}, REACH)",
        correction=f"\n{textwrap.fill(_correction(backbone), 118)}.\n" if backbone.card.corrects else "",
        use="SumCalculator([cheap, calculator()])" if backbone.card.corrects else "calculator()",
        body=body,
    )


def _code_of(module: ModuleType) -> str:
    """Return the text of a module behind its docstring and imports."""
    text = inspect.getsource(module)
    body = ast.parse(text).body
    first = next(node for node in body[1:] if not isinstance(node, ast.Import | ast.ImportFrom))
    return "\n".join(text.splitlines()[first.lineno - 1 :]) + "\n"


_SUMMED = ("native", "ase")
"""Targets whose result can be added to that of a cheap method."""

TARGETS = {
    "native": ExportTarget(
        "the vendor's own loader", lambda backbone: None, lambda backbone, folder, nothing, structures: []
    ),
    "ase": ExportTarget("any ASE script, with the vendor's package alone", lambda one: one.calculator_source(), _ase),
    "lammps": ExportTarget("LAMMPS with the vendor's pair style", lambda one: one.lammps_file(), lammps.write_lammps),
    "torch-sim": ExportTarget(
        "torch-sim, with the vendor's package", lambda one: one.torch_sim_source(), torch_sim.write_torch_sim
    ),
}
"""Name -> target."""


@works_in("out", new=True)
def export(run: Path, to: str, out: Path, *, repulsion: bool = False) -> Exported:
    """Write a run's model for another tool.

    Parameters
    ----------
    run
        A finished run, or a model folder.
    to
        One of `TARGETS`.
    out
        A new or empty folder.
    repulsion
        Add a short-range repulsion where the model has no data (`matgraft.potentials.exports.zbl`); of ``ase``.

    Returns
    -------
    Exported
        What was checked and by how much it differs; ``verified`` is False where something could not be checked here.

    Raises
    ------
    OptionError
        If there is nothing of that kind for this backbone; what there is stands in the error.
    RunError
        If what was written does not give the model's energies, forces and stresses; nothing of it is left.
    """
    target = choose(to, TARGETS, "export target")
    refuse_full_folder(out)
    backbone = load_potential_folder(run)
    refuse_target(backbone.card.backbone, to)
    if backbone.card.corrects and to not in _SUMMED:
        raise OptionError(
            f"{backbone.card.name} is a correction to {_cheap(backbone)}: an export for {to} would run on the "
            "correction alone",
            allowed=[f"--to {name}" for name in _SUMMED],
            remedy="take the calculator of ASE, which is added to the cheap method's",
        )
    asked, card = target.asks(backbone), backbone.card
    reach = _reach(run, backbone, to) if repulsion else None
    write = target.write if reach is None else partial(_ase, reach=reach)
    with new_folder(out):
        # Written anew: a vendor's file that lies in the folder may be a pickle, of which nobody knows who put it there.
        save_folder(backbone, out, lambda fresh: card.model_copy(update={"weights_sha256": fresh.weights_sha256}))
        frames = model_folder(run) / FILE
        if frames.is_file():
            write_text(out / FILE, frames.read_text(encoding="utf-8"))
        structures = Structures.of(backbone, out)
        checks = (*_native(backbone, out, structures), *write(backbone, out, asked, structures))
        cautions = (_correction(backbone), *backbone.cautions, note_on_references(backbone), _repulsion_note(reach))
        notes = tuple(note for note in cautions if note)
        exported = Exported(out, to, checks, structures.text, structures.elements, notes)
        write_text(out / "README.md", _readme(exported, backbone, target))
        return exported


def _reach(run: Path, backbone: Potential, to: str) -> dict[str, float]:
    """Return how far the repulsion of each pair reaches; errors as of `reach_of_pairs`."""
    if to != "ase":
        raise OptionError(
            f"--repulsion is not read with --to {to}",
            allowed=["--to ase"],
            remedy="in LAMMPS add the pair style zbl by pair_style hybrid/overlay",
        )
    if backbone.card.corrects:
        raise OptionError(
            "--repulsion is not read for a correction: the cheap method repels", allowed=["no --repulsion"]
        )
    return reach_of_pairs(model_folder(run), backbone.card.elements)


def _repulsion_note(reach: Mapping[str, float] | None) -> str:
    if reach is None:
        return ""
    shown = ", ".join(f"{pair} {distance:.2f}" for pair, distance in reach.items())
    return f"A ZBL repulsion is added between atoms closer than (Å): {shown}; the vendor's file alone does not have it"


def _cheap(backbone: Potential) -> str:
    return ", ".join(f"{key} ({quantity})" for quantity, key in backbone.card.corrects.items())


def _correction(backbone: Potential) -> str:
    """Return the sentence that a user of a correction has to know; empty for a model of whole energies."""
    if not backbone.card.corrects:
        return ""
    return (
        f"The model is a correction to {_cheap(backbone)}. Its energies, forces and stresses mean nothing alone: add "
        "them to those of the cheap method, with ASE by ase.calculators.mixing.SumCalculator([cheap, calculator()])"
    )


def _readme(exported: Exported, backbone: Potential, target: ExportTarget) -> str:
    notes = "".join(f"* {note}.\n" for note in exported.notes)
    return _README.format(
        name=backbone.card.name,
        version=__version__,
        target=exported.target,
        opens=target.opens,
        on=exported.on,
        dtype=backbone.file_dtype,
        rounding=ROUNDING,
        checks="\n".join(f"* {check.text}" for check in exported.checks),
        notes=f"\n## Notes\n\n{notes}" if notes else "",
    )


def refuse_target(backbone: str, to: str) -> None:
    """Raise for a target that a backbone does not have.

    Raises
    ------
    OptionError
        With the targets that it has, and the backbones that have this one.
    """
    row = choose(backbone, POTENTIALS, "backbone", INSTEAD)
    if to not in row.exports:
        have = [name for name, other in POTENTIALS.data.items() if to in other.exports]
        raise OptionError(
            f"{backbone} has no export to {to}",
            allowed=[f"--to {name}" for name in row.exports],
            remedy=f"{to} works for {', '.join(have)}",
        )
