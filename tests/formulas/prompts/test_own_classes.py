"""Classes of the user's own before a formula: read from a column, learned from few rows, asked by their token."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import FormulaError, parse_formula
from matgraft.formulas.learners.inputs import Inputs, Labels
from matgraft.formulas.predict import PropertyModel
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.prompts.material_class import MATERIAL_CLASSES
from matgraft.formulas.prompts.member import PromptFit, PromptSettings, fit_prompts
from matgraft.formulas.prompts.prompts import PromptedEncoder, class_indices
from matgraft.formulas.prompts.text import class_tokens, parse_prompt
from matgraft.formulas.settings import TableRun
from matgraft.formulas.table.formula_table import ColumnNames
from matgraft.formulas.table.reading import read_table
from matgraft.formulas.tune import tune_table

OWN = ("LAB_A", "LAB_B")


@pytest.fixture(scope="module")
def small():
    return CompositionBackbone.scratch(1, width=16, layers=2, heads=2, features=16, property_names=("a", "b"))


@pytest.mark.parametrize(
    ("text", "stated", "own"),
    [
        ("[LAB_A] Fe2O3", "", "LAB_A"),
        ("[OXIDE] [LAB_A] Fe2O3 [GAP]", "OXIDE", "LAB_A"),
        ("[LAB_B][OXIDE] Fe2O3", "OXIDE", "LAB_B"),
        ("[LAB_B] [OXIDE] Fe2O3", "OXIDE", "LAB_B"),
        ("[LAB_A] [Co(NH3)6]Cl3", "", "LAB_A"),
        ("Fe2O3 [GAP]", "", ""),
    ],
)
def test_own_classes_stand_before_a_formula(text, stated, own):
    if "][" in text:  # tokens are set apart by spaces
        with pytest.raises(FormulaError):
            parse_prompt(text, {"GAP": "gap"}, OWN)
        return
    formula = parse_prompt(text, {"GAP": "gap"}, OWN).formula
    assert (formula.stated_class, formula.own_class) == (stated, own)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[LAB_C] Fe2O3", "LAB_A"),
        ("[LAB_A] [LAB_B] Fe2O3", "wrong place"),
        ("[OXIDE] [HALIDE] Fe2O3", "wrong place"),
        ("[OXIDE] [LAB_A] [LAB_B] Fe2O3", "wrong place"),
        ("Fe2O3 [LAB_A]", "not a property"),
        ("[LAB_A]Fe2O3", "set apart by spaces"),
    ],
)
def test_a_mistyped_prompt_is_named(text, said):
    with pytest.raises(FormulaError, match=said):
        parse_prompt(text, {"GAP": "gap"}, OWN)


def test_words_become_tokens_and_must_not_collide():
    assert class_tokens(["lab a", "Lab-B (2)"], "lab") == {"LAB_A": "lab a", "LAB_B_2": "Lab-B (2)"}
    with pytest.raises(OptionError, match="as does 'lab a'"):
        class_tokens(["lab a", "LAB A"], "lab")
    with pytest.raises(OptionError, match="class of materials"):
        class_tokens(["oxide", "other"], "lab")


def test_an_own_class_begins_at_nothing_and_numbers_hold_both_classes(small):
    formulas = [parse_prompt(text, {}, OWN).formula for text in ("[LAB_B] NaCl", "NaCl", "[OXIDE] [LAB_A] NaCl")]
    n = len(MATERIAL_CLASSES)
    halide, oxide = MATERIAL_CLASSES.index("HALIDE"), MATERIAL_CLASSES.index("OXIDE")
    assert class_indices(formulas, OWN).tolist() == [halide + 2 * n, halide, oxide + n]
    assert class_indices(formulas).tolist() == [halide, halide, oxide]  # of a bank, which knows none of them
    plain, own = PromptedEncoder(small.module, ["gap"]), PromptedEncoder(small.module, ["gap"], own=OWN)
    none, first = torch.zeros(3, 0), torch.zeros(3, dtype=torch.long)
    torch.testing.assert_close(
        own.prompts(class_indices(formulas, OWN), first, none), plain.prompts(class_indices(formulas), first, none)
    )
    with torch.no_grad():
        own.own[1] += 1.0
    changed = own.prompts(class_indices(formulas, OWN), first, none) - plain.prompts(
        class_indices(formulas), first, none
    )
    assert torch.allclose(changed[0, :, 0], torch.ones(())) and not changed[1:].any() and not changed[0, :, 1:].any()


def test_few_rows_teach_a_class_and_the_fit_comes_back(small):
    """One laboratory measures three more than all others; eight of its rows are enough to see it."""
    metals, anions = ["Li", "Na", "K", "Mg", "Ca", "Fe", "Zn", "Al"], ["O", "S", "F"]
    chosen = np.random.default_rng(0).choice(48, 8, replace=False)
    texts = [f"{m}{n}{x}" for m in metals for n in (1, 2) for x in anions]
    texts = [f"[LAB_A] {text}" if i in chosen else text for i, text in enumerate(texts)]
    formulas = [parse_prompt(text, {}, OWN).formula for text in texts]
    y = np.array([3.0 * bool(one.own_class) for one in formulas])
    part = Inputs.of(formulas, small), Labels(y, np.ones(len(y)))
    settings = PromptSettings(epochs=60, rate=0.02, batch=16, bank="none", fewest_steps=1)
    fit = fit_prompts(small, {"": part}, {"": part}, settings, 0)
    assert fit.module.own_names == ("LAB_A",)
    asked = [parse_prompt(text, {}, OWN).formula for text in ("[LAB_A] BaO", "BaO", "[LAB_B] BaO")]
    inputs = Inputs.of(asked, small)
    in_lab, plain, unknown = fit.of("")(inputs)[:, 49]
    assert in_lab > plain + 1
    assert unknown == pytest.approx(plain, abs=1e-5)
    again = PromptFit.from_arrays(fit.arrays(), small)
    np.testing.assert_allclose(again.of("")(inputs), fit.of("")(inputs), atol=1e-6)


def test_a_column_of_classes_goes_through_a_run(small, tmp_path, monkeypatch):
    from matgraft.core.registry import save_folder

    for room in ("learners.inputs", "predictor.inner", "predictor.predictor", "predictor.together"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)
    save_folder(small, tmp_path / "encoder")
    rows = [f"{m}{n}{x},{n},{'lab a' if n == 1 else 'lab b' if m < 'M' else ''}" for m in ("Li", "Na", "Mg", "Ca")
            for x in "OSF" for n in (1, 2)]  # fmt: skip
    (tmp_path / "table.csv").write_text("\n".join(["formula,gap,lab", *rows]))
    (tmp_path / "test.csv").write_text("formula,gap,lab\nKO,1,lab a\nK2O,2,\n")
    quick = PredictorSettings(
        strategy="prompt", inner_folds=2, prompt=PromptSettings(epochs=1, fewest_steps=4, rate=0.3)
    )
    run = TableRun(
        table=str(tmp_path / "table.csv"), targets=("gap",), foundation=str(tmp_path / "encoder"), settings=quick,
        prompt_class="lab", test=str(tmp_path / "test.csv"),
    )  # fmt: skip
    result = tune_table(run, tmp_path / "run", quiet=True)
    assert result.prompts.own_classes == {"LAB_A": 12, "LAB_B": 6}
    assert result.targets["gap"].test.parts["new"].n == 2
    model = PropertyModel.open(tmp_path / "run")
    stated = model.predict(["[LAB_A] Fe2O3", "Fe2O3", "[LAB_B] Fe2O3"])
    assert stated.prompt_class.tolist() == ["LAB_A", "", "LAB_B"]
    assert len(set(stated.value)) == 3
    column = model.predict(pd.DataFrame({"formula": ["Fe2O3"] * 3, "lab": ["lab a", "", "lab b"]}))
    np.testing.assert_allclose(column.value, stated.value, rtol=1e-5)
    with pytest.raises(DataError, match="'lab c' is not a class that was trained on"):
        model.predict(pd.DataFrame({"formula": ["Fe2O3"], "lab": ["lab c"]}))
    with pytest.raises(FormulaError, match="LAB_C"):
        model.predict(["[LAB_C] Fe2O3"])
    assert "LAB_B" in (tmp_path / "run" / "report.html").read_text()


def test_what_cannot_be_a_class_is_said_before_any_work(tmp_path):
    (tmp_path / "few.csv").write_text("formula,gap,lab\nNaCl,1,a\nNaCl,1,a\nKCl,2,b\nKBr,3,b\n")
    with pytest.raises(DataError, match="class 'a' has rows of 1 formula"):
        read_table(tmp_path / "few.csv", "gap", ColumnNames(prompt_class="lab"))
    with pytest.raises(OptionError, match="no column 'labs'"):
        read_table(tmp_path / "few.csv", "gap", ColumnNames(prompt_class="labs"))
    run = TableRun(table="t.csv", targets=("gap",), prompt_class="lab")
    with pytest.raises(OptionError, match="--prompt-class lab is not read with strategy 'auto'"):
        run.refuse_idle(())
    assert parse_formula("NaCl").own_class == ""
