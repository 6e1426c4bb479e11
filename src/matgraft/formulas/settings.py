"""What a run on a table does, and the file that keeps it: settings.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue, model_validator

from matgraft.core.errors import OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.provenance import file_hash
from matgraft.core.run_folder import RunFile, by_option
from matgraft.formulas.alloys import Basis
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.predictor.members import formula_reader
from matgraft.formulas.predictor.settings import PredictorSettings, refuse_idle
from matgraft.formulas.prompts.bank import Bank
from matgraft.formulas.table.formula_table import Coding, ColumnNames, FormulaTable, ReadOptions
from matgraft.formulas.table.units import refuse_units

if TYPE_CHECKING:  # a prediction of formulas that are typed reads no table
    from matgraft.formulas.table.audit.audit import TableAudit
    from matgraft.formulas.table.target import TargetTable

FEWEST_TO_TUNE = 2
"""Formulas or groups of a class: an inner fold holds out one, and the rest must teach it."""


class TableRun(Frozen):
    """What a run on a table does.

    Attributes
    ----------
    group
        What the inner folds never tear apart: ``formula``, ``chemical-system``, or a column.
    order
        Classes from the lowest to the highest, where they have an order.
    adapt_to
        A table of formulas without labels that the predictor shall serve, with strategy ``domain``.
    test
        A table with labels that the predictor is scored on; no fit reads it.
    prompt_class
        A column with the user's own class of each row, of strategy ``prompt``.
    drop
        Lines of the table that are left out.
    allow
        Codes of findings of the audit that shall not block.
    classes
        Classes that have no order, where words or whole numbers leave it open.
    unit
        Of the values, for the report: ``eV``, or of several targets ``gap=eV``.
    sheet, composition, balance, skip_bad, impute
        How tables are read: `matgraft.formulas.table.formula_table.ReadOptions`.
    """

    table: str
    targets: tuple[str, ...]
    foundation: str = "composition"
    formula: str | None = None
    covariates: tuple[str, ...] = ()
    weight: str | None = None
    group: str = "formula"
    order: tuple[str, ...] = ()
    adapt_to: str | None = None
    test: str | None = None
    prompt_class: str | None = None
    drop: tuple[int, ...] = ()
    allow: tuple[str, ...] = ()
    classes: tuple[str, ...] = Field((), exclude_if=lambda value: not value)
    sheet: str | None = Field(None, exclude_if=lambda value: value is None)
    composition: Basis | None = Field(None, exclude_if=lambda value: value is None)
    balance: str | None = Field(None, exclude_if=lambda value: value is None)
    skip_bad: bool = Field(False, exclude_if=lambda value: not value)
    impute: bool = Field(False, exclude_if=lambda value: not value)
    unit: tuple[str, ...] = Field((), exclude_if=lambda value: not value)
    settings: PredictorSettings = PredictorSettings()

    @model_validator(mode="after")
    def _units_of_targets(self) -> TableRun:
        refuse_units(self.unit, self.targets)
        return self

    @property
    def columns(self) -> ColumnNames:
        """The columns that are read beside those of the values."""
        return ColumnNames(
            formula=self.formula, covariates=self.covariates, weight=self.weight, group=self.group, order=self.order,
            classes=self.classes, prompt_class=self.prompt_class, drop=self.drop, reading=self.reading,
        )  # fmt: skip

    @property
    def reading(self) -> ReadOptions:
        """How tables are read."""
        return ReadOptions(self.sheet, self.composition, self.balance, self.skip_bad, self.impute)

    def reading_like(self, typed: ReadOptions | None) -> TableRun:
        """Return the run with what is typed of how a table is read in the place of its own."""
        said = (
            {}
            if typed is None
            else {name: value for name, value in vars(typed).items() if value and name != "can_skip"}
        )
        return self.model_copy(update=said)

    @property
    def tables(self) -> dict[str, str]:
        """Every table that the run reads, by its role."""
        named = {"table": self.table, "table of --adapt-to": self.adapt_to, "table of --test": self.test}
        return {role: name for role, name in named.items() if name}

    def read(self, target: str) -> FormulaTable:
        """Read the table of one target."""
        from matgraft.formulas.table.reading import read_table
        from matgraft.formulas.table.values import refuse_rare_classes

        table = read_table(Path(self.table), target, self.columns, formula_reader(self.settings.strategy))
        groups = table.grouped(self.group)
        refuse_rare_classes(table.classes, table.values, groups, FEWEST_TO_TUNE, Path(self.table), "tune")
        return table

    def read_further(self, path: Path, target: str, like: Coding) -> tuple[FormulaTable, tuple[str, ...]]:
        """Read a further table with labels of a target, and say which columns of the training table it lacks."""
        from matgraft.formulas.table.reading import read_labelled

        return read_labelled(path, target, self.columns, like, formula_reader(self.settings.strategy))

    def read_domain(self, table: FormulaTable, target: str) -> TargetTable | None:
        """Read the table of the domain without labels, where there is one."""
        from matgraft.formulas.table.target import read_target

        return read_target(Path(self.adapt_to), table, target, self.columns) if self.adapt_to else None

    def audit(self, tables: Mapping[str, FormulaTable], backbone: CompositionBackbone | None) -> TableAudit:
        """Look at the table of each target.

        Raises
        ------
        AuditError
            If a finding blocks that is not allowed.
        OptionError
            If a code is allowed that no look has.
        """
        from matgraft.formulas.table.audit.audit import refuse_blocking_rows

        audit = self.look(tables, backbone)
        refuse_blocking_rows(audit.findings, self.allow, self.table)
        return audit

    def look(self, tables: Mapping[str, FormulaTable], backbone: CompositionBackbone | None) -> TableAudit:
        """Look at the table of each target; findings that block are among what is returned.

        Raises
        ------
        OptionError
            If a code is allowed that no look has.
        """
        from matgraft.formulas.table.audit.audit import TableAudit, audit_table, refuse_unknown_looks
        from matgraft.formulas.table.audit.base import TableEvidence

        refuse_unknown_looks(self.allow)
        found = {
            target: audit_table(TableEvidence(table, target, self.columns, backbone))
            for target, table in tables.items()
        }
        return TableAudit(targets=found)

    def refuse_idle(self, given: Iterable[str], tables: Iterable[FormulaTable] = ()) -> None:
        """Raise an `OptionError` for settings that nothing reads, with tables of these sizes where they are known."""
        refuse_prompt_class(self.prompt_class, self.settings.strategy)
        sizes = [(len(table.values), len(table.classes)) for table in tables]
        rows, n_classes = [n for n, _ in sizes], [n for _, n in sizes]
        refuse_idle(self.settings, self.adapt_to is not None, given=tuple(given), rows=rows, n_classes=n_classes)


def refuse_prompt_class(column: str | None, strategy: str) -> None:
    """Raise an `OptionError` for a column of the user's own classes where the strategy has no prompts."""
    if column and strategy != "prompt":
        raise OptionError(
            f"--prompt-class {column} is not read with strategy {strategy!r}",
            allowed=["--strategy prompt"],
            remedy="let prompts answer, or give the column as a covariate in its place",
            options=[{"--strategy": "prompt"}],
        )


