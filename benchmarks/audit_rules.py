"""How often the looks that read predictions are wrong: false alarms on right labels, faults that they miss.

    python benchmarks/audit_rules.py
    python benchmarks/audit_rules.py --report

Frames are simulated, since thousands of draws are needed: steps of trajectories, correlated within each, whose labels
follow the predictions by a slope of the foundation's and one of the trajectory's, with errors of the trajectory and of
the frame. The sizes are those of CHGNet and TensorNet-MatPES on Si and Mo (`FOUNDATIONS`).
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from common import RESULTS, Results, Row, circumstances, prepare, run, show
from scipy.stats import binomtest

from matgraft.core.findings import Finding
from matgraft.core.quantities import Array, parse_unit, voigt_to_full
from matgraft.potentials.audit.audit import LOOKS, Look
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample

FRAMES = (3, 10, 50, 200)
TRAJECTORIES = {"one": 1, "few": 4, "many": 1000}
DRAWS = {3: 200, 10: 200, 50: 100, 200: 30}
FAULTY_DRAWS = 12
"""Of each fault, share, number of frames, kind of trajectories and foundation."""

CELL_A = 12.0
MEMORY = 0.9
"""Correlation of consecutive steps."""


@dataclass(frozen=True)
class Foundation:
    """How predictions depart from right labels.

    Attributes
    ----------
    slopes
        Labels over predictions: the range, on a logarithmic scale, that each draw takes one from.
    between
        Standard deviation of the logarithm of the slope between trajectories.
    energy, energy_between
        eV/atom, of a frame and of a trajectory.
    references
        eV/atom, of an element.
    forces, stress
        Errors relative to the size of the forces and of the stress; half of their variance is the trajectory's.
    """

    slopes: tuple[float, float]
    between: float
    energy: float
    energy_between: float
    references: float
    forces: float
    stress: float


FOUNDATIONS = {
    "good": Foundation((0.9, 1.4), 0.12, 0.003, 0.01, 0.1, 0.25, 0.15),
    "mediocre": Foundation((0.7, 2.5), 0.30, 0.010, 0.03, 0.5, 0.60, 0.40),
}
"""TensorNet-MatPES: slopes of 0.8 to 1.4, 0.1 between trajectories, cosines of forces of 0.98. CHGNet: 0.9 to 2.5, 0.25
to 0.5, 0.95; a cosine of 0.86 goes with the error of 0.6 here."""


@dataclass(frozen=True)
class Draw:
    """Right frames and the predictions for them."""

    frames: Dataset
    predictions: list[dict[str, Array]]


def draw(rng: np.random.Generator, n: int, trajectories: int, foundation: Foundation) -> Draw:
    """Return n frames of so many trajectories, two elements, 8 to 32 atoms."""
    low, high = np.log(foundation.slopes)
    soft = rng.uniform(low, high)
    absolute = rng.choice([0.0, -100.0])  # half of the sets are of another kind of pseudopotential
    references = rng.normal(-5, 1, 2) + absolute
    own_references = references - absolute + rng.normal(0, foundation.references, 2)
    parts = np.array_split(np.arange(n), min(n, trajectories))
    samples: list[Sample] = []
    predictions: list[dict[str, Array]] = []
    for k, part in enumerate(parts):
        slope = float(np.exp(soft + rng.normal(0, foundation.between)))
        for sample, prediction in _trajectory(
            rng, len(part), f"run {k}", slope, (references, own_references), foundation
        ):
            samples.append(sample)
            predictions.append(prediction)
    return Draw(Dataset(tuple(samples)), predictions)


def _trajectory(rng, n, name, slope, references, foundation):
    counts = rng.choice([8, 16, 32]) * np.array([[1, 0], [0.5, 0.5], [0.25, 0.75]])[rng.integers(3)]
    counts = counts.astype(int)
    n_atoms = int(counts.sum())
    numbers = np.repeat([14, 42], counts)
    heat = rng.uniform(0.3, 1.5)
    level = rng.uniform(0, 0.3)
    pattern = _steps(rng, n, 3 * n_atoms) * heat
    strain = rng.normal(0, 0.03, 6) + 0.01 * _steps(rng, n, 6)
    warmth = level + 0.05 * heat * _steps(rng, n, 1)[:, 0]
    wrong = _errors(rng, n, 3 * n_atoms, foundation.forces * heat)
    wrong_stress = _errors(rng, n, 6, foundation.stress * 0.03)
    drift = rng.normal(0, foundation.energy_between)
    for i in range(n):
        push = pattern[i].reshape(-1, 3)
        push = push - push.mean(axis=0)
        atoms = Atoms(numbers, rng.uniform(0, CELL_A, (n_atoms, 3)), cell=[CELL_A] * 3, pbc=True)
        labels = {
            "energy": counts @ references[0] + n_atoms * warmth[i],
            "forces": push,
            "stress": voigt_to_full(strain[i]),
        }
        own = (warmth[i] / slope + drift + rng.normal(0, foundation.energy)) * n_atoms
        prediction = {
            "energy": np.asarray(counts @ references[1] + own),
            "forces": (push + wrong[i].reshape(-1, 3)) / slope,
            "stress": voigt_to_full(strain[i] + wrong_stress[i]) / slope,
        }
        yield Sample(atoms, labels, {"trajectory": name}), prediction


def _steps(rng: np.random.Generator, n: int, size: int) -> Array:
    """Return (n, size) numbers of unit variance, each row correlated with the one before."""
    rows = rng.normal(size=(n, size))
    for i in range(1, n):
        rows[i] = MEMORY * rows[i - 1] + np.sqrt(1 - MEMORY**2) * rows[i]
    return rows


def _errors(rng: np.random.Generator, n: int, size: int, scale: float) -> Array:
    """Return (n, size) errors, half of whose variance a trajectory's frames share."""
    return np.asarray(scale * np.sqrt(0.5) * (rng.normal(size=size) + rng.normal(size=(n, size))))


