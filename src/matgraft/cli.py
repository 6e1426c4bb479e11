"""The command line: one verb a command. Everything is done by the functions of the same names.

Exit codes: 0 done; 1 the audit blocks; 2 an option is wrong; 3 the data cannot be used; 4 step 0 is not the foundation;
5 a run broke off or is incomplete.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console

from matgraft.core.errors import MatgraftError, OptionError, RunError, choose
from matgraft.core.files import to_json
from matgraft.core.options import word
from matgraft.core.reads import Read, changed_keys, refuse_unread

if TYPE_CHECKING:
    from pydantic import BaseModel

app = typer.Typer(
    name="matgraft",
    help="Graft your data onto a pretrained materials model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
screen = Console()
S = TypeVar("S", bound="BaseModel")
T = TypeVar("T")

Targets = Annotated[list[str] | None, typer.Option(help="column of values in a table of formulas; may be repeated")]
FormulaColumn = Annotated[str | None, typer.Option(help="column of the formulas, where its name does not say so")]
Covariates = Annotated[list[str] | None, typer.Option(help="column to use beside the formula; may be repeated")]
Weight = Annotated[str | None, typer.Option(help="column of how much each row counts")]
Group = Annotated[str | None, typer.Option(help="never torn apart: formula (default), chemical-system, or a column")]
Order = Annotated[str | None, typer.Option(help="classes from the lowest to the highest: low,medium,high")]
Frames = Annotated[str | None, typer.Argument(help="frames with DFT labels: extxyz, ASE, VASP, JSON, folders, a store")]
Options = Annotated[list[str] | None, typer.Argument(help="recipe.yaml and key=value, such as fit.rate=5e-4")]
From = Annotated[str | None, typer.Option("--from", help="foundation, such as chgnet; see `matgraft backbones`")]
Json = Annotated[bool, typer.Option("--json", help="print facts for machines, nothing else")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress bars")]
Run = Annotated[Path, typer.Argument(help="a run folder")]
TABLE_OPTIONS = ("--formula", "--covariate", "--weight", "--group", "--order", "--adapt-to")
PROCESSES = Read("fit.processes", "fits on a CPU, by processes that can be forked", lambda asked: asked["forks"])
OWN: dict[str, tuple[Read, ...]] = {
    "tune": (
        *(Read(name, "a table of formulas, with --target", lambda is_table: is_table) for name in TABLE_OPTIONS),
        Read("--test", "frames; a table is scored out of fold", lambda is_table: not is_table),
        Read("--max-minutes", "frames; a table takes what its rows take", lambda is_table: not is_table),
    ),
    "predict": (Read("--formula", "a table of formulas", lambda is_table: is_table),),
    "crossval": (Read("--folds", "folds that it draws; --fold-column brings them", lambda column: column is None),),
    "embed": (Read("--count", "--nearest", lambda nearest: nearest is not None),),
    "pretrain": (
        Read("*"),
        Read("exclude", "a table of --properties", lambda asked: asked["--properties"] is not None),
        Read("views", "the objectives masked and contrast", lambda asked: asked["masked"] or asked["contrast"]),
        PROCESSES,
    ),
    "episodes": (Read("*"), PROCESSES),
    "prompts": (Read("*"), PROCESSES),
}
"""Options of verbs that are read in some cases only; what is read of recipes and predictors stands beside these."""
Model = Annotated[Path, typer.Argument(help="a run folder; of several heads, with the one meant: runs/si#PBE")]


@app.command()
def audit(
    frames: Frames = None, options: Options = None, foundation: From = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Look for trouble in the labels before any training; exit 1 when a finding blocks."""
    from matgraft.potentials.report.screen import audit_facts, show_findings
    from matgraft.potentials.run import audit_file

    asked = _recipe("audit", frames, options, foundation=foundation)
    recipe, _ = asked.named()
    facts = audit_facts(*audit_file(recipe, quiet=quiet or as_json), recipe.audit.allow)
    if idle := asked.unread("audit"):
        facts["notes"].append(f"of the recipe `matgraft audit` does not read {', '.join(idle)}")
    _tell(facts, show_findings, as_json)
    raise typer.Exit(1 if facts["blocking"] else 0)


