"""Settings that follow from the strategy and the amount of data. What a user sets always wins.

The figures come from fits of CHGNet to the Si and Mo frames (`benchmarks/`): a batch of four frames of some 60 atoms,
Adam at 3e-3 through the network (after 4 epochs on Si, test errors are 9.7 meV/atom and 0.151 eV/Å, against 12.6 and
0.156 at 1e-3); many more, larger and cheaper batches for a head on cached features.
"""

from __future__ import annotations

from typing import Any

from matgraft.transfer.schedule import FitSettings
from matgraft.transfer.strategy import Strategy

STEPS = 4000
"""Steps of a fit through the network when nothing bounds it; epochs follow from the number of frames."""
HEAD_STEPS = 4000
"""Steps of a fit of a head on cached features."""


def fit_defaults(strategy: Strategy, n_frames: int, settings: FitSettings) -> FitSettings:
    """Return the settings with every None filled.

    Parameters
    ----------
    n_frames
        Training frames.
    """
    batch = settings.batch or default_batch(strategy, n_frames)
    steps_an_epoch = max(1, -(-n_frames // batch))
    chosen: dict[str, Any] = {"batch": batch, "clip": 10.0}
    if strategy.cached:
        epochs = _bounded(HEAD_STEPS // steps_an_epoch, 50, 1000)
        chosen |= {"rate": 2e-3, "epochs": epochs, "ema": 0.99, "patience": max(20, epochs // 4), "processes": 1}
    else:
        epochs = _bounded(STEPS // steps_an_epoch, 5, 200)
        chosen |= {"rate": 3e-3, "ema": 0.99, "patience": max(10, epochs // 4)}
        chosen |= {} if settings.max_minutes else {"epochs": epochs}
    given = {name: value for name, value in settings.model_dump().items() if value is not None}
    return FitSettings(**{**chosen, **given})


def default_batch(strategy: Strategy, n_frames: int) -> int:
    """Frames a batch: at least some 20 steps an epoch for small sets, at most 4 (16 for a cached head)."""
    return _bounded(n_frames // 20, 1, 16 if strategy.cached else 4)


def _bounded(value: int, low: int, high: int) -> int:
    return min(high, max(low, value))