Fault = Callable[[Sample], dict[str, Array]]


def written(quantity: str, unit: str) -> Fault:
    """Return a fault: a label that stands in another unit than the one it is taken for."""
    return lambda s: {quantity: parse_unit(unit, quantity).from_canonical(s.labels[quantity], s.n_atoms)}


def another_order(sample: Sample) -> dict[str, Array]:
    """VASP's order xy, yz, zx taken for ASE's yz, xz, xy."""
    voigt = np.array([sample.labels["stress"][i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))])
    return {"stress": voigt_to_full(voigt)}


def offset(size: float) -> Fault:
    """Return a fault: energies so many eV/atom higher, as by another level of theory."""
    return lambda s: {"energy": s.labels["energy"] + size * s.n_atoms}


def _other_atoms(sample: Sample) -> dict[str, Array]:
    return {"forces": np.roll(sample.labels["forces"], 1, axis=0)}


FAULTS: dict[str, Fault] = {
    **{f"energy in {unit}": written("energy", unit) for unit in ("kcal/mol", "kJ/mol", "Hartree", "Ry", "meV")},
    **{f"energy in {unit}": written("energy", unit) for unit in ("eV/atom", "-eV")},
    **{f"energy {size} eV/atom higher": offset(size) for size in (0.05, 0.5, 5.0)},
    **{f"forces in {unit}": written("forces", unit) for unit in ("Hartree/Bohr", "Ry/Bohr", "-eV/Å")},
    "forces of other atoms": _other_atoms,
    **{f"stress in {unit}": written("stress", unit) for unit in ("kBar", "GPa", "-eV/Å³")},
    "stress with shears in another order": another_order,
}
"""Fault -> the label that it changes, as it is read. The first letter says which label."""

ABOUT = {"e": ("energy", "theory-labels", "outlier-energy"), "f": ("force", "outlier-force"), "s": ("stress",)}
"""First letter of a fault -> how the codes begin that are to tell it."""

SHARES = (1.0, 0.5, 0.1)
KINDS = [(n, kind, name) for n in (10, 50) for kind in ("one", "many") for name in FOUNDATIONS]
"""Frames, trajectories and foundation of sets in which faults are planted."""


def shares(fault: str) -> tuple[float, ...]:
    """Return the parts of the frames that a fault is planted in: an offset of all frames is none."""
    return SHARES[1:] if "higher" in fault else SHARES[::2]


