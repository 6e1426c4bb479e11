"""Models for other tools: written, opened again by those tools' code, compared with the model.

>>> from matgraft.potentials.exports import export
>>> export(Path("runs/silicon"), "lammps", Path("model")).text
"""

from matgraft.potentials.exports.comparison import ExportCheck, Exported, verify_export
from matgraft.potentials.exports.targets import TARGETS, export, refuse_target

__all__ = ["TARGETS", "ExportCheck", "Exported", "export", "refuse_target", "verify_export"]
