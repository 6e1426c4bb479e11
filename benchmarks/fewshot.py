"""Few-shot classes: matgraft's prototypes beside descriptors, the encoder untrained, and nothing taught.

    python benchmarks/fewshot.py                  # gaps, steels, formation energies
    python benchmarks/fewshot.py --report

Classes that no training saw: metal, gap up to 2 eV and larger gap by measurement; thirds of the measured yield strength
of steels; thirds of formation energies that the project computed. An episode draws 2 or 3 of a table's three classes,
1, 5 or 20 examples of each and 10 queries of each; every method gets the same 200 episodes. Intervals are 95 %, over
the episodes.

``none of these``: in episodes of 2 classes the queries of the third class, and as many formulas of another table, are
asked as well: how many are flagged, and how many of the classes' own are. ``expected``: accuracy by leaving examples
out, beside what came in the same episodes.
"""

from __future__ import annotations

import argparse
import hashlib
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, RESULTS, Results, Row, circumstances, prepare, run, show
from formula_folds import FORMULAS, sizes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from matgraft.formulas import descriptors
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.few_shot.classifier import fit_few_shot
from matgraft.formulas.few_shot.metric import CARD, METRICS, SHIPPED, Metric, Space
from matgraft.formulas.few_shot.prototypes import DISTANCES
from matgraft.formulas.formula import Formula
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.reading import read_table

TABLES = {
    "gaps": (FORMULAS / "matbench_expt_gap.csv", "target"),
    "steels": (FORMULAS / "matbench_steels.csv", "target"),
    "formation energies": (HERE.parent / "examples/data/formation/formation_energies.csv", "formation_energy"),
}
OTHER = {"gaps": "steels", "steels": "gaps", "formation energies": "steels"}
"""Which table the formulas of none of the classes come from."""
CELLS = [(ways, shots) for ways in (2, 3) for shots in (1, 5, 20)]
QUERIES = 10
LEFT_OUT = 15
"""Episodes whose examples are left out one by one: each costs as many fits as it has examples."""
Classes = tuple[list[Formula], np.ndarray]


class Cached(CompositionBackbone):
    """An encoder that looks up what it has computed once, so that an episode costs nothing."""

    def __init__(self, backbone: CompositionBackbone, formulas: Sequence[Formula]) -> None:
        super().__init__(backbone.module, backbone.card, backbone.siblings)
        self.rows = {formula.key: i for i, formula in enumerate(formulas)}
        self.known = backbone.embed_with_properties(formulas)

    def embed_with_properties(self, formulas: Sequence[Formula], progress: str = "") -> tuple[Any, Any]:
        """Return features and properties."""
        rows = [self.rows[formula.key] for formula in formulas]
        return self.known[0][rows], self.known[1][rows]


Method = Callable[[list[Formula], np.ndarray, int], Callable[[list[Formula]], np.ndarray]]
"""Examples, their labels and the number of classes -> a function from queries to classes."""


def classes_of(name: str) -> Classes:
    """Return a table's formulas, each once, and their classes 0, 1, 2."""
    table = read_table(*TABLES[name])
    first = {formula.key: i for i, formula in reversed(list(enumerate(table.formulas)))}
    rows = sorted(first.values())
    values = table.values[rows]
    cuts = (0, 2.0) if name == "gaps" else np.quantile(values, (1 / 3, 2 / 3))
    return [table.formulas[i] for i in rows], np.searchsorted(cuts, values, side="left")


def spaces_of(formulas: list[Formula], trained: CompositionBackbone, further: Sequence[Path]) -> dict[str, Space]:
    """Return the spaces of prototypes, by name; the first is what `matgraft fewshot` takes."""
    shipped, nothing = METRICS.read(SHIPPED, "shipped"), Metric.untrained()
    metrics = {path.name: METRICS.read(path) for path in further}
    every = [*formulas, *shipped.background, *(one for metric in metrics.values() for one in metric.background)]
    pretrained = Cached(trained, every)
    unpretrained = Cached(CompositionBackbone.scratch(0, **sizes(trained)), every)
    plain = ("mahalanobis", "euclidean")
    return {
        **{f"prototypes, {distance}": Space.of(pretrained, shipped, distance) for distance in DISTANCES},
        **{f"nothing taught, {distance}": Space.of(pretrained, nothing, distance) for distance in plain},
        **{f"metric {name}, {plain[0]}": Space.of(pretrained, metric) for name, metric in metrics.items()},
        **{f"encoder unpretrained, {distance}": Space.of(unpretrained, nothing, distance) for distance in plain},
    }


def methods_of(formulas: list[Formula], spaces: dict[str, Space]) -> dict[str, Method]:
    """Return prototypes in each space, and two classifiers on descriptors and on the encoder's features."""
    found = {name: prototypes(space) for name, space in spaces.items()}
    ours = next(iter(spaces.values()))
    background = descriptors.magpie(ours.metric.background)
    magpie = (descriptors.magpie(formulas) - background.mean(0)) / np.maximum(background.std(0), 1e-9)
    for name, x in (("descriptors", magpie), ("encoder", ours.standardised(formulas))):
        rows = {formula.key: row for formula, row in zip(formulas, x, strict=True)}
        found[f"logistic regression, {name}"] = on_rows(rows, lambda shots: LogisticRegression())
        found[f"nearest neighbours, {name}"] = on_rows(rows, lambda shots: KNeighborsClassifier(1 if shots < 5 else 3))
    return found


def prototypes(space: Space) -> Method:
    """Return prototypes in a space."""

    def fit(formulas: list[Formula], labels: np.ndarray, ways: int) -> Callable[[list[Formula]], np.ndarray]:
        few = fit_few_shot(formulas, labels, ways, space, leave_out=False)
        return lambda queries: few.predict(queries).value

    return fit


