"""Is a tuned model as sure as it may be: coverage, ranking and the gate on simulations that were held out, by method.

    python benchmarks/uncertainty.py
    python benchmarks/uncertainty.py --report

Whole simulations are dealt out to three folds. A short fit of all layers on one fold; of the other two each sets the
deviations once and is judged once by those that the other has set (`_unseen.py`). So every figure is of simulations
that neither the weights nor the deviations have seen. Each simulation counts alike, and the interval of a coverage is
over simulations (`matgraft.core.statistics`).

Forces: one deviation for all atoms; powers of the distance to the nearest training atom, of the predicted force, of
both (`matgraft.potentials.uncertainty`). Each has a factor for one standard deviation and one for the interval;
`one factor` has the geometric mean of both, as matgraft had it before. Energies: one deviation an atom; the mean
distance; the posterior. Gate: the distance to the nearest training atom; that to the mean of its element (Mahalanobis);
how far the farthest atom is from the frame's median. Frames outside are made of held-out frames: see `OUTSIDE`.

Parts that are called `bulk` are of a model that learned no vacancy and no surface. There the labelled vacancies and
surfaces of the published frames say whether the model errs more on them than on the bulk frames that it has not seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from _unseen import FOLDS, OUTSIDE, Unseen, is_defect, unseen
from common import RESULTS, Results, Row, circumstances, number, prepare, run, show
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from matgraft.core.quantities import Array
from matgraft.core.statistics import Units, mean_loss, numbered
from matgraft.potentials.models.uncertainty import Uncertainty, posterior
from matgraft.potentials.uncertainty.calibration import error_bounds
from matgraft.potentials.uncertainty.fit import fit_on_rows
from matgraft.potentials.uncertainty.rows import FrameRows

CASES = (
    *(f"{s}/{m}/{turn}" for s in ("Si", "Mo") for m in ("CHGNet", "TensorNet") for turn in (*range(FOLDS), "bulk")),
    *("SiGe/CHGNet/0", "SiGe/TensorNet/0", "GeSbTe/MACE/0", "Si/Nequix/0", "Mo/Nequix/0"),
)
ONE_FACTOR = "both, one factor"
Rows = tuple[Sequence[FrameRows], Units]


# ------------------------------------------------------------------- methods


def force_methods(uncertainty: Uncertainty, frames: Sequence[FrameRows]) -> dict[str, list[Array]]:
    """Return for each method and frame the deviations (n,), up to a scale."""
    rule = uncertainty.card.forces
    assert rule is not None
    forms: dict[str, dict[str, float]] = {
        "one for all": {"distance_power": 0.0, "force_power": 0.0},
        "distance": {"force_power": 0.0},
        "force": {"distance_power": 0.0},
        "distance and force": {},
        ONE_FACTOR: {},
    }
    both = [
        (uncertainty.known.distances(frame.rows, frame.numbers), np.linalg.norm(frame.forces, axis=1))
        for frame in frames
        if frame.forces is not None
    ]
    return {name: [rule.model_copy(update=given).std(*each) for each in both] for name, given in forms.items()}


def energy_methods(uncertainty: Uncertainty, frames: Sequence[FrameRows]) -> dict[str, list[Array]]:
    """Return for each method and frame the deviation an atom (1,), up to a scale."""
    centre, factor, n = uncertainty.energy_centre, uncertainty.energy_factor, uncertainty.card.n_frames
    distances = [uncertainty.known.distances(frame.rows, frame.numbers).mean() for frame in frames]
    return {
        "one for all": [np.ones(1) for _ in frames],
        "distance": [np.array([max(one, 1e-3)]) for one in distances],
        "LLPR": [np.array([posterior(frame.rows.mean(0), centre, factor, n)]) for frame in frames],
    }


def gate_methods(uncertainty: Uncertainty, frames: Sequence[FrameRows]) -> dict[str, list[float]]:
    """Return for each method the figure of each frame."""
    known = uncertainty.known
    found: dict[str, list[float]] = {"nearest": [], "Mahalanobis": [], "nearest, against the median": []}
    for frame in frames:
        distances = known.distances(frame.rows, frame.numbers)
        means = [known.rows[known.rows_of == Z].mean(0) if Z in known.numbers else np.inf for Z in frame.numbers]
        maps = [known.whitening[known.map_of[np.searchsorted(known.numbers[:-1], Z)]] for Z in frame.numbers]
        apart = [(row - known.centre) @ one - mean for row, one, mean in zip(frame.rows, maps, means, strict=True)]
        found["nearest"].append(float(distances.max()))
        found["Mahalanobis"].append(float(np.sqrt(np.square(apart).mean(1)).max()))
        found["nearest, against the median"].append(float(distances.max() / max(np.median(distances), 1e-6)))
    return found


# ----------------------------------------------------------------- judgement


def judged(
    set_on: tuple[Sequence[Array], Units], judged_on: tuple[Sequence[Array], Units], *, one_factor: bool = False
) -> dict[int, list[float]]:
    """Return of each judged simulation the parts of its errors within the standard deviation and the interval.

    Parameters
    ----------
    set_on, judged_on
        ``|error| / std`` of each frame and its simulation: of frames that set the bounds, and of those judged by them.
    """
    ratios, units = set_on
    one, two = error_bounds(np.concatenate(ratios), np.repeat(units, [len(own) for own in ratios]))
    if one_factor:
        one = float(np.sqrt(one * two / 2))
        two = 2 * one
    inside = np.array([[np.mean(own <= bound) for bound in (one, two)] for own in judged_on[0]])
    return {int(unit): inside[judged_on[1] == unit].mean(0).tolist() for unit in np.unique(judged_on[1])}


def judge(
    methods: tuple[Mapping[str, list[Array]], Mapping[str, list[Array]]],
    errors: tuple[list[Array], list[Array]],
    units: tuple[Units, Units],
) -> Row:
    """Set each method on the first frames and judge it on the second ones.

    Parameters
    ----------
    methods
        Of each method the deviations (n,) of each frame.
    errors
        Of each frame (n, m), their sizes.
    units
        The simulation of each frame.
    """
    rows = {}
    actual = [float(np.sqrt(np.square(one).mean())) for one in errors[1]]
    for name in methods[0]:
        ratios = [
            [(own / std[:, None]).ravel() for own, std in zip(of_part, method[name], strict=True)]
            for of_part, method in zip(errors, methods, strict=True)
        ]
        expected = [float(np.sqrt(np.square(one).mean())) for one in methods[1][name]]
        rows[name] = {
            "within": judged((ratios[0], units[0]), (ratios[1], units[1]), one_factor=name == ONE_FACTOR),
            "rank": float(spearmanr(expected, actual)[0]) if np.ptp(expected) > 0 else None,
        }
    return rows


def judge_gate(uncertainty: Uncertainty, inside: Sequence[FrameRows], made: Mapping[str, list[FrameRows]]) -> Row:
    """Return the area under the curve of each kind of frames outside, and how often the gate is wrong and right."""
    of_inside = gate_methods(uncertainty, inside)
    found = {kind: gate_methods(uncertainty, frames) for kind, frames in made.items()}
    areas = {
        name: {
            kind: float(roc_auc_score([0] * len(own) + [1] * len(each[name]), np.minimum([*own, *each[name]], 1e9)))
            for kind, each in found.items()
        }
        for name, own in of_inside.items()
        if found
    }
    threshold = uncertainty.card.gate.threshold
    return {
        "auroc": areas,
        "caught": {kind: float(np.mean(np.array(each["nearest"]) > threshold)) for kind, each in found.items()},
        "inside above": float(np.mean(np.array(of_inside["nearest"]) > threshold)),
        "promised": 1 - uncertainty.card.gate.level,
    }


def rmse(frames: Sequence[FrameRows]) -> float:
    """Return the root mean square error of forces, eV/Å."""
    return float(
        np.sqrt(np.mean(np.concatenate([f.force_errors.ravel() for f in frames if f.force_errors is not None]) ** 2))
    )


def swapped(found: Unseen) -> Iterator[tuple[Rows, Rows]]:
    """Yield frames that set the deviations and frames that are judged: one fold and the other, then in turn."""
    first, second = (
        ([found.held[i] for i in own], found.held_units[own])
        for own in (np.flatnonzero(found.fold == fold) for fold in (1, 2))
    )
    yield first, second
    yield second, first


def judge_turn(found: Unseen) -> Row:
    """Judge forces and energies of both held-out folds, each by the other."""
    rows: dict[str, list[Row]] = {"forces": [], "energies": []}
    for set_on, judged_on in swapped(found):
        trained = (found.train, numbered(found.train_units.tolist()) + 10_000)
        uncertainty = fit_on_rows(trained, set_on, "")
        parts = (set_on, judged_on)
        units = (set_on[1], judged_on[1])
        of_forces = [[np.abs(f.force_errors) for f in frames] for frames, _ in parts]
        of_energies = [[np.array([[abs(f.energy_error)]]) for f in frames] for frames, _ in parts]
        methods = [force_methods(uncertainty, frames) for frames, _ in parts]
        rows["forces"].append(judge((methods[0], methods[1]), (of_forces[0], of_forces[1]), units))
        methods = [energy_methods(uncertainty, frames) for frames, _ in parts]
        rows["energies"].append(judge((methods[0], methods[1]), (of_energies[0], of_energies[1]), units))
    return {what: joined(own) for what, own in rows.items()}


def joined(both: Sequence[Row]) -> Row:
    """Return the simulations of both folds together, and the mean of the rank correlations."""
    found = {}
    for name in both[0]:
        ranks = [own[name]["rank"] for own in both if own[name]["rank"] is not None]
        within = {str(unit): parts for own in both for unit, parts in own[name]["within"].items()}
        found[name] = {"within": within, "rank": float(np.mean(ranks)) if ranks else None}
    return found


def case(set_name: str, model_name: str, turn: str, kept: Path | None) -> Row:
    """Tune a model, and judge every method."""
    found = unseen(set_name, model_name, None if turn == "bulk" else int(turn), kept)
    bulk, others = next(swapped(found))
    trained = (found.train, numbered(found.train_units.tolist()) + 10_000)
    held = bulk if turn == "bulk" else others  # a model of bulk frames has no second part of them
    uncertainty = fit_on_rows(trained, held, "")
    learned_defects = turn != "bulk" and any(map(is_defect, found.names))  # a vacancy is then not outside
    facts = {
        "frames": [len(found.train), len(found.held)],
        "simulations": [len(np.unique(units)) for units in (found.train_units, found.held_units)],
        "steps": found.steps,
        "forces_rmse_eV_per_A": rmse(found.held),
        "energy_rmse_meV_per_atom": float(1000 * np.sqrt(np.mean([f.energy_error**2 for f in found.held]))),
        "gate": judge_gate(uncertainty, bulk[0], {} if learned_defects else found.made),
        "cost": found.cost,
    }
    if turn != "bulk":
        return facts | judge_turn(found)
    kinds = {
        "unseen bulk": list(bulk[0]),
        "vacancies": [f for f, u in zip(*others, strict=True) if found.names[u].startswith("Vacancy")],
        "surfaces": [f for f, u in zip(*others, strict=True) if "surface" in found.names[u]],
    }
    return facts | {"errors": {kind: rmse(frames) for kind, frames in kinds.items()}}


# ------------------------------------------------------------------- report


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=CASES, help="Si/CHGNet/0 Si/CHGNet/bulk ...")
    parser.add_argument("--kept", type=Path, help="folder of rows of tuned models, to judge them again")
    parser.add_argument("--out", type=Path, default=RESULTS / "uncertainty.json")
    parser.add_argument("--report", action="store_true", help="only print what is there, as markdown")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("set", "model", "part"))
    if not chosen.report:
        prepare()
        for one in chosen.only:
            key = dict(zip(("set", "model", "part"), one.split("/"), strict=True))
            if results.find(**key) is None:
                results.put(key | case(*one.split("/"), chosen.kept) | circumstances())
    report(results.rows, chosen.report)


def pooled(rows: Sequence[Row], what: str, name: str) -> list[str]:
    """Return both coverages with their intervals over simulations, the simulations, and the mean rank correlation."""
    told = [((row["set"], unit), parts) for row in rows for unit, parts in row[what][name]["within"].items()]
    units = numbered([unit for unit, _ in told])
    cells = []
    for level in (0, 1):
        found = mean_loss(np.array([parts[level] for _, parts in told]), np.ones(len(told)), units)
        half = (found.interval[1] - found.value) if found.interval else None
        cells.append(f"{found.value:.2f}" + ("" if half is None else f" ± {half:.2f}"))
    ranks = [row[what][name]["rank"] for row in rows if row[what][name]["rank"] is not None]
    return [*cells, str(len(set(units.tolist()))), number(float(np.mean(ranks)) if ranks else None)]


def report(rows: Sequence[Row], as_markdown: bool) -> None:
    """Print the tables."""
    turns = [row for row in rows if row["part"] != "bulk"]
    cases = list(dict.fromkeys((row["set"], row["model"]) for row in turns))
    groups = {", ".join(one): [row for row in turns if (row["set"], row["model"]) == one] for one in cases}
    groups["Si and Mo, all models"] = [row for row in turns if row["set"] in ("Si", "Mo")]
    for what in ("forces", "energies"):
        lines = [
            [title, name, *pooled(own, what, name)] for title, own in groups.items() if own for name in own[0][what]
        ]
        header = ("", "method", "within the deviation (0.68)", "within the interval (0.95)", "simulations", "rank")
        show(f"Standard deviations and intervals of {what}", header, lines, as_markdown=as_markdown)
    lines = [
        [f"{row['set']}, {row['model']}", name, *(number(own.get(kind)) for kind in OUTSIDE)]
        for row in rows
        if row["gate"]["caught"]
        for name, own in (row["gate"]["auroc"] | {"above the bound": row["gate"]["caught"]}).items()
    ]
    title = "Area under the curve, frames outside against unseen frames"
    show(title, ("", "method", *OUTSIDE), lines, as_markdown=as_markdown)
    lines = [
        [f"{row['set']}, {row['model']}", *(number(row["errors"].get(kind), 3) for kind in row["errors"])]
        for row in rows
        if row["part"] == "bulk"
    ]
    header = ("", "unseen bulk", "vacancies", "surfaces")
    show("Error of forces (eV/Å) of models that learned bulk frames alone", header, lines, as_markdown=as_markdown)
    lines = [
        [
            f"{row['set']}, {row['model']}, {row['part']}",
            number(row["forces_rmse_eV_per_A"], 3),
            number(row["energy_rmse_meV_per_atom"], 1),
            " / ".join(map(str, row["simulations"])),
            number(None if row["part"] == "bulk" else row["gate"]["inside above"]),
            number(row["gate"]["promised"]),
            number(row["cost"] and 100 * row["cost"]["share"], 1),
        ]
        for row in rows
    ]
    header = ("", "eV/Å", "meV/atom", "simulations", "unseen frames above", "promised", "cost, % of a force call")
    show("Cases", header, lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)
