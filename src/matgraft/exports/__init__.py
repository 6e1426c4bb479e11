"""Models for other tools: written, opened again by those tools' code, compared with the model.

>>> from matgraft.exports import export
>>> export(Path("runs/silicon"), "lammps", Path("model")).text
"""

from matgraft.exports.comparison import Check, Exported, verify
from matgraft.exports.targets import TARGETS, export, refuse

__all__ = ["TARGETS", "Check", "Exported", "export", "refuse", "verify"]
