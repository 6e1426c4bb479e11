"""Batches: every position once, never above the budget but for a sample that is alone above it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.core.training.batching import Budget, plan_batches


@dataclass(frozen=True)
class Size:
    """A sample as the planner sees it."""

    n_atoms: int
    n_edges: int


sizes = st.lists(st.builds(Size, st.integers(1, 9), st.integers(0, 60)), min_size=1, max_size=30)
bounds = st.one_of(st.none(), st.integers(1, 100))
budgets = st.builds(Budget, samples=st.one_of(st.none(), st.integers(1, 5)), atoms=bounds, edges=bounds)
seeds = st.one_of(st.none(), st.integers(0, 99))


def totals(items: list[Size], batch: list[int]) -> tuple[int, int, int]:
    return len(batch), sum(items[i].n_atoms for i in batch), sum(items[i].n_edges for i in batch)


@given(sizes, budgets, seeds)
def test_every_position_once_within_the_budget(items: list[Size], budget: Budget, seed: int | None) -> None:
    batches = plan_batches(items, budget, seed)
    assert sorted(chain.from_iterable(batches)) == list(range(len(items)))
    for batch in batches:
        assert batch
        assert len(batch) == 1 or budget.holds(*totals(items, batch))


@given(sizes, budgets, seeds)
def test_no_batch_has_room_for_the_first_of_the_next(items: list[Size], budget: Budget, seed: int | None) -> None:
    batches = plan_batches(items, budget, seed)
    for batch, following in pairwise(batches):
        assert not budget.holds(*totals(items, [*batch, following[0]]))


@given(sizes, budgets)
def test_without_a_seed_the_order_is_kept(items: list[Size], budget: Budget) -> None:
    assert list(chain.from_iterable(plan_batches(items, budget))) == list(range(len(items)))


def test_a_seed_shuffles_and_repeats() -> None:
    items = [Size(1, 1)] * 50
    first, again, other = (plan_batches(items, Budget(samples=5), seed) for seed in (1, 1, 2))
    assert first == again != other
    assert list(chain.from_iterable(first)) != list(range(50))


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        (Budget(), True),
        (Budget(2, 10, 100), True),
        (Budget(samples=1), False),
        (Budget(atoms=9), False),
        (Budget(edges=99), False),
    ],
)
def test_each_bound_holds_by_itself(budget: Budget, fits: bool) -> None:
    assert budget.holds(2, 10, 100) is fits


def test_without_a_bound_there_is_one_batch() -> None:
    assert plan_batches([Size(9, 60)] * 30, Budget()) == [list(range(30))]


def test_nothing_to_batch_is_an_error() -> None:
    with pytest.raises(DataError, match="the dataset is empty"):
        plan_batches([], Budget())
