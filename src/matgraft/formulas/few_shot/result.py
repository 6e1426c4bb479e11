"""What a few examples let expect and what they predict: classes or values, each one type.

result = few_shot(run)
result.verdict.level       # "better than chance", "no better than the mean of the labels"
result.promise             # in a sentence, with the figures
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, computed_field, model_serializer

from matgraft.core.frozen import Frozen
from matgraft.core.verdict import Caution, Damage, Outcome, Verdict
from matgraft.formulas.alloys import Basis
from matgraft.formulas.few_shot.classifier import Expectation
from matgraft.formulas.few_shot.metric import MetricScore
from matgraft.formulas.few_shot.values import ValueExpectation
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions


class FewShotRun(Frozen):
    """What is asked.

    Attributes
    ----------
    target
        Column of the classes or values; None: the only one beside the formulas.
    distance, metric
        Of classes alone: one of `DISTANCES`; ``shipped``, ``none`` or a folder.
    sheet, composition, balance, skip_bad
        How tables are read: `matgraft.formulas.table.formula_table.ReadOptions`.
    """

    support: str
    queries: str
    target: str | None = None
    formula: str | None = None
    foundation: str = "composition"
    distance: str | None = None
    metric: str | None = None
    sheet: str | None = Field(None, exclude_if=lambda value: value is None)
    composition: Basis | None = Field(None, exclude_if=lambda value: value is None)
    balance: str | None = Field(None, exclude_if=lambda value: value is None)
    skip_bad: bool = Field(False, exclude_if=lambda value: not value)

    @property
    def columns(self) -> ColumnNames:
        """Where the formulas stand, and how tables are read."""
        return ColumnNames(
            formula=self.formula, reading=ReadOptions(self.sheet, self.composition, self.balance, self.skip_bad)
        )


class UsedEncoder(Frozen):
    """The encoder by its name and the hash of its weights."""

    name: str
    sha256: str


class NamedFormula(Frozen):
    """The class of a query.

    Attributes
    ----------
    distance
        From the likeliest prototype; above 1 it is none of these. None where there is no threshold.
    probabilities
        By class.
    """

    formula: str
    value: str
    distance: float | None
    none_of_these: bool | None
    probabilities: dict[str, float]

    @model_serializer
    def row(self) -> dict[str, object]:
        """Return the row of a table; the probability of a class stands in the column ``p_<class>``."""
        likely = {f"p_{name}": part for name, part in self.probabilities.items()}
        known = {"formula": self.formula, "value": self.value, "distance": self.distance}
        return {**known, **likely, "none_of_these": self.none_of_these}


class PredictedValue(Frozen):
    """The value of a query with its interval and its distance to the examples; above 1 it is unlike them."""

    formula: str
    value: float
    lower: float
    upper: float
    std: float
    distance: float
    unlike: bool


class LeftOutValue(PredictedValue):
    """The same of an example that was left out, with its line in the table and its true value."""

    line: int
    truth: float


class Spot(Frozen):
    """A place on the map: an example, a query or a prototype, with the number of its class."""

    kind: Literal["example", "query", "prototype"]
    name: str
    of_class: int = Field(serialization_alias="class")
    x: float
    y: float


class BaseScores(Frozen):
    """Scores of the metric on base classes: all with this distance, and those nearest to so many classes and shots."""

    nearest: MetricScore | None
    rows: tuple[MetricScore, ...]


class _Few(Frozen):
    """What classes and values share."""

    run: FewShotRun
    encoder: UsedEncoder
    target: str
    examples: int
    without_value: int

    @property
    @abstractmethod
    def verdict(self) -> Verdict:
        """What the examples promise."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def promise(self) -> str:
        """The verdict in a sentence."""
        verdict = self.verdict
        return f"{verdict.level}: {verdict.headline}" if verdict.against else verdict.headline

    @computed_field  # type: ignore[prop-decorator]
    @property
    def cautions(self) -> tuple[Caution, ...]:
        """Why the promise may mislead, the gravest reason first."""
        return self.verdict.cautions


