"""Vectors of formulas: from Python and by the verb, by the shipped encoder, a tuned one and a prompted one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import matgraft as front
from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.embedding import embed
from matgraft.formulas.encoder import tensors_of
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.predict import PropertyModel, predict_formulas
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.prompts.member import PromptSettings
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.settings import TableRun
from matgraft.formulas.tune import tune_table

TEXTS = ["Fe2O3", "NaCl", "O3Fe2"]


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    for room in ("learners.inputs", "predictor.inner", "predictor.predictor", "predictor.together"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)


@pytest.fixture(scope="module")
def prompted(tuned, tmp_path_factory):
    """A run with prompts for two targets."""
    home = tmp_path_factory.mktemp("prompted")
    tuned.train.assign(twice=2 * tuned.train.gap).to_csv(home / "table.csv", index=False)
    settings = PredictorSettings(
        strategy="prompt", inner_folds=2, prompt=PromptSettings(epochs=1, fewest_steps=2, rate=0.1)
    )
    run = TableRun(
        table=str(home / "table.csv"), targets=("gap", "twice"), foundation=str(tuned.encoder), settings=settings
    )
    with pytest.MonkeyPatch.context() as patch:
        for room in ("learners.inputs", "predictor.inner", "predictor.predictor", "predictor.together"):
            patch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)
        tune_table(run, home / "run", quiet=True)
    return home / "run"


def test_texts_are_embedded_as_formulas_are():
    encoder = front.load("composition")
    vectors = encoder.embed(TEXTS)
    np.testing.assert_array_equal(vectors, encoder.embed([parse_formula(text) for text in TEXTS]))
    np.testing.assert_array_equal(vectors, front.embed(TEXTS))
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
    with pytest.raises(DataError, match=r"\['Fe2O3'\]"):
        encoder.embed("Fe2O3")
    with pytest.raises(DataError, match="character"):
        encoder.embed(["Fe2Ox"])
    numbers, fractions = tensors_of([parse_formula("Fe2O3")])
    with torch.no_grad():
        tokens = encoder.module.tokens(numbers, fractions)[0, 1:].numpy()
    np.testing.assert_allclose(front.embed(TEXTS, per="element")[0], tokens, atol=1e-5)
    assert [len(one) for one in front.embed(["Fe2O3", "CaTiO3", "Fe"], per="element")] == [2, 3, 1]


def test_a_run_predicts_by_its_folder(tuned):
    model = front.load(tuned.folder)
    found = model.predict(["Fe2O3", "NaCl"])
    assert model.targets == ("gap",) and "gap" in repr(model)
    expected = pd.DataFrame(predict_formulas(tuned.folder, ["Fe2O3", "NaCl"]))
    pd.testing.assert_frame_equal(found, expected)
    asked = model.predict(pd.DataFrame({"composition": ["NaCl"], "other": [1.5]}))
    assert asked.value[0] == pytest.approx(expected.value[1], rel=1e-5)
    with pytest.raises(DataError, match="a list"):
        model.predict("Fe2O3")


def test_of_a_run_the_tuned_encoder_is_asked(tuned):
    tuned_ones, untuned = embed(TEXTS, of=tuned.folder), load_encoder(tuned.encoder).embed(TEXTS)
    assert tuned_ones.shape == untuned.shape and np.abs(tuned_ones - untuned).max() > 1e-3
    network = PropertyModel.open(tuned.folder).predictor("gap").networks["encoder, every stage tuned"][0]
    numbers, fractions = tensors_of([parse_formula(text) for text in TEXTS])
    with torch.no_grad():
        expected = network.module.encoder.features(numbers, fractions).numpy()
    np.testing.assert_allclose(tuned_ones, expected, atol=1e-5)
    elements = embed(TEXTS, of=str(tuned.folder), per="element")
    assert [one.shape for one in elements] == [(2, 16)] * 3
    other = front.load(tuned.folder).embed(TEXTS, fold=1)
    assert np.abs(other - tuned_ones).max() > 1e-4
    with pytest.raises(OptionError, match="0 to 1"):
        front.load(tuned.folder).embed(TEXTS, fold=2)


def test_a_run_that_tuned_no_encoder_says_so(tuned, tmp_path):
    run = TableRun(
        table=str(tuned.folder.parent / "train.csv"), targets=("gap",), foundation=str(tuned.encoder),
        settings=PredictorSettings(strategy="descriptors", inner_folds=2),
    )  # fmt: skip
    tune_table(run, tmp_path / "run", quiet=True)
    with pytest.raises(OptionError, match="tuned no encoder on 'gap'"):
        embed(TEXTS, of=tmp_path / "run")


def test_prompted_formulas_are_embedded_as_they_are_asked(prompted):
    first, second = embed(["Fe2O3 [GAP]", "Fe2O3 [TWICE]"], of=prompted)
    assert np.abs(first - second).max() > 1e-4
    stated = embed(["[OXIDE] Fe2O3 [GAP]", "[HALIDE] Fe2O3 [GAP]"], of=prompted)
    np.testing.assert_allclose(stated[0], first, atol=1e-6)
    assert np.abs(stated[1] - first).max() > 1e-5
    np.testing.assert_allclose(embed(["Fe2O3"], of=prompted, target="twice")[0], second, atol=1e-6)
    (elements,) = embed(["Fe2O3 [GAP]"], of=prompted, per="element")
    assert elements.shape == (2, 16)
    with pytest.raises(OptionError, match="2 targets"):
        embed(["Fe2O3"], of=prompted)


def test_the_verb_writes_the_tuned_vectors(tuned, matgraft, tmp_path):
    pd.DataFrame({"formula": TEXTS}).to_csv(tmp_path / "f.csv", index=False)
    code, out, err = matgraft("embed", tmp_path / "f.csv", "--from", tuned.folder, "-o", tmp_path / "v.parquet")
    assert code == 0 and "tuned in" in out, err
    written = pd.read_parquet(tmp_path / "v.parquet")
    np.testing.assert_allclose(written.iloc[:, 1:].to_numpy(), embed(TEXTS, of=tuned.folder))
    words = ["--from", tuned.encoder, "--per", "element", "-o", tmp_path / "e.parquet"]
    code, out, err = matgraft("embed", tmp_path / "f.csv", *words)
    assert code == 0, err
    written = pd.read_parquet(tmp_path / "e.parquet")
    assert written.element.tolist() == ["O", "Fe", "Na", "Cl", "O", "Fe"]
    assert written.fraction.tolist() == pytest.approx([0.6, 0.4, 0.5, 0.5, 0.6, 0.4])
    code, _, err = matgraft("embed", tmp_path / "f.csv", "-o", tmp_path / "v.parquet", "--target", "gap")
    assert code == 2 and "--target is not read" in err
