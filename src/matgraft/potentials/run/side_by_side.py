"""Foundations, files of models and runs on labelled frames, side by side: the first step before anything is tuned.

    evaluate_models(["chgnet", "mace:my.model@1f3b...", "runs/x"], [Path("frames.extxyz")])

All models are scored on the same frames: those that all of them can take and, where there are any, that no run among
them was fitted on. Energies are scored as they come, and after a shift of the reference energies that no frame has a
part in itself (`matgraft.potentials.tuning.held_out`). One run alone is what `evaluate_run` judges beside its own
foundation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matgraft.core.errors import DataError, OptionError
from matgraft.core.findings import DROP, Finding
from matgraft.core.options import word
from matgraft.core.quantities import ENERGY, FORCES
from matgraft.core.registry import part_head
from matgraft.core.run_folder import kind_of
from matgraft.core.verdict import Caution, Damage
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.isolated import without_isolated
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.registry import names_are_words, refuse_unknown
from matgraft.potentials.recipe import Recipe, make_recipe, saved_recipe
from matgraft.potentials.report.evaluations import EvaluatedModels, ModelScores
from matgraft.potentials.run.correction import refuse_corrections
from matgraft.potentials.run.evaluation import refuse_unfit
from matgraft.potentials.run.frames import look_at_labels, look_at_test, read_further, refuse_unknown_tables
from matgraft.potentials.run.references import references_for, refuse_idle_references
from matgraft.potentials.run.remedies import as_typed
from matgraft.potentials.run.seen_by_fit import UNKNOWN, SeenByFit, sharing
from matgraft.potentials.run.several import Answers, ask, load_models
from matgraft.potentials.scoring.frame_errors import Predictions, errors
from matgraft.potentials.scoring.scores import summarise
from matgraft.potentials.scoring.standing import Standing, stand
from matgraft.potentials.tuning.held_out import HeldOut, shift_held_out
from matgraft.potentials.tuning.references import ReferenceShift, shifted

READING_KEYS = ("keys", "units", "shear", "elements", "theory")
"""What a run's recipe says of how frames are read, beside the labels that must be there."""


def evaluate_models(
    models: Sequence[str], files: Sequence[Path], options: Sequence[str] = (), *, quiet: bool = False
) -> EvaluatedModels:
    """Score models on labelled frames, side by side.

    Parameters
    ----------
    models
        Names as `load_potential` takes them: foundations, files of vendors, runs (``runs/si#PBE``), exported folders.
    options
        ``key=value`` items: how files are read, ``references.mode`` of the shift, ``audit.drop_test=[3]`` to leave
        frames out. Where runs are among the models, files are read as theirs unless the items say otherwise.

    Raises
    ------
    DataError
        If no frame has a label, if labels are not finite, or if no model can take any frame.
    OptionError
        If a model is unknown or named twice, or an option is not read.
    """
    refuse_names(models)
    recipe, note = _recipe_of(models, files, options)
    whole = read_further(recipe, files, beside=not options)
    dataset = without_isolated(whole)
    _refuse_unlabelled(dataset, models, files)
    refuse_unfit(look_at_test(recipe, dataset), ", ".join(map(str, files)))
    refuse_unknown_tables(recipe, dataset, dataset[:0])
    loaded = load_models(models)
    refuse_corrections(loaded, recipe)
    for model in loaded.values():
        refuse_idle_references(recipe, model, dataset, dataset[:0])
    answers = ask(loaded, dataset, recipe, quiet=quiet)
    scored = _Scored.of(answers)
    found = [_score(name, loaded[name], scored, recipe) for name in scored.predictions]
    standings = _standings(scored, found)
    doubts = _doubts(loaded, answers, recipe)
    return EvaluatedModels(
        files=tuple(map(str, files)),
        notes=(*dataset.provenance.notes, *note),
        elements=scored.frames.elements(),
        grouped_by=scored.grouped_by,
        part=scored.part,
        models=tuple(one for one, _ in found),
        standings=tuple(standings),
        left_out=answers.left_out,
        unshifted=tuple(_unshifted(found[0][0].held_out, scored.frames, recipe)),
        doubts=doubts,
        cautions=scored.cautions,
        next_command=_next(files, options, [one for one, _ in found], standings, bool(doubts)),
    )


