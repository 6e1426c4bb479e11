"""The report of a run on frames: a document of what its folder says, and three files.

write_report(Path("runs/silicon"))      # runs/silicon/report.html, beside it report.md and report.json (the facts)
"""

from __future__ import annotations

from pathlib import Path

from matgraft.core.files import write_text
from matgraft.core.locks import works_in
from matgraft.core.report.document import Bullets, Document, Pairs, Section, Text
from matgraft.core.report.html import to_html
from matgraft.core.report.markdown import to_markdown
from matgraft.potentials.report.clouds import parity_section
from matgraft.potentials.report.data import audit_section, coverage_section, split_section
from matgraft.potentials.report.facts import REPORT, RunFacts, read_facts
from matgraft.potentials.report.forgetting import forgetting_section
from matgraft.potentials.report.ladder import ladder_sections
from matgraft.potentials.report.origins import origins_section
from matgraft.potentials.report.physics import physics_sections
from matgraft.potentials.report.scores import how_it_was_made, run_verdict_section, types_section
from matgraft.potentials.report.training import references_section, training_section


def run_document(facts: RunFacts) -> Document:
    """Return the report, its sections in the order of a reader's questions."""
    return Document(
        facts.run,
        [
            run_verdict_section(facts),
            *ladder_sections(facts),
            parity_section(facts),
            types_section(facts),
            *physics_sections(facts.physics),
            forgetting_section(facts),
            training_section(facts),
            references_section(facts),
            audit_section(facts),
            Section("made", "How it was made", [Pairs(how_it_was_made(facts))], frozenset({"markdown"})),
            split_section(facts),
            coverage_section(facts),
            origins_section(facts),
            _files(facts),
        ],
        level=facts.verdict.level if facts.verdict else "no verdict",
        footer=f"Written by matgraft {facts.matgraft_version}. This page holds everything it shows and asks nothing of "
        "the network; the same facts as data are in report.json.",
    )


def _files(facts: RunFacts) -> Section:
    """Return what the folder lacks, and where the rest is, for the markdown."""
    unreadable = [f"{name}: {reason}" for name, reason in facts.unreadable.items()]
    lists = [Bullets(facts.absent, "Not recorded"), Bullets(unreadable, "Not readable")]
    rest = Text("All figures and plots: report.html; as data: report.json.")
    return Section("files", "Files", [*(one for one in lists if one.lines), rest], frozenset({"markdown"}))


@works_in("run")
def write_report(run: Path) -> Path:
    """Write report.html, report.md and report.json (the facts) into a run folder.

    Parameters
    ----------
    run
        The folder of a run; files that it lacks make sections that say so.

    Returns
    -------
    Path
        Of report.html.

    Raises
    ------
    RunError
        If the folder is not there, or holds no file of a run.
    """
    run = Path(run)
    facts = read_facts(run)
    document = run_document(facts)
    REPORT.write(run, facts)
    write_text(run / "report.md", to_markdown(document))
    write_text(run / "report.html", to_html(document))
    return run / "report.html"
