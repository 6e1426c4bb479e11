"""The lean order of an encoder gives what the training's order gives."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.formulas.elements import N_ELEMENTS
from matgraft.formulas.encoder import CompositionBackbone, by_length, tensors_of
from matgraft.formulas.encoder_inference import CHUNK, Tokens, features_of
from matgraft.formulas.encoder_network import GATHER, CompositionEncoder
from matgraft.formulas.formula import Formula, parse_formula

TEXTS = ["Fe2O3", "O", "Fe4O6", "LiCoO2", "Fe0.98C0.02", "CuSO4*5H2O", "Fe0.9Ni0.05Cr0.03Mo0.015C0.005", "Li7La3Zr2O12"]
CLOSE = 1e-5
"""Of features, which are of the order of 1: sums of float32 in another order."""


@pytest.fixture(scope="module")
def encoder() -> CompositionEncoder:
    return CompositionBackbone.scratch(0, width=32, layers=3, heads=4, features=48, property_names=("a", "b")).module


def in_training_order(encoder: CompositionEncoder, formulas: list[Formula]) -> np.ndarray:
    with torch.no_grad():
        return by_length(encoder.features, *tensors_of(formulas)).numpy()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_lean_order_gives_the_same(encoder: CompositionEncoder, layers: int) -> None:
    module = copy.deepcopy(encoder)
    module.layers = module.layers[:layers]
    formulas = [parse_formula(text) for text in TEXTS]
    found = features_of(module, Tokens.of(formulas)).numpy()
    np.testing.assert_allclose(found, in_training_order(module, formulas), atol=CLOSE)


def test_more_formulas_than_pass_together(encoder: CompositionEncoder) -> None:
    formulas = [parse_formula(text) for text in TEXTS] * (CHUNK // 2)
    found = features_of(encoder, Tokens.of(formulas)).numpy()
    np.testing.assert_allclose(found, in_training_order(encoder, formulas), atol=CLOSE)


@given(
    st.lists(
        st.dictionaries(st.integers(1, N_ELEMENTS), st.integers(1, 10**9), min_size=1, max_size=12),
        min_size=1, max_size=6,
    )
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_any_formulas(encoder: CompositionEncoder, amounts: list[dict[int, int]]) -> None:
    formulas = [Formula(tuple(sorted(one)), tuple(one[Z] / sum(one.values()) for Z in sorted(one))) for one in amounts]
    found = features_of(encoder, Tokens.of(formulas)).numpy()
    np.testing.assert_allclose(found, in_training_order(encoder, formulas), atol=CLOSE)


def test_equal_tokens_are_one() -> None:
    tokens = Tokens.of([parse_formula(text) for text in ("NaCl", "KCl", "Fe2O3", "Al2O3")])
    assert tokens.numbers.tolist()[0] == GATHER
    assert sorted(tokens.numbers.tolist()[1:]) == [8, 11, 13, 17, 19, 26]
    places = [same.places.tolist() for same in tokens.lengths]
    assert [row[0] for row in places[0]] == [0] * 4


def test_no_formula(encoder: CompositionEncoder) -> None:
    assert features_of(encoder, Tokens.of([])).shape == (0, 48)


def test_no_gradient_is_kept(encoder: CompositionEncoder) -> None:
    assert not features_of(encoder, Tokens.of([parse_formula("Fe2O3")])).requires_grad
