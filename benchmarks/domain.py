"""Labels carried over to a domain that has none: every method, what the proxies said, and what came.

    python benchmarks/domain.py
    python benchmarks/domain.py --report

Gaps (eV): computed to measured, oxides to others (both measured), compounds without carbon to carbon-rich ones (both
computed). The target's labels score, after everything was chosen. Beside them stand 25 labels of the target: alone, and
with source-only's prediction as a covariate, means of five draws.

Of the carbon-rich compounds those are scored whose gaps the encoder's pretraining did not see (3 % of the chemical
systems, and the formulas of Matbench tasks).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import RESULTS, Results, Row, circumstances, number, prepare, run, show
from formula_folds import FORMULAS

from matgraft.formulas.domain.adaptation import ChosenMethod
from matgraft.formulas.domain.member import METHODS, DomainSettings
from matgraft.formulas.domain.verdict import harm_finding, overlap_finding
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula, parse_formula
from matgraft.formulas.learners.inputs import Examples, Inputs
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.pretraining.tables import is_held_out, read_property_table
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.reading import read_table

LABELS, DRAWS = 25, 5
HELD_OUT = 0.03
"""Of the chemical systems, in the shipped encoder's pretraining."""
CARBON_RICH = 0.15
"""Atomic fraction of carbon; of carbides and carbonates half have less."""
NETWORK = NetworkSettings(epochs=6, fewest_steps=100)
"""A third of the usual passes: all cases in a quarter of an hour on one core."""


class Case(NamedTuple):
    """A source with labels, a target, its truths, and which of its rows are scored."""

    source: list[Formula]
    y: np.ndarray
    target: list[Formula]
    truths: np.ndarray
    scored: np.ndarray


def computed_to_measured(name: str, size: int) -> Case:
    """Return computed gaps as the source, measured ones as the target."""
    source, y = computed(name, size, lambda one: True)
    target, truths = measured(size, lambda one: True)
    return Case(source, y, target, truths, np.ones(len(target), bool))


def oxides_to_others(size: int) -> Case:
    """Return measured gaps of oxides as the source, of everything else as the target."""
    source, y = measured(size, lambda one: 8 in one.numbers)
    target, truths = measured(size, lambda one: 8 not in one.numbers)
    return Case(source, y, target, truths, np.ones(len(target), bool))


def to_carbon(size: int) -> Case:
    """Return computed gaps of compounds without carbon as the source, of carbon-rich ones as the target."""
    source, y = computed("mp_gap", size, lambda one: 6 not in one.numbers)
    target, truths = computed("mp_gap", size, is_carbon_rich)
    seen = {
        parse_formula(text, is_spelled=True).key
        for text in read_property_table(TABLE, "in_matbench_task")["formula"].unique()
    }
    scored = [is_held_out(one.chemical_system, HELD_OUT) or one.key not in seen for one in target]
    return Case(source, y, target, truths, np.array(scored))


TABLE = FORMULAS / "dft_properties.csv.gz"
CASES: dict[str, Callable[[int], Case]] = {
    "computed gaps (Materials Project) to measured": lambda size: computed_to_measured("mp_gap", size),
    "computed gaps (AFLOW) to measured": lambda size: computed_to_measured("aflow__Egap", size),
    "oxides to others, measured": oxides_to_others,
    "inorganic to carbon-rich, computed": to_carbon,
}


def is_carbon_rich(formula: Formula) -> bool:
    """Say whether so much of a formula is carbon."""
    return dict(zip(formula.numbers, formula.fractions, strict=True)).get(6, 0.0) >= CARBON_RICH


def computed(name: str, size: int, wanted: Callable[[Formula], bool]) -> tuple[list[Formula], np.ndarray]:
    """Return so many formulas and values of a computed property, drawn at random."""
    table = read_property_table(TABLE, None)
    part = table[table["property"] == name]
    return drawn(
        [parse_formula(text, is_spelled=True) for text in part["formula"]], part["target"].to_numpy(float), size, wanted
    )


def measured(size: int, wanted: Callable[[Formula], bool]) -> tuple[list[Formula], np.ndarray]:
    """Return so many measured gaps."""
    table = read_table(FORMULAS / "matbench_expt_gap.csv", "target")
    return drawn(table.formulas, table.values, size, wanted)


def drawn(
    formulas: Sequence[Formula], values: np.ndarray, size: int, wanted: Callable[[Formula], bool]
) -> tuple[list[Formula], np.ndarray]:
    """Return some of the rows that are wanted."""
    rows = [i for i in np.random.default_rng(0).permutation(len(formulas)) if wanted(formulas[i])][:size]
    return [formulas[i] for i in rows], values[rows]


