"""From a recipe to a run folder: the only conductor.

    read -> predict (foundation) -> audit -> split -> references -> adapt -> evaluate -> model, verdict, report

Each step leaves its facts in the folder, written atomically, before the next begins:

    recipe.yaml  provenance.json  audit.json  coverage.json  split.json  references.json  history.csv  fit.json
    checkpoints/  model/  predictions.parquet  metrics.json  verdict.json  report.html

A run that was killed is conducted again from its recipe; the fit goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from matgraft.backbones.base import Backbone, ModelCard, Potential
from matgraft.backbones.predict import encode_what_can_be, predict
from matgraft.backbones.processes import cores
from matgraft.backbones.registry import load, save_folder
from matgraft.data.audit import audit
from matgraft.data.coverage import coverage
from matgraft.data.dataset import Dataset
from matgraft.data.provenance import LevelOfTheory
from matgraft.data.read import read
from matgraft.data.repair import reorder_groups
from matgraft.data.split import Split, leaks_between, split
from matgraft.errors import AuditError, OptionError, RunError
from matgraft.findings import Finding, blocking
from matgraft.quantities import Array
from matgraft.recipe import Recipe, make_recipe
from matgraft.reports.html import write_report
from matgraft.scoring.metrics import summarise
from matgraft.scoring.table import predictions_table, write_predictions
from matgraft.scoring.verdict import verdict
from matgraft.transfer.adapt import Adapted, adapt
from matgraft.transfer.loss import weigh_groups
from matgraft.transfer.references import ReferenceShift, fit_references, given_references, keep_references
from matgraft.transfer.strategy import make_strategy

Predictions = Sequence[Mapping[str, Array]]
PACKAGES = ("matgraft", "torch", "chgnet", "ase", "pymatgen", "numpy", "scipy", "lightning-fabric")


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


def tune(recipe: Recipe, out: Path, *, resume: bool = False, quiet: bool = False) -> Path:
    """Conduct a run.

    Parameters
    ----------
    out
        The run folder: new or empty, unless `resume`.
    quiet
        No progress bars.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    AuditError
        If a finding blocks; audit.json has them all.
    """
    parent = _potential(load(recipe.foundation))  # first: where it is refused, no folder is left behind
    _open(out, recipe, resume)
    train, test = _read(recipe)
    _provenance(recipe, train, test, out, resume)
    _refuse_idle_options(recipe, parent, train)
    division = _divide(recipe, train, given_test=len(test) > 0)
    on_train, refused = _foundation(parent, train, quiet)
    findings = _audit(recipe, parent, train, on_train, refused, out)
    on_test = predict(parent, test.samples, processes=cores(), progress=_title(quiet)) if len(test) else []
    parts = _part(division, train, test, on_train, on_test, out)
    references = _references(recipe, parts)
    _write(out / "references.json", references.model_dump() | {"text": references.text})
    adapted = adapt(
        parent,
        parts.train,
        parts.validation,
        strategy=make_strategy(**recipe.strategy.model_dump()),
        references=references,
        loss=recipe.loss,
        settings=recipe.fit,
        folder=out / "checkpoints",
        seed=recipe.seed,
        resume=resume,
        quiet=quiet,
    )
    _write_fit(adapted, recipe, parts.train, out)
    summary = _evaluate(recipe, adapted.backbone, parts, references, out)
    _save_model(recipe, parent, adapted, parts, summary, out)
    trained = adapted.loss.weights(parts.train)
    missing = json.loads((out / "coverage.json").read_text())["missing"]
    judgement = verdict(summary, findings, parts.warnings, missing, trained=trained)
    _write(out / "verdict.json", judgement.model_dump())
    return write_report(out)


def resume_run(out: Path, *, quiet: bool = False) -> Path:
    """Go on with a run that was broken off; a finished one only gets its report again."""
    recipe = saved_recipe(out)
    if (out / "verdict.json").is_file():
        return write_report(out)
    return tune(recipe, out, resume=True, quiet=quiet)


def saved_recipe(run: Path, options: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a run folder, with some values replaced.

    Raises
    ------
    RunError
        If the folder is none.
    """
    file = run / "recipe.yaml"
    if not file.is_file():
        raise RunError("this is no run: recipe.yaml is missing", where=str(run))
    return make_recipe(file, options)


