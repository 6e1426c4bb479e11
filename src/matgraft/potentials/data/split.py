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

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.core.findings import DROP
from matgraft.core.frozen import Frozen
from matgraft.core.verdict import Caution, Damage
from matgraft.potentials.data.chains import TOLD_APART
from matgraft.potentials.data.conditions import Condition
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.groups import BY_STRUCTURE, Groups, find_groups
from matgraft.potentials.data.kin import overlaps
from matgraft.potentials.data.neighbours import Overlap, reduced_formula
from matgraft.potentials.data.numbering import numbers_of_frames
from matgraft.potentials.data.order import in_time
from matgraft.potentials.data.sample import Sample

PARTS = ("train", "validation", "test")
INSIDE = "inside"
"""The part beside a test that a condition made: held out from the frames that do not meet it."""
DROPPED = -1
STRATUM_TAG = "config_type"
GAP_FRACTION = 0.02
"""Frames left out at a cut, as a share of the trajectory, at least one; correlation in time is not known here."""
SHORTEST_CUT = 10
"""Shorter trajectories are not cut into blocks: at 80/10/10 each part would get less than a frame."""
LEAST_TEST = 0.5
"""A group is large enough for a test with this part of the share asked for."""
TOLERATED = 0.05
"""Parts that miss their asked share of the frames by more are mentioned in a warning."""


class Sharing(Frozen):
    """What a test set that was given shares with the training data.

    Attributes
    ----------
    reason
        What the trajectories were told apart by.
    trajectories
        Trajectories on both sides.
    frames
        Positions of the test frames that belong to them.
    duplicates
        Near-duplicates of test frames in the training data.
    warnings
        What a reader of the results must know; empty if nothing is shared.
    """

    reason: str
    trajectories: tuple[str, ...]
    frames: tuple[int, ...]
    duplicates: Overlap
    warnings: tuple[Caution, ...]


