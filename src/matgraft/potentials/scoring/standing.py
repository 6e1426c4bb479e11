"""Which of several models errs least on the same frames, and whether that is more than chance.

    found = stand({"chgnet": errors(frames, a), "mace": errors(frames, b)}, groups)
    found[0].best, found[0].sentence

Each model is held against the best one by the paired comparison of
`matgraft.potentials.scoring.comparison.compare`, whose intervals are over groups of frames. The intervals are those of
one comparison each (95 %): of many models some will differ by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from pydantic import computed_field

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import POTENTIAL_QUANTITIES, Quantity
from matgraft.core.statistics import MIN_UNITS
from matgraft.potentials.scoring.comparison import Comparison, compare
from matgraft.potentials.scoring.frame_errors import FrameErrors, metric_key
from matgraft.potentials.scoring.judged import three_figures, trajectories
from matgraft.potentials.scoring.metrics import count_units, metrics


class Rival(Frozen):
    """A model that errs more than the best one.

    Attributes
    ----------
    model
        Its name.
    error
        RMSE in the unit of reports.
    ratio, interval
        Error of the best model by its own, below 1, and the paired 95 % interval; None where too few groups carry the
        quantity.
    beyond_chance
        True if the whole interval lies below 1.
    """

    model: str
    error: float
    ratio: float
    interval: tuple[float, float] | None
    beyond_chance: bool


class Standing(Frozen):
    """Which model errs least in one quantity.

    Attributes
    ----------
    quantity, unit
        Its name, and the unit of its error in reports.
    shifted
        True of energies after the shift of the references.
    best, error
        The model with the lowest RMSE, and this.
    rivals
        The others, the nearest first. Those that predict numbers that are not finite have an infinite error.
    n_groups
        Groups of frames that carry the quantity.
    sentence
        All that in words. It follows from the rest.
    """

    quantity: str
    unit: str
    shifted: bool
    best: str
    error: float
    rivals: tuple[Rival, ...]
    n_groups: int

    @property
    def title(self) -> str:
        """The quantity as a reader calls it."""
        return f"{self.quantity.capitalize()}{' after the shift' * self.shifted}"

    @property
    def is_rounding(self) -> bool:
        """True if the two best errors are so small that single precision accounts for them."""
        second = min((one.error for one in self.rivals), default=math.inf)
        return second <= POTENTIAL_QUANTITIES[self.quantity].rounding

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sentence(self) -> str:
        """Name the best model, and those that it is better than beyond chance."""
        opening = f"{self.title}: {self.best} errs least ({three_figures(self.error)} {self.unit})"
        if self.is_rounding:
            return f"{self.title}: no difference; all errors are those of single precision."
        beaten = [one for one in self.rivals if one.beyond_chance]
        equal = [one for one in self.rivals if not one.beyond_chance]
        if equal and self.n_groups < MIN_UNITS:
            found = f"{trajectories(self.n_groups)} with labels"
            return f"{opening}, but nobody can say whether by chance: {found}, {MIN_UNITS} are needed."
        parts = [f"beyond chance against {_listed(beaten)}"] * bool(beaten)
        parts += [f"not beyond chance against {_listed(equal)}"] * bool(equal)
        return f"{opening}: {'; '.join(parts)}."


def stand(found: Mapping[str, FrameErrors], groups: Sequence[str], *, shifted: bool = False) -> list[Standing]:
    """Return for each quantity that two models or more were scored in which of them errs least.

    Parameters
    ----------
    found
        Model -> its errors on the same frames, with the same labels.
    groups
        Of the frames, as of `matgraft.potentials.scoring.metrics.intervals`.
    shifted
        Whether the energies are those after a shift of the references.
    """
    return [
        one for quantity in POTENTIAL_QUANTITIES.values() for one in _standing(quantity, found, groups, shifted=shifted)
    ]


def _standing(
    quantity: Quantity, found: Mapping[str, FrameErrors], groups: Sequence[str], *, shifted: bool
) -> Iterator[Standing]:
    key = metric_key(quantity, "rmse")
    figures = {name: metrics(each) for name, each in found.items()}
    scores = {name: _or_infinite(own[key]) for name, own in figures.items() if key in own}
    if len(scores) < 2 or not math.isfinite(min(scores.values())):
        return
    first, *others = sorted(scores, key=lambda name: scores[name])
    yield Standing(
        quantity=quantity.name,
        unit=quantity.report_unit,
        shifted=shifted,
        best=first,
        error=scores[first],
        rivals=tuple(_rival(name, scores[name], compare(found[first], found[name], groups)[key]) for name in others),
        n_groups=count_units(found[first], groups)[quantity.name],
    )


def _rival(name: str, error: float, against: Comparison) -> Rival:
    if not math.isfinite(error):  # it has no interval, and is worse whatever chance does
        return Rival(model=name, error=error, ratio=0.0, interval=None, beyond_chance=True)
    told = {"ratio": against.ratio, "interval": against.interval, "beyond_chance": against.beyond_chance}
    return Rival(model=name, error=error, **told)


def _or_infinite(error: float) -> float:
    return error if math.isfinite(error) else math.inf


def _listed(rivals: Sequence[Rival]) -> str:
    return ", ".join(f"{one.model} ({_odds(one)})" for one in rivals)


def _odds(rival: Rival) -> str:
    if rival.interval is None:
        return "not finite" if not math.isfinite(rival.error) else f"ratio {rival.ratio:.2f}, no interval"
    low, high = rival.interval
    return f"ratio {rival.ratio:.2f}, 95 % interval {low:.2f} to {high:.2f}"
