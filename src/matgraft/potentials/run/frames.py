"""The first half of a run: frames read, predicted by the foundation, audited and parted.

read_parts -> predict_frames -> look -> divide, whole_split -> part_frames -> Parts
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from matgraft.core.audit import refuse_findings
from matgraft.core.errors import DataError, OptionError
from matgraft.core.findings import DROP, Action, Finding, Part, blocking
from matgraft.core.machine import Memory, available_memory
from matgraft.core.model import Encoded, ModelCard
from matgraft.core.processes import cores
from matgraft.core.quantities import Array
from matgraft.core.verdict import Caution, Damage
from matgraft.potentials.audit.audit import COMPARED, FIRST, KNOWN, TO_JUDGE, audit_heads, run_looks
from matgraft.potentials.audit.structures import ELEMENTS_UNSEEN
from matgraft.potentials.data.conditions import refuse_unsaid
from matgraft.potentials.data.crowds import (
    StructureBytes,
    WrappedAtoms,
    evenly_spread_bytes,
    expected_bytes,
    most_bytes,
)
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.heads import HEAD_TAG, assign_heads, frames_by_head, refuse_strange_heads, require_heads
from matgraft.potentials.data.isolated import without_isolated
from matgraft.potentials.data.numbering import leave_out, numbers_of_frames
from matgraft.potentials.data.phases import require_phase_tag
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.repair import occurs, reorder_groups
from matgraft.potentials.data.sense import MANY, MEMORY_SHARE, examine, is_far_too_large
from matgraft.potentials.data.splits.given import leaks_between
from matgraft.potentials.data.splits.parts import STRATUM_TAG, Split
from matgraft.potentials.data.splits.split import split
from matgraft.potentials.models.graphs import Graphs, KeptGraphs
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_what_can_be, predict_samples
from matgraft.potentials.models.room import free_memory
from matgraft.potentials.models.uncertainty import Uncertainty
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.remedies import as_typed, unwanted_warns
from matgraft.potentials.tuning.loss import weigh_parts

Predictions = Sequence[Mapping[str, Array]]
NOT_ENCODABLE = "not-encodable"
"""Code of the finding on frames that the foundation cannot take."""

KEPT_BYTES = 40
"""What a pair of neighbours takes in a graph that is kept: measured on CHGNet, 512 and 1728 atoms of silicon."""
MOST_MEASURED = 200
"""Frames, spread over a dataset, whose neighbours are counted for the memory that all graphs take."""


@dataclass(frozen=True)
class Frames:
    """The frames of a run's files, and what the foundation says of them.

    Attributes
    ----------
    train, test
        Frames of the training file and of the test file, which may hold none.
    on_train, on_test
        The foundation's predictions, empty for a frame that it cannot take.
    refused
        The finding on such frames, of each file that holds frames.
    graphs
        The training file's frames as the foundation takes them; None where it cannot take them all.
    """

    train: Dataset
    test: Dataset
    on_train: Predictions
    on_test: Predictions
    refused: tuple[Finding, ...]
    graphs: Graphs | KeptGraphs | None


@dataclass(frozen=True)
class Parts:
    """The frames of a run by what they are for, and the foundation's predictions on each part.

    `inside` holds frames beside a test that a condition made (`Split.inside`), and none otherwise.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    on_train: Predictions
    on_validation: Predictions
    on_test: Predictions
    inside: Dataset
    on_inside: Predictions
    split: Split
    train_graphs: Sequence[Encoded] | None = None
    validation_graphs: Sequence[Encoded] | None = None

    @property
    def scored(self) -> tuple[str, Dataset, Predictions]:
        """Return the part that the model is judged on: the test, or the validation where there is none."""
        if len(self.test):
            return "test", self.test, self.on_test
        return "validation", self.validation, self.on_validation