class Split(Frozen):
    """Who learns, who stops the learning, who judges.

    Attributes
    ----------
    by
        What was done: ``"trajectory"`` or ``"blocks"`` where ``auto`` was asked for.
    reason
        What the groups were told apart by, such as ``"info key 'trajectory'"``.
    train, validation, test
        Positions in the dataset, sorted.
    dropped
        Positions that no part gets: the gaps between blocks.
    hold
        The condition that the test frames meet, and that no other part's frames do; empty where none was asked for.
    inside
        Positions of test frames that do not meet it.
    groups
        Group of each frame of the dataset, to resample by; after a random split, the trajectories that it cut.
    leaks
        Near-duplicates and neighbours in time across the parts: validation in train, test in train, test in validation.
    order
        What orders the frames of the trajectories that were cut into blocks in time: such as ``"info key 'step'"``.
        Empty where nothing was cut, and where nothing says the order: then a warning says so.
    lone
        Positions of frames that stand alone in a guessed group although others have their composition.
    practically_random
        True where most guessed frames are `lone`: the split keeps hardly anything together.
    warnings
        What a reader of the results must know.
    seed
        Seed that the groups were dealt out with.
    sharing
        What a test set that was given shares with the dataset.
    """

    by: str
    reason: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    dropped: tuple[int, ...] = ()
    hold: str = ""
    inside: tuple[int, ...] = ()
    groups: tuple[str, ...]
    leaks: tuple[Overlap, ...] = ()
    order: str = ""
    lone: tuple[int, ...] = ()
    practically_random: bool = False
    warnings: tuple[Caution, ...] = ()
    seed: int
    sharing: Sharing | None = None

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Name -> positions, in the order of `PARTS`; last `INSIDE`, where there is a condition."""
        return {name: getattr(self, name) for name in (*PARTS, *[INSIDE] * bool(self.hold))}

    def describe(self) -> str:
        """Return a few lines for screens and reports."""
        counts = ", ".join(
            f"{name} {len(positions)} frames of {len({self.groups[i] for i in positions})} groups"
            for name, positions in self.parts.items()
        )
        gaps = f", {len(self.dropped)} dropped" if self.dropped else ""
        return "\n".join(
            [
                f"Split by {self.by} ({self.reason}): {counts}{gaps}",
                *self._clean(),
                *(one.text for one in self.warnings),
            ]
        )

    def _clean(self) -> list[str]:
        """Say that nothing leaks, or of which frames it cannot be told."""
        if any(overlap.frames or overlap.neighbours for overlap in self.leaks):
            return []
        unclear = [overlap for overlap in self.leaks if overlap.unclear]
        if not unclear:
            return ["no near-duplicates across the parts"]
        return [
            f"{len(one.unclear)} of {one.size} {one.part} frames show the same atoms about the same places as frames "
            f"in {one.against}; whether they are neighbours in time cannot be told from the structures"
            for one in unclear
        ]

    def __repr__(self) -> str:
        """Introduce itself without the positions."""
        return self.describe()

    __str__ = __repr__


@dataclass(frozen=True)
class _Request:
    dataset: Dataset
    by: str
    fractions: Sequence[float]
    seed: int
    gap: int | None
    element: str | None
    stratum: str
    hold: str = ""

    @property
    def wanted(self) -> list[int]:
        """Numbers of the parts that must not stay empty."""
        return [part for part, fraction in enumerate(self.fractions) if fraction > 0]

    @property
    def parts(self) -> list[tuple[str, float]]:
        """Name and share of each part whose share the fractions say."""
        names = (*PARTS[:2], INSIDE if self.hold else PARTS[2])
        return list(zip(names, self.fractions, strict=True))


@dataclass(frozen=True)
class _Guess:
    """Groups that nothing but structure gave: of how many frames, how many groups, and which frames stand alone."""

    n_frames: int
    n_groups: int
    uncompared: int
    untold: int
    lone: tuple[int, ...]

    @property
    def is_random(self) -> bool:
        """True where most of the frames stand alone."""
        return 2 * len(self.lone) > self.n_frames

    def warnings(self) -> Iterator[Caution]:
        """Say what a reader of the results must know."""
        yield Caution(
            code="guessed-trajectories",
            damage=Damage.NOTE,
            text=f"nothing names the trajectories of {self.n_frames} frames: {self.n_groups} groups were told apart by "
            f"{BY_STRUCTURE}. Name the trajectories in a tag if you can",
        )
        if self.is_random:
            yield Caution(
                code="practically-random",
                damage=Damage.DOUBT,
                text=f"this is practically a random split: {len(self.lone)} of {self.n_frames} frames stand alone in "
                "their guessed group although others have their composition. If they come from simulations, test "
                "frames come from simulations that are trained on",
            )
        if self.uncompared:
            yield Caution(
                code="uncompared-frames",
                damage=Damage.DOUBT,
                text=f"{self.uncompared} frames were not compared with all others of the same atoms, which have too "
                "many arrangements: groups that belong together may be apart",
            )
        if self.untold:
            yield Caution(
                code="untold-trajectories",
                damage=Damage.NOTE,
                text=f"{self.untold} frames are in groups of more than {TOLD_APART} frames of the same atoms about the "
                "same places. Such a group is not searched for several simulations: it is kept whole, or cut into "
                "blocks if it is the only one. Name the simulations in a tag 'trajectory' if there are several",
            )


def _guess(samples: Sequence[Sample], groups: Groups) -> _Guess | None:
    """Return what is guessed of the groups; None where something names them all."""
    if not groups.guessed:
        return None
    sizes = Counter(groups.labels)
    own = [reduced_formula(sample.content) for sample in samples]
    formulas = Counter(own)
    lone = tuple(i for i in groups.guessed if sizes[groups.labels[i]] == 1 and formulas[own[i]] > 1)
    return _Guess(
        len(groups.guessed), len({groups.labels[i] for i in groups.guessed}), groups.uncompared, groups.untold, lone
    )


@dataclass(frozen=True)
class _Plan:
    """`part` is the number of each frame's part, `DROPPED` for none."""

    by: str
    reason: str
    part: NDArray[np.int64]
    groups: Sequence[str]
    warnings: tuple[Caution, ...] = ()
    order: str = ""
    guess: _Guess | None = None

    def warned(self, code: str, damage: Damage, text: str) -> _Plan:
        return replace(self, warnings=(Caution(code=code, damage=damage, text=text), *self.warnings))


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
    request = _Request(dataset, by, tuple(fractions), seed, gap, element, stratum, hold)
    _check_options(request)
    plan = _held(request) if hold else _by(request)
    parts = {name: tuple(np.flatnonzero(plan.part == k).tolist()) for k, name in enumerate((*PARTS, INSIDE))}
    _check_filled(request, parts)
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
            *_share_warnings(request, plan),
            *_leak_warnings(leaks),
        ),
        seed=seed,
    )


