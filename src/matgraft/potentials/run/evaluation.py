"""A finished run's model on further frames: what the fit has seen among them is counted, and the rest is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from matgraft.core.errors import DataError
from matgraft.core.findings import DROP, Finding, list_frames
from matgraft.core.locks import works_in
from matgraft.core.registry import model_folder, part_head
from matgraft.core.run_folder import kind_of
from matgraft.core.settings import typed_keys
from matgraft.core.verdict import Caution, Damage, Outcome, Verdict
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.isolated import without_isolated
from matgraft.potentials.models.registry import load_potential, refuse_unknown
from matgraft.potentials.recipe import Recipe, ScoreSettings, saved_recipe
from matgraft.potentials.run.correction import learned_from, zeros
from matgraft.potentials.run.frames import look_at_test, read_further, refuse_unknown_tables
from matgraft.potentials.run.seen_by_fit import UNKNOWN, SeenByFit, sharing
from matgraft.potentials.run.several import ask
from matgraft.potentials.run_files import EVALUATIONS, REFERENCES, evaluation_file
from matgraft.potentials.scoring.evaluate import Evaluation, SeenCounts
from matgraft.potentials.scoring.frame_errors import Predictions
from matgraft.potentials.scoring.scores import summarise
from matgraft.potentials.scoring.verdict import FOUNDATION, verdict
from matgraft.potentials.tuning.references import HeadShifts, ReferenceShift, shifted

AS_THEY_ARE = ScoreSettings()


@works_in("run")
def evaluate_run(
    run: Path, frames: Path | Sequence[Path], options: Sequence[str] = (), *, quiet: bool = False
) -> Evaluation:
    """Score a run's model on further frames, beside its foundation and the shifted foundation.

    Frames that the fit was trained or validated on are known by their structure. They are left out of the figures and
    of the verdict, and scored once more together with the others under ``with_seen``.

    Parameters
    ----------
    run
        A run folder; of several heads, with the one that the frames belong to: ``runs/si#PBE``.
    frames
        One file or several. Frames that the model cannot take are left out, and named.
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
        If the folder is no run, which says what it is, or if the model can take none of the frames.
    """
    folder, head = part_head(run)
    if kind_of(folder) is None:
        model_folder(run)  # says what it is instead
    # Frames to leave out are those of the run's test file, which is another one.
    files = [frames] if isinstance(frames, Path) else list(frames)
    recipe = saved_recipe(folder, [f"{DROP['test']}=null", *options], "evaluate RUN")
    for name in (run, recipe.foundation):
        refuse_unknown(name)
    dataset = without_isolated(read_further(recipe, files, beside=not options))
    named = ", ".join(map(str, files))
    refuse_unfit(look_at_test(recipe, dataset), named)
    if {"scores.by", "scores.phases"} & {*typed_keys(Recipe, options)}:  # the run's tags may be none of these frames'
        refuse_unknown_tables(recipe, dataset, dataset[:0])
    dataset = learned_from(recipe, dataset)
    models = {"tuned": load_potential(run), "untuned": load_potential(recipe.foundation)}
    answers = ask(models, dataset, recipe, quiet=quiet)
    dataset, untuned = answers.frames, answers.predictions["untuned"]
    if recipe.corrects:
        untuned = zeros(dataset, untuned)
    shift = shifted(dataset, untuned, _saved_references(folder, head))
    left_out = answers.left_out[:1]  # both have one architecture: what one cannot take, neither can
    predictions = {"tuned": answers.predictions["tuned"], "untuned": untuned, "shift": shift}
    found = judge_frames(named, dataset, predictions, SeenByFit.of(folder, dataset), recipe.scores, left_out)
    (folder / EVALUATIONS).mkdir(exist_ok=True)
    evaluation_file("-".join(filter(None, (files[0].stem, head, dataset.hash()[:8])))).write(folder, found)
    return found


def refuse_unfit(found: Sequence[Finding], where: str) -> None:
    """Raise a DataError for frames that can be neither predicted nor scored, before a model is loaded."""
    if found:
        causes = [
            DataError(f"{one.code}: {one.evidence}", remedy=one.remedy, options=[each.options for each in one.actions])
            for one in found
        ]
        raise DataError("these frames cannot be judged on", where=where, causes=causes)


def judge_frames(
    file: str,
    dataset: Dataset,
    predictions: Mapping[str, Predictions],
    seen: SeenByFit | None,
    settings: ScoreSettings = AS_THEY_ARE,
    left_out: Sequence[Finding] = (),
) -> Evaluation:
    """Score the frames that the fit has not seen, and judge by them; all of them where it has seen each or none.

    Parameters
    ----------
    settings
        Tags that errors and phases are told apart by.
    left_out
        Findings on frames that the model cannot take.
    """
    groups, named = find_groups(dataset).labels, tuple(map(_naming, left_out))
    summed_up = partial(summarise, by=settings.by, phases=settings.phases)
    told: dict[str, object] = {"file": file, "frames": seen and seen.counts, "left_out": tuple(left_out)}
    if seen is None or not seen.unseen:
        whole = summed_up(dataset, predictions, groups, part="seen" if seen else "given")
        judged = _all_seen(seen.counts, named) if seen else verdict(whole, cautions=[UNKNOWN, *named])
        return Evaluation(**dict(whole), **told, verdict=judged)
    unseen = seen.unseen
    own = {model: [each[i] for i in unseen] for model, each in predictions.items()}
    found = summed_up(dataset[unseen], own, [groups[i] for i in unseen], part="unseen")
    with_seen = summed_up(dataset, predictions, groups, part="given") if len(unseen) < len(dataset) else None
    judged = verdict(found, cautions=[*sharing(dataset, seen), *named])
    return Evaluation(**dict(found), **told, verdict=judged, with_seen=with_seen)


def _naming(left_out: Finding) -> Caution:
    """Name the frames that are in no figure."""
    listed = list_frames(left_out.frames, left_out.files, len(left_out.frames))
    return Caution(code=left_out.code, damage=Damage.NOTE, text=f"{left_out.evidence}. Left out: frames {listed}.")


def _all_seen(counts: SeenCounts, cautions: tuple[Caution, ...]) -> Verdict:
    return Verdict(
        outcome=Outcome.NOT_COMPARED,
        against=FOUNDATION,
        cautions=cautions,
        headline=(
            f"The fit has seen all of these frames: {counts.trained_on} were trained on and {counts.validated_on} "
            "were validated on. Their errors say nothing about new frames."
        ),
    )


def _saved_references(run: Path, head: str) -> ReferenceShift:
    found = REFERENCES.read(run)
    return found.heads[head] if isinstance(found, HeadShifts) else found
