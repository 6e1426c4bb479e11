"""From a table of formulas to a run folder with a predictor for each target.

    settings.json  model/ (the encoder)  predictors/<target>/  predictions.csv  map.csv  metrics.json  verdict.json
    report.html
    with strategy prompt: prompts/ (what all targets share), prompts.json (what they have become)
    with --adapt-to: target_predictions.csv  domains.csv

A run that was killed goes on with the first target that is not done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from matgraft.core.errors import OptionError, RunError
from matgraft.core.files import write_json
from matgraft.core.provenance import file_hash
from matgraft.core.registry import save_folder
from matgraft.core.run_folder import by_option, refuse_changed, refuse_full_folder
from matgraft.formulas.domain.verdict import domain_verdict
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.predictor.members import formula_reader
from matgraft.formulas.predictor.predictor import Predictor, PredictorSettings, fit_predictor, refuse_idle
from matgraft.formulas.predictor.store import FILE, load_predictor, save_predictor
from matgraft.formulas.predictor.together import Together, fit_together, folds_of
from matgraft.formulas.prompts.bank import BANKS, Bank
from matgraft.formulas.prompts.facts import prompt_facts
from matgraft.formulas.prompts.material_class import material_class
from matgraft.formulas.prompts.text import Prompt, parse_plain, parse_prompt, property_tokens
from matgraft.formulas.registry import load_encoder, load_encoder_folder
from matgraft.formulas.report.domains import domain_facts, domain_map, target_rows
from matgraft.formulas.report.page import write_property_report
from matgraft.formulas.report.text import prediction_rows, read_predictions, write_predictions
from matgraft.formulas.scoring.metrics import scores_of
from matgraft.formulas.scoring.pretraining import pretraining_facts, pretraining_sentence
from matgraft.formulas.scoring.verdict import NOT_COMPARED, property_verdict
from matgraft.formulas.table.reading import (
    GROUPINGS,
    FormulaTable,
    encode_covariates,
    formula_column,
    parsed_column,
    read_cells,
    read_table,
)
from matgraft.formulas.table.target import TargetTable, read_target

SETTINGS, PROMPTS = "settings.json", "prompts"
HASHES = {
    "table_sha256": "table",
    "adapt_to_sha256": "table of --adapt-to",
    "encoder_sha256": "encoder",
    "prompt_bank_sha256": "prompt bank",
}
"""Field of the settings -> what it is the hash of."""
DOMAIN_FILES = ("target_predictions.csv", "domains.csv")
MOST_ON_MAP = 3000
MEMBER_FACTS = ("criterion", "members", "dropped", "gate", "score", "baseline", "scale")
"""What the metrics take over from the facts of a predictor."""


class TableRun(BaseModel):
    """What a run on a table does.

    Attributes
    ----------
    group
        What the inner folds never tear apart: ``formula``, ``chemical-system``, or a column.
    order
        Classes from the lowest to the highest, where they have an order.
    adapt_to
        A table of formulas without labels that the predictor shall serve, with strategy ``domain``.
    given
        Keys of the settings that the user named; they are no part of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    targets: tuple[str, ...]
    foundation: str = "composition"
    formula: str | None = None
    covariates: tuple[str, ...] = ()
    weight: str | None = None
    group: str = "formula"
    order: tuple[str, ...] = ()
    adapt_to: str | None = None
    settings: PredictorSettings = PredictorSettings()
    given: tuple[str, ...] = Field((), exclude=True)


