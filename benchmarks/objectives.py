"""Which pretraining objective buys what: none, masked atoms, contrast, properties, all, each for the same minutes.

    python benchmarks/objectives.py --minutes 5
    python benchmarks/objectives.py --report

Each encoder is pretrained alone, then its frozen features are judged by the closed form (``feature``) on measured gaps,
official folds, and on steels; ``descriptors`` on the same folds stands beside them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from common import HERE, RESULTS, Results, Row, circumstances, number, prepare, run, show
from formula_folds import FORMULAS, read, sizes

from matgraft.formulas.crossval import crossval
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.pretraining.run import pretrain
from matgraft.formulas.pretraining.settings import ObjectiveWeights, PretrainSettings
from matgraft.foundations import load_folder

TABLES = ("gaps", "steels")
OBJECTIVES = {
    "none": None,
    "masked": ObjectiveWeights(properties=0, masked=1, contrast=0),
    "contrast": ObjectiveWeights(properties=0, masked=0, contrast=1),
    "properties": ObjectiveWeights(properties=1, masked=0, contrast=0),
    "all": ObjectiveWeights(),
}


def pretrained(weights: ObjectiveWeights | None, minutes: float, data: Path, folder: Path) -> CompositionBackbone:
    """Return an encoder pretrained for some minutes, or untrained."""
    if weights is None:
        settings = PretrainSettings().encoder.model_dump()
        return CompositionBackbone.scratch(0, property_names=("none",), **settings)
    defaults = PretrainSettings()
    # Without the properties, views are all there is to learn from: the whole batch is seen so.
    views = defaults.views if weights.properties else 1.0
    fit = defaults.fit.model_copy(update={"epochs": None, "max_minutes": minutes, "processes": 1})
    update = {"weights": weights, "views": views, "fit": fit, "encoders": 1}
    settings_ = defaults.model_copy(update=update)
    shutil.rmtree(folder, ignore_errors=True)
    properties = data / "dft_properties.csv.gz" if weights.properties else None
    pretrain(data / "corpus.txt.gz", properties, settings_, folder, quiet=True)
    backbone = load_folder(folder)
    assert isinstance(backbone, CompositionBackbone)
    shutil.rmtree(folder)
    return backbone


def main() -> None:
    """Pretrain and score what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="of each pretraining")
    parser.add_argument("--data", type=Path, default=FORMULAS)
    parser.add_argument("--out", type=Path, default=RESULTS / "objectives.json")
    parser.add_argument("--scratch", type=Path, default=HERE / "results" / "pretraining.tmp")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("objective", "minutes"))
    if not chosen.report:
        prepare()
        for name, weights in OBJECTIVES.items():
            if results.find(objective=name, minutes=chosen.minutes) is None:
                backbone = pretrained(weights, chosen.minutes, chosen.data, chosen.scratch)
                mae = {table: scored(backbone, table, "feature", chosen.data) for table in TABLES}
                results.put({"objective": name, "minutes": chosen.minutes, "sizes": sizes(backbone), "mae": mae}
                            | circumstances())  # fmt: skip
        if results.find(objective="descriptors", minutes=0.0) is None:
            mae = {table: scored(backbone, table, "descriptors", chosen.data) for table in TABLES}
            results.put({"objective": "descriptors", "minutes": 0.0, "mae": mae} | circumstances())
    report(results.rows, chosen.report)


def scored(backbone: CompositionBackbone, name: str, strategy: str, data: Path) -> float:
    """Return the mean absolute error over the official folds."""
    found, _ = crossval(read(name, data), backbone, settings=PredictorSettings(strategy=strategy), progress="")
    return found.mean["mae"]


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print the table."""
    lines = [[row["objective"], number(row["minutes"], 0), *(number(row["mae"][t], 3) for t in TABLES)] for row in rows]
    show("objectives", ("pretraining", "minutes", *TABLES), lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)
