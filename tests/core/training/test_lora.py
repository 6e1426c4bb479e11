"""Low-rank updates: the foundation at the start, A and B alone on the way, plain modules at the end."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from matgraft.core.errors import OptionError
from matgraft.core.processes import can_fork
from matgraft.core.training.execution import Execution
from matgraft.core.training.lora import LowRank
from matgraft.core.training.strategy import LoRA, ParamGroup
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.exports import verify_export
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.tuning.adapt import adapt

RANK = 3


def stir(groups: list[ParamGroup]) -> None:
    """Stand for a fit: put random numbers into what learns."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for group in groups:
            for parameter in group.parameters.values():
                parameter += 0.02 * torch.randn(parameter.shape, generator=random)


@pytest.fixture
def prepared(chgnet: Potential) -> tuple[Potential, list[ParamGroup]]:
    potential = copy.deepcopy(chgnet)
    return potential, LoRA(rank=RANK).prepare(potential)


def test_the_start_is_the_foundation_to_the_last_bit(
    chgnet: Potential, pairs: Dataset, prepared: tuple[Potential, list[ParamGroup]]
) -> None:
    for ours, theirs in zip(
        predict_samples(prepared[0], pairs.samples), predict_samples(chgnet, pairs.samples), strict=True
    ):
        assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_merged_equals_unmerged(
    pairs: Dataset, prepared: tuple[Potential, list[ParamGroup]], chgnet: Potential
) -> None:
    potential, groups = prepared
    stir(groups)
    unmerged = predict_samples(potential, pairs.samples)
    assert abs(unmerged[0]["forces"] - predict_samples(chgnet, pairs.samples)[0]["forces"]).max() > 1e-3
    merged = predict_samples(LoRA(rank=RANK).finish(potential), pairs.samples)  # type: ignore[arg-type]
    for ours, theirs in zip(merged, unmerged, strict=True):
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, atol=1e-5, err_msg=name)


@pytest.mark.filterwarnings("ignore:No Pauling electronegativity:UserWarning")
def test_finishing_gives_the_vendors_module_back(
    chgnet: Potential, prepared: tuple[Potential, list[ParamGroup]], tmp_path: Path
) -> None:
    potential, groups = prepared
    stir(groups)
    finished = LoRA(rank=RANK).finish(potential)
    assert list(finished.module.state_dict()) == list(chgnet.module.state_dict())
    assert [name for name, _ in finished.module.named_parameters()] == [n for n, _ in chgnet.module.named_parameters()]
    assert [type(one) for one in finished.module.modules()] == [type(one) for one in chgnet.module.modules()]
    assert not any(parameter.requires_grad for parameter in finished.module.parameters())
    finished.save(tmp_path / finished.native_file)
    assert verify_export(finished, tmp_path)["forces"] < 1e-3  # type: ignore[arg-type]


def test_only_a_and_b_learn(prepared: tuple[Potential, list[ParamGroup]]) -> None:
    potential, groups = prepared
    learning = {name for name, parameter in potential.module.named_parameters() if parameter.requires_grad}
    assert learning == {name for group in groups for name in group.parameters}
    assert {name.split(".")[-2] for name in learning} == {"A", "B"}


def test_every_linear_layer_of_every_stage_has_an_update(chgnet: Potential) -> None:
    """Counted with torch's own types, not with the contract's hook."""
    layers = {
        f"{path}.{name}.weight" if name else f"{path}.weight": layer
        for stage in chgnet.stages()
        for path, module in stage.modules.items()
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
    }
    groups = LoRA().learning(chgnet)
    assert {name for group in groups for name in group.parameters} == set(layers)
    assert [group.name for group in groups] == [stage.name for stage in chgnet.stages()]


@pytest.mark.parametrize("rank", [1, RANK, 1000])
def test_the_rank_bounds_parameters_and_updates(chgnet: Potential, rank: int) -> None:
    potential = copy.deepcopy(chgnet)
    named = [name for group in LoRA().learning(potential) for name in group.parameters]
    before = {name: potential.module.get_parameter(name).detach().clone() for name in named}
    groups = LoRA(rank=rank).prepare(potential)
    shapes = [tuple(before[name].shape) for name in named]
    expected = sum(min(rank, *shape) * sum(shape) for shape in shapes)
    assert sum(p.numel() for group in groups for p in group.parameters.values()) == expected
    stir(groups)
    LoRA(rank=rank).finish(potential)
    for name, old in before.items():
        change = (potential.module.get_parameter(name) - old).double()
        # Rounding of float32 adds singular values of some 1e-6.
        assert 1 <= int((torch.linalg.svdvals(change) > 1e-5).sum()) <= min(rank, *old.shape), name