def tune_table(run: TableRun, out: Path, *, resume: bool = False, quiet: bool = False) -> dict[str, Any]:
    """Make a predictor for each target and write the run folder.

    Returns
    -------
    dict
        ``targets``: scores, members, baseline and verdict by name; of strategy prompt also ``prompts``.

    Raises
    ------
    DataError, OptionError
        If the table or an option cannot be used; before anything is written.
    """
    refuse_idle(run.settings, run.adapt_to is not None, given=run.given)
    tables = {target: _read(run, target) for target in run.targets}
    if not resume:
        _refuse_idle(run, tables.values())
    domains = {target: _read_domain(run, table, target) for target, table in tables.items()}
    backbone = load_encoder(run.foundation)
    prompted = run.settings.strategy == "prompt"
    tokens = property_tokens(run.targets) if prompted else {}
    bank = BANKS.choose(run.settings.prompt.bank, backbone) if prompted else None
    folds = folds_of(tables, run.group, run.settings) if prompted else {}
    _open(run, backbone, bank, out, resume)
    save_folder(
        backbone, out / "model", lambda card: backbone.card.model_copy(update={"weights_sha256": card.weights_sha256})
    )
    settings = run.settings.model_copy(update={"ordinal": bool(run.order)})
    title = "" if quiet else f"prompts of {', '.join(run.targets)}"
    joint = fit_together(tables, folds, backbone, settings, out / PROMPTS, title) if prompted else None
    metrics: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for target, table in tables.items():
        folder = out / "predictors" / _folder_name(target)
        if not (folder / FILE).is_file():
            _tune_one(run, settings, target, table, domains[target], backbone, joint, folder, quiet)
        metrics[target] = json.loads((folder / FILE).read_text(encoding="utf-8"))["metrics"]
        rows += read_predictions(folder / "out_of_fold.csv").to_dict("records")
    write_predictions(rows, out / "predictions.csv")
    if run.adapt_to:
        for name in DOMAIN_FILES:
            _gather([out / "predictors" / _folder_name(target) / name for target in tables], out / name)
    _write_map(tables, backbone, out / "map.csv")
    said: dict[str, Any] = {"targets": metrics}
    if joint is not None:
        said["prompts"] = prompt_facts(
            joint.fits, backbone, settings.prompt, tokens, {target: table.classes for target, table in tables.items()}
        )
        write_json(out / f"{PROMPTS}.json", said["prompts"])
    write_json(out / "metrics.json", {"targets": metrics})
    write_json(out / "verdict.json", {"targets": {name: part["verdict"] for name, part in metrics.items()}})
    write_property_report(out)
    return said


def is_table_run(folder: Path) -> bool:
    """Say whether a folder is a run on a table, finished or not."""
    file = folder / SETTINGS
    return file.is_file() and json.loads(file.read_text(encoding="utf-8")).get("kind") == "formulas"


