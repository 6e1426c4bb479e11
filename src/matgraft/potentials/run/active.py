"""The whole loop: sample, select, label, merge, tune, check, round by round, until it is enough.

    ended = active(make_active_recipe(Path("recipe.yaml")), Path("runs/loop"))
    ended.converged, ended.model

Each stage leaves its file in the folder of its round (`matgraft.potentials.active.rounds`) before the next one begins.
A loop that was killed is conducted again from its recipe: what a stage left is read back.

Frames to score on are of walkers that nothing is learned from. They are scored by the model that sampled them before
any fit, and stay out of every fit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

from matgraft.core.errors import AuditError, DataError, OptionError, RunError
from matgraft.core.files import remove, write_text
from matgraft.core.locks import works_in
from matgraft.core.options import word
from matgraft.core.provenance import file_hash
from matgraft.core.run_folder import Begun, RunFile, by_option, open_run
from matgraft.potentials.active.labelling.fingerprint import engine_key
from matgraft.potentials.active.labelling.labelled import Labelled
from matgraft.potentials.active.merge import merge_labelled
from matgraft.potentials.active.rounds import (
    AUDIT,
    CURVE,
    ENDED,
    LABELLED,
    LEARN,
    MERGED,
    ROUND,
    RUN,
    SELECTED,
    Curve,
    CurvePoint,
    Ended,
    Errors,
    Merged,
    Reason,
    RoundFacts,
    rounds_in,
    sampled_file,
)
from matgraft.potentials.active.settings import BUDGET, SAVED, ActiveRecipe
from matgraft.potentials.active.stopping import frames_of_round, lacking, reason_to_end, spent_budget
from matgraft.potentials.checks.checked import CHECKED
from matgraft.potentials.models.registry import refuse_unknown
from matgraft.potentials.recipe import Recipe, make_recipe
from matgraft.potentials.run.active_stages import STAGES, engine_of
from matgraft.potentials.run.loop import Loop, Stage, Stages, Tell
from matgraft.potentials.run_files import METRICS, PHYSICS, VERDICT

MOST_REASONS = 5
"""Why calculations failed, that an error lists."""
SECONDS: RunFile[dict[str, float]] = RunFile("seconds.json", dict[str, float])
"""Of the stages of a round that ended, all sessions together."""


@works_in("out", new=True)
def active(
    recipe: ActiveRecipe,
    out: Path,
    *,
    resume: bool = False,
    stages: Stages = STAGES,
    tell: Tell = lambda number, what: None,
    quiet: bool = False,
) -> Ended:
    """Conduct a loop.

    Parameters
    ----------
    out
        Its folder: new or empty, unless `resume`.
    stages
        What does the work.

    Raises
    ------
    OptionError
        If the recipe cannot be carried out.
    RunError
        If the loop would go on with something else than it began with, or each calculation of a round failed.
    """
    tuned = refuse_unfit_recipe(recipe, stages)
    loop = Loop(recipe, out, stages, tell, quiet)
    with open_run(out, Begun(kind="active", decides=decides(recipe)), resume=resume):
        write_text(out / SAVED, recipe.to_yaml())
        rounds = rounds_in(out)
        while (reason := reason_to_end(recipe, rounds)) is None:
            facts = _round(loop, rounds, tuned)
            if not isinstance(facts, RoundFacts):
                reason = facts
                break
            ROUND.write(loop.folder(facts.number), facts)
            tell(facts.number, facts)
            rounds.append(facts)
        return _end(loop, rounds, reason)


def decides(recipe: ActiveRecipe) -> dict[str, JsonValue]:
    """Return what decides a loop, by role; of the engine that are its labels, not how many workers it has."""
    idle = (*BUDGET, "engine", "executor", "store")
    recipe = recipe.model_copy(update={"tune": {key: value for key, value in recipe.tune.items() if key != "audit"}})
    options = {role: value for role, value in by_option(recipe).items() if role.split()[1].split(".")[0] not in idle}
    named = [*recipe.start, *recipe.train, *recipe.test]
    hashes = {name: file_hash(Path(name)) for name in named if Path(name).is_file()}
    return {**options, **hashes, "the engine": engine_key(engine_of(recipe))}


def refuse_unfit_recipe(recipe: ActiveRecipe, stages: Stages) -> Recipe:
    """Refuse, before anything is computed, what cannot be carried out; return the recipe that each round tunes by."""
    for name in (*recipe.start, *recipe.train, *recipe.test):
        if not Path(name).exists():
            raise DataError("there is no such file", where=name)
    tuned = make_recipe(None, (), verb="tune", train=recipe.train or "learn.extxyz", **recipe.tune).named()[0]
    if tuned.heads_by:
        raise OptionError("a loop tunes a model of one head", allowed=["a strategy other than multihead"])
    if not tuned.uncertainty:
        raise OptionError("uncertainty=false leaves a loop without a gate", remedy="leave it out")
    refuse_unknown(recipe.foundation)
    for block in recipe.sample:
        block.refuse_unread()
    stages.refuse(recipe)
    return tuned


# ------------------------------------------------------------------------------------------------------------- a round


def _round(loop: Loop, rounds: Sequence[RoundFacts], tuned: Recipe) -> RoundFacts | Reason:
    """Conduct a round; return why the loop ends within it, where it does."""
    number = len(rounds)
    loop.folder(number).mkdir(parents=True, exist_ok=True)
    from_own = number == 0 and bool(loop.recipe.train)  # frames of one's own are learned from first
    if not from_own and (reason := _frames_of_round(loop, rounds)) is not None:
        return reason
    if over := spent_budget(loop.recipe, rounds, _spent(loop, number)):
        return over
    with _timed(loop, number, "tune"):
        _tune(loop, number, tuned)
    if loop.recipe.check is not None and CHECKED.find(loop.folder(number) / RUN / PHYSICS) is None:
        with _timed(loop, number, "check"):
            loop.stages.check(loop.folder(number) / RUN, loop.recipe, loop.quiet)
    return _facts(loop, number, rounds)


def _frames_of_round(loop: Loop, rounds: Sequence[RoundFacts]) -> Reason | None:
    """Sample, select, label and merge; return why the loop ends, where there is nothing to label."""
    number, folder = len(rounds), loop.folder(len(rounds))
    for k, block in enumerate(loop.recipe.sample):
        if sampled_file(k).find(folder) is None:
            with _timed(loop, number, "sample"):
                sampled_file(k).write(folder, loop.stages.sample(loop, number, k, block))
        if over := spent_budget(loop.recipe, rounds, _spent(loop, number)):
            return over
    if (selected := SELECTED.find(folder)) is None:
        with _timed(loop, number, "select"):
            selected = loop.stages.select(loop, number, frames_of_round(loop.recipe, rounds))
            SELECTED.write(folder, selected)
    if not selected.chosen:
        return "nothing to label"
    if LABELLED.find(folder) is None:
        with _timed(loop, number, "label"):
            labelled = loop.stages.label(loop, number)
            _refuse_none_labelled(loop, number, labelled)
            LABELLED.write(folder, labelled)
    MERGED.stage(folder, lambda: merge_labelled(folder, number, rounds))
    return None if loop.recipe.train or loop.files(LEARN, number) else "nothing to label"


def _refuse_none_labelled(loop: Loop, number: int, labelled: Labelled) -> None:
    """Raise a RunError where each calculation of a round failed: the engine is at fault, and not the frames.

    The stage counts as not done, so that the loop goes on with it when the engine is mended.
    """
    if labelled.n_labelled or not labelled.failures:
        return
    reasons = list(dict.fromkeys(one.reason for one in labelled.failures))
    end = f"; or end it with the rounds that are done (rounds={number})" if number else ""
    raise RunError(
        f"none of the {labelled.n_asked} chosen frames of round {number} got a label",
        where=f"engine {labelled.engine}",
        causes=[RunError(reason) for reason in reasons[:MOST_REASONS]],
        remedy=f"mend what the engine needs, and go on with the loop: these frames are computed again{end}",
        commands=[("matgraft", "active", "--resume", loop.out)],
    )


def _tune(loop: Loop, number: int, tuned: Recipe) -> None:
    """Tune on all frames to learn from; all frames to score on are the test.

    Raises
    ------
    AuditError
        If a finding on the labels blocks the fit; it says how the loop goes on where it is allowed.
    """
    train = [*loop.recipe.train, *loop.files(LEARN, number)]
    given = {"train": tuple(train), "test": tuple(loop.scored_on(number)) or None}
    try:
        loop.stages.tune(tuned.model_copy(update=given), _clean(loop.folder(number) / RUN), loop.quiet)
    except AuditError as error:
        allow = [{f"tune.{name}": codes for name, codes in one.items()} for one in error.options]
        begun = LABELLED.find(loop.folder(number)) is not None
        raise AuditError(
            f"the labels of round {number}: {error.found}",
            where=error.where,
            causes=[AuditError(one.found, where=one.where, remedy=one.remedy) for one in error.causes],
            remedy="see whether the engine is right; if you know better, allow the findings",
            options=[] if begun else allow,
            commands=[("matgraft", "active", "--resume", loop.out, *_words(one)) for one in allow] if begun else [],
        ) from error


def _words(options: Mapping[str, object]) -> list[str]:
    return [word(name, value) for name, value in options.items()]


def _clean(run: Path) -> Path:
    """Return the folder of a fit without what one left that was killed before it had written down what it does."""
    if run.is_dir() and not (run / "recipe.yaml").is_file():
        remove(run)
    return run


def _facts(loop: Loop, number: int, rounds: Sequence[RoundFacts]) -> RoundFacts:
    """Read back what the stages of a round left, and score the model before it on its frames."""
    folder, before = loop.folder(number), loop.model(number)
    pool = [sampled_file(k).find(folder) for k in range(len(loop.recipe.sample))]
    selected, labelled = SELECTED.find(folder), LABELLED.find(folder)
    merged = MERGED.find(folder) or Merged(learn=0, audit=0, n_learn=0, n_audit=0)
    scores, verdict = METRICS.read(folder / RUN), VERDICT.read(folder / RUN)
    checked = CHECKED.find(folder / RUN / PHYSICS)
    scored_on = loop.scored_on(number)
    return RoundFacts(
        number=number,
        n_pool=sum(one.n_frames for one in pool if one),
        outside=selected.outside if selected else None,
        asked=labelled.n_asked if labelled else 0,
        labelled=labelled.n_labelled if labelled else 0,
        failed=len(labelled.failures) if labelled else 0,
        from_store=labelled.n_from_store if labelled else 0,
        dft_frames=(rounds[-1].dft_frames if rounds else 0) + (labelled.n_labelled if labelled else 0),
        n_learn=merged.n_learn,
        n_audit=merged.n_audit,
        part=scores.part,
        errors=Errors.of(scores.test),
        fresh=loop.stages.evaluate(before, [str(folder / AUDIT)]) if number and merged.audit else None,
        before=loop.stages.evaluate(before, scored_on) if number and scored_on else None,
        outcome=verdict.outcome,
        level=verdict.level,
        fit_for=checked.verdict.outcome if checked else None,
        seconds=SECONDS.find(folder) or {},
    )


@contextmanager
def _timed(loop: Loop, number: int, stage: Stage) -> Iterator[None]:
    """Tell that a stage begins, and add its seconds to those of the round when it ends."""
    loop.tell(number, stage)
    began = time.monotonic()
    yield
    known = SECONDS.find(loop.folder(number)) or {}
    SECONDS.write(loop.folder(number), {**known, stage: known.get(stage, 0.0) + time.monotonic() - began})


def _spent(loop: Loop, number: int) -> float:
    return sum((SECONDS.find(loop.folder(number)) or {}).values())


# ------------------------------------------------------------------------------------------------------------- the end


def _end(loop: Loop, rounds: Sequence[RoundFacts], reason: Reason) -> Ended:
    """Score all models on the same frames, and write how the loop ended."""
    scored_on = loop.scored_on(len(rounds))
    points = [
        CurvePoint(
            number=one.number,
            dft_frames=one.dft_frames,
            errors=loop.stages.evaluate(str(loop.folder(one.number) / RUN), scored_on),
        )
        for one in rounds
        if scored_on
    ]
    CURVE.write(loop.out, Curve(points=tuple(points)))
    begun = LABELLED.find(loop.folder(len(rounds)))
    ended = Ended(
        reason=reason,
        rounds=len(rounds),
        dft_frames=(rounds[-1].dft_frames if rounds else 0) + (begun.n_labelled if begun else 0),
        model=str((loop.folder(len(rounds) - 1) / RUN).relative_to(loop.out)) if rounds else "",
        lacking=lacking(loop.recipe, rounds) if rounds else ("no round was finished",),
    )
    ENDED.write(loop.out, ended)
    return ended
