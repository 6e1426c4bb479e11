"""Forgetting: how far a tuned model has moved from its foundation where no frame of the user asked for it.

    finding = Forgetting(size=96).run(evidence)
    ForgettingTable.model_validate(finding.details).rows       # by chemistry and kind of structure

Structures are made offline by another seed than those that replay rehearses, and share none with them
(`matgraft.potentials.data.structures`); the foundation labels them, once for all runs. What is compared is

    tuned - (foundation + reference shift)        RMSE in meV/atom, eV/Å, GPa, µB

inside the target's chemistry, where tuning is meant to change the model, and outside, where nothing asks for a change.
An element that the data do not hold has no reference shift. Dimers stand in rows of their own: their forces would drown
those of crystals and slabs.

The check fails where the change outside is larger than what a foundation is itself commonly wrong by (`LARGEST`). It
also fails where magnetic moments change inside, and no frame has a label for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from matgraft.core.findings import Finding, Outcome
from matgraft.core.frozen import Frozen
from matgraft.core.processes import cores
from matgraft.core.quantities import ENERGY, FORCES, MAGMOM, POTENTIAL_QUANTITIES, STRESS, Quantity
from matgraft.potentials.checks.base import CheckEvidence
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.pseudolabels import made_frames, own_frames
from matgraft.potentials.scoring.frame_errors import FrameErrors, errors, metric_key
from matgraft.potentials.scoring.metrics import metrics
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

LARGEST_MOMENT = 0.1
"""µB: three times the mean error of CHGNet's moments on frames of its kind (Deng et al. 2023)."""

KINDS = ("strained", "rattled", "vacancy", "surface", "dimer")
CRYSTALS = "all but dimers"
YOURS = "your file"


class MovedFrames(Frozen):
    """How far the tuned model moved from its foundation on some frames.

    Attributes
    ----------
    chemistry
        ``"inside"`` or ``"outside"`` the target's elements, or ``"your file"``.
    kind
        Of structure; `CRYSTALS` for all but dimers, empty for all of a file.
    n_frames
        How many.
    errors
        RMSE of each quantity between the two models, under the key of metrics.json.
    of_foundation
        Quantity -> root mean square of the foundation's own, in the unit of its errors; forces and stress alone.
    """

    chemistry: str
    kind: str
    n_frames: int
    errors: dict[str, float]
    of_foundation: dict[str, float]

    @property
    def whole(self) -> bool:
        """True if it stands for all frames of its chemistry."""
        return self.kind in (CRYSTALS, "")

    def error(self, quantity: Quantity) -> float | None:
        """Return the RMSE of a quantity; None where no frame has it."""
        return self.errors.get(metric_key(quantity, "rmse"))

    def share(self, quantity: Quantity) -> float | None:
        """Return the RMSE by the foundation's own root mean square; None where there is none."""
        change, own = self.error(quantity), self.of_foundation.get(quantity.name)
        return change / own if change is not None and own else None


class ForgettingTable(Frozen):
    """The details of the finding.

    Attributes
    ----------
    rows
        By chemistry and kind of structure.
    head
        Of the model that was checked; empty where it has one.
    """

    rows: tuple[MovedFrames, ...] = ()
    head: str = ""