def audit_file(recipe: Recipe, *, quiet: bool = False) -> tuple[Dataset, list[Finding]]:
    """Read the training file and audit it against the foundation, without a run."""
    parent = _potential(load(recipe.foundation))
    train, _ = _read(recipe)
    predictions, refused = _foundation(parent, train, quiet)
    return train, [*audit(train, predictions, elements=parent.card.elements, model_name=parent.card.name), refused]


def evaluate_run(run: Path, frames: Path, options: Sequence[str] = (), *, quiet: bool = False) -> dict[str, Any]:
    """Score a run's model on further frames, beside its foundation and the shifted foundation.

    Parameters
    ----------
    options
        ``key=value`` items over the run's recipe, for files with other keys or units.

    Returns
    -------
    dict
        As metrics.json; also written to ``evaluations/<name of the file>.json`` in the run folder.
    """
    recipe = saved_recipe(run, options)
    tuned, parent = _potential(load(run)), _potential(load(recipe.foundation))
    references = ReferenceShift.model_validate(_without(json.loads((run / "references.json").read_text()), "text"))
    dataset = _read_one(recipe, str(frames))
    progress = "" if quiet else f"predictions of {len(dataset)} frames"
    untuned = predict(parent, dataset.samples, processes=cores(), progress=progress)
    predictions = {
        "tuned": predict(tuned, dataset.samples, processes=cores(), progress=progress),
        "untuned": untuned,
        "shift": shifted(dataset, untuned, references),
    }
    settings = recipe.evaluate
    summary = summarise(
        dataset, predictions, dataset.tag("trajectory"), resamples=settings.resamples, seed=settings.seed
    )
    (run / "evaluations").mkdir(exist_ok=True)
    _write(run / "evaluations" / f"{frames.stem}.json", summary)
    return summary


def shifted(dataset: Dataset, predictions: Predictions, references: ReferenceShift) -> list[dict[str, Array]]:
    """Return the foundation's predictions with the reference shift added: the baseline that any tuning must beat."""
    return [
        {**prediction, "energy": prediction["energy"] + references.energy(sample.content.numbers)}
        for sample, prediction in zip(dataset, predictions, strict=True)
    ]


# ------------------------------------------------------------------- steps


def _open(out: Path, recipe: Recipe, resume: bool) -> None:
    if not resume and out.exists() and any(out.iterdir()):
        raise OptionError(
            f"the run folder {out} is not empty",
            remedy=f"another --out, or matgraft tune --resume {out} to go on with it",
        )
    out.mkdir(parents=True, exist_ok=True)
    _write_text(out / "recipe.yaml", recipe.to_yaml())


def _read(recipe: Recipe) -> tuple[Dataset, Dataset]:
    train = _read_one(recipe, recipe.train)
    dropped = set(recipe.audit.drop)
    if outside := sorted(i for i in dropped if not 0 <= i < len(train)):
        raise OptionError(f"audit.drop names frames {outside}", allowed=[f"0 to {len(train) - 1}"])
    kept = train[[i for i in range(len(train)) if i not in dropped]]
    return kept, _read_one(recipe, recipe.test) if recipe.test else train[:0]


def _read_one(recipe: Recipe, file: str) -> Dataset:
    everywhere, by_group = (None, recipe.shear) if isinstance(recipe.shear, dict) else (recipe.shear, {})
    dataset = read(file, keys=recipe.keys, units=recipe.units, shear=everywhere, want=recipe.want, theory=recipe.theory)
    return reorder_groups(dataset, by_group)


def _provenance(recipe: Recipe, train: Dataset, test: Dataset, out: Path, resume: bool) -> None:
    hashes = {"train": train.hash(), "test": test.hash() if len(test) else None}
    path = out / "provenance.json"
    if resume and path.is_file() and (before := json.loads(path.read_text())["data_sha256"]) != hashes:
        changed = ", ".join(part for part in hashes if hashes[part] != before[part])
        raise RunError(f"the {changed} data are not those that the run began with", where=str(out))
    stated = {id(s.theory): s.theory for s in chain(train, test) if s.theory is not None}  # frames share what is equal
    theories = {theory.model_dump_json(): theory for theory in stated.values()}
    facts = train.provenance.model_dump() | {
        "test_files": [file.model_dump() for file in test.provenance.files],
        "theory": [theory.model_dump() for theory in theories.values()],
        "data_sha256": hashes,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "command": repeat_command(recipe),
    }
    _write(path, facts)


