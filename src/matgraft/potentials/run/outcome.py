"""What came of a fit: scores, the model with its card, checks, the verdict.

Each is made head by head; a model of one head has one without a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from ase.data import atomic_numbers

from matgraft.core.findings import Finding, Findings
from matgraft.core.model import ModelCard
from matgraft.core.processes import cores
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.registry import CARD, HEADS, Head, Heads, save_folder
from matgraft.core.verdict import Caution, Damage, Use, Verdict
from matgraft.potentials.checks.base import CheckEvidence, run_checks
from matgraft.potentials.checks.forgetting import Forgetting
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.heads import HEAD_TAG, frames_by_head
from matgraft.potentials.data.splits.parts import INSIDE
from matgraft.potentials.exports.repulsion import keep_closest
from matgraft.potentials.exports.structures import keep
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.uncertainty import UNCERTAINTY
from matgraft.potentials.recipe import ForgettingSettings, Recipe, ScoreSettings
from matgraft.potentials.run.frames import Parts
from matgraft.potentials.run_files import CHECKPOINTS, MODEL, PREDICTIONS
from matgraft.potentials.scoring.frame_errors import Predictions
from matgraft.potentials.scoring.heads import change_heads, judge_heads, summarise_heads
from matgraft.potentials.scoring.relative import Elements, lowest_elements
from matgraft.potentials.scoring.scores import Scores, changes, summarise
from matgraft.potentials.scoring.table import predictions_table, write_predictions
from matgraft.potentials.scoring.verdict import verdict
from matgraft.potentials.tuning.adapt import TunedPotential
from matgraft.potentials.tuning.heads import MultiHeadPotential
from matgraft.potentials.tuning.references import HeadShifts, References, ReferenceShift, shifted
from matgraft.potentials.uncertainty.fit import Simulations, fit_uncertainty


@dataclass(frozen=True)
class TunedHead:
    """One head of a tuned model.

    Attributes
    ----------
    name
        Empty where the model has one head.
    model
        A plain potential.
    references
        The shift that it starts from.
    train, scored
        Its frames of the training part, and of the part that is scored. The foundation's own head has all frames that
        its body was trained on, and none that is scored.
    """

    name: str
    model: Potential
    references: ReferenceShift
    train: Dataset
    scored: Dataset


def heads_of(adapted: TunedPotential, parts: Parts) -> Iterator[TunedHead]:
    """Yield each head; a copy of the model is made for each where there are several."""
    tuned, references, scored = adapted.backbone, adapted.references, parts.scored[1]
    if isinstance(tuned, MultiHeadPotential) and isinstance(references, HeadShifts):
        of_train, of_scored = frames_by_head(parts.train), frames_by_head(scored)
        for name in tuned.names:
            own = parts.train[of_train[name]] if name in of_train else parts.train
            yield TunedHead(name, tuned.at(name), references.heads[name], own, scored[of_scored.get(name, [])])
    elif isinstance(references, ReferenceShift):
        yield TunedHead("", tuned, references, parts.train, scored)


def score(adapted: TunedPotential, parts: Parts, settings: ScoreSettings, out: Path) -> Scores:
    """Score the tuned model beside its foundation, shifted or not, and write the predictions."""
    part, dataset, untuned = parts.scored
    models = _beside_baselines(adapted, dataset, untuned)
    inside = {INSIDE: (parts.inside, _beside_baselines(adapted, parts.inside, parts.on_inside))} if parts.inside else {}
    write_predictions(predictions_table({part: (dataset, models), **inside}), out / PREDICTIONS)
    groups = _groups(parts, part, dataset)
    held = models if part == "validation" else _beside_baselines(adapted, parts.validation, parts.on_validation)
    before_after = (held["shift"], held["tuned"])
    heads = {}
    if isinstance(adapted.references, HeadShifts):
        changed = change_heads(parts.validation, *before_after)
        found = summarise_heads(dataset, models, groups, part=part, by=settings.by, phases=settings.phases)
        heads = {name: one.model_copy(update={"validation": changed[name]}) for name, one in found.items()}
    elements = None if heads else _elements(adapted, parts)

    def scored(name: str, frames: Dataset, own: Mapping[str, Predictions], units: Sequence[str]) -> Scores:
        found = summarise(frames, own, units, part=name, by=settings.by, phases=settings.phases, elements=elements)
        # Energies of several levels of theory have no differences.
        return found.model_copy(update={"relative": None}) if heads else found

    scores = scored(part, dataset, models, groups)
    more = {name: scored(name, *each, _groups(parts, name, each[0])) for name, each in inside.items()}
    return scores.model_copy(
        update={
            "heads": heads,
            "validation": changes(parts.validation, *before_after),
            "held": parts.split.hold,
            "inside": more.get(INSIDE),
        }
    )


def _elements(adapted: TunedPotential, parts: Parts) -> Elements:
    """Return the lowest frame of each pure element among all frames of the run, with each model's predictions."""
    known = (
        (parts.train, parts.on_train),
        (parts.validation, parts.on_validation),
        (parts.test, parts.on_test),
        (parts.inside, parts.on_inside),
    )
    every = concatenate([dataset for dataset, _ in known])
    untuned = [one for _, predictions in known for one in predictions]
    lowest = sorted(lowest_elements(every).values())
    frames = every[lowest]
    return Elements(frames, _beside_baselines(adapted, frames, [untuned[i] for i in lowest]) if lowest else NOTHING)


