"""The conductor's small steps; whole runs are in test_cli.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.model import ModelCard
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.run_folder import Begun, open_run
from matgraft.core.verdict import Outcome, Verdict
from matgraft.formulas.predict import predict_formulas
from matgraft.potentials import sources
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.recipe import Recipe, make_recipe
from matgraft.potentials.run import conduct, evaluate_run
from matgraft.potentials.run_files import PROVENANCE, VERDICT

FOUNDATION = ModelCard(name="toy", backbone="toy", vendor_version="1", licence="MIT", weights_sha256="ab")


def test_versions_are_those_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"matgraft", "torch", "chgnet", "mace-torch", "matgl"} <= set(sources.PACKAGES)
    monkeypatch.setattr(sources, "PACKAGES", ("torch", "no-such-package"))
    assert sources._versions() == {"torch": version("torch")}


def begin(
    recipe: Recipe,
    out: Path,
    train: Dataset,
    test: Dataset,
    card: ModelCard = FOUNDATION,
    *,
    resume: bool = False,
) -> None:
    decides = sources.sources_of(recipe, card, train, test).decides
    with open_run(out, Begun(kind="frames", decides=decides), resume=resume):
        pass


@pytest.mark.parametrize("part", ["replay", "forgetting"])
def test_a_run_does_not_go_on_with_another_file_to_rehearse_or_to_be_held_against(
    sige: Dataset, tmp_path: Path, part: str
) -> None:
    file = tmp_path / "others.extxyz"
    file.write_text("as it was")
    recipe = make_recipe(None, ["train=frames.extxyz", f"{part}.file={file}"])
    begin(recipe, tmp_path / "run", sige[:2], sige[:0])
    begin(recipe, tmp_path / "run", sige[:2], sige[:0], resume=True)
    file.write_text("changed since")
    with pytest.raises(RunError, match=f"changed since the run began: {part}\n"):
        begin(recipe, tmp_path / "run", sige[:2], sige[:0], resume=True)


def _of_frame(change: Callable[[Sample], Sample]) -> Callable[[Dataset], Dataset]:
    """Return what changes the second frame."""
    return lambda frames: Dataset((frames[0], change(frames[1])))


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    ("role", "change"),
    [
        ("tags", _of_frame(lambda one: one.with_tags(trajectory="another"))),
        ("tags", _of_frame(lambda one: one.with_tags(config_type="slab"))),
        ("weights", _of_frame(lambda one: one.weighing(5.0))),
        ("levels of theory", _of_frame(lambda one: replace(one, theory=LevelOfTheory(functional="SCAN")))),
        ("files", _of_frame(lambda one: replace(one, file="step-9.extxyz"))),
        ("files", _of_frame(lambda one: replace(one, index=99))),
        ("", _of_frame(lambda one: one.with_labels(energy=one.labels["energy"] + 1))),
    ],
)
def test_a_run_does_not_go_on_with_other_frames(
    sige: Dataset, tmp_path: Path, part: str, role: str, change: Callable[[Dataset], Dataset]
) -> None:
    """Tags, files and theory decide the split, weights the loss: all may differ where the labels are equal."""
    recipe, frames = make_recipe(None, ["train=frames.extxyz"]), {"train": sige[:2], "test": sige[2:4]}
    begin(recipe, tmp_path / "run", frames["train"], frames["test"])
    before = (tmp_path / "run" / "run.json").read_text()
    frames[part] = change(frames[part])
    with pytest.raises(RunError, match=f"changed since the run began: {f'{part} {role}'.strip()}\n"):
        begin(recipe, tmp_path / "run", frames["train"], frames["test"], resume=True)
    assert (tmp_path / "run" / "run.json").read_text() == before


@pytest.mark.parametrize(
    ("options", "foundation", "said"),
    [
        ([], FOUNDATION.model_copy(update={"weights_sha256": "cd"}), "foundation"),
        (["fit.rate=0.5", "split.seed=3"], FOUNDATION, "option split.seed, option fit.rate"),
        (["loss.groups={config_type=Slab: 1.0, config_type=Surface: 3.0}"], FOUNDATION, "option loss.groups"),
    ],
)
def test_a_run_does_not_go_on_with_another_foundation_or_other_options(
    sige: Dataset, tmp_path: Path, options: list[str], foundation: ModelCard, said: str
) -> None:
    """The message names what is another, not the data, which are the same."""
    plain = ["train=frames.extxyz", "loss.groups={config_type=Slab: 1.0}"]
    begun, other = (make_recipe(None, [*plain, *more]) for more in ([], options))
    begin(begun, tmp_path / "run", sige[:2], sige[:0])
    with pytest.raises(RunError, match=f"changed since the run began: {said}\n"):
        begin(other, tmp_path / "run", sige[:2], sige[:0], foundation, resume=True)


def test_a_run_of_a_version_without_run_json_does_not_go_on(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(make_recipe(None, ["train=frames.extxyz"]).to_yaml())
    with (
        pytest.raises(RunError, match=r"run.json is missing\n.*new run in another folder"),
        open_run(tmp_path, Begun(kind="frames", decides={}), resume=True),
    ):
        raise AssertionError("not reached")


def test_what_a_run_was_made_of_is_read_back_as_it_was_written(sige: Dataset, tmp_path: Path) -> None:
    recipe = make_recipe(None, ["train=frames.extxyz", "loss.groups={config_type=Slab: 1.0}"])
    made = sources.sources_of(recipe, FOUNDATION, sige[:2], sige[2:4])
    PROVENANCE.write(tmp_path, made)
    assert PROVENANCE.read(tmp_path) == made
    assert {"train", "test tags", "foundation", "option fit.rate", "option loss.groups"} <= set(made.decides)


BEGUN = '{"kind": "formulas", "decides": {}}'


@pytest.mark.parametrize(("begun", "content"), [("settings.json", "{}"), ("run.json", BEGUN)])
def test_evaluate_says_that_a_run_on_formulas_is_one(tmp_path: Path, begun: str, content: str) -> None:
    """It said "this is no run" of a run on a table, and of a pretraining."""
    (tmp_path / begun).write_text(content)
    with pytest.raises(OptionError, match=r"reads formulas, not structures.*\n?remedy: .*crossval"):
        evaluate_run(tmp_path, Path("frames.extxyz"))


def test_evaluate_says_that_a_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"an empty folder; neither a finished run nor a model folder"):
        evaluate_run(tmp_path, Path("frames.extxyz"))
    (tmp_path / "my.model").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")
    for verb in (lambda run: evaluate_run(run, Path("frames.extxyz")), lambda run: predict_formulas(run, ["Si"])):
        with pytest.raises(DataError, match="this is a Git LFS pointer"):
            verb(tmp_path / "my.model")
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(RunError, match=r"not a run: recipe\.yaml is missing"):
        evaluate_run(tmp_path, Path("frames.extxyz"))


@pytest.mark.parametrize("gone", ["", "fit.json", "metrics.json", "checks.json", "model"])
def test_a_run_with_a_verdict_goes_on_where_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """It wrote a report, and could not say what came of the run, or named a model that was not there."""
    (tmp_path / "recipe.yaml").write_text(make_recipe(None, ["train=frames.extxyz"]).to_yaml())
    VERDICT.write(tmp_path, Verdict(outcome=Outcome.BETTER, headline="Better."))
    for name in {"fit.json", "metrics.json", "checks.json", "model"} - {gone}:
        (tmp_path / name).mkdir() if name == "model" else (tmp_path / name).write_text("{}")
    done: list[str] = []
    monkeypatch.setattr(conduct, "tune_frames", lambda *_, **__: done.append("tune"))
    monkeypatch.setattr(conduct, "write_report", lambda _: done.append("report"))
    conduct.resume_run(tmp_path)
    assert done == ["tune" if gone else "report"]
