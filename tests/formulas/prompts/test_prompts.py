"""Prompts do something: every layer sees them, the answer follows them, and the encoder stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.encoder import CompositionBackbone, tensors_of
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.learners.quantiles import MIDDLE
from matgraft.formulas.prompts.bank import BANKS, CARD, SHIPPED, Bank, BankCard, bank_answers, nearest_prompt
from matgraft.formulas.prompts.prompts import TOKENS, PromptedEncoder, class_indices
from matgraft.foundations import load

TEXTS = ["Fe2O3", "NaCl", "SrTiO3", "GaAs", "Ni3Al", "Fe0.98C0.02"]
FORMULAS = [parse_formula(text) for text in TEXTS]


@pytest.fixture(scope="module")
def encoder():
    return CompositionBackbone.scratch(1, width=16, layers=3, heads=2, features=16, property_names=("a", "b"))


@pytest.fixture(scope="module")
def prompted(encoder):
    """Two questions; the vectors of later layers are drawn as well, as if they had learned."""
    module = PromptedEncoder(encoder.module, ["gap", "energy"])
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        for prompts in (module.questions, module.classes):
            prompts[:, 1:] = 0.3 * torch.randn_like(prompts[:, 1:])
    return module.eval()


def asked(module, question=0, classes=None, formulas=FORMULAS):
    n = len(formulas)
    classes = class_indices(formulas) if classes is None else classes
    with torch.no_grad():
        return module(*tensors_of(formulas), classes, torch.full((n,), question))


def layers_of(module, question, classes):
    """Return the elements' and the gathering token as they leave each layer."""
    seen = []
    hooks = [layer.register_forward_hook(lambda _, __, out: seen.append(out)) for layer in module.frozen.layers]
    asked(module, question, classes)
    for hook in hooks:
        hook.remove()
    return [tokens[:, : -TOKENS - 1] for tokens in seen]


def test_every_layer_sees_the_prompt(prompted):
    classes = class_indices(FORMULAS)
    for change in ((1, classes), (0, (classes + 1) % 3)):
        one, other = layers_of(prompted, 0, classes), layers_of(prompted, *change)
        assert len(one) == 3
        assert all(((a - b).abs().amax((1, 2)) > 1e-4).all() for a, b in zip(one, other, strict=True))


def test_question_and_class_change_the_answer_and_not_by_a_constant(prompted):
    first = asked(prompted)[:, MIDDLE]
    for other in (asked(prompted, 1), asked(prompted, classes=(class_indices(FORMULAS) + 1) % 3)):
        difference = other[:, MIDDLE] - first
        assert (difference.abs() > 1e-5).all()
        assert difference.std() > 0.05 * difference.abs().mean()  # a mere bias would have none


def test_a_layer_without_the_prompt_answers_otherwise(prompted):
    """The prompt's own place alone is not what answers: the formula read under it is another."""
    numbers, fractions = tensors_of(FORMULAS)
    none = torch.zeros(len(FORMULAS), prompted.covariates.shape[1])
    with torch.no_grad():
        prompts = prompted.prompts(class_indices(FORMULAS), torch.zeros(len(FORMULAS), dtype=torch.long), none)
        plain = prompted.frozen.features(numbers, fractions)
        under = prompted.frozen.pooled(prompted.frozen.tokens(numbers, fractions, prompts), numbers, fractions)
    assert ((plain - under).abs().amax(1) > 1e-3).all()


@settings(max_examples=10)
@given(st.permutations(range(4)), st.integers(1, 5), st.integers(0, 1))
def test_order_of_writing_scale_and_company_do_not_matter(prompted, order, times, question):
    parts = [("La", 2), ("Na", 1), ("O", 5), ("Ti", 1)]
    formula = parse_formula("".join(f"{symbol}{n * times}" for symbol, n in (parts[i] for i in order)))
    plain = asked(prompted, question, formulas=[parse_formula("La2NaO5Ti")])
    company = asked(prompted, question, formulas=[formula, parse_formula("Al10Co21B19Fe2O1N3Cl5")])
    torch.testing.assert_close(company[:1], plain, atol=1e-5, rtol=1e-4)


