"""What a run says of its fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from matgraft.run.outcome import _fit_warnings


@pytest.mark.parametrize(
    ("trained", "best_step", "said"),
    [(7, 0, True), (7, 5, False), (0, 0, False)],
    ids=["no step was better", "a step was better", "nothing was trained"],
)
def test_a_fit_without_a_better_step_is_a_caution(trained: int, best_step: int, said: bool) -> None:
    adapted: Any = SimpleNamespace(trained=trained, fit=SimpleNamespace(best_step=best_step))
    found = _fit_warnings(adapted)
    assert [one.startswith("No step of the fit lowered the validation loss") for one in found] == [True] * said
