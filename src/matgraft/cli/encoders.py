"""The verbs of the encoder itself: embed, pretrain, fewshot, episodes, prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matgraft.cli.common import (
    data_and_options,
    next_run,
    refuse_beside_resume,
    refuse_idle_keys,
    screen,
    seeded,
    settings_of,
    tell,
)
from matgraft.cli.options import Device, FileOptions, FormulaColumn, From, Options, Quiet, Seed, Shown
from matgraft.cli.outputs import folder_to_make, new_file
from matgraft.cli.own import refuse_own
from matgraft.cli.table_settings import tell_start
from matgraft.cli.tables import skipped_beside, teller
from matgraft.core.errors import choose

if TYPE_CHECKING:
    pass


PER = ("formula", "element")


@dataclass(frozen=True)
class EmbedOptions:
    """Options of `embed`: by which encoder, of what."""

    foundation: From = "composition"
    target: Annotated[str | None, typer.Option(help="target whose tuned encoder is used, if the run has several")] = (
        None
    )
    per: Annotated[str, typer.Option(help="formula; or element, for one row per element")] = "formula"


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
    corpus: Annotated[str | None, typer.Argument(help="formulas, one per line (also .gz, .xz, .zst)")] = None,
    options: Options = None,
    properties: Annotated[Path | None, typer.Option(help="long table: property, formula, target")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="run folder, new", callback=folder_to_make)] = None,
    resume: Annotated[Path | None, typer.Option(help="continue a run that was stopped")] = None,
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
    out: Annotated[Path | None, typer.Option("-o", "--out", help="folder, new", callback=folder_to_make)] = None
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
