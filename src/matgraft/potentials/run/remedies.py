"""From what an audit found to options that can be typed after the very command that ran it.

A look counts frames in the dataset that it was given, and knows nothing of a recipe. Here frames get the numbers that
they have in their files, and an action keeps what the recipe says already under the same option: whoever types it loses
nothing. An action that the recipe cannot take is not offered.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from matgraft.core.findings import DROP, Action, Finding, Part
from matgraft.core.quantities import compose_shears
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.numbering import numbers_of_frames
from matgraft.potentials.recipe import Recipe

_ONE_LABEL = {"units.stress": "virial", "units.virial": "stress"}
"""Options of which one takes the place of the other, since a stress and a virial are one label."""


_LABEL_OF = {
    **dict.fromkeys(("energy-unit", "energy-per-atom", "theory-labels"), "energy"),
    **dict.fromkeys(("force-unit", "net-force"), "forces"),
    **dict.fromkeys(("stress-unit", "stress-sign", "stress-shear"), "stress"),
}
"""Code -> the label that it is on."""


def unwanted_warns(finding: Finding, recipe: Recipe) -> Finding:
    """Return a finding on a label that the recipe does not want as a warning: what is not learned spoils nothing.

    A label is not wanted if it has no weight in the loss. The order of the shears is no reason to block either where
    the recipe says what it wants and leaves the stress out: then the option to give it no weight is offered.
    """
    quantity = _LABEL_OF.get(finding.code, "")
    if not (quantity and finding.blocks):
        return finding
    if getattr(recipe.loss, quantity) == 0:
        remedy = f"{finding.remedy}. It does not block, since loss.{quantity} is 0"
        return finding.model_copy(update={"severity": "warning", "remedy": remedy})
    if finding.code == "stress-shear" and "want" in recipe.model_fields_set and quantity not in recipe.want:
        remedy = f"{finding.remedy}, or give the {quantity} no weight. It does not block, since want leaves it out"
        actions = (*finding.actions, Action(settings={f"loss.{quantity}": 0}))
        return finding.model_copy(update={"severity": "warning", "remedy": remedy, "actions": actions})
    return finding


def as_typed(finding: Finding, frames: Dataset, recipe: Recipe) -> Finding:
    """Return a finding on a part of a run with its frames numbered by file and its actions complete.

    Parameters
    ----------
    frames
        What was audited: the part without the frames that the recipe leaves out.
    """
    samples = [frames.samples[i] for i in finding.frames]
    actions = [_complete(action, finding.part, frames, recipe) for action in finding.actions]
    update = {
        "frames": tuple(sample.index for sample in samples),
        "files": tuple(sample.file for sample in samples),
        "actions": tuple(action for action in actions if action is not None),
    }
    return finding.model_copy(update=update)


def _complete(action: Action, part: Part, frames: Dataset, recipe: Recipe) -> Action | None:
    settings: dict[str, JsonValue] = {}
    for key, value in action.settings.items():
        if _ONE_LABEL.get(key) in recipe.units:
            settings[f"units.{_ONE_LABEL[key]}"] = None
        settings[key] = _shear(recipe.shear, value) if key == "shear" else value
    if "shear" in settings and settings["shear"] is None:
        return None
    if action.drop:
        if len(set(action.drop)) == len(frames):
            return None  # nothing would be left to train on
        already = recipe.audit.drop if part == "train" else recipe.audit.drop_test
        settings[DROP[part]] = numbers_of_frames(frames, action.drop, already, DROP[part])
    return Action(settings=settings, part=part)


def _shear(said: str | Mapping[str, str] | None, found: JsonValue) -> JsonValue:
    """Return the order that is right for labels read with one order and found in another; None if nothing can say it.

    What a recipe says is of all frames or of groups, never both.
    """
    if not said:
        return found
    if isinstance(said, str):
        return compose_shears(said, found) if isinstance(found, str) else None
    if not isinstance(found, dict):
        return None
    composed = {group: compose_shears(said.get(group, "yz,xz,xy"), str(order)) for group, order in found.items()}
    return {**said, **composed}
