"""Tables as labs have them, on the command line: what is told, what is left out, several tables at once."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pandas as pd
import pytest

from matgraft.cli.encoders import EmbedOptions, FewShotOptions, embed_command, fewshot_command
from matgraft.cli.options import FileOptions, Shown
from matgraft.cli.table_runs import are_tables
from matgraft.cli.tables import skipped_beside, teller
from matgraft.core.errors import DataError, OptionError
from matgraft.core.report.document import Document
from matgraft.core.report.markdown import to_markdown
from matgraft.formulas.predictor.store import TargetNames, folder_name
from matgraft.formulas.prompts.text import Prompt, parse_plain
from matgraft.formulas.queries import read_queries
from matgraft.formulas.report.page import reading_section
from matgraft.formulas.settings import TableRun
from matgraft.formulas.table.audit.base import TableEvidence
from matgraft.formulas.table.audit.leaks import covariate_is_target
from matgraft.formulas.table.facts import TableReading, TableReadings
from matgraft.formulas.table.faults import BadCell, Decision
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions
from matgraft.formulas.table.reading import read_table


@pytest.fixture
def model():
    """What stands for a run with a covariate, beside its predictors."""
    names = {"gap": TargetNames(target="gap", code={"T": ()}, fill={})}
    run = TableRun(table="t.csv", targets=("gap",), covariates=("T",))
    return SimpleNamespace(run=run, targets=("gap",), names=names, reader=lambda text: Prompt(parse_plain(text)))


def test_every_row_that_cannot_be_predicted_is_named_or_left_out(tmp_path, model):
    path = tmp_path / "q.csv"
    path.write_text("# to predict\nFormula;T\nFe2O3;300\nFe203;300\nNaCl;\nSi;1,5\n")
    with pytest.raises(DataError) as caught:
        read_queries(model, path, ColumnNames())
    assert "2 rows cannot be used" in str(caught.value) and "line 4," in str(caught.value)
    assert caught.value.options == ({"--skip-bad": True},)
    queries = read_queries(model, path, ColumnNames(reading=ReadOptions(skip_bad=True)))
    assert queries.formulas == ["Fe2O3", "Si"] and queries.cells.index.tolist() == [3, 6]
    assert [bad.line for bad in queries.skipped] == [4, 5]


def test_what_was_decided_is_told_and_what_was_left_out_is_written(tmp_path, model, capsys):
    frame = pd.DataFrame({"formula": ["Fe2+", "Xx"], "T": [300, 300]})
    frame.to_excel(tmp_path / "q.xlsx", index=False)
    queries = read_queries(model, tmp_path / "q.xlsx", ColumnNames(reading=ReadOptions(skip_bad=True)))
    out = skipped_beside(tmp_path / "predictions.csv", tmp_path / "q.xlsx")
    teller(quiet=False, skipped=out)(TableReading.of(tmp_path / "q.xlsx", [queries]))
    assert "what was left out and why" in capsys.readouterr().err.replace("\n", " ")
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert (row["line"], row["cell"], row["found"]) == ("3", "Xx", "'Xx' is not an element")
    assert out.name == "predictions-skipped.csv"
    teller(quiet=True)(TableReading(table="t"))
    assert capsys.readouterr().err == ""


def test_tables_and_formulas_are_not_mixed():
    assert are_tables(["a.csv", "B.XLSX"]) and are_tables(["-"]) and not are_tables(["Fe2O3", "T=300"])
    with pytest.raises(OptionError, match=r"a\.csv is a table, and 'Fe2O3' is none"):
        are_tables(["a.csv", "Fe2O3"])


def test_targets_of_any_name_have_a_folder_each():
    names = [f"{'a long name of a column [/eV] ' * 20}{i}" for i in range(60)]
    folders = {folder_name(name) for name in names}
    assert len(folders) == 60 and max(len(one.encode()) for one in folders) <= 255
    assert folder_name("gap [/eV]").startswith("gap---eV-")


def test_a_run_of_earlier_versions_decides_the_same():
    """What is new stands in settings.json where it is said, and nowhere else."""
    plain = TableRun(table="t.csv", targets=("gap",)).model_dump(mode="json")
    assert not {"sheet", "composition", "balance", "skip_bad", "impute", "classes"} & set(plain)
    said = TableRun(table="t.csv", targets=("gap",), composition="wt%", skip_bad=True)
    assert TableRun.model_validate(said.model_dump(mode="json")) == said


def test_embed_and_fewshot_read_tables_as_the_other_verbs_do(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alloys.csv").write_text("alloy;class\nTi-6Al-4V;a\nFe-18Cr;b\nAl-4Cu;a\nNi-20Cr;b\nXx2;a\n")
    file = FileOptions(composition="wt%", skip_bad=True)
    embed_command(tmp_path / "alloys.csv", tmp_path / "e.parquet", asked=EmbedOptions(), file=file)
    written = pd.read_parquet(tmp_path / "e.parquet")
    assert len(written) == 4 and written["formula"][0].startswith("Ti86.2")
    assert (tmp_path / "e-skipped.csv").is_file()
    (tmp_path / "q.csv").write_text("material\nTi-5Al\nNo1x\n")
    fewshot_command(
        tmp_path / "alloys.csv", tmp_path / "q.csv", tmp_path / "p.csv",
        asked=FewShotOptions(target="class"), file=file, shown=Shown(quiet=True),
    )  # fmt: skip
    assert len(pd.read_csv(tmp_path / "p.csv")) == 1 and (tmp_path / "q-skipped.csv").is_file()
    with pytest.raises(DataError) as caught:
        embed_command(tmp_path / "alloys.csv", tmp_path / "e.parquet", asked=EmbedOptions(), file=FileOptions())
    assert {"--composition": "wt%"} in caught.value.options


def test_looks_read_covariates_with_decimal_commas(tmp_path):
    rows = [f"{f};{i},5;{2 * i + 1},0" for i, f in enumerate(["Fe2O3", "NaCl", "Si", "Ge", "MgO"] * 6)]
    path = tmp_path / "t.csv"
    path.write_text("formula;gap;double\n" + "\n".join(rows) + "\n")
    columns = ColumnNames(covariates=("double",))
    evidence = TableEvidence(read_table(path, "gap", columns), "gap", columns)
    assert evidence.numbers("double").tolist()[:3] == [1.0, 3.0, 5.0]
    (found,) = covariate_is_target(evidence)
    assert found.outcome == "failed"


def test_the_page_says_how_a_table_was_read():
    bad = BadCell(line=4, column="gap", cell="<1", found="'<1' is a limit")
    one = TableReading(table="t.csv", decisions=(Decision(code="decimal-comma", column="gap"),), skipped=(bad,))
    shown = to_markdown(Document("t", [reading_section(TableReadings(tables=(one,)))], footer=""))
    assert "a comma is the decimal point" in shown and "is a limit" in shown and "skipped.csv" in shown
    assert "reading.json" in to_markdown(Document("t", [reading_section(None)], footer=""))
