"""Settings that follow from the strategy, the foundation and the amount of data. What a user sets always wins.

The figures that chose each default are in `benchmarks/notebook.md`.
"""

from __future__ import annotations

from matgraft.core import devices
from matgraft.core.processes import cores
from matgraft.core.training.schedule import WARMUP, FitSettings
from matgraft.core.training.strategy import LoRA, Strategy
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.tuning.loss import LossSettings

SHOWN = 16_000
"""Frames that a fit through the network shows when nothing bounds it, each as often as there are epochs."""
LARGEST_BATCH = 4
"""Frames a batch through the network. Fewer cores take as many frames as there are cores, but two at least: in as many
passes smaller batches make more steps."""
UPDATE_RATE = 3e-3
"""Largest rate of low-rank updates, whatever the foundation and the optimizer: they begin at zero, and `strategy.alpha`
scales them."""
SOAP_FACTOR = 3.0
"""Rate of SOAP by that of Adam, which each adapter names."""
SOAP_WARMUP, SOAP_HOLD = 0.1, 0.6
"""Parts of the steps over which SOAP's rate rises, and then holds before it falls: meanwhile the average of the weights
calms what a large rate stirs up."""
REPLAY_SHARE, REPLAY_RATE = 1 / 3, 1e-3
"""Rate of a fit with replay frames, by either optimizer: this part of what Adam's would be, and at most so much. At the
start these frames have next to no gradient, and Adam makes whole steps of what there is."""
HEAD_WEIGHTS = {"energy": 100.0, "stress": 300.0}
"""Of a head on cached features, in place of the loss's own defaults."""
HEAD_STEPS = 8000
"""Steps of a fit of a head on cached features."""
PATIENCE = 0.25
"""Part of the planned validations."""


def fit_defaults(
    strategy: Strategy, n_frames: int, settings: FitSettings, *, rate: float = UPDATE_RATE, rehearsed: int = 0
) -> FitSettings:
    """Return the settings with every None filled.

    Parameters
    ----------
    rate
        At which the foundation's own weights are trained on (`Potential.rate`).
    n_frames
        Training frames.
    rehearsed
        Replay frames beside them.
    """
    n_frames += rehearsed
    batch = settings.batch or default_batch(strategy, n_frames)
    steps_an_epoch = max(1, -(-n_frames // batch))
    optimizer = settings.optimizer or ("adam" if strategy.cached else "soap")
    warmup, hold = (SOAP_WARMUP, SOAP_HOLD) if optimizer == "soap" else (WARMUP, 0.0)
    epochs: int | None = _bounded(HEAD_STEPS // steps_an_epoch, 50, 1000)
    processes: int | None = 1
    if strategy.cached:
        rate = 2e-3
    else:
        updates = strategy.name == LoRA.name
        own = UPDATE_RATE if updates else rate * (SOAP_FACTOR if optimizer == "soap" else 1.0)
        shared = min((UPDATE_RATE if updates else rate) * REPLAY_SHARE, REPLAY_RATE)
        rate, processes = shared if rehearsed else own, None
        epochs = None if settings.max_minutes else _bounded(SHOWN // n_frames, 5, 200)
    chosen = FitSettings(
        optimizer=optimizer,
        rate=rate,
        epochs=epochs,
        batch=batch,
        warmup=warmup,
        hold=hold,
        ema=0.99,
        clip=10.0,
        patience=PATIENCE,
        processes=processes,
    )
    return chosen.model_copy(update={name: value for name, value in settings if value is not None})


def loss_defaults(strategy: Strategy, loss: LossSettings, dataset: Dataset) -> LossSettings:
    """Return the loss with the weights that suit the strategy, where they are not set and there is something to weigh.

    A head on fixed features cannot follow forces far: their error soon stands still, while that of energies falls on.
    Magnetic moments are read before these features, and stay what they are.
    """
    if not strategy.cached:
        return loss
    unset = {name for name in HEAD_WEIGHTS if getattr(loss, name) is None and dataset.count(name)}
    moments = {"magmom": 0.0} if dataset.count("magmom") else {}
    return loss.model_copy(update={name: HEAD_WEIGHTS[name] for name in unset} | moments)


def default_batch(strategy: Strategy, n_frames: int) -> int:
    """Frames a batch: some 20 steps an epoch or more for small sets, at most `LARGEST_BATCH` (16 for a cached head)."""
    on_cpu = devices.training_device().type == "cpu"
    through_network = _bounded(cores(), 2, LARGEST_BATCH) if on_cpu else LARGEST_BATCH
    return _bounded(n_frames // 20, 1, 16 if strategy.cached else through_network)


def _bounded(value: int, low: int, high: int) -> int:
    return min(high, max(low, value))