def read_parts(recipe: Recipe) -> tuple[Dataset, Dataset]:
    """Return the training and the test frames without isolated atoms and what is to be dropped, each with its head."""
    if recipe.audit.drop_test and not recipe.test:
        raise OptionError(
            f"{DROP['test']} is not read without a test file",
            remedy=f"take it back; {DROP['train']} leaves out frames of the training file, which the test is a part of",
            options=[{DROP["test"]: None}],
        )
    train = read_one(recipe, recipe.train)
    test = read_one(recipe, recipe.test, beside=True) if recipe.test else train[:0]
    orders = _shear_by_group(recipe)
    train, test = reorder_groups(train, orders, beside=[test]), reorder_groups(test, orders, beside=[train])
    train = leave_out(train, recipe.audit.drop, DROP["train"])
    test = leave_out(test, recipe.audit.drop_test, DROP["test"])
    train, test = without_isolated(train), without_isolated(test)
    if recipe.heads_by:
        train, test = assign_heads([train, test], recipe.heads_by, foundation=recipe.heads.foundation)
    return train, test


def read_one(recipe: Recipe, file: str | Sequence[str], *, beside: bool = False) -> Dataset:
    """Read frames as the recipe says, but for the shear of groups; `beside` as of `read`."""
    return read(file, **recipe.reading, beside=beside, audited=True)


def read_further(recipe: Recipe, files: Sequence[Path], *, beside: bool) -> Dataset:
    """Read further frames than those that the recipe was written for: they need not have each of its groups.

    Isolated atoms are among them.
    """
    dataset = read_one(recipe, [str(file) for file in files], beside=beside)
    orders = {group: order for group, order in _shear_by_group(recipe).items() if occurs(group, dataset)}
    return leave_out(reorder_groups(dataset, orders), recipe.audit.drop_test, DROP["test"])


def _shear_by_group(recipe: Recipe) -> dict[str, str]:
    return recipe.shear if isinstance(recipe.shear, dict) else {}


def predict_frames(foundation: Potential, train: Dataset, test: Dataset, quiet: bool) -> Frames:
    """Predict the frames of both files with the foundation."""
    on_train, refused, graphs = foundation_predictions(foundation, train, quiet)
    if not len(test):
        return Frames(train, test, on_train, [], (refused,), graphs)
    on_test, refused_test, _ = foundation_predictions(foundation, test, quiet, "test")
    return Frames(train, test, on_train, on_test, (refused, refused_test), graphs)


def foundation_predictions(
    foundation: Potential,
    frames: Dataset,
    quiet: bool,
    part: Part = "train",
    whose: str = "",
    uncertainty: Uncertainty | None = None,
) -> tuple[Predictions, Finding, Graphs | KeptGraphs | None]:
    """Return the foundation's predictions, empty where it cannot take a frame, the finding on such, and the graphs.

    `whose` names the frames in the finding; by default they are training or test frames. With an `uncertainty` of this
    model the predictions say how sure it is of them.
    """
    refuse_too_large(foundation.cost, frames, part)
    title = "" if quiet else f"graphs of {len(frames)} frames"
    graphs, taken, reasons = encode_what_can_be(foundation, frames.samples, processes=cores(), progress=title)
    samples = frames[taken].samples
    title = "" if quiet else f"predictions of {foundation.card.name}"
    known: Predictions = []
    if taken:
        known = predict_samples(
            foundation, samples, encoded=graphs, processes=cores(), progress=title, uncertainty=uncertainty
        )
    predictions = dict(zip(taken, known, strict=True))
    finding = _refused(foundation, frames, reasons, part, whose)
    return [predictions.get(i, {}) for i in range(len(frames))], finding, None if reasons else graphs