class TableSettings(Frozen):
    """What settings.json holds: a run, and the hashes of what it reads.

    Attributes
    ----------
    encoder_sha256, prompt_bank_sha256
        Of weights. Folders of earlier versions may lack them.
    """

    kind: Literal["formulas"] = "formulas"
    run: TableRun
    table_sha256: str
    adapt_to_sha256: str | None = Field(None, exclude_if=lambda value: value is None)
    test_sha256: str | None = Field(None, exclude_if=lambda value: value is None)
    encoder_sha256: str | None = Field(None, exclude_if=lambda value: value is None)
    prompt_bank_sha256: str | None = Field(None, exclude_if=lambda value: value is None)

    @classmethod
    def of(cls, run: TableRun, backbone: CompositionBackbone, bank: Bank | None) -> TableSettings:
        """Hash what a run reads."""
        return cls(
            run=run,
            table_sha256=file_hash(Path(run.table)),
            adapt_to_sha256=file_hash(Path(run.adapt_to)) if run.adapt_to else None,
            test_sha256=file_hash(Path(run.test)) if run.test else None,
            encoder_sha256=backbone.card.weights_sha256,
            prompt_bank_sha256=bank.sha256 if bank else None,
        )

    @property
    def decides(self) -> dict[str, JsonValue]:
        """Everything that decides the result, by role, as run.json keeps it."""
        hashes: dict[str, JsonValue] = {
            "table": self.table_sha256,
            "table of --adapt-to": self.adapt_to_sha256,
            "table of --test": self.test_sha256,
            "encoder": self.encoder_sha256,
            "prompt bank": self.prompt_bank_sha256,
        }
        return {role: value for role, value in hashes.items() if value} | by_option(self.run)


SETTINGS = RunFile("settings.json", TableSettings)
