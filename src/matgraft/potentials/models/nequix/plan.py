"""What the layers of a network consist of, before any of it is built: products, and the shapes of all weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from matgraft.potentials.models.convolution import Connection
from matgraft.potentials.models.nequix.configuration import NequixConfiguration

Shape = tuple[int, int]
"""Rows and columns."""


class LayerPlan(NamedTuple):
    """One layer.

    Attributes
    ----------
    leaving, before_gates
        Degree of features -> channels, that it returns, and that its gates take: a scalar more for each other channel.
    gates
        Scalars that gate.
    connections, made
        Its products and the degrees that they make, in the order of the vendor's weights.
    radial_mlp, linear_1, linear_2, skip
        Shapes of weights.
    """

    leaving: dict[int, int]
    before_gates: dict[int, int]
    gates: int
    connections: list[Connection]
    made: list[int]
    radial_mlp: list[Shape]
    linear_1: dict[int, Shape]
    linear_2: dict[int, Shape]
    skip: dict[int, Shape]


def plan_layers(made_of: NequixConfiguration) -> list[LayerPlan]:
    """Return the layers, input to output."""
    hidden = made_of.channels
    channels = [{0: len(made_of.atomic_numbers)}, *[hidden] * (made_of.n_layers - 1), {0: hidden[0]}]
    return [_plan(entering, leaving, made_of) for entering, leaving in pairwise(channels)]


def weight_shapes(made_of: NequixConfiguration) -> Iterator[tuple[int, ...]]:
    """Walk over the shapes of a network's weights, in the order of the file."""
    for plan in plan_layers(made_of):
        yield from plan.radial_mlp
        for mix in (plan.linear_1, plan.linear_2, plan.skip):
            yield from mix.values()
        yield from ((channels,) for channels in plan.before_gates.values() if made_of.layer_norm)
    yield made_of.channels[0], 1


def _plan(entering: dict[int, int], leaving: dict[int, int], made_of: NequixConfiguration) -> LayerPlan:
    gates = sum(channels for degree, channels in leaving.items() if degree)
    before_gates = {degree: channels + gates * (degree == 0) for degree, channels in leaving.items()}
    connections, made = _connections(entering, leaving, made_of.lmax)
    gathered: dict[int, int] = {}
    for one, degree in zip(connections, made, strict=True):
        gathered[degree] = gathered.get(degree, 0) + one.channels
    sizes = [made_of.radial_basis_size, *[made_of.radial_mlp_size] * made_of.radial_mlp_layers]
    sizes.append(sum(one.channels for one in connections))
    return LayerPlan(
        leaving,
        before_gates,
        gates,
        connections,
        made,
        list(pairwise(sizes)),
        _shapes(entering, entering),
        _shapes(gathered, before_gates),
        _shapes(entering, before_gates),
    )


def _shapes(entering: dict[int, int], leaving: dict[int, int]) -> dict[int, Shape]:
    return {degree: (entering[degree], channels) for degree, channels in leaving.items() if degree in entering}


def _connections(entering: dict[int, int], leaving: dict[int, int], highest: int) -> tuple[list[Connection], list[int]]:
    found, begins = [], 0
    for degree, channels in entering.items():
        part = slice(begins, begins := begins + channels * (2 * degree + 1))
        for direction in range(highest + 1):
            components = slice(direction**2, (direction + 1) ** 2)
            for made in range(abs(degree - direction), degree + direction + 1, 2):  # the parity of harmonics
                if made in leaving:
                    degrees, factor = (degree, direction, made), math.sqrt(2 * made + 1)
                    found.append((made, Connection(part, channels, degrees, components, factor)))
    found.sort(key=lambda one: one[0])  # stable, as the vendor's
    return [one for _, one in found], [made for made, _ in found]
