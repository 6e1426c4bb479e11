"""One quantity of a tuned model held against its stronger baseline: the outcome, and how it is said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from matgraft.core.quantities import POTENTIAL_QUANTITIES, Quantity
from matgraft.core.statistics import MIN_UNITS
from matgraft.potentials.scoring.comparison import ROUNDING
from matgraft.potentials.scoring.frame_errors import metric_key
from matgraft.potentials.scoring.scores import BASELINES, ModelName, Scores

Compared = Literal["better", "worse", "undecided", "broken"]

WIDE = 1.5
"""Ends of an interval further apart than this factor leave room for a gain worth having and for its opposite."""

TOO_FEW = "too few trajectories to judge"
UNRIVALLED = "no finite value to compare it with"


@dataclass(frozen=True)
class Judged:
    """One quantity held against its stronger baseline.

    Attributes
    ----------
    error, baselines
        RMSE of the tuned model, and of each baseline, in the unit of reports.
    n_groups
        How many groups carry the quantity.
    names
        What each baseline is called.
    interval
        Paired 95 % interval of the ratio to the stronger baseline; None where there is none, or groups are too few.
    """

    quantity: Quantity
    error: float
    baselines: Mapping[ModelName, float]
    n_groups: int
    names: Mapping[ModelName, str]
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, scores: Scores, quantity: Quantity) -> Judged:
        """Judge a quantity that was scored."""
        key = metric_key(quantity, "rmse")
        baselines = {name: scores.of(name)[key] for name in BASELINES if key in scores.of(name)}
        n_groups = scores.n_groups_with[quantity.name]
        rival = _stronger(baselines)
        interval = scores.gain[rival][key].interval if rival and n_groups >= MIN_UNITS else None
        names = {name: scores.named(name) for name in BASELINES}
        return cls(quantity, scores.test[key], baselines, n_groups, names, interval)

    @property
    def ratio(self) -> float:
        """Error by that of the stronger baseline."""
        rival = min(self.baselines.values())
        return self.error / rival if rival else (math.inf if self.error else 1.0)

    @property
    def is_rounding(self) -> bool:
        """True if both errors are so small that single precision accounts for them."""
        return bool(self.baselines) and max(self.error, *self.baselines.values()) <= self.quantity.rounding

    @property
    def lacks_groups(self) -> bool:
        """True if too few groups carry the quantity."""
        return self.n_groups < MIN_UNITS

    @property
    def outcome(self) -> Compared:
        """What came of the comparison, beyond chance."""
        if not math.isfinite(self.error):
            return "broken"
        if self.is_rounding:
            return "undecided"
        low, high = self.interval or (0.0, math.inf)
        return "better" if high < 1 - ROUNDING else "worse" if low > 1 + ROUNDING else "undecided"

    def figures(self) -> str:
        """Give the errors, shortest form: ``energy 7.6 instead of 40.1 meV/atom``."""
        instead = f" instead of {three_figures(min(self.baselines.values()))}" if self.baselines else ""
        return f"{self.quantity.name} {three_figures(self.error)}{instead} {self.quantity.report_unit}".rstrip()

    def sentence(self) -> str:
        """Give the outcome with all that it rests on."""
        name, unit = self.quantity.name.capitalize(), self.quantity.report_unit
        if self.outcome == "broken":
            return f"{name}: the tuned model predicts numbers that are not finite."
        if not self.baselines:
            return f"{name}: RMSE {three_figures(self.error)} {unit}; there is no baseline to compare it with."
        return f"{name}: {self.words()}. RMSE {three_figures(self.error)} {unit}; {self._rivals()}. {self._odds()}"

    def words(self) -> str:
        """Give the outcome in words, telling "no difference" from "nobody can say"."""
        if self.outcome != "undecided":
            return "not finite" if self.outcome == "broken" else self.outcome
        if self.is_rounding:
            return "no difference beyond chance"
        if self.interval is None:
            rivalled = bool(self.baselines) and math.isfinite(self.ratio)
            return TOO_FEW if self.lacks_groups or rivalled else UNRIVALLED
        low, high = self.interval
        return TOO_FEW if high > WIDE * low else "no difference beyond chance"

    def _rivals(self) -> str:
        figures = {name: three_figures(value) for name, value in self.baselines.items()}
        if len(set(figures.values())) == 1:
            return f"{self.names['untuned']} has {next(iter(figures.values()))}"
        return "; ".join(f"{self.names[name]} has {value}" for name, value in figures.items())

    def _odds(self) -> str:
        if self.interval is None:
            found = f"{trajectories(self.n_groups)} with {self.quantity.name} labels, {MIN_UNITS} are needed"
            return f"Ratio {self.ratio:.2f}, without an interval{f' ({found})' if self.lacks_groups else ''}."
        low, high = self.interval
        return f"Ratio {self.ratio:.2f} to the stronger (95 % interval {low:.2f} to {high:.2f})."


def judge_quantities(scores: Scores) -> list[Judged]:
    """Judge each quantity that was scored."""
    return [
        Judged.of(scores, quantity)
        for quantity in POTENTIAL_QUANTITIES.values()
        if metric_key(quantity, "rmse") in scores.test
    ]


def rival_error(figures: Mapping[ModelName, Mapping[str, float]], key: str) -> float:
    """Return the lower error of the baselines; infinite where none has it."""
    return min((figures[name][key] for name in BASELINES if key in figures.get(name, {})), default=math.inf)


def _stronger(baselines: Mapping[ModelName, float]) -> ModelName | None:
    return min(baselines, key=lambda name: baselines[name], default=None)


def trajectories(count: int) -> str:
    """Count trajectories in words."""
    return f"{count} {'trajectory' if count == 1 else 'trajectories'}"


def three_figures(value: float) -> str:
    """Three figures, without an exponent where that can be read; thousands are separated from five digits on."""
    if 100 <= abs(value) < 1e4:
        return f"{value:.0f}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.3g}"