def repeat_command(recipe: Recipe) -> str:
    """Return the command that repeats a run from its saved recipe."""
    return f"matgraft tune {shlex.quote(recipe.train)} RUN/recipe.yaml --out NEW"


def _foundation(parent: Potential, frames: Dataset, quiet: bool) -> tuple[Predictions, Finding]:
    """Return the foundation's predictions, empty where it cannot take a frame, and the finding that says so."""
    title = "" if quiet else f"graphs of {len(frames)} frames"
    graphs, taken, reasons = encode_what_can_be(parent, frames.samples, processes=cores(), progress=title)
    samples = frames[taken].samples
    known = predict(parent, samples, encoded=graphs, processes=cores(), progress=_title(quiet)) if taken else []
    predictions = dict(zip(taken, known, strict=True))
    return [predictions.get(i, {}) for i in range(len(frames))], _refused(parent, frames, reasons)


def _refused(parent: Potential, frames: Dataset, reasons: Mapping[int, str]) -> Finding:
    title = f"frames that {parent.card.name} cannot take"
    if not reasons:
        return Finding(code="not-encodable", title=title, outcome="passed", evidence=f"all {len(frames)} can be")
    first = next(iter(reasons))
    return Finding(
        code="not-encodable",
        title=title,
        outcome="failed",
        severity="error",
        frames=tuple(reasons),
        evidence=f"{len(reasons)} of {len(frames)} frames; the first, {frames[first].where}: {reasons[first]}",
        remedy="leave them out",
        option=f"audit.drop={list(reasons)}",
    )


def _in_the_file(finding: Finding, recipe: Recipe, n_kept: int) -> Finding:
    """Count a finding's frames as the file does, where some were dropped, and keep those dropped in its option."""
    dropped = set(recipe.audit.drop)
    if not dropped or not finding.frames:
        return finding
    kept = [i for i in range(n_kept + len(dropped)) if i not in dropped]
    frames = tuple(kept[i] for i in finding.frames)
    drops = finding.option.startswith("audit.drop=")
    option = f"audit.drop={sorted(dropped | set(frames))}" if drops else finding.option
    return finding.model_copy(update={"frames": frames, "option": option})


def _title(quiet: bool) -> str:
    return "" if quiet else "the foundation's predictions"


def _audit(
    recipe: Recipe, parent: Potential, train: Dataset, predictions: Predictions, refused: Finding, out: Path
) -> list[Finding]:
    findings = [*audit(train, predictions, elements=parent.card.elements, model_name=parent.card.name), refused]
    findings = [_in_the_file(finding, recipe, len(train)) for finding in findings]
    _write(out / "audit.json", {"findings": [finding.model_dump() for finding in findings]})
    _write(out / "coverage.json", coverage(train).model_dump())
    unknown = set(recipe.audit.allow) - {finding.code for finding in findings}
    if unknown:
        raise OptionError(f"audit.allow names {sorted(unknown)}", allowed=sorted(finding.code for finding in findings))
    if found := blocking(findings, recipe.audit.allow):
        lines = [f"{one.code}: {one.evidence} -> {one.option or one.remedy}" for one in found]
        raise AuditError(
            f"{len(found)} finding(s) block training:\n  " + "\n  ".join(lines),
            where=recipe.train,
            remedy=f"put the data right, or audit.allow=[{','.join(one.code for one in found)}] if you know better",
        )
    return findings


def _refuse_idle_options(recipe: Recipe, parent: Potential, train: Dataset) -> None:
    """Raise for what the fit would refuse, before the expensive work."""
    make_strategy(**recipe.strategy.model_dump()).learning(parent)
    recipe.loss.weights(train)
    weigh_groups(train, recipe.loss.groups)


def _divide(recipe: Recipe, train: Dataset, *, given_test: bool) -> Split:
    settings = recipe.split
    share = 0.0 if given_test else settings.test
    return split(
        train,
        by=settings.by,
        fractions=(1 - settings.validation - share, settings.validation, share),
        seed=settings.seed,
        gap=settings.gap,
        element=settings.element,
    )


def _part(parts: Split, train: Dataset, test: Dataset, on_train: Predictions, on_test: Predictions, out: Path) -> Parts:
    """Part the training file; a test file given is held against it for leaks."""
    warnings, facts = parts.warnings, parts.model_dump()
    if len(test):
        sharing = leaks_between(train, test)
        warnings = (*sharing.warnings, *warnings)
        facts |= {"sharing": sharing.model_dump()}
    chosen = {name: list(getattr(parts, name)) for name in ("train", "validation", "test")}
    judged = [train[chosen["validation"]], test if len(test) else train[chosen["test"]]]
    warnings = (*_untrained_elements(train[chosen["train"]], judged), *warnings)
    _write(out / "split.json", facts | {"warnings": warnings})
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


