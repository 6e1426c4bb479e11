"""The ladder on the page, in markdown and on the screen: every rung, the one kept, the target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from matgraft.potentials.report import ladder
from matgraft.potentials.report.facts import facts
from matgraft.potentials.report.html import to_html
from matgraft.potentials.report.markdown import to_markdown


def rung(name: str, minutes: float, energy: float, forces: float, **more: Any) -> dict[str, Any]:
    errors = {"validation_loss": forces**2, "validation_energy_rmse_meV_per_atom": energy,
              "validation_forces_rmse_eV_per_A": forces}  # fmt: skip
    return {"name": name, "verdict": "climbed", "why": "", "minutes": minutes, "errors": errors, "gain": 0.5, **more}


CLIMB = {
    "max_minutes": 30.0, "target": {"energy": 5.0}, "worth": 0.05, "begun": None, "kept": "full",
    "stopped": "replay, the last rung, was skipped: no <b>time</b>", "loss_weights": {"energy": 30.0, "forces": 1.0},
    "rungs": [
        rung("untuned", 0.0, 5e6, 0.3, gain=None), rung("shift", 0.0, 90.0, 0.3), rung("feature", 4.0, 7.97, 0.166),
        rung("lora", 8.0, 9.0, 0.17, gain=-0.02), rung("full", 11.9, 5.82, 0.128, verdict="kept"),
        {"name": "replay", "verdict": "skipped", "why": "no <b>time</b>", "minutes": 0.0, "errors": {}, "gain": None},
    ],
}  # fmt: skip


@pytest.fixture
def said(run_folder: Path) -> dict[str, Any]:
    (run_folder / "ladder.json").write_text(json.dumps(CLIMB))
    return facts(run_folder)


def test_every_rung_climbed_is_a_point_at_its_minutes(said: dict[str, Any]) -> None:
    drawn = ladder.figures(said)
    assert list(drawn) == ["ladder-energy", "ladder-forces"]
    points, ring, target = drawn["ladder-energy"].data
    assert list(points.text) == ["shift", "feature", "lora", "full"]  # untuned is 55,000 times as far off
    assert (list(points.x), list(points.y)) == ([0.0, 4.0, 8.0, 11.9], [90.0, 7.97, 9.0, 5.82])
    assert (list(ring.x), list(ring.y)) == ([11.9], [5.82])
    assert set(target.y) == {5.0}
    points, ring = drawn["ladder-forces"].data  # no target
    assert list(points.text) == ["untuned", "feature", "lora", "full"]
    assert "(eV/Å)" in drawn["ladder-forces"].layout.yaxis.title.text


def test_an_untuned_energy_of_the_same_scale_is_drawn(said: dict[str, Any]) -> None:
    said["ladder"]["rungs"][0]["errors"]["validation_energy_rmse_meV_per_atom"] = 95.0
    points = ladder.figures(said)["ladder-energy"].data[0]
    assert points.text[0] == "untuned"


def test_the_table_holds_every_rung(said: dict[str, Any]) -> None:
    climb = ladder.rows(said)
    assert climb is not None
    assert [(row["name"], row["verdict"]) for row in climb["rows"]] == [
        (r["name"], r["verdict"]) for r in CLIMB["rungs"]
    ]
    lora, replay = climb["rows"][3], climb["rows"][5]
    assert (lora["minutes"], lora["cells"], lora["gain"]) == ("8.0", ["9.00", "0.170"], "−2 %")
    assert (replay["cells"], replay["loss"], replay["gain"]) == (["–", "–"], "–", "–")
    assert climb["target"] == "energy 5.00 meV/atom"


def test_page_and_markdown_say_it(said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matgraft.core.report.page.get_plotlyjs", lambda: "")
    said["verdict"]["chosen"] = "The ladder kept full."
    page, text = to_html(said), to_markdown(said)
    assert page.count('id="plot-ladder-') == 2 and 'href="#ladder"' in page
    assert "no &lt;b&gt;time&lt;/b&gt;" in page and "no <b>time" not in page
    assert "The ladder kept full." in page and "The ladder kept full." in text
    assert "- replay skipped: no \\<b>time\\</b>" in text
    assert "Strategy: full, kept full" in text


def test_a_run_without_a_ladder_lacks_nothing(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matgraft.core.report.page.get_plotlyjs", lambda: "")
    said = facts(run_folder)
    assert said["ladder"] is None and said["absent"] == []
    assert 'id="ladder"' not in to_html(said) and "The ladder" not in to_markdown(said)


@pytest.mark.parametrize(
    "content", [{}, {"rungs": 3}, {"rungs": [None, {"errors": 2, "minutes": "x"}]}, {"kept": ["a"]}]
)
def test_an_odd_file_breaks_nothing(run_folder: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matgraft.core.report.page.get_plotlyjs", lambda: "")
    (run_folder / "ladder.json").write_text(json.dumps(content))
    said = facts(run_folder)
    assert to_html(said) and to_markdown(said)
