"""The page stands alone, says what is absent, and lets no stranger's text act."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs_version

from matgraft.core.report.html import PLOTLY, to_html
from matgraft.potentials.report.facts import MODEL_CARD, REPORT, RunFacts, read_facts
from matgraft.potentials.report.run import run_document, write_report
from matgraft.potentials.run_files import (
    AUDIT,
    CHECKS,
    COVERAGE,
    FIT,
    HISTORY,
    METRICS,
    PREDICTIONS,
    PROVENANCE,
    RECIPE,
    REFERENCES,
    SPLIT,
    VERDICT,
)  # fmt: skip

SECTIONS = [
    "verdict",
    "parity",
    "types",
    "forgetting",
    "training",
    "references",
    "audit",
    "split",
    "coverage",
    "provenance",
]
FILES = [file.name for file in
         (PROVENANCE, AUDIT, COVERAGE, SPLIT, REFERENCES, FIT, METRICS, CHECKS, VERDICT, MODEL_CARD)]  # fmt: skip
ATTACK = (
    "</script></style></title><script>alert(1)</script><img src=x onerror=alert(2)>\"'><a href=javascript:alert(3)>"
)


class Page(HTMLParser):
    """What a browser would make of a page: tags with attributes, texts, scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif not self._inside:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(run: Path) -> str:
    return to_html(run_document(read_facts(run)))


@pytest.fixture(scope="module")
def page(facts: RunFacts) -> Page:
    return Page(to_html(run_document(facts)))


def test_three_files_are_written_and_nothing_else(run_folder: Path) -> None:
    before = set(run_folder.iterdir())
    path = write_report(run_folder)
    assert path == run_folder / "report.html"
    assert {file.name for file in set(run_folder.iterdir()) - before} == {"report.html", "report.json", "report.md"}


def test_the_page_is_made_from_its_json_alone(run_folder: Path) -> None:
    page = write_report(run_folder).read_text(encoding="utf-8")
    assert to_html(run_document(REPORT.read(run_folder))) == page


def test_nothing_is_fetched(page: Page) -> None:
    addresses = [attrs[key] for _, attrs in page.tags for key in ("src", "href", "action", "data") if key in attrs]
    assert addresses and all(address and address.startswith("#") for address in addresses)
    assert not page.all("link") and not page.all("iframe")
    style = (Path(__file__).parents[3] / "src/matgraft/core/report/report.css").read_text(encoding="utf-8")
    assert "url(" not in style and "@import" not in style


def test_plotly_is_inside_once_packed_and_the_policy_admits_two_scripts(facts: RunFacts) -> None:
    text = to_html(run_document(facts))
    page = Page(text)
    data, packed, script = page.scripts
    library = gzip.decompress(base64.b64decode(packed)).decode()
    assert library.startswith("/**\n* plotly.js (cartesian - minified) v") and "\r" not in library
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    hashes = {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in (library, script)}
    assert policy is not None
    assert set(re.findall(r"sha256-([^']+)", policy)) == hashes and len(hashes) == 2
    assert policy.startswith("default-src 'none'") and "http" not in policy
    assert json.loads(data)
    assert len(text) < 1_500_000


def test_the_library_draws_what_the_figures_hold(facts: RunFacts) -> None:
    page = Page(to_html(run_document(facts)))
    kinds = {trace["type"] for figure in json.loads(page.scripts[0]).values() for trace in figure["data"]}
    assert kinds and kinds <= {"bar", "heatmap", "scatter"}  # each of them is in the library of traces with axes
    assert PLOTLY.name.split("-")[1].split(".")[0] == get_plotlyjs_version().split(".")[0]


def test_no_figure_lacks_its_place_and_no_place_its_figure(page: Page) -> None:
    places = {attrs["id"] for attrs in page.all("div") if str(attrs.get("id", "")).startswith("plot-")}
    assert places == {f"plot-{name}" for name in json.loads(page.scripts[0])}


def test_sections_come_in_order_and_links_lead_to_them(page: Page) -> None:
    assert [attrs["id"] for attrs in page.all("section") if "id" in attrs] == SECTIONS
    assert [attrs["href"] for attrs in page.all("a")] == [f"#{name}" for name in SECTIONS]


def test_the_verdict_is_said_in_words(page: Page) -> None:
    assert "Verdict: better on the test, with reservations" in page.text
    for words in ("Speaks for it", "Why it may mislead", "Not fit for", "Read first:"):
        assert words in page.text


@pytest.mark.parametrize("name", [*FILES, RECIPE, HISTORY, PREDICTIONS])
def test_an_absent_file_makes_its_section_say_so(run_folder: Path, name: str) -> None:
    (run_folder / name).unlink()
    text = Page(page_of(run_folder)).text
    said = "No verdict was recorded" if name == "verdict.json" else f"Not recorded: this run has no {name}"
    assert said in text


def test_a_run_of_one_file_still_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("train: a.extxyz\n")
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert [attrs["id"] for attrs in page.all("section") if "id" in attrs] == SECTIONS
    assert json.loads(page.scripts[0]) == {}


def test_a_complete_run_lacks_nothing(page: Page) -> None:
    assert "ot recorded" not in page.text.replace("None recorded", "")


def test_an_unreadable_file_is_named_with_its_reason(run_folder: Path) -> None:
    (run_folder / "split.json").write_text('{"by": ')
    assert re.search(
        r"split\.json could not be read: it is damaged or of another version of matgraft \(Invalid JSON",
        Page(page_of(run_folder)).text,
    )


def test_thinning_is_stated(make_run: Callable[..., Path]) -> None:
    run = make_run(n_frames=90)
    said = read_facts(run)
    assert said.parity is not None
    drawn = said.parity.quantities["forces"]
    assert drawn.n_drawn == 9_000 < drawn.n_points
    assert f"{drawn.n_points:,} values, 9,000 drawn" in Page(to_html(run_document(said))).text


def test_strangers_text_is_only_text(make_run: Callable[..., Path]) -> None:
    run = make_run(types={ATTACK: 1.0, "calm": 0.5})
    for path in run.rglob("*.json"):
        attacked = (
            path.read_text()
            .replace("train.extxyz", json.dumps(ATTACK)[1:-1])
            .replace("Si 05Jan", json.dumps(ATTACK)[1:-1])
        )
        path.write_text(attacked)
    (run / "recipe.yaml").write_text("train: " + json.dumps(ATTACK))
    run = run.rename(run.with_name("<script>alert(4)<&script>"))
    assert read_facts(run).unreadable == {}
    page = Page(page_of(run))
    assert len(page.scripts) == 3
    assert not page.all("img") and len(page.all("a")) == len(SECTIONS) and len(page.all("title")) == 1
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert page.text.count("<script>alert(1)</script>") >= 3  # the table of types, the file's name, the recipe
    assert "<" not in page.scripts[0]


def test_failed_findings_are_open_and_passed_ones_folded(facts: RunFacts) -> None:
    text = to_html(run_document(facts))
    audit = text[text.index('<section id="audit"') : text.index('<section id="split"')]
    failed, folded = audit.split("<details>", 1)
    assert "stress-shear" in failed and "shear=xz,yz,xy" in failed
    assert "energy-unit" in folded and "energy-unit" not in failed
    assert "2 failed, 2 passed, 1 not applicable" in failed
