"""What a run says of its fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import pytest

from matgraft.potentials.run.outcome import _of_fit
from matgraft.potentials.tuning.references import HeadShifts, References, ReferenceShift


def shift(mode: Literal["refit", "keep"], **energies: float) -> ReferenceShift:
    return ReferenceShift(mode=mode, shift_eV=energies, rank=1, n_elements=1)


@pytest.mark.parametrize(
    ("trained", "best_step", "said"),
    [(7, 0, True), (7, 5, False), (0, 0, False)],
    ids=["no step was better", "a step was better", "nothing was trained"],
)
def test_a_fit_without_a_better_step_is_a_caution(trained: int, best_step: int, said: bool) -> None:
    fit = SimpleNamespace(best_step=best_step)
    adapted: Any = SimpleNamespace(trained=trained, fit=fit, references=shift("refit", Si=-1.0))
    found = _of_fit(adapted, "the foundation")
    assert [one.text.startswith("No step of the fit lowered the validation loss") for one in found] == [True] * said


@pytest.mark.parametrize(
    ("references", "start"),
    [
        (shift("refit", Si=-1.0), "with shifted reference energies"),
        (shift("keep", Si=0.0), "as it came"),
        (shift("keep"), "as it came"),
        (
            HeadShifts(heads={"a": shift("keep", Si=0.0), "b": shift("refit", Si=2.0)}),
            "with shifted reference energies",
        ),
        (HeadShifts(heads={"a": shift("keep", Si=0.0)}), "as it came"),
    ],
)
def test_the_caution_names_the_model_that_was_given_back(references: References, start: str) -> None:
    adapted: Any = SimpleNamespace(trained=7, fit=SimpleNamespace(best_step=0), references=references)
    for baseline in ("the foundation", "the cheap method"):
        (said,) = _of_fit(adapted, baseline)
        assert f"the model is {baseline} {start}." in said.text
