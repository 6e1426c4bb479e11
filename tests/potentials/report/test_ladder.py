"""The ladder on the page, in markdown and on the screen: every rung, the one kept, the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from matgraft.core.quantities import ENERGY, FORCES, STRESS
from matgraft.core.report.document import Table
from matgraft.core.report.html import to_html
from matgraft.core.report.markdown import to_markdown
from matgraft.potentials.report.facts import RunFacts, read_facts
from matgraft.potentials.report.ladder import climb_section, rung_figure
from matgraft.potentials.report.run import run_document
from matgraft.potentials.run_files import CLIMB, VERDICT
from matgraft.potentials.tuning.ladder import Climb, RungResult


def rung(name: str, minutes: float, energy: float, forces: float, **more: Any) -> RungResult:
    errors = {"validation_loss": forces**2, "validation_energy_rmse_meV_per_atom": energy,
              "validation_forces_rmse_eV_per_A": forces}  # fmt: skip
    return RungResult(**{"name": name, "minutes": minutes, "errors": errors, "gain": 0.5, **more})


CLIMBED = Climb(
    max_minutes=30.0, target={"energy": 5.0}, worth=0.05, kept="full",
    stopped="replay, the last rung, was skipped: no <b>time</b>", loss_weights={"energy": 30.0, "forces": 1.0},
    rungs=(
        rung("untuned", 0.0, 5e6, 0.3, gain=None), rung("shift", 0.0, 90.0, 0.3), rung("feature", 4.0, 7.97, 0.166),
        rung("lora", 8.0, 9.0, 0.17, gain=-0.02), rung("full", 11.9, 5.82, 0.128, verdict="kept"),
        RungResult(name="replay", verdict="skipped", why="no <b>time</b>"),
    ),
)  # fmt: skip


def test_every_rung_climbed_is_a_point_at_its_minutes() -> None:
    drawn = rung_figure(CLIMBED, ENERGY)
    assert drawn is not None and rung_figure(CLIMBED, STRESS) is None
    points, ring, target = drawn.data
    assert list(points.text) == ["shift", "feature", "lora", "full"]  # the foundation is 55,000 times as far off
    assert (list(points.x), list(points.y)) == ([0.0, 4.0, 8.0, 11.9], [90.0, 7.97, 9.0, 5.82])
    assert (list(ring.x), list(ring.y)) == ([11.9], [5.82])
    assert set(target.y) == {5.0}
    drawn = rung_figure(CLIMBED, FORCES)
    assert drawn is not None
    points, ring = drawn.data  # no target
    assert list(points.text) == ["untuned", "feature", "lora", "full"]
    assert "(eV/Å)" in drawn.layout.yaxis.title.text


def test_an_energy_of_the_foundation_of_the_same_scale_is_drawn() -> None:
    near = CLIMBED.model_copy(update={"rungs": (rung("untuned", 0.0, 95.0, 0.3), *CLIMBED.rungs[1:])})
    drawn = rung_figure(near, ENERGY)
    assert drawn is not None and drawn.data[0].text[0] == "untuned"


def test_the_table_holds_every_rung() -> None:
    (table,) = [block for block in climb_section(CLIMBED).blocks if isinstance(block, Table)]
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    assert [(row[0], row[-1]) for row in rows] == [(rung.name, rung.verdict) for rung in CLIMBED.rungs]
    assert rows[3] == ["lora", "8.0", "9.00", "0.170", "0.0289", "−2 %", "climbed"]
    assert rows[5] == ["replay", "0.0", "–", "–", "–", "–", "skipped"]
    assert [column.unit for column in table.columns[1:4]] == ["minutes", "meV/atom", "eV/Å"]


@pytest.fixture
def said(run_folder: Path) -> RunFacts:
    CLIMB.write(run_folder, CLIMBED)
    VERDICT.write(run_folder, VERDICT.read(run_folder).model_copy(update={"chosen": "The ladder kept full."}))
    return read_facts(run_folder)


def test_page_and_markdown_say_it(said: RunFacts) -> None:
    document = run_document(said)
    page, text = to_html(document), to_markdown(document)
    assert page.count('id="plot-ladder-') == 2 and 'href="#ladder"' in page
    assert "no &lt;b&gt;time&lt;/b&gt;" in page and "no <b>time" not in page
    assert "The ladder kept full." in page and "The ladder kept full." in text
    assert "skipped (no \\<b>time\\</b>)" in text and "- Target: energy 5.00 meV/atom." in text
    assert "Strategy: full, kept full" in text


def test_a_run_without_a_ladder_lacks_nothing(facts: RunFacts) -> None:
    assert facts.ladder is None and facts.absent == ()
    assert 'id="ladder"' not in to_html(run_document(facts)) and "Ladder" not in to_markdown(run_document(facts))


@pytest.mark.parametrize("content", ["{}", '{"rungs": 3}', '{"rungs": [null]}', "torn"])
def test_a_file_that_cannot_be_read_is_named(run_folder: Path, content: str) -> None:
    (run_folder / CLIMB.name).write_text(content)
    assert "ladder.json could not be read" in to_html(run_document(read_facts(run_folder)))
