"""A document of every block, in its three forms."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re

import pytest
from rich.console import Console

from matgraft.core.findings import Action, Finding
from matgraft.core.report.document import (
    EVERYWHERE,
    Bullets,
    Cell,
    Column,
    Document,
    Drawing,
    FindingList,
    Folded,
    Heading,
    Key,
    Pairs,
    Plot,
    Plots,
    Row,
    Section,
    Shares,
    SideBySide,
    Table,
    Text,
    Verbatim,
    _caution,
    nothing,
    verdict_section,
)
from matgraft.core.report.figures import empty_figure
from matgraft.core.report.html import to_html
from matgraft.core.report.markdown import to_markdown
from matgraft.core.report.screen import show_document
from matgraft.core.report.text import written
from matgraft.core.verdict import Caution, Damage, Outcome, Reason, Use, Verdict

ODD = "<b>x</b> & [i]`|\x1b[31m"
VERDICT = Verdict(
    outcome=Outcome.RESERVED,
    headline="Energy 7.6 instead of 40.1 meV/atom.",
    reasons=(Reason(about="energy", speaks="for", text="energy is lower"),),
    cautions=(
        Caution(code="note", damage=Damage.NOTE, text="a remark"),
        Caution(code="forgetting", damage=Damage.HARM, text="it forgot", remedy="use lora"),
    ),
    not_fit_for=(Use(use="melts", reason="no such frame"),),
)
FINDING = Finding(
    code="net-force", title="Net force", outcome="failed", severity="warning", frames=(3, 17), evidence="8 frames.",
    numbers={"largest_eV_per_A": 0.081}, remedy="Leave them out.", actions=(Action(drop=(3, 17)),),
)  # fmt: skip


def plots(*names: str) -> Plots:
    plot = empty_figure()
    plot.add_scatter(x=[1, 2], y=[3, 4], name=ODD)
    drawn = [Plot(f"Caption {name}", [Drawing(name, plot, "what it shows", "curve")], "small") for name in names]
    return Plots(drawn, [Key("tuned", "#2f78c4"), Key("kept", "ring")], beside=[Pairs([("Time", "3 min")], "stack")])


def document() -> Document:
    rows = [Row(ODD, Cell("1.0", "0.9 to 1.1"), manner="strong"), Row("kind", "2.0", short=False)]
    table = Table([Column("Model", number=False), Column("Energy", "meV/atom")], rows, "scores")
    return Document(
        ODD,
        [
            verdict_section(VERDICT, [table]),
            Section("short", "In every form", [
                Text("how to read it", "lead"), Text("moved far", mark="careful", tone="caution"), Heading("Part", "s"),
                Bullets([ODD], "List"), Pairs([("Seed", "7"), ("sha256", Cell("abab", code=True))]),
                SideBySide([[Text("left")], [Folded("folded", [plots("folded")])]]), Verbatim("matgraft tune x"),
                FindingList([FINDING]), Shares([60.0, 40.0]), nothing("fit.json"),
            ], EVERYWHERE),
            Section("page", "On the page alone", [
                plots("plain"), nothing("fit.json", "torn"), FindingList([FINDING], full=False),
            ]),
        ],
        level=VERDICT.level,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    return to_html(document())


def screen(content: Document, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    show_document(console, content)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_page_admits_its_own_scripts_and_no_address(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and "default-src 'none'" in policy[1]
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (packed,) = re.findall(r'<script type="text/plain" id="plotly">(.*?)</script>', page, re.DOTALL)
    scripts.append(gzip.decompress(base64.b64decode(packed)).decode())
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(hashes) == 2 and all(f"'sha256-{one}'" in policy[1] for one in hashes)


def test_no_text_acts_as_markup_on_the_page(page: str) -> None:
    assert "<b>x" not in page.replace("<b>Read first", "") and "\x1b" not in page
    assert "&lt;b&gt;x&lt;/b&gt; &amp; [i]`|\ufffd[31m" in page


def test_every_drawing_has_its_place_and_its_data(page: str) -> None:
    data = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert data and set(json.loads(data[1])) == {"folded", "plain"}
    assert 'id="plot-folded" class="curve" role="img" aria-label="what it shows"' in page


def test_the_page_shows_every_block(page: str) -> None:
    for part in (
        '<section id="verdict" class="verdict caution">', "Verdict: better on the test, with reservations",
        "it forgot. What to do: use lora.",
        '<p class="lead">how to read it</p>', "<summary>folded</summary>", "<dd><code>abab</code></dd>",
        "<pre><code>matgraft tune x</code></pre>", "audit.drop=[3,17]", "2: 3, 17",
        "0.081 <small>largest eV per A</small>",
        '<p class="nothing">Not recorded: this run has no fit.json.</p>', "fit.json could not be read: torn",
        '<td class="figure">1.0<small>0.9 to 1.1</small></td>', 'style="width:60.0%"', '<a href="#page">',
    ):  # fmt: skip
        assert part in page, part


def test_the_gravest_caution_is_read_first() -> None:
    for said in (to_html(document()), to_markdown(document()), screen(document())):
        plain = re.sub(r"<[^>]*>|\*\*", "", said)
        assert "Read first: it forgot" in plain
        assert plain.index("Read first: it forgot") < plain.index("a remark")


def test_markdown_lines_up_and_holds_the_short_sections() -> None:
    said = to_markdown(document())
    table = [line for line in said.splitlines() if line.startswith("|")]
    assert len(table) == 3 and len({len(line) for line in table}) == 1
    assert "1.0 (0.9 to 1.1)" in table[2] and "Energy, meV/atom" in table[0]
    assert r"\<b>x\</b> & \[i\]\`\|" in table[2] and "\x1b" not in said
    assert "On the page alone" not in said and "how to read it" not in said and "kind" not in said
    assert "- warning net-force: 8 frames. Leave them out. `option: 'audit.drop=[3,17]'`" in said


def test_the_screen_holds_the_short_sections_and_no_sequence() -> None:
    said = screen(document())
    assert "\x1b[31m" not in said and "<b>x</b> & [i]`|\ufffd[31m" in said
    assert "On the page alone" not in said and "how to read it" not in said
    for part in ("Verdict: better on the test, with reservations", "Energy 7.6", "Why it may mislead", "! a remark",
                 "Not fit for", "× melts (no such frame)", "0.9 to 1.1", "option: 'audit.drop=[3,17]'"):  # fmt: skip
        assert part in said, part


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1e-9, "0"), (-4e-7, "0"), (6e-7, "0.000001"), (0.0123, "0.0123")]
)
def test_what_is_nothing_is_written_as_zero(value: float, text: str) -> None:
    assert written(value) == text


@pytest.mark.parametrize(
    ("text", "end"), [("one row", "one row."), ("one row.", "one row."), ("one row; …", "one row; …")]
)
def test_a_caution_ends_once_before_its_remedy(text: str, end: str) -> None:
    assert (
        _caution(Caution(code="few", text=text, damage=Damage.DOUBT, remedy="look at it"))
        == f"{end} What to do: look at it."
    )
