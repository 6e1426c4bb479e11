"""What every verb shares: how options are typed, what is refused, how facts are told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from rich.console import Console
from typer.core import TyperCommand

from matgraft.cli.ending import ReaderGoneError, print_json, reader_gone
from matgraft.cli.outputs import clean_stdout, new_file, new_file_and_folder, refuse_inputs
from matgraft.core.buffers import take_buffers
from matgraft.core.errors import OptionError
from matgraft.core.failures import failure_of
from matgraft.core.locks import locked_files
from matgraft.core.reads import Read, changed_keys, refuse_unread
from matgraft.core.vocabulary import keys_called

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pydantic import BaseModel

    from matgraft.formulas.table.formula_table import ReadOptions

screen = Console()
S = TypeVar("S", bound="BaseModel")
T = TypeVar("T")

Targets = Annotated[list[str] | None, typer.Option(help="column of values in a table of formulas; may be repeated")]
FormulaColumn = Annotated[str | None, typer.Option(help="column of the formulas, where its name does not say so")]
Covariates = Annotated[list[str] | None, typer.Option(help="column to use beside the formula; may be repeated")]
Weight = Annotated[str | None, typer.Option(help="column of how much each row counts")]
Group = Annotated[str | None, typer.Option(help="never torn apart: formula (default), chemical-system, or a column")]
Order = Annotated[str | None, typer.Option(help="classes from the lowest to the highest: low,medium,high")]
Drop = Annotated[list[str] | None, typer.Option(help="lines of the table to leave out: 3,7-9; may be repeated")]
Allow = Annotated[
    list[str] | None, typer.Option(help="code of a finding of the audit that shall not block; may be repeated")
]
PromptClass = Annotated[
    str | None, typer.Option(help="column with a class of one's own for each row, of --strategy prompt")
]
Frames = Annotated[str | None, typer.Argument(help="frames with DFT labels: extxyz, ASE, VASP, JSON, folders, a store")]
Options = Annotated[list[str] | None, typer.Argument(help="recipe.yaml and key=value, such as fit.rate=5e-4")]
From = Annotated[str | None, typer.Option("--from", help="foundation, such as chgnet; see `matgraft backbones`")]
Json = Annotated[bool, typer.Option("--json", help="print facts for machines, nothing else")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress bars")]
ExecutorFile = Annotated[
    Path | None, typer.Option("--executor", help="YAML of where work is done: this machine, Slurm, PBS")
]
Run = Annotated[Path, typer.Argument(help="a run folder")]
Model = Annotated[Path, typer.Argument(help="a run folder; of several heads, with the one meant: runs/si#PBE")]


@dataclass(frozen=True)
class FileOptions:
    """Options of every command that reads a table: how the file is read."""

    sheet: Annotated[str | None, typer.Option(help="of an Excel workbook, where several could be meant")] = None
    composition: Annotated[
        str | None, typer.Option(help="amounts of an alloy, in columns or behind hyphens, are wt% or at%")
    ] = None
    balance: Annotated[str | None, typer.Option(help="element that makes up the rest of a composition")] = None
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="leave out rows that cannot be used, and write which and why")
    ] = False

    def reading(self, *, impute: bool = False) -> ReadOptions:
        """Return how tables are read; raises an OptionError for a composition in neither per cent."""
        from matgraft.formulas.table.formula_table import ReadOptions, basis_of

        return ReadOptions(self.sheet, basis_of(self.composition), self.balance, self.skip_bad, impute)


@dataclass(frozen=True)
class Columns(FileOptions):
    """Options of a command: which columns of a table say what."""

    formula: FormulaColumn = None
    covariate: Covariates = None
    weight: Weight = None
    group: Group = None
    order: Order = None
    classes: Annotated[
        str | None, typer.Option(help="classes without an order, where words or whole numbers leave it open: a,b,none")
    ] = None
    prompt_class: PromptClass = None
    drop: Drop = None
    allow: Allow = None
    impute: Annotated[
        bool,
        typer.Option("--impute", help="fill covariates that are missing: by the median, or by a word of their own"),
    ] = False

    @property
    def lines(self) -> tuple[int, ...]:
        """Lines that are left out."""
        from matgraft.formulas.table.lines import read_lines

        return tuple(line for one in self.drop or () for line in read_lines(one))

    @property
    def allowed(self) -> tuple[str, ...]:
        """Codes of findings that shall not block."""
        return tuple(code.strip() for one in self.allow or () for code in one.split(",") if code.strip())

    @property
    def ordered(self) -> tuple[str, ...]:
        """Classes from the lowest to the highest, where they have an order."""
        return _words(self.order)

    @property
    def unordered(self) -> tuple[str, ...]:
        """Classes that have none, where they are named; raises an OptionError beside an order."""
        if self.order and self.classes:
            raise OptionError("--order and --classes both name the classes", remedy="keep one of them")
        return _words(self.classes)


def _words(listed: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in listed.split(",")) if listed else ()


@dataclass(frozen=True)
class TableOptions(Columns):
    """Options of `tune` on a table of formulas."""

    adapt_to: Annotated[
        str | None, typer.Option(help="table of formulas without labels that the predictor shall serve")
    ] = None


@dataclass(frozen=True)
class FitOptions:
    """Options of `tune`: what is tuned, how, and on what it is scored."""

    foundation: From = None
    strategy: Annotated[
        str | None,
        typer.Option(
            help="ladder (the default from 5 minutes on), full, partial, feature, gradual, lora, replay or multihead; "
            "for formulas auto (the default), full, partial, feature, prompt or descriptors, and domain with --adapt-to"
        ),
    ] = None
    test: Annotated[
        str | None,
        typer.Option(help="frames, or a table with labels, to score on; else a part of the first file, or out of fold"),
    ] = None
    max_minutes: Annotated[float | None, typer.Option(help="time for the fit, or for all fits of the ladder")] = None
    purpose: Annotated[
        str | None,
        typer.Option(
            "--for", help="md, phases, elastic or surfaces: sets weights of the loss, says what the frames lack"
        ),
    ] = None
    check: Annotated[
        str | None, typer.Option(help="physical checks of the tuned model at the end: quick, crystal or full")
    ] = None


@dataclass(frozen=True)
class CheckOptions:
    """Options of `check`: what is looked at, and what it is held against."""

    structure: Annotated[
        list[str] | None, typer.Option(help="crystal, slab or molecule to look at (CIF, POSCAR, ...); may be repeated")
    ] = None
    frames: Annotated[
        list[str] | None, typer.Option(help="labelled frames to compare with; a run brings its own; may be repeated")
    ] = None
    against: Annotated[str | None, typer.Option(help="foundation to compare with; a run brings its own")] = None
    reference: Annotated[str | None, typer.Option(help="YAML of values by your own DFT")] = None
    uses: Annotated[
        list[str] | None,
        typer.Option(
            "--for", help="relax, phonons, elastic, md:300-1200K, defects, surfaces, phases, molecules; may be repeated"
        ),
    ] = None
    suite: Annotated[
        str | None, typer.Option(help="without --for and --only: quick (the default), crystal or full")
    ] = None
    only: Annotated[list[str] | None, typer.Option(help="code of one check; may be repeated")] = None


@dataclass(frozen=True)
class Shown:
    """Options of a command: what it prints."""

    as_json: Json = False
    quiet: Quiet = False

    @property
    def silent(self) -> bool:
        """True if nothing is printed while it works."""
        return self.quiet or self.as_json


FLAGS = {"foundation": "from", "purpose": "for", "uses": "for", "wanted_class": "class"}
"""Options whose name on the command line is a word of Python's."""


