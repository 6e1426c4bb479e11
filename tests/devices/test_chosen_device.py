"""A device that was chosen is where models predict."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from matgraft.core import devices
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.several import ask


@pytest.mark.parametrize("asked", [True, False])
def test_models_that_are_asked_lie_where_the_user_says(
    gpu: torch.device,
    made: Callable[[str], Potential],
    frames: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    asked: bool,
) -> None:
    monkeypatch.setattr(devices, "_asked", asked)
    model = copy.deepcopy(made("toy"))
    answers = ask({"toy": model}, frames, Recipe(train=["frames.xyz"]), quiet=True)
    assert model.device == (gpu if asked else torch.device("cpu"))
    assert len(answers.predictions["toy"]) == len(frames)