def test_covariates_shift_the_question(encoder):
    module = PromptedEncoder(encoder.module, ["gap"], covariates=1).eval()
    torch.nn.init.normal_(module.covariates)
    rest = (*tensors_of(FORMULAS), class_indices(FORMULAS), torch.zeros(len(FORMULAS), dtype=torch.long))
    with torch.no_grad():
        cold, hot = (module(*rest, torch.full((len(FORMULAS), 1), x)) for x in (0.0, 1.0))
    assert ((cold - hot).abs().amax(1) > 1e-4).all()
    torch.testing.assert_close(cold, asked(module))


def test_only_prompts_and_readout_learn(encoder):
    module = PromptedEncoder(encoder.module, ["gap"])
    assert {name.split(".")[0] for name in module.learned()} == {
        "classes", "questions", "readout", "covariates", "offset", "slope",
    }  # fmt: skip
    assert not any(one.requires_grad for one in module.frozen.parameters())
    assert all(one.requires_grad for one in encoder.module.parameters())  # the foundation itself is not touched


def test_a_falling_map_keeps_quantiles_ascending(prompted):
    rising = asked(prompted)
    with torch.no_grad():
        prompted.slope.neg_()
        falling = asked(prompted)
        prompted.slope.neg_()
    torch.testing.assert_close(falling, -rising.flip(1))


def test_the_nearest_prompt_is_the_one_that_correlates_best_rising_or_falling():
    rng = np.random.default_rng(0)
    answers = rng.normal(size=(200, 3))
    y = 5 - 2 * answers[:, 1] + rng.normal(0, 0.1, 200)
    start = nearest_prompt(answers, y, np.ones(200))
    assert start.nearest == 1
    assert start.similarity == pytest.approx(np.corrcoef(answers[:, 1], y)[0, 1])
    assert (start.offset, start.slope) == pytest.approx(tuple(np.polyfit(answers[:, 1], y, 1)[::-1]), abs=1e-6)
    silent = np.where(np.arange(200) < 100, 1.0, 0.0)
    assert nearest_prompt(answers, np.where(silent > 0, answers[:, 2], y), silent).nearest == 2
    assert nearest_prompt(answers, y, np.ones(200), np.array([True, False, True])).nearest != 1
    flat = nearest_prompt(answers, np.full(200, 3.0), np.ones(200))
    assert (flat.similarity, flat.offset + flat.slope * answers[:, 0].mean()) == (0, pytest.approx(3))


def test_a_bank_comes_back_and_belongs_to_one_encoder(encoder, prompted, tmp_path):
    weights = {name: one.detach() for name, one in prompted.learned().items()}
    Bank("x", BankCard(encoder_sha256=encoder.card.weights_sha256, questions=("gap", "energy")), weights).save(tmp_path)
    bank = BANKS.choose(str(tmp_path), encoder)
    answers = bank_answers(bank.prompted(encoder), FORMULAS)
    np.testing.assert_allclose(answers[:, 1], asked(prompted, 1)[:, MIDDLE].numpy(), atol=1e-6)
    assert BANKS.choose(None, encoder) is None
    assert BANKS.choose("none", encoder) is None
    with pytest.raises(OptionError, match="another encoder"):
        BANKS.choose("shipped", encoder)
    (tmp_path / CARD.name).unlink()
    with pytest.raises(DataError, match="matgraft prompts"):
        BANKS.choose(str(tmp_path), encoder)


def test_the_shipped_bank_answers_its_questions_and_only_the_right_ones():
    backbone = load("composition")
    bank = BANKS.choose(None, backbone)
    assert bank.card.encoder_sha256 == backbone.card.weights_sha256
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 2e6
    names = bank.card.questions
    assert [name for name, value in zip(names, bank.of_values, strict=True) if not value] == list(bank.card.yes_or_no)
    answers = bank_answers(
        bank.prompted(backbone), [parse_formula(t) for t in ("NaCl", "MgO", "Cu", "Ni3Al", "W", "KBr")]
    )
    gap, stiff = answers[:, names.index("mp_gap > 0")], answers[:, names.index("mp_bulk_modulus")]
    assert gap[[0, 1, 5]].min() > 0 > gap[[2, 3, 4]].max()
    assert stiff[4] > stiff[1] > stiff[5]
    assert np.corrcoef(gap, stiff)[0, 1] < 0.5