class FewClasses(_Few):
    """Classes of the queries.

    Attributes
    ----------
    shots
        Examples of each class.
    repeated
        Rows whose formula an earlier row has, which count for nothing.
    threshold, threshold_from
        Farness from which on a query is none of these, and what set it.
    expectation
        None where every class has a single formula.
    base_classes
        None where nothing was taught.
    """

    kind: Literal["classes"] = "classes"
    classes: tuple[str, ...]
    shots: tuple[int, ...]
    repeated: int
    distance: str
    metric: str
    threshold: float | None
    threshold_from: Literal["base classes", "left-out examples"]
    expectation: Expectation | None
    base_classes: BaseScores | None
    predictions: tuple[NamedFormula, ...]
    map: tuple[Spot, ...]

    @property
    def verdict(self) -> Verdict:
        """Better than chance where the interval of the accuracy is above it."""
        found, chance = self.expectation, 1 / len(self.classes)
        if found is None:
            said = "One formula a class: nothing can be left out, so the examples say nothing of the accuracy"
            return Verdict(outcome=Outcome.NOT_COMPARED, headline=said, cautions=tuple(self._cautions()))
        better, worse = found.low > chance, found.high < chance
        return Verdict(
            outcome=Outcome.BETTER if better else Outcome.WORSE if worse else Outcome.NO_BETTER,
            against="chance",
            headline=f"Expect {found.accuracy:.0%} right, 95 % between {found.low:.0%} and {found.high:.0%}, where "
            f"queries are of each class equally often: {found.correct} of {found.counted} left-out examples were "
            f"named rightly; chance is {chance:.0%}",
            cautions=tuple(self._cautions()),
        )

    def _cautions(self) -> Iterator[Caution]:
        found = self.expectation
        if found and found.low <= 1 / len(self.classes):
            yield Caution(
                code="no-better-than-chance",
                damage=Damage.DOUBT,
                text="the examples do not show that this is better than guessing",
                remedy="more of them, or other classes",
            )
        if alone := [name for name, count in zip(self.classes, self.shots, strict=True) if count == 1]:
            rest = "; the expectation is that of the other classes" if found else ""
            text = f"a class of one formula cannot be left out: {', '.join(alone)}{rest}"
            yield Caution(code="class-of-one-formula", damage=Damage.DOUBT, text=text)
        if self.metric == "none":
            text = "without a taught metric probabilities rank, but their size means nothing"
            yield Caution(code="untaught-probabilities", damage=Damage.DOUBT, text=text)
        if self.threshold is None:
            text = 'one example a class and no taught metric: nothing can be called "none of these"'
            yield Caution(code="no-threshold", damage=Damage.NOTE, text=text)


class FewValues(_Few):
    """Values of the queries.

    Attributes
    ----------
    level
        Part of the truths that an interval shall hold.
    formulas
        How many of the examples are different.
    """

    kind: Literal["values"] = "values"
    level: float
    formulas: int
    expectation: ValueExpectation
    left_out: tuple[LeftOutValue, ...]
    predictions: tuple[PredictedValue, ...]

    @property
    def verdict(self) -> Verdict:
        """Better than the mean where the interval of the difference is above 0."""
        found, (low, high) = self.expectation, self.expectation.gain_interval
        return Verdict(
            outcome=Outcome.BETTER if low > 0 else Outcome.WORSE if high < 0 else Outcome.NO_BETTER,
            against="the mean of the labels",
            headline=f"Left-out examples are missed by {found.mae:.4g} on average, by the mean of the others "
            f"{found.mean_mae:.4g} (difference {found.gain:+.3g}, 95 % between {low:+.3g} and {high:+.3g})",
            cautions=tuple(self._cautions()),
        )

    def _cautions(self) -> Iterator[Caution]:
        text = f"intervals hold {self.expectation.coverage:.0%} of the left-out examples, by which they were set"
        yield Caution(code="intervals-of-the-examples", damage=Damage.NOTE, text=text)
        needed = round(1 / (1 - self.level)) - 1  # so many left-out truths have their largest quantile at the level
        if self.formulas < needed:
            text = f"fewer than {needed} different formulas cannot set a {self.level:.0%} interval"
            yield Caution(code="few-formulas", damage=Damage.DOUBT, text=text)
