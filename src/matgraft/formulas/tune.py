"""From a table of formulas to a run folder with a predictor for each target.

    run.json  settings.json  audit.json  model/ (the encoder)  predictors/<target>/  predictions.csv  map.csv
    metrics.json  verdict.json  report.html
    with strategy prompt: prompts/ (what all targets share), prompts.json (what they have become)
    with --adapt-to: target_predictions.csv  domains.csv
    with --test: test_predictions.csv
    where networks were fitted: history.csv (their losses)

A target is a stage: a run that was killed goes on with the first target whose metrics.json, or a file beside it, is
missing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matgraft.core.errors import RunError
from matgraft.core.files import remove
from matgraft.core.findings import Finding
from matgraft.core.locks import works_in
from matgraft.core.registry import save_folder
from matgraft.core.run_folder import Begun, open_run
from matgraft.formulas.domain.verdict import domain_verdict
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.inputs import Inputs
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.store import DATA, PREDICTOR, TargetNames, folder_name, save_predictor
from matgraft.formulas.predictor.together import Together, fit_together, folds_of
from matgraft.formulas.prompts.bank import BANKS
from matgraft.formulas.prompts.facts import prompt_facts
from matgraft.formulas.prompts.text import property_tokens
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.report.facts import PROMPTS, TableResult
from matgraft.formulas.report.page import write_property_report
from matgraft.formulas.report.rows import (
    domain_rows,
    further_rows,
    gather_rows,
    history_rows,
    map_rows,
    prediction_rows,
    target_rows,
    write_rows,
)
from matgraft.formulas.scoring.domain import domain_metrics
from matgraft.formulas.scoring.further import score_further
from matgraft.formulas.scoring.target import (
    METRICS,
    TARGET,
    VERDICTS,
    TableMetrics,
    TableVerdicts,
    TargetMetrics,
    target_metrics,
)
from matgraft.formulas.settings import SETTINGS, TableRun, TableSettings
from matgraft.formulas.table.audit.audit import AUDIT, TableAudit
from matgraft.formulas.table.facts import READINGS, SKIPPED, TableReading, TableReadings, Tell
from matgraft.formulas.table.faults import write_skipped
from matgraft.formulas.table.formula_table import FormulaTable
from matgraft.formulas.table.opening import targets_in
from matgraft.formulas.table.target import TargetTable

_log = logging.getLogger(__name__)
HELD, TESTED, HISTORY = "out_of_fold.csv", "test_predictions.csv", "history.csv"
LEFT = (PREDICTOR.name, DATA, HELD)
"""What each target leaves beside its metrics."""
DOMAIN_FILES = ("target_predictions.csv", "domains.csv")


@works_in("out", new=True)
def tune_table(
    run: TableRun,
    out: Path,
    *,
    given: Sequence[str] = (),
    resume: bool = False,
    quiet: bool = False,
    note: Tell | None = None,
    tell: Callable[[Sequence[Finding]], None] | None = None,
) -> TableResult:
    """Make a predictor for each target and write the run folder.

    Parameters
    ----------
    given
        Keys of the settings that the user named: those that nothing reads are an error.
    tell
        Is given what the audit found, before anything is fitted.
    note
        Is told how each table was read, before the audit.

    Raises
    ------
    AuditError
        If the audit finds what blocks and is not allowed.
    DataError, OptionError
        If the table or an option cannot be used; before anything is written.
    RunError
        If a run would go on with something else than it began with.
    """
    run = run.model_copy(update={"settings": run.settings.model_copy(update={"ordinal": bool(run.order)})})
    run.refuse_idle(given)
    tables = {target: run.read(target) for target in run.targets}
    if not resume:
        run.refuse_idle(given, tables.values())
    domains = {target: run.read_domain(table, target) for target, table in tables.items()}
    tests = read_tests(run, tables)
    readings = readings_of(run, tables, domains, tests)
    if note is not None:
        list(map(note, readings))
    backbone = load_encoder(run.foundation)
    prompted = run.settings.strategy == "prompt"
    audit = _audited(run, out, tables, backbone, resume, tell)
    bank = BANKS.choose(run.settings.prompt.bank, backbone) if prompted else None
    folds = folds_of(tables, run.group, run.settings) if prompted else {}
    began = TableSettings.of(run, backbone, bank)
    with open_run(out, Begun(kind="formulas", decides=began.decides), resume=resume):
        SETTINGS.write(out, began)
        AUDIT.write(out, audit)
        READINGS.write(out, TableReadings(tables=readings))
        if skipped := [(reading.table, bad) for reading in readings for bad in reading.skipped]:
            write_skipped(skipped, out / SKIPPED)
        save_folder(
            backbone,
            out / "model",
            lambda card: backbone.card.model_copy(update={"weights_sha256": card.weights_sha256}),
        )
        title = "" if quiet else f"prompts of {', '.join(run.targets)}"
        joint = fit_together(tables, folds, backbone, run.settings, out / "prompts", title) if prompted else None
        folders = {target: out / "predictors" / folder_name(target) for target in tables}
        targets = {}
        for target, table in tables.items():
            read = TargetTables(table, domains[target], tests.get(target), audit.targets.get(target, ()))
            tune = partial(_tune_one, run, target, read, backbone, joint, folders[target], quiet)
            left = (*LEFT, *(DOMAIN_FILES if run.adapt_to else ()), *([TESTED] if read.test else []))
            if not all((folders[target] / name).is_file() for name in left):
                remove(folders[target] / TARGET.name)  # the stage is not what it left
            targets[target] = TARGET.stage(folders[target], tune)
        prompts = None
        if joint is not None:
            classes = {target: table.classes for target, table in tables.items()}
            stated = Counter(one.own_class for table in tables.values() for one in table.formulas if one.own_class)
            prompts = prompt_facts(
                joint.fits, backbone, run.settings.prompt, property_tokens(run.targets), classes, stated
            )
            PROMPTS.write(out, prompts)
        gather_rows([folder / HELD for folder in folders.values()], out / "predictions.csv")
        for name in (*DOMAIN_FILES, TESTED, HISTORY):
            if there := [folder / name for folder in folders.values() if (folder / name).is_file()]:
                gather_rows(there, out / name)
        write_rows([row for name, table in tables.items() for row in map_rows(table, name, backbone)], out / "map.csv")
        METRICS.write(out, TableMetrics(targets=targets))
        VERDICTS.write(out, TableVerdicts(targets={name: part.verdict for name, part in targets.items()}))
        report = write_property_report(out)
        return TableResult(run=str(out), report=str(report), targets=targets, prompts=prompts)


def _audited(
    run: TableRun,
    out: Path,
    tables: Mapping[str, FormulaTable],
    backbone: CompositionBackbone,
    resume: bool,
    tell: Callable[[Sequence[Finding]], None] | None,
) -> TableAudit:
    """Return what the audit finds, of a run that goes on what it found; errors as of `TableRun.audit`."""
    found = AUDIT.find(out) if resume else None
    if found is None:
        found = run.audit(tables, backbone)
        if tell is not None:
            tell(found.findings)
    return found


def readings_of(
    run: TableRun,
    tables: Mapping[str, FormulaTable],
    domains: Mapping[str, TargetTable | None],
    tests: Mapping[str, tuple[FormulaTable, tuple[str, ...]]],
) -> tuple[TableReading, ...]:
    """Return how each table of a run was read."""
    found = [TableReading.of(Path(run.table), tables.values())]
    if run.adapt_to:
        found.append(TableReading.of(Path(run.adapt_to), filter(None, domains.values())))
    if run.test:
        found.append(TableReading.of(Path(run.test), (table for table, _ in tests.values())))
    return tuple(found)


@works_in("out")
def resume_table_run(out: Path, *, quiet: bool = False) -> TableResult:
    """Go on with a run that was stopped.

    Raises
    ------
    RunError
        If a table is gone, or something that decides the result is not what the run began with; it is named.
    """
    run = SETTINGS.read(out).run
    for table in run.tables.values():
        if not Path(table).is_file():
            raise RunError("a table of the run does not exist", where=table)
    return tune_table(run, out, resume=True, quiet=quiet)


@dataclass(frozen=True, eq=False)
class TargetTables:
    """What is read for one target: its table, what the audit found in it, the domain, the test with what it lacks."""

    table: FormulaTable
    domain: TargetTable | None = None
    test: tuple[FormulaTable, tuple[str, ...]] | None = None
    findings: tuple[Finding, ...] = ()


def read_tests(run: TableRun, tables: Mapping[str, FormulaTable]) -> dict[str, tuple[FormulaTable, tuple[str, ...]]]:
    """Read the table of ``--test`` for each target that it has.

    Raises
    ------
    OptionError
        If it has none of them.
    """
    if run.test is None:
        return {}
    path = Path(run.test)
    return {
        target: run.read_further(path, target, tables[target]) for target in targets_in(path, run.targets, run.columns)
    }


def _tune_one(
    run: TableRun,
    target: str,
    read: TargetTables,
    backbone: CompositionBackbone,
    joint: Together | None,
    folder: Path,
    quiet: bool,
) -> TargetMetrics:
    """Fit the predictor of one target, and write it with its predictions."""
    table, domain = read.table, read.domain
    _log.info("%s: %d rows are fitted by strategy %s", target, len(table.values), run.settings.strategy)
    predictor = fit_predictor(
        table.examples(run.group),
        backbone,
        run.settings,
        folds=joint.of(target) if joint else None,
        target=Inputs.of(domain.formulas, backbone, domain.covariates) if domain else None,
        progress="" if quiet else f"fits of {target}",
    )
    held = predictor.out_of_fold
    assert held is not None
    groups, own = tuple(sorted(set(table.groups))), dict(table.prompt_classes)
    names = TargetNames(
        target=target, classes=table.classes, code=dict(table.code), groups=groups, prompt_classes=own,
        fill=dict(table.fill),
    )  # fmt: skip
    save_predictor(predictor, folder, names, shared="../../prompts" if joint else "")
    extra = {"target": target, "fold": "out of fold"}
    rows = prediction_rows(table.formulas, held, table.classes, extra, truths=table.values, lines=table.lines)
    write_rows(rows, folder / HELD)
    if curves := history_rows(predictor.networks, target):
        write_rows(curves, folder / HISTORY)
    metrics = target_metrics(predictor, table, backbone.labels, read.findings)
    if read.test is not None:
        test, lacks = read.test
        scored, held_out = score_further(predictor, names, test, run.group, file=str(run.test), lacks=lacks)
        write_rows(further_rows(held_out, target), folder / TESTED)
        metrics = metrics.model_copy(update={"test": scored})
    if domain is None or predictor.adapted is None:
        return metrics
    prediction = predictor.predict(domain.formulas, domain.covariates)
    write_rows(target_rows(domain, prediction, table.classes, target), folder / DOMAIN_FILES[0])
    write_rows(domain_rows(predictor, predictor.adapted, target), folder / DOMAIN_FILES[1])
    found = domain_metrics(predictor, predictor.adapted, domain, prediction)
    verdict = domain_verdict(found, metrics.verdict, run.table, str(run.adapt_to))
    return metrics.model_copy(update={"domain": found, "verdict": verdict})
