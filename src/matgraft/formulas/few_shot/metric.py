"""The space in which prototypes are compared, and the numbers that episodes taught.

    space = Space.of(backbone, choose_metric("shipped", backbone), "mahalanobis")
    points = space.points(formulas)              # (n, n_columns), unit length

A formula is the encoder's embedding beside the properties that the encoder predicts. Every column is centred and scaled
by a background of a thousand formulas, both blocks have the same total variance, and the row is brought to unit length.
A background needs no label: with `Metric.untrained` nothing was taught.

A metric folder holds ``metric.json`` (the card: numbers, thresholds, what they were learned from and how well they do)
and ``background.txt`` (a formula a line).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
from pydantic import AfterValidator, Field, FiniteFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import normalize

from matgraft.core.errors import DataError, OptionError
from matgraft.core.files import write_text
from matgraft.core.frozen import Frozen
from matgraft.core.manifest import begin, checked
from matgraft.core.run_folder import RunFile
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.few_shot.prototypes import DISTANCES
from matgraft.formulas.formula import Formula, parse_formula
from matgraft.formulas.registry import LearnedCard, LearnedFolder

SHIPPED = Path(__file__).parent / "metric_weights"
BACKGROUND = "background.txt"


def _of_one_and_several(by_shots: dict[int, float]) -> dict[int, float]:
    """Refuse thresholds that tell nothing of one shot, or nothing of several; none at all are right."""
    if by_shots and not {1} < by_shots.keys():
        raise ValueError("thresholds are of one shot and of several")
    return by_shots


def _known(distance: str) -> str:
    if distance not in DISTANCES:
        raise ValueError(f"{distance!r} is none of the distances {', '.join(DISTANCES)}")
    return distance


Distance = Annotated[str, AfterValidator(_known)]
"""Name of a distance between prototypes."""


class DistanceStatistics(Frozen):
    """What episodes teach for one distance.

    Attributes
    ----------
    trust
        Of the Mahalanobis distance (`matgraft.formulas.few_shot.prototypes`); 1: as Ledoit and Wolf have it.
    temperature, slope
        Of the probabilities (`Prototypes.logits`).
    """

    trust: float = Field(1.0, ge=0, allow_inf_nan=False)
    temperature: float = Field(3.0, gt=0, allow_inf_nan=False)
    slope: float = Field(0.0, allow_inf_nan=False)


class MetricScore(Frozen):
    """Accuracy on base classes of families that the metric did not see.

    Attributes
    ----------
    distance, ways, shots
        Of how many classes with how many examples each.
    episodes
        How many tasks.
    accuracy, untrained, gain
        Mean with the metric, with nothing taught, and their difference; ``_error`` is half the 95 % interval.
    """

    distance: str
    ways: int
    shots: int
    episodes: int
    accuracy: float
    accuracy_error: float
    untrained: float
    untrained_error: float
    gain: float
    gain_error: float


class AskedQuestion(Frozen):
    """A question of the base classes: its name, its family, and how many formulas each of its classes has."""

    name: str
    family: int
    sizes: tuple[int, ...]


class MetricCard(LearnedCard):
    """What a metric is and where it comes from.

    Attributes
    ----------
    numbers
        By distance.
    thresholds
        By distance and number of shots: farness (`Prototypes.farness`) that 95 % of the queries of base classes stay
        below.
    scores
        A row for each distance and each number of classes and examples.
    base_classes
        The questions that it was learned from.
    """

    numbers: dict[Distance, DistanceStatistics] = Field(default_factory=dict)
    thresholds: dict[Distance, Annotated[dict[PositiveInt, FiniteFloat], AfterValidator(_of_one_and_several)]] = Field(
        default_factory=dict
    )
    scores: tuple[MetricScore, ...] = ()
    base_classes: tuple[AskedQuestion, ...] = ()


CARD = RunFile("metric.json", MetricCard)


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric folder, opened.

    Attributes
    ----------
    name
        ``shipped``, ``none`` or the folder.
    background
        Formulas that say where the middle of each feature is, and how wide it is.
    """

    name: str
    card: MetricCard
    background: tuple[Formula, ...]

    @classmethod
    def untrained(cls) -> Self:
        """Return one that nothing was taught: equal blocks, Ledoit and Wolf, no thresholds."""
        return cls("none", MetricCard(), _formulas(SHIPPED / BACKGROUND))

    def save(self, folder: Path) -> None:
        """Write the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        begin(folder)
        write_text(folder / BACKGROUND, "".join(f"{formula}\n" for formula in self.background))
        CARD.write(folder, self.card)

    def numbers(self, distance: str) -> DistanceStatistics:
        """Return the numbers of a distance."""
        return self.card.numbers.get(distance, DistanceStatistics())

    def threshold(self, distance: str, shots: float) -> float | None:
        """Return the farness that 95 % of the queries of base classes stay below; None if nothing was taught.

        One shot has its own; between the other shots that were tried it is read on a logarithmic scale.
        """
        known = self.card.thresholds.get(distance)
        if not known:
            return None
        if shots <= 1:
            return known[1]
        several = sorted(k for k in known if k > 1)
        return float(np.interp(np.log(shots), np.log(several), [known[k] for k in several]))


def _opened(folder: Path, name: str, card: MetricCard) -> Metric:
    if (folder / "map.safetensors").is_file():
        raise DataError(
            "this metric has a linear map, which only earlier versions of matgraft read",
            where=str(folder),
            remedy="learn it again with `matgraft episodes`",
        )
    return Metric(name, card, _formulas(folder / BACKGROUND))


METRICS = LearnedFolder("metric", CARD, _opened, SHIPPED, option="--metric", verb="episodes")


def choose_metric(name: str | None, backbone: CompositionBackbone) -> Metric:
    """Return the metric of a name (`LearnedFolder.choose`), or one that nothing was taught."""
    return METRICS.choose(name, backbone) or Metric.untrained()


@dataclass(frozen=True, eq=False)
class Space:
    """Formulas as points, by an encoder and a metric.

    Attributes
    ----------
    middle, width
        (n_columns,) of the background; the width times the root of the number of columns in its block.
    """

    backbone: CompositionBackbone
    metric: Metric
    distance: str
    middle: np.ndarray
    width: np.ndarray

    @classmethod
    def of(cls, backbone: CompositionBackbone, metric: Metric, distance: str = "mahalanobis") -> Self:
        """Look at the background.

        Raises
        ------
        OptionError
            If there is no such distance, or the metric was learned for others.
        """
        if distance not in DISTANCES:
            raise OptionError(f"distance {distance!r} is unknown", allowed=DISTANCES)
        if metric.card.numbers and distance not in metric.card.numbers:
            raise OptionError(
                f"the metric {metric.name} was not learned for the distance {distance}", allowed=metric.card.numbers
            )
        blocks = feature_blocks(backbone, metric.background)
        widths = [np.maximum(block.std(0), 1e-9) * block.shape[1] ** 0.5 for block in blocks]
        return cls(backbone, metric, distance, np.concatenate(blocks, 1).mean(0), np.concatenate(widths))

    @property
    def numbers(self) -> DistanceStatistics:
        """What episodes taught."""
        return self.metric.numbers(self.distance)

    def standardised(self, formulas: Sequence[Formula]) -> np.ndarray:
        """Return (n, n_columns) features, centred and scaled: the columns of a block have a variance of 1 together."""
        return (np.concatenate(feature_blocks(self.backbone, formulas), 1) - self.middle) / self.width

    def points(self, formulas: Sequence[Formula]) -> Tensor:
        """Return (n, n_columns) points of unit length."""
        return normalize(torch.from_numpy(self.standardised(formulas)), dim=-1)


def feature_blocks(backbone: CompositionBackbone, formulas: Sequence[Formula]) -> list[np.ndarray]:
    """Return the embedding (n, features) and the predicted properties (n, n_properties); these only if it knows any."""
    embedding, properties = backbone.embed_with_properties(formulas)
    return [embedding.astype(float), properties.astype(float)] if backbone.property_names else [embedding.astype(float)]


def _formulas(path: Path) -> tuple[Formula, ...]:
    if not path.is_file():
        raise DataError("there is no such file", where=str(path))
    lines = checked(path).decode(errors="replace").splitlines()
    formulas = tuple(parse_formula(line, is_spelled=True) for line in lines)
    if len(formulas) < 2:
        raise DataError("a background has two formulas or more", where=str(path), remedy="copy the folder anew")
    return formulas
