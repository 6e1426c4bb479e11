"""What a model's errors are on labelled frames: by one call, or as `matgraft evaluate` writes them."""

from __future__ import annotations

from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.verdict import Verdict
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.scoring.frame_errors import errors
from matgraft.potentials.scoring.metrics import Figures, metrics
from matgraft.potentials.scoring.scores import Scores


class SeenCounts(Frozen):
    """What the fit did with the frames of a file.

    Attributes
    ----------
    trained_on, validated_on, unseen
        Numbers of frames.
    """

    trained_on: int
    validated_on: int
    unseen: int

    @property
    def total(self) -> int:
        """All frames of the file."""
        return self.trained_on + self.validated_on + self.unseen


class Evaluation(Scores):
    """The errors of a finished run's model on further frames.

    Attributes
    ----------
    file
        That the frames are from.
    frames
        What the fit did with them; None of a run that does not say.
    verdict
        On the frames that the fit has not seen.
    with_seen
        The errors on all frames, where the fit has seen some of them and others not.
    left_out
        What the model cannot take, frame by frame; it is in no figure.
    """

    file: str
    frames: SeenCounts | None
    verdict: Verdict
    with_seen: Scores | None = None
    left_out: tuple[Finding, ...] = ()


def evaluate(backbone: Potential, dataset: Dataset, *, processes: int = 1) -> Figures:
    """Return RMSE and MAE in the units of reports: ``energy_rmse_meV_per_atom``, ``forces_rmse_eV_per_A``, ...

    Only quantities that both the model predicts and the frames label are there.
    """
    predictions = predict_samples(backbone, dataset, tuple(backbone.quantities), processes=processes)
    return metrics(errors(dataset, predictions, backbone.quantities))
