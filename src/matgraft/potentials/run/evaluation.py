"""A finished run's model on further frames: what the fit has seen among them is counted, and the rest is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from matgraft.core.errors import DataError, MatgraftError
from matgraft.core.findings import DROP, Finding
from matgraft.core.processes import cores
from matgraft.core.registry import model_folder, part_head
from matgraft.core.run_folder import kind_of
from matgraft.core.settings import typed_keys
from matgraft.core.verdict import Caution, Damage, Outcome, Verdict
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.numbering import numbers_of_frames
from matgraft.potentials.data.seen import SeenFrames, is_among, kinds
from matgraft.potentials.data.split import leaks_between
from matgraft.potentials.models.predict import predict
from matgraft.potentials.models.registry import load_potential, refuse_unknown
from matgraft.potentials.recipe import Recipe, saved_recipe
from matgraft.potentials.run.frames import (
    foundation_predictions,
    look_at_test,
    read_further,
    read_one,
    refuse_unknown_tables,
)
from matgraft.potentials.run_files import EVALUATIONS, REFERENCES, SEEN, evaluation_file
from matgraft.potentials.scoring.evaluate import Evaluation, SeenCounts
from matgraft.potentials.scoring.metrics import Predictions, Scores, summarise
from matgraft.potentials.scoring.verdict import FOUNDATION, verdict
from matgraft.potentials.tuning.references import HeadShifts, ReferenceShift, shifted

UNKNOWN = Caution(
    code="unknown-training",
    damage=Damage.DOUBT,
    text="This run is older and does not say which frames it was trained on: some of these may be among them.",
)
GONE = "is not where the recipe says"


def evaluate_run(run: Path, frames: Path, options: Sequence[str] = (), *, quiet: bool = False) -> Evaluation:
    """Score a run's model on further frames, beside its foundation and the shifted foundation.

    Frames that the fit was trained or validated on are known by their structure. They are left out of the figures and
    of the verdict, and scored once more together with the others under ``with_seen``.

    Parameters
    ----------
    run
        A run folder; of several heads, with the one that the frames belong to: ``runs/si#PBE``.
    options
        ``key=value`` items over the run's recipe, for files with other keys or units; ``audit.drop_test=[3]`` leaves
        frames out. What says how the run was fitted is an error here.

    Returns
    -------
    Evaluation
        With `part` "unseen", or "seen" where the fit has seen every frame, or "given" where an older run does not say
        what it has seen. It is written to ``evaluations/`` in the run folder; the file's name ends with the frames'
        hash, so that files of one name in two folders do not overwrite each other.

    Raises
    ------
    DataError
        If the folder is no run; it says what it is.
    """
    folder, head = part_head(run)
    if kind_of(folder) is None:
        model_folder(run)  # says what it is instead
    # Frames to leave out are those of the run's test file, which is another one.
    recipe = saved_recipe(folder, [f"{DROP['test']}=null", *options], "evaluate")
    for name in (run, recipe.foundation):
        refuse_unknown(name)
    dataset = read_further(recipe, frames, beside=not options)
    refuse_unfit(look_at_test(recipe, dataset), str(frames))
    if "scores.by" in typed_keys(Recipe, options):  # the run's own tags may be none of these frames'
        refuse_unknown_tables(recipe, dataset, dataset[:0])
    tuned, foundation = load_potential(run), load_potential(recipe.foundation)
    progress = "" if quiet else f"predictions of {len(dataset)} frames"
    untuned, refused, _ = foundation_predictions(foundation, dataset, quiet, "test")
    if refused.outcome == "failed":
        raise _cannot_take(dataset, refused)
    predictions = {
        "tuned": predict(tuned, dataset.samples, processes=cores(), progress=progress),
        "untuned": untuned,
        "shift": shifted(dataset, untuned, _saved_references(folder, head)),
    }
    found = judge_frames(str(frames), dataset, predictions, _Seen.of(folder, dataset), recipe.scores.by)
    (folder / EVALUATIONS).mkdir(exist_ok=True)
    evaluation_file("-".join(filter(None, (frames.stem, head, dataset.hash()[:8])))).write(folder, found)
    return found


def refuse_unfit(found: Sequence[Finding], where: str) -> None:
    """Raise a DataError for frames that can be neither predicted nor scored, before a model is loaded."""
    if found:
        causes = [
            DataError(f"{one.code}: {one.evidence}", remedy=one.remedy, options=[each.options for each in one.actions])
            for one in found
        ]
        raise DataError("these frames cannot be judged on", where=where, causes=causes)


def _cannot_take(dataset: Dataset, refused: Finding) -> DataError:
    numbers = numbers_of_frames(dataset, refused.frames)
    return DataError(refused.evidence, remedy=refused.remedy, options=[{DROP["test"]: numbers}])


@dataclass(frozen=True)
class _Seen:
    """What the fit has seen.

    Attributes
    ----------
    of_frame
        What it did with each frame that is evaluated: "trained_on", "validated_on", or "unseen".
    train
        Frames of the training file that it has seen and that have the atoms of an unseen one.
    lack
        Why `train` may lack some of these; empty where it has them all.
    """

    of_frame: tuple[str, ...]
    train: Dataset = field(default_factory=lambda: Dataset(()))
    lack: str = GONE

    @classmethod
    def of(cls, run: Path, dataset: Dataset) -> _Seen | None:
        """Look the frames up among those of the fit; None where the run is older and has no list of them."""
        if (known := SEEN.find(run)) is None:
            return None
        trained, validated = (is_among(dataset, part) for part in known.parts)
        what = np.where(trained, "trained_on", np.where(validated, "validated_on", "unseen"))
        unseen = dataset[np.flatnonzero(what == "unseen").tolist()]
        return cls(tuple(what.tolist()), *_seen_in_file(saved_recipe(run), known, unseen))

    @property
    def unseen(self) -> list[int]:
        return [i for i, what in enumerate(self.of_frame) if what == "unseen"]

    @property
    def counts(self) -> SeenCounts:
        return SeenCounts(**{what: self.of_frame.count(what) for what in ("trained_on", "validated_on", "unseen")})


def judge_frames(
    file: str, dataset: Dataset, predictions: Mapping[str, Predictions], seen: _Seen | None, by: Sequence[str] = ()
) -> Evaluation:
    """Score the frames that the fit has not seen, and judge by them; all of them where it has seen each or none.

    Parameters
    ----------
    by
        As of `summarise`.
    """
    groups = find_groups(dataset).labels
    if seen is None or not seen.unseen:
        whole = summarise(dataset, predictions, groups, part="seen" if seen else "given", by=by)
        judged = _all_seen(seen.counts) if seen else verdict(whole, cautions=[UNKNOWN])
        return _evaluation(whole, file=file, frames=seen and seen.counts, verdict=judged)
    unseen = seen.unseen
    own = {model: [each[i] for i in unseen] for model, each in predictions.items()}
    found = summarise(dataset[unseen], own, [groups[i] for i in unseen], part="unseen", by=by)
    with_seen = summarise(dataset, predictions, groups, part="given", by=by) if len(unseen) < len(dataset) else None
    judged = verdict(found, cautions=list(_sharing(dataset, seen)))
    return _evaluation(found, file=file, frames=seen.counts, verdict=judged, with_seen=with_seen)


def _evaluation(scores: Scores, **more: Any) -> Evaluation:
    return Evaluation(**dict(scores), **more)


def _seen_in_file(recipe: Recipe, known: SeenFrames, unseen: Dataset) -> tuple[Dataset, str]:
    """Return the frames of the training file that the fit has seen, and why some of them may be lacking.

    Only those are returned whose atoms an unseen frame has.
    """
    nothing = unseen[:0]
    if not all(Path(file).exists() for file in recipe.train_files):
        return nothing, GONE
    wanted = set(kinds(unseen)) & {kind for part in known.parts for kind in part}
    if not wanted:  # a file of 100,000 frames takes a minute to read
        return nothing, ""
    try:
        train = read_one(recipe.model_copy(update={"want": ()}), recipe.train)
    except MatgraftError:
        return nothing, "has changed and cannot be read"
    train = train[[i for i, kind in enumerate(kinds(train)) if kind in wanted]]
    seen = np.any([is_among(train, part) for part in known.parts], axis=0)
    n_known = sum(len(rows) for part in known.parts for kind, rows in part.items() if kind in wanted)
    lack = "has changed and lacks frames that the fit has seen" if seen.sum() < n_known else ""
    return train[np.flatnonzero(seen).tolist()], lack


def _sharing(dataset: Dataset, seen: _Seen) -> Iterator[Caution]:
    """Warn of unseen frames of simulations that the fit has seen other frames of, and of near duplicates of seen ones.

    Those seen are looked for in the training file, and where it lacks some among the frames evaluated too.
    """
    unseen = dataset[seen.unseen]
    others = [i for i, what in enumerate(seen.of_frame) if what != "unseen"]
    known = concatenate([seen.train, dataset[others]]) if seen.lack else seen.train
    if len(known):
        found = leaks_between(known, unseen)
        shared = {*found.frames, *found.duplicates.neighbours}
        alike = set(found.duplicates.frames) - shared
        if shared:
            text = (
                f"{len(shared)} of the {len(unseen)} unseen frames belong to simulations of which the fit has seen "
                "other frames: errors will look better than they are."
            )
            yield Caution(code="shared-trajectories", damage=Damage.WRONG, text=text)
        if alike:
            text = (
                f"{len(alike)} {'others ' * bool(shared)}of the {len(unseen)} unseen frames have a near duplicate "
                "among the frames that the fit has seen."
            )
            yield Caution(code="near-duplicates", damage=Damage.WRONG, text=text)
    if seen.lack:
        text = (
            f"The training file {seen.lack}: unseen frames of simulations that were trained on are known only where "
            "this file holds the seen ones too."
        )
        yield Caution(code="training-file", damage=Damage.DOUBT, text=text)


def _all_seen(counts: SeenCounts) -> Verdict:
    return Verdict(
        outcome=Outcome.NOT_COMPARED,
        against=FOUNDATION,
        headline=(
            f"The fit has seen all of these frames: {counts.trained_on} were trained on and {counts.validated_on} "
            "were validated on. Their errors say nothing about new frames."
        ),
    )


def _saved_references(run: Path, head: str) -> ReferenceShift:
    found = REFERENCES.read(run)
    return found.heads[head] if isinstance(found, HeadShifts) else found