def resume_table_run(out: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Go on with a run that was broken off.

    Raises
    ------
    RunError
        If a table is gone, or something that decides the result is not what the run began with; it is named.
    """
    content = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    run = TableRun.model_validate(content["run"])
    for table in filter(None, (run.table, run.adapt_to)):
        if not Path(table).is_file():
            raise RunError("a table of the run is gone", where=table)
    return tune_table(run, out, resume=True, quiet=quiet)


def predict_formulas(
    folder: Path, formulas: Sequence[str], cells: pd.DataFrame | None = None, where: Path | None = None
) -> list[dict[str, Any]]:
    """Predict with every target of a run.

    Parameters
    ----------
    formulas
        As written; of a run with prompts, with or without the class before and the property behind.
    cells
        A table whose columns hold the covariates, a row a formula.
    where
        The table's file, for errors.

    Returns
    -------
    list of dict
        A row a formula and target, or the target that it asks for: formula, target, value, lower, upper, std, distance,
        unlike, probabilities; of a run with prompts also material_class.
    """
    if not is_table_run(folder):
        raise OptionError(
            "this run reads structures, not formulas", where=str(folder), remedy="`evaluate` scores it on frames"
        )
    tokens = _tokens(folder)
    prompts = _prompts(formulas, tokens, None if cells is None else where or folder)
    backbone = load_encoder_folder(folder)
    rows: list[dict[str, Any]] = []
    for part in sorted((folder / "predictors").iterdir()):
        predictor, content = load_predictor(part, backbone)
        chosen = [i for i, prompt in enumerate(prompts) if prompt.property in (None, content["target"])]
        if not chosen:
            continue
        covariates = _covariates(content, cells, len(formulas), where or folder)
        wanted = [prompts[i].formula for i in chosen]
        prediction = predictor.predict(wanted, covariates if covariates is None else covariates[chosen])
        own = prediction_rows(wanted, prediction, content["classes"], {"target": content["target"]})
        if tokens:
            own = [row | {"material_class": material_class(one)} for row, one in zip(own, wanted, strict=True)]
        rows += own
    return rows


def _tokens(folder: Path) -> dict[str, str]:
    """Return the properties that a run may be asked for, by token; none where it takes no prompts."""
    run = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["run"]
    return property_tokens(run["targets"]) if run["settings"]["strategy"] == "prompt" else {}


def _prompts(formulas: Sequence[str], tokens: Mapping[str, str], table: Path | None) -> Sequence[Prompt]:
    """Read what is asked; an error names the line of a table."""

    def parse(text: str) -> Prompt:
        return parse_prompt(text, tokens) if tokens else Prompt(parse_plain(text))

    if table is None:
        return [parse(text) for text in formulas]
    return parsed_column(pd.Series(list(formulas), name="formula"), table, parse)


def formulas_in(path: Path, column: str | None) -> tuple[pd.DataFrame, list[str]]:
    """Return a table's cells and its column of formulas."""
    cells = read_cells(path)
    return cells, list(cells[formula_column(cells, column, path)])


def _read(run: TableRun, target: str) -> FormulaTable:
    column = None if run.group in GROUPINGS else run.group
    return read_table(
        Path(run.table), target, formula=run.formula, covariates=run.covariates, weight=run.weight, group=column,
        order=run.order, parse=formula_reader(run.settings.strategy),
    )  # fmt: skip


def _read_domain(run: TableRun, table: FormulaTable, target: str) -> TargetTable | None:
    return read_target(Path(run.adapt_to), table, target, run.formula) if run.adapt_to else None


def _refuse_idle(run: TableRun, tables: Iterable[FormulaTable]) -> None:
    """Raise for settings that nothing reads with tables of these sizes."""
    sizes = [(len(table.values), len(table.classes)) for table in tables]
    rows, n_classes = zip(*sizes, strict=True)
    refuse_idle(run.settings, run.adapt_to is not None, given=run.given, rows=rows, n_classes=n_classes)


def _open(run: TableRun, backbone: CompositionBackbone, bank: Bank | None, out: Path, resume: bool) -> None:
    """Leave what the run begins with in its folder, or refuse to go on with something else."""
    content = {"kind": "formulas", "run": run.model_dump(mode="json"), "table_sha256": file_hash(Path(run.table))}
    content |= {"adapt_to_sha256": file_hash(Path(run.adapt_to))} if run.adapt_to else {}
    content |= {"encoder_sha256": backbone.card.weights_sha256}
    content |= {"prompt_bank_sha256": bank.sha256} if bank else {}
    if resume:
        refuse_changed(_roles(json.loads((out / SETTINGS).read_text(encoding="utf-8"))), _roles(content), out)
    else:
        refuse_full_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / SETTINGS, content)


