"""From a recipe to a run folder: the only conductor.

    open    recipe and frames read, looked at without a foundation, foundation loaded, options held against both,
            folder made
    stages  predictions of the foundation -> audit -> split -> references -> fit -> scores -> model -> uncertainty ->
            checks -> verdict
    close   report

Each stage leaves its file in the folder, whole or not at all (`matgraft.potentials.run_files`), before the next one
begins:

    run.json  recipe.yaml  provenance.json  audit.json  coverage.json  split.json  references.json  (ladder.json)
    history.csv  fit.json  checkpoints/  seen.json  predictions.parquet  metrics.json  model/  checks.json  verdict.json
    report.html

With strategy multihead there is a model a head, model/PBE/ and so on, with model/heads.json beside them.

A run that was killed is conducted again from its recipe: what a stage left is read back, and the fit goes on from its
last checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from matgraft.core.files import write_text
from matgraft.core.findings import Finding, Findings, blocking
from matgraft.core.locks import works_in
from matgraft.core.run_folder import Begun, open_run, refuse_full_folder
from matgraft.potentials.audit.coverage import Coverage, coverage
from matgraft.potentials.checks.checked import CHECKED
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.seen import SeenFrames, fingerprints
from matgraft.potentials.models.registry import load_potential, refuse_unknown
from matgraft.potentials.recipe import Recipe, saved_recipe
from matgraft.potentials.report.run import write_report
from matgraft.potentials.run.check import check_run
from matgraft.potentials.run.correction import begin_at_zero, learned_from, refuse_idle_delta
from matgraft.potentials.run.fitting import adapt_by_recipe, refuse_idle_options, write_fit
from matgraft.potentials.run.frames import (
    divide,
    look,
    look_at_card,
    look_first,
    part_frames,
    predict_frames,
    read_parts,
    refuse_blocking,
    refuse_unknown_tables,
    unasked,
    whole_split,
)
from matgraft.potentials.run.outcome import (
    Needs,
    check_forgetting,
    fit_uncertainties,
    judge,
    save_model,
    score,
)
from matgraft.potentials.run.references import referenced, references_for
from matgraft.potentials.run_files import (
    AUDIT,
    CHECKS,
    COVERAGE,
    FIT,
    METRICS,
    MODEL,
    PHYSICS,
    PROVENANCE,
    RECIPE,
    REFERENCES,
    SEEN,
    SPLIT,
    VERDICT,
)
from matgraft.potentials.sources import sources_of
from matgraft.potentials.tuning.purposes import PURPOSES

_log = logging.getLogger(__name__)
TOLD = (FIT.name, METRICS.name, CHECKS.name, MODEL)
"""What a run is told from beside its verdict; where one is missing, its stage is conducted again."""


Tell = Callable[[Sequence[Finding]], object]
"""Is given what the first looks found, before a foundation is loaded."""


@works_in("out", new=True)
def tune_frames(
    recipe: Recipe, out: Path, *, resume: bool = False, quiet: bool = False, tell: Tell | None = None
) -> Path:
    """Conduct a run.

    Parameters
    ----------
    out
        The run folder: new or empty, unless `resume`.
    quiet
        No progress bars.
    tell
        Shows what the first looks found.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    AuditError
        If a finding blocks; the run leaves nothing behind then.
    """
    recipe, _ = recipe.named()
    if not resume:
        refuse_full_folder(out)
        recipe.refuse_unread("tune", recipe.changed())
    refuse_unknown(recipe.foundation)
    train, test = read_parts(recipe)
    _log.info("%d frames are read, and %d to test on", len(train), len(test))
    judged = AUDIT.find(out) if resume else None
    first = () if judged else told_first(recipe, train, test, tell)
    refuse_blocking(first, recipe)
    refuse_unknown_tables(recipe, train, test)
    foundation = load_potential(recipe.foundation)
    _log.info("the foundation is %r", foundation)
    refuse_idle_delta(recipe, foundation.card, train)
    learned, to_score = learned_from(recipe, train), learned_from(recipe, test)
    refuse_idle_options(recipe, foundation, learned, to_score)
    first = first if judged else (*first, *look_at_card(recipe, foundation.card, train))
    refuse_blocking(first, recipe)
    division = divide(recipe, learned, given_test=len(test) > 0)
    recipe, learned = fit_to_purpose(recipe, learned, division.train)
    sources = sources_of(recipe, foundation.card, replace(train, provenance=learned.provenance), test)
    # Not before: where something is refused, no recipe is replaced.
    with open_run(out, Begun(kind="frames", decides=sources.decides), resume=resume):
        write_text(out / RECIPE, recipe.to_yaml())
        PROVENANCE.write(out, sources)

        frames = predict_frames(foundation, train, test, quiet)
        audit = AUDIT.stage(out, lambda: Findings(findings=look(recipe, foundation.card, frames, first)))
        covered = COVERAGE.stage(out, lambda: coverage(train, recipe.scores.phases))
        refuse_blocking(audit.findings, recipe)
        if recipe.corrects:
            foundation, frames = begin_at_zero(foundation, frames, learned, to_score)
        known = referenced(recipe, train, test)
        split = SPLIT.stage(
            out, lambda: whole_split(division, train, test, by_head=bool(recipe.heads_by), referenced=known)
        )
        parts = part_frames(frames, split)
        counts = len(parts.train), len(parts.validation), len(parts.test)
        _log.info("the split: %d frames to train on, %d to validate on, %d to test on", *counts)
        held = (parts.validation, parts.test, parts.inside)
        references = REFERENCES.stage(
            out, lambda: references_for(recipe, parts.train, parts.on_train, foundation, *held)
        )
        adapted, chosen = adapt_by_recipe(recipe, foundation, parts, references, out, resume, quiet)
        FIT.stage(out, lambda: write_fit(adapted, parts.train, out))
        _log.info("the fit is done; scores and checks follow")
        SEEN.stage(out, lambda: SeenFrames(train=fingerprints(parts.train), validation=fingerprints(parts.validation)))
        scores = METRICS.stage(out, lambda: score(adapted, parts, recipe.scores, out))
        save_model(recipe, foundation, adapted, parts, scores, out)
        if recipe.uncertainty:
            fit_uncertainties(adapted, parts, out, seed=recipe.seed, quiet=quiet)
        checks = CHECKS.stage(
            out, lambda: check_forgetting(recipe.forgetting, foundation, adapted, parts, out, quiet=quiet)
        )
        VERDICT.stage(
            out, lambda: judge(scores, adapted, parts, audit, checks, needs_of(recipe, covered, parts.train), chosen)
        )
        if recipe.check is not None:
            check_run(out, recipe.check, quiet=quiet)
        return write_report(out)


def fit_to_purpose(recipe: Recipe, frames: Dataset, train: Sequence[int]) -> tuple[Recipe, Dataset]:
    """Set the weights of the loss that a purpose sets; a note of the frames says which.

    Parameters
    ----------
    train
        Positions of the frames to train on.
    """
    if recipe.purpose is None:
        return recipe, frames
    loss, line = PURPOSES[recipe.purpose].weigh(recipe.loss, frames[train])
    provenance = frames.provenance.model_copy(update={"notes": (*frames.provenance.notes, line)})
    return recipe.model_copy(update={"loss": loss}), replace(frames, provenance=provenance)


def needs_of(recipe: Recipe, covered: Coverage, train: Dataset) -> Needs:
    """Return the uses that the frames do not speak for, and what a purpose demands in vain of those to train on."""
    if not recipe.purpose:
        return Needs(covered.missing)
    purpose = PURPOSES[recipe.purpose]
    if not (unmet := purpose.unmet(coverage(train, recipe.scores.phases), train)):
        return Needs(covered.missing)
    return Needs((purpose.not_fit(unmet), *covered.missing), (purpose.caution(unmet),))


def told_first(recipe: Recipe, train: Dataset, test: Dataset, tell: Tell | None) -> tuple[Finding, ...]:
    """Look at the frames without a foundation, and tell what was found; what blocks is told at the end."""
    first = look_first(recipe, train, test)
    if tell is not None and not blocking(first, recipe.audit.allow):
        tell(first)
    return first


@works_in("out")
def resume_run(out: Path, *, quiet: bool = False, tell: Tell | None = None) -> Path:
    """Go on with a run that was stopped; a finished one, which lacks nothing, only gets its report again."""
    recipe = saved_recipe(out)
    checked = recipe.check is None or any((out / PHYSICS).rglob(CHECKED.name))
    if VERDICT.find(out) and checked and all((out / name).exists() for name in TOLD):
        return write_report(out)
    return tune_frames(recipe, out, resume=True, quiet=quiet, tell=tell)


def audit_file(recipe: Recipe, *, quiet: bool = False, tell: Tell | None = None) -> tuple[Dataset, list[Finding]]:
    """Read the training file and audit it against the foundation, without a run.

    Where something blocks that needs no foundation, none is asked: the looks that would ask it say so.
    """
    refuse_unknown(recipe.foundation)
    train, test = read_parts(recipe)
    first = told_first(recipe, train, test, tell)
    if blocking(first, recipe.audit.allow):
        return train, list(unasked(recipe, train, first))
    foundation = load_potential(recipe.foundation)
    first = (*first, *look_at_card(recipe, foundation.card, train))
    if blocking(first, recipe.audit.allow):
        return train, list(unasked(recipe, train, first))
    frames = predict_frames(foundation, train, test, quiet)
    return train, list(look(recipe, foundation.card, frames, first))
