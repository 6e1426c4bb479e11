"""What a round leaves, and what the loop ends with: files and their types.

    rounds/00/  sampled-0.json pool-0.extxyz  selected.json chosen.extxyz  labelled.json labelled.extxyz
                merged.json learn.extxyz audit.extxyz  run/ (a run of `matgraft tune`)  round.json
    ended.json  curve.json

A file is written whole when its stage is done. The stage in flight is what a kill loses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from matgraft.core.frozen import Frozen
from matgraft.core.run_folder import RunFile
from matgraft.core.verdict import Outcome
from matgraft.potentials.active.labelling.labelled import Labelled
from matgraft.potentials.active.sampling.sampled import Sampled
from matgraft.potentials.active.selection.selected import Selected

ENERGY_KEY, FORCES_KEY = "energy_rmse_meV_per_atom", "forces_rmse_eV_per_A"
CHOSEN, LABELLED_FRAMES = "chosen.extxyz", "labelled.extxyz"
LEARN, AUDIT = "learn.extxyz", "audit.extxyz"
RUN = "run"


class Merged(Frozen):
    """Labelled frames of a round by what they are for.

    Attributes
    ----------
    learn, audit
        Frames of this round to learn from, and to score on.
    n_learn, n_audit
        Of all rounds so far, without frames of one's own.
    """

    learn: int
    audit: int
    n_learn: int
    n_audit: int


class Errors(Frozen):
    """Root mean square errors on some frames; None where they have no such label."""

    n_frames: int
    energy_meV_per_atom: float | None = None
    forces_eV_per_A: float | None = None

    @classmethod
    def of(cls, figures: Mapping[str, int | float]) -> Errors:
        """Take them from what scoring gives."""
        return cls(
            n_frames=int(figures.get("n_frames", 0)),
            energy_meV_per_atom=figures.get(ENERGY_KEY),
            forces_eV_per_A=figures.get(FORCES_KEY),
        )


class RoundFacts(Frozen):
    """What came of a round.

    Attributes
    ----------
    number
        From 0.
    n_pool, outside
        Frames that were sampled, and the part of them outside the gate of the model that sampled them; None without a
        gate.
    asked, labelled, failed, from_store
        Frames of this round.
    dft_frames
        Frames with a label of the engine, from the store or computed, of all rounds so far.
    n_learn, n_audit
        Of all rounds so far.
    part
        What `errors` is of: "test", or "validation" where nothing is there to score on.
    errors
        Of the new model on all frames that are scored on so far; it has learned from none of them.
    fresh
        Of the model before on this round's frames to score on, which it has sampled itself; None in the first round.
    before
        Of the model before on the frames of `errors`.
    outcome, level
        The verdict of the tuning.
    fit_for
        The verdict of the physical checks; None where there were none.
    seconds
        By stage.
    """

    number: int
    n_pool: int = 0
    outside: float | None = None
    asked: int = 0
    labelled: int = 0
    failed: int = 0
    from_store: int = 0
    dft_frames: int = 0
    n_learn: int = 0
    n_audit: int = 0
    part: str
    errors: Errors
    fresh: Errors | None = None
    before: Errors | None = None
    outcome: Outcome
    level: str
    fit_for: Outcome | None = None
    seconds: dict[str, float] = Field(default_factory=dict)

    @property
    def gain(self) -> float | None:
        """Part by which the round lowered the error of forces on the same frames; None with nothing before."""
        old, new = self.before and self.before.forces_eV_per_A, self.errors.forces_eV_per_A
        return None if not old or new is None else 1 - new / old


Reason = Literal["goal", "no gain", "nothing to label", "rounds", "frames", "hours"]
REASONS: Mapping[Reason, str] = {
    "goal": "all targets are reached",
    "no gain": "further frames lower the error too little",
    "nothing to label": "no sampled frame is useful to label",
    "rounds": "the rounds are spent",
    "frames": "the DFT frames are spent",
    "hours": "the hours are spent",
}
"""Why a loop ended -> in words."""


class Ended(Frozen):
    """How a loop ended.

    Attributes
    ----------
    dft_frames
        Frames with a label, those of a round that was not finished among them.
    model
        Folder of the last model, in that of the loop.
    lacking
        What was asked for and is not reached, in words.
    """

    reason: Reason
    rounds: int
    dft_frames: int
    model: str
    lacking: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """True if all that was asked for is reached."""
        return self.reason == "goal"

    @property
    def exit_code(self) -> int:
        """0 where the loop converged, else 1."""
        return 0 if self.converged else 1


class CurvePoint(Frozen):
    """Errors of a round's model on all frames that the whole loop scores on."""

    number: int
    dft_frames: int
    errors: Errors


class Curve(Frozen):
    """Errors of all models on the same frames, against the number of DFT frames."""

    points: tuple[CurvePoint, ...] = ()


SELECTED = RunFile("selected.json", Selected)
LABELLED = RunFile("labelled.json", Labelled)
MERGED = RunFile("merged.json", Merged)
ROUND = RunFile("round.json", RoundFacts)
ENDED = RunFile("ended.json", Ended)
CURVE = RunFile("curve.json", Curve)


def sampled_file(block: int) -> RunFile[Sampled]:
    """Return the file of a block of sampling."""
    return RunFile(f"sampled-{block}.json", Sampled)


def round_folder(out: Path, number: int) -> Path:
    """Return the folder of a round."""
    return out / "rounds" / f"{number:02d}"


def rounds_in(out: Path) -> list[RoundFacts]:
    """Return the rounds that are done, in order."""
    return _in_order(out, ROUND.find)


def rounds_kept(out: Path) -> list[RoundFacts]:
    """Return the rounds that are done, in order; raises a `ChangedError` where one was done and is gone."""
    return _in_order(out, ROUND.kept)


def _in_order(out: Path, of_round: Callable[[Path], RoundFacts | None]) -> list[RoundFacts]:
    found: list[RoundFacts] = []
    while (facts := of_round(round_folder(out, len(found)))) is not None:
        found.append(facts)
    return found
