"""Strategies: what is named learns, what is not stays as it is to the last bit, and no pattern is in vain."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from matgraft.backbones.base import Potential
from matgraft.data.dataset import Dataset
from matgraft.errors import OptionError
from matgraft.transfer.adapt import adapt
from matgraft.transfer.strategy import STRATEGIES, Full, Partial, make_strategy

STAGES = ["embedding", "interaction-1", "interaction-2", "interaction-3", "interaction-4", "readout"]
UNUSED = "angle_layers.2."
"""CHGNet's last angle layer updates angles that nothing reads: no gradient reaches it."""


def names_of(chgnet: Potential, *stages: str) -> set[str]:
    return {name for stage in chgnet.stages() if stage.name in stages for name in stage.parameters()}


def learning(strategy: Full | Partial, chgnet: Potential) -> list[tuple[str, set[str]]]:
    return [(group.name, set(group.parameters)) for group in strategy.learning(chgnet)]


# What a strategy must let learn: stages, or parameters by the start of their names.
CASES = {
    "full": ("full", (), STAGES, ""),
    "feature": ("feature", (), ["readout"], ""),
    "partial, default": ("partial", (), ["interaction-4", "readout"], ""),
    "partial, glob of stages": ("partial", ("interaction-[12]",), ["interaction-1", "interaction-2"], ""),
    "partial, glob of parameters": ("partial", ("atom_conv_layers.3.*",), ["interaction-4"], "atom_conv_layers.3."),
    "partial, one parameter": ("partial", ("readout_norm.weight",), ["interaction-4"], "readout_norm.weight"),
}


@pytest.mark.parametrize(("name", "patterns", "stages", "start"), CASES.values(), ids=list(CASES))
def test_after_a_fit_what_learns_has_moved_and_the_rest_is_bit_identical(
    chgnet: Potential,
    pairs: Dataset,
    tmp_path: Path,
    name: str,
    patterns: tuple[str, ...],
    stages: list[str],
    start: str,
) -> None:
    before = chgnet.module.state_dict()
    named = {key for key in names_of(chgnet, *stages) if key.startswith(start)}
    result = adapt(
        chgnet, pairs[:2], pairs[2:3], strategy=name, stages=patterns, folder=tmp_path, epochs=1, batch=1, processes=1
    )
    after = result.backbone.module.state_dict()
    moved = {key for key in before if not torch.equal(after[key], before[key])}
    references = "composition_model.fc.weight"
    assert moved - {references} == {key for key in named if not key.startswith(UNUSED)}
    shifted = before[references].view(-1).clone()
    for symbol, index in (("Si", 13), ("Ge", 31)):
        shifted[index] += result.references.shift_eV[symbol]
    assert torch.equal(after[references].view(-1), shifted)  # shifted before the fit, untouched by it
    assert result.trained == sum(before[key].numel() for key in named)
    assert not any(parameter.requires_grad for parameter in result.backbone.module.parameters())
    assert not result.backbone.module.training


def test_stages_of_chgnet_leave_out_references_and_moments(chgnet: Potential) -> None:
    groups = learning(Full(), chgnet)
    assert [name for name, _ in groups] == STAGES
    every = set().union(*(names for _, names in groups))
    rest = {name for name, _ in chgnet.module.named_parameters()} - every
    # The last angle update is computed by the vendor and read by nothing.
    idle = {name for name in rest if name.startswith("angle_layers.2.")}
    assert idle
    assert {name.split(".")[0] for name in rest - idle} == {"composition_model", "site_wise"}


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_preparation_says_what_requires_a_gradient(chgnet: Potential, name: str) -> None:
    prepared = copy.deepcopy(chgnet)
    groups = make_strategy(name).prepare(prepared)
    named = {key for group in groups for key in group.parameters}
    assert named == {key for key, parameter in prepared.module.named_parameters() if parameter.requires_grad}
    for group in groups:
        for key, parameter in group.parameters.items():
            assert parameter is prepared.module.get_parameter(key)


def test_a_stage_and_a_parameter_of_another_add_up(chgnet: Potential) -> None:
    groups = learning(Partial(["readout", "embedd*", "readout_norm.*"]), chgnet)
    assert [name for name, _ in groups] == ["embedding", "interaction-4", "readout"]
    assert groups[1][1] == {"readout_norm.weight", "readout_norm.bias"}
    assert groups[0][1] == names_of(chgnet, "embedding")


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [
        ("interaction-5", "interaction-"),
        ("readuot", "readout"),
        ("readout_norm.wieght", "readout_norm.weight"),
        ("INTERACTION-9*", "interaction-"),
    ],
)
def test_a_pattern_that_matches_nothing_names_the_nearest(chgnet: Potential, pattern: str, nearest: str) -> None:
    with pytest.raises(OptionError) as error:
        Partial(["readout", pattern]).learning(chgnet)
    assert repr(pattern) in error.value.found
    assert error.value.allowed == tuple(STAGES)
    if not pattern.isupper():
        assert nearest in error.value.remedy


def test_the_references_cannot_be_asked_for(chgnet: Potential) -> None:
    for pattern in ("composition_model.*", "site_wise.*", "composition_model.fc.weight"):
        with pytest.raises(OptionError, match="matches no stage and no parameter"):
            Partial([pattern]).learning(chgnet)


@pytest.mark.parametrize("name", ["full", "feature"])
def test_stages_that_would_do_nothing(name: str) -> None:
    with pytest.raises(OptionError, match=f"strategy.stages would do nothing with '{name}'\nallowed: partial"):
        make_strategy(name, ["readout"])


def test_an_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"strategy 'partail' is unknown(.|\n)*did you mean 'partial'"):
        make_strategy("partail")
