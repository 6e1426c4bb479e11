import math
from pathlib import Path

import pytest
from pydantic import BaseModel

from matgraft.core.errors import OptionError, RunError
from matgraft.core.run_folder import BEGUN, VERSION, Begun, RunFile, kind_of, open_run, resume_commands


class Row(BaseModel):
    name: str
    values: dict[str, float]


ROWS = RunFile("rows.json", list[Row])


def test_a_file_reads_back_what_it_wrote_numbers_that_are_not_finite_too(tmp_path: Path) -> None:
    rows = [Row(name="a", values={"x": 1.5, "y": math.inf, "z": -math.inf}), Row(name="b", values={})]
    ROWS.write(tmp_path, rows)
    assert ROWS.read(tmp_path) == rows
    ROWS.write(tmp_path, [Row(name="a", values={"x": math.nan})])
    assert math.isnan(ROWS.read(tmp_path)[0].values["x"])


def test_a_missing_or_torn_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    assert ROWS.find(tmp_path) is None
    with pytest.raises(RunError, match=r"rows\.json is missing"):
        ROWS.read(tmp_path)
    (tmp_path / ROWS.name).write_text('[{"name": "a", "val')
    with pytest.raises(RunError, match=r"rows\.json cannot be read: .*\nremedy: .*make the run anew"):
        ROWS.find(tmp_path)
    (tmp_path / ROWS.name).write_text('[{"name": "a", "values": {"x": "much"}}]')
    with pytest.raises(RunError, match=r"cannot be read: 0\.values\.x: "):
        ROWS.read(tmp_path)


def test_a_stage_runs_once(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> list[Row]:
        made.append(1)
        return [Row(name="a", values={"x": 1.0})]

    assert ROWS.stage(tmp_path, make) == ROWS.stage(tmp_path, make)
    assert made == [1]


def test_a_run_goes_on_only_with_what_it_began_with(tmp_path: Path) -> None:
    out, begun = tmp_path / "run", Begun(kind="frames", decides={"train": "a1", "option fit.rate": 0.1})
    open_run(out, begun, resume=False)
    open_run(out, begun, resume=True)
    assert kind_of(out) == "frames"
    assert resume_commands(out) == [["matgraft", "tune", "--resume", str(out)]]
    with pytest.raises(OptionError, match="not empty") as error:
        open_run(out, begun, resume=False)
    assert error.value.commands == (("matgraft", "tune", "--resume", str(out)),)
    with pytest.raises(RunError, match=r"changed since the run began: option fit\.rate\n"):
        open_run(out, Begun(kind="frames", decides={"train": "a1", "option fit.rate": 0.2}), resume=True)
    with pytest.raises(RunError, match="does not record what it began with: the encoder"):
        open_run(out, Begun(kind="frames", decides=begun.decides | {"the encoder": "b2"}), resume=True)
    BEGUN.write(out, begun.model_copy(update={"version": VERSION + 1}))
    with pytest.raises(RunError, match=f"version {VERSION + 1} .* writes version {VERSION}"):
        open_run(out, begun, resume=True)


def test_a_torn_run_json_takes_no_report_away(tmp_path: Path) -> None:
    (tmp_path / BEGUN.name).write_text('{"kind": "fra')
    with pytest.raises(RunError, match=r"run\.json cannot be read"):
        kind_of(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    assert kind_of(tmp_path) == "frames"
    with pytest.raises(RunError, match=r"run\.json cannot be read"):
        open_run(tmp_path, Begun(kind="frames", decides={}), resume=True)


@pytest.mark.parametrize(("file", "command"), [("recipe.yaml", "tune"), ("settings.json", "tune"), ("notes.txt", None)])
def test_a_run_begun_before_its_kind_was_stated_is_known_by_its_files(
    tmp_path: Path, file: str, command: str | None
) -> None:
    (tmp_path / file).write_text("{}")
    assert resume_commands(tmp_path) == ([["matgraft", command, "--resume", str(tmp_path)]] if command else [])


def test_a_torn_statement_names_no_command(tmp_path: Path) -> None:
    (tmp_path / BEGUN.name).write_text('{"kind": "fra')
    assert resume_commands(tmp_path) == []
    with pytest.raises(OptionError, match="not empty"):
        open_run(tmp_path, Begun(kind="frames", decides={}), resume=False)


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_file_in_the_way_of_a_folder_is_an_error_of_the_option(tmp_path: Path, below: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OptionError, match=r"notes\.txt is a file, and a folder is wanted"):
        open_run(tmp_path / "notes.txt" / below, Begun(kind="frames", decides={}), resume=False)
