"""The optimizer of a fit: SOAP or Adam, with a largest rate for each group that learns."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.soap import Soap
from matgraft.core.training.strategy import ParamGroup


def make_optimizer(groups: Sequence[ParamGroup], settings: FitSettings) -> torch.optim.Optimizer:
    """Return the optimizer of the settings over what learns; each group remembers its largest rate as ``base``."""
    assert settings.rate is not None
    given = [
        {
            "params": list(group.parameters.values()),
            "lr": settings.rate * group.rate_factor,
            "base": settings.rate * group.rate_factor,
            "matrices": [list(group.matrices.get(name, ())) for name in group.parameters],
            "weight_decay": group.weight_decay,
        }
        for group in groups
    ]
    if settings.optimizer == "soap":
        return Soap(given)
    # The fused and for-each variants differ in rounding between devices; one of them everywhere.
    kind = torch.optim.AdamW if any(group.weight_decay for group in groups) else torch.optim.Adam
    return kind(given, foreach=False)