def plant(rng: np.random.Generator, drawn: Draw, fault: Fault, share: float, whole: bool = False) -> Draw:
    """Change a label in a part of the frames, at least one, scattered or (`whole`) in whole trajectories."""
    names = np.array(drawn.frames.tag("trajectory"))
    units = np.unique(names) if whole else np.arange(len(names))
    chosen = rng.choice(units, max(1, round(share * len(units))), replace=False)
    wrong = np.isin(names if whole else units, chosen)
    samples = [s.with_labels(**fault(s)) if bad else s for s, bad in zip(drawn.frames, wrong, strict=True)]
    return Draw(Dataset(tuple(samples)), drawn.predictions)


class _Watched(list[dict[str, Array]]):
    """Predictions that know whether they were asked."""

    asked = False

    def __getitem__(self, place: Any) -> Any:
        self.asked = True
        return super().__getitem__(place)


@cache
def looks(about: tuple[str, ...] = ("",)) -> tuple[Look, ...]:
    """Return the looks of the audit that read predictions, those with codes that begin with `about`."""
    drawn = draw(np.random.default_rng(0), 12, 3, FOUNDATIONS["good"])
    found = []
    for look in LOOKS:
        predictions = _Watched(drawn.predictions)
        codes = [one.code for one in look(Evidence(drawn.frames, predictions, ("Si", "Mo")))]
        found += [look] if predictions.asked and any(code.startswith(about) for code in codes) else []
    return tuple(found)


def judged(drawn: Draw, about: tuple[str, ...] = ("",)) -> list[Finding]:
    """Run the looks that read predictions."""
    evidence = Evidence(drawn.frames, drawn.predictions, ("Si", "Mo"), "the foundation")
    return [finding for look in looks(about) for finding in look(evidence)]


def outcome(findings: list[Finding], about: str | tuple[str, ...] = "") -> str:
    """Return the worst that was said: ``block``, ``warn`` or ``pass``, of codes that begin with `about`."""
    failed = [one for one in findings if one.outcome == "failed" and one.code.startswith(about)]
    return "block" if any(one.blocks for one in failed) else "warn" if failed else "pass"


def rate(seed: int, draws: int, n: int, trajectories: int, foundation: str, fault: str = "", share: float = 1.0) -> Row:
    """Return how many draws are blocked and warned of, of a fault by the looks on its label; and that by code.

    A fault in a part is in scattered frames in every other draw, and in whole trajectories in the others. Of each code:
    draws that it blocks, warns of, and decides on.
    """
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    codes: dict[str, Counter[str]] = defaultdict(Counter)
    about = ABOUT[fault[0]] if fault else ("",)
    for k in range(draws):
        drawn = draw(rng, n, trajectories, FOUNDATIONS[foundation])
        findings = judged(plant(rng, drawn, FAULTS[fault], share, k % 2 > 0) if fault else drawn, about)
        counts[outcome(findings, about)] += 1
        for code in {one.code for one in findings}:
            codes[code][outcome(findings, code)] += 1
            codes[code]["decided"] += any(one.code == code and one.outcome != "not applicable" for one in findings)
    told = {code: [found["block"], found["warn"], found["decided"]] for code, found in sorted(codes.items())}
    return {"draws": draws, "block": counts["block"], "warn": counts["warn"], "codes": told}


