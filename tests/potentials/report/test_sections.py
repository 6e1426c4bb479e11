"""What the sections say of typed facts."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import yaml
from ase.build import bulk
from pydantic import BaseModel

from matgraft.core.provenance import SourceFile
from matgraft.core.quantities import FORCES
from matgraft.core.report.document import Block, Bullets, Cell, FindingList, Pairs, Section, SideBySide, Table, Verbatim
from matgraft.core.report.html import to_html
from matgraft.core.report.markdown import to_markdown
from matgraft.core.report.text import written
from matgraft.core.run_folder import RunFile
from matgraft.core.verdict import Use
from matgraft.potentials.audit.coverage import Coverage, coverage
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.neighbours import Overlap
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.splits.parts import Sharing
from matgraft.potentials.data.splits.split import split
from matgraft.potentials.recipe import AuditSettings, Recipe, StrategySettings, make_recipe
from matgraft.potentials.report.data import audit_section, coverage_section, split_section
from matgraft.potentials.report.facts import RunFacts, read_facts
from matgraft.potentials.report.forgetting import forgetting_section
from matgraft.potentials.report.origins import _files, origins_section, repeating
from matgraft.potentials.report.run import run_document
from matgraft.potentials.report.scores import (
    how_it_was_made,
    kinds_table,
    run_verdict_section,
    score_blocks,
    type_figure,
)
from matgraft.potentials.report.training import how_the_fit_went, training_section
from matgraft.potentials.run.frames import whole_split
from matgraft.potentials.run_files import COVERAGE, METRICS, SPLIT
from matgraft.potentials.scoring.comparison import Comparison
from matgraft.potentials.scoring.scores import ModelName

B = TypeVar("B", bound=Block)
Model = TypeVar("Model", bound=BaseModel)


def changed(facts: RunFacts, **facts_by_name: object) -> RunFacts:
    return facts.model_copy(update=facts_by_name)


def edited(folder: Path, file: RunFile[Model], **changes: object) -> RunFacts:
    file.write(folder, file.read(folder).model_copy(update=changes))
    return read_facts(folder)


def blocks(of: Section | Sequence[Block], kind: type[B]) -> list[B]:
    """All blocks of a kind, those inside columns too."""
    found = of.blocks if isinstance(of, Section) else of
    inner = [block for one in found if isinstance(one, SideBySide) for column in one.columns for block in column]
    return [block for block in (*found, *inner) if isinstance(block, kind)]


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [(0.13744, None, "0.137"), (95.51, None, "95.5"), (12345.6, None, "12,346"), (5.0, 2, "5.00"), (0, None, "0"),
     (None, None, "–"), (math.nan, None, "nan"), (-0.0812, None, "-0.0812")],
)  # fmt: skip
def test_figures_have_three_digits(value: float | None, places: int | None, text: str) -> None:
    assert written(value, places) == text


def test_frames_are_counted_without_decimals(facts: RunFacts) -> None:
    """The page said 54.0 frames."""
    assert facts.coverage is not None
    covered = facts.coverage.model_copy(update={"n_frames": 54, "shear_strain": 0.25})
    (pairs,) = blocks(coverage_section(changed(facts, coverage=covered)), Pairs)
    assert list(pairs.rows[:2]) == [("Frames", "54"), ("Largest shear strain", "0.250")]


def test_what_coverage_writes_reaches_the_page(run_folder: Path) -> None:
    """As a run writes it: every measure has a row, and none is shown as a bare dictionary."""
    sizes, forces = (0.97, 1.0, 1.06), np.array([[0.25, 0.0, 0.0], [-0.25, 0.0, 0.0]])
    frames = [Sample(bulk("Si", a=5.43 * size), {"forces": forces}, {"temperature": "300"}) for size in sizes]
    COVERAGE.write(run_folder, coverage(Dataset(tuple(frames))))
    said = read_facts(run_folder)
    ranges = {
        row.cells[0]: [cell.text for cell in row.cells[1:]] for row in blocks(coverage_section(said), Table)[1].rows
    }
    volumes = [f"{(5.43 * size) ** 3 / 8:.1f}" for size in sizes]
    assert ranges[Cell("Volume of Si", "Å³/atom")] == volumes
    assert ranges[Cell("Temperature, as tags say", "K")] == ["300"] * 3
    page = to_html(run_document(said))
    assert volumes[2] in page and "volume_A3" not in page


def test_every_measure_of_coverage_is_on_the_page(facts: RunFacts) -> None:
    """A field that is added to the coverage has to be shown."""
    assert facts.coverage is not None
    unlike = {
        "n_frames": 7654, "n_examined": 2345, "formulas": {"Zr9": 1}, "config_types": {"odd": 1},
        "families": {"queer": 1}, "left_out": {"flat": 4321},
        "shear_strain": 0.432, "closest_ratio": 0.567, "missing": (Use(use="everything", reason="nothing is there"),),
        "phases": {"Zr9": {"omega": 3}}, "phases_by": "tag 'crystal'",
    }  # fmt: skip
    spans = {name: span.model_copy(update={"median": 5432.1 + i}) for i, (name, span) in enumerate(facts.coverage)
             if name in ("n_atoms", "volume_ratio", "force_eV_per_A", "temperature_K")}  # fmt: skip
    volume = {"volume_A3": {"Zr9": facts.coverage.n_atoms.model_copy(update={"median": 77.5})}}
    covered = Coverage(**dict(facts.coverage) | unlike | spans | volume)
    assert set(unlike) | set(spans) | set(volume) == set(Coverage.model_fields)
    page = to_html(run_document(changed(facts, coverage=covered)))
    shown = [
        "7,654",
        "2,345 frames",
        "4321 with a flat or skewed cell",
        "Zr9 (1)",
        "odd (1)",
        "queer",
        "0.432",
        "0.567",
        "everything",
        "77.5",
        "omega (3)",
    ]
    for said in (*shown, "crystal", *(written(span.median, 0) for span in spans.values())):
        assert said in page, said


def test_scores_compare_with_the_stronger_baseline(facts: RunFacts) -> None:
    scores = facts.metrics
    assert scores is not None
    table = blocks(score_blocks(scores), Table)[0]
    assert [row[0] for row in texts(table)] == [
        "Foundation", "Foundation, references shifted", "Tuned", "Tuned, mean absolute error",
        "Tuned ÷ stronger baseline",
    ]  # fmt: skip
    assert [column.unit for column in table.columns[1:]] == ["meV/atom", "eV/Å", "GPa"]
    key = "energy_rmse_meV_per_atom"
    gain = scores.gain["shift"][key]
    assert gain.ratio == pytest.approx(scores.test[key] / scores.shift[key]) and gain.interval is not None
    low, high = gain.interval
    assert table.rows[-1].cells[1].text == f"{gain.ratio:.2f}"
    assert table.rows[-1].cells[1].small == f"{low:.2f} to {high:.2f} · better"


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        ((0.5, 0.9), "better"),
        ((0.9, 1.1), "no difference beyond chance"),
        ((1.2, 1.4), "worse"),
        ((0.8, 0.9995), "no difference beyond chance"),  # as the verdict says: rounding alone moves an error by so much
        (None, "too few trajectories to judge"),
    ],
)
def test_a_gain_within_its_interval_is_called_so(facts: RunFacts, interval: Any, outcome: str) -> None:
    assert facts.metrics is not None
    one = Comparison(0.7, interval, -0.1, None, beyond_chance=False)
    gain = {model: {"forces_rmse_eV_per_A": one} | dict(found) | {"forces_rmse_eV_per_A": one}
            for model, found in facts.metrics.gain.items()}  # fmt: skip
    table = blocks(score_blocks(facts.metrics.model_copy(update={"gain": gain})), Table)[0]
    assert table.rows[-1].cells[2].small.endswith(outcome)


def test_a_diverged_model_is_seen(run_folder: Path) -> None:
    test = METRICS.read(run_folder).test | {"forces_rmse_eV_per_A": math.nan}
    said = edited(run_folder, METRICS, test=test)
    assert said.metrics is not None
    table = blocks(score_blocks(said.metrics), Table)[0]
    assert table.rows[2].cells[2].text == "nan" and ">nan<" in to_html(run_document(said))


@pytest.mark.parametrize("model", ["test", "untuned"])
def test_bars_that_are_not_finite_are_left_out(facts: RunFacts, model: ModelName) -> None:
    """The report could not be written where the atoms with the largest forces had no finite error."""
    assert facts.metrics is not None
    tenths = facts.metrics.worst_force_decile
    broken = {**tenths, model: dict.fromkeys(tenths[model], math.nan)}
    drawn = type_figure(facts.metrics.model_copy(update={"worst_force_decile": broken}), FORCES)
    assert drawn is not None
    assert [bar.x[-1] is None for bar in drawn.data] == [model == one for one in ("untuned", "test")]


def test_a_model_without_any_error_has_a_column() -> None:
    table = kinds_table("Type", {"test": {"bulk": {"energy_rmse_meV_per_atom": 0.0, "n_frames": 3}}})
    assert [column.title for column in table.columns] == ["Type", "Frames", "Energy, tuned"]
    assert texts(table) == [["bulk", "3", "0"]]


def test_the_gravest_caution_is_set_apart(facts: RunFacts) -> None:
    section = run_verdict_section(facts)
    assert (section.tone, section.title) == ("caution", "Verdict: better on the test, with reservations")
    assert facts.verdict and facts.verdict.first
    first = next(block for block in section.blocks if getattr(block, "role", "") == "first")
    assert (first.mark, first.text) == ("Read first:", facts.verdict.first.text)  # type: ignore[union-attr]
    assert "near duplicate" in facts.verdict.first.text


def test_errors_come_before_warnings(facts: RunFacts) -> None:
    (found,) = blocks(audit_section(facts), FindingList)
    assert [one.code for one in found.findings] == ["stress-shear", "net-force"]
    assert "8: 3, 17, 18, 44, 45, 46, 47, 48" in to_html(run_document(facts))


def test_the_split_counts_frames_and_groups(facts: RunFacts) -> None:
    section = split_section(facts)
    (table,) = blocks(section, Table)
    assert [row[:3] for row in texts(table)] == [
        ["Train", "180", "70.9"], ["Validation", "34", "13.4"], ["Test", "40", "15.7"]
    ]  # fmt: skip
    assert texts(table)[1][3].startswith("16: ")
    leaks = blocks(section, Bullets)[0]
    assert list(leaks.lines) == [
        "2 of 40 test frames have a near duplicate in train (3 pairs closer than 0.05 Å per neighbour)"
    ]


def test_what_a_test_file_shares_is_said_once() -> None:
    """Its warnings stand in the split and in what is shared."""
    frames = [Sample(bulk("Si", a=5.4 + 0.01 * i), {"energy": np.array(0.0)}, {"md_id": str(i % 4)}) for i in range(24)]
    train, test = Dataset(tuple(frames[:20])), Dataset(tuple(frames[20:]))
    found = whole_split(split(train, fractions=(0.75, 0.25, 0.0)), train, test, by_head=False)
    assert found.sharing is not None and found.sharing.warnings
    lines = blocks(split_section(RunFacts(matgraft_version="", run="", folder="", split=found)), Bullets)[-1].lines
    assert [caution.text for caution in found.warnings] == list(lines) and len(set(lines)) == len(lines)


def test_a_test_file_of_its_own_is_said(run_folder: Path) -> None:
    overlap = Overlap(part="test", against="train", size=25, frames=(), pairs=0, unclear=(1, 2))
    shared = Sharing(reason="tags", trajectories=(), frames=(), duplicates=overlap, warnings=())
    said = edited(run_folder, SPLIT, test=(), leaks=(), sharing=shared)
    page = to_html(run_document(said))
    assert "a separate file: 25 frames" in page and "0 of 25 test frames have a near duplicate in train" in page
    assert "of 2 of 25 test frames it cannot be told" in page


@pytest.mark.parametrize(
    ("strategy", "words"),
    [({"name": "lora", "stages": ("readout", "embedding"), "rank": 4}, "lora, stages readout, embedding, rank 4"),
     ({"name": "full"}, "full")],
)  # fmt: skip
def test_the_strategy_is_shown_with_the_options_that_were_given(facts: RunFacts, strategy: Any, words: str) -> None:
    assert facts.recipe is not None
    said = changed(facts, recipe=facts.recipe.model_copy(update={"strategy": StrategySettings(**strategy)}))
    assert dict(how_it_was_made(said))["Strategy"] == words
    assert f"Strategy: {words}\n" in to_markdown(run_document(said))
    assert "Strategy" not in dict(how_it_was_made(changed(facts, recipe=None)))


def test_commands_survive_a_shell_and_name_the_folder(run_folder: Path) -> None:
    run = run_folder.rename(run_folder.with_name("my run; rm -rf $HOME"))
    words = [shlex.split(line) for line in repeating(read_facts(run))]
    assert words == [
        ["matgraft", "tune", f"{run}/recipe.yaml", "--out", f"{run}-again"],
        ["matgraft", "evaluate", str(run), "test.extxyz"],
        ["matgraft", "report", str(run)],
    ]


def test_frames_that_were_left_out_of_the_test_are_left_out_again(facts: RunFacts) -> None:
    """`matgraft evaluate` reads no numbers of the run's recipe."""
    assert facts.recipe is not None
    recipe = facts.recipe.model_copy(update={"audit": AuditSettings(drop_test=(3, 17))})
    _, evaluate, _ = repeating(changed(facts, recipe=recipe))
    *_, file, option = shlex.split(evaluate)
    assert file == "test.extxyz"
    assert make_recipe(None, [option], verb="evaluate", train="a.extxyz").audit == recipe.audit


