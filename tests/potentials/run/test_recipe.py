"""Recipes: files, then key=value; what is unknown is an error that names the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from matgraft.core.errors import DataError, MatgraftError, OptionError
from matgraft.core.settings import validated
from matgraft.potentials.recipe import Recipe, make_recipe


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text("train: a.xyz\nfit: {rate: 0.01, batch: 2, epochs: 7}\nloss: {groups: {kind=Surface: 3.0}}\n")
    return path


def test_the_later_wins_at_every_level(file: Path) -> None:
    options = ["fit.rate=1e-4", "loss.energy=10"]
    recipe = make_recipe(file, options, train="b.xyz", fit__batch=8, fit__rate=0.5, test=None)
    assert (recipe.train, recipe.test) == ("b.xyz", None)
    assert (recipe.fit.rate, recipe.fit.batch, recipe.fit.epochs) == (1e-4, 8, 7)
    assert (recipe.loss.energy, recipe.loss.groups) == (10.0, {"kind=Surface": 3.0})


def test_the_last_of_two_options_wins() -> None:
    assert make_recipe(None, ["fit.rate=1", "fit.rate=2"], train="a").fit.rate == 2.0


def test_values_are_yaml_with_exponents() -> None:
    options = ["fit.rate=1e-3", "strategy.stages=[interaction-*, readout]", "split.gap=null", "audit.drop=[1, 2]"]
    recipe = make_recipe(None, [*options, "units.energy=eV/atom", "references.shift_eV={Si: 1.5}"], train="a")
    assert recipe.fit.rate == 1e-3
    assert recipe.strategy.stages == ("interaction-*", "readout")
    assert recipe.split.gap is None
    assert recipe.audit.drop == (1, 2)
    assert recipe.units == {"energy": "eV/atom"}
    assert recipe.references.shift_eV == {"Si": 1.5}


def test_a_saved_recipe_is_the_same_recipe(file: Path, tmp_path: Path) -> None:
    recipe = make_recipe(file, ["strategy.name=partial", "theory=Å.yaml", "loss.kind=huber", "seed=3"])
    saved = tmp_path / "saved.yaml"
    saved.write_text(recipe.to_yaml(), encoding="utf-8")
    assert make_recipe(saved, []) == recipe
    assert set(yaml.safe_load(recipe.to_yaml())) == {name for name, value in recipe if value is not None}


@pytest.mark.parametrize(
    ("option", "key", "nearest"),
    [
        ("fit.rat=1", "fit.rat", "rate"),
        ("strateggy.name=full", "strateggy", "strategy"),
        ("loss.enrgy=1", "loss.enrgy", "energy"),
        ("references.mod=keep", "references.mod", "mode"),
        ("split.fit.rate=1", "split.fit", ""),
    ],
)
def test_unknown_keys_name_the_nearest(option: str, key: str, nearest: str) -> None:
    with pytest.raises(OptionError) as error:
        make_recipe(None, [option], train="a")
    assert error.value.found == f"unknown key {key!r}"
    assert nearest in error.value.remedy
    assert nearest in error.value.allowed or not nearest


@pytest.mark.parametrize(
    "option",
    [
        "fit.rate=0",
        "fit.rate=fast",
        "fit.ema=1",
        "fit.warmup=1",
        "fit.epochs=1.5",
        "fit.max_minutes=-1",
        "split.validation=0",
        "replay.size=0",
        "replay.weight=0",
        "forgetting.size=7",
        "strategy.rank=0",
        "strategy.rank=2.5",
        "strategy.alpha=0",
        "strategy.decay=1.1",
        "strategy.unfreeze=1",
        "loss.energy=-1",
        "loss.kind=mae",
        "loss.huber_delta.force=0.1",
        "loss.huber_delta.forces=0",
        "loss.groups={kind=hot: -1}",
        "references.mode=guess",
        "audit.drop=[one]",
        "fit=1",
        "seed=[]",
    ],
)
def test_a_value_that_does_not_fit_names_its_key(option: str) -> None:
    with pytest.raises(OptionError) as error:
        make_recipe(None, [option], train="a")
    assert option.partition("=")[0].split(".")[0] in error.value.found


def test_one_delta_leaves_the_others_at_their_default() -> None:
    recipe = make_recipe(None, ["loss.huber_delta.energy=0.5"], train="a")
    assert recipe.loss.huber_delta == {**Recipe(train="a").loss.huber_delta, "energy": 0.5}


def test_what_is_missing_is_named() -> None:
    with pytest.raises(OptionError, match="'train' is missing"):
        make_recipe(None, [])


def test_an_option_without_a_sign() -> None:
    with pytest.raises(OptionError, match=r"'fit\.rate' is not key=value"):
        make_recipe(None, ["fit.rate"], train="a")


def test_a_value_is_no_section() -> None:
    with pytest.raises(OptionError, match="'train' holds a value, not a section"):
        make_recipe(None, ["train.file=a"], train="a")


def test_an_empty_section_is_a_section(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("train: a\nfit:\n  # rate: 1e-3\nloss:\n")
    assert make_recipe(file, ["fit.batch=2"]).fit.batch == 2


NO_RECIPES = (b"- a\n- b\n", b"fit: {rate: [1\n", b"\xff\xfe\x00train", b"train: \x07\n", b"just text")


@pytest.mark.parametrize("content", NO_RECIPES)
def test_a_file_that_is_no_recipe(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(content)
    with pytest.raises(DataError) as error:
        make_recipe(file, [], train="a")
    assert error.value.where == str(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such recipe"):
        make_recipe(tmp_path / "none.yaml", [], train="a")


def test_where_the_key_was_found(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("train: a\nfit: {epoch: 3}\n")
    with pytest.raises(OptionError, match="did you mean 'epochs'") as error:
        make_recipe(file, [])
    assert error.value.where == str(file)


def test_keys_that_are_no_text() -> None:
    with pytest.raises(OptionError):
        validated(Recipe, {"train": "a", 1: 2}, "here")  # type: ignore[dict-item]


@given(key=st.sampled_from(["fit.rate", "seed", "loss", "keys", "audit.drop", "", ".", "fit."]), text=st.text())
@example(key="fit.rate", text="[1")
@example(key="fit.rate", text="nan")
@example(key="seed", text="!!python/object:os.system x")
@example(key="seed", text="\x00")
@example(key="seed", text="2026-02-30")
@example(key="seed", text="? [a]\n: b")
def test_any_text_is_a_recipe_or_a_clear_error(key: str, text: str) -> None:
    try:
        recipe = make_recipe(None, [f"{key}={text}"], train="a")
    except MatgraftError:
        return
    assert Recipe.model_validate(yaml.safe_load(recipe.to_yaml())) == recipe
