"""How a fit went, and what decided it: what fit.json holds."""

from __future__ import annotations

from matgraft.core.frozen import Frozen
from matgraft.core.training.schedule import FitSettings
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.tuning.adapt import TunedPotential
from matgraft.potentials.tuning.replay import Rehearsal
from matgraft.potentials.tuning.step_zero import StepZero


class FitFacts(Frozen):
    """How a fit went.

    Attributes
    ----------
    best_step, best_value, criterion
        The checkpoint that was kept, and what it was chosen by.
    stopped, steps, epochs, seconds, processes
        Why and when the fit ended.
    parameters_trained, parameters_total
        Numbers of parameters.
    step_zero
        How far the prepared model was from its foundation.
    settings
        With every default filled in.
    loss_weights
        Weight of each quantity in the loss; eV/atom, eV/Å, eV/Å³.
    n_frames
        Training frames.
    replay
        What was rehearsed; None where nothing was.
    """

    best_step: int
    best_value: float
    criterion: str
    stopped: str
    steps: int
    epochs: float
    seconds: float
    processes: int
    parameters_trained: int
    parameters_total: int
    step_zero: StepZero
    settings: FitSettings
    loss_weights: dict[str, float]
    n_frames: int
    replay: Rehearsal | None = None


def fit_facts(adapted: TunedPotential, train: Dataset) -> FitFacts:
    """Return how the adaptation to some training frames went."""
    fit = adapted.fit
    return FitFacts(
        best_step=fit.best_step,
        best_value=fit.best_value,
        criterion=fit.criterion,
        stopped=fit.stopped,
        steps=fit.steps,
        epochs=fit.epochs,
        seconds=fit.seconds,
        processes=fit.processes,
        parameters_trained=adapted.trained,
        parameters_total=adapted.total,
        step_zero=adapted.step_zero,
        settings=adapted.settings,
        loss_weights=adapted.loss.weights(train),
        n_frames=len(train),
        replay=adapted.replay,
    )
