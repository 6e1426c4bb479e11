"""What a test set that a user gives shares with the training data."""

from matgraft.core.verdict import Caution, Damage
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.kin import overlaps
from matgraft.potentials.data.splits.cautions import leak_cautions
from matgraft.potentials.data.splits.parts import Sharing
from matgraft.potentials.data.splits.plan import guess_of


def leaks_between(train: Dataset, test: Dataset) -> Sharing:
    """Say what a given test set shares with the training data: trajectories and near-duplicates.

    Trajectories are found over both sets together, as `find_groups` does. Positions in the answer are those in `test`.
    """
    both = concatenate([train, test])
    groups = find_groups(both)
    known = set(groups.labels[: len(train)])
    of_test = groups.labels[len(train) :]
    frames = tuple(i for i, label in enumerate(of_test) if label in known)
    (overlap,) = overlaps(both.samples, {"train": range(len(train)), "test": range(len(train), len(both))})
    shift = {
        name: tuple(i - len(train) for i in getattr(overlap, name)) for name in ("frames", "neighbours", "unclear")
    }
    overlap = overlap.model_copy(update=shift)
    shared = tuple(sorted({of_test[i] for i in frames}))
    guess = guess_of(both.samples, groups)
    leak = Caution(
        code="shared-trajectories",
        damage=Damage.WRONG,
        text=f"{len(frames)} of {len(test)} test frames come from {len(shared)} trajectories that are trained on "
        f"({groups.reason}): errors will look better than they are",
    )
    warnings = [leak] * bool(frames)
    warnings += guess.warnings() if guess and (guess.is_random or guess.uncompared) else []
    return Sharing(
        reason=groups.reason,
        trajectories=shared,
        frames=frames,
        duplicates=overlap,
        warnings=(*warnings, *leak_cautions([overlap])),
    )
