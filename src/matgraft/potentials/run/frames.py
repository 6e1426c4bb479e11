"""The first half of a run: frames read, labelled by the foundation too, audited and parted.

read_parts -> foundation_predictions -> audited, divide -> part_frames -> Parts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matgraft.core.errors import AuditError, OptionError
from matgraft.core.files import write_json, write_text
from matgraft.core.findings import DROP, Action, Finding, Part, blocking
from matgraft.core.processes import cores
from matgraft.core.quantities import Array
from matgraft.potentials.audit.audit import audit, audit_heads
from matgraft.potentials.audit.coverage import coverage
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import HEAD_TAG, assign_heads, frames_by_head, require_heads
from matgraft.potentials.data.numbering import leave_out
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.repair import occurs, reorder_groups
from matgraft.potentials.data.split import STRATUM_TAG, Split, leaks_between, split
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_what_can_be, predict
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.remedies import as_typed
from matgraft.potentials.tuning.loss import weigh_parts

Predictions = Sequence[Mapping[str, Array]]
PREDICTING = "the foundation's predictions"
"""Title of the progress bar."""


@dataclass(frozen=True)
class Parts:
    """The frames of a run, and the foundation's predictions on each part."""

    train: Dataset
    validation: Dataset
    test: Dataset
    on_train: Predictions
    on_validation: Predictions
    on_test: Predictions
    split: Split
    warnings: tuple[str, ...]

    @property
    def scored(self) -> tuple[str, Dataset, Predictions]:
        """Return the part that the model is judged on: the test, or the validation where there is none."""
        if len(self.test):
            return "test", self.test, self.on_test
        return "validation", self.validation, self.on_validation


def open_folder(out: Path, recipe: Recipe) -> None:
    """Make the run folder and leave the recipe in it."""
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "recipe.yaml", recipe.to_yaml())


def read_parts(recipe: Recipe) -> tuple[Dataset, Dataset]:
    """Return the training and the test frames, those that are to be dropped left out, each with its head."""
    if recipe.audit.drop_test and not recipe.test:
        raise OptionError(
            f"{DROP['test']} would do nothing without a test file",
            remedy=f"take it back; {DROP['train']} leaves out frames of the training file, which the test is a part of",
            options=[{DROP["test"]: None}],
        )
    train = read_one(recipe, recipe.train)
    test = read_one(recipe, recipe.test, beside=True) if recipe.test else train[:0]
    orders = _shear_by_group(recipe)
    train, test = reorder_groups(train, orders, beside=[test]), reorder_groups(test, orders, beside=[train])
    train = leave_out(train, recipe.audit.drop, DROP["train"])
    test = leave_out(test, recipe.audit.drop_test, DROP["test"])
    if recipe.heads_by:
        train, test = assign_heads([train, test], recipe.heads_by)
    return train, test


def read_one(recipe: Recipe, file: str | Sequence[str], *, beside: bool = False) -> Dataset:
    """Read frames as the recipe says, but for the shear of groups; `beside` as of `read`."""
    shear = recipe.shear if isinstance(recipe.shear, str) else None
    return read(
        file,
        keys=recipe.keys,
        units=recipe.units,
        shear=shear,
        want=recipe.want,
        theory=recipe.theory,
        beside=beside,
    )


def read_further(recipe: Recipe, file: Path, *, beside: bool) -> Dataset:
    """Read further frames than those that the recipe was written for: they need not have each of its groups."""
    dataset = read_one(recipe, str(file), beside=beside)
    orders = {group: order for group, order in _shear_by_group(recipe).items() if occurs(group, dataset)}
    return leave_out(reorder_groups(dataset, orders), recipe.audit.drop_test, DROP["test"])


def _shear_by_group(recipe: Recipe) -> dict[str, str]:
    return recipe.shear if isinstance(recipe.shear, dict) else {}


def foundation_predictions(
    parent: Potential, frames: Dataset, quiet: bool, part: Part = "train"
) -> tuple[Predictions, Finding]:
    """Return the foundation's predictions, empty where it cannot take a frame, and the finding that says so."""
    if not len(frames):
        return [], _refused(parent, frames, {}, part)
    title = "" if quiet else f"graphs of {len(frames)} frames"
    graphs, taken, reasons = encode_what_can_be(parent, frames.samples, processes=cores(), progress=title)
    samples = frames[taken].samples
    known = (
        predict(parent, samples, encoded=graphs, processes=cores(), progress="" if quiet else PREDICTING)
        if taken
        else []
    )
    predictions = dict(zip(taken, known, strict=True))
    return [predictions.get(i, {}) for i in range(len(frames))], _refused(parent, frames, reasons, part)


