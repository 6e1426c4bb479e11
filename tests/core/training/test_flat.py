"""Tensors laid flat come back to the bit, with all that stood among them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from matgraft.core.training.flat import DTYPES, laid_flat, raised

PLAIN = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    numbers = draw(st.lists(st.integers(0, 1), min_size=math.prod(shape), max_size=math.prod(shape)))
    tensor = torch.tensor(numbers, dtype=draw(st.sampled_from(list(DTYPES.values())))).reshape(shape)
    return tensor.T if len(shape) == 2 and draw(st.booleans()) else tensor


NESTED = st.recursive(
    PLAIN | tensors(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers(0, 9) | st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


@given(NESTED)
def test_what_is_laid_flat_comes_back(content: Any) -> None:
    flat = laid_flat(content)
    assert all(tensor.ndim == 1 for tensor in flat["tensors"].values())
    assert same(content, raised(flat))


def test_what_comes_back_is_no_view_of_a_larger_tensor() -> None:
    again = raised(laid_flat([torch.zeros(2), torch.zeros(1000)]))
    assert again[0].untyped_storage().nbytes() == 8


@pytest.mark.parametrize("value", [object(), {1, 2}, {"a": [1j]}, torch.float32])
def test_a_value_that_is_not_plain_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="is not a plain value"):
        laid_flat({"inside": [value]})


@pytest.mark.parametrize("place", [[0, 9], [-1, 1], [4, 3]])
def test_a_place_outside_the_numbers_is_an_error(place: list[int]) -> None:
    flat = laid_flat({"weights": torch.zeros(5)})
    there = flat["structure"].replace("0, [0], [5]", f"{place[0]}, [0], [{place[1]}]")
    assert there != flat["structure"]
    flat["structure"] = there
    with pytest.raises((RuntimeError, ValueError)):
        raised(flat)


def test_numbers_of_another_kind_are_an_error() -> None:
    flat = laid_flat([torch.zeros(5)])
    flat["tensors"]["torch.float32"] = torch.zeros(5, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"among numbers of torch\.float64"):
        raised(flat)
