"""From a recipe to a run folder: the only conductor.

    read -> predict (foundation) -> audit -> split -> references -> adapt -> evaluate, check -> model, verdict, report

Each step leaves its facts in the folder, written atomically, before the next begins:

    recipe.yaml  provenance.json  audit.json  coverage.json  split.json  references.json  (ladder.json)  history.csv
    fit.json  checkpoints/  model/  predictions.parquet  metrics.json  checks.json  verdict.json  report.html

With strategy multihead there is a model a head, model/PBE/ and so on, with model/heads.json beside them.

A run that was killed is conducted again from its recipe; the fit goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from matgraft.backbones.base import Backbone, ModelCard, Potential
from matgraft.backbones.predict import encode_what_can_be, predict
from matgraft.backbones.processes import cores
from matgraft.backbones.pseudolabels import encodable
from matgraft.backbones.registry import HEADS, load, part_head, save_folder
from matgraft.checks.base import Evidence, run_checks
from matgraft.checks.forgetting import Forgetting
from matgraft.data.audit import audit, audit_heads
from matgraft.data.coverage import coverage
from matgraft.data.dataset import Dataset
from matgraft.data.heads import HEAD_TAG, assign_heads, frames_by_head, require_heads
from matgraft.data.looks.base import recount_drop
from matgraft.data.provenance import LevelOfTheory
from matgraft.data.read import read
from matgraft.data.repair import reorder_groups
from matgraft.data.split import STRATUM_TAG, Split, leaks_between, split
from matgraft.errors import AuditError, OptionError, RunError, choose
from matgraft.findings import Finding, blocking
from matgraft.quantities import Array
from matgraft.recipe import Recipe, make_recipe
from matgraft.reports.html import write_report
from matgraft.scoring.heads import judge_heads, summarise_heads
from matgraft.scoring.metrics import summarise
from matgraft.scoring.table import predictions_table, write_predictions
from matgraft.scoring.verdict import Verdict, verdict
from matgraft.transfer.adapt import Adapted, adapt
from matgraft.transfer.climb import climb
from matgraft.transfer.heads import MultiHeadPotential
from matgraft.transfer.ladder import LADDER, LadderSettings, make_rungs, refuse_idle_target
from matgraft.transfer.loss import weigh_groups
from matgraft.transfer.references import (
    HeadShifts,
    References,
    ReferenceShift,
    given_references,
    keep_references,
    refit_or_keep,
    shift_heads,
    shifted,
)
from matgraft.transfer.replay import ReplaySettings, rehearses
from matgraft.transfer.strategy import STRATEGIES, Replay, Strategy, make_strategy

Predictions = Sequence[Mapping[str, Array]]
PACKAGES = (
    *("matgraft", "torch", "chgnet", "mace-torch", "e3nn", "matgl"),
    *("ase", "pymatgen", "numpy", "scipy", "scikit-learn", "lightning-fabric"),
)
"""Whose versions a run records, those that are installed."""


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
    recipe, _ = recipe.named()
    parent = _potential(load(recipe.foundation))  # first: where it is refused, no folder is left behind
    _open(out, recipe, resume)
    train, test = _read(recipe)
    _provenance(recipe, train, test, out, resume)
    _refuse_idle_options(recipe, parent, train)
    division = _divide(recipe, train, given_test=len(test) > 0)
    on_train, refused = _foundation(parent, train, quiet)
    findings = _audit(recipe, parent, train, on_train, refused, out)
    on_test = predict(parent, test.samples, processes=cores(), progress=_title(quiet)) if len(test) else []
    parts = _part(recipe, division, train, test, on_train, on_test, out)
    references = _references(recipe, parts)
    _write(out / "references.json", references.model_dump() | {"text": references.text})
    adapted, chosen = _adapt(recipe, parent, parts, references, out, resume, quiet)
    _write_fit(adapted, recipe, parts.train, out)
    summary = _evaluate(recipe, adapted.backbone, parts, references, out)
    _save_model(recipe, parent, adapted, parts, summary, out)
    findings = [*findings, *_check(recipe, parent, adapted, parts, out, quiet)]
    _write(out / "verdict.json", _judge(summary, findings, adapted, parts, chosen, out).model_dump())
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
    return train, [*_look(recipe, parent, train, predictions), refused]


def evaluate_run(run: Path, frames: Path, options: Sequence[str] = (), *, quiet: bool = False) -> dict[str, Any]:
    """Score a run's model on further frames, beside its foundation and the shifted foundation.

    Parameters
    ----------
    run
        A run folder; of several heads, with the one that the frames belong to: ``runs/si#PBE``.
    options
        ``key=value`` items over the run's recipe, for files with other keys or units.

    Returns
    -------
    dict
        As metrics.json; also written to ``evaluations/<name of the file>.json`` in the run folder, with the head
        behind the name where there is one.
    """
    folder, head = part_head(run)
    recipe = saved_recipe(folder, options)
    tuned, parent = _potential(load(run)), _potential(load(recipe.foundation))
    references = _saved_references(folder, head)
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
    (folder / "evaluations").mkdir(exist_ok=True)
    _write(folder / "evaluations" / f"{frames.stem}{head and f'-{head}'}.json", summary)
    return summary


def _saved_references(run: Path, head: str) -> ReferenceShift:
    facts = json.loads((run / "references.json").read_text())
    return ReferenceShift.model_validate(facts["heads"][head] if head else _without(facts, "text"))


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
    by = recipe.heads_by
    train = _read_one(recipe, recipe.train)
    dropped = set(recipe.audit.drop)
    if outside := sorted(i for i in dropped if not 0 <= i < len(train)):
        raise OptionError(f"audit.drop names frames {outside}", allowed=[f"0 to {len(train) - 1}"])
    kept = train[[i for i in range(len(train)) if i not in dropped]]
    test = _read_one(recipe, recipe.test) if recipe.test else train[:0]
    if by:
        kept, test = assign_heads([kept, test], by)
    return kept, test


def _read_one(recipe: Recipe, file: str | Sequence[str]) -> Dataset:
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
        "versions": {"python": platform.python_version()} | _versions(),
        "command": repeat_command(recipe),
    }
    _write(path, facts)


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def repeat_command(recipe: Recipe) -> str:
    """Return the command that repeats a run from its saved recipe."""
    words = ["matgraft", "tune", recipe.train, "RUN/recipe.yaml", "--out", "NEW"]
    return shlex.join(word for word in words if isinstance(word, str))  # several files stand in the recipe alone


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
    said = {name: recount_drop(getattr(finding, name), kept, dropped) for name in ("remedy", "option")}
    return finding.model_copy(update={"frames": frames, **said})


def _title(quiet: bool) -> str:
    return "" if quiet else "the foundation's predictions"


def _audit(
    recipe: Recipe, parent: Potential, train: Dataset, predictions: Predictions, refused: Finding, out: Path
) -> list[Finding]:
    findings = [*_look(recipe, parent, train, predictions), refused]
    findings = [_in_the_file(finding, recipe, len(train)) for finding in findings]
    _write(out / "audit.json", {"findings": [finding.model_dump() for finding in findings]})
    _write(out / "coverage.json", coverage(train).model_dump())
    unknown = set(recipe.audit.allow) - {finding.code for finding in findings}
    if unknown:
        raise OptionError(f"audit.allow names {sorted(unknown)}", allowed=sorted(finding.code for finding in findings))
    if found := blocking(findings, recipe.audit.allow):
        lines = [f"{one.code}: {one.evidence} -> {one.option or one.remedy}" for one in found]
        codes = ",".join(dict.fromkeys(one.code for one in found))
        raise AuditError(
            f"{len(found)} finding(s) block training:\n  " + "\n  ".join(lines),
            where=", ".join(recipe.train_files),
            remedy=f"put the data right, or audit.allow=[{codes}] if you know better",
        )
    return findings


def _look(recipe: Recipe, parent: Potential, train: Dataset, predictions: Predictions) -> list[Finding]:
    """Audit the frames, those of several heads apart."""
    looks = audit_heads if recipe.heads_by else audit
    return looks(train, predictions, elements=parent.card.elements, model_name=parent.card.name)


def _refuse_idle_options(recipe: Recipe, parent: Potential, train: Dataset) -> None:
    """Raise for what the fit would refuse, before the expensive work."""
    if recipe.heads_by and recipe.references.mode == "given":
        raise OptionError("references.mode=given is one shift, and each head has its own", allowed=["refit", "keep"])
    strategies = _strategies(recipe)
    for strategy in strategies.values():
        strategy.learning(parent)
    _refuse_idle_replay(recipe, strategies)
    for file in (recipe.replay.file, recipe.forgetting.file):
        if file is not None:
            encodable(parent, read(file, want=()))  # before minutes go into a fit
    refuse_idle_target(recipe.ladder.target, recipe.loss.weights(train), train)
    weigh_groups(train, recipe.loss.groups)


def _refuse_idle_replay(recipe: Recipe, strategies: Mapping[str, Strategy]) -> None:
    if recipe.strategy.name != LADDER:
        (strategy,) = strategies.values()
        rehearses(strategy, recipe.replay)
    elif recipe.replay != ReplaySettings() and Replay.name not in strategies:
        raise OptionError(
            "replay would do nothing: no rung of the ladder rehearses", allowed=["ladder.rungs=[..., replay]"]
        )


def _strategies(recipe: Recipe) -> dict[str, Strategy]:
    """Return the strategy of the recipe, or those of its ladder's rungs."""
    name, options = recipe.strategy.name or LADDER, recipe.strategy.model_dump(exclude={"name"})
    choose(name, {**STRATEGIES, LADDER: None}, "strategy")
    if name == LADDER:
        return make_rungs(recipe.ladder.rungs, **options)
    if idle := [key for key, value in recipe.ladder if value != getattr(LadderSettings(), key)]:
        raise OptionError(f"ladder.{idle[0]} would do nothing with strategy {name!r}", remedy="--strategy ladder")
    return {name: make_strategy(name, **options)}


