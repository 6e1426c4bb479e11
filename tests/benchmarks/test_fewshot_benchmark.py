"""The few-shot benchmark on a small encoder and the table that the project computed itself."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from matgraft.formulas.few_shot.metric import METRICS, SHIPPED, Metric, Space
from matgraft.formulas.formula import parse_formula
from matgraft.foundations import load

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import fewshot


def test_a_row_holds_every_method_and_what_was_watched() -> None:
    formulas, labels = fewshot.classes_of("formation energies")
    assert len({formula.key for formula in formulas}) == len(formulas)
    assert np.bincount(labels).tolist() == pytest.approx([len(labels) / 3] * 3, abs=2)
    encoder = load("composition")
    strangers = [parse_formula(text) for text in ("Xe", "He", "U3Au20")] * 4
    metric = Metric("x", METRICS.read(SHIPPED).card, Metric.untrained().background)
    space = Space.of(fewshot.Cached(encoder, [*formulas, *strangers, *metric.background]), metric)
    row = fewshot.score("formation energies", 2, 5, 2, {"ours": space}, strangers)
    assert set(row["accuracy"]) == {
        "ours",
        *(f"{model}, {what}" for model in ("logistic regression", "nearest neighbours")
          for what in ("descriptors", "encoder")),
    }  # fmt: skip
    assert all(0 <= mean <= 1 for mean, _ in row["accuracy"].values())
    assert {"third class flagged", "other table flagged", "own flagged", "expected"} < set(row["watched"])
    assert row["watched"]["other table flagged"][0] >= row["watched"]["own flagged"][0]