def _roles(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `_open` wrote as `refuse_changed` takes it; an option that is not there has its default."""
    hashes = {role: content[key] for key, role in HASHES.items() if key in content}
    return hashes | by_option(TableRun.model_validate(content["run"]))


def _tune_one(
    run: TableRun,
    settings: PredictorSettings,
    target: str,
    table: FormulaTable,
    domain: TargetTable | None,
    backbone: CompositionBackbone,
    joint: Together | None,
    folder: Path,
    quiet: bool,
) -> None:
    predictor = fit_predictor(
        table.formulas,
        table.values,
        backbone=backbone,
        n_classes=len(table.classes),
        covariates=table.covariates,
        weights=table.weights,
        groups=table.grouped(run.group),
        settings=settings,
        progress="" if quiet else f"fits of {target}",
        folds=joint.folds[target] if joint else None,
        ready=joint.ready(target) if joint else None,
        target=domain.formulas if domain else None,
        target_covariates=domain.covariates if domain else None,
    )
    held = predictor.out_of_fold
    assert held is not None
    folder.mkdir(parents=True, exist_ok=True)
    extra = {"target": target, "fold": "out of fold"}
    rows = prediction_rows(table.formulas, held, table.classes, extra, truths=table.values, lines=table.lines)
    write_predictions(rows, folder / "out_of_fold.csv")
    scores = scores_of(table.values, held, table.weights)
    verdict = property_verdict(predictor.facts, scores, float(held.unlike.mean()), settings.level)
    compared = predictor.held_losses if verdict["level"] != NOT_COMPARED else None
    known = pretraining_facts(backbone.labels, table.formulas, table.values, held, table.weights, compared)
    verdict["cautions"].append(pretraining_sentence(known))
    metrics = {
        "n": len(table.values),
        "without_value": table.without_value,
        "without_weight": table.without_weight,
        "weighted": table.weighted,
        "classes": list(table.classes),
        "scores": scores,
        "unlike": float(held.unlike.mean()),
        "pretraining": known,
        **{name: predictor.facts[name] for name in MEMBER_FACTS},
        "verdict": verdict,
    }
    if domain is not None:
        metrics |= _carried_over(run, predictor, table, domain, target, verdict, folder)
    more = {"target": target, "classes": list(table.classes), "code": dict(table.code), "metrics": metrics}
    save_predictor(predictor, folder, more, shared=f"../../{PROMPTS}" if joint else "", asked=target)


def _carried_over(
    run: TableRun,
    predictor: Predictor,
    table: FormulaTable,
    domain: TargetTable,
    target: str,
    verdict: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Write what is predicted of the target and both domains' map; return what the metrics say of it."""
    prediction = predictor.predict(domain.formulas, domain.covariates)
    write_predictions(target_rows(domain, prediction, table.classes, target), folder / DOMAIN_FILES[0])
    write_predictions(domain_map(predictor, target), folder / DOMAIN_FILES[1])
    facts = domain_facts(predictor, domain, prediction)
    return {"domain": facts, "verdict": domain_verdict(facts, verdict, run.table, str(run.adapt_to))}


def _gather(files: Sequence[Path], path: Path) -> None:
    write_predictions([row for file in files for row in read_predictions(file).to_dict("records")], path)


def _covariates(content: Mapping[str, Any], cells: pd.DataFrame | None, n: int, where: Path) -> Any:
    code = content["code"]
    if not code:
        return None
    if cells is None or len(cells) != n:
        names = ", ".join(code)
        raise OptionError(f"the predictor needs {names} as well", remedy="a table with these columns")
    return encode_covariates(cells, code, where)


def _write_map(tables: Mapping[str, FormulaTable], backbone: CompositionBackbone, path: Path) -> None:
    """Write the formulas at the first two principal components of their features."""
    from sklearn.decomposition import PCA

    rows = []
    for target, table in tables.items():
        chosen = np.sort(np.random.default_rng(0).permutation(len(table.formulas))[:MOST_ON_MAP])
        vectors = backbone.embed([table.formulas[i] for i in chosen])
        places = PCA(2, random_state=0).fit_transform(vectors - vectors.mean(0))
        rows += [
            {"target": target, "line": table.lines[i], "formula": str(table.formulas[i]), "x": float(x), "y": float(y),
             "truth": float(table.values[i])}
            for i, (x, y) in zip(chosen, places, strict=True)
        ]  # fmt: skip
    write_predictions(rows, path)


def _folder_name(target: str) -> str:
    plain = "".join(letter if letter.isalnum() else "-" for letter in target)
    return f"{plain}-{hashlib.sha256(target.encode()).hexdigest()[:6]}"
