"""Forgetting: how far a tuned model has moved from its foundation where no frame of the user asked for it.

    finding = Forgetting(size=96).run(evidence)
    finding.details["rows"]       # by chemistry and kind of structure

Structures are made offline by another seed than those that replay rehearses, and share none with them
(`matgraft.potentials.data.structures`); the foundation labels them, once for all runs. What is compared is

    tuned - (foundation + reference shift)        RMSE in meV/atom, eV/Å, GPa

inside the target's chemistry, where tuning is meant to change the model, and outside, where nothing asks for a change.
An element that the data do not hold has no reference shift. Dimers stand in rows of their own: their forces would drown
those of crystals and slabs.

The check fails where the change outside is larger than what a foundation is itself commonly wrong by (`LARGEST`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from matgraft.core.findings import Finding
from matgraft.core.processes import cores
from matgraft.core.quantities import ENERGY, FORCES, POTENTIAL_QUANTITIES, STRESS
from matgraft.potentials.checks.base import CheckEvidence
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.models.predict import predict
from matgraft.potentials.models.pseudolabels import made_frames, own_frames
from matgraft.potentials.scoring.metrics import FrameErrors, errors, metric_key, metrics
from matgraft.potentials.tuning.replay import SEED as REPLAY_SEED
from matgraft.potentials.tuning.replay import shifted_labels

SEED = REPLAY_SEED + 1
"""Of the structures: one set serves all runs with the same foundation and elements."""

LARGEST_ENERGY = 67.0
"""meV/atom. Nine in ten of the known metastable phases lie less above the ground state (Sun et al., Science Advances 2,
e1600225 (2016)): an error as large no longer tells what is stable."""

LARGEST_PART = 0.2
"""RMSE of forces or stresses by the root mean square of the foundation's own: by about so much foundations are softer
than DFT off equilibrium (Deng et al. 2024, arXiv:2405.07105), so a larger change is more than what they lack."""

KINDS = ("strained", "rattled", "vacancy", "surface", "dimer")
CRYSTALS = "all but dimers"
YOURS = "your file"


class Forgetting:
    """Hold the tuned model against its foundation on structures that it was not tuned on.

    Parameters
    ----------
    size
        How many are made, a seventh of them dimers.
    file
        Further frames, whose labels are left aside: the foundation labels them.
    """

    code = "forgetting"
    title = "Change from the foundation outside the target's chemistry"
    slow = False
    needs: frozenset[str] = frozenset()

    def __init__(self, size: int = 96, file: str | None = None) -> None:
        self.size, self.file = size, file

    def run(self, evidence: CheckEvidence) -> Finding:
        """Return the finding; its details hold ``rows``, a list of mappings.

        Each row has ``chemistry`` (inside, outside, your file), ``kind``, ``n_frames``, the RMSE of each quantity under
        the key of metrics.json, and the foundation's own root mean square as ``<quantity>_of_foundation_<unit>``.
        """
        rows = [row for frames in self._held_out(evidence) for row in _rows(frames, evidence)]
        judged = next((row for row in rows if (row["chemistry"], row["kind"]) == ("outside", CRYSTALS)), None)
        if judged is None:
            return self._finding("not applicable", "the foundation knows no element beside the target's", rows)
        large = list(_too_large(judged))
        return self._finding("failed" if large else "passed", _sentence(judged, large), rows)

    def _held_out(self, evidence: CheckEvidence) -> Iterator[Dataset]:
        title = "" if evidence.quiet else "forgetting"
        options: dict[str, Any] = {"folder": evidence.folder, "progress": title}
        yield made_frames(evidence.parent, evidence.train.elements(), self.size, seed=SEED, **options)
        if self.file is not None:
            yours = own_frames(evidence.parent, read(self.file, want=()), **options)
            yield yours.map(lambda sample: sample.with_tags(chemistry=YOURS, config_type=""))

    def _finding(self, outcome: Any, sentence: str, rows: list[dict[str, Any]]) -> Finding:
        judged = [row for row in rows if row["kind"] in (CRYSTALS, "")]
        numbers = {
            f"{row['chemistry'].replace(' ', '_')}_{key}": float(row[key])
            for row in judged
            for quantity in POTENTIAL_QUANTITIES.values()
            if (key := metric_key(quantity, "rmse")) in row
        }
        failed = outcome == "failed"
        return Finding(
            code=self.code,
            title=self.title,
            outcome=outcome,
            severity="warning" if failed else "info",
            evidence=sentence,
            numbers=numbers,
            remedy="the strategies replay and lora, or a larger replay.size, keep more" * failed,
            details={"rows": rows},
        )


def _rows(frames: Dataset, evidence: CheckEvidence) -> Iterator[dict[str, Any]]:
    """Compare both models on frames that the foundation has labelled."""
    expected = shifted_labels(frames, evidence.references)
    title = "" if evidence.quiet else "forgetting"
    moved = errors(expected, predict(evidence.tuned, frames.samples, processes=cores(), progress=title))
    nothing = [{name: np.zeros_like(value) for name, value in sample.labels.items()} for sample in frames]
    sizes = errors(frames, nothing)
    chemistry, kinds = np.array(frames.tag("chemistry")), np.array(frames.tag("config_type"))
    for where in dict.fromkeys(frames.tag("chemistry")):
        groups = {CRYSTALS: kinds != "dimer"} if where != YOURS else {}
        groups |= {kind: kinds == kind for kind in (*KINDS, "")}
        for kind, members in groups.items():
            chosen = np.flatnonzero((chemistry == where) & members)
            if len(chosen):
                yield {"chemistry": where, "kind": kind, **_figures(moved.select(chosen), sizes.select(chosen))}


def _figures(moved: FrameErrors, sizes: FrameErrors) -> dict[str, float]:
    """Return the RMSE of each quantity, and how large the foundation's own forces and stresses are."""
    change, own = metrics(moved), metrics(sizes)
    found = {"n_frames": change["n_frames"]}
    for quantity in POTENTIAL_QUANTITIES.values():
        key = metric_key(quantity, "rmse")
        found |= {key: change[key]} if key in change else {}
        if quantity != ENERGY and key in own:
            found[f"{quantity.name}_of_foundation_{quantity.report_suffix}"] = own[key]
    return found


