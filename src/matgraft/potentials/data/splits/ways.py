"""The ways of splitting, by name; any other name is a tag whose values stay together."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.core.findings import DROP
from matgraft.core.verdict import Damage
from matgraft.potentials.data.groups import Groups, find_groups
from matgraft.potentials.data.neighbours import reduced_formula
from matgraft.potentials.data.numbering import numbers_of_frames
from matgraft.potentials.data.order import in_time
from matgraft.potentials.data.splits.beside import Named, beside_the_test, split_rest
from matgraft.potentials.data.splits.blocks import cut_into_blocks
from matgraft.potentials.data.splits.deal import deal
from matgraft.potentials.data.splits.plan import Plan, Request, Way, guess_of

LEAST_TEST = 0.5
"""A group is large enough for a test with this part of the share asked for."""


def by_method(request: Request) -> Plan:
    """Split in the way that the request names, or by the tag of that name."""
    return METHODS[request.by](request) if request.by in METHODS else _by_tag(request)


def with_groups(request: Request, groups: Groups) -> Plan:
    """Split as asked; a way that parts trajectories takes the groups that were found already."""
    return WITH_GROUPS[request.by](request, groups) if request.by in WITH_GROUPS else by_method(request)


def _auto(request: Request, groups: Groups | None = None) -> Plan:
    groups = groups or find_groups(request.dataset)
    n_groups = len(set(groups.labels))
    if n_groups >= len(request.wanted):
        return _trajectory(request, groups)
    if (test := _group_for_the_test(request, groups)) is not None:
        first, second, _ = request.fractions
        shares = (first / (first + second), second / (first + second), 0.0)
        plan = split_rest(replace(request, fractions=shares), groups, test, np.flatnonzero(~test).tolist(), _auto)
        return plan.warned(
            "few-trajectories",
            Damage.DOUBT,
            "only 2 trajectories: the smaller one is the test, the other is cut for validation",
        )
    found = "a single trajectory" if n_groups == 1 else f"only {n_groups} trajectories"
    text = f"{found} ({groups.reason}): cut into contiguous blocks instead of kept whole"
    return cut_into_blocks(request, groups).warned("few-trajectories", Damage.DOUBT, text)


def _group_for_the_test(request: Request, groups: Groups) -> NDArray[np.bool_] | None:
    """Return the smaller of two guessed groups, if it is large enough for a test and nothing orders the frames in time.

    Blocks of frames without a known order leak; a group kept whole does not.
    """
    names, member, sizes = np.unique(groups.labels, return_inverse=True, return_counts=True)
    if len(names) != 2 or len(request.wanted) != 3 or not groups.guessed:
        return None
    if sizes.min() < LEAST_TEST * request.fractions[2] * len(member):
        return None
    samples = request.dataset.samples
    if all(in_time(samples, np.flatnonzero(member == k))[1] for k in range(2)):
        return None
    return np.asarray(member == np.argmin(sizes))


def _trajectory(request: Request, groups: Groups | None = None) -> Plan:
    groups = groups or find_groups(request.dataset)
    plan = _by_groups(request, "trajectory", groups.labels, groups.reason)
    return replace(plan, guess=guess_of(request.dataset.samples, groups))


def _composition(request: Request) -> Plan:
    labels = [reduced_formula(sample.content) for sample in request.dataset]
    return _by_groups(request, "composition", labels, "reduced formula")


def _chemical_system(request: Request) -> Plan:
    labels = ["-".join(sorted(set(sample.content.symbols))) for sample in request.dataset]
    return _by_groups(request, "chemical-system", labels, "set of elements")


def _by_tag(request: Request) -> Plan:
    tags = sorted({name for sample in request.dataset for name in sample.tags})
    if request.by not in tags:
        known = [*METHODS, *tags]
        raise OptionError(
            f"split.by={request.by!r} is neither a method nor a tag of the frames",
            allowed=known,
            remedy=nearest(request.by, known),
        )
    labels = request.dataset.tag(request.by)
    missing = [i for i, label in enumerate(labels) if not label.strip()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(labels)} frames have no value for {request.by!r}",
            where=request.dataset[missing[0]].where,
            remedy="fill it in, or leave these frames out",
            options=[{"split.by": "auto"}, {DROP["train"]: numbers_of_frames(request.dataset, missing)}],
        )
    return _by_groups(request, request.by, labels, f"info key {request.by!r}")


def _by_groups(request: Request, by: str, labels: Sequence[str], reason: str) -> Plan:
    n_groups, needed = len(set(labels)), len(request.wanted)
    if n_groups < needed:
        raise DataError(
            f"{n_groups} group{'s' * (n_groups != 1)} by {by} ({reason}) cannot fill {needed} parts",
            remedy="cut trajectories into contiguous blocks with gaps",
            options=[{"split.by": "blocks"}],
        )
    part = deal(labels, request.dataset.tag(request.stratum), request.fractions, request.seed)
    return Plan(by, reason, part, labels)


def _random(request: Request) -> Plan:
    labels, reason, *_ = find_groups(request.dataset)
    frames = [str(i) for i in range(len(labels))]
    part = deal(frames, request.dataset.tag(request.stratum), request.fractions, request.seed)
    return Plan("random", "asked for", part, labels).warned(
        "random-split",
        Damage.WRONG,
        f"random split over frames of {len(set(labels))} trajectories ({reason}): errors will look better than they "
        "are",
    )


def _element(request: Request) -> Plan:
    """Test: the frames with the element. Whatever shares a group with them stays out; the rest is split as by auto."""
    dataset, element = request.dataset, request.element or ""
    known = dataset.elements()
    if element not in known:
        raise OptionError(f"no frame has the element {element!r}", allowed=known, remedy=nearest(element, known))
    if request.fractions[2] == 0:
        raise OptionError("by='element' makes the test itself, but its fraction is 0")
    has = np.array([element in sample.content.symbols for sample in dataset])
    first, second, _ = request.fractions
    shares = (first / (first + second), second / (first + second), 0.0)
    inner = replace(request, by="auto", fractions=shares, element=None)
    named = Named(element, f"with {element}", f"without {element}")
    plan = beside_the_test(inner, find_groups(dataset), has, named, _auto)
    return replace(plan, by="element", reason=f"element {plan.reason}")


METHODS: dict[str, Callable[[Request], Plan]] = {
    "auto": _auto,
    "trajectory": _trajectory,
    "composition": _composition,
    "chemical-system": _chemical_system,
    "element": _element,
    "blocks": cut_into_blocks,
    "random": _random,
}
WITH_GROUPS: dict[str, Way] = {
    "auto": _auto,
    "trajectory": _trajectory,
    "blocks": cut_into_blocks,
}
"""Methods that part trajectories, and take those that were found already."""