def _refused(parent: Potential, frames: Dataset, reasons: Mapping[int, str], part: Part) -> Finding:
    title = f"frames that {parent.card.name} cannot take"
    whose = "training" if part == "train" else "test"
    if not reasons:
        return Finding(
            code="not-encodable",
            title=title,
            outcome="passed",
            part=part,
            evidence=f"all {len(frames)} {whose} frames can be taken",
        )
    first = next(iter(reasons))
    return Finding(
        code="not-encodable",
        title=title,
        outcome="failed",
        severity="error",
        frames=tuple(reasons),
        part=part,
        evidence=f"{len(reasons)} of {len(frames)} {whose} frames; the first, {frames[first].where}: {reasons[first]}",
        remedy=f"leave these {whose} frames out",
        actions=(Action(drop=tuple(reasons), part=part),),
    )


def audited(
    recipe: Recipe,
    parent: Potential,
    train: Dataset,
    predictions: Predictions,
    refused: Sequence[tuple[Dataset, Finding]],
    out: Path,
) -> list[Finding]:
    """Audit the training frames and write what was found.

    Parameters
    ----------
    refused
        Each part with the finding on frames that the foundation cannot take.

    Raises
    ------
    AuditError
        If a finding blocks that the recipe does not allow, or test frames cannot be predicted.
    """
    findings = look(recipe, parent, train, predictions, refused)
    write_json(out / "audit.json", {"findings": [finding.model_dump() for finding in findings]})
    write_json(out / "coverage.json", coverage(train).model_dump())
    if found := blocking(findings, recipe.audit.allow):
        raise _blocked(found, recipe)
    return findings


def _blocked(found: Sequence[Finding], recipe: Recipe) -> AuditError:
    causes = [
        AuditError(f"{one.code}: {one.evidence}", remedy=one.remedy, options=[each.options for each in one.actions])
        for one in found
    ]
    codes = list(dict.fromkeys([*recipe.audit.allow, *(one.code for one in found if one.part == "train")]))
    return AuditError(
        f"{len(found)} finding(s) block training",
        where=", ".join(recipe.train_files),
        causes=causes,
        remedy="put the data right" + ("; if you know better, allow the findings" if codes else ""),
        options=[{"audit.allow": codes}] if codes else [],
    )


def look(
    recipe: Recipe,
    parent: Potential,
    train: Dataset,
    predictions: Predictions,
    refused: Sequence[tuple[Dataset, Finding]],
) -> list[Finding]:
    """Audit the frames, those of several heads apart; frames have their numbers in the files, options can be typed.

    Raises
    ------
    OptionError
        If the recipe allows a code that no look has.
    """
    looks = audit_heads if recipe.heads_by else audit
    found = looks(train, predictions, elements=parent.card.elements, model_name=parent.card.name)
    findings = [
        as_typed(one, frames, recipe) for frames, one in [*((train, one) for one in found), *refused] if len(frames)
    ]
    codes = sorted({finding.code for finding in findings})
    if unknown := sorted(set(recipe.audit.allow) - set(codes)):
        raise OptionError(f"audit.allow names {unknown}", allowed=codes)
    return findings


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
        stratum=HEAD_TAG if recipe.heads_by else STRATUM_TAG,
    )
    if recipe.heads_by:
        require_heads(train[division.train], train[division.validation])
    weigh_parts(train[division.train], train[division.validation], recipe.loss, by_head=bool(recipe.heads_by))
    return division


def part_frames(
    recipe: Recipe,
    parts: Split,
    train: Dataset,
    test: Dataset,
    on_train: Predictions,
    on_test: Predictions,
    out: Path,
) -> Parts:
    """Part the training file; a test file given is held against it for leaks."""
    warnings, facts = parts.warnings, parts.model_dump()
    if len(test):
        sharing = leaks_between(train, test)
        warnings = (*sharing.warnings, *warnings)
        facts |= {"sharing": sharing.model_dump()}
    chosen = {name: list(getattr(parts, name)) for name in ("train", "validation", "test")}
    judged = [train[chosen["validation"]], test if len(test) else train[chosen["test"]]]
    lacking = _untrained_by_head if recipe.heads_by else _untrained_elements
    warnings = (*lacking(train[chosen["train"]], judged), *warnings)
    write_json(out / "split.json", facts | {"warnings": warnings})
    known = {name: [on_train[i] for i in positions] for name, positions in chosen.items()}
    return Parts(
        train=train[chosen["train"]],
        validation=train[chosen["validation"]],
        test=test if len(test) else train[chosen["test"]],
        on_train=known["train"],
        on_validation=known["validation"],
        on_test=on_test if len(test) else known["test"],
        split=parts,
        warnings=tuple(warnings),
    )


def _untrained_elements(train: Dataset, others: Sequence[Dataset]) -> list[str]:
    missing = sorted({symbol for other in others for symbol in other.elements()} - set(train.elements()))
    if not missing:
        return []
    return [
        f"{', '.join(missing)}: in validation or test but not in training; their reference energies are the "
        "foundation's, and energies of such frames mean nothing at another level of theory"
    ]


def _untrained_by_head(train: Dataset, others: Sequence[Dataset]) -> list[str]:
    return [
        f"head {name}: {line}"
        for name, frames in frames_by_head(train).items()
        for line in _untrained_elements(train[frames], [other[frames_by_head(other).get(name, [])] for other in others])
    ]
