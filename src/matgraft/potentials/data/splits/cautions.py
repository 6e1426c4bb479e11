"""What a reader of errors must know of the parts: shares that were missed, frames that leak."""

from collections.abc import Sequence

import numpy as np

from matgraft.core.verdict import Caution, Damage
from matgraft.potentials.data.neighbours import Overlap
from matgraft.potentials.data.splits.parts import DROPPED, PARTS
from matgraft.potentials.data.splits.plan import Plan, Request

TOLERATED = 0.05
"""Parts that miss their asked share of the frames by more are mentioned in a warning."""


def share_cautions(request: Request, plan: Plan) -> list[Caution]:
    """Say which shares of the frames came out instead of those that were asked for."""
    if plan.by == "element":  # the element decides, not the fractions
        return []
    own = plan.part[plan.part != PARTS.index("test")] if request.hold else plan.part
    numbers = (0, 1, len(PARTS) if request.hold else 2)
    got = np.array([(own == part).mean() for part in numbers]) / (own != DROPPED).mean()
    if np.abs(got - request.fractions).max() <= TOLERATED:
        return []
    asked, came = (" / ".join(f"{100 * share:.0f}" for share in shares) for shares in (request.fractions, got))
    names = " / ".join(name for name, _ in request.parts)
    whose = f"frames without {request.hold}" if request.hold else "frames"
    text = f"asked for {asked} % of the {whose} in {names}, got {came}: groups are not divided"
    return [Caution(code="split-shares", damage=Damage.NOTE, text=text)]


def leak_cautions(leaks: Sequence[Overlap]) -> list[Caution]:
    """Say which frames of another part are nearly those of the training part."""
    of_train = [overlap for overlap in leaks if overlap.against == "train"]
    return [
        Caution(code=code, damage=Damage.DOUBT if overlap.part == "validation" else Damage.WRONG, text=text)
        for overlap in of_train
        for code, found, text in (
            ("near-duplicates", overlap.frames, overlap.describe()),
            ("neighbours-in-time", overlap.neighbours, overlap.describe_neighbours()),
        )
        if found
    ]
