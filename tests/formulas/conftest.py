"""A small run on a table, with a test table of its own, that several files of tests read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from matgraft.core.registry import save_folder
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.settings import TableRun
from matgraft.formulas.tune import tune_table

METALS, ANIONS = ["Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Ni", "Zn", "Al"], {"O": 2.0, "S": 1.0, "F": 4.0, "Cl": 3.0}
QUICK = NetworkSettings(epochs=3, fewest_steps=3, batch=16)


class TunedRun(NamedTuple):
    """A finished run and its tables."""

    folder: Path
    encoder: Path
    train: pd.DataFrame
    test: pd.DataFrame


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> TunedRun:
    """A run of strategy full on 60 rows, groups being labs; of the test rows some are new, some are not."""
    home = tmp_path_factory.mktemp("tuned")
    small = CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16, property_names=("a", "b"))
    save_folder(small, home / "encoder")
    rng = np.random.default_rng(0)
    rows = [(f"{m}{n}{x}", value + rng.normal(0, 0.1)) for m in METALS for x, value in ANIONS.items() for n in (1, 2)]
    table = pd.DataFrame(rows, columns=["formula", "gap"]).sample(frac=1, random_state=0, ignore_index=True)
    table["lab"] = [f"lab {i % 12}" for i in range(len(table))]
    train, rest = table[:60], table[60:].copy()
    rest["lab"] = [f"lab {i % 12}" if i < 6 else f"other {i}" for i in range(len(rest))]
    again = train[:4].assign(lab=["new", "new", "lab 0", "newer"])
    test = pd.concat([rest, again], ignore_index=True)
    train.to_csv(home / "train.csv", index=False)
    test.to_csv(home / "test.csv", index=False)
    settings = PredictorSettings(strategy="full", inner_folds=2, network=QUICK)
    run = TableRun(
        table=str(home / "train.csv"), targets=("gap",), foundation=str(home / "encoder"), group="lab",
        test=str(home / "test.csv"), settings=settings,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
            patch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)
        tune_table(run, home / "run", quiet=True)
    return TunedRun(home / "run", home / "encoder", train, test)