def _leaks(dataset: Dataset, parts: dict[str, tuple[int, ...]]) -> tuple[Overlap, ...]:
    """Count what each part shares with those before it; the two tests beside a condition may share what they like."""
    order = (*PARTS[:2], INSIDE, PARTS[2])
    found = overlaps(dataset.samples, {name: parts[name] for name in order if parts[name]})
    return tuple(one for one in found if one.against != INSIDE)


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
    guess = _guess(both.samples, groups)
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
        warnings=(*warnings, *_leak_warnings([overlap])),
    )


def deal(labels: Sequence[str], strata: Sequence[str], fractions: Sequence[float], seed: int = 0) -> NDArray[np.int64]:
    """Deal whole groups out to parts.

    Large groups first (by powers of two, within one at random), each to the part where it lowers
    ``sum_p (n_p - T_p)^2 / T_p`` most, T_p being the frames asked for: over all frames, and over those of the group's
    stratum. When as few groups are left as parts are empty, those parts are served first; so it is for a stratum that
    has groups enough. After Sechidis et al., ECML PKDD 2011 (iterative stratification), for groups instead of samples.

    Parameters
    ----------
    labels, strata
        Group and stratum of each frame; the most frequent stratum of a group counts.
    fractions
        Share of the frames for each part; a part of 0 gets nothing.
    seed
        Orders groups of like size.

    Returns
    -------
    (n_frames,) int
        Number of each frame's part. It depends on the groups only, not on the order of the frames.
    """
    names, member, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    stratum = _stratum_of_groups(names, labels, strata)
    wanted = np.flatnonzero(np.asarray(fractions) > 0)
    share = np.asarray(fractions, dtype=float)[wanted]
    everything = _Tally(sizes.sum() * share, len(names))
    within = {name: stratum == name for name in set(stratum)}
    tallies = {name: _Tally(sizes[mask].sum() * share, int(mask.sum())) for name, mask in within.items()}
    order = np.random.default_rng(seed).permutation(len(names))
    part = np.empty(len(names), dtype=np.int64)
    for group in order[np.argsort(-np.floor(np.log2(sizes[order])), kind="stable")]:
        own = tallies[stratum[group]]
        must, wish = everything.to_serve(), own.to_serve()
        allowed = next(mask for mask in (must & wish, must, wish, ~must) if mask.any())
        cost = everything.cost(sizes[group]) + own.cost(sizes[group])
        chosen = int(np.argmin(np.where(allowed, cost, np.inf)))
        for tally in (own, everything):
            tally.give(chosen, sizes[group])
        part[group] = wanted[chosen]
    return part[member]


