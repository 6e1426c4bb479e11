"""Active learning with Quantum ESPRESSO: chosen frames against random ones, at the same number of DFT frames.

    python benchmarks/active.py --work /tmp/active
    python benchmarks/active.py --report

The loop of `matgraft active` begins with an untuned foundation and the 8-atom cells of examples/data/sige (Si, Ge,
Si4Ge4 ordered and disordered), samples them by dynamics at 300 to 1500 K, labels by `pw.x` with the settings of
examples/data/sige/make_frames.py, and tunes anew in each round. The one loop selects as by default, the other draws at
random from the same kind of pool. Both have the same seeds, structures and numbers of frames and of epochs, and share a
store of labels.

Scored: the frames that each loop has drawn at random from what it sampled ("sampled"; those of the two loops differ, so
that their errors cannot be compared); the frames that either loop has drawn ("both"); and the embedded frames of
examples/data/sige, which were made by other means and labelled with the same settings.

A loop that was killed goes on when the command is typed again; rows are written for the rounds of each loop that ends.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import write
from common import HERE, RESULTS, Results, Row, circumstances, number, prepare, run, show
from pydantic import JsonValue

from matgraft.potentials.active.rounds import AUDIT, Errors, RoundFacts, round_folder, rounds_in
from matgraft.potentials.active.settings import SAVED, ActiveRecipe
from matgraft.potentials.run import evaluate_run
from matgraft.potentials.run.active import active

MODELS = {
    "CHGNet": "chgnet",
    "TensorNet": f"matgl:{HERE.parents[1] / 'shared' / 'models' / 'TensorNet-MatPES-PBE-v2025.1-PES'}",
}
METHODS: Mapping[str, dict[str, JsonValue]] = {
    "chosen": {},
    "at random": {"diversity": "random", "low": 0.0, "high": 1e9},
}
"""Settings of the selection. Limits of a walker and gaps in time, which spread frames too, are the same for both: they
decide which frames are scored on."""
EMBEDDED = [HERE.parent / "examples" / "data" / "sige" / name for name in ("frames.extxyz", "test.extxyz")]
PSEUDOPOTENTIALS = {"Si": "Si.pbe-nl-rrkjus_psl.1.0.0.UPF", "Ge": "Ge.pbe-kjpaw.UPF"}
LATTICE = {"Si": 5.47, "Ge": 5.76}
"""Å, near the PBE minimum; mixtures follow Vegard's rule."""


def structures(folder: Path) -> list[str]:
    """Write the cells that sampling begins with: Si8, Ge8, Si4Ge4 as zincblende, Si4Ge4 disordered."""
    order = np.concatenate([np.arange(0, 8, 2), np.arange(1, 8, 2)])  # the two face-centred sublattices in turn
    mixed = np.random.default_rng(0).permutation(8)
    names = []
    for name, silicon, sites in (("Si8", 8, order), ("Ge8", 0, order), ("Si4Ge4", 4, order), ("mixed", 4, mixed)):
        share = silicon / 8
        atoms = bulk("Si", "diamond", a=share * LATTICE["Si"] + (1 - share) * LATTICE["Ge"], cubic=True)
        symbols = np.full(8, "Ge")
        symbols[sites[:silicon]] = "Si"
        atoms.set_chemical_symbols(list(symbols))
        names.append(str(folder / f"{name}.extxyz"))
        write(names[-1], atoms)
    return names


def engine(chosen: argparse.Namespace) -> dict[str, JsonValue]:
    """Return the engine: `pw.x` as examples/data/sige/make_frames.py asks it."""
    system = {"ecutwfc": 28.0, "ecutrho": 140.0, "occupations": "smearing", "smearing": "gaussian", "degauss": 0.01}
    return {
        "calculator": "espresso",
        "command": [chosen.command],
        "parameters": {
            "pseudopotentials": dict(PSEUDOPOTENTIALS),
            "pseudo_dir": str(chosen.pseudo_dir),
            "kpts": [3, 3, 3],
            "koffset": [0, 0, 0],
            "input_data": {"system": {**system, "nosym": True}, "electrons": {"conv_thr": 5e-9}},
        },
        "workers": chosen.workers,
        "timeout": 1800,
    }


def recipe(chosen: argparse.Namespace, model: str, method: str, seed: int) -> ActiveRecipe:
    """Return the recipe of a loop."""
    sample = {"md": "nvt", "temperature": "300,900,1500", "walkers": 1, "ps": chosen.ps, "atoms": 8, "gate": 3.0}
    return ActiveRecipe.model_validate(
        {
            "start": structures(chosen.work),
            "tune": {
                "foundation": MODELS[model],
                "strategy": {"name": "full"},
                "fit": {"epochs": chosen.epochs},
                "forgetting": {"size": 8},
                "seed": seed,
            },
            "sample": sample,
            "select": {"audit": 0.25, "per_walker": 3, **METHODS[method]},
            "engine": engine(chosen),
            "store": str(chosen.work / "labels"),
            "check": {"uses": chosen.uses} if chosen.uses else None,
            "stop": {"forces_eV_per_A": 1e-6, "gain": 0},  # never reached: all rounds are made
            "per_round": chosen.per_round,
            "rounds": chosen.rounds,
            "seed": 100_000 * seed,
        }
    )


