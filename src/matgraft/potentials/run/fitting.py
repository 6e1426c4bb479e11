"""The fit of a run: what the recipe asks of it is held against what can be, then adapted or climbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from matgraft.core.errors import OptionError, choose
from matgraft.core.files import write_text
from matgraft.core.training.execution import Execution
from matgraft.core.training.strategy import OF_FORMULAS, STRATEGIES, Replay, Strategy, make_strategy, through_network
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import head_names
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.pseudolabels import encodable
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.frames import Parts
from matgraft.potentials.run.references import refuse_idle_references
from matgraft.potentials.run_files import HISTORY
from matgraft.potentials.tuning.adapt import TunedPotential, adapt
from matgraft.potentials.tuning.climb import climb
from matgraft.potentials.tuning.facts import FitFacts, fit_facts
from matgraft.potentials.tuning.ladder import LADDER, make_rungs, refuse_idle_target
from matgraft.potentials.tuning.loss import refuse_stress_without_volume, weigh_groups, weigh_moments
from matgraft.potentials.tuning.references import References
from matgraft.potentials.tuning.replay import ReplaySettings, read_rehearsed, rehearses, rehearsing_heads
from matgraft.potentials.tuning.settings import Precomputed, TuneSettings


def refuse_idle_options(recipe: Recipe, foundation: Potential, train: Dataset, test: Dataset) -> None:
    """Raise for what the fit would refuse, before the expensive work."""
    refuse_idle_references(recipe, foundation, train, test)
    heads = head_names(train, recipe.heads.foundation) if recipe.heads_by else []
    strategies = _strategies(recipe)
    for strategy in strategies.values():
        strategy.learning(foundation)
    if _rehearses(recipe, strategies, heads):
        rehearsing_heads(foundation.card, train, heads)
    if recipe.replay.file is not None and recipe.replay.labels == "file":
        read_rehearsed(recipe.replay.file, foundation.card)
    for file in (recipe.replay.file, recipe.forgetting.file):
        if file is not None:
            encodable(foundation, read(file, want=()))  # before minutes go into a fit
    weights = weigh_moments(recipe.loss, train, tuple(foundation.quantities)).weights(train)
    _refuse_idle_moments(recipe, strategies)
    refuse_stress_without_volume(weights, train)
    refuse_idle_target(recipe.ladder.target, weights, train)
    weigh_groups(train, recipe.loss.groups)


def _refuse_idle_moments(recipe: Recipe, strategies: Mapping[str, Strategy]) -> None:
    if recipe.loss.magmom and all(strategy.cached for strategy in strategies.values()):
        raise OptionError(
            f"loss.magmom is not read with strategy {recipe.strategy.name!r}: the readout of moments does not learn",
            allowed=through_network(),
            options=[{"loss.magmom": None}, {"strategy.name": "full"}],
        )


def _rehearses(recipe: Recipe, strategies: Mapping[str, Strategy], heads: Sequence[str]) -> bool:
    """Say whether a fit rehearses that is no rung: of a ladder, which goes on without it, a rung says so itself.

    Raises
    ------
    OptionError
        If an option of replay is not read.
    """
    if recipe.strategy.name != LADDER:
        (strategy,) = strategies.values()
        return rehearses(strategy, recipe.replay, heads)
    if recipe.replay != ReplaySettings() and Replay.name not in strategies:
        raise OptionError(
            "replay is not read: no rung of the ladder uses replay", allowed=["ladder.rungs=[..., replay]"]
        )
    for strategy in strategies.values():
        if strategy.replays:
            rehearses(strategy, recipe.replay)
    return False


def _strategies(recipe: Recipe) -> dict[str, Strategy]:
    """Return the strategy of the recipe, or those of its ladder's rungs."""
    name, options = recipe.strategy.name or LADDER, recipe.strategy.model_dump(exclude={"name"})
    choose(name, {**STRATEGIES, LADDER: None}, "strategy", OF_FORMULAS)
    if name == LADDER:
        return make_rungs(recipe.ladder.rungs, **options)
    return {name: make_strategy(name, **options)}


def adapt_by_recipe(
    recipe: Recipe, foundation: Potential, parts: Parts, references: References, out: Path, resume: bool, quiet: bool
) -> tuple[TunedPotential, str]:
    """Adapt by the recipe's strategy, or climb its ladder; return also what a verdict should say of the choice."""
    strategies = _strategies(recipe)
    own = recipe.heads.foundation
    settings = TuneSettings(recipe.loss, recipe.fit, recipe.replay, bool(recipe.heads_by), own, references)
    # A model of several heads needs the head of each frame beside its graph.
    graphs = (None, None) if recipe.heads_by else (parts.train_graphs, parts.validation_graphs)
    precomputed = Precomputed(parts.on_train, parts.on_validation, *graphs)
    execution = Execution(out, recipe.seed, resume, quiet)
    if recipe.strategy.name != LADDER:
        (strategy,) = strategies.values()
        execution = replace(execution, folder=out / "checkpoints")
        adapted = adapt(
            foundation,
            parts.train,
            parts.validation,
            strategy=strategy,
            settings=settings,
            precomputed=precomputed,
            execution=execution,
        )
        return adapted, ""
    climbed = climb(
        foundation,
        parts.train,
        parts.validation,
        ladder=recipe.ladder,
        rungs=strategies,
        settings=settings,
        precomputed=precomputed,
        execution=execution,
    )
    return climbed.adapted, climbed.record.sentence


def write_fit(adapted: TunedPotential, train: Dataset, out: Path) -> FitFacts:
    """Write the rows of the fit's validations, and return how it went."""
    write_text(out / HISTORY, pd.DataFrame(adapted.fit.history).to_csv(index=False))
    return fit_facts(adapted, train)
