"""A device that was chosen is where models predict."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase.build import bulk

from matgraft.core import devices
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.several import ask
from matgraft.potentials.simulation import loading


@pytest.mark.parametrize("asked", [True, False])
def test_models_that_are_asked_lie_where_the_user_says(
    gpu: torch.device,
    made: Callable[[str], Potential],
    frames: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    asked: bool,
) -> None:
    monkeypatch.setenv(devices.ASKED, "cuda" * asked)
    model = copy.deepcopy(made("toy"))
    answers = ask({"toy": model}, frames, Recipe(train=["frames.xyz"]), quiet=True)
    assert model.device == (gpu if asked else torch.device("cpu"))
    assert len(answers.predictions["toy"]) == len(frames)


@pytest.mark.parametrize("asked", [True, False])
def test_what_is_simulated_lies_where_the_user_says(
    gpu: torch.device, made: Callable[[str], Potential], monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    monkeypatch.setenv(devices.ASKED, "cuda" * asked)
    monkeypatch.setattr(loading, "load_potential", lambda _: copy.deepcopy(made("toy")))
    subject = loading.load_subject("chgnet", ())
    assert subject.potential is not None
    assert subject.potential.device == (gpu if asked else torch.device("cpu"))
    (found,) = subject.evaluate([bulk("Si")])
    assert np.isfinite(found["energy"])
