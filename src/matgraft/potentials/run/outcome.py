"""What came of a fit: figures, checks, the model with its card, the verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from matgraft.core.files import write_json
from matgraft.core.findings import Finding
from matgraft.core.model import ModelCard
from matgraft.core.processes import cores
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.registry import HEADS, Head, Heads, save_folder
from matgraft.potentials.checks.base import CheckEvidence, run_checks
from matgraft.potentials.checks.forgetting import Forgetting
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.heads import frames_by_head
from matgraft.potentials.data.seen import fingerprints
from matgraft.potentials.exports.structures import keep
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.frames import Parts
from matgraft.potentials.scoring.heads import judge_heads, summarise_heads
from matgraft.potentials.scoring.metrics import summarise
from matgraft.potentials.scoring.table import predictions_table, write_predictions
from matgraft.potentials.scoring.verdict import Verdict, verdict
from matgraft.potentials.tuning.adapt import TunedPotential
from matgraft.potentials.tuning.heads import MultiHeadPotential
from matgraft.potentials.tuning.references import HeadShifts, References, ReferenceShift, shifted

SEEN = "seen.json"
"""Fingerprints of the structures that the fit has seen, by part."""


def evaluate_parts(recipe: Recipe, tuned: Potential, parts: Parts, references: References, out: Path) -> dict[str, Any]:
    """Score the tuned model beside its foundation, shifted or not, and write predictions and figures."""
    part, dataset, untuned = parts.scored
    models = {"tuned": predict(tuned, dataset.samples, processes=cores()), "untuned": untuned}
    models["shift"] = shifted(dataset, untuned, references)
    groups = _groups(parts, part, dataset)
    summary = summarise(dataset, models, groups, part=part)
    if recipe.heads_by:
        summary["heads"] = summarise_heads(dataset, models, groups, part=part)
    write_predictions(predictions_table({part: (dataset, models)}), out / "predictions.parquet")
    write_json(out / "metrics.json", summary)
    seen = {"train": fingerprints(parts.train), "validation": fingerprints(parts.validation)}
    write_json(out / SEEN, seen, indent=None)
    return summary


def check_parts(
    recipe: Recipe, parent: Potential, adapted: TunedPotential, parts: Parts, out: Path, quiet: bool
) -> list[Finding]:
    """Hold the tuned model, head by head, against its foundation where the data say nothing."""
    tuned, references, folder = adapted.backbone, adapted.references, out / "checkpoints"
    found = (
        {"": CheckEvidence(tuned, parent, references, parts.train, folder, quiet)}
        if isinstance(references, ReferenceShift)
        else {}
    )
    if isinstance(tuned, MultiHeadPotential) and isinstance(references, HeadShifts):
        for name, frames in frames_by_head(parts.train).items():
            found[name] = CheckEvidence(
                tuned.at(name), parent, references.heads[name], parts.train[frames], folder, quiet
            )
    findings = []
    for head, evidence in found.items():
        for finding in run_checks([Forgetting(**recipe.forgetting.model_dump())], evidence):
            title = f"Head {head}: {finding.title}" if head else finding.title
            findings.append(finding.model_copy(update={"title": title, "details": {**finding.details, "head": head}}))
    write_json(out / "checks.json", {"findings": [finding.model_dump() for finding in findings]})
    return findings


def _groups(parts: Parts, part: str, dataset: Dataset) -> Sequence[str]:
    """Return the group of each frame: the split's where the part comes from it, else found as the split finds them."""
    positions = getattr(parts.split, part)
    if len(positions) == len(dataset):
        return [parts.split.groups[i] for i in positions]
    return find_groups(dataset).labels


def save_model(
    recipe: Recipe, parent: Potential, adapted: TunedPotential, parts: Parts, summary: dict[str, Any], out: Path
) -> None:
    """Write the tuned potential, or one for each head, with cards."""
    if not isinstance(adapted.backbone, MultiHeadPotential):
        _save_plain(recipe, parent, adapted, adapted.backbone, parts.train, parts.scored[1], summary, out / "model")
        return
    trained, scored = frames_by_head(parts.train), frames_by_head(parts.scored[1])
    heads: dict[str, Head] = {}
    for name in adapted.backbone.names:
        train, judged = parts.train[trained[name]], parts.scored[1][scored.get(name, [])]
        plain, figures = adapted.backbone.at(name), summary["heads"].get(name, {})
        _save_plain(recipe, parent, adapted, plain, train, judged, figures, out / "model" / name, head=name)
        theory = train[0].theory or LevelOfTheory()
        heads[name] = Head(n_train=len(train), theory=theory.describe())
    HEADS.write(out / "model", Heads(heads=heads, licence=parent.card.licence, parent=parent.card))


def _save_plain(
    recipe: Recipe,
    parent: Potential,
    adapted: TunedPotential,
    plain: Potential,
    train: Dataset,
    scored: Dataset,
    summary: Mapping[str, Any],
    folder: Path,
    head: str = "",
) -> None:
    """Write one potential with its card."""
    theory = next((sample.theory for sample in train if sample.theory is not None), LevelOfTheory())
    tuned = {
        "name": f"{parent.card.name} tuned on {recipe.title}{head and f', head {head}'}",
        "elements": train.elements(),
        "theory": theory,
        "weights_from": f"matgraft {version('matgraft')}, strategy {adapted.strategy}, from {parent.card.name}",
        "citation": parent.card.citation,
        "references_eV": references_of(plain, train.elements()),
        "head": head,
        "parent": parent.card,
        "recipe": recipe.model_dump(mode="json"),
        "data_sha256": {"train": train.hash(), "scored": scored.hash()},
        "metrics": {name: summary[name] for name in ("test", "untuned", "shift", "part") if name in summary},
    }

    def describe(fresh: ModelCard) -> ModelCard:
        return fresh.model_copy(update=tuned)

    save_folder(plain, folder, describe)
    keep(train, folder)


def judge(
    summary: Mapping[str, Any],
    findings: Sequence[Finding],
    adapted: TunedPotential,
    parts: Parts,
    chosen: str,
    out: Path,
) -> Verdict:
    """Return the verdict over figures, findings and warnings, head by head where there are several."""
    trained = adapted.loss.weights(parts.train) if adapted.trained else ()
    missing = json.loads((out / "coverage.json").read_text())["missing"]
    warnings = [*_fit_warnings(adapted), *parts.warnings]
    whole = verdict(summary, findings, warnings, missing, trained=trained, chosen=chosen)
    if not isinstance(adapted.backbone, MultiHeadPotential):
        return whole
    by_head = {name: verdict(each, trained=trained) for name, each in summary["heads"].items()}
    return judge_heads(whole, by_head, adapted.backbone.names)


def _fit_warnings(adapted: TunedPotential) -> list[str]:
    """Say where a fit gave its starting weights back."""
    if not adapted.trained or adapted.fit.best_step:
        return []
    start = "with shifted reference energies" if _is_shifted(adapted.references) else "as it came"
    return [
        f"No step of the fit lowered the validation loss: the model is the foundation {start}. "
        "A smaller fit.rate or more minutes may help."
    ]


def _is_shifted(references: References) -> bool:
    shifts = references.heads.values() if isinstance(references, HeadShifts) else [references]
    return any(value for shift in shifts for value in shift.shift_eV.values())


def references_of(backbone: Potential, elements: Sequence[str]) -> dict[str, float]:
    """Return the model's reference energies (eV an atom) of some elements."""
    return {symbol: float(backbone.references[atomic_numbers[symbol] - 1]) for symbol in elements}
