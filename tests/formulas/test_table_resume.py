"""A run on a table goes on with what it began with, or says what is another; no fit is made here."""

from __future__ import annotations

import json
import re
import shutil

import pandas as pd
import pytest
import torch

from matgraft.core.errors import DataError, RunError
from matgraft.core.registry import save_folder
from matgraft.core.run_folder import kind_of
from matgraft.formulas import tune as property_run
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.predict import predict_formulas
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.prompts.bank import BANKS, Bank, BankCard
from matgraft.formulas.prompts.member import PromptSettings
from matgraft.formulas.prompts.prompts import PromptedEncoder
from matgraft.formulas.settings import SETTINGS, TableRun
from matgraft.formulas.tune import resume_table_run, tune_table
from matgraft.foundations import load_folder

FORMULAS = [f"{metal}{n}{other}" for metal in ("Li", "Na", "Mg", "Ca", "Fe") for other in ("O", "S") for n in (1, 2)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError("no class")])
def test_a_run_on_a_table_that_is_refused_in_its_first_fit_leaves_nothing(tmp_path, monkeypatch, error):
    save_folder(encoder(0), tmp_path / "encoder")
    pd.DataFrame({"formula": FORMULAS, "gap": range(len(FORMULAS))}).to_csv(tmp_path / "table.csv", index=False)
    before = sorted(tmp_path.rglob("*"))

    def refuse(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(property_run, "fit_predictor", refuse)
    run = TableRun(table=str(tmp_path / "table.csv"), targets=("gap",), foundation=str(tmp_path / "encoder"))
    with pytest.raises((KeyboardInterrupt, DataError)):
        tune_table(run, tmp_path / "runs" / "a", quiet=True)
    assert sorted(tmp_path.rglob("*")) == before


class KilledError(Exception):
    """The run was killed in its first fit."""


def encoder(seed):
    return CompositionBackbone.scratch(seed, width=16, layers=1, heads=2, features=16, property_names=("a", "b"))


def write_bank(folder, backbone, seed):
    module = PromptedEncoder(backbone.module, ("a", "b"), seed=seed)
    card = BankCard(encoder_sha256=backbone.card.weights_sha256, questions=("a", "b"))
    Bank("toy", card, {name: one.detach() for name, one in module.learned().items()}).save(folder)


@pytest.fixture
def broken_off(tmp_path, monkeypatch):
    """Return a function that begins a run of a strategy, and is killed before its first fit ends."""
    backbone = encoder(0)
    save_folder(backbone, tmp_path / "encoder")
    write_bank(tmp_path / "bank", backbone, 0)
    values = range(len(FORMULAS))
    pd.DataFrame({"formula": FORMULAS, "gap": values}).to_csv(tmp_path / "table.csv", index=False)
    pd.DataFrame({"formula": ["KCl", "RbCl", "KBr", "RbBr"]}).to_csv(tmp_path / "asked.csv", index=False)

    def kill(*_args, **_kwargs):
        raise KilledError

    def begin(strategy="feature", **settings):
        run = TableRun(
            table=str(tmp_path / "table.csv"), targets=("gap",), foundation=str(tmp_path / "encoder"),
            adapt_to=str(tmp_path / "asked.csv") if strategy == "domain" else None,
            settings=PredictorSettings(strategy=strategy, **settings),
        )  # fmt: skip
        monkeypatch.setattr(property_run, "fit_predictor", kill)
        monkeypatch.setattr(property_run, "fit_together", kill)
        with pytest.raises(KilledError):
            tune_table(run, tmp_path / "run", quiet=True)
        with pytest.raises(KilledError):  # as it was, it goes on
            resume_table_run(tmp_path / "run", quiet=True)
        return run

    return begin


def test_a_run_that_broke_off_predicts_nothing_and_says_how_it_goes_on(broken_off, tmp_path):
    """It gave the targets that were finished, or a missing folder's name."""
    broken_off()
    run = tmp_path / "run"
    for _ in range(2):
        with pytest.raises(RunError, match="not finished: 0 of 1 targets have a predictor") as error:
            predict_formulas(run, ["NaCl"])
        assert error.value.commands == (("matgraft", "tune", "--resume", str(run)),)
        (run / "predictors" / "gap-123456").mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("lost", ["predictor.json", "out_of_fold.csv"])
def test_a_finished_target_that_lacks_a_file_is_made_again(tmp_path, monkeypatch, lost):
    """`predict` says that such a run is not finished, and names --resume."""
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 2)
    for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)
    save_folder(encoder(0), tmp_path / "encoder")
    pd.DataFrame({"formula": FORMULAS, "gap": range(len(FORMULAS))}).to_csv(tmp_path / "table.csv", index=False)
    settings = PredictorSettings(strategy="descriptors", inner_folds=2)
    run = TableRun(
        table=str(tmp_path / "table.csv"), targets=("gap",), foundation=str(tmp_path / "encoder"), settings=settings
    )
    tune_table(run, tmp_path / "run", quiet=True)
    before = predict_formulas(tmp_path / "run", ["NaCl"])
    next((tmp_path / "run").glob(f"predictors/*/{lost}")).unlink()
    resume_table_run(tmp_path / "run", quiet=True)
    assert predict_formulas(tmp_path / "run", ["NaCl"]) == before


