"""Several models on the same frames: each is asked about all of them, and those that all can take are kept.

answers = ask({"chgnet": load_potential("chgnet"), "runs/x": load_potential("runs/x")}, dataset, recipe)
answers.frames, answers.predictions["chgnet"], answers.left_out
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from matgraft.core.devices import prediction_device
from matgraft.core.errors import DataError
from matgraft.core.findings import Finding
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.registry import load_potential, names_are_words
from matgraft.potentials.models.uncertainty import Uncertainty
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.frames import foundation_predictions
from matgraft.potentials.run.remedies import as_typed
from matgraft.potentials.scoring.frame_errors import Predictions


@dataclass(frozen=True)
class Answers:
    """What several models say of the same frames.

    Attributes
    ----------
    frames
        Those that all models of `predictions` can take.
    predictions
        Model -> its predictions of these; a model that can take no frame at all is not there.
    left_out
        A finding for each model that cannot take some frames, with their numbers in the files.
    """

    frames: Dataset
    predictions: Mapping[str, Predictions]
    left_out: tuple[Finding, ...]


def load_models(names: Sequence[str]) -> dict[str, Potential]:
    """Load models by the names that were typed."""
    with names_are_words():
        return {name: load_potential(name) for name in names}


def ask(
    models: Mapping[str, Potential],
    dataset: Dataset,
    recipe: Recipe,
    *,
    quiet: bool = False,
    uncertainties: bool = False,
) -> Answers:
    """Predict frames with several models.

    Parameters
    ----------
    uncertainties
        True for how sure a model is, of those that were told (`matgraft.potentials.uncertainty`).

    Raises
    ------
    DataError
        If no model can take any frame, or none is left that the models can take together.
    """
    found = {}
    for name, model in models.items():
        model.module.to(prediction_device())
        sure = Uncertainty.find(model.folder, model.card) if uncertainties else None
        found[name] = foundation_predictions(model, dataset, quiet, "test", "given", sure)[:2]
    refused = {name: set(finding.frames) for name, (_, finding) in found.items()}
    able = [name for name in models if len(refused[name]) < len(dataset)]
    left_out = {name: finding for name, (_, finding) in found.items() if finding.outcome == "failed"}
    kept = [i for i in range(len(dataset)) if not any(i in refused[name] for name in able)]
    if not able or not kept:
        raise _nothing_left(left_out, able)
    return Answers(
        frames=dataset if len(kept) == len(dataset) else dataset[np.array(kept)],
        predictions={name: [found[name][0][i] for i in kept] for name in able},
        left_out=tuple(_left_out(finding, name, dataset, recipe) for name, finding in left_out.items()),
    )


def _nothing_left(refused: Mapping[str, Finding], able: list[str]) -> DataError:
    causes = [DataError(f"{name}: {finding.evidence}") for name, finding in refused.items()]
    remedy = "leave out the model that can take the fewest" if able else "take a model that knows these elements"
    found = "there is no frame that these models can take"
    return DataError(f"{found} together" if able else found, causes=causes, remedy=remedy)


def _left_out(finding: Finding, name: str, dataset: Dataset, recipe: Recipe) -> Finding:
    """Tell which frames are left out: there is nothing to be done about it."""
    said = {"title": f"frames that {name} cannot take", "severity": "warning", "remedy": "", "actions": ()}
    return as_typed(finding, dataset, recipe).model_copy(update=said)