def score(case: Case, backbone: CompositionBackbone, rows: int) -> Row:
    """Return what was chosen, each method's error on the target, and what 25 labels give."""
    began = time.monotonic()
    settings = PredictorSettings(strategy="domain", inner_folds=2, network=NETWORK, domain=DomainSettings(rows=rows))
    predictor = fit_predictor(
        Examples(case.source, case.y), backbone, settings, target=Inputs.of(case.target, backbone)
    )
    assert predictor.adapted is not None
    facts = predictor.adapted.facts
    prediction = predictor.predict(case.target)
    inside = (prediction.lower <= case.truths) & (case.truths <= prediction.upper)
    minutes = (time.monotonic() - began) / 60
    return {
        "source": len(case.source),
        "target": len(case.target),
        "scored": int(case.scored.sum()),
        "domain": facts.model_dump(mode="json"),
        "overlap": overlap_finding(facts).outcome,
        "harm": harm_finding(facts).outcome,
        "methods": method_errors(predictor.adapted, predictor.calibration.transform.back, case),
        "mae": float(np.abs(prediction.value - case.truths)[case.scored].mean()),
        "mae_constant": float(np.abs(np.median(case.y) - case.truths)[case.scored].mean()),
        "coverage": float(inside[case.scored].mean()),
        "few": few_labels(case, prediction.value, backbone),
        "minutes": round(minutes, 2),
    }


def method_errors(adapted: ChosenMethod, back: Callable[[Any], Any], case: Case) -> Row:
    """Return each method's mean absolute error on the target, its difference to source-only and that one's error."""
    known = case.scored[adapted.rows]
    errors = {name: np.abs(back(said) - case.truths[adapted.rows])[known] for name, said in adapted.labelled.items()}
    return {
        name: {
            "mae": float(error.mean()),
            "difference": float((error - errors["source"]).mean()),
            "error": float((error - errors["source"]).std(ddof=1) / len(error) ** 0.5),
        }
        for name, error in errors.items()
    }


def few_labels(case: Case, known: np.ndarray, backbone: CompositionBackbone) -> Row:
    """Return errors with 25 labels of the target, alone and beside what the source-trained predictor says."""
    found: dict[str, list[float]] = {"labels alone": [], "labels and source": []}
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(case.target))
        train, test = order[:LABELS], [i for i in order[LABELS:] if case.scored[i]]
        for name, extra in zip(found, (None, known[:, None]), strict=True):
            examples = Examples(case.target, case.truths, covariates=extra).take(train)
            few = fit_predictor(examples, backbone, PredictorSettings(strategy="feature", seed=draw))
            predicted = few.predict([case.target[i] for i in test], None if extra is None else extra[test]).value
            found[name].append(float(np.abs(predicted - case.truths[test]).mean()))
    return {name: float(np.mean(errors)) for name, errors in found.items()}


def main() -> None:
    """Score what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2000, help="rows of each domain")
    parser.add_argument("--rows", type=int, default=500, help="rows of each domain by which methods are compared")
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--out", type=Path, default=RESULTS / "domain.json")
    parser.add_argument("--again", action="store_true", help="run rows anew that are there")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("case", "size", "rows", "weights_sha256"))
    if not chosen.report:
        prepare()
        backbone = load_encoder("composition")
        for name in chosen.case or CASES:
            key = {"case": name, "size": chosen.size, "rows": chosen.rows}
            key |= {"weights_sha256": backbone.card.weights_sha256[:12]}
            if results.find(**key) is None or chosen.again:
                results.put(key | score(CASES[name](chosen.size), backbone, chosen.rows) | circumstances())
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print a table of the methods for each case, and one of everything else."""
    for row in rows:
        compared = {one["method"]: one for one in row["domain"]["compared"]}
        lines = [
            [method, *(f"{compared[method][p]['difference']:+.3f} ± {compared[method][p]['error']:.3f}"
                       for p in ("reverse", "weighted")),
             compared[method]["outcome"], number(compared[method]["distance"], 3),
             number(row["methods"][method]["mae"], 3),
             f"{row['methods'][method]['difference']:+.3f} ± {row['methods'][method]['error']:.3f}"]
            for method in METHODS if method in compared
        ]  # fmt: skip
        of_methods = ("method", "reverse", "weighted", "proxies say", "distance", "target, MAE", "against source-only")
        show(f"{row['case']}, weights {row['weights_sha256']}", of_methods, lines, as_markdown=as_markdown)
    cases = [
        [
            *(row["case"], row["weights_sha256"], number(seen["auc"], 3), number(seen["within"], 2)),
            *(number(seen["effective"], 0), row["overlap"], row["harm"], row["domain"]["method"]),
            *(number(row["mae"], 3), number(row["coverage"], 3), number(row["few"]["labels alone"], 3)),
            *(number(row["few"]["labels and source"], 3), number(row["minutes"], 1)),
        ]
        for row in rows
        if (seen := row["domain"]["overlap"])
    ]
    header = (
        *("case", "weights", "AUC", "within", "rows left", "overlap", "harm", "taken"),
        *("MAE", "held", "25 labels", "25 labels and source", "minutes"),
    )
    show("cases", header, cases, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)