def refuse_names(models: Sequence[str]) -> None:
    """Raise an OptionError for a model that is unknown or named twice, before any frame is read."""
    with names_are_words():
        for name in models:
            refuse_unknown(name)
    if twice := [name for i, name in enumerate(models) if name in models[:i]]:
        raise OptionError(f"{twice[0]} is named twice", remedy="name each model once")


def is_run(name: str) -> bool:
    """Say whether a model is the run of a fit on frames."""
    return kind_of(part_head(name)[0]) == "frames"


def _recipe_of(models: Sequence[str], files: Sequence[Path], options: Sequence[str]) -> tuple[Recipe, list[str]]:
    """Return how the frames are read: as the runs among the models read theirs, where these agree; and what to say."""
    runs = [name for name in models if is_run(name)]
    ways = [saved_recipe(part_head(name)[0]).model_dump(include=set(READING_KEYS)) for name in runs]
    agree = all(way == ways[0] for way in ways)
    given = ways[0] if ways and agree else {}
    recipe = make_recipe(None, options, verb="evaluate", train=[str(file) for file in files], want=(), **given)
    said = f"{' and '.join(runs)} read frames by different keys or units: none of these is taken over"
    return recipe, [] if agree else [said]


def _refuse_unlabelled(dataset: Dataset, models: Sequence[str], files: Sequence[Path]) -> None:
    if not dataset.quantities():
        raise DataError(
            "no frame has a label to score by",
            where=", ".join(map(str, files)),
            remedy="name the keys of the labels by keys.energy and keys.forces, or predict the frames instead",
            commands=[("matgraft", "predict", *models, *files, "-o", "predictions.extxyz")],
        )


@dataclass(frozen=True)
class _Scored:
    """The frames that all models are scored on, with their trajectories.

    Attributes
    ----------
    frames, groups, grouped_by
        The frames, the trajectory of each, and how these were found.
    part
        Which frames they are, as of `EvaluatedModels.part`.
    predictions
        Model -> its predictions of them.
    seen
        Run -> what its fit did with all frames that the models can take.
    """

    frames: Dataset
    groups: Sequence[str]
    grouped_by: str
    part: str
    predictions: Mapping[str, Predictions]
    seen: Mapping[str, SeenByFit]
    cautions: tuple[Caution, ...]

    @classmethod
    def of(cls, answers: Answers) -> _Scored:
        """Choose the frames that no run was fitted on, or all where there are none of these."""
        frames, groups = answers.frames, find_groups(answers.frames)
        found = {name: SeenByFit.of(part_head(name)[0], frames) for name in answers.predictions if is_run(name)}
        seen = {name: one for name, one in found.items() if one is not None}
        older = [name for name, one in found.items() if one is None]
        fresh = sorted(set(range(len(frames))).intersection(*(one.unseen for one in seen.values())))
        kept = fresh or list(range(len(frames)))
        return cls(
            frames=frames[kept] if len(kept) < len(frames) else frames,
            groups=[groups.labels[i] for i in kept],
            grouped_by=groups.reason,
            part="seen" if not fresh else "unseen" if seen and not older else "given",
            predictions={name: [each[i] for i in kept] for name, each in answers.predictions.items()},
            seen=seen,
            cautions=tuple(sorted(_cautions(frames, seen, older, bool(fresh)), key=lambda one: -one.damage)),
        )


def _cautions(
    frames: Dataset, seen: Mapping[str, SeenByFit], older: Sequence[str], any_fresh: bool
) -> Iterator[Caution]:
    """Say of each run why its errors may look better than they are."""
    if not any_fresh:
        text = f"Every frame was seen by the fit of {' or '.join(seen)}: their errors say nothing about new frames."
        yield Caution(code="all-seen", damage=Damage.WRONG, text=text)
    for name, one in seen.items() if any_fresh else ():
        if one.unseen:
            yield from (_of_model(name, caution) for caution in sharing(frames, one))
    yield from (_of_model(name, UNKNOWN) for name in older)


def _of_model(name: str, caution: Caution) -> Caution:
    return caution.model_copy(update={"text": f"{name}: {caution.text}"})


