"""Settings that follow from the strategy, the foundation and the amount of data. What a user sets always wins.

The figures come from fits to the Si and Mo frames (`benchmarks/`): batches of two to four frames of some 60 atoms and
SOAP through the network, at a rate that follows from the adapter's (`Potential.rate`); many more, larger and cheaper
batches and Adam for a head on cached features.
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
"""Through the network. Fewer cores take as many frames as there are cores, but two at least: in as many passes smaller
batches make more steps. TensorNet on Si, 2.5 passes, validation meV/atom and eV/Å at 4, 2 and 1 frames a batch: 7.1 and
0.127, 6.4 and 0.120, 6.4 and 0.120; on Mo at 4 and 2 4.2 and 0.211, 5.5 and 0.205; CHGNet on Si 9.2 and 0.147, 8.2 and
0.146."""
UPDATE_RATE = 3e-3
"""Largest rate of low-rank updates, whatever the foundation and the optimizer: they begin at zero, and `strategy.alpha`
scales them. TensorNet on Si by SOAP, some 1.5 passes, how far structures of other elements move: 3e-3 68 meV/atom and
0.09 eV/Å, 1e-2 103 and 0.13, with larger errors."""
SOAP_FACTOR = 3.0
"""Rate of SOAP by that of Adam, which each adapter names. Four minutes of one core, validation meV/atom and eV/Å:
TensorNet on Si by Adam 5.7, 0.115, by SOAP at three times the rate 5.6, 0.111, at ten times 5.7, 0.116; on Mo 4.2,
0.197 and 3.6, 0.192 (at Adam's own rate 4.4, 0.198); a small MACE on Mo 10.9, 0.208 and 4.7, 0.177 (at Adam's own 9.8,
0.206, at ten times far behind). Adam gains nothing by more: TensorNet on Mo at three times its rate falls behind, the
MACE at twice has 12.4, 0.215."""
SOAP_WARMUP, SOAP_HOLD = 0.1, 0.6
"""Parts of the steps over which SOAP's rate rises, and then holds before it falls: meanwhile the average of the weights
calms what a large rate stirs up. Validation meV/atom and eV/Å of a small MACE on Si, four passes: with 0.05 and 0 8.5,
0.157, with 0.1 and 0.6 7.3, 0.138, with 0.1 and 0.8 7.6, 0.132, with 0.2 and 0.8 7.0, 0.130; of TensorNet, two passes:
with the first 6.4, 0.116, with the second 5.7, 0.112, with the third 8.8, 0.116."""
REPLAY_SHARE, REPLAY_RATE = 1 / 3, 1e-3
"""Rate of a fit with replay frames, by either optimizer: this part of what Adam's would be, and at most so much
(CHGNet on SiGe by SOAP, test and outside: 1e-3 7.1, 0.143 and 23, 0.11; 3e-3 9.9, 0.110 and 69, 0.14). At the start
these frames have next to no gradient, and Adam makes whole steps of what there is: most of all in the embeddings of
elements that few frames hold. How far structures with other elements move, meV/atom and eV/Å: CHGNet on the SiGe
frames, six epochs, 60 and 0.13 at 3e-3, 22 and 0.09 at 1e-3; M3GNet on Mo, three epochs, 83 and 0.26 at 3e-4, 31 and
0.09 at 1e-4 (without replay 39 and 0.13); a small MACE on Si, three minutes, 132 and 0.42 at 3e-3, 34 and 0.07 at
1e-3, where the errors on the target are alike (without replay, at 0.01, 290 and 0.59)."""
HEAD_WEIGHTS = {"energy": 100.0, "stress": 300.0}
"""Of a head on cached features, in place of the loss's own defaults. On Si, test errors by that of energies: 30 gives
9.6 meV/atom and 0.168 eV/Å, 100 gives 7.0 and 0.172, 300 gives 7.0 and 0.185."""
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
    """
    if not strategy.cached:
        return loss
    unset = {name for name in HEAD_WEIGHTS if getattr(loss, name) is None and dataset.count(name)}
    return loss.model_copy(update={name: HEAD_WEIGHTS[name] for name in unset})


def default_batch(strategy: Strategy, n_frames: int) -> int:
    """Frames a batch: some 20 steps an epoch or more for small sets, at most `LARGEST_BATCH` (16 for a cached head)."""
    on_cpu = devices.training_device().type == "cpu"
    through_network = _bounded(cores(), 2, LARGEST_BATCH) if on_cpu else LARGEST_BATCH
    return _bounded(n_frames // 20, 1, 16 if strategy.cached else through_network)


def _bounded(value: int, low: int, high: int) -> int:
    return min(high, max(low, value))
