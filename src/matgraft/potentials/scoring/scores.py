"""The errors of a tuned model beside its baselines: what metrics.json holds.

>>> summarise(test, {"tuned": predictions, "untuned": untuned, "shift": shifted}, groups)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from matgraft.core.errors import DataError, OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import POTENTIAL_QUANTITIES, Quantity
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.scoring.comparison import ROUNDING, Comparison, compare
from matgraft.potentials.scoring.frame_errors import Predictions, errors, metric_key
from matgraft.potentials.scoring.metrics import (
    Figures,
    by_condition,
    by_tag,
    count_units,
    intervals,
    metrics,
    worst_decile,
)
from matgraft.potentials.scoring.relative import Elements, Relative, relative_energies

ModelName = Literal["test", "untuned", "shift"]
"""The tuned model on the part that is scored, and its baselines."""
_KEY_OF: Mapping[str, ModelName] = {"tuned": "test", "untuned": "untuned", "shift": "shift"}
"""Name of a model -> what metrics.json calls its figures."""
BASELINES: tuple[ModelName, ...] = ("untuned", "shift")
"""What a tuned model is held against: the foundation, and the foundation with shifted reference energies."""


class Change(Frozen):
    """An error on the validation frames, of the foundation with shifted references and of the tuned model.

    Attributes
    ----------
    quantity, unit
        Name of the quantity, and the unit of its error in reports.
    before, after
        RMSE of the shifted foundation, and of the tuned model.
    """

    quantity: str
    unit: str
    before: float
    after: float

    @property
    def worsened(self) -> bool:
        """True if the error rose by more than rounding, or is not finite any more."""
        before = max(self.before, POTENTIAL_QUANTITIES[self.quantity].rounding)
        return math.isfinite(self.before) and not self.after <= (1 + ROUNDING) * before


class Scores(Frozen):
    """The errors of a tuned model beside its baselines: what metrics.json holds.

    Attributes
    ----------
    test, untuned, shift
        Errors of the tuned model, of its foundation, and of the foundation with shifted references, as `metrics` gives
        them; empty where there is no such baseline.
    part
        Which frames were scored: "test", "validation", or what `matgraft evaluate` calls them.
    n_groups, n_groups_with
        Number of groups, and of those that carry each quantity.
    intervals
        Of each model, as `intervals` gives them.
    by_config_type
        Of each model, config type -> errors.
    by_tag
        The same for each tag or condition that ``scores.by`` names.
    held
        The condition that the scored frames meet, and no trained one does; empty where there is none.
    inside
        The same of frames that do not meet it, and were held out from the others.
    relative
        Errors of energies relative to each other; None of a model with several heads, of a correction, whose labels
        are differences of two methods and have no order of phases, and of runs of older versions.
    worst_force_decile
        Of each model, errors on the tenth of the atoms with the largest forces.
    gain
        Of the tuned model over each baseline.
    heads
        The same of each head's own frames, where the model has several.
    validation
        What became of each error on the validation frames.
    corrects
        Quantity -> key of the cheap label that the model is added to; then `untuned` is the cheap label alone. The
        errors are those of the sum.
    """

    test: Figures
    untuned: Figures = Field(default_factory=dict)
    shift: Figures = Field(default_factory=dict)
    part: str
    n_groups: int
    n_groups_with: dict[str, int]
    intervals: dict[ModelName, dict[str, tuple[float, float]]]
    by_config_type: dict[ModelName, dict[str, Figures]]
    by_tag: dict[str, dict[ModelName, dict[str, Figures]]] = Field(default_factory=dict)
    held: str = ""
    inside: Scores | None = None
    relative: Relative | None = None
    worst_force_decile: dict[ModelName, Figures]
    gain: dict[ModelName, dict[str, Comparison]]
    heads: dict[str, Scores] = Field(default_factory=dict)
    validation: tuple[Change, ...] = ()
    corrects: dict[str, str] = Field(default_factory=dict)

    def named(self, model: ModelName) -> str:
        """Return what a baseline is called in a sentence."""
        what = "the cheap method" if self.corrects else "the foundation"
        return f"{what} with shifted reference energies" if model == "shift" else what

    def of(self, model: ModelName) -> Figures:
        """Return the errors of a model."""
        return {"test": self.test, "untuned": self.untuned, "shift": self.shift}[model]

    @property
    def tables(self) -> dict[str, dict[ModelName, dict[str, Figures]]]:
        """Tag -> errors of each model by its values: config types first, where frames state any."""
        types = {"config_type": self.by_config_type} if any(self.by_config_type.values()) else {}
        return types | {name: table for name, table in self.by_tag.items() if name not in types}


def summarise(
    dataset: Dataset,
    predictions: Mapping[str, Predictions],
    groups: Sequence[str],
    *,
    part: str = "test",
    by: Sequence[str] = (),
    phases: str = "",
    elements: Elements | None = None,
    quantities: Mapping[str, Quantity] = POTENTIAL_QUANTITIES,
) -> Scores:
    """Score a tuned model and its baselines on the same frames.

    Parameters
    ----------
    predictions
        Model -> predictions: ``"tuned"``, and its baselines ``"untuned"`` and ``"shift"``. The tuned model's figures
        stand under ``"test"``.
    groups
        As of `intervals`.
    part
        Which frames `dataset` holds: "test", "validation", or what `matgraft evaluate` calls them.
    by
        Tags and conditions that get a table, as `matgraft.potentials.data.conditions` names them.
    phases, elements
        As of `relative_energies`; the models of `elements` have the names of `predictions`.

    Raises
    ------
    DataError
        If the part is empty, or numbers of frames differ.
    OptionError
        If there is no tuned model.
    """
    if not len(dataset):
        raise DataError("there is neither a test nor a validation part to score", remedy="give frames for a test")
    if "tuned" not in predictions:
        raise OptionError(f"no predictions of a tuned model among {sorted(predictions)}", allowed=["tuned", *BASELINES])
    found = {_KEY_OF[model]: errors(dataset, each, quantities) for model, each in predictions.items()}
    tags = dataset.tag("config_type")
    return Scores(
        test=metrics(found["test"]),
        untuned=metrics(found["untuned"]) if "untuned" in found else {},
        shift=metrics(found["shift"]) if "shift" in found else {},
        part=part,
        corrects=dataset.provenance.corrects,
        n_groups=len(set(groups)),
        n_groups_with=count_units(found["test"], groups),
        intervals={model: intervals(each, groups) for model, each in found.items()},
        by_config_type={model: by_tag(each, tags) for model, each in found.items()},
        by_tag={name: {model: by_condition(each, dataset, name) for model, each in found.items()} for name in by},
        relative=None if dataset.provenance.corrects else _relative(dataset, predictions, groups, phases, elements),
        worst_force_decile={_KEY_OF[model]: worst_decile(dataset, each) for model, each in predictions.items()},
        gain={model: compare(found["test"], each, groups) for model, each in found.items() if model != "test"},
    )


def _relative(
    dataset: Dataset,
    predictions: Mapping[str, Predictions],
    groups: Sequence[str],
    phases: str,
    elements: Elements | None,
) -> Relative:
    def keyed(named: Mapping[str, Predictions]) -> dict[str, Predictions]:
        return {_KEY_OF[model]: own for model, own in named.items()}

    pure = Elements(elements.dataset, keyed(elements.predictions)) if elements else None
    return relative_energies(dataset, keyed(predictions), groups, phases=phases, elements=pure)


def changes(dataset: Dataset, before: Predictions, after: Predictions) -> tuple[Change, ...]:
    """Return what became of the RMSE of each quantity from some predictions to others."""
    old, new = metrics(errors(dataset, before)), metrics(errors(dataset, after))
    keys = {quantity: metric_key(quantity, "rmse") for quantity in POTENTIAL_QUANTITIES.values()}
    return tuple(
        Change(quantity=quantity.name, unit=quantity.report_unit, before=old[key], after=new[key])
        for quantity, key in keys.items()
        if key in old and key in new
    )