def part(row: Mapping[str, Any], name: str) -> float | None:
    """Return the RMSE of forces or stresses by the foundation's own root mean square; None where there is none."""
    quantity = POTENTIAL_QUANTITIES[name]
    change = row.get(metric_key(quantity, "rmse"))
    own = row.get(f"{name}_of_foundation_{quantity.report_suffix}")
    return change / own if change is not None and own else None


def _too_large(row: Mapping[str, Any]) -> Iterator[str]:
    """Name the quantities that changed too much; a number that is none did."""
    if not row[metric_key(ENERGY, "rmse")] <= LARGEST_ENERGY:
        yield f"energies (allowed: {LARGEST_ENERGY:g} meV/atom)"
    for quantity in (FORCES, STRESS):
        changed = part(row, quantity.name)
        if changed is not None and not changed <= LARGEST_PART:
            yield f"{quantity.name} ({100 * changed:.0f} % of the foundation's own, allowed: {100 * LARGEST_PART:.0f})"


def _sentence(row: Mapping[str, Any], large: list[str]) -> str:
    figures = [
        f"{quantity.name} {row[key]:.3g} {quantity.report_unit}"
        for quantity in POTENTIAL_QUANTITIES.values()
        if (key := metric_key(quantity, "rmse")) in row
    ]
    found = (
        f"on {row['n_frames']} crystals and slabs with other elements the tuned model differs by {', '.join(figures)}"
    )
    return f"{found}; too much in {' and '.join(large)}" if large else found