def loop_rows(chosen: argparse.Namespace, model: str, method: str, seed: int) -> list[Row]:
    """Conduct a loop, or go on with it, and return a row a round."""
    out = folder_of(chosen.work, model, method, seed)
    asked = recipe(chosen, model, method, seed)
    active(
        asked, out, resume=(out / SAVED).is_file(), tell=lambda n, what: print(f"{out.name} {n}: {what}", flush=True)
    )
    return [row_of(out, one) for one in rounds_in(out)]


def folder_of(work: Path, model: str, method: str, seed: int) -> Path:
    """Return the folder of a loop."""
    return work / f"{model}-{method.replace(' ', '-')}-{seed}"


def score_both(chosen: argparse.Namespace, results: Results, seed: int) -> None:
    """Score the models of both loops of a seed on the frames that either has drawn to score on."""
    loops = {method: folder_of(chosen.work, chosen.model, method, seed) for method in METHODS}
    ended = {method: rounds_in(out) for method, out in loops.items()}
    if not all(ended.values()):
        return
    named = (round_folder(loops[method], one.number) / AUDIT for method, done in ended.items() for one in done)
    files = [file for file in named if file.is_file()]
    for method, done in ended.items():
        for one in done:
            key = {"model": chosen.model, "method": method, "seed": seed, "per_round": chosen.per_round}
            row = results.find(**key, round=one.number)
            if row is not None:
                judged = evaluate_run(round_folder(loops[method], one.number) / "run", files, quiet=True)
                results.put(row | {"both": errors(Errors.of(judged.test))})


def row_of(out: Path, one: RoundFacts) -> Row:
    """Return what came of a round, with the errors of its model on the embedded frames."""
    judged = evaluate_run(round_folder(out, one.number) / "run", EMBEDDED, quiet=True)
    return {
        "dft_frames": one.dft_frames,
        "learned": one.n_learn,
        "outside": one.outside,
        "sampled": errors(one.errors),
        "fresh": errors(one.fresh) if one.fresh else None,
        "embedded": errors(Errors.of(judged.test)),
        "tuning": one.level,
        "fit for": str(one.fit_for) if one.fit_for else None,
        "failed": one.failed,
        "seconds": {stage: round(spent, 1) for stage, spent in one.seconds.items()},
    }


def errors(found: Errors) -> Row:
    """Return errors as a row holds them."""
    return {"meV/atom": found.energy_meV_per_atom, "eV/Å": found.forces_eV_per_A, "frames": found.n_frames}


def report(rows: Sequence[Row], as_markdown: bool) -> None:
    """Print a line for each number of DFT frames: errors by method, averaged over the seeds."""
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        for step in sorted({row["round"] for row in rows if row["model"] == model}):
            for method in METHODS:
                own = [row for row in rows if (row["model"], row["round"], row["method"]) == (model, step, method)]
                if own:
                    lines.append([model, str(own[0]["dft_frames"]), method, str(len(own)), *figures(own)])
    header = (
        "",
        "DFT frames",
        "frames were",
        "seeds",
        "sampled, eV/Å",
        "both, eV/Å",
        "embedded, eV/Å",
        "embedded, meV/atom",
        "fit for the uses",
    )
    show("Errors of forces and energies, mean over seeds", header, lines, as_markdown=as_markdown)


def figures(rows: Sequence[Row]) -> list[str]:
    """Return the means over some rows, with the spread of the error of forces on the embedded frames."""
    forces = [row["embedded"]["eV/Å"] for row in rows]
    spread = f" ± {np.std(forces):.3f}" if len(forces) > 1 else ""
    fit = [row["fit for"] for row in rows if row["fit for"]]
    return [
        number(float(np.mean([row["sampled"]["eV/Å"] for row in rows])), 3),
        number(float(np.mean([row["both"]["eV/Å"] for row in rows])), 3) if all("both" in row for row in rows) else "–",
        f"{np.mean(forces):.3f}{spread}",
        number(float(np.mean([row["embedded"]["meV/atom"] for row in rows])), 1),
        f"{sum(one.startswith('fit') for one in fit)} of {len(fit)}" if fit else "–",
    ]


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-active"), help="loops and labels, kept")
    parser.add_argument("--model", choices=MODELS, default="CHGNet")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per-round", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=40, help="of each fit")
    parser.add_argument("--ps", type=float, default=0.6, help="of each walker")
    parser.add_argument("--uses", default="", help="of physical checks in each round, such as elastic; default: none")
    parser.add_argument("--workers", type=int, default=2, help="calculations at once")
    parser.add_argument("--command", default="pw.x")
    pseudo = os.environ.get("ESPRESSO_PSEUDO", "/usr/share/espresso/pseudo")
    parser.add_argument("--pseudo-dir", type=Path, default=Path(pseudo), help="where the UPF files lie")
    parser.add_argument("--out", type=Path, default=RESULTS / "active.json")
    parser.add_argument("--report", action="store_true", help="only print what is there, as markdown")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("model", "method", "seed", "round", "per_round"))
    if not chosen.report:
        prepare()
        chosen.work = chosen.work.resolve()
        chosen.work.mkdir(parents=True, exist_ok=True)
        for seed in chosen.seeds:
            for method in chosen.methods:
                key = {"model": chosen.model, "method": method, "seed": seed, "per_round": chosen.per_round}
                if results.find(**key, round=chosen.rounds - 1) is None:
                    for step, row in enumerate(loop_rows(chosen, chosen.model, method, seed)):
                        results.put(key | {"round": step} | row | circumstances())
            score_both(chosen, results, seed)
    report(results.rows, chosen.report)


if __name__ == "__main__":
    run(main)
