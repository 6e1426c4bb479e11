"""Trajectories cut into contiguous blocks, with gaps that no part gets."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.verdict import Caution, Damage
from matgraft.potentials.data.groups import Groups, find_groups
from matgraft.potentials.data.order import in_time
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.splits.parts import DROPPED, PARTS
from matgraft.potentials.data.splits.plan import Plan, Request, guess_of

GAP_FRACTION = 0.02
"""Frames left out at a cut, as a share of the trajectory, at least one; correlation in time is not known here."""
SHORTEST_CUT = 10
"""Shorter trajectories are not cut into blocks: at 80/10/10 each part would get less than a frame."""


def cut_into_blocks(request: Request, groups: Groups | None = None) -> Plan:
    """Cut every trajectory long enough, in its order in time; where none is, the whole dataset in its order."""
    groups = groups or find_groups(request.dataset)
    labels, reason = groups.labels, groups.reason
    names, member, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    runs = [np.flatnonzero(member == k) for k in range(len(names))]
    if all_short := sizes.max() < SHORTEST_CUT:
        names, member, reason = np.array(["all frames"]), np.zeros(len(labels), dtype=int), "frame order"
    part = np.zeros(len(labels), dtype=np.int64)
    rng = np.random.default_rng(request.seed)
    orders: list[str] = []
    for k in range(len(names)):
        members = np.flatnonzero(member == k)
        if len(members) >= SHORTEST_CUT or len(names) == 1:
            own = runs if all_short else [members]
            members, known_by = _in_time(request.dataset.samples, own)
            part[members] = _cut(len(members), request, rng)
            orders.append(known_by)
    blocks = [f"{names[k]} / {_block_name(p)}" for k, p in zip(member, part.tolist(), strict=True)]
    dropped = int((part == DROPPED).sum())
    warnings = (_cut_caution(len(orders), dropped), *order_cautions(orders))
    order = "; ".join(dict.fromkeys(filter(None, orders)))
    return Plan("blocks", reason, part, blocks, warnings, order, guess_of(request.dataset.samples, groups))


def _in_time(samples: Sequence[Sample], runs: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], str]:
    """Return the frames of simulations in one order, and what tells it.

    Where nothing tells one of all, simulations stand one after another: a cut then parts one of them and no other.
    """
    together, known_by = in_time(samples, np.sort(np.concatenate(runs)))
    if known_by or len(runs) == 1:
        return together, known_by
    ordered = [in_time(samples, run) for run in sorted(runs, key=lambda run: int(run[0]))]
    known = [told for order, told in ordered if len(order) > 1]
    return np.concatenate([order for order, _ in ordered]), "; ".join(dict.fromkeys(known)) if all(known) else ""


def _cut(n_frames: int, request: Request, rng: np.random.Generator) -> NDArray[np.int64]:
    """Contiguous blocks in random order, `DROPPED` between them."""
    gap = gap_of(n_frames, request)
    order = rng.permutation(request.wanted)
    usable = n_frames - gap * (len(order) - 1)
    if usable < len(order):
        raise DataError(
            f"{n_frames} frames cannot be cut into {len(order)} blocks with gaps of {gap}",
            remedy="a smaller gap, or more frames",
            options=[{"split.gap": 0}] if n_frames >= len(order) else [],
        )
    sizes = _whole_numbers(np.array(request.fractions)[order] * usable)
    blocks = [np.full(size, part) for size, part in zip(sizes, order, strict=True)]
    between = np.full(gap, DROPPED)
    return np.concatenate([piece for block in blocks for piece in (between, block)][1:])


def gap_of(n_frames: int, request: Request) -> int:
    """Return how many frames a cut of a trajectory leaves out."""
    return max(1, round(GAP_FRACTION * n_frames)) if request.gap is None else request.gap


def _whole_numbers(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round to positive whole numbers of the same sum: the rest goes to, or comes from, the largest."""
    sizes = np.maximum(1, np.round(shares)).astype(np.int64)
    sizes[np.argmax(sizes)] += round(shares.sum()) - sizes.sum()
    return sizes


def _block_name(part: int) -> str:
    return "gap" if part == DROPPED else f"{PARTS[part]} block"


def _cut_caution(cut: int, dropped: int) -> Caution:
    return Caution(
        code="cut-trajectories",
        damage=Damage.DOUBT,
        text=f"{cut} trajector{'y' if cut == 1 else 'ies'} cut into contiguous blocks, {dropped} frames in the gaps "
        "dropped: the parts share a simulation, errors on another one will be larger",
    )


def order_cautions(orders: Sequence[str]) -> list[Caution]:
    """Say of how many trajectories nothing tells the order in time."""
    unknown = sum(not known_by for known_by in orders)
    if not unknown:
        return []
    which = "the trajectory that was cut" if len(orders) == 1 else f"{unknown} of the {len(orders)} trajectories cut"
    text = (
        f"the order in time of the frames of {which} is not known: no tag counts them, and consecutive frames are no "
        "more alike than others. If the frames are shuffled, test frames lie between training frames, and errors will "
        "look better than they are. Give each frame its number in a tag 'step'"
    )
    return [Caution(code="unknown-order", damage=Damage.DOUBT, text=text)]