NOTHING: Mapping[str, Predictions] = {"tuned": [], "untuned": [], "shift": []}
"""Of each model, on no frame."""


def _beside_baselines(adapted: TunedPotential, dataset: Dataset, untuned: Predictions) -> Mapping[str, Predictions]:
    return {
        "tuned": predict_samples(adapted.backbone, dataset.samples, processes=cores()),
        "untuned": untuned,
        "shift": shifted(dataset, untuned, adapted.references),
    }


def _groups(parts: Parts, part: str, dataset: Dataset) -> Sequence[str]:
    """Return the group of each frame: the split's where the part comes from it, else found as the split finds them."""
    positions = getattr(parts.split, part)
    if len(positions) == len(dataset):
        return [parts.split.groups[i] for i in positions]
    return find_groups(dataset).labels


def save_model(
    recipe: Recipe, foundation: Potential, adapted: TunedPotential, parts: Parts, scores: Scores, out: Path
) -> None:
    """Write the tuned potential, or one for each head, with cards."""
    heads: dict[str, Head] = {}
    for head in heads_of(adapted, parts):
        kept = _keeps_foundation(head)
        elements = foundation.card.elements if kept else head.train.elements()
        theory = foundation.card.theory if kept else first_theory(head.train)
        own = scores.heads.get(head.name) if head.name else scores
        tuned = {
            "name": f"{foundation.card.name} tuned on {recipe.title}{head.name and f', head {head.name}'}",
            "elements": elements,
            "theory": theory,
            "weights_from": f"matgraft {version('matgraft')}, strategy {adapted.strategy}, from {foundation.card.name}",
            "citation": foundation.card.citation,
            "references_eV": references_of(head.model, elements),
            "head": head.name,
            "corrects": head.train.provenance.corrects,
            "parent": foundation.card,
            "recipe": recipe.model_dump(mode="json"),
            "data_sha256": {"train": head.train.hash(), "scored": head.scored.hash()},
            "metrics": own.model_dump(mode="json", include={"test", "untuned", "shift", "part"}) if own else {},
        }
        _save_plain(head, tuned, out / MODEL / head.name)
        n_train = adapted.replay.n_frames if kept and adapted.replay else len(head.train)
        heads[head.name] = Head(n_train=n_train, theory=theory.describe())
    if "" not in heads:
        card = foundation.card
        HEADS.write(out / MODEL, Heads(heads=heads, licence=card.licence, parent=card))


def _keeps_foundation(head: TunedHead) -> bool:
    """Say whether a head is the foundation's own: one of several whose frames are those of other heads."""
    return bool(head.name) and set(head.train.tag(HEAD_TAG)) != {head.name}


def first_theory(frames: Dataset) -> LevelOfTheory:
    """Return the first level of theory that frames state; an empty one where none does."""
    return next((sample.theory for sample in frames if sample.theory is not None), LevelOfTheory())


def _save_plain(head: TunedHead, tuned: Mapping[str, object], folder: Path) -> None:
    """Write one potential with its card."""

    def describe(fresh: ModelCard) -> ModelCard:
        return fresh.model_copy(update=tuned)

    save_folder(head.model, folder, describe)
    keep(head.train, folder)
    keep_closest(head.train, folder)


