"""The frames beside a test that is given: what shares a simulation with it is dropped, the rest is split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.verdict import Caution, Damage
from matgraft.potentials.data.groups import Groups
from matgraft.potentials.data.order import in_time
from matgraft.potentials.data.splits.blocks import gap_of, order_cautions
from matgraft.potentials.data.splits.parts import DROPPED, PARTS
from matgraft.potentials.data.splits.plan import Plan, Request, Way, guess_of


@dataclass(frozen=True)
class Named:
    """How a test is called: ``"Ge"``, and frames that belong to it and that do not."""

    what: str
    having: str
    lacking: str


def beside_the_test(
    request: Request,
    groups: Groups,
    test: NDArray[np.bool_],
    named: Named,
    way: Way,
    near: NDArray[np.bool_] | None = None,
) -> Plan:
    """Split in a `way` what shares no group with the test; siblings of test frames and what is `near` are dropped."""
    of_test = {label for label, there in zip(groups.labels, test, strict=True) if there}
    siblings = [i for i, label in enumerate(groups.labels) if label in of_test and not test[i]]
    near = np.zeros_like(test) if near is None else near
    rest = np.flatnonzero([label not in of_test for label in groups.labels] & ~near).tolist()
    if rest:
        plan = split_rest(request, groups, test, rest, way)
        beside = (
            f"{int(near.sum())} frames {named.lacking} dropped: they are next in time to frames that have it, and "
            "nothing names their trajectories. The parts may share simulations"
        )
        plan = plan.warned("cut-trajectories", Damage.DOUBT, beside) if near.any() else plan
        text = f"{len(siblings)} frames {named.lacking} dropped: they share a trajectory with frames that have it"
        plan = plan.warned("frames-left-out", Damage.NOTE, text) if siblings else plan
    else:
        plan = _cut_at_the_test(request, groups, test, named, way, near)
    return replace(plan, reason=f"{named.what} only in the test; the rest by {plan.by} ({plan.reason})")


def _cut_at_the_test(
    request: Request, groups: Groups, test: NDArray[np.bool_], named: Named, way: Way, near: NDArray[np.bool_]
) -> Plan:
    """Split what is far in time from the test frames, where every trajectory has some of them."""
    labels, near = np.array(groups.labels), test | near
    orders: list[str] = []
    for label in np.unique(labels):
        order, known_by = in_time(request.dataset.samples, np.flatnonzero(labels == label))
        near[order] |= within(test[order], gap_of(len(order), request))
        orders.append(known_by)
    rest = np.flatnonzero(~near).tolist()
    if not rest:
        raise DataError(f"every trajectory has frames {named.having}: nothing is left to learn from")
    labels = np.where(test, [f"{label} ({named.what})" for label in labels], labels)
    plan = split_rest(request, groups._replace(labels=tuple(labels.tolist())), test, rest, way)
    cut = Caution(
        code="cut-trajectories",
        damage=Damage.DOUBT,
        text=f"every trajectory has frames {named.having}: each was cut there, and {int((near & ~test).sum())} frames "
        "next to them dropped. The parts share simulations, and errors on another one will be larger",
    )
    return replace(plan, warnings=(cut, *order_cautions(orders), *plan.warnings))


def split_rest(request: Request, groups: Groups, test: NDArray[np.bool_], rest: Sequence[int], way: Way) -> Plan:
    """Split the `rest` in a `way`; frames neither in it nor in the test are dropped."""
    place = {i: k for k, i in enumerate(rest)}
    guessed = tuple(place[i] for i in groups.guessed if i in place)
    own = Groups(tuple(groups.labels[i] for i in rest), groups.reason, guessed, groups.uncompared, groups.untold)
    asked = replace(request, dataset=request.dataset[list(rest)])
    inner = way(asked, own)
    part = np.where(test, PARTS.index("test"), DROPPED)
    part[list(rest)] = inner.part
    labels = list(groups.labels)
    for i, label in zip(rest, inner.groups, strict=True):
        labels[i] = label
    return replace(inner, part=part, groups=labels, guess=guess_of(request.dataset.samples, groups))


def within(test: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
    """Mark the test frames of a trajectory and those within a gap of them."""
    near = test.copy()
    for k in np.flatnonzero(test):
        near[max(0, k - gap) : k + gap + 1] = True
    return near