def refuse_too_large(cost: StructureBytes, frames: Dataset, part: Part) -> None:
    """Raise a DataError, before a graph is built, if the graphs or one prediction take more memory than there is.

    Frames that make no sense are passed over: whoever encodes them says why.
    """
    if not cost.cutoff_A:
        return
    had = free_memory()
    refuse_far_too_large(cost, frames, part)
    limit, large, neighbours = MEMORY_SHARE * had.bytes, {}, []
    measured = set(np.linspace(0, len(frames) - 1, MOST_MEASURED).astype(int).tolist())
    for i, sample in enumerate(frames):
        place = examine(sample.content)
        if not isinstance(place, WrappedAtoms):
            continue
        if most_bytes(place, cost) > limit and (needed := expected_bytes(place, cost)) > limit:
            large[i] = needed
        if i in measured:
            neighbours.append(float(place.counts(cost.cutoff_A).mean()))
    if frames.samples.held() and neighbours:
        n_atoms = sum(map(len, frames.samples.numbers()))
        _refuse_to_keep(n_atoms * float(np.mean(neighbours)) * KEPT_BYTES, frames)
    if large:
        raise _too_large(frames, large, had, part)


def refuse_far_too_large(cost: StructureBytes, frames: Dataset, part: Part) -> None:
    """Raise a DataError, before any frame is looked at, if one takes several times the memory that there is."""
    many = large_frames(frames)
    if many and cost.cutoff_A:
        had = free_memory()
        large = {i: frames[i].content for i in many if is_far_too_large(frames[i].content, cost, had)}
        if large:
            needed = {i: evenly_spread_bytes(atoms, cost) for i, atoms in large.items()}
            raise _too_large(frames, needed, had, part)


def large_frames(frames: Dataset) -> list[int]:
    """Return the numbers of the frames that take seconds to look at."""
    return [i for i, numbers in enumerate(frames.samples.numbers()) if len(numbers) >= MANY]


def _too_large(frames: Dataset, large: Mapping[int, float], had: Memory, part: Part) -> DataError:
    """Name the largest of the frames that take too many bytes."""
    i = max(large, key=lambda one: large[one])
    return DataError(
        f"a prediction of this frame ({frames[i].n_atoms} atoms) takes some {large[i] / 2**30:.3g} GiB, more than "
        f"{MEMORY_SHARE:.0%} of the {had.bytes / 2**30:.1f} GiB that {had.by} leaves",
        where=frames[i].where,
        remedy="see whether the cell is in its unit, leave such frames out, or give the job more memory",
        options=[{DROP[part]: numbers_of_frames(frames, large)}] if len(large) < len(frames) else [],
    )


def _refuse_to_keep(needed: float, frames: Dataset) -> None:
    """Raise a DataError if graphs that are kept take more bytes than there are."""
    had, files = available_memory(), [file.name for file in frames.provenance.files]
    if needed > MEMORY_SHARE * had.bytes:
        raise DataError(
            f"the graphs of {len(frames)} frames take some {needed / 2**30:.1f} GiB, more than {MEMORY_SHARE:.0%} of "
            f"the {had.bytes / 2**30:.1f} GiB that {had.by} leaves",
            where=", ".join(files[:3]),
            remedy="pack the frames into a store, whose graphs are built when they are needed",
            commands=[("matgraft", "pack", *files[:3], "-o", "frames.h5")],
        )


def _refused(
    foundation: Potential, frames: Dataset, reasons: Mapping[int, str], part: Part, whose: str = ""
) -> Finding:
    title = f"frames that {foundation.card.name} cannot take"
    whose = whose or ("training" if part == "train" else "test")
    if not reasons:
        return Finding(
            code=NOT_ENCODABLE,
            title=title,
            outcome="passed",
            part=part,
            evidence=f"all {len(frames)} {whose} frames can be taken",
        )
    first = next(iter(reasons))
    return Finding(
        code=NOT_ENCODABLE,
        title=title,
        outcome="failed",
        severity="error",
        frames=tuple(reasons),
        part=part,
        evidence=f"{len(reasons)} of {len(frames)} {whose} frames; the first, {frames[first].where}: {reasons[first]}",
        remedy=f"leave these {whose} frames out",
        actions=(Action(drop=tuple(reasons), part=part),),
    )