def fit_uncertainties(adapted: TunedPotential, parts: Parts, out: Path, *, seed: int, quiet: bool) -> None:
    """Fit how sure each head is, and leave it beside its model; what was fitted to the same weights is kept.

    A head without validation frames, such as the foundation's own, has none.
    """
    for head in heads_of(adapted, parts):
        folder = out / MODEL / head.name
        head.model.card = CARD.read(folder)  # of several heads the model is a copy
        train, validation = (_of_head(head, part) for part in (parts.train, parts.validation))
        kept = UNCERTAINTY.find(folder)
        if not validation or (kept and kept.weights_sha256 == head.model.card.weights_sha256):
            continue
        of_train, of_validation = (_groups(parts, name, getattr(parts, name)) for name in ("train", "validation"))
        found = fit_uncertainty(
            head.model,
            parts.train[train],
            parts.validation[validation],
            simulations=Simulations([of_train[i] for i in train], [of_validation[i] for i in validation]),
            seed=seed,
            progress="" if quiet else "how sure the model is",
        )
        found.save(folder)


def _of_head(head: TunedHead, frames: Dataset) -> list[int]:
    """Return the positions of a head's frames; all where the model has one head."""
    return frames_by_head(frames).get(head.name, []) if head.name else list(range(len(frames)))


def check_forgetting(
    settings: ForgettingSettings,
    foundation: Potential,
    adapted: TunedPotential,
    parts: Parts,
    out: Path,
    *,
    quiet: bool,
) -> Findings:
    """Hold the tuned model, head by head, against its foundation where the data say nothing."""
    found: list[Finding] = []
    for head in heads_of(adapted, parts):
        evidence = CheckEvidence(
            head.model, foundation, head.references, head.train, folder=out / CHECKPOINTS, quiet=quiet
        )
        found += run_checks([Forgetting(settings.size, settings.file, head.name)], evidence)
    return Findings(findings=tuple(found))


class Needs(NamedTuple):
    """Uses that the training frames do not speak for, and cautions on what the model was tuned for."""

    missing: tuple[Use, ...]
    cautions: tuple[Caution, ...] = ()


def judge(
    scores: Scores,
    adapted: TunedPotential,
    parts: Parts,
    audit: Findings,
    checks: Findings,
    needs: Needs,
    chosen: str,
) -> Verdict:
    """Return the verdict over scores, findings and warnings; it hears every head."""
    trained = adapted.loss.weights(parts.train) if adapted.trained else ()
    whole = verdict(
        scores,
        audit=audit.findings,
        checks=checks.findings,
        cautions=[*_of_fit(adapted, scores.named("untuned")), *parts.split.warnings, *needs.cautions],
        missing=needs.missing,
        trained=trained,
        chosen=chosen,
    )
    # What became of the foundation's own head the check of forgetting says: no frame is scored under it.
    names = list(frames_by_head(parts.train)) if isinstance(adapted.backbone, MultiHeadPotential) else ()
    return judge_heads(whole, {name: verdict(one, trained=trained) for name, one in scores.heads.items()}, names)


def _of_fit(adapted: TunedPotential, baseline: str) -> list[Caution]:
    """Say where a fit gave its starting weights back; a correction of zero leaves the cheap method."""
    if not adapted.trained or adapted.fit.best_step:
        return []
    start = "with shifted reference energies" if _is_shifted(adapted.references) else "as it came"
    return [
        Caution(
            code="no-step-better",
            damage=Damage.DOUBT,
            text=f"No step of the fit lowered the validation loss: the model is {baseline} {start}.",
            remedy="a smaller fit.rate, more minutes or a strategy that trains more of the model may help",
        )
    ]


def _is_shifted(references: References) -> bool:
    shifts = references.heads.values() if isinstance(references, HeadShifts) else [references]
    return any(value for shift in shifts for value in shift.shift_eV.values())


def references_of(backbone: Potential, elements: Sequence[str]) -> dict[str, float]:
    """Return the model's reference energies (eV an atom) of some elements."""
    return {symbol: float(backbone.references[atomic_numbers[symbol] - 1]) for symbol in elements}