def changed(role):
    return pytest.raises(RunError, match=re.escape(f"changed since the run began: {role}\n"))


def test_another_encoder_in_the_folder_is_refused_and_the_model_is_kept(broken_off, tmp_path):
    broken_off()
    kept = (tmp_path / "run/model/model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "encoder")
    save_folder(encoder(1), tmp_path / "encoder")
    with changed("encoder"):
        resume_table_run(tmp_path / "run", quiet=True)
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == kept


@pytest.mark.parametrize(("file", "role"), [("table.csv", "table"), ("asked.csv", "table of --adapt-to")])
def test_another_table_is_refused(broken_off, tmp_path, file, role):
    broken_off("domain")
    with (tmp_path / file).open("a") as table:
        table.write("CsI,1\n" if file == "table.csv" else "CsI\n")
    with changed(role):
        resume_table_run(tmp_path / "run", quiet=True)


def test_another_bank_of_prompts_is_refused(broken_off, tmp_path):
    broken_off("prompt", prompt=PromptSettings(bank=str(tmp_path / "bank")))
    write_bank(tmp_path / "bank", load_folder(tmp_path / "encoder"), 1)
    with changed("prompt bank"):
        resume_table_run(tmp_path / "run", quiet=True)


def test_the_hash_of_a_bank_is_of_its_questions_and_weights(tmp_path):
    backbone = encoder(0)
    for seed, folder in ((0, "a"), (0, "b"), (1, "c")):
        write_bank(tmp_path / folder, backbone, seed)
    a, b, c = (BANKS.read(tmp_path / folder) for folder in "abc")
    assert a.sha256 == b.sha256 != c.sha256
    asked = a.card.model_copy(update={"questions": ("b", "a")})
    assert Bank("toy", asked, a.weights).sha256 != a.sha256
    shifted = {
        name: torch.cat([tensor.flatten()[:1] + 1, tensor.flatten()[1:]]).view_as(tensor)
        for name, tensor in a.weights.items()
    }
    assert Bank("toy", a.card, shifted).sha256 != a.sha256


def test_another_option_is_named_and_no_table_is_blamed(broken_off, tmp_path):
    run = broken_off()
    other = run.model_copy(update={"group": "chemical-system", "settings": run.settings.model_copy(update={"seed": 7})})
    with changed("option group, option settings.seed"):
        tune_table(other, tmp_path / "run", resume=True, quiet=True)


def test_a_run_of_an_earlier_version_says_so(broken_off, tmp_path):
    broken_off()
    (tmp_path / "run" / "run.json").unlink()
    (tmp_path / "run" / "manifest.txt").unlink()
    file = tmp_path / "run" / "settings.json"
    content = json.loads(file.read_text())
    del content["run"]["adapt_to"], content["encoder_sha256"]  # options and hashes that it lacked
    file.write_text(json.dumps(content))
    with pytest.raises(RunError, match="of an earlier version"):
        resume_table_run(tmp_path / "run", quiet=True)
    assert kind_of(tmp_path / "run") == "formulas" and SETTINGS.read(tmp_path / "run").run.adapt_to is None