def main() -> None:
    """Count false alarms, then misses, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=float, default=1.0, help="times the usual number")
    parser.add_argument("--out", type=Path, default=RESULTS / "audit_rules.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("fault", "share", "frames", "trajectories", "foundation"))
    if not chosen.report:
        prepare()
        for seed, case in enumerate(cases()):
            if results.find(**case) is None:
                usual = FAULTY_DRAWS if case["fault"] else DRAWS[case["frames"]]
                draws = max(1, round(chosen.draws * usual))
                found = rate(seed, draws, case["frames"], TRAJECTORIES[case["trajectories"]], case["foundation"],
                             case["fault"], case["share"])  # fmt: skip
                results.put(case | found | circumstances())
    report(results.rows, chosen.report)


def cases() -> list[Row]:
    """Return what is counted: right frames, then each fault in all frames and in a part."""
    right = [
        {"fault": "", "share": 0.0, "frames": n, "trajectories": kind, "foundation": name}
        for n in FRAMES for kind in TRAJECTORIES for name in FOUNDATIONS
    ]  # fmt: skip
    return right + [
        {"fault": fault, "share": share, "frames": n, "trajectories": kind, "foundation": name}
        for n, kind, name in KINDS
        for fault in FAULTS
        for share in shares(fault)
    ]


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print the tables: false alarms by look and by number of frames, misses by kind of fault, and each fault."""
    right = [row for row in rows if not row["fault"]]
    faulty = [row for row in rows if row["fault"]]
    header = ("", *(f"{name}: {said}" for name in FOUNDATIONS for said in ("decided", "blocked", "told")))
    lines = [
        [code, *(cell for name in FOUNDATIONS for cell in _by_code(having(right, foundation=name), code))]
        for code in sorted({code for row in right for code in row["codes"]})
    ]
    show("right labels, by look", header, lines, as_markdown=as_markdown)
    lines = [
        [f"{n} frames", *(cell for name in FOUNDATIONS for cell in _by_code(having(right, foundation=name, frames=n)))]
        for n in FRAMES
    ]
    show("right labels, any look", header, lines, as_markdown=as_markdown)
    header = ("faults of", "of the frames", *(f"{name}, {n} frames, {kind}" for n, kind, name in KINDS))
    lines = [
        [label, f"{share:.0%}", *(_missed(having(chosen, frames=n, trajectories=k, foundation=f)) for n, k, f in KINDS)]
        for label, share, chosen in _by_label(faulty)
    ]
    show("faults missed", header, lines, as_markdown=as_markdown)
    lines = [
        [fault, f"{share:.0%}", *(_rates(having(faulty, fault=fault, share=share, frames=n, trajectories=k,
                                                foundation=f)) for n, k, f in KINDS)]
        for fault in FAULTS for share in shares(fault)
    ]  # fmt: skip
    show("faults: blocked/told, %", ("fault", *header[1:]), lines, as_markdown=as_markdown)


def having(rows: list[Row], **case: Any) -> list[Row]:
    """Return the rows of a case."""
    return [row for row in rows if all(row[name] == value for name, value in case.items())]


def interval(count: int, draws: int) -> str:
    """Return a count with the exact 95 % interval of its rate (Clopper and Pearson 1934)."""
    if not draws:
        return "–"
    low, high = binomtest(count, draws).proportion_ci(0.95, "exact")
    return f"{count} of {draws} ({100 * low:.1f} to {100 * high:.1f} %)"


def _by_code(rows: list[Row], code: str = "") -> list[str]:
    """Return how often a look decides, blocks and says anything; any look, without a code."""
    draws = sum(row["draws"] for row in rows)
    counts = [row["codes"].get(code, (0, 0, 0)) if code else (row["block"], row["warn"], row["draws"]) for row in rows]
    block, warn, decided = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    return [str(decided), interval(block, draws), interval(block + warn, draws)]


def _by_label(rows: list[Row]) -> list[tuple[str, float, list[Row]]]:
    """Return the rows of the faults of each kind and share: an offset in the energy is apart."""
    kinds = {"unit of the energy": "energy in", "two constants, 0.5 eV/atom and more": ("energy 0.5", "energy 5"),
             "two constants, 0.05 eV/atom": "energy 0.05", "unit or sign of the forces": "forces in",
             "forces of other atoms": "forces of", "unit or sign of the stress": "stress in",
             "order of the shears": "stress with"}  # fmt: skip
    found = [(kind, share, [row for row in having(rows, share=share) if row["fault"].startswith(first)])
             for kind, first in kinds.items() for share in SHARES]  # fmt: skip
    return [one for one in found if one[2]]


def _missed(rows: list[Row]) -> str:
    draws = sum(row["draws"] for row in rows)
    return interval(draws - sum(row["block"] + row["warn"] for row in rows), draws)


def _rates(rows: list[Row]) -> str:
    draws = sum(row["draws"] for row in rows)
    blocked, told = sum(row["block"] for row in rows), sum(row["block"] + row["warn"] for row in rows)
    return f"{100 * blocked / draws:.0f}/{100 * told / draws:.0f}" if draws else "–"


if __name__ == "__main__":
    run(main)