def flags_of(group: DataclassInstance) -> dict[str, object]:
    """Return a group of options by their names on the command line: ``{"--adapt-to": None}``."""
    names = {one.name: FLAGS.get(one.name, one.name.replace("_", "-")) for one in fields(group)}
    values = {f"--{flag}": getattr(group, name) for name, flag in names.items()}
    return {flag: None if value is False else value for flag, value in values.items()}


PROCESSES = Read("fit.processes", "fits on a CPU, by processes that can be forked", lambda asked: asked["forks"])
FOLDED = (Read("--folds", "folds that it draws; --fold-column brings them", lambda column: column is None),)
OWN: dict[str, tuple[Read, ...]] = {
    "tune": (
        *(
            Read(name, "a table of formulas, with --target", lambda is_table: is_table)
            for name in flags_of(TableOptions())
        ),
        Read("--for", "frames, which potentials are tuned on", lambda is_table: not is_table),
        Read("--check", "frames, which potentials are tuned on", lambda is_table: not is_table),
        Read("--max-minutes", "frames; a table takes what its rows take", lambda is_table: not is_table),
    ),
    "audit": (
        *(
            Read(name, "a table of formulas, with --target", lambda is_table: is_table)
            for name in (*flags_of(Columns()), "--target", "--for", "--fold-column")
        ),
    ),
    "predict": (
        *(
            Read(name, "a table of formulas", lambda kind: kind == "table")
            for name in ("--formula", *flags_of(FileOptions()))
        ),
        Read("--quiet", "structures and tables; formulas show no progress", lambda kind: kind != "formulas"),
    ),
    "evaluate": tuple(
        Read(name, "a run on a table of formulas", lambda is_table: is_table) for name in flags_of(FileOptions())
    ),
    "suggest": (
        *(
            Read(name, "a table of candidates", lambda kind: kind == "table")
            for name in ("--formula", *flags_of(FileOptions()))
        ),
        *(
            Read(name, "--elements, which it makes candidates of", lambda kind: kind == "elements")
            for name in ("--most-elements", "--most-atoms", "--charge")
        ),
    ),
    "export": (
        Read("--target", "a run on a table of formulas", lambda is_table: is_table),
        Read("--repulsion", "potentials, with --to ase", lambda is_table: not is_table),
    ),
    "crossval": FOLDED,
    "compare": FOLDED,
    "embed": (
        Read("--count", "--nearest", lambda asked: asked["nearest"] is not None),
        Read("--nearest", "vectors of formulas", lambda asked: asked["per"] == "formula"),
        Read("--target", "runs on a table", lambda asked: asked["is_run"]),
    ),
    "pretrain": (
        Read("*"),
        Read("exclude", "a table of --properties", lambda asked: asked["--properties"] is not None),
        Read("mask_fraction", "the objective masked", lambda asked: asked["masked"]),
        Read("views", "the objectives masked and contrast", lambda asked: asked["masked"] or asked["contrast"]),
        PROCESSES,
    ),
    "episodes": (Read("*"), PROCESSES),
    "prompts": (Read("*"), PROCESSES),
}
"""Options of verbs that are read in some cases only; what is read of recipes and predictors stands beside these."""


