"""Predictors of runs on tables for other tools: written, opened again without matgraft, compared with the run.

>>> from matgraft.formulas.exports import export_table
>>> export_table(Path("runs/gaps"), "sklearn", Path("gaps-sklearn")).text
"""

from matgraft.formulas.exports.folder import export_table

__all__ = ["export_table"]
