"""A table predicted part by part: the same numbers, no part twice, no half file."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import DataError
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.files import write_text
from matgraft.formulas.large import predict as large
from matgraft.formulas.large.parts import cut_into_parts
from matgraft.formulas.large.predict import Question, predict_large
from matgraft.formulas.large.work import predict_part
from matgraft.formulas.predict import predict_formulas
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions

TEXTS = [f"{metal}{n}{anion}" for metal in ("Li", "Ca", "Fe", "Al") for anion in ("O", "S2", "Cl3") for n in (1, 2, 3)]


@pytest.fixture
def candidates(tmp_path):
    """A table of 36 formulas, which are cut into parts of ten."""
    path = tmp_path / "candidates.csv"
    pd.DataFrame({"id": range(len(TEXTS)), "formula": TEXTS}).to_csv(path, index=False)
    return path


@pytest.fixture
def serial(monkeypatch):
    """Parts one after the other in this process; what is computed is counted."""
    calls = []

    def counted(how, part):
        calls.append(part.first)
        return predict_part(how, part)

    monkeypatch.setattr(large, "predict_part", counted)
    monkeypatch.setattr(large, "cores", lambda: 1)
    return calls


def ask(tuned, path, out, where=None, **reading):
    question = Question(tuned.folder, cut_into_parts(path, 10), out, ColumnNames(reading=ReadOptions(**reading)), where)
    return predict_large(question, quiet=True)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".csv.gz"])
def test_the_file_holds_what_one_call_says(tuned, candidates, serial, tmp_path, ending):
    out = tmp_path / f"out{ending}"
    written, _ = ask(tuned, candidates, out)
    assert (written.predictions, written.parts, written.computed) == (36, 4, 4)
    found = pd.read_parquet(out) if ending == ".parquet" else pd.read_csv(out)
    expected = pd.DataFrame(predict_formulas(tuned.folder, TEXTS))
    assert list(found.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5, atol=1e-6, check_dtype=False)
    assert not list(tmp_path.glob("*.parts"))


def test_a_run_that_ends_in_the_middle_goes_on_with_the_rest(tuned, candidates, serial, tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    counted = large.predict_part

    def until(how, part):
        if part.first == 22:
            raise KeyboardInterrupt
        return counted(how, part)

    monkeypatch.setattr(large, "predict_part", until)
    with pytest.raises(KeyboardInterrupt):
        ask(tuned, candidates, out)
    assert serial == [2, 12] and not out.exists()
    monkeypatch.setattr(large, "predict_part", counted)
    written, _ = ask(tuned, candidates, out)
    assert serial == [2, 12, 22, 32] and written.computed == 2
    assert len(pd.read_csv(out)) == 36


def test_another_run_of_the_model_is_not_taken_for_this_one(tuned, candidates, serial, tmp_path, monkeypatch):
    monkeypatch.setattr(large, "_write", lambda files, out: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ask(tuned, candidates, tmp_path / "out.csv")
    monkeypatch.undo()
    monkeypatch.setattr(large, "cores", lambda: 1)
    monkeypatch.setattr(large, "digest_of", lambda run, columns, table: "of other files")
    written, _ = ask(tuned, candidates, tmp_path / "out.csv")
    assert written.computed == 4


def test_every_bad_row_is_named_by_its_line_and_nothing_is_written(tuned, serial, tmp_path):
    path = tmp_path / "bad.csv"
    texts = [*TEXTS[:12], "Fe203", *TEXTS[12:25], "what", *TEXTS[25:]]
    pd.DataFrame({"formula": texts}).to_csv(path, index=False)
    with pytest.raises(DataError, match="2 rows cannot be used") as caught:
        ask(tuned, path, tmp_path / "out.csv")
    assert "line 14" in str(caught.value) and "line 28" in str(caught.value)
    assert not (tmp_path / "out.csv").exists()
    written, reading = ask(tuned, path, tmp_path / "out.csv", skip_bad=True)
    assert written.predictions == 36 and [bad.line for bad in reading.skipped] == [14, 28]


def test_a_table_of_bad_rows_alone_is_an_error(tuned, serial, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("formula\n" + "what\n" * 12)
    with pytest.raises(DataError, match="12 rows cannot be used"):
        ask(tuned, path, tmp_path / "out.csv", skip_bad=True)


@pytest.mark.slow
def test_workers_of_an_executor_say_the_same_bit_for_bit(tuned, candidates, tmp_path, monkeypatch):
    monkeypatch.setattr(large, "cores", lambda: 1)
    ask(tuned, candidates, tmp_path / "here.csv")
    ask(tuned, candidates, tmp_path / "there.csv", ExecutorSettings(workers=2))
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()


def test_values_beside_words_are_words_in_parquet(tmp_path):
    pd.DataFrame({"target": ["a"], "value": [1.5]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"target": ["b"], "value": ["metal"], "p_metal": [0.7]}).to_parquet(tmp_path / "b.parquet")
    large._write([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "o.parquet")
    found = pd.read_parquet(tmp_path / "o.parquet")
    assert found["value"].tolist() == ["1.5", "metal"] and np.isnan(found["p_metal"][0])


def test_the_command_cuts_a_table_and_refuses_an_executor_that_has_nothing_to_share(
    matgraft, tuned, candidates, serial, tmp_path, monkeypatch
):
    monkeypatch.setattr("matgraft.formulas.large.parts.cut_into_parts.__defaults__", (10,))
    code, _, err = matgraft("predict", tuned.folder, candidates, "-o", tmp_path / "out.parquet", "--quiet")
    assert (code, err) == (0, "") and len(pd.read_parquet(tmp_path / "out.parquet")) == 36 and len(serial) == 4
    write_text(tmp_path / "executor.yaml", "workers: 1\n")
    code, _, err = matgraft("predict", tuned.folder, candidates, "--executor", tmp_path / "executor.yaml")
    assert code == 2 and "--executor is read with one table" in err


@pytest.mark.slow
def test_a_killed_command_computes_no_part_twice(tuned, tmp_path):
    path, out = tmp_path / "many.csv", tmp_path / "out.csv"
    pd.DataFrame({"formula": TEXTS * 200}).assign(id=range(36 * 200)).to_csv(path, index=False)
    script = (
        "import sys; from pathlib import Path; from matgraft.formulas.large.parts import cut_into_parts\n"
        "from matgraft.formulas.large.predict import Question, predict_large\n"
        "from matgraft.formulas.table.formula_table import ColumnNames\n"
        "run, table, out = map(Path, sys.argv[1:])\n"
        "print(predict_large(Question(run, cut_into_parts(table, 100), out, ColumnNames()), quiet=True)[0].computed)\n"
    )
    words = [sys.executable, "-c", script, str(tuned.folder), str(path), str(out)]
    first = subprocess.Popen(words)
    store, deadline = tmp_path / "out.csv.parts", time.monotonic() + 120
    while len(list(store.glob("[0-9a-f]*.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    time.sleep(1)  # its workers end with it
    kept = len(list(store.glob("[0-9a-f]*.json")))
    assert 5 <= kept < 72 and not out.exists()
    again = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(again.stdout) == 72 - kept and len(pd.read_csv(out)) == 7200


def test_text_is_written_as_one_would_write_it_and_quoted_where_it_must_be(tmp_path):
    values = [0.1, 1e-7, 12345678.9]
    frame = pd.DataFrame({"formula": ["Fe2O3"] * 3, "target": "gap", "value": values, "unlike": [True, False, True]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.assign(target="gap, eV", p_metal=0.5).to_parquet(tmp_path / "b.parquet")
    large._write([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "o.csv")
    assert (tmp_path / "o.csv").read_text().splitlines()[:2] == [
        "formula,target,value,unlike,p_metal",
        "Fe2O3,gap,0.1,True,",
    ]
    found = pd.read_csv(tmp_path / "o.csv")
    assert found["target"].tolist() == ["gap"] * 3 + ["gap, eV"] * 3 and found["value"].tolist() == values * 2
    assert found["unlike"].dtype == bool and found["p_metal"].isna().tolist() == [True] * 3 + [False] * 3