def _references(recipe: Recipe, parts: Parts) -> ReferenceShift:
    settings = recipe.references
    if settings.shift_eV and settings.mode != "given":
        raise OptionError("references.shift_eV would do nothing", remedy="references.mode=given")
    if settings.mode == "given":
        return given_references(settings.shift_eV, parts.train)
    if settings.mode == "keep" or not parts.train.count("energy"):
        return keep_references(parts.train)
    return fit_references(parts.train, parts.on_train)


def _write_fit(adapted: Adapted, recipe: Recipe, train: Dataset, out: Path) -> None:
    fit = adapted.fit
    history = pd.DataFrame(fit.history)
    _write_text(out / "history.csv", history.to_csv(index=False))
    facts = {
        name: getattr(fit, name)
        for name in ("best_step", "best_value", "criterion", "stopped", "steps", "epochs", "seconds", "processes")
    }
    facts |= {
        "parameters_trained": adapted.trained,
        "parameters_total": adapted.total,
        "step_zero": adapted.step_zero,
        "settings": adapted.settings.model_dump(),
        "loss_weights": adapted.loss.weights(train),
        "n_frames": len(train),
    }
    _write(out / "fit.json", facts)


def _evaluate(recipe: Recipe, tuned: Potential, parts: Parts, references: ReferenceShift, out: Path) -> dict[str, Any]:
    part, dataset, untuned = parts.scored
    models = {"tuned": predict(tuned, dataset.samples, processes=cores()), "untuned": untuned}
    models["shift"] = shifted(dataset, untuned, references)
    settings = recipe.evaluate
    groups = _groups(parts, part, dataset)
    resampling = {"resamples": settings.resamples, "seed": settings.seed}
    summary = summarise(dataset, models, groups, part=part, **resampling)  # type: ignore[arg-type]
    write_predictions(predictions_table({part: (dataset, models)}), out / "predictions.parquet")
    _write(out / "metrics.json", summary)
    return summary


def _groups(parts: Parts, part: str, dataset: Dataset) -> list[str]:
    """Name what must not be torn apart: the split's groups where the part comes from it, else the trajectory tags."""
    positions = getattr(parts.split, part)
    if len(positions) == len(dataset):
        return [parts.split.groups[i] for i in positions]
    return dataset.tag("trajectory")


def _save_model(
    recipe: Recipe, parent: Backbone, adapted: Adapted, parts: Parts, summary: dict[str, Any], out: Path
) -> None:
    theory = next((sample.theory for sample in parts.train if sample.theory is not None), LevelOfTheory())
    tuned = {
        "name": f"{parent.card.name} tuned on {Path(recipe.train).name}",
        "elements": parts.train.elements(),
        "theory": theory,
        "weights_from": f"matgraft {version('matgraft')}, strategy {recipe.strategy.name}, from {parent.card.name}",
        "citation": parent.card.citation,
        "references_eV": references_of(adapted.backbone, parts.train.elements()),
        "parent": parent.card.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "data_sha256": {"train": parts.train.hash(), "scored": parts.scored[1].hash()},
        "metrics": {name: summary[name] for name in ("test", "untuned", "shift", "part")},
    }

    def describe(fresh: ModelCard) -> ModelCard:
        return fresh.model_copy(update=tuned)

    save_folder(adapted.backbone, out / "model", describe)


def references_of(backbone: Potential, elements: Sequence[str]) -> dict[str, float]:
    """Return the model's reference energies (eV an atom) of some elements."""
    from ase.data import atomic_numbers

    return {symbol: float(backbone.references[atomic_numbers[symbol] - 1]) for symbol in elements}


def _potential(backbone: Backbone) -> Potential:
    if not isinstance(backbone, Potential):
        raise OptionError(f"{backbone.card.name} is no interatomic potential", allowed=["chgnet", "mace", "matgl"])
    return backbone


def _without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name != key}


def _write(path: Path, facts: Any) -> None:
    _write_text(path, json.dumps(facts, indent=2, ensure_ascii=False))


def _write_text(path: Path, text: str) -> None:
    """Write atomically: a killed run or a full disk leaves the old file."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
