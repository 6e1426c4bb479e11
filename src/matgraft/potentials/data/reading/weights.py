"""Weights that a frame gives itself and its labels: MACE's names, and the plain ones.

| key                                                       | a factor on                                 |
| --------------------------------------------------------- | ------------------------------------------- |
| ``config_weight``, ``weight``                             | all of the frame                            |
| ``config_energy_weight``, ``energy_weight``               | its energy                                  |
| ``config_forces_weight``, ``forces_weight``               | its forces                                  |
| ``config_stress_weight``, ``config_virials_weight``, ...  | its stress: of both, the one for what is read |
| ``config_magmoms_weight``, ``magmom_weight``, ...         | its magnetic moments                        |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.labels import Label

FRAME_WEIGHTS = ("config_weight", "weight")
"""Keys of a frame's weight in the loss: MACE's name, and the plain one."""
_STEMS = {
    "energy": ("energy",),
    "forces": ("forces", "force"),
    "stress": ("stress", "virials", "virial"),
    "virial": ("virials", "virial", "stress"),
    "magmom": ("magmoms", "magmom"),
}


@dataclass(frozen=True)
class Weights:
    """What a frame and its labels count in the loss.

    Attributes
    ----------
    frame
        Of the frame.
    labels
        Quantity -> of that label beside; those that are not 1.
    keys
        ``"frame"`` or quantity -> key of a weight that is not 1.
    """

    frame: float
    labels: Mapping[str, float]
    keys: Mapping[str, str]


def find_weights(tags: Mapping[str, str], labels: Mapping[str, Label], where: str) -> Weights:
    """Return the weights that a frame's tags give.

    Raises
    ------
    DataError
        If one is no number from 0 up.
    """
    names = {tag.lower(): tag for tag in tags if "weight" in tag.lower()}
    if not names:
        return Weights(1.0, {}, {})
    wanted = {"frame": FRAME_WEIGHTS} | {quantity: _names(quantity, label) for quantity, label in labels.items()}
    keys = {part: names[name] for part, own in wanted.items() if (name := next((n for n in own if n in names), ""))}
    weights = {part: _number(key, tags[key], where) for part, key in keys.items()}
    other = {part: weight for part, weight in weights.items() if weight != 1.0}
    of_labels = {part: weight for part, weight in other.items() if part != "frame"}
    return Weights(other.get("frame", 1.0), of_labels, {part: keys[part] for part in other})


def _names(quantity: str, label: Label) -> tuple[str, ...]:
    stems = _STEMS["virial" if label.virial else quantity]
    return tuple(f"{prefix}{stem}_weight" for stem in stems for prefix in ("config_", ""))


def _number(key: str, text: str, where: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise DataError(f"{key}={text} is not a weight", where=where, allowed=["a number from 0 up"])
    return weight