class _Tally:
    """Frames given to each part so far, against the frames asked for."""

    def __init__(self, target: NDArray[np.float64], groups: int) -> None:
        self.target, self.left = target, groups
        self.given = np.zeros(len(target))
        self.enough = groups >= len(target)

    def cost(self, size: int) -> NDArray[np.float64]:
        """Change of sum_p (n_p - T_p)^2 / T_p if a group of this size went to each of the parts."""
        return np.asarray(size * (2 * (self.given - self.target) + size) / self.target)

    def to_serve(self) -> NDArray[np.bool_]:
        """Mark the empty parts, once there are no more groups left than they need."""
        empty = self.given == 0
        return np.asarray(empty & (self.enough and self.left <= empty.sum()))

    def give(self, part: int, size: int) -> None:
        """Record a group."""
        self.given[part] += size
        self.left -= 1


def _stratum_of_groups(names: NDArray[np.str_], labels: Sequence[str], strata: Sequence[str]) -> NDArray[np.str_]:
    counts: dict[str, Counter[str]] = {str(name): Counter() for name in names}
    for label, stratum in zip(labels, strata, strict=True):
        counts[label][stratum] += 1
    return np.array([min(count, key=lambda name: (-count[name], name)) for count in counts.values()])


def _check_options(request: _Request) -> None:
    fractions = request.fractions
    if len(fractions) != 3 or min(fractions) < 0 or min(fractions[:2]) == 0 or abs(sum(fractions) - 1) > 1e-6:
        raise OptionError(
            f"fractions {fractions} are no shares of training, validation and test",
            allowed=["three numbers that add up to 1; only the test's may be 0"],
            options=[{"split.validation": 0.1, "split.test": 0.1}],
        )
    if len(request.dataset) == 0:
        raise DataError("there is nothing to split: the dataset is empty")
    if request.gap is not None and request.by not in USES_GAP:
        raise OptionError(
            f"gap={request.gap} does nothing with by={request.by!r}",
            allowed=sorted(USES_GAP),
            options=[{"split.gap": None}],
        )
    if request.gap is not None and request.gap < 0:
        raise OptionError(f"gap={request.gap} is negative", allowed=["0, which leaves no frame out, and more"])
    if request.hold and request.by == "element":
        raise OptionError(
            "hold and by='element' both make the test",
            options=[{"split.hold": f"element={request.element or 'Ge'}", "split.by": "auto", "split.element": None}],
        )
    if (request.element is not None) != (request.by == "element"):
        raise OptionError(
            f"element={request.element!r} does not go with by={request.by!r}",
            options=_elements_to_leave_out(request),
        )


def _elements_to_leave_out(request: _Request) -> list[dict[str, str | None]]:
    """Return the options that put element and method together; of elements, those that not every group has."""
    if request.element is None:
        groups, dataset = find_groups(request.dataset).labels, request.dataset
        having = {
            symbol: {group for group, sample in zip(groups, dataset, strict=True) if symbol in sample.content.symbols}
            for symbol in dataset.elements()
        }
        return [{"split.element": symbol} for symbol, own in having.items() if own != set(groups)]
    return [{"split.by": "element"}, {"split.element": None}]


def _check_filled(request: _Request, parts: dict[str, tuple[int, ...]]) -> None:
    empty = [name for name, fraction in request.parts if fraction > 0 and not parts[name]]
    if empty:
        raise DataError(
            f"no frame is left for {' and '.join(empty)}: {len(request.dataset)} frames, split by {request.by}",
            remedy="a smaller split.gap, a larger split.validation or split.test, or more frames",
        )


def _by(request: _Request) -> _Plan:
    return METHODS[request.by](request) if request.by in METHODS else _by_tag(request)


def _auto(request: _Request, groups: Groups | None = None) -> _Plan:
    groups = groups or find_groups(request.dataset)
    n_groups = len(set(groups.labels))
    if n_groups >= len(request.wanted):
        return _trajectory(request, groups)
    if (test := _group_for_the_test(request, groups)) is not None:
        first, second, _ = request.fractions
        shares = (first / (first + second), second / (first + second), 0.0)
        plan = _split_rest(replace(request, fractions=shares), groups, test, np.flatnonzero(~test).tolist())
        return plan.warned(
            "few-trajectories",
            Damage.DOUBT,
            "only 2 trajectories: the smaller one is the test, the other is cut for validation",
        )
    found = "a single trajectory" if n_groups == 1 else f"only {n_groups} trajectories"
    text = f"{found} ({groups.reason}): cut into contiguous blocks instead of kept whole"
    return _blocks(request, groups).warned("few-trajectories", Damage.DOUBT, text)


