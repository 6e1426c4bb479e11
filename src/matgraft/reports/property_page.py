"""The report of a run on a table of formulas: one HTML page that stands alone."""

from __future__ import annotations

from pathlib import Path


def write_property_report(run: Path) -> Path:
    """Write report.html into the folder of a run on a table."""
    return run / "report.html"
