"""Strategies: what of a pretrained model may learn. Written once over `Backbone.stages`, for every backbone.

| strategy | learns                                   | cost                                                   |
| -------- | ---------------------------------------- | ------------------------------------------------------ |
| full     | every stage                              | epochs through the whole network                       |
| partial  | the stages named, the last two by default | the same epochs, fewer parameters                      |
| feature  | the readout, on features cached once     | one pass through the network, then seconds (`tangents`) |

A strategy prepares a backbone (freezes, injects) and says what learns; `finish` leaves a plain model for export.
"""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from matgraft.backbones.base import Backbone, Stage
from matgraft.errors import OptionError, choose, nearest


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
    """

    name: str
    parameters: dict[str, nn.Parameter]
    rate_factor: float = 1.0


class Strategy(ABC):
    """What learns."""

    name: ClassVar[str]
    cached: ClassVar[bool] = False
    """True if the fit runs on features cached once instead of through the network."""

    @abstractmethod
    def learning(self, backbone: Backbone) -> list[ParamGroup]:
        """Return what learns, one group a stage."""

    def prepare(self, backbone: Backbone) -> list[ParamGroup]:
        """Freeze all but what learns."""
        for parameter in backbone.module.parameters():
            parameter.requires_grad_(False)
        groups = self.learning(backbone)
        for group in groups:
            for parameter in group.parameters.values():
                parameter.requires_grad_(True)
        return groups

    def finish(self, backbone: Backbone) -> Backbone:
        """Return a plain model: frozen, in evaluation mode."""
        for parameter in backbone.module.parameters():
            parameter.requires_grad_(False)
        backbone.module.eval()
        return backbone


class Full(Strategy):
    """Every stage learns."""

    name = "full"

    def learning(self, backbone: Backbone) -> list[ParamGroup]:
        """Return all stages."""
        return [ParamGroup(stage.name, stage.parameters()) for stage in backbone.stages()]


class Partial(Strategy):
    """The stages or parameters that a pattern names learn.

    Parameters
    ----------
    stages
        Names or globs of stages (``interaction-*``) or of parameters (``atom_conv_layers.3.*``). Default: the last two
        stages.
    """

    name = "partial"

    def __init__(self, stages: Sequence[str] = ()) -> None:
        self.patterns = tuple(stages)

    def learning(self, backbone: Backbone) -> list[ParamGroup]:
        """Return the stages matched, cut down to the parameters matched where a pattern names parameters.

        Raises
        ------
        OptionError
            If a pattern matches no stage and no parameter.
        """
        stages = backbone.stages()
        patterns = self.patterns or tuple(stage.name for stage in stages[-2:])
        known = [stage.name for stage in stages] + [name for stage in stages for name in stage.parameters()]
        for pattern in patterns:
            if not fnmatch.filter(known, pattern):
                raise OptionError(
                    f"strategy.stages: {pattern!r} matches no stage and no parameter of {backbone.card.name}",
                    allowed=[stage.name for stage in stages],
                    remedy=nearest(pattern, known),
                )
        groups = [ParamGroup(stage.name, _matched(stage, patterns)) for stage in stages]
        return [group for group in groups if group.parameters]


class Feature(Strategy):
    """Only the readout learns, on features and tangents cached once (`matgraft.transfer.tangents`)."""

    name = "feature"
    cached = True

    def learning(self, backbone: Backbone) -> list[ParamGroup]:
        """Return the last stage."""
        readout = backbone.stages()[-1]
        return [ParamGroup(readout.name, readout.parameters())]


STRATEGIES: dict[str, type[Strategy]] = {kind.name: kind for kind in (Full, Partial, Feature)}


def make_strategy(name: str, stages: Sequence[str] = ()) -> Strategy:
    """Return a strategy by name.

    Raises
    ------
    OptionError
        If the name is unknown, or stages are given to a strategy that does not read them.
    """
    kind = choose(name, STRATEGIES, "strategy")
    if kind is Partial:
        return Partial(stages)
    if stages:
        raise OptionError(f"strategy.stages would do nothing with {name!r}", allowed=["partial"])
    return kind()


def _matched(stage: Stage, patterns: Sequence[str]) -> dict[str, nn.Parameter]:
    parameters = stage.parameters()
    if any(fnmatch.fnmatch(stage.name, pattern) for pattern in patterns):
        return parameters
    return {n: p for n, p in parameters.items() if any(fnmatch.fnmatch(n, pattern) for pattern in patterns)}