@app.command()
def pack(
    what: Annotated[list[str], typer.Argument(help="files and folders of frames, and key=value of how to read them")],
    out: Annotated[Path, typer.Option("-o", "--out", help="store, new: frames.h5")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put frames of any format into one store on disk, to train on more of them than fit into memory."""
    from matgraft.potentials.data.pack import pack

    options = [word for word in what if "=" in word and not Path(word).exists()]
    sources = [word for word in what if word not in options]
    count = pack(sources, out, **_reading(options, sources), progress=not (quiet or as_json))
    size = out.stat().st_size
    facts = {"store": str(out), "n_frames": count, "bytes": size}
    _tell(facts, lambda *_: print(f"{out}: {count} frames, {size / 2**20:.1f} MiB"), as_json, indent=None)


@app.command()
def tune(
    data: Annotated[
        str | None,
        typer.Argument(help="frames with DFT labels, or a table of formulas with values (csv, tsv, parquet)"),
    ] = None,
    options: Options = None,
    foundation: From = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="ladder (the default from 5 minutes on), full, partial, feature, gradual, lora, replay or multihead; "
            "for formulas auto (the default), full, partial, feature, prompt or descriptors, and domain with --adapt-to"
        ),
    ] = None,
    test: Annotated[str | None, typer.Option(help="frames to score on; else a part of the first file")] = None,
    out: Annotated[Path | None, typer.Option(help="run folder, new")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="time for the fit, or for all fits of the ladder")] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with a run that was broken off")] = None,
    target: Targets = None,
    formula: FormulaColumn = None,
    covariate: Covariates = None,
    weight: Weight = None,
    group: Group = None,
    order: Order = None,
    adapt_to: Annotated[
        str | None, typer.Option(help="table of formulas without labels that the predictor shall serve")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a foundation on your frames or on your table of formulas, and report honestly."""
    from matgraft.formulas.tune import is_table_run, resume_table_run
    from matgraft.potentials.report.screen import run_facts, show_run
    from matgraft.potentials.run import resume_run, tune

    own = {"--strategy": strategy, "--test": test, "--max-minutes": max_minutes, "--from": foundation}
    table_options = dict(zip(TABLE_OPTIONS, (formula, covariate, weight, group, order, adapt_to), strict=True))
    is_table = bool(target) or (data is not None and _is_table(data))
    if resume is not None:
        _refuse_beside_resume(data, options, out, {**own, "--target": target, **table_options})
        if is_table_run(resume):
            _show_table_run(resume, resume_table_run(resume, quiet=quiet or as_json), as_json)
            return
        _tell(run_facts(resume, resume_run(resume, quiet=quiet or as_json)), show_run, as_json)
        return
    _refuse_own("tune", {"--test": test, "--max-minutes": max_minutes, **table_options}, is_table)
    if is_table:
        run = out or _next_run()
        _tune_table(data, options, target, foundation, strategy, table_options, run, as_json, quiet)
        return
    run = out or _next_run()
    names = ("strategy__name", "test", "fit__max_minutes", "foundation")
    given = dict(zip(names, own.values(), strict=True))
    recipe, chosen = _recipe("tune", data, options, **given).named()
    if chosen and not as_json:
        screen.print(chosen, highlight=False, soft_wrap=True)
    report = tune(recipe, run, quiet=quiet or as_json)
    _tell(run_facts(run, report), show_run, as_json)


@app.command()
def predict(
    run: Run,
    what: Annotated[
        list[str], typer.Argument(help='formulas, or one table; of runs with prompts: "[OXIDE] Fe2O3 [GAP]"')
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="CSV file")] = None,
    formula: FormulaColumn = None,
    as_json: Json = False,
) -> None:
    """Predict properties of formulas with a tuned predictor: value, interval, and whether to believe it."""
    from matgraft.formulas.report.text import show_predictions, show_written, write_predictions
    from matgraft.formulas.tune import formulas_in, predict_formulas

    is_table = len(what) == 1 and _is_table(what[0])
    _refuse_own("predict", {"--formula": formula}, is_table)
    if is_table:
        cells, formulas = formulas_in(Path(what[0]), formula)
        rows = predict_formulas(run, formulas, cells, Path(what[0]))
    else:
        rows = predict_formulas(run, what)
    if out is not None:
        write_predictions(rows, out)
    _tell(rows, show_predictions if out is None else partial(show_written, path=out), as_json)


@app.command()
def evaluate(
    run: Model,
    frames: Annotated[Path, typer.Argument(help="frames to score on")],
    options: Options = None,
    as_json: Json = False,
) -> None:
    """Score a tuned model on further frames, beside its foundation.

    Frames that the fit was trained or validated on are counted and left out of the figures.
    Keys and units are those of the run; say others as key=value, such as keys.energy=REF_energy.
    """
    from matgraft.potentials.report.screen import show_evaluation
    from matgraft.potentials.run import evaluate_run

    _tell(evaluate_run(run, frames, options or (), quiet=as_json), show_evaluation, as_json)


@app.command()
def crossval(
    table: Annotated[Path, typer.Argument(help="formulas with values: csv, tsv (also .gz), parquet")],
    target: Annotated[str, typer.Option(help="column of the values")],
    options: Options = None,
    foundation: From = "composition",
    formula: FormulaColumn = None,
    fold_column: Annotated[str | None, typer.Option(help="column that names each row's test fold")] = None,
    group: Group = None,
    folds: Annotated[int | None, typer.Option(help="number of folds, where the table brings none", min=2)] = None,
    covariate: Covariates = None,
    weight: Weight = None,
    order: Order = None,
    strategy: Annotated[str | None, typer.Option(help="auto, full, partial, feature, prompt or descriptors")] = None,
    seed: Annotated[int | None, typer.Option(help="of folds and members")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="CSV file for the held-out predictions")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a property predictor on held-out folds of a table of formulas."""
    from matgraft.formulas.crossval import crossval
    from matgraft.formulas.predictor.members import formula_reader
    from matgraft.formulas.registry import load_encoder
    from matgraft.formulas.report.text import show_folds, write_predictions
    from matgraft.formulas.table.reading import GROUPINGS, read_table

    _refuse_own("crossval", {"--folds": folds}, fold_column)
    by = group or "formula"
    column = None if by in GROUPINGS else by
    settings, given = _predictor_settings("crossval", options, order, strategy=strategy, seed=seed)
    read = read_table(
        table, target, formula=formula, fold=fold_column, covariates=covariate or (), weight=weight, group=column,
        order=_words(order), parse=formula_reader(settings.strategy),
    )  # fmt: skip
    model = load_encoder(foundation or "composition")
    scored = crossval(read, model, by=by, n_folds=folds or 5, settings=settings, given=given, quiet=quiet or as_json)
    if out is not None:
        write_predictions(scored["predictions"], out)
    _tell({name: value for name, value in scored.items() if name != "predictions"}, show_folds, as_json)


@app.command()
def embed(
    table: Annotated[Path, typer.Argument(help="a table with a column of formulas")],
    out: Annotated[Path, typer.Option("-o", "--out", help="parquet file: formula, e0, e1, ...")],
    foundation: From = "composition",
    formula: Annotated[str | None, typer.Option(help="column of the formulas, where its name does not say so")] = None,
    nearest: Annotated[str | None, typer.Option(help="a formula; its nearest ones in the table are printed")] = None,
    count: Annotated[int | None, typer.Option(help="how many of them; by default 10", min=1)] = None,
) -> None:
    """Write the encoder's features of formulas."""
    from matgraft.formulas.registry import load_encoder
    from matgraft.formulas.report.text import nearest_formulas, write_vectors
    from matgraft.formulas.table.reading import formula_column, formulas_of, read_cells

    _refuse_own("embed", {"--count": count}, nearest)
    cells = read_cells(table)
    formulas = formulas_of(cells[formula_column(cells, formula, table)], table)
    encoder = load_encoder(foundation or "composition")
    vectors = encoder.embed(formulas, progress="embedding")
    write_vectors(formulas, vectors, out)
    print(f"{out}: {len(formulas)} formulas, {vectors.shape[1]} numbers each")
    if nearest is not None:
        for name, distance in nearest_formulas(nearest, formulas, vectors, encoder, count or 10):
            print(f"  {distance:8.3f}  {name}")


@app.command()
def pretrain(
    corpus: Annotated[str | None, typer.Argument(help="formulas, one a line (also .gz)")] = None,
    options: Options = None,
    properties: Annotated[Path | None, typer.Option(help="long table: property, formula, target")] = None,
    out: Annotated[Path | None, typer.Option(help="run folder, new")] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with a run that was broken off")] = None,
    quiet: Quiet = False,
) -> None:
    """Pretrain a composition encoder on formulas and, where given, their properties."""
    from matgraft.formulas.pretraining.run import pretrain, resume_pretraining
    from matgraft.formulas.pretraining.settings import PretrainSettings

    corpus, options = _data_and_options(corpus, options)
    if resume is not None:
        _refuse_beside_resume(corpus, options, out, {"--properties": properties})
        out, encoder = resume, resume_pretraining(resume, quiet=quiet)
    else:
        out = out or _next_run()
        settings = _settings(PretrainSettings, options)
        _refuse_idle("pretrain", settings, options, {"--properties": properties, **settings.weights.model_dump()})
        encoder = pretrain(Path(corpus) if corpus else None, properties, settings, out, quiet=quiet)
    losses = ", ".join(f"{best['validation_loss']:.4f}" for best in (encoder.card.metrics or {})["best"])
    print(f"{out / 'model'}: {encoder.card.n_parameters} parameters, validation loss {losses}")


@app.command()
def fewshot(
    support: Annotated[Path, typer.Argument(help="table of a few formulas with their class, or with a value")],
    queries: Annotated[Path, typer.Argument(help="table of formulas to predict")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="CSV file")] = None,
    target: Annotated[str | None, typer.Option(help="column of the classes or values, where there are several")] = None,
    formula: FormulaColumn = None,
    foundation: From = "composition",
    distance: Annotated[str | None, typer.Option(help="mahalanobis (default), euclidean or cosine")] = None,
    metric: Annotated[str | None, typer.Option(help="shipped (default), none, or a folder of `episodes`")] = None,
    report: Annotated[Path | None, typer.Option(help="HTML page")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict classes from a handful of examples each, or values from 5 to 50, and say what to expect."""
    from matgraft.formulas.few_shot.page import show_fewshot, write_fewshot_report
    from matgraft.formulas.few_shot.run import FewShotRun, few_shot
    from matgraft.formulas.report.text import write_predictions

    run = FewShotRun(
        support=str(support), queries=str(queries), target=target, formula=formula,
        foundation=foundation or "composition", distance=distance, metric=metric,
    )  # fmt: skip
    facts = few_shot(run, quiet=quiet or as_json)
    if out is not None:
        write_predictions(facts["predictions"], out)
    if report is not None:
        write_fewshot_report(facts, report)
    _tell(facts, show_fewshot, as_json)


@app.command()
def episodes(
    table: Annotated[Path, typer.Argument(help="long table: property, formula, target")],
    options: Options = None,
    out: Annotated[Path | None, typer.Option(help="folder, new")] = None,
    foundation: From = "composition",
    quiet: Quiet = False,
) -> None:
    """Teach few-shot classification on episodes of base classes, and score it on families of properties held out."""
    from matgraft.formulas.few_shot.episodes import EpisodeSettings, learn_metric
    from matgraft.formulas.few_shot.page import show_scores
    from matgraft.formulas.registry import load_encoder

    out, settings = out or _next_run(), _settings(EpisodeSettings, options)
    _refuse_idle("episodes", settings, options, {})
    metric = learn_metric(table, load_encoder(foundation or "composition"), settings, out, quiet=quiet)
    show_scores(screen, metric.card.scores)
    print(f"{out}: a metric from {len(metric.card.base_classes)} questions; matgraft fewshot --metric {out} takes it")


@app.command()
def prompts(
    table: Annotated[Path, typer.Argument(help="long table: property, formula, target")],
    options: Options = None,
    out: Annotated[Path | None, typer.Option(help="folder, new")] = None,
    foundation: From = "composition",
    quiet: Quiet = False,
) -> None:
    """Learn a bank of prompts, one a property, that `tune --strategy prompt` starts from; the encoder stays frozen."""
    from matgraft.formulas.prompts.learning import BankSettings, learn_bank
    from matgraft.formulas.prompts.report import show_bank
    from matgraft.formulas.registry import load_encoder

    out, settings = out or _next_run(), _settings(BankSettings, options)
    _refuse_idle("prompts", settings, options, {})
    bank = learn_bank(table, load_encoder(foundation or "composition"), settings, out, quiet=quiet)
    show_bank(screen, bank.card)
    print(f"{out}: prompts of {len(bank.card.questions)} properties; matgraft tune --strategy prompt prompt.bank={out}")


@app.command()
def report(run: Run) -> None:
    """Write the report of a run again: one HTML page."""
    from matgraft.formulas.report.page import write_property_report
    from matgraft.formulas.tune import is_table_run
    from matgraft.potentials.report.html import write_report

    print(write_property_report(run) if is_table_run(run) else write_report(run))


@app.command()
def export(
    run: Model,
    to: Annotated[str, typer.Option(help="native, ase, lammps or torch-sim")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder, new")],
    as_json: Json = False,
) -> None:
    """Write the model for other tools, and verify what was written with their own code.

    What cannot be verified on this machine is written and said, and is no error; what differs from the model is.
    """
    from matgraft.potentials.exports import export

    exported = export(run, to, out)
    _tell(exported.facts(), lambda *_: print(exported.text), as_json, indent=None)


@app.command()
def backbones(as_json: Json = False) -> None:
    """List what can be tuned, with which extra, and where the weights come from."""
    from dataclasses import asdict

    from matgraft.foundations import BACKBONES
    from matgraft.potentials.report.screen import show_backbones

    rows = {name: asdict(row) | {"installed": row.installed} for name, row in BACKBONES.items()}
    _tell(rows, show_backbones, as_json, indent=None)


def main() -> None:
    """Run the command line; a deliberate error is printed without a traceback and becomes its exit code."""
    warnings.filterwarnings("ignore", module=r"(chgnet|e3nn|mace|pymatgen|lightning_fabric|spglib)\b")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: processes, not threads
    try:
        app()
    except MatgraftError as error:
        if "--json" in sys.argv:
            print(to_json({"error": error.facts()}))
        Console(stderr=True).print(f"[bold red]error[/] {_escaped(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder that may not be written: no traceback, nothing half-written
        Console(stderr=True).print(f"[bold red]error[/] {_escaped(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(RunError.exit_code)


def _tune_table(
    data: str | None,
    options: list[str] | None,
    targets: list[str] | None,
    foundation: str | None,
    strategy: str | None,
    given: dict[str, Any],
    out: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    from matgraft.formulas.table.reading import value_columns
    from matgraft.formulas.tune import TableRun, tune_table

    if data is None:
        raise OptionError(
            "--target names a column, but no table is named", allowed=["a file that ends in .csv or .tsv"]
        )
    if not targets:
        raise OptionError(
            "a table of formulas needs --target with the column of the values",
            where=data,
            options=[{"--target": name} for name in value_columns(Path(data), given["--formula"])],
        )
    settings, keys = _predictor_settings("tune", options, given["--order"], strategy=strategy)
    run = TableRun(
        table=data,
        targets=tuple(targets),
        foundation=foundation or "composition",
        formula=given["--formula"],
        covariates=tuple(given["--covariate"] or ()),
        weight=given["--weight"],
        group=given["--group"] or "formula",
        order=_words(given["--order"]),
        adapt_to=given["--adapt-to"],
        settings=settings,
        given=keys,
    )
    _show_table_run(out, tune_table(run, out, quiet=quiet or as_json), as_json)


def _show_table_run(run: Path, metrics: dict[str, Any], as_json: bool) -> None:
    from matgraft.formulas.report.text import show_targets

    _tell({"run": str(run), "report": str(run / "report.html"), **metrics}, show_targets, as_json)


def _predictor_settings(verb: str, options: list[str] | None, order: str | None, **own: Any) -> tuple[Any, list[str]]:
    """Return the settings, and the keys that were named; `own` are options of the command, weaker than key=value."""
    from matgraft.formulas.predictor.members import OF_POTENTIALS, STRATEGIES
    from matgraft.formulas.predictor.predictor import PredictorSettings

    words = [word(name, value) for name, value in own.items() if value is not None] + list(options or ())
    settings = _settings(PredictorSettings, words)
    given = _typed(PredictorSettings, words)
    not_typed = Read("ordinal", "nothing: --order says that classes have an order, and which", lambda _: False)
    refuse_unread(verb, (Read("*"), not_typed), given)
    with_target = "`matgraft tune --strategy domain` takes a table of the target, by --adapt-to; crossval takes none"
    known = {name: members for name, members in STRATEGIES.items() if verb == "tune" or name != "domain"}
    choose(settings.strategy, known, "strategy", {**OF_POTENTIALS, "domain": with_target})
    return settings.model_copy(update={"ordinal": bool(order)}), given


def _refuse_own(verb: str, given: dict[str, object], present: object) -> None:
    """Refuse options of a verb that would do nothing beside what is, or is not, present."""
    refuse_unread(verb, OWN[verb], [name for name, value in given.items() if value not in (None, [])], present)


def _refuse_idle(verb: str, settings: BaseModel, options: list[str] | None, asked: dict[str, object]) -> None:
    """Refuse keys of a file or of the command that would do nothing with what is asked."""
    from matgraft.core.processes import forks_on_cpu

    kind = type(settings)
    keys = [*_typed(kind, options), *changed_keys(settings, kind())]
    refuse_unread(verb, OWN[verb], keys, {**asked, "forks": forks_on_cpu()})


def _is_table(word: str) -> bool:
    from matgraft.formulas.table.reading import TYPES

    return word.endswith(TYPES)


def _words(order: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in order.split(",")) if order else ()


def _recipe(verb: str, frames: str | None, options: list[str] | None, **given: Any) -> Any:
    from matgraft.potentials.recipe import make_recipe

    frames, words = _data_and_options(frames, options)
    files = [word for word in words if _is_recipe(word)]
    if len(files) > 1:
        raise OptionError(f"several recipes: {', '.join(files)}", allowed=["one recipe.yaml, then key=value"])
    rest = [word for word in words if word not in files]
    return make_recipe(Path(files[0]) if files else None, rest, verb=verb, train=frames, **given)


def _data_and_options(data: str | None, options: list[str] | None) -> tuple[str | None, list[str]]:
    """Part data and options: without data the first word is a recipe or key=value."""
    words = list(options or [])
    if data and (_is_recipe(data) or ("=" in data and not Path(data).exists())):
        return None, [data, *words]
    return data, words


def _reading(options: list[str], sources: list[str]) -> dict[str, Any]:
    """Return what a recipe's options say of how files are read."""
    from matgraft.potentials.recipe import make_recipe

    recipe = make_recipe(None, options, verb="pack", train=" ".join(sources))
    if isinstance(recipe.shear, dict):
        raise OptionError("shear of groups of frames is put right when they are trained on", allowed=["shear=xz,yz,xy"])
    return {name: getattr(recipe, name) for name in ("keys", "units", "shear", "theory", "want")}


def _settings(kind: type[S], words: Sequence[str] | None) -> S:
    """Return settings of files and ``key=value`` items, as they stand among the words of a command."""
    from matgraft.core.settings import make_settings

    recipes = [Path(word) for word in words or () if _is_recipe(word)]
    return make_settings(kind, recipes, [word for word in words or () if not _is_recipe(word)])


def _typed(kind: type[BaseModel], words: Sequence[str] | None) -> list[str]:
    """Return the keys that are typed among the words of a command."""
    from matgraft.core.settings import typed_keys

    return typed_keys(kind, [word for word in words or () if not _is_recipe(word)])


def _is_recipe(word: str) -> bool:
    return word.endswith((".yaml", ".yml")) and "=" not in word


def _refuse_beside_resume(
    data: str | Path | None, options: list[str] | None, out: Path | None, given: dict[str, Any]
) -> None:
    beside = [name for name, value in {"DATA": data, "options": options, "--out": out, **given}.items() if value]
    if beside:
        raise OptionError(
            f"--resume takes the run as it was begun; {', '.join(beside)} would do nothing",
            remedy="start a new run to change its settings",
        )


def _next_run() -> Path:
    number = 1
    while (folder := Path("runs") / f"{number:03d}").exists():
        number += 1
    return folder


def _tell(facts: T, show: Callable[[Console, T], object], as_json: bool, indent: int | None = 2) -> None:
    """Print facts for machines, or let `show` print them for people: it knows nothing that the JSON lacks."""
    if as_json:
        print(to_json(facts, indent=indent))
    else:
        show(screen, facts)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