def _group_for_the_test(request: _Request, groups: Groups) -> NDArray[np.bool_] | None:
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


def _trajectory(request: _Request, groups: Groups | None = None) -> _Plan:
    groups = groups or find_groups(request.dataset)
    plan = _by_groups(request, "trajectory", groups.labels, groups.reason)
    return replace(plan, guess=_guess(request.dataset.samples, groups))


def _composition(request: _Request) -> _Plan:
    labels = [reduced_formula(sample.content) for sample in request.dataset]
    return _by_groups(request, "composition", labels, "reduced formula")


def _chemical_system(request: _Request) -> _Plan:
    labels = ["-".join(sorted(set(sample.content.symbols))) for sample in request.dataset]
    return _by_groups(request, "chemical-system", labels, "set of elements")


def _by_tag(request: _Request) -> _Plan:
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


def _by_groups(request: _Request, by: str, labels: Sequence[str], reason: str) -> _Plan:
    n_groups, needed = len(set(labels)), len(request.wanted)
    if n_groups < needed:
        raise DataError(
            f"{n_groups} group{'s' * (n_groups != 1)} by {by} ({reason}) cannot fill {needed} parts",
            remedy="cut trajectories into contiguous blocks with gaps",
            options=[{"split.by": "blocks"}],
        )
    part = deal(labels, request.dataset.tag(request.stratum), request.fractions, request.seed)
    return _Plan(by, reason, part, labels)


def _random(request: _Request) -> _Plan:
    labels, reason, *_ = find_groups(request.dataset)
    frames = [str(i) for i in range(len(labels))]
    part = deal(frames, request.dataset.tag(request.stratum), request.fractions, request.seed)
    return _Plan("random", "asked for", part, labels).warned(
        "random-split",
        Damage.WRONG,
        f"random split over frames of {len(set(labels))} trajectories ({reason}): errors will look better than they "
        "are",
    )


def _element(request: _Request) -> _Plan:
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
    plan = _beside_the_test(inner, find_groups(dataset), has, _Named(element, f"with {element}", f"without {element}"))
    return replace(plan, by="element", reason=f"element {plan.reason}")


def _held(request: _Request) -> _Plan:
    """Test: the frames that meet the condition. The rest is split as asked, its test being the part inside."""
    dataset, hold = request.dataset, request.hold
    met = Condition.of(hold).met_by(dataset)
    test = np.isin(np.arange(len(dataset)), met.frames)
    found = find_groups(dataset)
    groups, near = _told_apart(found, test, hold), _torn(request, found, test)
    plan = _beside_the_test(request, groups, test, _Named(hold, f"with {hold}", f"without {hold}"), near)
    plan = replace(plan, part=np.where((plan.part == PARTS.index("test")) & ~test, len(PARTS), plan.part))
    if not met.silent:
        return plan
    text = (
        f"{len(met.silent)} of {len(dataset)} frames do not say whether they have {hold}: they count as frames that do "
        "not. If some do, the test is no pure extrapolation"
    )
    return plan.warned("silent-frames", Damage.DOUBT, text)


def _told_apart(groups: Groups, test: NDArray[np.bool_], hold: str) -> Groups:
    """Part groups that nothing but structure gave, by whether their frames meet the condition: that says more."""
    labels = list(groups.labels)
    for i in groups.guessed:
        labels[i] += f" ({hold})" * bool(test[i])
    return groups._replace(labels=tuple(labels))