def refuse_blocking(findings: Sequence[Finding], recipe: Recipe) -> None:
    """Raise an AuditError for findings that block, unless the recipe allows them."""
    refuse_findings(findings, recipe.audit.allow, ", ".join(recipe.train_files), "audit.allow")


def look_first(recipe: Recipe, train: Dataset, test: Dataset) -> tuple[Finding, ...]:
    """Run the looks that need no foundation, before one is loaded: over the training frames, and those to judge on."""
    return (*_looked(recipe, train, looks=FIRST), *look_at_test(recipe, test))


def look_at_card(recipe: Recipe, card: ModelCard, train: Dataset) -> tuple[Finding, ...]:
    """Run the looks that ask for a foundation's card alone, before it predicts."""
    return _looked(recipe, train, looks=KNOWN, elements=card.elements, model_name=card.name, level=card.theory)


def _looked(
    recipe: Recipe, train: Dataset, predictions: Predictions | None = None, **options: Any
) -> tuple[Finding, ...]:
    """Audit the training frames, those of several heads apart: frames have their numbers, and options can be typed."""
    looks = audit_heads if recipe.heads_by else run_looks
    found = looks(train, predictions, **options)
    return tuple(unwanted_warns(as_typed(one, train, recipe), recipe) for one in found)


def look_at_test(recipe: Recipe, test: Dataset) -> tuple[Finding, ...]:
    """Look for frames of a test file that cannot be judged on; only what is found is returned."""
    found = run_looks(test, None, looks=TO_JUDGE) if len(test) else []
    return tuple(as_typed(_of_test(one), test, recipe) for one in found if one.blocks)


def _of_test(finding: Finding) -> Finding:
    return _for_test(finding).model_copy(update={"evidence": f"of the test frames: {finding.evidence}"})


def _for_test(finding: Finding) -> Finding:
    """Let the options of a finding leave out frames of the test, not of the training."""
    actions = tuple(action.model_copy(update={"part": "test"}) for action in finding.actions)
    return finding.model_copy(update={"part": "test", "actions": actions})


def look_at_labels(recipe: Recipe, given: Dataset, predictions: Predictions, card: ModelCard) -> tuple[Finding, ...]:
    """Hold labels that are only judged on against a model; what would block a training is returned."""
    found = run_looks(given, predictions, looks=COMPARED, elements=card.elements, model_name=card.name)
    return tuple(as_typed(_for_test(one), given, recipe) for one in found if one.blocks)


def look(recipe: Recipe, card: ModelCard, frames: Frames, first: Sequence[Finding]) -> tuple[Finding, ...]:
    """Hold the training frames against the predictions of a foundation.

    Parameters
    ----------
    first
        What `look_first` and `look_at_card` found.

    Returns
    -------
    tuple of Finding
        All, the first among them.

    Raises
    ------
    OptionError
        If the recipe allows a code that no look has.
    """
    told = {"elements": card.elements, "model_name": card.name}
    compared = _looked(recipe, frames.train, frames.on_train, looks=COMPARED, **told)
    refused = [as_typed(one, frames.train if one.part == "train" else frames.test, recipe) for one in frames.refused]
    findings = (*first, *compared, *refused)
    refuse_unknown_codes(recipe, findings)
    return findings


