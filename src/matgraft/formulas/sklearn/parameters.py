"""Parameters of estimators: settings inside settings, seeds and groups."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from pydantic import BaseModel
from sklearn.utils import check_random_state

from matgraft.core.errors import DataError
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.prompts.member import PromptSettings

NESTED: dict[str, type[BaseModel]] = {"network": NetworkSettings, "prompt": PromptSettings}
"""Parameters that hold settings of their own."""
Nested = Mapping[str, Any] | BaseModel | None
"""Some of these settings by name; None leaves all at their defaults."""


def seed_of(random_state: Any) -> int:
    """Return a seed: the number itself, or one drawn from a generator; None draws anew each time."""
    generator = check_random_state(random_state)
    return int(random_state) if isinstance(random_state, Integral) else int(generator.randint(2**31 - 1))


def given_settings(settings: Any) -> dict[str, object]:
    """Return the settings that a parameter holds by name; none where it holds nothing, or what cannot be read."""
    if isinstance(settings, BaseModel):
        return settings.model_dump()
    return dict(settings) if isinstance(settings, Mapping) else {}


def names_of_groups(groups: Any) -> list[str]:
    """Return groups as texts; an error where they have other than one dimension."""
    if np.ndim(groups) != 1:
        raise DataError(f"groups have {np.ndim(groups)} dimensions", remedy="one name a row, (n,)")
    return [str(group) for group in groups]