def _score(name: str, model: Potential, scored: _Scored, recipe: Recipe) -> tuple[ModelScores, Predictions]:
    """Score a model as it comes and after the shift; return also its energies after the shift, or as they come."""
    own, frames, groups = scored.predictions[name], scored.frames, scored.groups
    after, shift, held_out = _shift(model, own, scored, recipe)
    by, phases = recipe.scores.by, recipe.scores.phases
    shifted = (
        summarise(
            frames, {"tuned": after}, groups, part=scored.part, by=by, phases=phases, quantities={ENERGY.name: ENERGY}
        )
        if after
        else None
    )
    # The shift cancels in differences, but for that of two frames whose shifts were fitted on different others.
    found = ModelScores(
        name=name,
        theory=model.card.theory.describe(),
        scores=summarise(frames, {"tuned": own}, groups, part=scored.part, by=by, phases=phases),
        shifted=shifted and shifted.model_copy(update={"relative": None}),
        shift=shift,
        held_out=held_out,
        frames=scored.seen[name].counts if name in scored.seen else None,
    )
    return found, after or own


def _shift(
    model: Potential, own: Predictions, scored: _Scored, recipe: Recipe
) -> tuple[Predictions, ReferenceShift | None, HeldOut | None]:
    """Return the energies after the shift, the shift, and on which frames it was fitted; nothing where none is made."""
    frames, mode = scored.frames, recipe.references.mode
    energies = [sample for sample in frames if ENERGY.name in sample.labels and sample.weight_of(ENERGY.name) > 0]
    references = references_for(recipe, frames, own, model) if energies else None
    if not isinstance(references, ReferenceShift) or mode == "keep":
        return [], None, None
    if mode != "refit":
        return [{ENERGY.name: one[ENERGY.name]} for one in shifted(frames, own, references)], references, None
    after, held_out = shift_held_out(frames, own, scored.groups)
    return after if any(after) else [], references, held_out


def _standings(scored: _Scored, found: Sequence[tuple[ModelScores, Predictions]]) -> list[Standing]:
    """Say which model errs least: in energies after the shift where there is one, else as they come."""
    if len(found) < 2:
        return []
    as_they_come = {one.name: errors(scored.frames, scored.predictions[one.name]) for one, _ in found}
    whole = stand(as_they_come, scored.groups)
    if not all(one.shifted for one, _ in found):
        return whole
    after = {one.name: errors(scored.frames, own, {ENERGY.name: ENERGY}) for one, own in found}
    return [*stand(after, scored.groups, shifted=True), *(one for one in whole if one.quantity != ENERGY.name)]


def _doubts(loaded: Mapping[str, Potential], answers: Answers, recipe: Recipe) -> tuple[Finding, ...]:
    """Hold the labels against the first model that was not fitted on frames like them; a run has been audited."""
    first = next((name for name in answers.predictions if not is_run(name)), None)
    if first is None:
        return ()
    return look_at_labels(recipe, answers.frames, answers.predictions[first], loaded[first].card)


def _unshifted(held_out: HeldOut | None, frames: Dataset, recipe: Recipe) -> Iterator[Finding]:
    """Name the frames that have no energy after the shift."""
    if held_out is None or not held_out.alone:
        return
    of = f"{len(held_out.alone)} of {len(frames)} frames: the other frames do not determine the shift of their elements"
    finding = Finding(
        code="not-shifted",
        title="frames without an energy after the shift",
        outcome="failed",
        severity="warning",
        frames=held_out.alone,
        part="test",
        evidence=of,
    )
    yield as_typed(finding, frames, recipe)


def _next(
    files: Sequence[Path],
    options: Sequence[str],
    models: Sequence[ModelScores],
    standings: Sequence[Standing],
    doubtful: bool,
) -> tuple[str, ...]:
    """Return what to type next: settle the labels, tune the best foundation, or export the best run."""
    about = {one.quantity: one.best for one in standings}
    best = about.get(FORCES.name) or next(iter(about.values()), models[0].name)
    if is_run(best) and not doubtful:
        return ("matgraft", "export", best, "--to", "ase", "-o", "model")
    own = [one.replace(f"{DROP['test']}=", f"{DROP['train']}=", 1) for one in options]
    data = [str(files[0])] if len(files) == 1 else [word("train", [str(file) for file in files])]
    foundation = best if not is_run(best) else next(one.name for one in models if not is_run(one.name))
    verb = "audit" if doubtful else "tune"
    rest = [one for one in own if verb == "tune" or not one.startswith("references")]
    return ("matgraft", verb, *data, *rest, "--from", foundation)
