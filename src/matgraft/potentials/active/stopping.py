"""When a loop ends: rules on figures alone.

In this order: what was asked for is reached; rounds, DFT frames or hours are spent; further frames gain too little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matgraft.core.verdict import Outcome
from matgraft.potentials.active.rounds import Reason, RoundFacts
from matgraft.potentials.active.settings import ActiveRecipe, StopSettings


def reason_to_end(recipe: ActiveRecipe, rounds: Sequence[RoundFacts]) -> Reason | None:
    """Return why the loop ends after these rounds; None where it goes on."""
    if not rounds:
        return None
    if not lacking(recipe, rounds):
        return "goal"
    if spent := spent_budget(recipe, rounds):
        return spent
    return "no gain" if _gains_too_little(recipe.stop, rounds) else None


def spent_budget(recipe: ActiveRecipe, rounds: Sequence[RoundFacts], seconds: float = 0.0) -> Reason | None:
    """Return which budget is spent; `seconds` are those of stages of the round that is not done."""
    stop, last = recipe.stop, rounds[-1] if rounds else None
    if last and last.number + 1 >= recipe.rounds:
        return "rounds"
    if last and stop.frames is not None and stop.frames - last.dft_frames < 2:
        return "frames"
    used = seconds + sum(sum(one.seconds.values()) for one in rounds)
    return "hours" if stop.hours is not None and used >= 3600 * stop.hours else None


def frames_of_round(recipe: ActiveRecipe, rounds: Sequence[RoundFacts]) -> int:
    """Return how many frames the next round may have labelled."""
    spent = rounds[-1].dft_frames if rounds else 0
    return recipe.per_round if recipe.stop.frames is None else min(recipe.per_round, recipe.stop.frames - spent)


def lacking(recipe: ActiveRecipe, rounds: Sequence[RoundFacts]) -> tuple[str, ...]:
    """Return in words what was asked for and is not reached."""
    return (*_checks(recipe, rounds), *_targets(recipe.stop, rounds))


def _checks(recipe: ActiveRecipe, rounds: Sequence[RoundFacts]) -> Iterator[str]:
    if recipe.check and recipe.check.uses and rounds[-1].fit_for != Outcome.FIT:
        yield f"the checks for {', '.join(recipe.check.uses)}: {rounds[-1].fit_for or 'not run'}"


def _targets(stop: StopSettings, rounds: Sequence[RoundFacts]) -> Iterator[str]:
    """Yield each target that was missed in one of the last rounds; errors on validation frames reach none."""
    wanted = (
        ("energy", "meV/atom", stop.energy_meV_per_atom, lambda one: one.errors.energy_meV_per_atom),
        ("forces", "eV/Å", stop.forces_eV_per_A, lambda one: one.errors.forces_eV_per_A),
    )
    last = rounds[-stop.on_target :]
    for name, unit, target, error in wanted:
        if target is None:
            continue
        met = [one.part == "test" and (value := error(one)) is not None and value <= target for one in last]
        if len(last) < stop.on_target or not all(met):
            now = error(rounds[-1])
            yield f"error of {name} {'unknown' if now is None else f'{now:.3g} {unit}'}, {_wanted(target, unit, stop)}"
    if stop.outside is not None:
        shares = [one.outside for one in last]
        if len(last) < stop.on_target or any(share is None or share > stop.outside for share in shares):
            now = rounds[-1].outside
            said = "unknown" if now is None else f"{100 * now:.0f} %"
            yield f"sampled frames outside of the gate {said}, {_wanted(100 * stop.outside, '%', stop)}"


def _wanted(target: float, unit: str, stop: StopSettings) -> str:
    return f"at most {target:g} {unit} wanted in {stop.on_target} round{'s' * (stop.on_target != 1)} one after another"


def _gains_too_little(stop: StopSettings, rounds: Sequence[RoundFacts]) -> bool:
    if not stop.gain:
        return False
    last = [one.gain for one in rounds[-stop.on_target :]]
    return len(last) == stop.on_target and all(gain is not None and gain < stop.gain for gain in last)