@pytest.mark.parametrize(("folder", "again"), [(".", "../run-again"), ("../run", "../run-again")])
def test_a_run_in_the_present_folder_is_made_again_beside_it(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, folder: str, again: str
) -> None:
    """It said ``--out .-again``, a hidden folder inside the run."""
    monkeypatch.chdir(run_folder)
    assert shlex.split(repeating(read_facts(Path(folder)))[0])[-1] == again


def test_the_recipe_is_shown_as_it_can_be_run(facts: RunFacts) -> None:
    """29 of its values were null."""
    recipe = blocks(origins_section(facts), Verbatim)[-1].text
    assert "null" not in recipe and "epochs: 30" in recipe
    assert Recipe.model_validate(yaml.safe_load(recipe)) == facts.recipe


@pytest.mark.parametrize(("best", "said"), [(0, ", the starting weights: no step was better"), (405, "")])
def test_a_fit_that_gave_its_start_back_says_so(facts: RunFacts, best: int, said: str) -> None:
    """Step 0 is a row of the history."""
    assert facts.fit is not None
    fit = facts.fit.model_copy(update={"best_step": best})
    assert dict(how_the_fit_went(fit))["Best checkpoint"] == f"step {best}{said}"
    assert f"step {best}{said}" in to_html(run_document(changed(facts, fit=fit)))


