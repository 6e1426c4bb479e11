"""The suite of `matgraft.testing` on the potential that ``--matgraft-backbone`` names."""

from __future__ import annotations

from importlib import import_module

import pytest

from matgraft.conformance import OPTION
from matgraft.core.errors import MatgraftError
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.registry import POTENTIALS, load_potential
from matgraft.testing import PotentialConformance


class TestBackbone(PotentialConformance):
    """The tests are those that it inherits."""

    @pytest.fixture(scope="class")
    @classmethod
    def potential(cls, request: pytest.FixtureRequest) -> Potential:
        """Load the potential once."""
        return potential_named(request.config.getoption(OPTION))


def potential_named(name: str) -> Potential:
    """Return the potential of a name; pytest ends with a sentence where there is none."""
    module, _, function = name.partition(":")
    try:
        if module in POTENTIALS or not function.isidentifier():
            return load_potential(name)
        potential = getattr(import_module(module), function)()
    except (MatgraftError, ImportError, AttributeError) as error:
        raise pytest.UsageError(f"{OPTION} {name}: {error}") from error
    if not isinstance(potential, Potential):
        raise pytest.UsageError(f"{OPTION} {name}: it returns a {type(potential).__name__}, no Potential")
    return potential
