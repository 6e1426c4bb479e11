"""Episodic training: a metric learns from the very tasks that few-shot users bring (Snell, Swersky and Zemel 2017).

    metric = learn_metric(Path("dft_properties.csv.gz"), load("composition"), EpisodeSettings(), Path("runs/metric"))

An episode draws a question of the base classes (`matgraft.formulas.few_shot.base_classes`), 2 or 3 of its classes, some
examples of each and some queries; the loss is the cross-entropy of the queries. The encoder is frozen and its features
are cached, so that an episode costs a millisecond or two, and everything goes through the one loop.

What learns are a few numbers for each distance (`matgraft.formulas.few_shot.metric.DistanceStatistics`). Each family of
properties is held out once: a metric trained on the others is scored on it, beside no training. The one that is kept
learns from all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from matgraft.core.frozen import Frozen
from matgraft.core.locks import works_in
from matgraft.core.provenance import file_hash
from matgraft.core.training.execution import Execution
from matgraft.core.training.fit import fit
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.encoder import CompositionBackbone, Size
from matgraft.formulas.few_shot.base_classes import BaseClasses, ClassQuestion, read_base_classes
from matgraft.formulas.few_shot.metric import AskedQuestion, DistanceStatistics, Metric, MetricCard, MetricScore, Space
from matgraft.formulas.few_shot.prototypes import DISTANCES, Prototypes
from matgraft.formulas.pretraining.tables import held_out_part

WAYS, SHOTS = (2, 3), (1, 2, 3, 5, 10, 20)
SCORED = tuple((ways, shots) for ways in WAYS for shots in (1, 5, 20))
HELD = 95
"""Per cent of the queries of base classes that stay below the threshold of "none of these"."""
START = DistanceStatistics(trust=0.2)
Episodes = Sequence["Episode"]


class EpisodeSettings(Frozen):
    """How a metric is learned."""

    episodes: int = Field(960, ge=16)
    """Episodes an epoch, the same ones in each."""
    queries: int = Field(10, ge=1)
    """Queries of each class in an episode."""
    scored: int = Field(40, ge=2)
    """Episodes of each held-out family, for each number of ways and shots."""
    background: int = Field(1000, ge=10)
    """Formulas that features are centred and scaled by."""
    exclude: str | None = "in_matbench_task"
    """Column of the table whose rows with 1 are left out; ``exclude=`` takes all rows."""
    fit: FitSettings = FitSettings(rate=0.05, epochs=1, batch=16, ema=0.9, clip=1.0, processes=1)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Episode:
    """Rows of examples (ways, shots) and of queries (ways, n); the class is the first index."""

    support: NDArray[np.int_]
    queries: NDArray[np.int_]


def draw_episode(
    questions: Sequence[ClassQuestion], ways: int, shots: int, queries: int, generator: np.random.Generator
) -> Episode:
    """Draw an episode: a family, a question of it, the outermost or all three of its classes, rows of each."""
    able = [question for question in questions if len(question.classes) >= ways]
    family = generator.choice(sorted({question.family for question in able}))
    question = generator.choice([i for i, one in enumerate(able) if one.family == family])
    classes = able[question].classes
    chosen = classes if ways == len(classes) else (classes[0], classes[-1])
    rows = np.stack([generator.choice(rows, shots + queries, replace=False) for rows in chosen])
    return Episode(rows[:, :shots], rows[:, shots:])


class MetricModule(nn.Module):
    """The numbers of one distance as parameters."""

    def __init__(self, distance: str, start: DistanceStatistics) -> None:
        super().__init__()
        self.distance = distance
        self.log_trust, self.log_temperature = (
            nn.Parameter(torch.tensor(value, dtype=torch.float64).log()) for value in (start.trust, start.temperature)
        )
        self.slope = nn.Parameter(torch.tensor(start.slope, dtype=torch.float64))

    def logits(self, support: Tensor, queries: Tensor) -> Tensor:
        """Return (ways · n, ways) of features of examples (ways, shots, n_columns) and queries (ways, n, n_columns)."""
        prototypes = _prototypes(support, self.distance, self.log_trust.exp())
        return prototypes.logits(_points(queries), self.log_temperature.exp(), self.slope)

    def groups(self) -> list[ParamGroup]:
        """Return what learns; round distances have no covariance to trust."""
        names = ["log_temperature", "slope", *(["log_trust"] if self.distance == "mahalanobis" else [])]
        return [ParamGroup("numbers", {name: getattr(self, name) for name in names})]

    def numbers(self) -> DistanceStatistics:
        """Return what was learned."""
        return DistanceStatistics(
            trust=float(self.log_trust.exp().detach()) if self.distance == "mahalanobis" else 1.0,
            temperature=float(self.log_temperature.exp().detach()),
            slope=float(self.slope.detach()),
        )


class EpisodeObjective:
    """Cross-entropy of the queries of episodes, for the one training loop.

    Parameters
    ----------
    features
        (n, n_columns) of every formula of the base classes.
    """

    def __init__(
        self, module: MetricModule, features: Tensor, questions: Sequence[ClassQuestion], settings: EpisodeSettings
    ) -> None:
        self.module, self.features, self.questions, self.settings = module, features, questions, settings
        self.training = [Size(1, 1)] * settings.episodes
        self.validation = [Size(1, 1)] * max(1, settings.episodes // 10)

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the loss (B,) of some training episodes."""
        return torch.stack([self._loss(int(i), device) for i in positions])

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the number of episodes and the sum of their losses; they are of the same families."""
        with torch.no_grad():
            losses = [self._loss(len(self.training) + int(i), device) for i in positions]
        return torch.tensor([float(len(losses)), float(sum(losses))], dtype=torch.float64)

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        """Return validation_loss."""
        return {"validation_loss": float(sums[1] / sums[0])}

    def _loss(self, i: int, device: torch.device) -> Tensor:
        generator = np.random.default_rng((self.settings.seed, i))
        ways, shots = int(generator.choice(WAYS)), int(generator.choice(SHOTS))
        episode = draw_episode(self.questions, ways, shots, self.settings.queries, generator)
        support, queries = (self.features[rows].to(device) for rows in (episode.support, episode.queries))
        truth = torch.arange(ways, device=device).repeat_interleave(self.settings.queries)
        return cross_entropy(self.module.logits(support, queries), truth)


@works_in("out", new=True)
def learn_metric(
    table: Path, backbone: CompositionBackbone, settings: EpisodeSettings, out: Path, *, quiet: bool = False
) -> Metric:
    """Learn a metric and write its folder.

    Raises
    ------
    OptionError
        If the folder is not empty, or the encoder's card does not say what its pretraining held out.
    DataError
        If the table does not hold enough labels.
    """
    part = held_out_part(backbone, out)
    began = time.monotonic()
    base = read_base_classes(table, exclude=settings.exclude, validation=part)
    drawn = np.random.default_rng(settings.seed).permutation(len(base.formulas))[: settings.background]
    background = tuple(base.formulas[i] for i in np.sort(drawn))
    space = Space.of(backbone, Metric("untrained", MetricCard(), background))
    features = torch.from_numpy(space.standardised(base.formulas))
    numbers, thresholds, scores = _learn(base, features, settings, quiet)
    card = MetricCard(
        encoder_sha256=backbone.card.weights_sha256,
        recipe=settings.model_dump(mode="json"),
        data_sha256={table.name: file_hash(table)},
        minutes=(time.monotonic() - began) / 60,
        numbers=numbers,
        thresholds=thresholds,
        scores=scores,
        base_classes=tuple(
            AskedQuestion(name=one.name, family=one.family, sizes=tuple(len(rows) for rows in one.classes))
            for one in base.questions
        ),
    )
    metric = Metric(str(out), card, background)
    metric.save(out)
    return metric


def _learn(
    base: BaseClasses, features: Tensor, settings: EpisodeSettings, quiet: bool
) -> tuple[dict[str, DistanceStatistics], dict[str, dict[int, float]], tuple[MetricScore, ...]]:
    """Train on all families but one, for each of them, and then on all; return numbers, thresholds and scores."""
    plan = [(distance, left_out) for distance in DISTANCES for left_out in (*base.families, None)]
    found: dict[str, list[NDArray[np.float64]]] = {distance: [] for distance in DISTANCES}
    numbers, thresholds = {}, {}
    for distance, left_out in track(plan, "episodes", console=Console(stderr=True), disable=quiet, transient=True):
        module = MetricModule(distance, START)
        if left_out is None or distance == "mahalanobis":  # else nothing that is learned changes the nearest class
            train(module, features, base.of([one for one in base.families if one != left_out]), settings)
        if left_out is not None:
            found[distance].append(_accuracies(module, features, base.of([left_out]), settings))
            continue
        numbers[distance] = module.numbers()
        thresholds[distance] = _thresholds(module, features, base, settings)
    scores = [row for distance, cells in found.items() for row in _scores(distance, np.concatenate(cells, 1))]
    return numbers, thresholds, tuple(scores)


def train(
    module: MetricModule, features: Tensor, questions: Sequence[ClassQuestion], settings: EpisodeSettings
) -> None:
    """Train the module in place."""
    objective = EpisodeObjective(module, features, questions, settings)
    fit(objective, module, module.groups(), settings.fit, Execution(seed=settings.seed))
    module.eval()


@torch.no_grad()
def _accuracies(
    module: MetricModule, features: Tensor, questions: Sequence[ClassQuestion], settings: EpisodeSettings
) -> NDArray[np.float64]:
    """Return (cells, episodes, 2) accuracies on held-out questions, trained and untrained; NaN where none has 3."""
    out = np.full((len(SCORED), settings.scored, 2), np.nan)
    for cell, (ways, shots) in enumerate(SCORED):
        if ways > max(len(question.classes) for question in questions):
            continue
        for i in range(settings.scored):
            generator = np.random.default_rng((settings.seed, 1, cell, i))
            episode = draw_episode(questions, ways, shots, settings.queries, generator)
            support, queries = features[episode.support], features[episode.queries]
            truth = torch.arange(ways).repeat_interleave(settings.queries)
            plain = _prototypes(support, module.distance)
            answers = module.logits(support, queries), plain.scores(_points(queries))
            out[cell, i] = [float((answer.argmax(1) == truth).double().mean()) for answer in answers]
    return out


def _scores(distance: str, accuracies: NDArray[np.float64]) -> list[MetricScore]:
    """Return the scores of each cell, with 95 % intervals over the episodes (cells, episodes, 2)."""
    rows = []
    for (ways, shots), cell in zip(SCORED, accuracies, strict=True):
        found = cell[np.isfinite(cell[:, 0])]
        columns = {"accuracy": found[:, 0], "untrained": found[:, 1], "gain": found[:, 0] - found[:, 1]}
        error = {f"{name}_error": 1.96 * values.std(ddof=1) / len(values) ** 0.5 for name, values in columns.items()}
        figures = {name: float(values.mean()) for name, values in columns.items()} | error
        rounded = {name: round(float(value), 4) for name, value in figures.items()}
        rows.append(MetricScore(distance=distance, ways=ways, shots=shots, episodes=len(found), **rounded))
    return rows


@torch.no_grad()
def _thresholds(
    module: MetricModule, features: Tensor, base: BaseClasses, settings: EpisodeSettings
) -> dict[int, float]:
    """Return by number of shots the farness that `HELD` per cent of the queries stay below."""
    found = {}
    for shots in SHOTS:
        farness = []
        for i in range(settings.scored * len(base.families)):
            generator = np.random.default_rng((settings.seed, 2, shots, i))
            episode = draw_episode(base.questions, WAYS[i % 2], shots, settings.queries, generator)
            prototypes = _prototypes(features[episode.support], module.distance, module.log_trust.exp())
            farness.append(prototypes.farness(_points(features[episode.queries])).numpy())
        found[shots] = round(float(np.percentile(np.concatenate(farness), HELD)), 4)
    return found


def _prototypes(support: Tensor, distance: str, trust: Tensor | float = 1.0) -> Prototypes:
    """Return the prototypes of examples (ways, shots, n_columns)."""
    ways, shots = support.shape[:2]
    labels = torch.arange(ways, device=support.device).repeat_interleave(shots)
    return Prototypes(_points(support), labels, ways, distance, trust)


def _points(features: Tensor) -> Tensor:
    """Return points (ways · n, n_columns) of unit length of features (ways, n, n_columns)."""
    return normalize(features.flatten(0, 1), dim=-1)
