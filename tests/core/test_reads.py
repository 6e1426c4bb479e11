"""An option that a verb does not read is an error that names the option, the verb, and what reads it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pydantic import BaseModel

from matgraft.core.errors import OptionError
from matgraft.core.settings import typed_keys
from matgraft.formulas.predictor.settings import PredictorSettings, refuse_idle
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.recipe import READS, Recipe, make_recipe

READING = {"keys", "units", "shear", "elements", "theory", "want"}
AUDITED = READING | {"train", "test", "foundation", "audit.allow", "audit.drop", "audit.drop_test"}
CHEAP = {"delta.energy", "delta.forces", "delta.stress"}
AUDITED |= CHEAP | {
    "references.mode",
    "heads.by",
    "heads.foundation",
    "loss.energy",
    "loss.forces",
    "loss.stress",
    "loss.magmom",
}
EVALUATED = READING | {"references.mode", "references.shift_eV", "references.isolated_eV"}
EVALUATED |= {"audit.drop_test", "scores.by", "scores.phases"}
OF_A_RUN = READING | CHEAP | {"foundation", "audit.drop_test", "scores.by", "scores.phases"}
PREDICTED = READING - {"want"} | {"audit.drop_test"}
VALUES = {
    "keys": "{energy: my_energy}", "units": "{energy: meV}", "shear": "'xz,yz,xy'", "elements": "Cu,S",
    "theory": "a.yaml", "test": "b.xyz",
    "audit.allow": "[duplicates]", "audit.drop": "[3]", "audit.drop_test": "[3]", "split.gap": "2",
    "check": "quick",
    "split.hold": "config_type=Surface", "scores.by": "config_type", "scores.phases": "phase", "purpose": "md",
    "delta.energy": "xtb_energy", "delta.forces": "xtb_forces", "delta.stress": "xtb_stress",
    "split.element": "Si", "references.shift_eV": "{Si: 1.0}", "strategy.name": "full", "strategy.stages": "[readout]",
    "strategy.rank": "4", "strategy.alpha": "2", "strategy.decay": "0.5", "strategy.unfreeze": "0.5",
    "heads.by": "theory", "heads.foundation": "true", "replay.labels": "file",
    "loss.energy": "1", "loss.forces": "1", "loss.stress": "1", "loss.magmom": "1",
    "loss.groups": "{kind=hot: 2}",
    "ladder.target": "{energy: 5}", "replay.size": "64", "replay.weight": "2", "replay.file": "c.xyz",
    "fit.optimizer": "adam", "fit.rate": "1e-3", "fit.epochs": "3", "fit.max_minutes": "3", "fit.batch": "2",
    "fit.max_atoms": "9", "fit.max_edges": "9", "fit.warmup": "0.1", "fit.hold": "0.1", "fit.ema": "0.9",
    "fit.clip": "1", "fit.patience": "3", "fit.processes": "2", "forgetting.file": "d.xyz",
}  # fmt: skip
"""A value of each key that has none by default."""


def leaves(model: BaseModel, before: str = "") -> Iterator[tuple[str, str]]:
    for name in type(model).model_fields:
        value, key = getattr(model, name), f"{before}{name}"
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{key}.")
        else:
            shown = f"[{','.join(value)}]" if isinstance(value, tuple) else str(value)
            yield key, VALUES.get(key, shown)


KEYS = dict(leaves(Recipe(train="a.xyz")))


@pytest.mark.parametrize(
    ("verb", "read"),
    [
        *[("audit", AUDITED), ("pack", READING), ("evaluate", EVALUATED), ("evaluate RUN", OF_A_RUN)],
        ("predict", PREDICTED),
    ],
)
def test_every_key_of_a_recipe_with_every_verb_on_frames(verb: str, read: set[str]) -> None:
    for key, value in KEYS.items():
        found = ""
        try:
            make_recipe(None, [f"{key}={value}"], verb=verb, train="a.xyz")
        except OptionError as error:
            found = str(error)
        if key in read:
            assert not found, (key, found)
            continue
        assert key in found and f"`matgraft {verb}`" in found and "is not read" in found, (key, found)
        if (verb, key) not in {("audit", "strategy.name"), ("audit", "delta.units"), ("evaluate RUN", "delta.units")}:
            assert "`matgraft tune`" in found and "allowed: keys*, units*" in found, found


def test_tune_reads_every_key_that_does_not_hang_on_another_one() -> None:
    hangs = {"loss.huber_delta", "delta.units", "ladder.rungs", "ladder.target", "ladder.worth"}
    for key, value in KEYS.items():
        words = [f"{key}={value}"] + ([] if key.startswith(("strategy.name", "heads")) else ["strategy.name=full"])
        if key in hangs:
            with pytest.raises(OptionError, match=f"{key} is not read: `matgraft tune` reads it for"):
                make_recipe(None, words, verb="tune", train="a.xyz")
        else:
            make_recipe(None, words, verb="tune", train="a.xyz")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["split.test=0.1", "test=b.xyz"], "a split of the training file without --test"),
        (["split={test: 0.3}", "test=b.xyz"], "split.test is not read"),
        (["split.test=0.2", "split.by=element", "split.element=Si"], "splits that draw the test"),
        (["loss.huber_delta={energy: 0.1}"], "option: loss.kind=huber"),
        (["loss.huber_delta.energy=0.1", "loss.kind=mse"], "option: loss.kind=huber"),
        (["ladder.worth=0.05", "strategy.name=lora"], "option: strategy.name=ladder"),
    ],
)
def test_a_key_that_hangs_on_another_one(words: list[str], said: str) -> None:
    with pytest.raises(OptionError) as error:
        make_recipe(None, words, verb="tune", train="a.xyz")
    assert said in str(error.value)


def test_the_same_keys_are_read_where_their_reader_is() -> None:
    for words in (
        ["split.test=0.3"], ["split.gap=null", "test=b.xyz"], ["loss.huber_delta={energy: 0.1}", "loss.kind=huber"],
        ["ladder.worth=0.1"], ["ladder.worth=0.1", "strategy.name=ladder"],
    ):  # fmt: skip
        make_recipe(None, words, verb="tune", train="a.xyz")
    make_recipe(None, ["strategy.name=multihead"], verb="audit", train="a.xyz")
    make_recipe(None, ["strategy.name=full", "heads.by=theory"], verb="audit", train="a.xyz")


def test_a_file_may_hold_what_other_verbs_read_and_a_saved_recipe_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(make_recipe(None, ["fit.rate=1e-2", "loss.energy=3"], train="a.xyz", test="b.xyz").to_yaml())
    for verb in READS:
        recipe = make_recipe(file, [], verb=verb)
        recipe.refuse_unread("tune", recipe.changed())
    idle = make_recipe(None, ["split.test=0.3"], train="a.xyz", test="b.xyz")
    with pytest.raises(OptionError, match=r"split\.test is not read"):
        idle.refuse_unread("tune", idle.changed())


@pytest.mark.parametrize("where", ["no fork", "a GPU"])
def test_processes_are_read_only_where_a_fit_forks(
    where: str, monkeypatch: pytest.MonkeyPatch, folder: Path, matgraft: Any
) -> None:
    file = folder / "r.yaml"
    file.write_text("fit: {processes: 3}\n")
    make_recipe(None, ["fit.processes=2"], verb="tune", train="a.xyz")
    if where == "a GPU":
        monkeypatch.setattr("matgraft.core.processes.training_device", lambda: torch.device("cuda"))
    else:
        monkeypatch.setattr("matgraft.core.processes.can_fork", lambda: False)
    recipe = make_recipe(file, [], verb="tune", train="a.xyz")
    for refused in (
        lambda: make_recipe(None, ["fit.processes=2"], verb="tune", train="a.xyz"),
        lambda: recipe.refuse_unread("tune", recipe.changed()),  # as a run begins
    ):
        with pytest.raises(OptionError, match=r"fit\.processes is not read: .* for fits on a CPU"):
            refused()
    for words in (["pretrain", "c.txt"], ["episodes", "t.csv"], ["prompts", "t.csv"]):
        for option in ("fit.processes=2", "fit={processes: 2}", "r.yaml"):
            code, _, err = matgraft(*words, option)
            assert code == 2 and "fit.processes is not read" in err, (words, option, err)


def test_an_audit_names_what_it_does_not_read_of_a_file(
    tmp_path: Path, matgraft: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["fit.rate=1e-2", "loss.kind=huber", "audit.allow=[duplicates]", "seed=0"]
    recipe = make_recipe(None, asked, train="a.xyz")
    assert recipe.unread("audit") == ["loss.kind", "fit.rate"]
    assert recipe.unread("tune") == []
    (tmp_path / "r.yaml").write_text(recipe.to_yaml())
    monkeypatch.setattr("matgraft.potentials.run.audit_file", lambda recipe, quiet, tell: (Dataset(()), []))
    note = "of the recipe `matgraft audit` does not read loss.kind, fit.rate"
    assert note in matgraft("audit", tmp_path / "r.yaml")[1]
    assert note in json.loads(matgraft("audit", tmp_path / "r.yaml", "--json")[1])["notes"]
    (tmp_path / "all.yaml").write_text(make_recipe(None, ["audit.allow=[duplicates]"], train="a.xyz").to_yaml())
    assert "does not read" not in matgraft("audit", tmp_path / "all.yaml")[1]


def test_names_that_items_give_a_value() -> None:
    words = ["fit={rate: 1, batch: 2}", "audit.drop={a.xyz: [3]}", "split.gap=null", "keys={energy: e}", "seed=0"]
    assert typed_keys(Recipe, words) == ["fit.rate", "fit.batch", "audit.drop", "keys", "seed"]


STRATEGIES = ("auto", "full", "partial", "feature", "prompt", "descriptors", "domain")
READERS = {"network.stages": {"partial"}, "network": {"auto", "full", "partial", "domain"}, "prompt": {"prompt"},
           "domain": {"domain"}}  # fmt: skip


def test_every_key_of_a_predictor_with_every_strategy() -> None:
    for (key, _), strategy in itertools.product(leaves(PredictorSettings()), STRATEGIES):
        able = READERS.get(key) or READERS.get(key.partition(".")[0]) or set(STRATEGIES)
        for rows, n_classes in ((600, 0), (600, 3), (80, 0)):
            idle = strategy not in able
            idle |= key.startswith("network") and strategy == "auto" and rows < 500
            idle |= (key in ("level", "scale", "network.loss") and n_classes > 0) or (
                key == "ordinal" and n_classes == 0
            )
            asked: dict[str, Any] = {"given": [key], "rows": [rows], "n_classes": [n_classes]}
            case = (key, strategy, rows, n_classes)
            try:
                refuse_idle(PredictorSettings(strategy=strategy), strategy == "domain", **asked)
            except OptionError as error:
                assert idle and f"{key} is not read" in str(error), case
            else:
                assert not idle, case


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with numbers and classes, frames that are never read, and a run of frames."""
    rows = [(f"{metal}{n}O", n / 10, "low" if n < 3 else "high") for metal in ("Li", "Na", "K") for n in range(1, 6)]
    pd.DataFrame(rows, columns=["formula", "gap", "kind"]).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text(Recipe(train="a.xyz").to_yaml())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["audit", "a.xyz", "fit.rate=1e-3"], "fit.rate"),
        (["audit", "a.xyz", "split={by: random}"], "split.by"),
        (["evaluate", "run", "a.xyz", "audit.drop=[0,1]"], "audit.drop"),
        (["evaluate", "run", "a.xyz", "split.validation=0.5"], "split.validation"),
        (["evaluate", "run", "a.xyz", "seed=0"], "seed"),
        (["pack", "a.xyz", "fit.rate=1", "-o", "x.h5"], "fit.rate"),
        (["tune", "a.xyz", "--test", "b.xyz", "split.test=0.3"], "split.test"),
        (["tune", "a.xyz", "loss.huber_delta.energy=0.5"], "loss.huber_delta.energy"),
        (["tune", "a.xyz", "--group", "paper"], "--group"),
        (["tune", "t.csv", "--target", "gap", "--max-minutes", "3"], "--max-minutes"),
        (["tune", "t.csv", "--target", "kind", "ordinal=true"], "ordinal"),
        (["tune", "t.csv", "--target", "kind", "--order", "low,high", "ordinal=true"], "ordinal"),
        (["tune", "t.csv", "--target", "kind", "level=0.8"], "level"),
        (["tune", "t.csv", "--target", "gap", "network.epochs=20"], "network.epochs"),
        (["tune", "t.csv", "--target", "gap", "--strategy", "full", "prompt={rate: 0.01}"], "prompt.rate"),
        (["crossval", "t.csv", "--target", "kind", "ordinal=true"], "ordinal"),
        (["crossval", "t.csv", "--target", "kind", "scale=log", "--folds", "2"], "scale"),
        (["crossval", "t.csv", "--target", "gap", "network.epochs=20", "--folds", "2"], "network.epochs"),
        (["crossval", "t.csv", "--target", "gap", "--fold-column", "kind", "--folds", "3"], "--folds"),
        (["compare", "t.csv", "--target", "gap", "--fold-column", "kind", "--folds", "3"], "--folds"),
        (["predict", "run", "Fe2O3", "NaCl", "--formula", "nonsense"], "--formula"),
        (["embed", "t.csv", "-o", "v.parquet", "--count", "3"], "--count"),
        (["fewshot", "t.csv", "t.csv", "--target", "gap", "--metric", "none"], "--metric"),
        (["crossval", "t.csv", "--target", "gap", "domain.method=coral"], "domain.method"),
        (["pretrain", "c.txt", "exclude=in_test"], "exclude"),
        (["pretrain", "exclude=in_test", "weights.properties=0"], "exclude"),
        (["pretrain", "c.txt", "views=0.5", "weights={masked: 0, contrast: 0}"], "views"),
    ],
)
def test_the_command_names_the_option_and_itself(folder: Path, matgraft: Any, words: list[str], key: str) -> None:
    code, _, err = matgraft(*words)
    assert code == 2, err
    assert f"{key} is not read" in err
    assert f"`matgraft {'evaluate RUN' if words[0] == 'evaluate' else words[0]}`" in err
    assert sorted(path.name for path in folder.iterdir()) == ["run", "t.csv"]


