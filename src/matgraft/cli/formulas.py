"""The verbs of formulas: crossval, compare, suggest, embed, pretrain, fewshot, ...; and what those of both wings do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from matgraft.cli import completion
from matgraft.cli.common import (
    data_and_options,
    is_table_file,
    next_run,
    refuse_beside_resume,
    refuse_idle_keys,
    screen,
    seeded,
    settings_of,
    tell,
    typed,
)
from matgraft.cli.large import tell_large
from matgraft.cli.options import (
    Columns,
    Device,
    FileOptions,
    FitOptions,
    FormulaColumn,
    From,
    Json,
    LargeOptions,
    Options,
    Quiet,
    Seed,
    Shown,
    TableOptions,
)
from matgraft.cli.outputs import new_file, new_folder
from matgraft.cli.own import flags_of, refuse_own
from matgraft.cli.tables import skipped_beside, teller
from matgraft.core.errors import OptionError, choose
from matgraft.core.options import word
from matgraft.core.reads import Read, refuse_unread
from matgraft.core.verdict import worst_exit_code

PER = ("formula", "element")
FEWEST_TO_HOLD_OUT = 3
"""Formulas or groups of a class: a fold holds out one, an inner fold of the rest another one."""

if TYPE_CHECKING:
    from matgraft.core.findings import Finding
    from matgraft.formulas.encoder import CompositionBackbone
    from matgraft.formulas.formula import Formula
    from matgraft.formulas.report.facts import TableResult
    from matgraft.formulas.settings import TableRun
    from matgraft.formulas.suggest.candidates import Given
    from matgraft.formulas.table.formula_table import ColumnNames, FormulaTable


def tell_formulas(
    run: Path,
    what: list[str],
    out: Path | None,
    formula: str | None,
    file: FileOptions,
    shown: Shown,
    large: LargeOptions,
) -> None:
    """Predict properties of formulas, or of tables of them, and tell them."""
    if tell_large(run, what if are_tables(what) else [], out, formula, file, shown, large):
        return
    from matgraft.formulas.predict import PropertyModel
    from matgraft.formulas.queries import read_queries
    from matgraft.formulas.report.predicted import show_predictions, show_written
    from matgraft.formulas.report.rows import TableRow, write_rows
    from matgraft.formulas.table.facts import TableReading
    from matgraft.formulas.table.faults import write_skipped
    from matgraft.formulas.table.formula_table import ColumnNames

    if are_tables(what):
        model, rows = PropertyModel.open(run), list[TableRow]()
        columns = ColumnNames(formula=formula, reading=file.reading())
        read = {name: read_queries(model, Path(name), columns) for name in what}
        for name, queries in read.items():
            alone = skipped_beside(None, Path(name)) if out is None else None
            teller(shown.silent, alone)(TableReading.of(Path(name), [queries]))
            own = model.rows(queries.formulas, queries.cells, Path(name))
            rows += [{"file": name, **row} for row in own] if len(read) > 1 else own
        if out is not None and (bad := [(name, one) for name, queries in read.items() for one in queries.skipped]):
            skipped = skipped_beside(out, Path())
            write_skipped(bad, skipped)
            if not shown.silent:
                Console(stderr=True).print(f"note: what was left out and why: {skipped}", highlight=False, markup=False)
    else:
        formulas = [one for one in what if "=" not in one]
        beside = dict(one.split("=", 1) for one in what if "=" in one)
        model = PropertyModel.open(run)
        rows = model.rows(formulas, model.shared(beside, len(formulas)))
    if out is not None:
        write_rows(rows, out)
    tell(rows, show_predictions if out is None else partial(show_written, path=out), shown.as_json)


def are_tables(words: Sequence[str]) -> bool:
    """Say whether every word of a command names a table; refuses tables among formulas."""
    named = [word for word in words if word == "-" or is_table_file(word) or word.lower().endswith((".json", ".dat"))]
    if named and len(named) < len(words):
        other = next(word for word in words if word not in named)
        raise OptionError(f"{named[0]} is a table, and {other!r} is none", remedy="tables alone, or formulas alone")
    return bool(named)


def tell_start(foundation: str | None) -> None:
    """Say on standard error that of a run on a table the encoder is taken that it began with, not what it tuned."""
    from matgraft.formulas.embedding import is_table_run

    if foundation and is_table_run(foundation):
        said = f"note: {foundation} is a run on a table: the encoder that it began with is taken, not what it tuned"
        Console(stderr=True).print(said, highlight=False, markup=False, soft_wrap=True)


LabelledTable = Annotated[Path, typer.Argument(help="formulas with values: csv, tsv (also .gz, .xz, .zst), parquet")]
OneTarget = Annotated[str, typer.Option(help="column of the values")]
HeldOut = Annotated[
    Path | None, typer.Option("-o", "--out", help="CSV file for the held-out predictions", callback=new_file)
]


@dataclass(frozen=True)
class Folding:
    """Options of `crossval` and `compare`: which rows are held out together."""

    fold_column: Annotated[str | None, typer.Option(help="column that names each row's test fold")] = None
    folds: Annotated[int | None, typer.Option(help="number of folds, where the table brings none", min=2)] = None


@dataclass(frozen=True)
class TableAuditOptions:
    """Options of `audit` on a table of formulas."""

    candidates: Annotated[
        str | None, typer.Option("--for", help="table of the formulas that the predictor shall serve")
    ] = None
    fold_column: Annotated[str | None, typer.Option(help="column that names each row's test fold")] = None


@dataclass(frozen=True)
class PredictorOptions:
    """Options of `crossval`: what is scored."""

    foundation: From = "composition"
    strategy: Annotated[
        str | None,
        typer.Option(help="auto, full, partial, feature, prompt or descriptors", autocompletion=completion.strategies),
    ] = None
    seed: Annotated[int | None, typer.Option(help="of folds and members")] = None
    device: Device = None  # chosen as it is read


def crossval_command(
    table: LabelledTable,
    target: OneTarget,
    options: Options = None,
    *,
    folding: Folding,
    columns: Columns,
    model: PredictorOptions,
    out: HeldOut = None,
    shown: Shown,
) -> None:
    """Score a property predictor on held-out folds of a table of formulas."""
    from matgraft.formulas.crossval import crossval
    from matgraft.formulas.predictor.members import formula_reader
    from matgraft.formulas.registry import load_encoder
    from matgraft.formulas.report.rows import write_rows
    from matgraft.formulas.report.text import show_folds

    refuse_own("crossval", {"--folds": folding.folds}, folding.fold_column)
    by = columns.group or "formula"
    settings, given = predictor_settings("crossval", options, columns, strategy=model.strategy, seed=model.seed)
    read = read_held(table, target, folding, columns, formula_reader(settings.strategy))
    tell_held(read, table, out, shown.silent)
    tell_start(model.foundation)
    encoder, n_folds = load_encoder(model.foundation or "composition"), folding.folds or 5
    findings = audited(table, {target: read}, columns, encoder, folding.fold_column, shown.silent)
    scored, rows = crossval(
        read, encoder, by=by, n_folds=n_folds, settings=settings, given=given, audited=findings,
        progress="" if shown.silent else "cross-validation",
    )  # fmt: skip
    if out is not None:
        write_rows(rows, out)
    tell(scored, show_folds, shown.as_json)


@dataclass(frozen=True)
class CompareOptions:
    """Options of `compare`: what is lined up."""

    foundation: From = "composition"
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="may be repeated: auto, full, partial, feature, prompt, descriptors, or untrained (full, from an "
            "encoder that was never pretrained); by default full, partial, feature, descriptors and untrained",
            autocompletion=completion.strategies,
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(help="of folds and members")] = None
    device: Device = None  # chosen as it is read


def compare_command(
    table: LabelledTable,
    target: OneTarget,
    options: Options = None,
    *,
    folding: Folding,
    columns: Columns,
    asked: CompareOptions,
    out: HeldOut = None,
    shown: Shown,
) -> None:
    """Line up strategies on the same held-out folds of a table: error, interval, minutes; which one to take."""
    from matgraft.formulas.compare import USUAL, compare_strategies
    from matgraft.formulas.predictor.members import formula_reader
    from matgraft.formulas.registry import load_encoder
    from matgraft.formulas.report.rows import write_rows
    from matgraft.formulas.report.text import show_comparison

    refuse_own("compare", {"--folds": folding.folds}, folding.fold_column)
    by, names = columns.group or "formula", asked.strategy or USUAL
    settings, given = predictor_settings("compare", options, columns, seed=asked.seed)
    if "strategy" in given:
        raise OptionError("strategy is not read by `matgraft compare`", remedy="--strategy, once a strategy")
    read = read_held(table, target, folding, columns, formula_reader("prompt" if names == ["prompt"] else "auto"))
    tell_held(read, table, out, shown.silent)
    tell_start(asked.foundation)
    encoder = load_encoder(asked.foundation or "composition")
    findings = audited(table, {target: read}, columns, encoder, folding.fold_column, shown.silent)
    found, rows = compare_strategies(
        read, encoder, names, by=by, n_folds=folding.folds or 5,
        settings=settings, given=given, quiet=shown.silent,
    )  # fmt: skip
    if out is not None:
        write_rows(rows, out)
    tell(found.model_copy(update={"findings": findings}), show_comparison, shown.as_json)


def read_held(
    table: Path, target: str, folding: Folding, columns: Columns, parse: Callable[[str], Formula]
) -> FormulaTable:
    """Read a table whose rows are held out fold by fold."""
    from matgraft.formulas.table.reading import read_table
    from matgraft.formulas.table.values import refuse_rare_classes

    names = column_names(columns, folding.fold_column)
    read = read_table(table, target, names, parse)
    if not read.folds:
        groups = read.grouped(names.group)
        refuse_rare_classes(read.classes, read.values, groups, FEWEST_TO_HOLD_OUT, table, "crossval")
    return read


def tell_held(read: FormulaTable, table: Path, out: Path | None, silent: bool) -> None:
    """Tell how a table was read whose rows are held out."""
    from matgraft.formulas.table.facts import TableReading

    teller(silent, skipped_beside(out, table))(TableReading.of(table, [read]))


def column_names(columns: Columns, fold: str | None) -> ColumnNames:
    """Return the columns that the options of a command name, and how the table is read."""
    from matgraft.formulas.table.formula_table import ColumnNames

    return ColumnNames(
        formula=columns.formula, fold=fold, covariates=columns.covariate or (), weight=columns.weight,
        group=columns.group or "formula", order=columns.ordered, classes=columns.unordered,
        prompt_class=columns.prompt_class, drop=columns.lines, reading=columns.reading(impute=columns.impute),
    )  # fmt: skip


def audited(
    path: Path,
    tables: Mapping[str, FormulaTable],
    columns: Columns,
    encoder: CompositionBackbone,
    fold: str | None,
    silent: bool,
) -> tuple[Finding, ...]:
    """Look at the table of each target and tell what was found; raises an AuditError where something blocks."""
    from matgraft.formulas.table.audit import audit
    from matgraft.formulas.table.audit.base import TableEvidence

    audit.refuse_unknown_codes(columns.allowed)
    names = column_names(columns, fold)
    looked = {one: audit.audit_table(TableEvidence(table, one, names, encoder)) for one, table in tables.items()}
    findings = audit.TableAudit(targets=looked).findings
    audit.refuse_blocking_rows(findings, columns.allowed, str(path))
    if (tell_found := tell_findings(silent)) is not None:
        tell_found(findings)
    return findings


def tell_findings(silent: bool) -> Callable[[Sequence[Finding]], None] | None:
    """Return what prints what an audit of a table found, before anything is fitted: on standard error."""
    if silent:
        return None
    from matgraft.core.report.screen import show_failed

    return partial(show_failed, Console(stderr=True), "The audit of the table:")


def audit_rows(
    path: str,
    targets: list[str] | None,
    columns: Columns,
    asked: TableAuditOptions,
    foundation: str | None,
    shown: Shown,
) -> NoReturn:
    """Look at a table before any training; exit with 1 when a finding blocks."""
    from matgraft.core.audit import audit_facts
    from matgraft.core.report.screen import show_audit
    from matgraft.formulas.predictor.members import formula_reader
    from matgraft.formulas.registry import load_encoder
    from matgraft.formulas.table.audit import audit
    from matgraft.formulas.table.audit.base import TableEvidence
    from matgraft.formulas.table.facts import TableReading
    from matgraft.formulas.table.reading import read_table

    refuse_no_target(path, targets, columns)
    audit.refuse_unknown_codes(columns.allowed)
    names = column_names(columns, asked.fold_column)
    parse = formula_reader("prompt" if columns.prompt_class else "auto")
    tables = {target: read_table(Path(path), target, names, parse) for target in targets or ()}
    teller(shown.silent, skipped_beside(None, Path(path)))(TableReading.of(Path(path), tables.values()))
    candidates = audit.read_candidates(Path(asked.candidates), columns.formula) if asked.candidates else None
    encoder = load_encoder(foundation or "composition")
    looked = {
        target: audit.audit_table(TableEvidence(table, target, names, encoder, candidates))
        for target, table in tables.items()
    }
    sizes = {len(table.values) for table in tables.values()}
    n = f"{min(sizes)} to {max(sizes)}" if len(sizes) > 1 else str(max(sizes))
    data = f"{path}: {n} rows with a value of {', '.join(tables)}"
    facts = audit_facts(data, audit.TableAudit(targets=looked).findings, columns.allowed, notes_of(tables))
    tell(facts, show_audit, shown.as_json)
    raise typer.Exit(1 if facts.blocking else 0)


def notes_of(tables: Mapping[str, FormulaTable]) -> list[str]:
    """Say which rows were left out, and of what a target is."""
    notes = []
    for name, table in tables.items():
        kind = f"{len(table.classes)} classes: {', '.join(table.classes)}" if table.classes else "numbers"
        notes.append(f"{name} is read as {kind}")
        notes += [
            f"{name}: {left} rows {which} were left out"
            for left, which in ((table.without_value, "without a value"), (table.without_weight, "of weight 0"))
            if left
        ]
    return notes


@dataclass(frozen=True)
class EmbedOptions:
    """Options of `embed`: by which encoder, of what."""

    foundation: From = "composition"
    target: Annotated[
        str | None, typer.Option(help="of a run on several targets, the one whose tuned encoder is meant")
    ] = None
    per: Annotated[str, typer.Option(help="formula, or element: a row an element of each formula")] = "formula"


def embed_command(
    table: Annotated[Path, typer.Argument(help="a table with a column of formulas")],
    out: Annotated[Path, typer.Option("-o", "--out", help="parquet file: formula, e0, e1, ...", callback=new_file)],
    *,
    asked: EmbedOptions,
    formula: FormulaColumn = None,
    nearest: Annotated[str | None, typer.Option(help="a formula; its nearest ones in the table are printed")] = None,
    count: Annotated[int | None, typer.Option(help="how many of them; by default 10", min=1)] = None,
    file: FileOptions,
) -> None:
    """Write the features of formulas: by a pretrained encoder, or by the one that a run on a table tuned."""
    from matgraft.formulas.embedding import embed, formula_read, is_table_run
    from matgraft.formulas.predict import PropertyModel
    from matgraft.formulas.prompts.text import parse_plain
    from matgraft.formulas.report.predicted import nearest_formulas
    from matgraft.formulas.report.rows import write_element_vectors, write_vectors
    from matgraft.formulas.table.facts import TableReading
    from matgraft.formulas.table.formula_table import ColumnNames
    from matgraft.formulas.table.unlabelled import read_formulas

    of, per = asked.foundation or "composition", choose(asked.per, {one: one for one in PER}, "--per")
    is_run = is_table_run(of)
    given: dict[str, object] = {"--count": count, "--target": asked.target, "--nearest": nearest}
    refuse_own("embed", given, {"nearest": nearest, "is_run": is_run, "per": per})
    columns = ColumnNames(formula=formula, reading=file.reading())
    asked_of = PropertyModel.open(of).parse if is_run else parse_plain
    queries = read_formulas(table, columns, asked_of)
    teller(False, skipped_beside(out, table))(TableReading.of(table, [queries]))
    cells = queries.cells
    if queries.column != "formula":
        cells = cells.drop(columns="formula", errors="ignore").rename(columns={queries.column: "formula"})
    texts = queries.formulas
    read = [formula_read(asked_of(text)) for text in texts]
    if per == "element":
        rows = embed(cells, of, per="element", target=asked.target)
        write_element_vectors(read, rows, out)
        print(f"{out}: {sum(map(len, rows))} elements of {len(texts)} formulas, {rows[0].shape[1]} numbers each")
        return
    vectors = embed(cells, of, target=asked.target, progress="embedding")
    write_vectors(texts, vectors, out)
    by = f" by the encoder that was tuned in {of}" if is_run else ""
    print(f"{out}: {len(texts)} formulas, {vectors.shape[1]} numbers each{by}")
    if nearest is not None:
        (sought,) = embed([nearest], of, target=asked.target)
        for name, distance in nearest_formulas(sought, texts, vectors, count or 10):
            print(f"  {distance:8.3f}  {name}")


def pretrain_command(
    corpus: Annotated[str | None, typer.Argument(help="formulas, one a line (also .gz, .xz, .zst)")] = None,
    options: Options = None,
    properties: Annotated[Path | None, typer.Option(help="long table: property, formula, target")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="run folder, new", callback=new_folder)] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with a run that was broken off")] = None,
    seed: Seed = None,
    device: Device = None,  # chosen as it is read
    quiet: Quiet = False,
) -> None:
    """Pretrain a composition encoder on formulas and, where given, their properties."""
    from matgraft.formulas.pretraining.run import PretrainingFigures, pretrain, resume_pretraining
    from matgraft.formulas.pretraining.settings import PretrainSettings
    from matgraft.formulas.report.pretraining import write_pretraining_report

    corpus, options = data_and_options(corpus, options)
    if resume is not None:
        refuse_beside_resume(corpus, options, out, {"--properties": properties, "--seed": seed})
        out, encoder = resume, resume_pretraining(resume, quiet=quiet)
    else:
        out = out or next_run()
        settings = settings_of(PretrainSettings, seeded(seed, options))
        refuse_idle_keys("pretrain", settings, options, {"--properties": properties, **settings.weights.model_dump()})
        encoder = pretrain(Path(corpus) if corpus else None, properties, settings, out, quiet=quiet)
    losses = ", ".join(f"{loss:.4f}" for loss in PretrainingFigures.of(encoder.card).losses)
    print(f"{out / 'model'}: {encoder.card.n_parameters} parameters, validation loss {losses}")
    print(f"report: {write_pretraining_report(out)}")


@dataclass(frozen=True)
class FewShotOptions:
    """Options of `fewshot`: what is predicted from the examples, and by which distance."""

    target: Annotated[str | None, typer.Option(help="column of the classes or values, where there are several")] = None
    formula: FormulaColumn = None
    foundation: From = "composition"
    distance: Annotated[str | None, typer.Option(help="mahalanobis (default), euclidean or cosine")] = None
    metric: Annotated[str | None, typer.Option(help="shipped (default), none, or a folder of `episodes`")] = None


def fewshot_command(
    support: Annotated[Path, typer.Argument(help="table of a few formulas with their class, or with a value")],
    queries: Annotated[Path, typer.Argument(help="table of formulas to predict")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="CSV file", callback=new_file)] = None,
    *,
    asked: FewShotOptions,
    file: FileOptions,
    report: Annotated[Path | None, typer.Option(help="HTML page", callback=new_file)] = None,
    shown: Shown,
) -> None:
    """Predict classes from a handful of examples each, or values from 5 to 50, and say what to expect."""
    from matgraft.formulas.few_shot.page import show_fewshot, write_fewshot_report
    from matgraft.formulas.few_shot.result import FewShotRun
    from matgraft.formulas.few_shot.run import few_shot
    from matgraft.formulas.report.rows import write_rows
    from matgraft.formulas.table.facts import TableReading

    tell_start(asked.foundation)
    run = FewShotRun(
        support=str(support), queries=str(queries), target=asked.target, formula=asked.formula,
        foundation=asked.foundation or "composition", distance=asked.distance, metric=asked.metric,
        sheet=file.sheet, composition=file.reading().composition, balance=file.balance, skip_bad=file.skip_bad,
    )  # fmt: skip

    def tell_read(reading: TableReading) -> None:
        teller(shown.silent, skipped_beside(None, Path(reading.table)))(reading)

    result = few_shot(run, quiet=shown.silent, tell=tell_read)
    if out is not None:
        write_rows([one.model_dump() for one in result.predictions], out)
    if report is not None:
        write_fewshot_report(result, report)
    tell(result, show_fewshot, shown.as_json)


@dataclass(frozen=True)
class LearnOptions:
    """Options of `episodes` and `prompts`, which learn from a table what other commands start from."""

    table: Annotated[Path, typer.Argument(help="long table: property, formula, target")]
    options: Options = None
    out: Annotated[Path | None, typer.Option("-o", "--out", help="folder, new", callback=new_folder)] = None
    foundation: From = "composition"
    seed: Seed = None
    device: Device = None  # chosen as it is read
    quiet: Quiet = False


def episodes_command(asked: LearnOptions) -> None:
    """Teach few-shot classification on episodes of base classes, and score it on families of properties held out."""
    from matgraft.formulas.few_shot.episodes import EpisodeSettings, learn_metric
    from matgraft.formulas.few_shot.page import show_scores
    from matgraft.formulas.registry import load_encoder

    out, settings = asked.out or next_run(), settings_of(EpisodeSettings, seeded(asked.seed, asked.options))
    refuse_idle_keys("episodes", settings, asked.options, {})
    tell_start(asked.foundation)
    encoder = load_encoder(asked.foundation or "composition")
    metric = learn_metric(asked.table, encoder, settings, out, quiet=asked.quiet)
    show_scores(screen, metric.card.scores)
    print(f"{out}: a metric from {len(metric.card.base_classes)} questions; matgraft fewshot --metric {out} takes it")


def prompts_command(asked: LearnOptions) -> None:
    """Learn a bank of prompts, one a property, that `tune --strategy prompt` starts from; the encoder stays frozen."""
    from matgraft.formulas.prompts.learning import BankSettings, learn_bank
    from matgraft.formulas.prompts.report import show_bank
    from matgraft.formulas.registry import load_encoder

    out, settings = asked.out or next_run(), settings_of(BankSettings, seeded(asked.seed, asked.options))
    refuse_idle_keys("prompts", settings, asked.options, {})
    tell_start(asked.foundation)
    encoder = load_encoder(asked.foundation or "composition")
    bank = learn_bank(asked.table, encoder, settings, out, quiet=asked.quiet)
    show_bank(screen, bank.card)
    print(f"{out}: prompts of {len(bank.card.questions)} properties; matgraft tune --strategy prompt prompt.bank={out}")


@dataclass(frozen=True)
class Wanted:
    """Options of `suggest`: what is wanted of which target."""

    target: Annotated[str | None, typer.Option(help="of the run, where it has several")] = None
    maximise: Annotated[bool, typer.Option("--maximise", help="the highest value is wanted")] = False
    minimise: Annotated[bool, typer.Option("--minimise", help="the lowest value is wanted")] = False
    target_value: Annotated[float | None, typer.Option(help="a value near this one is wanted")] = None
    wanted_class: Annotated[str | None, typer.Option("--class", help="this class is wanted")] = None
    explore: Annotated[bool, typer.Option("--explore", help="information alone is wanted")] = False
    information: Annotated[
        float | None, typer.Option(help="part that is chosen for what it teaches, 0 to 1; by default 0.2")
    ] = None
    seed: Annotated[
        int, typer.Option(help="of what is drawn: outcomes of measurements, candidates that stand for all")
    ] = 0


@dataclass(frozen=True)
class MadeOf:
    """Options of `suggest`: candidates that are made of elements."""

    elements: Annotated[str | None, typer.Option(help="make the candidates of these: Li,Fe,P,O")] = None
    most_elements: Annotated[int | None, typer.Option(help="in one candidate; by default 4")] = None
    most_atoms: Annotated[int | None, typer.Option(help="in the formula of one; by default 12")] = None
    charge: Annotated[str | None, typer.Option(help="balanced (default), or any")] = None

    def given(self, words: Sequence[str], formula: str | None, file: FileOptions) -> Given:
        """Return the candidates as they are named: a table, formulas, or elements."""
        from matgraft.core.settings import validated
        from matgraft.formulas.suggest.compositions import Compositions

        how = {name: value for name, value in vars(self).items() if name != "elements" and value is not None}
        is_table = len(words) == 1 and is_table_file(words[0])
        kind = "elements" if self.elements is not None else "table" if is_table else "formulas"
        flags = {f"--{name.replace('_', '-')}": value for name, value in how.items()}
        refuse_own("suggest", {"--formula": formula, **flags_of(file), **flags}, kind)
        if (self.elements is None) == (not words):
            found = "candidates and --elements are both named" if words else "no candidates are named"
            raise OptionError(found, allowed=["a table of candidates", "formulas", "--elements Li,Fe,P,O"])
        if self.elements is None:
            return Path(words[0]) if is_table else list(words)
        symbols = [symbol.strip() for symbol in self.elements.split(",") if symbol.strip()]
        return validated(Compositions, {"elements": symbols, **how}, "--elements")


def suggest_command(
    run: Annotated[Path, typer.Argument(help="a run on a table of formulas")],
    candidates: Annotated[
        list[str] | None,
        typer.Argument(help="a table of candidates, or formulas; and what all share, such as temperature=300"),
    ] = None,
    *,
    n: Annotated[int, typer.Option("-n", "--count", help="how many suggestions", min=1)] = 10,
    wanted: Wanted,
    made: MadeOf,
    formula: FormulaColumn = None,
    file: FileOptions,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="CSV file", callback=new_file)] = None,
    as_json: Json = False,
) -> None:
    """Rank what to measure next by expected improvement and information, spread over chemistry."""
    from matgraft.formulas.report.rows import write_rows
    from matgraft.formulas.report.suggested import suggestion_rows
    from matgraft.formulas.report.text import show_suggested
    from matgraft.formulas.suggest.suggest import keep, suggest

    words = list(candidates or ())
    given = made.given([one for one in words if "=" not in one], formula, file)
    shared = dict(one.split("=", 1) for one in words if "=" in one)
    found = suggest(run, given, n, conditions=shared, formula=formula, reading=file.reading(), **vars(wanted))
    if out is not None:
        write_rows(suggestion_rows(found), out)
    keep(run, found)
    tell(found, show_suggested, as_json)


def evaluate_rows(words: Sequence[str], page: Path | None, file: FileOptions, shown: Shown) -> None:
    """Score a run on a table on a further table with labels, as the words of a command name them, and tell it."""
    from matgraft.formulas.evaluate import evaluate_table
    from matgraft.formulas.report.text import show_table_evaluation

    run, *rest = words
    tables, options = [one for one in rest if "=" not in one], [one for one in rest if "=" in one]
    if options:
        raise OptionError(f"{options[0]} is not read: a run on a table keeps its settings", remedy="remove it")
    if len(tables) != 1:
        raise OptionError(f"{len(tables)} tables are named", allowed=[f"matgraft evaluate {run} TABLE"])
    table = Path(tables[0])
    if tables[0] == "-":
        from matgraft.formulas.evaluate import FOLDER
        from matgraft.formulas.table.sources import keep_stdin

        table = keep_stdin(Path(run) / FOLDER / "stdin")
    told = teller(shown.silent, skipped_beside(page, table))
    found = evaluate_table(Path(run), table, page, reading=file.reading(), tell=told)
    tell(found, show_table_evaluation, shown.as_json)


def table_run(
    data: str | None,
    options: list[str] | None,
    targets: list[str] | None,
    fit: FitOptions,
    columns: TableOptions,
    seed: int | None = None,
) -> tuple[TableRun, list[str]]:
    """Return what `tune` shall do with a table, and the keys of the settings that were named."""
    from matgraft.formulas.settings import TableRun

    if data is None:
        raise OptionError(
            "--target names a column, but no table is named", allowed=["a file that ends in .csv or .tsv"]
        )
    refuse_no_target(data, targets, columns)
    settings, keys = predictor_settings("tune", options, columns, strategy=fit.strategy, seed=seed)
    tell_start(fit.foundation)
    run = TableRun(
        table=data,
        targets=tuple(targets or ()),
        foundation=fit.foundation or "composition",
        formula=columns.formula,
        covariates=tuple(columns.covariate or ()),
        weight=columns.weight,
        group=columns.group or "formula",
        order=columns.ordered,
        classes=columns.unordered,
        adapt_to=columns.adapt_to,
        test=fit.test,
        prompt_class=columns.prompt_class,
        drop=columns.lines,
        allow=columns.allowed,
        unit=tuple(columns.unit or ()),
        settings=settings,
        **reading_options(columns),
    )
    return run, keys


def reading_options(columns: Columns) -> dict[str, Any]:
    """Return how tables are read, as settings of a run."""
    return {name: value for name, value in vars(columns.reading(impute=columns.impute)).items() if name != "can_skip"}


def refuse_no_target(data: str, targets: list[str] | None, columns: Columns) -> None:
    """Raise an OptionError, which offers the columns of a table, where none is named as the target."""
    from matgraft.formulas.table.opening import value_columns

    if not targets:
        raise OptionError(
            "a table of formulas needs --target with the column of the values",
            where=data,
            options=[{"--target": name} for name in value_columns(Path(data), columns.formula, columns.reading())],
        )


def end_table_run(result: TableResult, as_json: bool) -> NoReturn:
    """Tell what a run on a table gave, and exit with the code of the worst verdict."""
    from matgraft.formulas.report.text import show_targets

    tell(result, show_targets, as_json)
    raise typer.Exit(worst_exit_code(metrics.verdict for metrics in result.targets.values()))


def predictor_settings(verb: str, options: list[str] | None, columns: Columns, **own: Any) -> tuple[Any, list[str]]:
    """Return the settings, and the keys that were named; `own` are options of the command, weaker than key=value."""
    from matgraft.formulas.predictor.members import OF_POTENTIALS, STRATEGIES
    from matgraft.formulas.predictor.predictor import PredictorSettings
    from matgraft.formulas.settings import refuse_prompt_class

    words = [word(name, value) for name, value in own.items() if value is not None] + list(options or ())
    settings = settings_of(PredictorSettings, words)
    given = typed(PredictorSettings, words)
    not_typed = Read("ordinal", "nothing: --order says that classes have an order, and which", lambda _: False)
    refuse_unread(verb, (Read("*"), not_typed), given)
    with_target = "`matgraft tune --strategy domain` takes a table of the target, by --adapt-to; crossval takes none"
    refuse_prompt_class(columns.prompt_class, settings.strategy)
    known = {name: members for name, members in STRATEGIES.items() if verb == "tune" or name != "domain"}
    choose(settings.strategy, known, "strategy", {**OF_POTENTIALS, "domain": with_target})
    return settings.model_copy(update={"ordinal": bool(columns.order)}), given
