"""`-o` names a stream, a link, an input, a name that no file can have; standard output keeps data alone."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from matgraft import cli
from matgraft.cli.outputs import folder_to_make, new_file, new_file_and_folder, refuse_inputs
from matgraft.core.errors import OptionError
from matgraft.core.targets import STDOUT

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("formula,y\n" + "".join(f"{one},{i}\n" for i, one in enumerate(("NaCl", "KCl", "MgO", "Fe2O3"))))
    return path


@pytest.fixture
def few(tmp_path: Path) -> tuple[Path, Path]:
    """A support table of two classes, and queries."""
    support, queries = tmp_path / "support.csv", tmp_path / "queries.csv"
    rows = [("NaCl", "salt"), ("KCl", "salt"), ("LiF", "salt"), ("Fe", "metal"), ("FeNi", "metal"), ("Cu", "metal")]
    support.write_text("formula,kind\n" + "".join(f"{name},{kind}\n" for name, kind in rows))
    queries.write_text("formula\nNaBr\nCuZn\n")
    return support, queries


def test_minus_is_standard_output_and_data_alone_are_there(
    few: tuple[Path, Path], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["matgraft", "fewshot", *map(str, few), "--target", "kind", "-o", "-"])
    with suppress(SystemExit):
        cli.run_command_line()
    said = capfd.readouterr()
    rows = pd.read_csv(io.StringIO(said.out))
    assert "NaBr" in said.err
    assert list(rows["formula"]) == ["NaBr", "CuZn"]


def test_the_facts_and_the_data_do_not_both_go_to_standard_output(few: tuple[Path, Path], matgraft: Call) -> None:
    for name in ("-", "/dev/stdout", "/dev/fd/1"):
        code, out, _ = matgraft("fewshot", *few, "--target", "kind", "-o", name, "--json")
        assert code == 2 and "both go to standard output" in json.loads(out)["error"]["found"]
    code, _, err = matgraft("fewshot", *few, "--target", "kind", "-o", "-", "--report", "-")
    assert (code, "--out and --report both go to standard output" in err) == (2, True)


def test_a_link_is_written_through(few: tuple[Path, Path], matgraft: Call, tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "kept.csv")
    assert matgraft("fewshot", *few, "--target", "kind", "-o", tmp_path / "link.csv")[0] == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "kept.csv").read_text().startswith("formula,")


@pytest.mark.parametrize("verb", ["embed", "crossval", "compare", "fewshot"])
def test_a_target_that_is_read_is_refused(table: Path, matgraft: Call, tmp_path: Path, verb: str) -> None:
    before = table.read_bytes()
    (tmp_path / "link.csv").symlink_to(table)
    (tmp_path / "hard.csv").hardlink_to(table)
    words = {"embed": [table], "crossval": [table, "--target", "y"], "compare": [table, "--target", "y"],
             "fewshot": [table, table]}[verb]  # fmt: skip
    for name in ("t.csv", "link.csv", "hard.csv", "../" + tmp_path.name + "/t.csv"):
        code, _, err = matgraft(verb, *words, "-o", tmp_path / name)
        assert (code, "is read and would be written over" in err) == (2, True), err
    assert table.read_bytes() == before


def test_what_was_written_before_is_written_again(
    few: tuple[Path, Path], matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.csv").write_text("old")
    assert matgraft("fewshot", *few, "--target", "kind", "-o", "out.csv")[0] == 0
    assert (tmp_path / "out.csv").read_text().startswith("formula,")


def test_what_is_read_behind_a_key_or_in_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/metrics.json").touch()
    for given in (f"test={tmp_path}/run/metrics.json", [f"{tmp_path}/run"], f"{tmp_path}/run#PBE", tmp_path / "run"):
        with pytest.raises(OptionError, match="is read"):
            refuse_inputs(tmp_path / "run/metrics.json", [None, 3, given])
    refuse_inputs(tmp_path / "run/new.csv", [tmp_path / "run"])
    refuse_inputs(STDOUT, ["/dev/stdout", "-"])
    refuse_inputs(tmp_path / "run/metrics.json", ["x" * 5000, "a\0b", "-", "", "runs/other", str(tmp_path / "no")])


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    for name, said in {
        "x" * 256: "256 bytes", "ö" * 128 + "/x.csv": "256 bytes", "file/x.csv": "is a file, and a folder is wanted",
        "round": "leads to itself",
    }.items():  # fmt: skip
        for look in (new_file, new_file_and_folder, folder_to_make):
            with pytest.raises(OptionError, match=said):
                look(tmp_path / name)
    with pytest.raises(OptionError, match="mkdir -p"):
        new_file(tmp_path / "a/b/c.csv")
    assert new_file_and_folder(tmp_path / "a/b/c.csv") == tmp_path / "a/b/c.csv"
    for name in ("[red]x[bold].csv", "a\nb.csv", "\udcff.csv", " ", "--json"):
        assert new_file(tmp_path / name) == tmp_path / name
        assert folder_to_make(tmp_path / name) == tmp_path / name


def test_descriptors_that_are_not_open_for_writing(tmp_path: Path) -> None:
    read, write = os.pipe()
    assert new_file(Path(f"/dev/fd/{write}")) == Path(f"/dev/fd/{write}")
    for number, said in {read: "for reading alone", 999: "is not open", 2**40: "is not open"}.items():
        with pytest.raises(OptionError, match=said):
            new_file(Path(f"/dev/fd/{number}"))
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("name", ["-", "/dev/null", "/dev/stdout"])
def test_a_folder_is_no_stream(name: str) -> None:
    with pytest.raises(OptionError, match="a folder is wanted"):
        folder_to_make(Path(name))
