"""What each strategy makes of each foundation on the published Si and Mo frames, beside the published potentials.

    python benchmarks/strategies.py --elements Si Mo --strategies untuned shift feature full lora --minutes 20
    python benchmarks/strategies.py --foundation matgl:../shared/models/TensorNet-MatPES-PBE-v2025.1-PES
    python benchmarks/strategies.py --train-frames 48  # a quarter of them
    python benchmarks/strategies.py --report           # the markdown table of what is there

Training and test frames are the authors' (Zuo et al., J. Phys. Chem. A 124, 731 (2020)); a tenth of the training
frames, drawn at random over snapshots, chooses the best weights. The minutes count the whole adaptation (graphs,
references, the check of step 0, caching, fit), not the scoring on the test. A head on cached features (``feature``) is
done when it is done, and its cache takes at most half of the minutes; every other fit takes all of them. Outside stands
what each has moved on crystals and slabs with other elements, against the foundation
(`matgraft.potentials.checks.forgetting`). A result is written after each fit; a second call goes on with what is
missing."""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

from common import (
    DATA,
    ELEMENTS,
    RESULTS,
    Parts,
    Results,
    Row,
    circumstances,
    columns,
    number,
    prepare,
    published_parts,
    run,
    show,
    spread,
)

from matgraft import adapt, evaluate, load
from matgraft.core.processes import cores
from matgraft.core.training.execution import Execution
from matgraft.potentials.checks.base import CheckEvidence
from matgraft.potentials.checks.forgetting import Forgetting
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.tuning.adapt import TunedPotential, shift_references
from matgraft.potentials.tuning.references import ReferenceShift, fit_references

BASELINES = ("untuned", "shift")
STRATEGIES = (*BASELINES, "feature", "partial", "lora", "gradual", "full", "replay")
KEYS = ("element", "foundation", "strategy", "max_minutes", "n_train", "seed")
NOTE = (
    "The authors' test frames are random over snapshots of the same trajectories as their training frames, and so are "
    "the validation frames drawn here: these figures compare with the published potentials and say little about new "
    "trajectories. The history of the feature strategy holds estimates along its cached directions."
)
PUBLISHED_SOURCE = "RMSE on the same test frames, recomputed from the released potentials of Zuo et al. (2020)"
PUBLISHED = {
    "Si": {"SNAP": (8.06, 0.205), "qSNAP": (5.51, 0.177), "MTP": (3.03, 0.088), "NNP, offset removed": (6.86, 0.170)},
    "Mo": {"SNAP": (9.25, 0.376), "qSNAP": (4.04, 0.333), "MTP": (3.98, 0.151), "NNP, offset removed": (5.27, 0.204)},
}
"""Element -> potential -> RMSE of energy (meV/atom) and forces (eV/Å)."""
HEADER = (
    "foundation",
    "strategy",
    "energy meV/atom",
    "forces eV/Å",
    "stress GPa",
    "outside meV/atom",
    "outside eV/Å",
    "minutes",
    "of them fit",
    "frames",
    "a batch",
    "loss weights",
)

OUTSIDE_ENERGY, OUTSIDE_FORCES = "outside_energy_rmse_meV_per_atom", "outside_forces_rmse_eV_per_A"


def main() -> None:
    """Fit what is missing, then print the table."""
    options = parse()
    results = Results(options.out, KEYS, head)
    if not options.report:
        prepare()
        for element in options.elements:
            benchmark(element, options, results)
    for element in options.elements:
        title = f"{element}: RMSE on the authors' test frames"
        show(title, HEADER, table(element, results.rows), as_markdown=options.report)
    print(NOTE)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--elements", nargs="+", choices=ELEMENTS, default=list(ELEMENTS))
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--minutes", type=float, default=20.0, help="of a fit")
    parser.add_argument("--foundation", default="chgnet:0.3.0")
    parser.add_argument("--seed", type=int, default=0, help="of the validation frames and of the fit")
    parser.add_argument("--train-frames", type=int, help="learn from so many of the training frames, evenly spread")
    parser.add_argument("--frames", type=int, help="use only so many training and test frames, to try the script")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RESULTS / "strategies.json")
    parser.add_argument("--again", action="store_true", help="fit anew what the results have already")
    parser.add_argument("--report", action="store_true", help="print the results as markdown; fit nothing")
    return parser.parse_args(arguments)


def head(rows: list[Row]) -> Row:
    """Return what stands above the rows."""
    published = [
        {"element": element, "potential": name, "energy_rmse_meV_per_atom": energy, "forces_rmse_eV_per_A": forces}
        for element, potentials in PUBLISHED.items()
        for name, (energy, forces) in potentials.items()
    ]
    return {"note": NOTE, "published_source": PUBLISHED_SOURCE, "published": published}