def refuse_own(verb: str, given: dict[str, object], present: object) -> None:
    """Refuse options of a verb that are not read beside what is, or is not, present."""
    refuse_unread(verb, OWN[verb], [name for name, value in given.items() if value not in (None, [])], present)


def settings_of(kind: type[S], words: Sequence[str] | None) -> S:
    """Return settings of files and ``key=value`` items, as they stand among the words of a command."""
    from matgraft.core.settings import make_settings

    recipes = [Path(word) for word in words or () if is_recipe(word)]
    return make_settings(kind, recipes, [word for word in words or () if not is_recipe(word)])


def typed(kind: type[BaseModel], words: Sequence[str] | None) -> list[str]:
    """Return the keys that are typed among the words of a command."""
    from matgraft.core.settings import typed_keys

    return typed_keys(kind, [word for word in words or () if not is_recipe(word)])


def is_recipe(word: str) -> bool:
    """Say whether a word of a command names a recipe."""
    return word.endswith((".yaml", ".yml")) and "=" not in word


def is_table_file(word: str) -> bool:
    """Say whether a word of a command names a table."""
    from matgraft.formulas.table.sources import TYPES

    return word.lower().endswith(TYPES)


def refuse_beside_resume(
    data: str | Path | None, options: list[str] | None, out: Path | None, given: Mapping[str, object]
) -> None:
    """Refuse what is typed beside ``--resume``."""
    beside = [name for name, value in {"DATA": data, "options": options, "--out": out, **given}.items() if value]
    if beside:
        raise OptionError(
            f"{', '.join(beside)} {'is' if beside[1:] == [] else 'are'} not read: --resume takes the run as it began",
            remedy="start a new run to change its settings",
        )


