"""A test made by a condition: the other frames are split, and their own test is the part inside."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from matgraft.core.verdict import Damage
from matgraft.potentials.data.conditions import Condition
from matgraft.potentials.data.groups import Groups, find_groups
from matgraft.potentials.data.order import in_time
from matgraft.potentials.data.splits.beside import Named, beside_the_test, within
from matgraft.potentials.data.splits.blocks import gap_of
from matgraft.potentials.data.splits.parts import PARTS
from matgraft.potentials.data.splits.plan import Plan, Request
from matgraft.potentials.data.splits.ways import with_groups


def held(request: Request) -> Plan:
    """Test: the frames that meet the condition. The rest is split as asked, its test being the part inside."""
    dataset, hold = request.dataset, request.hold
    met = Condition.of(hold).met_by(dataset)
    test = np.isin(np.arange(len(dataset)), met.frames)
    found = find_groups(dataset)
    groups, near = _told_apart(found, test, hold), _torn(request, found, test)
    named = Named(hold, f"with {hold}", f"without {hold}")
    plan = beside_the_test(request, groups, test, named, with_groups, near)
    plan = replace(plan, part=np.where((plan.part == PARTS.index("test")) & ~test, len(PARTS), plan.part))
    if not met.silent:
        return plan
    text = (
        f"{len(met.silent)} of {len(dataset)} frames do not say whether they have {hold}: they count as frames that do "
        "not. If some do, the test is not a pure extrapolation"
    )
    return plan.warned("silent-frames", Damage.DOUBT, text)


def _told_apart(groups: Groups, test: NDArray[np.bool_], hold: str) -> Groups:
    """Part groups that nothing but structure gave, by whether their frames meet the condition: that says more."""
    labels = list(groups.labels)
    for i in groups.guessed:
        labels[i] += f" ({hold})" * bool(test[i])
    return groups._replace(labels=tuple(labels))


def _torn(request: Request, groups: Groups, test: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the frames next in time to test frames of their guessed group: it may be one simulation after all."""
    labels, near = np.array(groups.labels), np.zeros_like(test)
    for label in np.unique(labels[list(groups.guessed)]):
        own = np.flatnonzero(labels == label)
        order, known_by = in_time(request.dataset.samples, own) if len({*test[own]}) > 1 else (own, "")
        if known_by:
            near[order] = within(test[order], gap_of(len(order), request))
    return near & ~test