def on_rows(rows: dict[str, np.ndarray], make: Callable[[int], Any]) -> Method:
    """Return a scikit-learn classifier on rows of numbers."""

    def fit(formulas: list[Formula], labels: np.ndarray, ways: int) -> Callable[[list[Formula]], np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of 100 iterations on near-constant columns of steels
            model = make(len(formulas) // ways).fit(np.stack([rows[one.key] for one in formulas]), labels)
        return lambda queries: model.predict(np.stack([rows[one.key] for one in queries]))

    return fit


def score(name: str, ways: int, shots: int, episodes: int, spaces: dict[str, Space], others: list[Formula]) -> Row:
    """Return a row: accuracies of all methods, what was flagged, what was expected."""
    began = time.monotonic()
    formulas, labels = classes_of(name)
    methods, ours = methods_of(formulas, spaces), next(iter(spaces.values()))
    accuracies: dict[str, list[float]] = {method: [] for method in methods}
    watched: list[Row] = []
    for i in range(episodes):
        rng = np.random.default_rng((ways, shots, i))
        chosen = rng.permutation(3)[:ways]
        drawn = [rng.permutation(np.flatnonzero(labels == c))[: shots + QUERIES] for c in range(3)]
        support = [formulas[j] for c in chosen for j in drawn[c][:shots]]
        queries = [formulas[j] for c in chosen for j in drawn[c][shots:]]
        known, truth = (np.repeat(np.arange(ways), n) for n in (shots, QUERIES))
        for method, fit in methods.items():
            accuracies[method].append(float((fit(support, known, ways)(queries) == truth).mean()))
        third = [formulas[j] for c in set(range(3)) - set(chosen.tolist()) for j in drawn[c][:QUERIES]]
        elsewhere = [others[j] for j in rng.permutation(len(others))[:QUERIES]]
        asked = (queries, truth, third, elsewhere)
        watched.append(watch(ours, support, known, ways, asked, left_out=i < LEFT_OUT and shots > 1))
    return {
        "episodes": episodes,
        "accuracy": {method: mean_and_error(found) for method, found in accuracies.items()},
        "watched": {key: mean_and_error([one[key] for one in watched if key in one])
                    for key in dict.fromkeys(key for one in watched for key in one)},
        "minutes": round((time.monotonic() - began) / 60, 2),
    }  # fmt: skip


def watch(space: Space, support: list[Formula], labels: np.ndarray, ways: int, asked: Any, *, left_out: bool) -> Row:
    """Return what one episode says of probabilities, of "none of these" and of the expectation."""
    queries, truth, third, elsewhere = asked
    few = fit_few_shot(support, labels, ways, space, leave_out=left_out)
    prediction = few.predict(queries)
    likely = prediction.probabilities
    right = float((prediction.value == truth).mean())
    found = {
        "stated probability of the class": float(likely.max(1).mean()),
        "log loss": float(-np.log(np.clip(likely[np.arange(len(truth)), truth], 1e-6, 1)).mean()),
        "own flagged": float(prediction.unlike.mean()),
        "other table flagged": float(few.predict(elsewhere).unlike.mean()),
    }
    if third:
        found["third class flagged"] = float(few.predict(third).unlike.mean())
    if few.expectation:
        found["expected"] = few.expectation.accuracy
        found["came, same episodes"] = right
    return found


def mean_and_error(values: Sequence[float]) -> list[float]:
    """Return a mean and half its 95 % interval."""
    return [round(float(np.mean(values)), 4), round(float(1.96 * np.std(values, ddof=1) / len(values) ** 0.5), 4)]


def main() -> None:
    """Score what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, action="append")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--metric", type=Path, action="append", help="folder of `matgraft episodes` to compare as well")
    parser.add_argument("--out", type=Path, default=RESULTS / "fewshot.json")
    parser.add_argument("--again", action="store_true", help="run rows anew that are there")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("table", "ways", "shots", "weights_sha256", "metric_sha256"))
    if not chosen.report:
        prepare()
        trained = load_encoder("composition")
        digest = {
            "weights_sha256": trained.card.weights_sha256[:12],
            "metric_sha256": hashlib.sha256((SHIPPED / CARD.name).read_bytes()).hexdigest()[:12],
        }
        for name in chosen.table or TABLES:
            others, spaces = classes_of(OTHER[name])[0], None
            for ways, shots in CELLS:
                key = {"table": name, "ways": ways, "shots": shots} | digest
                if results.find(**key) is None or chosen.again:
                    spaces = spaces or spaces_of([*classes_of(name)[0], *others], trained, chosen.metric or ())
                    results.put(key | score(name, ways, shots, chosen.episodes, spaces, others) | circumstances())
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print two tables for each data set."""
    for name in TABLES:
        found = {(row["ways"], row["shots"]): row for row in rows if row["table"] == name}
        cells = [cell for cell in CELLS if cell in found]
        if not cells:
            continue
        header = ("", *(f"{ways} classes, {shots}" for ways, shots in cells))
        for field in ("accuracy", "watched"):
            keys = dict.fromkeys(key for cell in cells for key in found[cell][field])
            lines = [[key, *(_cell(found[cell][field].get(key)) for cell in cells)] for key in keys]
            show(f"{name}: {field}", header, lines, as_markdown=as_markdown)


def _cell(value: list[float] | None) -> str:
    return "–" if value is None else f"{value[0]:.3f} ± {value[1]:.3f}"


if __name__ == "__main__":
    run(main)
