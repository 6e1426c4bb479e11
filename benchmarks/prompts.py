"""One prompted encoder on five properties, beside five encoders tuned apart, and closed forms on the frozen one.

    python benchmarks/prompts.py                  # about 10 minutes on one core
    python benchmarks/prompts.py --report

At most 300 formulas of each property learn, at most 400 others judge; no chemical formula is on both sides. Unseen by
encoder and bank are measured gaps, measured yield strengths of steels and the project's own formation energies, as
properties and, of the first two, as formulas. Shear moduli and magnetic moments are properties of the pretraining; here
they are asked of chemical systems that it held out.

``step 0`` is the nearest prompt before any tuning, mapped on the labels by a straight line; with ``no bank`` prompts
and readout begin at random. Times are those of fit and calibration. Prompts learn all five at once: what they cost is
shared out evenly over the properties.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from common import HERE, RESULTS, Results, Row, circumstances, prepare, run, show
from formula_folds import FORMULAS

from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula, parse_formula
from matgraft.formulas.learners.inputs import Inputs
from matgraft.formulas.predictor.fitting import fit_predictor, labels_of
from matgraft.formulas.predictor.inner import InnerFolds
from matgraft.formulas.predictor.members import FULL
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.predictor.store import save_predictor
from matgraft.formulas.predictor.together import fit_together, folds_of
from matgraft.formulas.pretraining.tables import is_held_out, read_property_table
from matgraft.formulas.prompts.bank import BANKS, CARD, SHIPPED
from matgraft.formulas.prompts.facts import prompt_facts
from matgraft.formulas.prompts.member import PromptFit, PromptSettings, prepared
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.scoring.metrics import scores_of
from matgraft.formulas.table.formula_table import FormulaTable
from matgraft.formulas.table.reading import read_table

TRAINING, JUDGING, FOLDS = 300, 400, 3
DFT = FORMULAS / "dft_properties.csv.gz"
UNITS = {
    "measured gap": "eV",
    "yield strength": "MPa",
    "formation energy": "eV/atom",
    "log10 shear modulus": "",
    "magnetic moment": "µB",
}
STRATEGIES = ("step 0", "prompt", "prompt, no bank", "full", "feature")
Parts = tuple[FormulaTable, FormulaTable]


@cache
def tables(seed: int = 0) -> dict[str, Parts]:
    """Return by property the rows that learn and those that judge."""
    formation = HERE.parent / "examples/data/formation/formation_energies.csv"
    whole = {
        "measured gap": read_table(FORMULAS / "matbench_expt_gap.csv", "target"),
        "yield strength": read_table(FORMULAS / "matbench_steels.csv", "target"),
        "formation energy": read_table(formation, "formation_energy"),
    }
    rows = {name: (table.formulas, table.values) for name, table in whole.items()}
    rows |= {"log10 shear modulus": held_out("elasticity_log10(G_VRH)"), "magnetic moment": held_out("mp_mu_b")}
    return {name: split(*rows[name], seed) for name in UNITS}


@cache
def held_out(name: str) -> tuple[tuple[Formula, ...], np.ndarray]:
    """Return the formulas and values of a property in chemical systems that the pretraining held out."""
    part = read_property_table(DFT, "in_matbench_task")
    part = part[part["property"] == name]
    parsed = [parse_formula(text, is_spelled=True) for text in part["formula"]]
    kept = [i for i, one in enumerate(parsed) if is_held_out(one.chemical_system, 0.03)]
    return tuple(parsed[i] for i in kept), part["target"].to_numpy(float)[kept]


def split(formulas: tuple[Formula, ...], values: np.ndarray, seed: int) -> Parts:
    """Draw rows, one a formula: three quarters learn, at most `TRAINING`; of the others at most `JUDGING` judge."""
    first = {formula.key: i for i, formula in reversed(list(enumerate(formulas)))}
    order = np.random.default_rng(seed).permutation(sorted(first.values()))
    count = min(TRAINING, len(order) * 3 // 4)
    return tuple(  # type: ignore[return-value]
        table_of([formulas[i] for i in part], values[part]) for part in (order[:count], order[count : count + JUDGING])
    )


def table_of(formulas: list[Formula], values: np.ndarray) -> FormulaTable:
    """Return a table without classes, covariates, weights and groups."""
    n = len(formulas)
    return FormulaTable(tuple(formulas), values, (), np.zeros((n, 0)), {}, np.ones(n), (), (), tuple(range(n)), 0)


def apart(strategy: str, backbone: CompositionBackbone) -> dict[str, Row]:
    """Return a row a property, each with a predictor of its own."""
    return {name: one(strategy, train, test, backbone) for name, (train, test) in tables().items()}


def one(strategy: str, train: FormulaTable, test: FormulaTable, backbone: CompositionBackbone) -> Row:
    """Fit and score one property."""
    began = time.monotonic()
    predictor = fitted(train, backbone, PredictorSettings(strategy=strategy, inner_folds=FOLDS))
    minutes = (time.monotonic() - began) / 60
    networks = predictor.networks.get(FULL.name, [])
    trained = sum(parameter.numel() for parameter in networks[0].module.parameters()) if networks else 0
    with tempfile.TemporaryDirectory() as folder:
        save_predictor(predictor, Path(folder))
        stored = sum(file.stat().st_size for file in Path(folder).rglob("*.safetensors")) / 1e6
    return scored(predictor, test) | {"trained": trained, "stored_MB": stored, "minutes": minutes}


def fitted(
    table: FormulaTable, backbone: CompositionBackbone, settings: PredictorSettings, folds: InnerFolds | None = None
) -> Predictor:
    """Return a predictor; `folds` may come with fits made before."""
    return fit_predictor(table.examples(), backbone, settings, folds=folds)


def together(backbone: CompositionBackbone, bank: str | None = None) -> dict[str, Row]:
    """Return a row a property, all asked of one prompted encoder."""
    began = time.monotonic()
    training = {name: train for name, (train, _) in tables().items()}
    settings = PredictorSettings(strategy="prompt", inner_folds=FOLDS, prompt=PromptSettings(bank=bank))
    with tempfile.TemporaryDirectory() as folder:
        joint = fit_together(training, folds_of(training, "formula", settings), backbone, settings, Path(folder))
    predictors = {name: fitted(table, backbone, settings, joint.of(name)) for name, table in training.items()}
    minutes = (time.monotonic() - began) / 60
    facts = prompt_facts(joint.fits, backbone, settings.prompt, {n: n for n in training}, dict.fromkeys(training, ()))
    whole = {"trained": facts.trained, "stored_MB": facts.stored_MB, "minutes": minutes}
    shared = {key: value / len(training) for key, value in whole.items()}
    starts = {row.target: [row.nearest, row.similarity] for row in facts.starts}
    return {
        name: scored(predictors[name], test) | shared | {"started_from": starts[name]}
        for name, (_, test) in tables().items()
    }


def step_zero(backbone: CompositionBackbone) -> dict[str, Row]:
    """Return a row a property, answered by the nearest prompt before the first step."""
    settings, rows = PredictorSettings(strategy="prompt"), {}
    for name, (train, test) in tables().items():
        labels, transform = labels_of(train.examples(), settings)
        began = time.monotonic()
        part = {name: (Inputs.of(train.formulas, backbone), labels)}
        fit = PromptFit(*prepared(backbone, BANKS.choose(None, backbone), part, 0))
        middle = transform.back(fit.of(name)(Inputs.of(test.formulas, backbone))[:, 49])
        error = float(np.abs(middle - test.values).mean())
        rows[name] = {"mae": error, "trained": 0, "stored_MB": 0.0, "minutes": (time.monotonic() - began) / 60}
    return rows


def scored(predictor: Predictor, test: FormulaTable) -> Row:
    """Return the mean absolute error on other formulas, and how many truths lay inside their 90 % interval."""
    scores = scores_of(test.values, predictor.predict(test.formulas))
    return {"mae": scores["mae"], "coverage": scores["coverage"]}


def main() -> None:
    """Score what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategy", choices=STRATEGIES, action="append")
    parser.add_argument("--out", type=Path, default=RESULTS / "prompts.json")
    parser.add_argument("--again", action="store_true", help="run rows anew that are there")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("strategy", "property", "weights_sha256", "bank_sha256"))
    if not chosen.report:
        prepare()
        backbone = load_encoder("composition")
        digest = {
            "weights_sha256": backbone.card.weights_sha256[:12],
            "bank_sha256": hashlib.sha256((SHIPPED / CARD.name).read_bytes()).hexdigest()[:12],
        }
        known: dict[str, Callable[[CompositionBackbone], dict[str, Row]]] = {
            "step 0": step_zero,
            "prompt": together,
            "prompt, no bank": lambda backbone: together(backbone, "none"),
        }
        for strategy in chosen.strategy or STRATEGIES:
            keys = [{"strategy": strategy, "property": name} | digest for name in UNITS]
            if chosen.again or any(results.find(**key) is None for key in keys):
                measured = circumstances()
                rows = known[strategy](backbone) if strategy in known else apart(strategy, backbone)
                for key in keys:
                    train, test = tables()[key["property"]]
                    counts = {"training": len(train.formulas), "judging": len(test.formulas)}
                    results.put(key | counts | rows[key["property"]] | measured)
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print errors, and what each strategy costs."""
    by = {(row["strategy"], row["property"]): row for row in rows}
    strategies = [one for one in STRATEGIES if all((one, name) in by for name in UNITS)]
    lines = [
        [f"{name}{', ' + unit if unit else ''}", *(f"{by[one, name]['mae']:.3g}" for one in strategies)]
        for name, unit in UNITS.items()
    ]
    lines.append(
        ["90 % intervals held", *(_mean([by[one, name].get("coverage") for name in UNITS]) for one in strategies)]
    )
    for title, key, form in (("trained numbers", "trained", ",.0f"), ("stored, MB", "stored_MB", ".2f"),
                             ("minutes", "minutes", ".1f")):  # fmt: skip
        lines.append([title, *(format(sum(by[one, name][key] for name in UNITS), form) for one in strategies)])
    show("five properties, mean absolute errors", ("", *strategies), lines, as_markdown=as_markdown)


def _mean(values: list[float | None]) -> str:
    return "–" if None in values else f"{100 * float(np.mean(values)):.0f} %"


if __name__ == "__main__":
    run(main)
