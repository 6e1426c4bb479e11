"""Strategies: what is named learns, what is not stays as it is to the last bit, and every pattern must match."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from matgraft.core.errors import OptionError
from matgraft.core.training.execution import Execution
from matgraft.core.training.strategy import OF_FORMULAS, STRATEGIES, Full, Gradual, Partial, Strategy, make_strategy
from matgraft.formulas.predictor import members
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning import adapt as adapting
from matgraft.potentials.tuning.adapt import adapt
from matgraft.potentials.tuning.ladder import LADDER

STAGES = ["embedding", "interaction-1", "interaction-2", "interaction-3", "interaction-4", "readout"]
UNUSED = "angle_layers.2."
"""CHGNet's last angle layer updates angles that nothing reads: no gradient reaches it."""


def names_of(chgnet: Potential, *stages: str) -> set[str]:
    return {name for stage in chgnet.stages() if stage.name in stages for name in stage.parameters()}


def leave_out_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the trained weights, also where the start is better on so few frames."""
    fit = adapting.fit
    monkeypatch.setattr(adapting, "fit", lambda *given, **options: fit(*given, **{**options, "keep": "best"}))


def learning(strategy: Strategy, chgnet: Potential) -> list[tuple[str, set[str]]]:
    return [(group.name, set(group.parameters)) for group in strategy.learning(chgnet)]


# What a strategy must let learn: stages, or parameters by the start of their names.
CASES = {
    "full": ("full", (), STAGES, ""),
    "feature": ("feature", (), ["readout"], ""),
    "partial, default": ("partial", (), ["interaction-4", "readout"], ""),
    "partial, glob of stages": ("partial", ("interaction-[12]",), ["interaction-1", "interaction-2"], ""),
    "partial, glob of parameters": ("partial", ("atom_conv_layers.3.*",), ["interaction-4"], "atom_conv_layers.3."),
    "gradual": ("gradual", (), STAGES, ""),
    "partial, one parameter": ("partial", ("readout_norm.weight",), ["interaction-4"], "readout_norm.weight"),
}


@pytest.mark.parametrize(("name", "patterns", "stages", "start"), CASES.values(), ids=list(CASES))
def test_after_a_fit_what_learns_has_moved_and_the_rest_is_bit_identical(
    chgnet: Potential,
    pairs: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    patterns: tuple[str, ...],
    stages: list[str],
    start: str,
) -> None:
    before = chgnet.module.state_dict()
    named = {key for key in names_of(chgnet, *stages) if key.startswith(start)}
    slow = {"epochs": 4, "batch": 1, "rate": 1e-3}  # so that the best snapshot is a late one
    leave_out_the_start(monkeypatch)
    strategy, execution = make_strategy(name, patterns), Execution(tmp_path)
    result = adapt(chgnet, pairs[:2], pairs[2:3], strategy=strategy, execution=execution, processes=1, **slow)
    after = result.backbone.module.state_dict()
    moved = {key for key in before if not torch.equal(after[key], before[key])}
    assert moved == {key for key in named if not key.startswith(UNUSED)}
    shifted = chgnet.references.clone()
    for symbol, index in (("Si", 13), ("Ge", 31)):
        shifted[index] += result.references.shift_eV[symbol]
    assert torch.equal(result.backbone.references, shifted)  # shifted before the fit, untouched by it
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


READERS = {
    "stages": ["partial", "lora"],
    "rank": ["lora"],
    "alpha": ["lora"],
    "decay": ["full", "partial", "gradual", "replay", "multihead"],
    "unfreeze": ["gradual"],
}


@pytest.mark.parametrize(("option", "readers"), READERS.items())
@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_an_option_is_read_or_an_error_that_names_who_reads_it(name: str, option: str, readers: list[str]) -> None:
    given: dict[str, Any] = {option: ["readout"] if option == "stages" else 1 if option == "rank" else 0.5}
    if name in readers:
        strategy = make_strategy(name, **given)
        held = getattr(strategy, "patterns" if option == "stages" else option)
        assert held == (("readout",) if option == "stages" else given[option])
    else:
        allowed = ", ".join(readers)
        with pytest.raises(
            OptionError, match=f"strategy.{option} is not read with strategy '{name}'\nallowed: {allowed}"
        ):
            make_strategy(name, **given)


def test_an_option_of_no_strategy_names_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"option of a strategy 'rnak' is unknown(.|\n)*did you mean 'rank'"):
        make_strategy("lora", rnak=3)


# ------------------------------------------------- rates by layer, one after another


def test_rates_fall_from_the_readout_down(chgnet: Potential) -> None:
    rates = {group.name: group.rate_factor for group in Full(decay=0.5).learning(chgnet)}
    assert rates == {stage: 0.5**i for i, stage in enumerate(reversed(STAGES))}
    assert {group.rate_factor for group in Full().learning(chgnet)} == {1.0}
    # Counted from the readout, though that does not learn.
    assert [g.rate_factor for g in Partial(["interaction-[34]"], decay=0.5).learning(chgnet)] == [0.25, 0.5]


def test_decay_acts(chgnet: Potential, pairs: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's first step moves each weight by its rate, whatever the gradient."""
    options: dict[str, Any] = {"epochs": 1, "batch": 2, "processes": 1, "warmup": 0.0, "ema": 0.0, "rate": 1e-3}
    leave_out_the_start(monkeypatch)
    result = adapt(chgnet, pairs[:2], pairs[2:3], strategy=Full(decay=0.5), **options)
    before, after = chgnet.module.state_dict(), result.backbone.module.state_dict()
    for stage, factor in (("interaction-1", 0.5**4), ("interaction-4", 0.5), ("readout", 1.0)):
        moves = [float((after[name] - before[name]).abs().max()) for name in names_of(chgnet, stage)]
        assert max(moves) == pytest.approx(1e-3 * factor, rel=0.01), stage


