"""Strategy prompt: targets learn together on a frozen encoder, and the prompt is what tells them apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.learners.inputs import Examples, Inputs, Labels
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.predictor.store import load_predictor, save_predictor
from matgraft.formulas.predictor.together import fit_together, folds_of, shared_folds
from matgraft.formulas.prompts.bank import BANKS, Bank, BankCard, bank_answers
from matgraft.formulas.prompts.facts import prompt_facts
from matgraft.formulas.prompts.member import PromptFit, PromptSettings, fit_prompts, prepared
from matgraft.formulas.prompts.prompts import PromptedEncoder
from matgraft.formulas.table.formula_table import FormulaTable

LONG = PromptSettings(epochs=20, fewest_steps=60, rate=0.04, batch=32, bank="none")
QUICK = PromptSettings(epochs=1, fewest_steps=2, bank="none")


def part(small, formulas, y, n_classes=0, covariates=None):
    return Inputs.of(formulas, small, covariates), Labels(np.asarray(y, float), np.ones(len(y)), n_classes)


def table_of(formulas, y, classes=()):
    n = len(formulas)
    return FormulaTable(tuple(formulas), np.asarray(y, float), classes, np.zeros((n, 0)), {}, np.ones(n), (), (),
                        tuple(range(n)), 0)  # fmt: skip


@pytest.fixture(scope="module")
def two(small, table):
    """Values, their opposite, and three classes, of one fit; each knows other rows."""
    formulas, y = table
    parts = {
        "up": part(small, formulas, y),
        "down": part(small, formulas[::2], -y[::2]),
        "kind": part(small, formulas, np.digitize(y, [1.5, 2.5]), 3),
    }
    return parts, fit_prompts(small, parts, parts, LONG, 0)


def test_one_fit_answers_all_targets_each_by_its_prompt(two):
    parts, fit = two
    for name in ("up", "down"):
        inputs, labels = parts[name]
        quantiles = fit.of(name)(inputs)
        assert (np.diff(quantiles, axis=1) >= 0).all()
        assert np.abs(quantiles[:, 49] - labels.y).mean() < 0.4 * np.abs(labels.y - np.median(labels.y)).mean()
    likely = fit.of("kind")(parts["kind"][0])
    np.testing.assert_allclose(likely.sum(1), 1, atol=1e-6)
    assert (likely.argmax(1) == parts["kind"][1].y).mean() > 0.9


def test_exchanged_prompts_ruin_the_answers(two):
    parts, fit = two
    inputs, labels = parts["up"]
    right = np.abs(fit.of("up")(inputs)[:, 49] - labels.y).mean()
    prompts = (fit.module.questions, fit.module.covariates)  # offsets and slopes stay where they were
    kept = [part.data.clone() for part in prompts]
    for part, own in zip(prompts, kept, strict=True):
        part.data = own[[1, 0, 2, 3, 4]]
    wrong = np.abs(fit.of("up")(inputs)[:, 49] - labels.y).mean()
    for part, own in zip(prompts, kept, strict=True):
        part.data = own
    assert wrong > 3 * right


def test_the_encoder_is_bitwise_what_it_was(small, two):
    _, fit = two
    for name, tensor in small.module.state_dict().items():
        assert torch.equal(tensor, fit.module.frozen.state_dict()[name])
    assert all(parameter.requires_grad for parameter in small.module.parameters())


def test_a_fit_comes_back_from_its_arrays(small, two):
    parts, fit = two
    again = PromptFit.from_arrays(fit.arrays(), small)
    for name, (inputs, _) in parts.items():
        np.testing.assert_allclose(again.of(name)(inputs), fit.of(name)(inputs), atol=1e-6)
    assert not any(key.startswith("weights.frozen") for key in fit.arrays())


def test_covariates_are_learned(small, table):
    formulas, _ = table
    heat = np.linspace(0, 1, len(formulas))[:, None]
    inputs, labels = part(small, formulas, 5 * heat[:, 0], covariates=heat)
    quantiles = fit_prompts(small, {"y": (inputs, labels)}, {"y": (inputs, labels)}, LONG, 0).of("y")(inputs)
    assert np.corrcoef(quantiles[:, 49], labels.y)[0, 1] > 0.9


@pytest.fixture
def bank(small, tmp_path):
    """Two questions of a bank that nothing taught, whose answers differ."""
    module = PromptedEncoder(small.module, ["first", "second"], seed=5)
    with torch.no_grad():
        module.readout[-1].weight.mul_(30)
        module.offset.copy_(torch.tensor([0.5, -1.0]))
        module.slope.copy_(torch.tensor([2.0, -0.5]))
    weights = {name: one.detach() for name, one in module.learned().items()}
    card = BankCard(encoder_sha256=small.card.weights_sha256, questions=("first", "second"))
    Bank("x", card, weights).save(tmp_path / "bank")
    return BANKS.choose(str(tmp_path / "bank"), small)


@pytest.mark.parametrize("factor", [3.0, -0.7])
def test_step_zero_is_the_nearest_prompts_answer_on_a_straight_line(small, table, bank, factor):
    formulas, _ = table
    answers = bank_answers(bank.prompted(small), formulas)[:, 1]
    inputs, labels = part(small, formulas, 10 + factor * answers)
    module, asked = prepared(small, bank, {"y": (inputs, labels)}, 0)
    (start,) = asked["y"].starts
    assert bank.card.questions[start.nearest] == "second"
    assert start.similarity == pytest.approx(np.sign(factor), abs=1e-4)
    said = bank_answers(module.eval(), formulas)[:, 0] * asked["y"].scaling.width + asked["y"].scaling.centre
    np.testing.assert_allclose(said, labels.y, atol=1e-3 * abs(factor))


def test_classes_of_the_bank_stay_and_the_facts_say_where_all_began(small, table, bank):
    formulas, y = table
    parts = {"y": part(small, formulas, y), "kind": part(small, formulas, y > 2.5, 2)}
    settings = QUICK.model_copy(update={"bank": bank.name})
    fits = [fit_prompts(small, parts, parts, settings, seed) for seed in (0, 1)]
    assert all(torch.equal(fit.module.classes, bank.weights["classes"]) for fit in fits)
    facts = prompt_facts(fits, small, settings, {"Y": "y", "KIND": "kind"}, {"y": (), "kind": ("no", "yes")})
    assert facts.tokens == {"[Y]": "y", "[KIND]": "kind"}
    assert [row.target for row in facts.starts] == ["y", "kind"]
    assert all(row.nearest in ("first", "second") and row.fits in (1, 2) for row in facts.starts)
    alike = np.array(facts.alike.matrix)
    assert facts.alike.names[:2] == ("[Y]", "[KIND]")
    np.testing.assert_allclose(np.diag(alike), 1, atol=1e-3)
    np.testing.assert_allclose(alike, alike.T, atol=1e-3)
    assert alike[0, facts.alike.names.index(facts.starts[0].nearest)] > 0.9  # after two steps
    assert facts.trained == sum(p.numel() for name, p in fits[0].module.learned().items() if name != "classes")


def test_a_predictor_of_prompts_is_kept_and_compared(small, table, tmp_path):
    formulas, y = table
    settings = PredictorSettings(strategy="prompt", inner_folds=2, prompt=QUICK)
    predictor = fit_predictor(Examples(formulas, y), small, settings)
    names = {member.name: member.weight for member in predictor.facts.members}
    assert names == {"encoder frozen, asked by prompts": 1, "trees on descriptors": 0}
    save_predictor(predictor, tmp_path)
    again = load_predictor(tmp_path, small)[0]
    np.testing.assert_allclose(again.predict(formulas[:5]).value, predictor.predict(formulas[:5]).value, atol=1e-6)
    assert not list(tmp_path.rglob("*.part*"))


def test_no_fold_holds_a_formula_out_of_one_target_alone():
    groups = {"a": [str(i) for i in range(30)], "b": [str(i) for i in range(20, 45)]}
    folds = shared_folds(groups, 4, 0)
    for k in range(4):
        held = {target: {groups[target][i] for i in rows[k]} for target, rows in folds.items()}
        assert held["a"] & set(groups["b"]) == held["b"] & set(groups["a"])
    assert all(sorted(i for fold in each for i in fold) == list(range(len(groups[t]))) for t, each in folds.items())
    with pytest.raises(DataError, match="1 rows of 'b'"):
        shared_folds({"a": groups["a"], "b": ["1"]}, 4, 0)


def test_many_classes_of_two_formulas_are_torn_apart_in_all_targets():
    groups = {"a": [str(i) for i in range(80)], "b": [str(i) for i in range(40, 100)]}
    classes = {"a": np.repeat(np.arange(40.0), 2)}
    folds = shared_folds(groups, 4, 0, classes)
    assert all(len(set(np.delete(classes["a"], held))) == 40 for held in folds["a"])
    for held, other in zip(folds["a"], folds["b"], strict=True):
        assert {groups["a"][i] for i in held} & set(groups["b"]) == {groups["b"][i] for i in other} & set(groups["a"])


def test_a_broken_joint_fit_goes_on_with_the_folds_that_are_missing(small, table, tmp_path, monkeypatch):
    formulas, y = table
    tables = {"y": table_of(formulas, y), "kind": table_of(formulas[10:], y[10:] > 2.5, ("no", "yes"))}
    settings = PredictorSettings(strategy="prompt", inner_folds=2, prompt=QUICK)
    monkeypatch.setattr("matgraft.formulas.predictor.together.cores", lambda: 1)
    whole = fit_together(tables, folds_of(tables, "formula", settings), small, settings, tmp_path / "whole")
    files = sorted((tmp_path / "whole").iterdir())
    before, stamps = files[0].read_bytes(), files[1].stat().st_mtime_ns
    files[0].unlink()
    fit_together(tables, folds_of(tables, "formula", settings), small, settings, tmp_path / "whole")
    assert files[0].read_bytes() == before
    assert files[1].stat().st_mtime_ns == stamps
    assert [file.suffix for file in files] == [".safetensors"] * 2
    folds = whole.of("kind")
    predictor = fit_predictor(tables["kind"].examples(), small, settings, folds=folds)
    assert predictor.networks == folds.ready


@pytest.mark.parametrize(
    "settings",
    [
        PredictorSettings(strategy="prompt", network=NetworkSettings(epochs=3)),
        PredictorSettings(strategy="full", prompt=QUICK),
    ],
)
def test_an_option_of_another_strategy_is_an_error(small, table, settings):
    with pytest.raises(OptionError, match=r"is not read: .* reads it for strategy"):
        fit_predictor(Examples(*table), small, settings)


def test_targets_share_folds_of_formulas_and_papers(table):
    """A formula that two papers measured joins them, also where each target has one of the two rows."""
    formulas, y = table
    papers = [str(i // 10) for i in range(80)]
    first = replace(table_of(formulas[:40], y[:40]), groups=tuple(papers[:40]))
    again = [formulas[0], *formulas[40:]]  # paper 4 measured the first formula of paper 0
    second = replace(table_of(again, y[: len(again)]), groups=("4", *papers[40:]))
    tables = {"a": first, "b": second}
    folds = folds_of(tables, "paper", PredictorSettings(strategy="prompt", inner_folds=3))
    assert [len(rows) for rows in folds.values()] == [3, 3]

    def names_in(chosen):
        found = [(tables[t], i) for t in tables for k in chosen for i in folds[t][k]]
        return {table.groups[i] for table, i in found} | {table.keys[i] for table, i in found}

    for k in range(3):
        assert not names_in([k]) & names_in({0, 1, 2} - {k})
