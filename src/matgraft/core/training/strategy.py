"""Strategies: what of a pretrained model may learn. Written once over `Backbone.stages`, for every backbone.

| strategy | learns                                    | cost                                                    |
| -------- | ----------------------------------------- | ------------------------------------------------------- |
| full     | every stage                               | epochs through the whole network                        |
| partial  | the stages named, the last two by default | the same epochs, fewer parameters                       |
| feature  | the readout, on features cached once      | one pass through the network, then seconds (`tangents`) |
| gradual  | one stage after another, from the readout | at most that of full                                    |
| lora     | low-rank updates of linear layers (`lora`) | the epochs of full, a fraction of its parameters        |
| replay   | every stage, on frames rehearsed as well (`replay`) | epochs of full over more frames                |
| multihead | every stage, with a readout for each head (`heads`) | the epochs of full on the frames of all heads  |

Replay frames and heads go with any strategy through the network; `replay` and `multihead` always have them.

A strategy prepares a backbone (freezes, injects) and says what learns; `finish` leaves a plain model for export. The
parameters of its constructor are the options that it reads: any other is an error.

Sources: Howard and Ruder, ACL 2018, arXiv:1801.06146 (gradual unfreezing, rates that fall from layer to layer).
"""

from __future__ import annotations

import fnmatch
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import nn

from matgraft.core.errors import OptionError, choose, nearest
from matgraft.core.model import Backbone
from matgraft.core.training.lora import inject, linear_weights, matrices_in, merge


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share a learning rate.

    Attributes
    ----------
    name
        For screens and reports.
    parameters
        Full name in the module -> parameter.
    rate_factor
        Times the learning rate of the fit.
    start
        Part of the planned steps that pass before it learns.
    matrices
        Name of a parameter that holds flattened matrices -> their shapes (`Backbone.matrices`).
    weight_decay
        Part of the learning rate by which each step shrinks the weights (Loshchilov and Hutter, ICLR 2019).
    """

    name: str
    parameters: dict[str, nn.Parameter]
    rate_factor: float = 1.0
    start: float = 0.0
    matrices: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    weight_decay: float = 0.0


class Strategy(ABC):
    """What learns."""

    name: ClassVar[str]
    cached: ClassVar[bool] = False
    """True if the fit runs on features cached once instead of through the network."""
    replays: ClassVar[bool] = False
    """True if what the foundation knew is always rehearsed beside the target's frames (`tuning.replay`)."""
    branches: ClassVar[bool] = False
    """True if there is always a readout for each head that the frames name (`matgraft.potentials.tuning.heads`)."""

    @abstractmethod
    def learning(self, backbone: Backbone) -> list[ParamGroup]:
        """Return what the fit changes, one group a stage. The backbone stays as it is."""

    def prepare(self, backbone: Backbone, *, seed: int = 0) -> list[ParamGroup]:
        """Freeze all but what learns.

        Parameters
        ----------
        seed
            Of what is drawn at random, if anything is.
        """
        groups = self.learning(backbone)
        backbone.module.requires_grad_(False)
        for group in groups:
            for parameter in group.parameters.values():
                parameter.requires_grad_(True)
        return [replace(group, matrices=matrices_in(backbone, group.parameters)) for group in groups]

    def finish(self, backbone: Backbone) -> Backbone:
        """Return a plain model: frozen, in evaluation mode."""
        backbone.module.requires_grad_(False)
        backbone.module.eval()
        return backbone


class Full(Strategy):
    """Every stage learns.

    Parameters
    ----------
    decay
        Factor of the learning rate from each stage to the one before it, readout to embedding; 1 is one rate for all.
    """

    name = "full"

    def __init__(self, decay: float = 1.0) -> None:
        self.decay = decay

    def learning(self, backbone: Backbone) -> list[ParamGroup]:
        """Return all stages."""
        groups = [ParamGroup(stage.name, stage.parameters()) for stage in backbone.stages()]
        return _decayed(groups, backbone, self.decay)


