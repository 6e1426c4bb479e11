"""What does the work in a loop: each stage as a function."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matgraft.core.executor import read_executor
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.files import remove
from matgraft.core.manifest import is_there
from matgraft.core.settings import validated
from matgraft.potentials.active.labelling.engine import Engine, read_engine, refuse_no_program
from matgraft.potentials.active.labelling.engine import refuse_unusable as refuse_unusable_engine
from matgraft.potentials.active.labelling.labelled import Labelled
from matgraft.potentials.active.labelling.theories import settled
from matgraft.potentials.active.rounds import AUDIT, CHOSEN, LABELLED_FRAMES, LEARN, Errors
from matgraft.potentials.active.sampling.sampled import Sampled
from matgraft.potentials.active.sampling.settings import SampleSettings
from matgraft.potentials.active.selection.selected import Selected
from matgraft.potentials.active.settings import ActiveRecipe
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.report.physics import write_physics
from matgraft.potentials.report.run import write_report
from matgraft.potentials.run.check import CheckQuestion, check
from matgraft.potentials.run.conduct import resume_run, tune_frames
from matgraft.potentials.run.evaluation import evaluate_run
from matgraft.potentials.run.label import label, like_frames, refuse_other_theory
from matgraft.potentials.run.loop import Loop, Stages
from matgraft.potentials.run.sample import SampleQuestion, sample
from matgraft.potentials.run.select import select
from matgraft.potentials.run_files import checked_folders

EACH_ROUND = 1000
"""Between the seeds of two rounds."""
EACH_BLOCK = 1_000_000
"""Between those of two blocks of sampling: walkers of none are pushed by the random forces of another."""


def sample_block(loop: Loop, number: int, block: int, settings: SampleSettings) -> Sampled:
    """Sample frames by the model that the round begins with."""
    pool = loop.folder(number) / f"pool-{block}.extxyz"
    remove(pool)  # of a round that was killed before it said what is in it
    seed = settings.seed + loop.recipe.seed + EACH_ROUND * number + EACH_BLOCK * block
    question = SampleQuestion(pool, loop.recipe.start, executor_of(loop.recipe), in_loop=True)
    return sample(loop.model(number), question, settings.model_copy(update={"seed": seed}), quiet=loop.quiet)


def select_frames(loop: Loop, number: int, n: int) -> Selected:
    """Choose frames of the pools, unlike all that is labelled; failed checks of the model before add theirs."""
    folder, model, settings = loop.folder(number), loop.model(number), loop.recipe.select
    named = (folder / f"pool-{block}.extxyz" for block in range(len(loop.recipe.sample)))
    pools = [one for one in named if is_there(one)]
    known = [*loop.recipe.train, *loop.recipe.test, *loop.files(LEARN, number - 1), *loop.files(AUDIT, number - 1)]
    seed = settings.seed + loop.recipe.seed + EACH_ROUND * number
    return select(
        model,
        pools,
        n,
        settings.model_copy(update={"seed": seed}),
        beside=known,
        checks=number > 0 and bool(checked_folders(Path(model))),
        out=folder / CHOSEN,
        quiet=loop.quiet,
    )


def label_frames(loop: Loop, number: int) -> Labelled:
    """Label the chosen frames; labels are kept in the store of the loop as they come.

    Where each of them failed before, the loop ended with that: the engine was mended, and they are computed again.
    """
    folder, recipe = loop.folder(number), loop.recipe
    learned = [*recipe.train, *loop.files(LEARN, number - 1)]
    labels = partial(
        label,
        [folder / CHOSEN],
        engine_of(recipe),
        out=folder / LABELLED_FRAMES,
        store=Path(recipe.store) if recipe.store else loop.out / "labels",
        against=like_frames(learned) if learned else None,
        quiet=loop.quiet,
    )
    found = labels()
    failed_before = not found.n_labelled and all(one.before for one in found.failures)
    return labels(retry_failed=True) if failed_before else found


def refuse_unusable_recipe(recipe: ActiveRecipe) -> None:
    """Refuse what cannot be carried out: engine, executor, and labels at another level of theory than `train` has."""
    engine = settled(engine_of(recipe))
    refuse_no_program(engine)
    executor_of(recipe)
    if recipe.train:
        refuse_other_theory(engine, like_frames(recipe.train))


def executor_of(recipe: ActiveRecipe) -> ExecutorSettings:
    """Return where walkers run."""
    return read_executor(Path(recipe.executor) if recipe.executor else None)


def engine_of(recipe: ActiveRecipe) -> Engine:
    """Return the engine, from its file or from the recipe."""
    if isinstance(recipe.engine, str):
        return read_engine(Path(recipe.engine))
    engine = validated(Engine, recipe.engine, "engine")
    refuse_unusable_engine(engine)
    return engine


def tune_round(recipe: Recipe, run: Path, quiet: bool) -> None:
    """Tune, or go on with a fit that was killed."""
    if (run / "recipe.yaml").is_file():
        resume_run(run, quiet=quiet)
    else:
        tune_frames(recipe, run, quiet=quiet)


def check_round(run: Path, recipe: ActiveRecipe, quiet: bool) -> None:
    """Check the model of a round on the structures that the loop begins with, or on those of its own frames."""
    write_physics(check(run, CheckQuestion(recipe.start), recipe.check, quiet=quiet))
    write_report(run)


def errors_on(run: str, files: Sequence[str]) -> Errors:
    """Score a run on frames that it has not learned from."""
    return Errors.of(evaluate_run(Path(run), [Path(one) for one in files], quiet=True).test)


STAGES = Stages(
    sample=sample_block,
    select=select_frames,
    label=label_frames,
    tune=tune_round,
    check=check_round,
    evaluate=errors_on,
    refuse=refuse_unusable_recipe,
)
"""Those that do the work of `matgraft active`."""
