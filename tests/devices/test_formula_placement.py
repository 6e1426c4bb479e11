"""Formulas on a GPU: the encoder, fine-tuning, alignment, prompts, pretraining, episodes and the bank of prompts."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from matgraft.core.registry import save_folder
from matgraft.core.training.execution import Execution
from matgraft.core.training.fit import fit
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.domain.alignment import ALIGNMENTS
from matgraft.formulas.domain.member import DomainSettings, TargetDomain
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.few_shot.base_classes import ClassQuestion
from matgraft.formulas.few_shot.episodes import EpisodeSettings, MetricModule, train
from matgraft.formulas.few_shot.metric import DistanceStatistics
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.learners.inputs import Inputs, Labels
from matgraft.formulas.learners.network import NetworkSettings, fit_network
from matgraft.formulas.pretraining.objectives import PretrainModule, PretrainObjective, named_parameters
from matgraft.formulas.pretraining.settings import ObjectiveWeights
from matgraft.formulas.pretraining.tables import read_tables
from matgraft.formulas.prompts.learning import BankObjective, BankSettings
from matgraft.formulas.prompts.member import PromptSettings, fit_prompts
from matgraft.formulas.prompts.prompts import PromptedEncoder
from matgraft.foundations import load_folder

TEXTS = [f"{metal}{n}{anion}" for metal, anion, n in product(["Li", "Mg", "Fe", "Zn"], ["O", "S", "Cl"], (1, 2))]
FORMULAS = [parse_formula(text) for text in TEXTS]
CPU = torch.device("cpu")
LOOP = FitSettings(rate=3e-3, epochs=1, batch=12, clip=1.0, ema=0.9, processes=1)


@pytest.fixture
def encoder(gpu: torch.device) -> CompositionBackbone:
    """An encoder with a sibling."""
    options = {"width": 16, "layers": 2, "heads": 2, "features": 16, "property_names": ("a", "b")}
    one, other = (CompositionBackbone.scratch(seed, **options) for seed in (0, 1))
    return CompositionBackbone(one.module, one.card, (other.module,))


@pytest.fixture
def part(encoder: CompositionBackbone, monkeypatch: pytest.MonkeyPatch) -> tuple[Inputs, Labels]:
    values = np.linspace(0, 3, len(FORMULAS))
    return Inputs.of(FORMULAS, encoder, values[:, None]), Labels(values, np.ones(len(values)))


@pytest.fixture
def tables(tmp_path, encoder):
    rows = [
        {"property": name, "formula": text, "target": value, "in_matbench_task": 0}
        for i, text in enumerate(TEXTS)
        for name, value in (("size", float(i)), ("is_oxide", float(text.endswith("O"))))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "properties.csv", index=False)
    return read_tables(None, tmp_path / "properties.csv", exclude=None, validation=0.3)


def test_the_encoder_and_its_siblings_answer_there_as_here(
    encoder: CompositionBackbone, gpu: torch.device, tmp_path: Path
) -> None:
    """To rounding in float32: torch takes another routine for the attention there. A copy saved from there opens."""

    def found(one: CompositionBackbone) -> list[np.ndarray]:
        batch = one.collate([one.encode(formula) for formula in FORMULAS]).to(one.device)
        answers = one.forward(batch, ["properties"])["properties"].cpu().numpy()
        return [answers, *one.embed_with_properties(FORMULAS), one.embed(FORMULAS)]

    here = found(encoder)
    encoder.module.to(gpu)
    there = found(encoder)
    assert {one.head[0].weight.device for one in encoder.encoders} == {gpu}
    save_folder(encoder, tmp_path)
    loaded = load_folder(tmp_path)
    assert isinstance(loaded, CompositionBackbone)
    for ours, expected, again in zip(there, here, found(loaded), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("strategy", ["full", "partial"])
@pytest.mark.parametrize("n_classes", [0, 2])
def test_an_encoder_is_fine_tuned(encoder, part, strategy: str, n_classes: int) -> None:
    inputs, labels = part
    labels = Labels((labels.y > 1).astype(float), labels.weights, 2) if n_classes else labels
    settings = NetworkSettings(epochs=1, fewest_steps=2, batch=12)
    network = fit_network(encoder, (inputs, labels), (inputs, labels), strategy, settings, 0)
    assert np.isfinite(network(inputs)).all()


@pytest.mark.parametrize("method", ALIGNMENTS)
def test_an_encoder_is_aligned(encoder, part, method: str) -> None:
    settings = NetworkSettings(epochs=1, fewest_steps=2, batch=12)
    target = TargetDomain(part[0], DomainSettings())
    network = fit_network(encoder, part, part, "full", settings, 0, target.objective(method, 0))
    assert np.isfinite(network(part[0])).all()


def test_prompts_are_tuned(encoder, part) -> None:
    inputs, labels = part
    kinds = Labels(np.arange(len(inputs)) % 3 * 1.0, labels.weights, 3)
    parts = {"value": part, "kind": (inputs, kinds)}
    found = fit_prompts(encoder, parts, parts, PromptSettings(epochs=1, fewest_steps=2, bank="none"), 0)
    assert all(np.isfinite(found.of(name)(inputs)).all() for name in parts)


def test_an_encoder_is_pretrained(encoder, tables, tmp_path) -> None:
    module = PretrainModule.seeded(encoder.module, 0)
    weights = ObjectiveWeights(properties=1.0, masked=1.0, contrast=1.0)
    objective = PretrainObjective(module, tables, weights, 0.5)
    groups = [ParamGroup("all", dict(named_parameters(module)))]
    result = fit(objective, module, groups, LOOP, Execution(tmp_path))
    assert np.isfinite(result.best_value)


def test_a_bank_is_learned(encoder, tables, tmp_path) -> None:
    """Its validation adds errors up by question, on the CPU."""
    module = PromptedEncoder(encoder.module, tables.names)
    objective = BankObjective(module, tables, BankSettings())
    groups = [ParamGroup("prompts", module.learned())]
    result = fit(objective, module, groups, LOOP, Execution(tmp_path))
    assert {"size", "is_oxide"} <= set(result.history[-1])


@pytest.mark.parametrize("distance", ["mahalanobis", "euclidean"])
def test_episodes_teach_a_metric(gpu: torch.device, distance: str) -> None:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(90, 6, dtype=torch.float64, generator=random)
    questions = [ClassQuestion("size", 0, tuple(np.array_split(np.arange(90), 3)))]
    module = MetricModule(distance, DistanceStatistics(trust=1.0, temperature=1.0, slope=1.0))
    train(module, features, questions, EpisodeSettings(episodes=16, queries=4, fit=LOOP))
    assert all(torch.isfinite(p).all() and p.device == CPU for p in module.parameters())