class Replay(Full):
    """Every stage learns, on the target's frames and on others that the foundation labels: what it knew stays.

    Any other strategy through the network rehearses as well where it is given replay frames.
    """

    name = "replay"
    replays = True


class Partial(Strategy):
    """The stages or parameters that a pattern names learn.

    Parameters
    ----------
    stages
        Names or globs of stages (``interaction-*``) or of parameters (``atom_conv_layers.3.*``). Default: the last two
        stages.
    decay
        As of `Full`, counted from the readout whether it learns or not.
    """

    name = "partial"

    def __init__(self, stages: Sequence[str] = (), decay: float = 1.0) -> None:
        self.patterns, self.decay = tuple(stages), decay

    def learning(self, backbone: Backbone) -> list[ParamGroup]:
        """Return the stages matched, cut down to the parameters matched where a pattern names parameters.

        Raises
        ------
        OptionError
            If a pattern matches no stage and no parameter.
        """
        stages = {stage.name: stage.parameters() for stage in backbone.stages()}
        patterns = self.patterns or tuple(stages)[-2:]
        return _decayed(_matched(stages, patterns, "parameter", backbone), backbone, self.decay)


class Feature(Strategy):
    """Only the readout learns, on features and tangents cached once (`matgraft.potentials.tuning.tangents`)."""

    name = "feature"
    cached = True

    def learning(self, backbone: Backbone) -> list[ParamGroup]:
        """Return the last stage."""
        readout = backbone.stages()[-1]
        return [ParamGroup(readout.name, readout.parameters())]


class Gradual(Strategy):
    """The readout learns first; the stages before it join at equal intervals, the embedding last.

    A stage that waits asks for no gradient.

    Parameters
    ----------
    decay
        As of `Full`.
    unfreeze
        Part of the planned steps after which every stage learns.
    """

    name = "gradual"

    def __init__(self, decay: float = 1.0, unfreeze: float = 0.5) -> None:
        if not 0 < unfreeze < 1:
            raise OptionError(f"strategy.unfreeze={unfreeze:g}", allowed=["a part of the steps between 0 and 1"])
        self.decay, self.unfreeze = decay, unfreeze

    def learning(self, backbone: Backbone) -> list[ParamGroup]:
        """Return all stages, each with its start."""
        groups = Full(self.decay).learning(backbone)
        waiting = max(1, len(groups) - 1)
        return [replace(group, start=self.unfreeze * (1 - i / waiting)) for i, group in enumerate(groups)]


class LoRA(Strategy):
    """Low-rank updates of linear layers learn; `finish` merges them (`matgraft.core.training.lora`).

    Biases, norms, tables of elements and other tensors stay as they are, in the readout as elsewhere: the tuned model
    differs from its foundation by matrices of low rank alone, so that the rank bounds how far it can go.

    Parameters
    ----------
    stages
        Names or globs of stages or of weights of linear layers (``*.mlp_out.*``). Default: every stage.
    rank
        Of each update: 8 leaves a fifth of the parameters of `Full` on CHGNet. A matrix with fewer rows or columns gets
        an update of its full rank.
    alpha
        Updates are scaled by alpha/rank.
    """

    name = "lora"

    def __init__(self, stages: Sequence[str] = (), rank: int = 8, alpha: float = 4.0) -> None:
        if rank < 1 or not alpha > 0:
            raise OptionError(
                f"strategy.rank={rank}, strategy.alpha={alpha:g}", allowed=["rank from 1", "alpha above 0"]
            )
        self.patterns, self.rank, self.alpha = tuple(stages), rank, alpha

    def learning(self, backbone: Backbone) -> list[ParamGroup]:
        """Return the weights that get an update.

        Raises
        ------
        OptionError
            If a pattern matches no stage with a linear layer, and no weight of one.
        """
        stages = {stage.name: linear_weights(backbone, stage) for stage in backbone.stages()}
        return _matched(stages, self.patterns or ("*",), "weight of a linear layer", backbone)

    def prepare(self, backbone: Backbone, *, seed: int = 0) -> list[ParamGroup]:
        """Freeze everything, and put an update on each weight; the updates learn."""
        groups = self.learning(backbone)
        backbone.module.requires_grad_(False)
        random = torch.Generator().manual_seed(seed)
        return [
            replace(group, parameters=inject(backbone, list(group.parameters), self.rank, self.alpha, random))
            for group in groups
        ]

    def finish(self, backbone: Backbone) -> Backbone:
        """Add the updates to their weights, and return the plain model."""
        merge(backbone.module)
        return super().finish(backbone)


