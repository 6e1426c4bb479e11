"""The one training loop: for every strategy, every backbone, and pretraining.

What is minimised is an `Objective`; what learns are the `ParamGroup`s of a strategy. The loop adds batches, which pass
in parts where they are larger than a budget of atoms and edges, Adam or SOAP with warm-up and decay, an average of the
weights, clipping, validation, the best snapshot, checkpoints, early stopping and, on a CPU, one single-threaded process
a core. Killed at any moment, a fit resumes from its last checkpoint to the same weights that an unbroken run would
have: batches and rates follow from the seed and the step.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from matgraft.core.training.execution import Execution
from matgraft.core.training.loop import FitLoop
from matgraft.core.training.objective import FitResult, Keep, Objective
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import ParamGroup


def fit(
    objective: Objective,
    module: nn.Module,
    groups: Sequence[ParamGroup],
    settings: FitSettings,
    execution: Execution | None = None,
    *,
    l2: float = 0.0,
    keep: Keep = "best",
    spent: float = 0.0,
) -> FitResult:
    """Minimise an objective.

    Parameters
    ----------
    settings
        With every None resolved (`matgraft.potentials.tuning.defaults`).
    l2
        lambda of the loss's |theta|^2, summed over what learns.
    keep
        ``"best"``: the weights with the smallest loss on the validation samples. ``"sound"``: validate the starting
        weights too, and take the smallest loss among the weights that have no larger error there than the start; if
        there are none, among all. ``"last"``: those of the last step; validations are for the curves alone.
    spent
        Seconds of the settings' minutes that are gone before the fit begins.

    Raises
    ------
    RunError
        If a worker died, or the loss is not a number.
    """
    with (execution or Execution()).in_folder() as placed:
        return FitLoop(objective, module, list(groups), settings, placed, l2, keep, spent).launch()