def unasked(recipe: Recipe, train: Dataset, first: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return what can be said of frames that no foundation is asked about, since something blocks already."""
    codes = dict.fromkeys(one.code for one in blocking(first, recipe.audit.allow))
    why = f"the foundation is not used before this is corrected: {', '.join(codes)}"
    looks = COMPARED if any(one.code == ELEMENTS_UNSEEN.code for one in first) else KNOWN + COMPARED
    findings = (*first, *_looked(recipe, train, looks=looks, unasked=why))
    refuse_unknown_codes(recipe, findings)
    return findings


def refuse_unknown_codes(recipe: Recipe, findings: Sequence[Finding]) -> None:
    """Raise an OptionError if the recipe allows a code that no look has."""
    codes = sorted({*(finding.code for finding in findings), NOT_ENCODABLE})
    if unknown := sorted(set(recipe.audit.allow) - set(codes)):
        raise OptionError(f"audit.allow names {unknown}", allowed=codes)


def divide(recipe: Recipe, train: Dataset, *, given_test: bool) -> Split:
    """Split the training file as the recipe says; nothing goes to the test where one is given.

    Raises
    ------
    DataError
        If the loss is nothing on a part, or on a head's frames in it.
    """
    settings = recipe.split
    share = 0.0 if given_test else settings.test
    division = split(
        train,
        by=settings.by,
        fractions=(1 - settings.validation - share, settings.validation, share),
        seed=settings.seed,
        gap=settings.gap,
        element=settings.element,
        hold=settings.hold,
        stratum=HEAD_TAG if recipe.heads_by else STRATUM_TAG,
    )
    if recipe.heads_by:
        require_heads(train[division.train], train[division.validation])
        refuse_strange_heads(train[division.train], train[(*division.test, *division.inside)])
    weigh_parts(train[division.train], train[division.validation], recipe.loss, by_head=bool(recipe.heads_by))
    return division


def refuse_unknown_tables(recipe: Recipe, train: Dataset, test: Dataset) -> None:
    """Raise an OptionError if ``scores.by`` or ``scores.phases`` names what no frame of a run says."""
    everything = concatenate([train, test])
    for name in recipe.scores.by:
        refuse_unsaid(everything, name, "scores.by")
    if recipe.scores.phases:
        require_phase_tag(everything, recipe.scores.phases)


def whole_split(
    parts: Split, train: Dataset, test: Dataset, *, by_head: bool, referenced: Collection[str] = ()
) -> Split:
    """Complete a split of the training file: by what a test file shares with it, and by elements not trained on.

    Parameters
    ----------
    referenced
        Elements whose reference energies are given, whatever is trained on.
    """
    sharing = leaks_between(train, test) if len(test) else None
    judged = [train[parts.validation], test if len(test) else train[parts.test], train[parts.inside]]
    lacking = _untrained_by_head if by_head else _untrained_elements
    warnings = (
        *lacking(train[parts.train], judged, referenced),
        *(sharing.warnings if sharing else ()),
        *parts.warnings,
    )
    return parts.model_copy(update={"sharing": sharing, "warnings": warnings})


def part_frames(frames: Frames, split: Split) -> Parts:
    """Part the frames of the training file; the test is that of the test file where there is one."""
    train, known, given = frames.train, frames.on_train, len(frames.test) > 0
    return Parts(
        train=train[split.train],
        validation=train[split.validation],
        test=frames.test if given else train[split.test],
        on_train=[known[i] for i in split.train],
        on_validation=[known[i] for i in split.validation],
        on_test=frames.on_test if given else [known[i] for i in split.test],
        inside=train[split.inside],
        on_inside=[known[i] for i in split.inside],
        split=split,
        train_graphs=frames.graphs.take(split.train) if frames.graphs is not None else None,
        validation_graphs=frames.graphs.take(split.validation) if frames.graphs is not None else None,
    )


def _untrained_elements(
    train: Dataset, others: Sequence[Dataset], referenced: Collection[str], head: str = ""
) -> list[Caution]:
    known = {*train.elements(), *referenced}
    missing = sorted({symbol for other in others for symbol in other.elements()} - known)
    if not missing:
        return []
    text = (
        f"{head and f'head {head}: '}{', '.join(missing)}: in validation or test but not in training; their reference "
        "energies are the foundation's, and energies of such frames mean nothing at another level of theory"
    )
    return [Caution(code="untrained-elements", damage=Damage.WRONG, text=text)]


def _untrained_by_head(train: Dataset, others: Sequence[Dataset], referenced: Collection[str]) -> list[Caution]:
    return [
        caution
        for head, frames in frames_by_head(train).items()
        for caution in _untrained_elements(
            train[frames], [other[frames_by_head(other).get(head, [])] for other in others], referenced, head
        )
    ]
