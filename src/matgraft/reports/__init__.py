"""Reports of a run: facts as data first, then one HTML page, a short markdown text, and JSON.

>>> from matgraft.reports.html import write_report
>>> write_report(Path("runs/silicon"))  # report.html, report.md, report.json
"""