@pytest.mark.parametrize("decay", [0.0, 1.5, -1.0])
def test_a_decay_that_is_none(chgnet: Potential, decay: float) -> None:
    with pytest.raises(OptionError, match="up to 1"):
        Full(decay=decay).learning(chgnet)


def test_a_decay_over_one_stage_would_do_nothing(chgnet: Potential) -> None:
    with pytest.raises(OptionError, match="only the readout learns"):
        Partial(["readout"], decay=0.5).learning(chgnet)


def test_stages_join_from_the_readout_down_at_equal_intervals(chgnet: Potential) -> None:
    groups = Gradual(decay=0.5, unfreeze=0.5).learning(chgnet)
    assert [group.start for group in groups] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    assert [group.rate_factor for group in groups] == [0.5**i for i in (5, 4, 3, 2, 1, 0)]


@pytest.mark.parametrize("unfreeze", [0.0, 1.0])
def test_what_is_no_part_of_the_steps(unfreeze: float) -> None:
    with pytest.raises(OptionError, match="between 0 and 1"):
        Gradual(unfreeze=unfreeze)


def test_an_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"strategy 'partail' is unknown(.|\n)*did you mean 'partial'"):
        make_strategy("partail")


def test_strategies_of_the_other_half_name_the_nearest_that_works() -> None:
    """Each that only one half has is answered by one of the other's."""
    of_potentials, of_formulas = {*STRATEGIES, LADDER}, set(members.STRATEGIES)
    assert set(OF_FORMULAS) == of_formulas - of_potentials
    assert {said.split()[0] for said in OF_FORMULAS.values()} <= of_potentials
    assert set(members.OF_POTENTIALS) - {"compare"} == of_potentials - of_formulas  # a command of its own
    assert {said.split()[0] for said in members.OF_POTENTIALS.values()} <= of_formulas | {"`matgraft"}
    for name in OF_FORMULAS:
        with pytest.raises(OptionError, match=OF_FORMULAS[name]):
            make_strategy(name)
    for name in members.OF_POTENTIALS:
        with pytest.raises(OptionError, match=members.OF_POTENTIALS[name]):
            members.members_of(name, 1000)
