"""Small finished runs: one on values and classes, one with a condition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from matgraft.core.registry import save_folder
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners import forest
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.settings import TableRun
from matgraft.formulas.tune import tune_table

METALS, ANIONS = ["Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Zn"], {"O": 2.0, "S": 1.0, "F": 4.0, "Cl": 3.0}


def table() -> pd.DataFrame:
    """Gaps that follow from the anion and, a little, from the metal; `kind` says which are wide."""
    rows = [
        (f"{m}{'' if n == 1 else n}{x}", gap + 0.05 * k + 0.1 * n)
        for k, m in enumerate(METALS)
        for x, gap in ANIONS.items()
        for n in (1, 2)
    ]
    made = pd.DataFrame(rows, columns=["formula", "gap"]).sample(frac=1, random_state=0, ignore_index=True)
    made["kind"] = np.where(made["gap"] > 3, "wide", np.where(made["gap"] > 1.8, "middle", "narrow"))
    return made


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By name, folders of runs: gap, kind, both, and heat with a temperature beside the formula."""
    home = tmp_path_factory.mktemp("suggest")
    small = CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16, property_names=("a", "b"))
    save_folder(small, home / "encoder")
    made = table()[:40].assign(temperature=lambda rows: [300, 900] * (len(rows) // 2))
    made.to_csv(home / "train.csv", index=False)
    asked: dict[str, dict] = {
        "gap": {"targets": ("gap",)},
        "kind": {"targets": ("kind",)},
        "both": {"targets": ("gap", "kind")},
        "heat": {"targets": ("gap",), "covariates": ("temperature",)},
    }
    settings = PredictorSettings(strategy="feature", inner_folds=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forest, "COUNT", 10)
        for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
            patch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)
        for name, how in asked.items():
            run = TableRun(table=str(home / "train.csv"), foundation=str(home / "encoder"), settings=settings, **how)
            tune_table(run, home / name, quiet=True)
    return {name: home / name for name in asked}


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No forks for a handful of formulas."""
    for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)
