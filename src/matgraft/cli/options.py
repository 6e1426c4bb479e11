"""The options that verbs share: their names, their words of help, and under which heading they stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matgraft.cli import completion
from matgraft.cli.outputs import new_file
from matgraft.core.errors import OptionError

if TYPE_CHECKING:
    from matgraft.formulas.table.formula_table import ReadOptions

FRAMES = "Frames"
TABLES = "Tables of formulas"
SAID = "What is printed"
"""Headings in the help of a verb; what stands under none of them serves frames and tables."""

Targets = Annotated[
    list[str] | None,
    typer.Option(help="column of values in a table of formulas; may be repeated", rich_help_panel=TABLES),
]
FormulaColumn = Annotated[
    str | None, typer.Option(help="column of the formulas, if matgraft does not find it", rich_help_panel=TABLES)
]
Covariates = Annotated[
    list[str] | None, typer.Option(help="covariate: a further input column; may be repeated", rich_help_panel=TABLES)
]
Weight = Annotated[str | None, typer.Option(help="column of weights of the rows", rich_help_panel=TABLES)]
Group = Annotated[
    str | None,
    typer.Option(
        help="rows that stay in one fold: formula (default), chemical-system, or a column", rich_help_panel=TABLES
    ),
]
Order = Annotated[
    str | None, typer.Option(help="classes from the lowest to the highest: low,medium,high", rich_help_panel=TABLES)
]
Drop = Annotated[
    list[str] | None,
    typer.Option(help="lines of the table to leave out: 3,7-9; may be repeated", rich_help_panel=TABLES),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        help="code of a finding of the audit that shall not block; may be repeated",
        rich_help_panel=TABLES,
        autocompletion=completion.findings,
    ),
]
PromptClass = Annotated[
    str | None,
    typer.Option(help="column with your own class of each row, for --strategy prompt", rich_help_panel=TABLES),
]
Frames = Annotated[str | None, typer.Argument(help="frames with DFT labels: extxyz, ASE, VASP, JSON, folders, a store")]
Options = Annotated[list[str] | None, typer.Argument(help="recipe.yaml and key=value, such as fit.rate=5e-4")]
From = Annotated[
    str | None,
    typer.Option(
        "--from", help="foundation, such as chgnet; see `matgraft backbones`", autocompletion=completion.foundations
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON, nothing else", rich_help_panel=SAID)]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress bars", rich_help_panel=SAID)]
ExecutorFile = Annotated[Path | None, typer.Option("--executor", help="YAML of the workers: this machine, Slurm, PBS")]
Seed = Annotated[int | None, typer.Option(help="of everything that is drawn")]


def _chosen(name: str | None) -> str | None:
    """Choose the device before anything computes."""
    if name is None:
        return None
    from matgraft.core.devices import choose_device

    return choose_device(name)


Device = Annotated[
    str | None,
    typer.Option(
        help="where fits compute: auto (the GPU where PyTorch finds one; the default), cpu, cuda, or cuda:1",
        callback=_chosen,
        autocompletion=completion.devices,
    ),
]
PredictionDevice = Annotated[
    str | None,
    typer.Option(
        help="where potentials predict: cpu (the default), cuda, cuda:1, or auto (the GPU where PyTorch finds one)",
        callback=_chosen,
        rich_help_panel=FRAMES,
        autocompletion=completion.devices,
    ),
]
Run = Annotated[Path, typer.Argument(help="a run folder")]
Model = Annotated[Path, typer.Argument(help="a run folder; with several heads name one: runs/si#PBE")]


@dataclass(frozen=True)
class FileOptions:
    """Options of every command that reads a table: how the file is read."""

    sheet: Annotated[
        str | None, typer.Option(help="sheet of an Excel workbook, if there are several", rich_help_panel=TABLES)
    ] = None
    composition: Annotated[
        str | None,
        typer.Option(help="amounts of an alloy are wt% or at%", rich_help_panel=TABLES),
    ] = None
    balance: Annotated[
        str | None, typer.Option(help="element that makes up the rest of a composition", rich_help_panel=TABLES)
    ] = None
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad",
            help="leave out unusable rows, and list them with the reason",
            rich_help_panel=TABLES,
        ),
    ] = False

    def reading(self, *, impute: bool = False) -> ReadOptions:
        """Return how tables are read; raises an OptionError for a composition in neither per cent."""
        from matgraft.formulas.table.formula_table import ReadOptions, basis_of

        return ReadOptions(self.sheet, basis_of(self.composition), self.balance, self.skip_bad, impute)


@dataclass(frozen=True)
class LargeOptions:
    """Options of `predict` on a table of many rows."""

    executor: ExecutorFile = None
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="predict by a small network that learns from the run; prints how much it differs",
            rich_help_panel=TABLES,
        ),
    ] = False  # fmt: skip


@dataclass(frozen=True)
class Columns(FileOptions):
    """Options of a command: which columns of a table say what."""

    formula: FormulaColumn = None
    covariate: Covariates = None
    weight: Weight = None
    group: Group = None
    order: Order = None
    classes: Annotated[
        str | None,
        typer.Option(
            help="the classes, if they are not clear: a,b,none",
            rich_help_panel=TABLES,
        ),
    ] = None
    prompt_class: PromptClass = None
    drop: Drop = None
    allow: Allow = None
    impute: Annotated[
        bool,
        typer.Option(
            "--impute",
            help="fill missing covariates: by the median, or by a word for missing",
            rich_help_panel=TABLES,
        ),
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
        str | None,
        typer.Option(help="table of formulas without labels, which you want to predict", rich_help_panel=TABLES),
    ] = None
    unit: Annotated[
        list[str] | None,
        typer.Option(
            help="unit of the values, for the report, if the column's name has none: eV; for several "
            "targets gap=eV; may be repeated",
            rich_help_panel=TABLES,
        ),
    ] = None


@dataclass(frozen=True)
class FitOptions:
    """Options of `tune`: what is tuned, how, and on what it is scored."""

    foundation: From = None
    strategy: Annotated[
        str | None,
        typer.Option(
            help="ladder (the default from 5 minutes on), full, partial, feature, gradual, lora, replay or multihead; "
            "of tables auto (the default), full, partial, feature, prompt or descriptors, and domain with --adapt-to",
            autocompletion=completion.strategies,
        ),
    ] = None
    test: Annotated[
        str | None,
        typer.Option(help="labelled frames or table to score on; default: a part of the first file, or held-out folds"),
    ] = None
    max_minutes: Annotated[
        float | None, typer.Option(help="time for the fit, or for all fits of the ladder", rich_help_panel=FRAMES)
    ] = None
    purpose: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="md, phases, elastic or surfaces: sets the weights of the loss and says what the frames lack",
            rich_help_panel=FRAMES,
            autocompletion=completion.purposes,
        ),
    ] = None
    check: Annotated[
        str | None,
        typer.Option(
            help="physical checks of the tuned model at the end: quick, crystal or full",
            rich_help_panel=FRAMES,
            autocompletion=completion.suites,
        ),
    ] = None


@dataclass(frozen=True)
class CheckOptions:
    """Options of `check`: what is looked at, and what it is held against."""

    structure: Annotated[
        list[str] | None, typer.Option(help="crystal, slab or molecule to check (CIF, POSCAR, ...); may be repeated")
    ] = None
    frames: Annotated[
        list[str] | None,
        typer.Option(help="labelled frames to compare with; default: those of the run; may be repeated"),
    ] = None
    against: Annotated[
        str | None,
        typer.Option(
            help="foundation to compare with; default: those of the run", autocompletion=completion.foundations
        ),
    ] = None
    reference: Annotated[str | None, typer.Option(help="YAML of values by your own DFT")] = None
    uses: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            help="relax, phonons, elastic, md:300-1200K, defects, surfaces, phases, molecules; may be repeated",
            autocompletion=completion.purposes,
        ),
    ] = None
    suite: Annotated[
        str | None,
        typer.Option(
            help="without --for and --only: quick (the default), crystal or full", autocompletion=completion.suites
        ),
    ] = None
    only: Annotated[
        list[str] | None, typer.Option(help="code of one check; may be repeated", autocompletion=completion.checks)
    ] = None


@dataclass(frozen=True)
class Shown:
    """Options of a command: what it prints."""

    as_json: Json = False
    quiet: Quiet = False

    @property
    def silent(self) -> bool:
        """True if nothing is printed while it works."""
        return self.quiet or self.as_json


@dataclass(frozen=True)
class Log:
    """Options that every command has: what is kept of what it tells."""

    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="print each step, with times", rich_help_panel=SAID)
    ] = False
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            help="log file, with times; new lines are appended",
            rich_help_panel=SAID,
            callback=new_file,
        ),
    ] = None
