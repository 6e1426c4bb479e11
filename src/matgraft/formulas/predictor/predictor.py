"""A predictor that was fitted: its members answer, and their answers become values with intervals or classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

import numpy as np

from matgraft.core.errors import DataError
from matgraft.core.processes import cores
from matgraft.formulas.domain.adaptation import ChosenMethod
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.forest import MEDIAN
from matgraft.formulas.learners.inputs import Array, Inputs, Labels
from matgraft.formulas.learners.novelty import Neighbourhood
from matgraft.formulas.predictor.calibration import pooled
from matgraft.formulas.predictor.facts import HeldLosses, PredictorFacts
from matgraft.formulas.predictor.members import DESCRIPTORS, Member, Model, Shared, Tools, Tuned
from matgraft.formulas.predictor.out_of_fold import HeldIntervals, OutOfFoldCalibration
from matgraft.formulas.predictor.prediction import Mixtures, Prediction
from matgraft.formulas.predictor.settings import PredictorSettings


@dataclass(eq=False)
class Predictor:
    """Members with their weights on their training data.

    Attributes
    ----------
    networks
        By member's name, the fits of the inner folds.
    held_intervals
        Of the training rows, out of fold; None for classes, and of a folder of an earlier version.
    out_of_fold
        Predictions of the training rows by fits that did not see them; NaN for rows of weight 0.
    facts
        What was chosen on these predictions, and what each member gave there.
    held_losses
        What these predictions are judged by, of the rows that count.
    adapted
        How the target was reached, where there is one.
    stored
        By member's name, fits that were kept as arrays; the other members are fitted again.

    The four before the last are of a fit; a predictor that was read from files has none of them.
    """

    tools: Tools
    inputs: Inputs
    labels: Labels
    members: tuple[Member, ...]
    settings: PredictorSettings
    calibration: OutOfFoldCalibration
    networks: dict[str, list[Tuned]]
    held_intervals: HeldIntervals | None = None
    out_of_fold: Prediction | None = None
    facts: PredictorFacts | None = None
    held_losses: HeldLosses | None = None
    adapted: ChosenMethod | None = None
    stored: Mapping[str, Model] = field(default_factory=dict)
    _models: list[list[Model]] | None = None
    _neighbourhood: Neighbourhood | None = None
    _lock: Any = field(default_factory=RLock, repr=False)

    def predict(self, formulas: Sequence[Formula], covariates: Array | None = None) -> Prediction:
        """Predict formulas.

        Trees and closed forms are fitted on the stored training data at the first call, seconds for thousands of rows.
        """
        return self.predict_inputs(Inputs.of(formulas, self.tools.backbone, covariates))

    def predict_inputs(self, test: Inputs) -> Prediction:
        """Predict formulas whose features are there already; see `predict`."""
        return self.read(self.mixtures(test), test)

    def mixtures(self, test: Inputs) -> Mixtures:
        """Return what the members say together of formulas, on the scale that was learned."""
        given, known = (part.blocks["covariates"].shape[1] for part in (test, self.inputs))
        if given != known:
            raise DataError(f"{given} covariates, but the training data had {known}")
        if not len(test):
            raise DataError("there is no formula to predict")
        answers = [[model(test) for model in models] for models in self.models]
        mixed = self.calibration.mix([np.mean(models, 0) if models else None for models in answers])
        spread = mixed
        if self.calibration.interval:
            shares = [(one, w / len(models)) for models, w in zip(answers, self.calibration.weights, strict=True)
                      for one in models]  # fmt: skip
            spread = pooled(*map(list, zip(*shares, strict=True)))
        return Mixtures(mixed, spread)

    def read(self, said: Mixtures, test: Inputs) -> Prediction:
        """Turn what the members say of formulas into predictions in the target's own units."""
        prediction = self.calibration.read(said.centre, said.spread, self.neighbourhood.distance(test.blocks))
        known = set(self.inputs.formulas)
        prediction = replace(prediction, in_training=np.array([formula in known for formula in test.formulas]))
        return self.held_intervals.widen(prediction, test, self.inputs) if self.held_intervals else prediction

    def baseline(self, test: Inputs) -> Array:
        """Return what trees on descriptors, fitted on the same rows, say: (n,) values, or (n, n_classes)."""
        everything, tools = (self.inputs, self.labels), replace(self.tools, threads=cores())
        said = DESCRIPTORS.fit(everything, everything, tools, self.settings.seed)(test)
        return np.asarray(said if self.labels.n_classes else self.calibration.transform.back(said[:, MEDIAN]))

    @property
    def tuned(self) -> list[Tuned]:
        """The networks of the member that counts most, one an inner fold; none where no encoder was tuned."""
        pairs = zip(self.members, self.calibration.weights, strict=True)
        able = [(float(weight), member.name) for member, weight in pairs if self.networks.get(member.name)]
        return self.networks[max(able)[1]] if able else []

    @property
    def models(self) -> list[list[Model]]:
        """The fits of every member, none for those that do not count; built whole by one thread, once."""
        with self._lock:
            if self._models is None:
                pairs, shared = zip(self.members, self.calibration.weights, strict=True), Shared()
                self._models = [self._fits_of(member, shared) if weight else [] for member, weight in pairs]
            return self._models

    @property
    def neighbourhood(self) -> Neighbourhood:
        """Where the training set lies."""
        with self._lock:
            if self._neighbourhood is None:
                self._neighbourhood = Neighbourhood.of(self.inputs.blocks)
            return self._neighbourhood

    def refitted(self) -> Predictor:
        """Return a predictor that fits its members again, as those of scikit-learn."""
        return replace(self, stored={}, _models=None)

    def _fits_of(self, member: Member, shared: Shared) -> list[Model]:
        if not member.refits:
            return list(self.networks[member.name])
        if member.name in self.stored:
            return [self.stored[member.name]]
        everything, tools = (self.inputs, self.labels), replace(self.tools, threads=cores())
        return [member.fit(everything, everything, tools, self.settings.seed, shared)]

    def __getstate__(self) -> dict[str, object]:
        """Return what is copied or pickled: everything but the lock."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        """Take over a state, with a lock of its own."""
        vars(self).update(state, _lock=RLock())