class Forgetting:
    """Hold the tuned model against its foundation on structures that it was not tuned on.

    Parameters
    ----------
    size
        How many are made, a seventh of them dimers.
    file
        Further frames, whose labels are left aside: the foundation labels them.
    head
        Of the model that is checked; empty where it has one.
    """

    code = "forgetting"
    slow = False
    needs: frozenset[str] = frozenset()

    def __init__(self, size: int = 96, file: str | None = None, head: str = "") -> None:
        self.size, self.file, self.head = size, file, head
        self.title = f"{head and f'Head {head}: '}Change from the foundation outside the target's chemistry"

    def run(self, evidence: CheckEvidence) -> Finding:
        """Return the finding; its details are a `ForgettingTable`."""
        if evidence.train.provenance.corrects:
            why = "the model is a correction to a cheap method, and has no energies of a foundation to keep"
            return self._finding("not applicable", why, [])
        rows = [row for frames in self._held_out(evidence) for row in _rows(frames, evidence)]
        judged = next((row for row in rows if (row.chemistry, row.kind) == ("outside", CRYSTALS)), None)
        if judged is None:
            return self._finding("not applicable", "the foundation knows no element beside the target's", rows)
        large = list(_too_large(judged))
        inside = next((row for row in rows if (row.chemistry, row.kind) == ("inside", CRYSTALS)), None)
        if inside is not None and not evidence.train.count(MAGMOM.name) and _moved_moments(inside):
            large += [f"magnetic moments of the target's own elements, {inside.error(MAGMOM):.2g} µB, without labels"]
        return self._finding("failed" if large else "passed", _sentence(judged, large), rows)

    def _held_out(self, evidence: CheckEvidence) -> Iterator[Dataset]:
        title = "" if evidence.quiet else "forgetting"
        elements, folder = evidence.train.elements(), evidence.folder
        yield made_frames(evidence.foundation, elements, self.size, seed=SEED, folder=folder, progress=title)
        if self.file is not None:
            yours = own_frames(evidence.foundation, read(self.file, want=()), folder=folder, progress=title)
            yield yours.map(lambda sample: sample.with_tags(chemistry=YOURS, config_type=""))

    def _finding(self, outcome: Outcome, sentence: str, rows: Sequence[MovedFrames]) -> Finding:
        numbers = {
            f"{row.chemistry.replace(' ', '_')}_{key}": value
            for row in rows
            if row.whole
            for key, value in row.errors.items()
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
            details=ForgettingTable(rows=tuple(rows), head=self.head).model_dump(mode="json"),
        )


def _rows(frames: Dataset, evidence: CheckEvidence) -> Iterator[MovedFrames]:
    """Compare both models on frames that the foundation has labelled."""
    expected = shifted_labels(frames, evidence.references)
    title = "" if evidence.quiet else "forgetting"
    moved = errors(expected, predict_samples(evidence.tuned, frames.samples, processes=cores(), progress=title))
    nothing = [{name: np.zeros_like(value) for name, value in sample.labels.items()} for sample in frames]
    sizes = errors(frames, nothing)
    chemistry, kinds = np.array(frames.tag("chemistry")), np.array(frames.tag("config_type"))
    for where in dict.fromkeys(frames.tag("chemistry")):
        groups = {CRYSTALS: kinds != "dimer"} if where != YOURS else {}
        groups |= {kind: kinds == kind for kind in (*KINDS, "")}
        for kind, members in groups.items():
            chosen = np.flatnonzero((chemistry == where) & members)
            if len(chosen):
                yield _moved(where, kind, moved.select(chosen), sizes.select(chosen))


def _moved(where: str, kind: str, moved: FrameErrors, sizes: FrameErrors) -> MovedFrames:
    change, own = metrics(moved), metrics(sizes)
    keys = {quantity: metric_key(quantity, "rmse") for quantity in POTENTIAL_QUANTITIES.values()}
    return MovedFrames(
        chemistry=where,
        kind=kind,
        n_frames=int(change["n_frames"]),
        errors={key: change[key] for key in keys.values() if key in change},
        of_foundation={q.name: own[key] for q, key in keys.items() if q in (FORCES, STRESS) and key in own},
    )


def _too_large(row: MovedFrames) -> Iterator[str]:
    """Name the quantities that changed too much; a number that is none did."""
    energy = row.error(ENERGY)
    if energy is None or not energy <= LARGEST_ENERGY:
        yield f"energies (allowed: {LARGEST_ENERGY:g} meV/atom)"
    for quantity in (FORCES, STRESS):
        changed = row.share(quantity)
        if changed is not None and not changed <= LARGEST_PART:
            yield f"{quantity.name} ({100 * changed:.0f} % of the foundation's own, allowed: {100 * LARGEST_PART:.0f})"
    if _moved_moments(row):
        yield f"magnetic moments (allowed: {LARGEST_MOMENT:g} µB)"


def _moved_moments(row: MovedFrames) -> bool:
    changed = row.error(MAGMOM)
    return changed is not None and not changed <= LARGEST_MOMENT


def _sentence(row: MovedFrames, large: Sequence[str]) -> str:
    figures = [
        f"{quantity.name} {error:.3g} {quantity.report_unit}"
        for quantity in POTENTIAL_QUANTITIES.values()
        if (error := row.error(quantity)) is not None and (quantity != MAGMOM or not error <= quantity.rounding)
    ]
    found = f"on {row.n_frames} crystals and slabs with other elements the tuned model differs by {', '.join(figures)}"
    return f"{found}; too much in {' and '.join(large)}" if large else found
