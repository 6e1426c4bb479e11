"""Two questions to one frozen encoder: a run from Python, asked by prompts (half a minute).

python examples/05_prompts.py
"""

import tempfile
from pathlib import Path

import pandas as pd

from matgraft.formulas.predict import predict_formulas
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.prompts.member import PromptSettings
from matgraft.formulas.settings import TableRun
from matgraft.formulas.tune import tune_table

ENERGIES = Path(__file__).parent / "data" / "formation" / "formation_energies.csv"

with tempfile.TemporaryDirectory() as folder:
    table = pd.read_csv(ENERGIES, keep_default_na=False)[::24]
    table["stable"] = ["yes" if energy < -0.3 else "no" for energy in table["formation_energy"]]
    table.to_csv(Path(folder) / "table.csv", index=False)
    settings = PredictorSettings(strategy="prompt", inner_folds=2, prompt=PromptSettings(epochs=4, fewest_steps=20))
    run = TableRun(table=f"{folder}/table.csv", targets=("formation_energy", "stable"), settings=settings)
    said = tune_table(run, Path(folder) / "run", quiet=True)
    for start in said.prompts.starts:
        print(start)
    for row in predict_formulas(Path(folder) / "run", ["[OXIDE] SrTiO3 [FORMATION_ENERGY]", "NaCl"]):
        print(row["formula"], row["target"], row["value"])
