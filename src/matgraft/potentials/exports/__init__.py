"""Models for other tools: written, opened again by those tools' code, compared with the model.

>>> from matgraft.potentials.exports import export
>>> export(Path("runs/silicon"), "lammps", Path("model")).text
"""

from matgraft.potentials.exports.comparison import ExportCheck, Exported, verify
from matgraft.potentials.exports.targets import TARGETS, export, refuse

__all__ = ["TARGETS", "ExportCheck", "Exported", "export", "refuse", "verify"]
