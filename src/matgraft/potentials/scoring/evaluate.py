"""One call from a model and labelled frames to its errors."""

from __future__ import annotations

from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict
from matgraft.potentials.scoring.metrics import errors, metrics


def evaluate(backbone: Potential, dataset: Dataset, *, processes: int = 1) -> dict[str, float]:
    """Return RMSE and MAE in the units of reports: ``energy_rmse_meV_per_atom``, ``forces_rmse_eV_per_A``, ...

    Only quantities that both the model predicts and the frames label are there.
    """
    predictions = predict(backbone, dataset, tuple(backbone.quantities), processes=processes)
    return metrics(errors(dataset, predictions, backbone.quantities))