class MultiHead(Full):
    """Every stage learns, on frames of several levels of theory or tasks: the body is shared, the readouts are not.

    Parameters
    ----------
    decay
        As of `Full`.
    """

    name = "multihead"
    branches = True


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    kind.name: kind for kind in (Full, Partial, Feature, Gradual, LoRA, Replay, MultiHead)
}


OF_FORMULAS = {
    "auto": "ladder compares strategies of potentials; auto does those of formulas",
    "prompt": "lora trains little and leaves the rest as it is; prompt is for formulas",
    "descriptors": "feature is the cheapest for potentials; descriptors is for formulas",
    "domain": "multihead takes frames of two theories; domain is for formulas",
}
"""The nearest that works, by strategies that only tables of formulas have."""


def through_network() -> list[str]:
    """Return the strategies whose fit passes frames through the whole network: these may rehearse and have heads."""
    return [name for name, kind in STRATEGIES.items() if not getattr(kind, "cached", False)]


def options_of(name: str) -> set[str]:
    """Return the options that a strategy reads: the parameters of its constructor."""
    return set(inspect.signature(choose(name, STRATEGIES, "strategy", OF_FORMULAS)).parameters)


def make_strategy(name: str, stages: Sequence[str] = (), **options: float | None) -> Strategy:
    """Return a strategy by name.

    Parameters
    ----------
    options
        ``rank``, ``alpha``, ``decay`` or ``unfreeze``; None is not given.

    Raises
    ------
    OptionError
        If the name is unknown, or an option is given to a strategy that does not read it.
    """
    kind = choose(name, STRATEGIES, "strategy", OF_FORMULAS)
    given = {key: value for key, value in {"stages": tuple(stages) or None, **options}.items() if value is not None}
    read = {other: options_of(other) for other in STRATEGIES}
    for key in given:
        choose(key, dict.fromkeys(set().union(*read.values())), "option of a strategy")
        if key not in read[name]:
            readers = [other for other, keys in read.items() if key in keys]
            raise OptionError(
                f"strategy.{key} is not read with strategy {name!r}",
                allowed=readers,
                remedy="remove it, or take another strategy",
            )
    return kind(**given)


def _matched(
    stages: Mapping[str, dict[str, nn.Parameter]], patterns: Sequence[str], what: str, backbone: Backbone
) -> list[ParamGroup]:
    """Return what the patterns name, whole stages or single parameters; each pattern must name something."""
    known = [*(name for name, own in stages.items() if own), *(name for own in stages.values() for name in own)]
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise OptionError(
                f"strategy.stages: {pattern!r} matches no stage and no {what} of {backbone.card.name}",
                allowed=[name for name, own in stages.items() if own],
                remedy=nearest(pattern, known),
            )

    def named(*names: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)

    groups = [ParamGroup(name, {n: p for n, p in own.items() if named(name, n)}) for name, own in stages.items()]
    return [group for group in groups if group.parameters]


def _decayed(groups: Sequence[ParamGroup], backbone: Backbone, decay: float) -> list[ParamGroup]:
    """Multiply each stage's rate by `decay` to the power of its distance from the readout."""
    if not 0 < decay <= 1:
        raise OptionError(f"strategy.decay={decay:g}", allowed=["a factor above 0, up to 1 (one rate for all)"])
    distance = {stage.name: i for i, stage in enumerate(reversed(backbone.stages()))}
    if decay < 1 and not any(distance[group.name] for group in groups):
        raise OptionError("strategy.decay is not read: only the readout learns", allowed=["stages before it"])
    return [replace(group, rate_factor=decay ** distance[group.name]) for group in groups]