@pytest.mark.parametrize(
    "words",
    [
        ["crossval", "t.csv", "--target", "gap", "--strategy", "domain"],
        ["crossval", "t.csv", "--target", "gap", "strategy=domain"],
        ["crossval", "t.csv", "--target", "gap", "--strategy", "multihead"],
        ["crossval", "t.csv", "--target", "gap", "--strategy", "nope"],
        ["crossval", "t.csv", "--target", "gap", "network.stages=[readout]", "--strategy", "feature"],
    ],
)
def test_an_error_of_crossval_names_nothing_that_only_tune_has(folder: Path, matgraft: Any, words: list[str]) -> None:
    """What follows the names of other commands is theirs; the fixture holds every other option against the verb's."""
    code, _, err = matgraft(*words)
    assert code == 2
    allowed = next(line for line in err.splitlines() if line.startswith("allowed"))
    assert "domain" not in allowed
    assert "--adapt-to" not in err or "`matgraft tune --strategy domain`" in err


def test_crossval_of_python_refuses_the_strategy_domain() -> None:
    with pytest.raises(OptionError, match=r"`matgraft tune` takes one, by --adapt-to"):
        refuse_idle(PredictorSettings(strategy="domain"), verb="crossval")


@pytest.mark.parametrize(
    ("words", "seed", "strategy"),
    [
        ([], 0, "auto"),
        (["seed=5"], 5, "auto"),
        (["--seed", "5"], 5, "auto"),
        (["--seed", "4", "seed=5", "--strategy", "feature"], 5, "feature"),
        (["--strategy", "feature", "strategy=descriptors"], 0, "descriptors"),
    ],
)
def test_crossval_takes_its_seed_from_both_places(
    folder: Path, matgraft: Any, monkeypatch: pytest.MonkeyPatch, words: list[str], seed: int, strategy: str
) -> None:
    taken: list[PredictorSettings] = []

    def stop(*_: Any, settings: PredictorSettings, **__: Any) -> None:
        taken.append(settings)
        raise OptionError("far enough")

    monkeypatch.setattr("matgraft.formulas.crossval.crossval", stop)
    code, _, err = matgraft("crossval", folder / "t.csv", "--target", "gap", *words)
    assert (code, "far enough" in err) == (2, True)
    assert [(one.seed, one.strategy) for one in taken] == [(seed, strategy)]
