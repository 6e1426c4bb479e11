"""A small encoder and a table whose values follow from the anion."""

import numpy as np
import pytest

from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.learners.network import NetworkSettings

METALS, ANIONS = ["Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Ni", "Zn", "Al"], {"O": 2.0, "S": 1.0, "F": 4.0, "Cl": 3.0}
QUICK = NetworkSettings(epochs=2, fewest_steps=2, batch=16)


@pytest.fixture(scope="session")
def small():
    return CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16, property_names=("a", "b"))


@pytest.fixture(scope="session")
def table():
    """80 formulas and their values."""
    pairs = [(f"{m}{n}{x}", value) for m in METALS for x, value in ANIONS.items() for n in (1, 2)]
    rng = np.random.default_rng(0)
    return [parse_formula(text) for text, _ in pairs], np.array([v for _, v in pairs]) + rng.normal(0, 0.1, len(pairs))


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)