def next_run() -> Path:
    """Return the first free folder of runs/001, runs/002, ..."""
    number = 1
    while (folder := Path("runs") / f"{number:03d}").exists():
        number += 1
    return folder


def tell(facts: T, show: Callable[[Console, T], object], as_json: bool, indent: int | None = 2) -> None:
    """Print facts for machines, or let `show` print them for people: it knows nothing that the JSON lacks."""
    if as_json:
        from pydantic_core import to_jsonable_python

        print_json(to_jsonable_python(facts, inf_nan_mode="constants"), indent=indent)
    else:
        show(screen, facts)


def data_and_options(data: str | None, options: list[str] | None) -> tuple[str | None, list[str]]:
    """Part data and options: without data the first word is a recipe or key=value."""
    words = list(options or [])
    if data and (is_recipe(data) or ("=" in data and not Path(data).exists())):
        return None, [data, *words]
    return data, words


def refuse_idle_keys(verb: str, settings: BaseModel, options: list[str] | None, asked: dict[str, object]) -> None:
    """Refuse keys of a file or of the command that are not read with what is asked."""
    from matgraft.core.processes import forks_on_cpu

    kind = type(settings)
    keys = [*typed(kind, options), *changed_keys(settings, kind())]
    refuse_unread(verb, OWN[verb], keys, {**asked, "forks": forks_on_cpu()})


class Verb(TyperCommand):
    """A command that says which setting was meant by an option that it does not have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words; raises an OptionError where an unknown option is the name of a setting."""
        known = [name for one in self.get_params(ctx) for name in (*one.opts, *one.secondary_opts)]
        for word in args:
            name = word.partition("=")[0]
            if name.startswith("--") and name not in known and (keys := keys_called(name)):
                raise OptionError(
                    f"`matgraft {ctx.info_name}` has no option {name.lstrip('-')!r}",
                    allowed=[option for option in known if option.startswith("--") and option != "--help"],
                    remedy=f"settings are typed as key=value, here {' or '.join(f'{key}=...' for key in keys)}",
                )
        return super().parse_args(ctx, args)


def one_by_one(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command as typer reads it: each option of its groups (dataclasses) is an option of its own."""
    groups: dict[str, type[DataclassInstance]] = {}
    options: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for one in inspect.signature(command).parameters.values():
        if is_dataclass(kind := hints[one.name]):
            assert isinstance(kind, type)
            groups[one.name] = kind
            own = inspect.signature(kind, eval_str=True).parameters.values()
            options += [option.replace(kind=option.KEYWORD_ONLY) for option in own]
        else:
            options.append(one.replace(kind=one.KEYWORD_ONLY, annotation=hints[one.name]))
    written = [one.name for one in options if _callback(one.annotation) in (new_file, new_file_and_folder)]

    @wraps(command)
    def with_groups(**given: Any) -> None:
        targets = {f"--{name}": given[name] for name in written if given[name] is not None}
        for target in targets.values():
            refuse_inputs(target, [value for name, value in given.items() if name not in written])
        with clean_stdout(targets, bool(given.get("as_json"))), locked_files(targets.values()):
            made = {
                name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()
            }
            try:
                take_buffers()
                command(**given, **made)
            except BrokenPipeError as error:
                if reader_gone(error):
                    raise ReaderGoneError from error
                raise failure_of(error) or error from error

    with_groups.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return with_groups


def _callback(annotation: object) -> object:
    """Return what looks at an option before the command begins."""
    return next((one.callback for one in getattr(annotation, "__metadata__", ()) if hasattr(one, "callback")), None)
