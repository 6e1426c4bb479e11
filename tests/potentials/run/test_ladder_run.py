"""The ladder as a user meets it: the default, its options, a whole climb through the command line, its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ase.io import read, write
from typer.testing import CliRunner

from matgraft.cli import app
from matgraft.core.errors import OptionError
from matgraft.potentials.recipe import make_recipe
from matgraft.potentials.run import tune_frames

SIGE = Path(__file__).resolve().parents[3] / "examples" / "data" / "sige"


def few(folder: Path) -> Path:
    """Write six of the embedded frames, with their level of theory beside them."""
    write(folder / "few.extxyz", read(SIGE / "frames.extxyz", "::15"))
    (folder / "few.yaml").write_text((SIGE / "frames.yaml").read_text())
    return folder / "few.extxyz"


# ---------------------------------------------------------------- the default


@pytest.mark.parametrize(
    ("options", "name", "minutes"),
    [
        ([], "ladder", 30.0),
        (["fit.max_minutes=5"], "ladder", 5.0),
        (["fit.max_minutes=4.9"], "feature", 4.9),
        (["fit.max_minutes=2", "loss.kind=huber"], "full", 2.0),
        (["fit.max_minutes=2", "ladder.target.energy=5"], "ladder", 2.0),
        (["strategy.name=full"], "full", None),
        (["strategy.name=ladder"], "ladder", 30.0),
    ],
)
def test_the_strategy_follows_from_the_time(options: list[str], name: str, minutes: float | None) -> None:
    named, line = make_recipe(None, options, train="a").named()
    assert (named.strategy.name, named.fit.max_minutes) == (name, minutes)
    assert bool(line) == (not any(option.startswith("strategy.name") for option in options))
    assert named.named() == (named, "")


def test_the_screen_says_what_was_chosen() -> None:
    _, line = make_recipe(None, [], train="a").named()
    assert line == "no --strategy given: ladder, at most 30 minutes; --strategy full for one fit of everything"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["strategy.name=full", "ladder.worth=0.1"],
            r"ladder\.worth is not read: .* for the ladder",
        ),
        (["strategy.name=ladder", "strategy.unfreeze=0.3"], r"strategy\.unfreeze is not read with the rungs"),
        (["strategy.name=ladder", "ladder.target.force=0.1"], "'force'|force is none of"),
        (
            ["strategy.name=ladder", "ladder.target.stress=1", "loss.stress=0"],
            r"ladder\.target\.stress is not read",
        ),
        (["strategy.name=ladder", "strategy.stages=[readuot]"], "did you mean 'readout'"),
        (["strategy.name=laddr"], "did you mean 'ladder'"),
        (["ladder.rungs=[feature,ful]"], "each once"),
    ],
)
def test_options_that_would_do_nothing(tmp_path: Path, options: list[str], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        tune_frames(make_recipe(None, options, train=str(few(tmp_path))), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "audit.json").exists()


# -------------------------------------------------------------- the whole way


def test_a_climb_through_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "tune", few(tmp_path), "--max-minutes", "20", "--out", tmp_path / "run", "fit.epochs=1", "fit.processes=1",
        "split.validation=0.2", "ladder.target.energy=1e-6", "strategy.rank=2",
        "replay.size=4", "forgetting.size=12", "ladder.worth=0", "fit.optimizer=adam",  # its few steps gain
    ]  # fmt: skip
    monkeypatch.setenv("COLUMNS", "160")
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.startswith("no --strategy given: ladder, at most 20 minutes;")
    assert "The ladder kept" in done.stdout
    run = tmp_path / "run"
    assert yaml.safe_load((run / "recipe.yaml").read_text())["strategy"]["name"] == "ladder"
    ladder = json.loads((run / "ladder.json").read_text())
    assert [rung["name"] for rung in ladder["rungs"]] == ["untuned", "shift", "feature", "lora", "full", "replay"]
    losses = {rung["name"]: rung["errors"]["validation_loss"] for rung in ladder["rungs"]}
    kept = next(rung["name"] for rung in ladder["rungs"] if rung["verdict"] == "kept")
    assert ladder["kept"] == kept and losses[kept] <= 1.05 * min(losses.values())
    card = json.loads((run / "model" / "card.json").read_text())
    assert f"strategy {ladder['kept']}" in card["weights_from"]
    assert json.loads((run / "verdict.json").read_text())["chosen"].startswith(f"The ladder kept {ladder['kept']}")
    assert (run / "checkpoints" / "lora" / "model.pt").is_file()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert 'id="plot-ladder-forces"' in page and "The climb ended because" in page