def test_a_run_without_curves_still_says_how_the_fit_went(facts: RunFacts) -> None:
    found = training_section(changed(facts, history=None)).blocks
    assert [type(block).__name__ for block in found] == ["Text", "Pairs"]


def test_forgetting_says_where_and_how_much(facts: RunFacts) -> None:
    (table,) = blocks(forgetting_section(facts), Table)
    assert [column.unit for column in table.columns[3:]] == ["RMSE, meV/atom", "RMSE, eV/Å", "RMSE, GPa"]
    outside = next(row for row in table.rows if row.cells[0].text == "with other elements")
    assert [cell.text for cell in outside.cells[3:]] == ["81.0", "0.203", "2.70"]
    assert [cell.small for cell in outside.cells[3:]] == ["", *(f"{n} % of the foundation's own" for n in (11, 19))]
    dimers = next(row for row in table.rows if row.cells[1].text == "dimer")
    assert not dimers.short and dimers.cells[5].text == "–"
    assert "moved far" in to_html(run_document(facts)) and table.rows[-1].cells[1].text == "all"


def test_a_file_says_its_format_and_which_energy_was_read() -> None:
    keys, units = {"energy": "e_fr_energy", "stress": "stress"}, {"energy": "eV", "stress": "-kBar"}
    said = {"name": "OUTCAR", "sha256": "0", "n_samples": 2, "keys": keys, "units": units}
    file = SourceFile(format="VASP's OUTCAR", energies=("free",), **said)
    read = "VASP's OUTCAR: energy from 'e_fr_energy' in eV, the free energy; stress from 'stress' in -kBar"
    assert _files([file]).rows[0].cells[2].text == read
    assert _files([SourceFile(**said)]).rows[0].cells[2].text.startswith("energy from 'e_fr_energy' in eV; stress")
