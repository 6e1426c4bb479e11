"""Parts for training, validation and test that do not leak.

Snapshots of one simulation are nearly the same frame: dealt out at random, the test measures memory. By default whole
trajectories go to one part, found by `matgraft.potentials.data.groups`. Near-duplicates and neighbours in time across
the parts are counted all the same, whatever the groups, and reported.

| by                            | what stays together                                                              |
| ----------------------------- | -------------------------------------------------------------------------------- |
| auto                          | trajectories; where they are too few to fill the parts, blocks                   |
| trajectory                    | trajectories, or an error                                                        |
| composition, chemical-system  | frames of one reduced formula, of one set of elements                            |
| element                       | the test is every frame with the element; the rest is split as by auto           |
| blocks                        | contiguous blocks of each trajectory, with gaps that no part gets                |
| random                        | nothing: only when asked, with a warning                                         |
| the name of a tag             | frames with one value of it                                                      |

With ``hold="temperature=1500"`` the test is what meets a condition (`matgraft.potentials.data.conditions`). The other
frames are split as by `by`, and their share for a test is the part `inside`: errors there are interpolation, and
errors on the test are extrapolation.

>>> parts = split(dataset, by="auto", fractions=(0.8, 0.1, 0.1), seed=0)
>>> train, validation, test = dataset[parts.train], dataset[parts.validation], dataset[parts.test]
>>> parts.warnings  # to be read
"""

from collections.abc import Sequence

import numpy as np

from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.kin import overlaps
from matgraft.potentials.data.neighbours import Overlap
from matgraft.potentials.data.splits.cautions import leak_cautions, share_cautions
from matgraft.potentials.data.splits.checks import check_filled, check_options
from matgraft.potentials.data.splits.held import held
from matgraft.potentials.data.splits.parts import DROPPED, INSIDE, PARTS, STRATUM_TAG, Split
from matgraft.potentials.data.splits.plan import Request
from matgraft.potentials.data.splits.ways import by_method


def split(
    dataset: Dataset,
    *,
    by: str = "auto",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    gap: int | None = None,
    element: str | None = None,
    stratum: str = STRATUM_TAG,
    hold: str = "",
) -> Split:
    """Divide frames into training, validation and test.

    Whole groups are dealt out, so the fractions are met as well as the groups allow; what came out is in the warnings
    where it differs much. Frames of every ``config_type``, or of every value of another `stratum`, go to every part
    where there are groups enough.

    Parameters
    ----------
    dataset
        Frames in the order they were read.
    by
        What stays together: see the module's table.
    fractions
        Shares of the frames for training, validation and test. A test share of 0 is for those who have a test set.
    seed
        Deals the groups out, or orders the blocks; the same seed gives the same parts.
    gap
        Frames left out at each cut between blocks; by default 2 % of the trajectory, at least one.
    element
        Chemical symbol to leave out of training, with ``by="element"``.
    stratum
        Tag whose values all parts shall hold.
    hold
        A condition, such as ``"temperature>=1500"``: the test is every frame that meets it. The share of the fractions
        for a test is that of the part `inside` among the others.

    Raises
    ------
    OptionError
        If `by` is neither a method nor a tag, if no frame meets the condition, or if an option is not read.
    DataError
        If a part would stay empty, or some frames lack the tag.
    """
    request = Request(dataset, by, tuple(fractions), seed, gap, element, stratum, hold)
    check_options(request)
    plan = held(request) if hold else by_method(request)
    parts = {name: tuple(np.flatnonzero(plan.part == k).tolist()) for k, name in enumerate((*PARTS, INSIDE))}
    check_filled(request, parts)
    leaks = _leaks(dataset, parts)
    guess = plan.guess
    return Split(
        by=plan.by,
        reason=plan.reason,
        **parts,
        dropped=tuple(np.flatnonzero(plan.part == DROPPED).tolist()),
        hold=hold,
        groups=tuple(plan.groups),
        leaks=leaks,
        order=plan.order,
        lone=guess.lone if guess else (),
        practically_random=bool(guess and guess.is_random),
        warnings=(
            *plan.warnings,
            *(guess.warnings() if guess else ()),
            *share_cautions(request, plan),
            *leak_cautions(leaks),
        ),
        seed=seed,
    )


def _leaks(dataset: Dataset, parts: dict[str, tuple[int, ...]]) -> tuple[Overlap, ...]:
    """Count what each part shares with those before it; the two tests beside a condition may share what they like."""
    order = (*PARTS[:2], INSIDE, PARTS[2])
    found = overlaps(dataset.samples, {name: parts[name] for name in order if parts[name]})
    return tuple(one for one in found if one.against != INSIDE)
