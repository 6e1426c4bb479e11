"""The weights of three small runs, as they were before the house was rebuilt: moving code must not move a bit of them.

Another processor or another torch adds in another order. There the weights must move as far, to a hundredth; on the
ones named below every bit must be the same.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from matgraft.core.training.execution import Execution
from matgraft.core.training.schedule import FitSettings
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.learners.inputs import Inputs, Labels
from matgraft.formulas.learners.network import NetworkSettings, fit_network
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning.adapt import adapt

MADE_WITH = ("2.13.0", "AVX2")
"""Version of torch and the processor's instructions."""

RUNS = {
    "full": ("5211e4cf1fdd09f4", 1861.5),
    "feature": ("52f59f36ab722ef8", 37.2372),
    "formulas": ("e37f215dced0b3e2", 8.64606),
}
"""Run -> hash of its weights, and by how much they moved in all."""

Weights = Mapping[str, Tensor]


def tuned_potential(chgnet: Potential, pairs: Dataset, strategy: str) -> tuple[Weights, Weights]:
    settings = FitSettings(epochs=2, batch=2, processes=1)
    result = adapt(copy.deepcopy(chgnet), pairs, pairs, strategy=strategy, fit=settings, execution=Execution(seed=3))
    return chgnet.module.state_dict(), result.backbone.module.state_dict()


def tuned_encoder() -> tuple[Weights, Weights]:
    encoder = CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16, property_names=("a",))
    formulas = [parse_formula(f"{metal}{n}{anion}") for metal in ("Li", "Mg", "Fe") for anion in "OS" for n in (1, 2)]
    labels = Labels(np.linspace(0, 1, len(formulas)), np.ones(len(formulas)))
    part = Inputs.of(formulas, encoder), labels
    held = part[0].take(np.arange(4)), part[1].take(np.arange(4))
    network = fit_network(encoder, part, held, "full", NetworkSettings(epochs=2, fewest_steps=4, batch=4), seed=3)
    return encoder.module.state_dict(), network.module.encoder.state_dict()


@pytest.mark.parametrize("run", RUNS)
def test_the_weights_are_what_they_were(run: str, chgnet: Potential, pairs: Dataset) -> None:
    before, after = tuned_encoder() if run == "formulas" else tuned_potential(chgnet, pairs, run)
    digest = hashlib.sha256()
    for name in sorted(after):
        digest.update(after[name].detach().cpu().contiguous().numpy().tobytes())
    moved = sum(float((after[name].double() - before[name].double()).abs().sum()) for name in before)
    assert moved == pytest.approx(RUNS[run][1], rel=0.01)
    if (torch.__version__.partition("+")[0], torch.backends.cpu.get_cpu_capability()) == MADE_WITH:
        assert digest.hexdigest()[:16] == RUNS[run][0]