def benchmark(element: str, options: argparse.Namespace, results: Results) -> None:
    """Score every strategy asked for on one element, and write each result at once."""
    parts = published_parts(element, options.data, seed=options.seed, frames=options.frames)
    parts = parts._replace(train=spread(parts.train, options.train_frames))
    parent = load(options.foundation)
    assert isinstance(parent, Potential)
    for strategy in options.strategies:
        key = {
            "element": element,
            "foundation": parent.card.name,
            "strategy": strategy,
            "max_minutes": None if strategy in BASELINES else options.minutes,
            "n_train": len(parts.train),
            "seed": options.seed,
        }
        if results.find(**key) and not options.again:
            continue
        facts = circumstances()  # before the fit: its own load is not the machine's
        found = baseline(parent, parts, strategy) if strategy in BASELINES else tuned(parent, parts, key)
        sizes = {"n_validation": len(parts.validation), "n_test": len(parts.test), "split": "random over snapshots"}
        results.put(key | found | sizes | facts)


def baseline(parent: Potential, parts: Parts, strategy: str) -> Row:
    """Score the foundation as it is, or with its reference energies shifted."""
    began = time.monotonic()
    model = copy.deepcopy(parent)
    if strategy == "shift":
        shift_references(
            model, fit_references(parts.train, predict_samples(parent, parts.train, ("energy",), processes=cores()))
        )
    minutes = (time.monotonic() - began) / 60
    return {"minutes": round(minutes, 3), "minutes_fit": 0.0} | scores(model, parts)


def tuned(parent: Potential, parts: Parts, key: Row) -> Row:
    """Adapt, and score what comes out."""
    began = time.monotonic()
    adapted = adapt(
        parent,
        parts.train,
        parts.validation,
        strategy=key["strategy"],
        max_minutes=key["max_minutes"],
        execution=Execution(seed=key["seed"], quiet=False),
    )
    minutes = (time.monotonic() - began) / 60
    times = {"minutes": round(minutes, 3), "minutes_fit": round(adapted.fit.seconds / 60, 3)}
    return times | scores(adapted.backbone, parts) | forgotten(parent, adapted, parts) | account(adapted, parts)


def forgotten(parent: Potential, adapted: TunedPotential, parts: Parts) -> Row:
    """Return how far the tuned model has moved from its foundation, inside and outside the target's chemistry."""
    assert isinstance(adapted.references, ReferenceShift)
    finding = Forgetting().run(CheckEvidence(adapted.backbone, parent, adapted.references, parts.train))
    return {"forgetting": {"outcome": finding.outcome, **finding.numbers}}


def scores(model: Potential, parts: Parts) -> Row:
    """Return the errors on test and validation frames."""
    return {
        "test": evaluate(model, parts.test, processes=cores()),
        "validation": evaluate(model, parts.validation, processes=cores()),
    }


def account(adapted: TunedPotential, parts: Parts) -> Row:
    """Return how a fit went: settings, loss, what learned, and the validations on the way."""
    fit = adapted.fit
    history = [{**row, "minutes": row["seconds"] / 60} for row in fit.history]
    validations = [name for name in history[0] if name.startswith("validation")]
    return {
        "settings": adapted.settings.model_dump(exclude_none=True),
        "loss_weights": adapted.loss.weights(parts.train),
        "references_eV": adapted.references.shift_eV,
        "parameters_trained": adapted.trained,
        "parameters_total": adapted.total,
        "steps": fit.steps,
        "epochs": fit.epochs,
        "best_step": fit.best_step,
        "stopped": fit.stopped,
        "processes": fit.processes,
        "history": columns(history, ["step", "minutes", "train_loss", *validations]),
    }


def table(element: str, rows: list[Row]) -> list[list[str]]:
    """Return the lines of one element: ours by foundation and strategy, then the published potentials."""
    mine = [row for row in rows if row["element"] == element]
    mine.sort(
        key=lambda row: (
            row["foundation"], row["n_train"], STRATEGIES.index(row["strategy"]), row["max_minutes"] or 0,
        )
    )  # fmt: skip
    ours = [
        [
            row["foundation"],
            row["strategy"],
            number(row["test"]["energy_rmse_meV_per_atom"]),
            number(row["test"]["forces_rmse_eV_per_A"], 3),
            number(row["test"].get("stress_rmse_GPa")),
            number(row.get("forgetting", {}).get(OUTSIDE_ENERGY), 1),
            number(row.get("forgetting", {}).get(OUTSIDE_FORCES), 3),
            number(row["minutes"], 1),
            number(row["minutes_fit"], 1),
            str(row["n_train"]),
            str(row.get("settings", {}).get("batch", "–")),
            ", ".join(f"{weight:g}" for weight in row.get("loss_weights", {}).values()) or "–",
        ]
        for row in mine
    ]
    published = PUBLISHED[element].items()
    none = ["–"] * (len(HEADER) - 4)
    return ours + [[name, "published", number(e), number(f, 3), *none] for name, (e, f) in published]


if __name__ == "__main__":
    run(main)
