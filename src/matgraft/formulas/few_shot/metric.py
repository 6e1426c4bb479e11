"""The space in which prototypes are compared, and the numbers that episodes taught.

    space = Space.of(load("composition"), Metric.shipped(), "mahalanobis")
    points = space.points(formulas)                  # (n, d), unit length

A formula is the encoder's embedding beside the properties that the encoder predicts. Every column is centred and scaled
by a background of a thousand formulas, both blocks have the same total variance, and the row is brought to unit length.
A background needs no label: with `Metric.untrained` nothing was taught.

A metric folder holds ``metric.json`` (the card: numbers, thresholds, what they were learned from and how well they do),
``background.txt`` (a formula a line) and, where episodes trained a linear map as well, ``map.safetensors``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from matgraft.core.errors import DataError, OptionError
from matgraft.core.files import whole, write_json, write_text
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.few_shot.prototypes import DISTANCES
from matgraft.formulas.formula import Formula, parse_formula

SHIPPED = Path(__file__).parent / "metric_weights"
CARD, BACKGROUND, MAP = "metric.json", "background.txt", "map.safetensors"


class Numbers(BaseModel):
    """What episodes teach for one distance.

    Attributes
    ----------
    trust
        Of the Mahalanobis distance (`matgraft.formulas.few_shot.prototypes`); 1: as Ledoit and Wolf have it.
    temperature, slope
        Of the probabilities (`Prototypes.logits`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trust: float = 1.0
    temperature: float = 3.0
    slope: float = 0.0


class MetricCard(BaseModel):
    """What a metric is and where it comes from.

    Attributes
    ----------
    encoder_sha256
        Of the weights that it was learned on; empty if nothing was learned.
    numbers
        By distance.
    thresholds
        By distance and number of shots: farness (`Prototypes.farness`) that 95 % of the queries of base classes stay
        below.
    scores
        Rows of accuracies on base classes of families that the metric did not see, beside those without training.
    recipe, base_classes, data_sha256, minutes
        How it was made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder_sha256: str = ""
    numbers: dict[str, Numbers] = {}
    thresholds: dict[str, dict[int, float]] = {}
    scores: list[dict[str, Any]] = []
    recipe: dict[str, Any] = {}
    base_classes: list[dict[str, Any]] = []
    data_sha256: dict[str, str] = {}
    minutes: float = 0.0


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric folder, opened.

    Attributes
    ----------
    name
        ``shipped``, ``none`` or the folder.
    background
        Formulas that say where the middle of each feature is, and how wide it is.
    linear
        (width, rank) map between the standardised features and the points, or None.
    """

    name: str
    card: MetricCard
    background: tuple[Formula, ...]
    linear: Tensor | None = None

    @classmethod
    def shipped(cls) -> Self:
        """Return the one inside the package, learned on the shipped encoder."""
        return cls.from_folder(SHIPPED, "shipped")

    @classmethod
    def untrained(cls) -> Self:
        """Return one that nothing was taught: equal blocks, Ledoit and Wolf, no thresholds."""
        return cls("none", MetricCard(), _formulas(SHIPPED / BACKGROUND))

    @classmethod
    def from_folder(cls, folder: Path, name: str = "") -> Self:
        """Open a folder that `save` wrote.

        Raises
        ------
        DataError
            If it is none.
        """
        if not (folder / CARD).is_file():
            raise DataError(
                "this folder holds no metric",
                where=str(folder),
                remedy="`episodes` makes one",
            )
        card = MetricCard.model_validate_json((folder / CARD).read_text(encoding="utf-8"))
        linear = load_file(folder / MAP)["map"] if (folder / MAP).is_file() else None
        return cls(name or str(folder), card, _formulas(folder / BACKGROUND), linear)

    def save(self, folder: Path) -> None:
        """Write the folder; the card last, so that a folder with a card is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{formula}\n" for formula in self.background)
        write_text(folder / BACKGROUND, lines)
        if self.linear is not None:
            with whole(folder / MAP) as part:
                save_file({"map": self.linear.contiguous()}, part)
        write_json(folder / CARD, self.card.model_dump(mode="json"), indent=1)

    def numbers(self, distance: str) -> Numbers:
        """Return the numbers of a distance."""
        return self.card.numbers.get(distance, Numbers())

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


def choose_metric(name: str | Path | None, backbone: CompositionBackbone) -> Metric:
    """Return the metric of a name: ``none``, ``shipped`` or a folder; None takes the shipped one if it belongs.

    Raises
    ------
    OptionError
        If the metric was learned on another encoder.
    """
    if str(name) == "none":
        return Metric.untrained()
    metric = Metric.shipped() if name in (None, "shipped") else Metric.from_folder(Path(str(name)))
    if metric.card.encoder_sha256 == backbone.card.weights_sha256:
        return metric
    if name is None:
        return Metric.untrained()
    raise OptionError(
        f"the metric {name} was learned on another encoder",
        remedy="go without one, or learn one for this encoder with `episodes`",
        options=[{"--metric": "none"}],
    )


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
    def numbers(self) -> Numbers:
        """What episodes taught."""
        return self.metric.numbers(self.distance)

    def standardised(self, formulas: Sequence[Formula]) -> np.ndarray:
        """Return (n, n_columns) features, centred and scaled: the columns of a block have a variance of 1 together."""
        return (np.concatenate(feature_blocks(self.backbone, formulas), 1) - self.middle) / self.width

    def points(self, formulas: Sequence[Formula]) -> Tensor:
        """Return (n, d) points of unit length."""
        return to_points(torch.from_numpy(self.standardised(formulas)), self.metric.linear)


def to_points(standardised: Tensor, linear: Tensor | None) -> Tensor:
    """Return points (n, d) of unit length from standardised features (n, n_columns)."""
    return normalize(standardised if linear is None else standardised @ linear, dim=-1)


def feature_blocks(backbone: CompositionBackbone, formulas: Sequence[Formula]) -> list[np.ndarray]:
    """Return the embedding (n, features) and the predicted properties (n, n_properties); these only if it knows any."""
    embedding, properties = backbone.embed_with_properties(formulas)
    return [embedding.astype(float), properties.astype(float)] if backbone.property_names else [embedding.astype(float)]


def _formulas(path: Path) -> tuple[Formula, ...]:
    if not path.is_file():
        raise DataError("there is no such file", where=str(path))
    return tuple(parse_formula(line) for line in path.read_text(encoding="utf-8").splitlines())
