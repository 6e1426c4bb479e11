"""From a recipe to a run folder: the only conductor.

    read -> predict (foundation) -> audit -> split -> references -> adapt -> evaluate, check -> model, verdict, report

Each step leaves its facts in the folder, written atomically, before the next begins:

    recipe.yaml  provenance.json  audit.json  coverage.json  split.json  references.json  (ladder.json)  history.csv
    fit.json  checkpoints/  model/  predictions.parquet  metrics.json  seen.json  checks.json  verdict.json  report.html

With strategy multihead there is a model a head, model/PBE/ and so on, with model/heads.json beside them.

A run that was killed is conducted again from its recipe; the fit goes on from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matgraft.core.errors import OptionError, RunError
from matgraft.core.files import write_json
from matgraft.core.findings import Finding
from matgraft.core.run_folder import refuse_full_folder, resume_commands
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.registry import load_potential
from matgraft.potentials.recipe import Recipe, make_recipe
from matgraft.potentials.report.html import write_report
from matgraft.potentials.run.fitting import adapt_by_recipe, references_for, refuse_idle_options, write_fit
from matgraft.potentials.run.frames import (
    audited,
    divide,
    foundation_predictions,
    look,
    open_folder,
    part_frames,
    read_parts,
)
from matgraft.potentials.run.outcome import check_parts, evaluate_parts, judge, save_model
from matgraft.potentials.run.sources import write_provenance


def tune(recipe: Recipe, out: Path, *, resume: bool = False, quiet: bool = False) -> Path:
    """Conduct a run.

    Parameters
    ----------
    out
        The run folder: new or empty, unless `resume`.
    quiet
        No progress bars.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    AuditError
        If a finding blocks; audit.json has them all.
    """
    recipe, _ = recipe.named()
    if not resume:
        refuse_full_folder(out)
        recipe.refuse_unread("tune", recipe.changed())
    parent = load_potential(recipe.foundation)
    train, test = read_parts(recipe)
    refuse_idle_options(recipe, parent, train)
    division = divide(recipe, train, given_test=len(test) > 0)
    # Not before: where something is refused, no folder stands in the way of the next try, and no recipe is replaced.
    out.mkdir(parents=True, exist_ok=True)
    write_provenance(recipe, parent.card, train, test, out, resume)
    open_folder(out, recipe)
    on_train, refused = foundation_predictions(parent, train, quiet)
    on_test, refused_test = foundation_predictions(parent, test, quiet, "test")
    unfit = [(train, refused), (test, refused_test)]
    findings = audited(recipe, parent, train, on_train, unfit, out)
    parts = part_frames(recipe, division, train, test, on_train, on_test, out)
    references = references_for(recipe, parts)
    write_json(out / "references.json", references.model_dump() | {"text": references.text})
    adapted, chosen = adapt_by_recipe(recipe, parent, parts, references, out, resume, quiet)
    write_fit(adapted, recipe, parts.train, out)
    summary = evaluate_parts(recipe, adapted.backbone, parts, references, out)
    save_model(recipe, parent, adapted, parts, summary, out)
    findings = [*findings, *check_parts(recipe, parent, adapted, parts, out, quiet)]
    write_json(out / "verdict.json", judge(summary, findings, adapted, parts, chosen, out).model_dump())
    return write_report(out)


def resume_run(out: Path, *, quiet: bool = False) -> Path:
    """Go on with a run that was broken off; a finished one only gets its report again."""
    recipe = saved_recipe(out)
    if (out / "verdict.json").is_file():
        return write_report(out)
    return tune(recipe, out, resume=True, quiet=quiet)


def saved_recipe(run: Path, options: Sequence[str] = (), verb: str = "") -> Recipe:
    """Return the recipe of a run folder, with some values replaced, which the verb must read.

    Raises
    ------
    OptionError
        If the run reads formulas: it has no recipe.
    RunError
        If the folder is none.
    """
    file = run / "recipe.yaml"
    if not file.is_file() and resume_commands(run):
        raise OptionError(
            "this run reads formulas, not structures",
            where=str(run),
            remedy="`matgraft predict` predicts formulas with it, and `matgraft crossval` scores such a predictor",
        )
    if not file.is_file():
        raise RunError("this is no run: recipe.yaml is missing", where=str(run))
    return make_recipe(file, options, verb=verb)


def audit_file(recipe: Recipe, *, quiet: bool = False) -> tuple[Dataset, list[Finding]]:
    """Read the training file and audit it against the foundation, without a run."""
    parent = load_potential(recipe.foundation)
    train, test = read_parts(recipe)
    predictions, refused = foundation_predictions(parent, train, quiet)
    _, refused_test = foundation_predictions(parent, test, quiet, "test")
    return train, look(recipe, parent, train, predictions, [(train, refused), (test, refused_test)])