def _torn(request: _Request, groups: Groups, test: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the frames next in time to test frames of their guessed group: it may be one simulation after all."""
    labels, near = np.array(groups.labels), np.zeros_like(test)
    for label in np.unique(labels[list(groups.guessed)]):
        own = np.flatnonzero(labels == label)
        order, known_by = in_time(request.dataset.samples, own) if len({*test[own]}) > 1 else (own, "")
        if known_by:
            near[order] = _within(test[order], _gap(len(order), request))
    return near & ~test


def _within(test: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
    """Mark the test frames of a trajectory and those within a gap of them."""
    near = test.copy()
    for k in np.flatnonzero(test):
        near[max(0, k - gap) : k + gap + 1] = True
    return near


@dataclass(frozen=True)
class _Named:
    """How a test is called: ``"Ge"``, and frames that belong to it and that do not."""

    what: str
    having: str
    lacking: str


def _beside_the_test(
    request: _Request, groups: Groups, test: NDArray[np.bool_], named: _Named, near: NDArray[np.bool_] | None = None
) -> _Plan:
    """Split what shares no group with the test frames; the siblings of these are dropped, and what is `near` them."""
    of_test = {label for label, there in zip(groups.labels, test, strict=True) if there}
    siblings = [i for i, label in enumerate(groups.labels) if label in of_test and not test[i]]
    near = np.zeros_like(test) if near is None else near
    rest = np.flatnonzero([label not in of_test for label in groups.labels] & ~near).tolist()
    if rest:
        plan = _split_rest(request, groups, test, rest)
        beside = (
            f"{int(near.sum())} frames {named.lacking} dropped: they are next in time to frames that have it, and "
            "nothing names their trajectories. The parts may share simulations"
        )
        plan = plan.warned("cut-trajectories", Damage.DOUBT, beside) if near.any() else plan
        text = f"{len(siblings)} frames {named.lacking} dropped: they share a trajectory with frames that have it"
        plan = plan.warned("frames-left-out", Damage.NOTE, text) if siblings else plan
    else:
        plan = _cut_at_the_test(request, groups, test, named, near)
    return replace(plan, reason=f"{named.what} only in the test; the rest by {plan.by} ({plan.reason})")


def _cut_at_the_test(
    request: _Request, groups: Groups, test: NDArray[np.bool_], named: _Named, near: NDArray[np.bool_]
) -> _Plan:
    """Split what is far in time from the test frames, where every trajectory has some of them."""
    labels, near = np.array(groups.labels), test | near
    orders: list[str] = []
    for label in np.unique(labels):
        order, known_by = in_time(request.dataset.samples, np.flatnonzero(labels == label))
        near[order] |= _within(test[order], _gap(len(order), request))
        orders.append(known_by)
    rest = np.flatnonzero(~near).tolist()
    if not rest:
        raise DataError(f"every trajectory has frames {named.having}: nothing is left to learn from")
    labels = np.where(test, [f"{label} ({named.what})" for label in labels], labels)
    plan = _split_rest(request, groups._replace(labels=tuple(labels.tolist())), test, rest)
    cut = Caution(
        code="cut-trajectories",
        damage=Damage.DOUBT,
        text=f"every trajectory has frames {named.having}: each was cut there, and {int((near & ~test).sum())} frames "
        "next to them dropped. The parts share simulations, and errors on another one will be larger",
    )
    return replace(plan, warnings=(cut, *_order_warnings(orders), *plan.warnings))


def _split_rest(request: _Request, groups: Groups, test: NDArray[np.bool_], rest: Sequence[int]) -> _Plan:
    """Split the `rest` as asked; frames neither in it nor in the test are dropped."""
    place = {i: k for k, i in enumerate(rest)}
    guessed = tuple(place[i] for i in groups.guessed if i in place)
    own = Groups(tuple(groups.labels[i] for i in rest), groups.reason, guessed, groups.uncompared, groups.untold)
    asked = replace(request, dataset=request.dataset[list(rest)])
    inner = WITH_GROUPS[request.by](asked, own) if request.by in WITH_GROUPS else _by(asked)
    part = np.where(test, PARTS.index("test"), DROPPED)
    part[list(rest)] = inner.part
    labels = list(groups.labels)
    for i, label in zip(rest, inner.groups, strict=True):
        labels[i] = label
    return replace(inner, part=part, groups=labels, guess=_guess(request.dataset.samples, groups))


def _blocks(request: _Request, groups: Groups | None = None) -> _Plan:
    """Cut every trajectory long enough, in its order in time; where none is, the whole dataset in its order."""
    groups = groups or find_groups(request.dataset)
    labels, reason = groups.labels, groups.reason
    names, member, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if sizes.max() < SHORTEST_CUT:
        names, member, reason = np.array(["all frames"]), np.zeros(len(labels), dtype=int), "frame order"
    part = np.zeros(len(labels), dtype=np.int64)
    rng = np.random.default_rng(request.seed)
    orders: list[str] = []
    for k in range(len(names)):
        members = np.flatnonzero(member == k)
        if len(members) >= SHORTEST_CUT or len(names) == 1:
            members, known_by = in_time(request.dataset.samples, members)
            part[members] = _cut(len(members), request, rng)
            orders.append(known_by)
    blocks = [f"{names[k]} / {_block_name(p)}" for k, p in zip(member, part.tolist(), strict=True)]
    dropped = int((part == DROPPED).sum())
    warnings = (_cut_warning(len(orders), dropped), *_order_warnings(orders))
    order = "; ".join(dict.fromkeys(filter(None, orders)))
    return _Plan("blocks", reason, part, blocks, warnings, order, _guess(request.dataset.samples, groups))


def _cut_warning(cut: int, dropped: int) -> Caution:
    return Caution(
        code="cut-trajectories",
        damage=Damage.DOUBT,
        text=f"{cut} trajector{'y' if cut == 1 else 'ies'} cut into contiguous blocks, {dropped} frames in the gaps "
        "dropped: the parts share a simulation, errors on another one will be larger",
    )


def _order_warnings(orders: Sequence[str]) -> list[Caution]:
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


def _cut(n_frames: int, request: _Request, rng: np.random.Generator) -> NDArray[np.int64]:
    """Contiguous blocks in random order, `DROPPED` between them."""
    gap = _gap(n_frames, request)
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


def _gap(n_frames: int, request: _Request) -> int:
    return max(1, round(GAP_FRACTION * n_frames)) if request.gap is None else request.gap


def _whole_numbers(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round to positive whole numbers of the same sum: the rest goes to, or comes from, the largest."""
    sizes = np.maximum(1, np.round(shares)).astype(np.int64)
    sizes[np.argmax(sizes)] += round(shares.sum()) - sizes.sum()
    return sizes


def _block_name(part: int) -> str:
    return "gap" if part == DROPPED else f"{PARTS[part]} block"


def _share_warnings(request: _Request, plan: _Plan) -> list[Caution]:
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
    text = f"asked for {asked} % of the {whose} in {names}, got {came}: what belongs together is kept whole"
    return [Caution(code="split-shares", damage=Damage.NOTE, text=text)]


def _leak_warnings(leaks: Sequence[Overlap]) -> list[Caution]:
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


USES_GAP = {"auto", "blocks", "element"}
METHODS: dict[str, Callable[[_Request], _Plan]] = {
    "auto": _auto,
    "trajectory": _trajectory,
    "composition": _composition,
    "chemical-system": _chemical_system,
    "element": _element,
    "blocks": _blocks,
    "random": _random,
}
WITH_GROUPS: dict[str, Callable[[_Request, Groups], _Plan]] = {
    "auto": _auto,
    "trajectory": _trajectory,
    "blocks": _blocks,
}
"""Methods that part trajectories, and take those that were found already."""