def _divide(recipe: Recipe, train: Dataset, *, given_test: bool) -> Split:
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
    return division


def _part(
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


def _untrained_by_head(train: Dataset, others: Sequence[Dataset]) -> list[str]:
    return [
        f"head {name}: {line}"
        for name, frames in frames_by_head(train).items()
        for line in _untrained_elements(train[frames], [other[frames_by_head(other).get(name, [])] for other in others])
    ]


def _references(recipe: Recipe, parts: Parts) -> References:
    settings = recipe.references
    if settings.shift_eV and settings.mode != "given":
        raise OptionError("references.shift_eV would do nothing", remedy="references.mode=given")
    if settings.mode == "given":
        return given_references(settings.shift_eV, parts.train)

    def shift(part: Dataset, frames: Sequence[int]) -> ReferenceShift:
        return keep_references(part) if settings.mode == "keep" else refit_or_keep(part, [known[i] for i in frames])

    known = parts.on_train
    return shift_heads(parts.train, shift) if recipe.heads_by else shift(parts.train, range(len(known)))


def _adapt(
    recipe: Recipe, parent: Potential, parts: Parts, references: References, out: Path, resume: bool, quiet: bool
) -> tuple[Adapted, str]:
    """Adapt by the recipe's strategy, or climb its ladder; return also what a verdict should say of the choice."""
    strategies = _strategies(recipe)
    settings: dict[str, Any] = {"references": references, "loss": recipe.loss, "settings": recipe.fit}
    settings |= {"replay": recipe.replay, "seed": recipe.seed, "resume": resume, "quiet": quiet}
    if recipe.strategy.name != LADDER:
        (strategy,) = strategies.values()
        folder = out / "checkpoints"
        return adapt(parent, parts.train, parts.validation, strategy=strategy, folder=folder, **settings), ""
    settings |= {"ladder": recipe.ladder, "rungs": strategies, "on_validation": parts.on_validation, "folder": out}
    climbed = climb(parent, parts.train, parts.validation, **settings)
    return climbed.adapted, climbed.record.sentence


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
    facts |= {"replay": adapted.replay} if adapted.replay else {}
    _write(out / "fit.json", facts)


def _evaluate(recipe: Recipe, tuned: Potential, parts: Parts, references: References, out: Path) -> dict[str, Any]:
    part, dataset, untuned = parts.scored
    models = {"tuned": predict(tuned, dataset.samples, processes=cores()), "untuned": untuned}
    models["shift"] = shifted(dataset, untuned, references)
    settings = recipe.evaluate
    groups = _groups(parts, part, dataset)
    options: dict[str, Any] = {"part": part, "resamples": settings.resamples, "seed": settings.seed}
    summary = summarise(dataset, models, groups, **options)
    if recipe.heads_by:
        summary["heads"] = summarise_heads(dataset, models, groups, **options)
    write_predictions(predictions_table({part: (dataset, models)}), out / "predictions.parquet")
    _write(out / "metrics.json", summary)
    return summary


def _check(recipe: Recipe, parent: Potential, adapted: Adapted, parts: Parts, out: Path, quiet: bool) -> list[Finding]:
    """Hold the tuned model, head by head, against its foundation where the data say nothing."""
    tuned, references, folder = adapted.backbone, adapted.references, out / "checkpoints"
    found = (
        {"": Evidence(tuned, parent, references, parts.train, folder, quiet)}
        if isinstance(references, ReferenceShift)
        else {}
    )
    if isinstance(tuned, MultiHeadPotential) and isinstance(references, HeadShifts):
        for name, frames in frames_by_head(parts.train).items():
            found[name] = Evidence(tuned.at(name), parent, references.heads[name], parts.train[frames], folder, quiet)
    findings = []
    for head, evidence in found.items():
        for finding in run_checks([Forgetting(**recipe.forgetting.model_dump())], evidence):
            title = f"Head {head}: {finding.title}" if head else finding.title
            findings.append(finding.model_copy(update={"title": title, "details": {**finding.details, "head": head}}))
    _write(out / "checks.json", {"findings": [finding.model_dump() for finding in findings]})
    return findings


def _groups(parts: Parts, part: str, dataset: Dataset) -> list[str]:
    """Name what must not be torn apart: the split's groups where the part comes from it, else the trajectory tags."""
    positions = getattr(parts.split, part)
    if len(positions) == len(dataset):
        return [parts.split.groups[i] for i in positions]
    return dataset.tag("trajectory")


def _save_model(
    recipe: Recipe, parent: Backbone, adapted: Adapted, parts: Parts, summary: dict[str, Any], out: Path
) -> None:
    if not isinstance(adapted.backbone, MultiHeadPotential):
        _save_plain(recipe, parent, adapted, adapted.backbone, parts.train, parts.scored[1], summary, out / "model")
        return
    trained, scored = frames_by_head(parts.train), frames_by_head(parts.scored[1])
    heads: dict[str, dict[str, Any]] = {}
    for name in adapted.backbone.names:
        train, judged = parts.train[trained[name]], parts.scored[1][scored.get(name, [])]
        plain, figures = adapted.backbone.at(name), summary["heads"].get(name, {})
        _save_plain(recipe, parent, adapted, plain, train, judged, figures, out / "model" / name, head=name)
        theory = train[0].theory or LevelOfTheory()
        heads[name] = {"n_train": len(train), "theory": theory.describe()}
    card = parent.card.model_dump(mode="json")
    _write(out / "model" / HEADS, {"heads": heads, "licence": parent.card.licence, "parent": card})


def _save_plain(
    recipe: Recipe,
    parent: Backbone,
    adapted: Adapted,
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
        "parent": parent.card.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "data_sha256": {"train": train.hash(), "scored": scored.hash()},
        "metrics": {name: summary[name] for name in ("test", "untuned", "shift", "part") if name in summary},
    }

    def describe(fresh: ModelCard) -> ModelCard:
        return fresh.model_copy(update=tuned)

    save_folder(plain, folder, describe)


def _judge(
    summary: Mapping[str, Any], findings: Sequence[Finding], adapted: Adapted, parts: Parts, chosen: str, out: Path
) -> Verdict:
    trained = adapted.loss.weights(parts.train) if adapted.trained else ()
    missing = json.loads((out / "coverage.json").read_text())["missing"]
    whole = verdict(summary, findings, parts.warnings, missing, trained=trained, chosen=chosen)
    if not isinstance(adapted.backbone, MultiHeadPotential):
        return whole
    by_head = {name: verdict(each, trained=trained) for name, each in summary["heads"].items()}
    return judge_heads(whole, by_head, adapted.backbone.names)


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