def test_after_a_fit_the_rest_is_bit_identical(chgnet: Potential, pairs: Dataset) -> None:
    result = adapt(
        chgnet, pairs[:2], pairs[2:3], strategy=LoRA(["readout"], rank=2, alpha=4), epochs=2, batch=1, processes=1
    )
    before, after = chgnet.module.state_dict(), result.backbone.module.state_dict()
    moved = {name for name in before if not torch.equal(after[name], before[name])}
    readout = {f"mlp.{name}.weight" for name, one in chgnet.head.named_modules() if isinstance(one, nn.Linear)}
    assert moved - {"composition_model.fc.weight"} == readout
    assert result.trained == sum(min(2, *before[name].shape) * sum(before[name].shape) for name in readout)
    assert result.total == sum(parameter.numel() for parameter in chgnet.module.parameters())


def test_a_fit_that_is_resumed_is_the_same(chgnet: Potential, pairs: Dataset, tmp_path: Path) -> None:
    """The seed draws A anew, the checkpoint has what became of it."""
    options = {"strategy": "lora", "execution": Execution(tmp_path), "processes": 1, "batch": 1}
    tuned = adapt(chgnet, pairs[:2], pairs[2:3], epochs=1, **options)  # type: ignore[arg-type]
    again = adapt(chgnet, pairs[:2], pairs[2:3], epochs=1, **options | {"execution": Execution(tmp_path, resume=True)})  # type: ignore[arg-type]
    for name, tensor in tuned.backbone.module.state_dict().items():
        assert torch.equal(again.backbone.module.state_dict()[name], tensor), name


@pytest.mark.skipif(not can_fork(), reason="this system does not fork")
def test_two_processes_give_the_updates_of_one(chgnet: Potential, pairs: Dataset) -> None:
    options = {"strategy": LoRA(["readout"]), "epochs": 2, "batch": 2}
    one, two = (adapt(chgnet, pairs[:4], pairs[4:], processes=n, **options) for n in (1, 2))  # type: ignore[arg-type]
    assert (one.fit.processes, two.fit.processes) == (1, 2)
    alone, together = (result.backbone.module.state_dict() for result in (one, two))
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_the_seed_draws_a(chgnet: Potential) -> None:
    drawn = []
    for seed in (1, 1, 2):
        groups = LoRA(["readout"]).prepare(copy.deepcopy(chgnet), seed=seed)
        drawn.append(next(iter(groups[0].parameters.values())).detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_several_matrices_in_one_flat_weight() -> None:
    """The second of two blocks by hand: a product of its own A and B, and a learning start where a weight is zero."""
    weight = torch.cat([torch.ones(6), torch.zeros(8)])
    update = LowRank(weight, [(2, 3), (4, 2)], rank=1, alpha=5.0, random=torch.Generator().manual_seed(0))
    assert torch.equal(update(weight), weight)
    assert all(A.any() for A in update.A)
    with torch.no_grad():
        update.B[1] += 1.0
    changed = update(weight)
    assert torch.equal(changed[:6], weight[:6])
    torch.testing.assert_close(changed[6:].view(4, 2), 5.0 * torch.ones(4, 1) @ update.A[1])


@pytest.mark.parametrize(
    "pattern", ["readuot", "readout_norm", "readout_norm.weight", "mlp.layers.0.bias", "atom_embedding*"]
)
def test_a_pattern_that_names_no_linear_layer(chgnet: Potential, pattern: str) -> None:
    with pytest.raises(OptionError, match="matches no stage and no weight of a linear layer"):
        LoRA(["readout", pattern]).learning(chgnet)


def test_a_glob_of_weights(chgnet: Potential) -> None:
    groups = LoRA(["*.mlp_out.*", "readout"]).learning(chgnet)
    assert "embedding" not in [group.name for group in groups]
    assert all("mlp_out" in name for group in groups[:-1] for name in group.parameters)


@pytest.mark.parametrize("options", [{"rank": 0}, {"alpha": 0.0}])
def test_an_update_that_could_do_nothing(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="rank from 1"):
        LoRA(**options)  # type: ignore[arg-type]


def test_the_composition_encoder_starts_and_ends_as_itself() -> None:
    backbone = CompositionBackbone.scratch(width=16, heads=2, layers=1, features=8, property_names=("gap",))
    plain = copy.deepcopy(backbone.module)
    groups = LoRA(rank=2).prepare(backbone)
    numbers, fractions = torch.tensor([[8, 12]]), torch.tensor([[0.5, 0.5]])
    assert torch.equal(backbone.module(numbers, fractions), plain(numbers, fractions))
    stir(groups)
    tuned = backbone.module(numbers, fractions)
    LoRA().finish(backbone)
    torch.testing.assert_close(backbone.module(numbers, fractions), tuned)
    assert list(backbone.module.state_dict()) == list(plain.state_dict())
