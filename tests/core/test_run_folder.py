import math
from pathlib import Path

import pytest
from pydantic import BaseModel

from matgraft.core.errors import AuditError, OptionError, RunError
from matgraft.core.run_folder import (
    ASKED,
    BEGINNING,
    BEGUN,
    VERSION,
    Begun,
    Kind,
    RunFile,
    kind_of,
    last_model,
    new_folder,
    open_run,
    resume_commands,
)
from matgraft.core.signals import Interrupted


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
    with pytest.raises(RunError, match=r"rows\.json cannot be read: .*\nremedy: .*make the run again"):
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


def opened(out: Path, begun: Begun, *, resume: bool = False) -> None:
    """Open a run, which has written down what was asked for when the block ends."""
    with open_run(out, begun, resume=resume):
        (out / ASKED[begun.kind]).touch()


def test_a_run_goes_on_only_with_what_it_began_with(tmp_path: Path) -> None:
    out, begun = tmp_path / "run", Begun(kind="frames", decides={"train": "a1", "option fit.rate": 0.1})
    opened(out, begun)
    opened(out, begun, resume=True)
    assert kind_of(out) == "frames"
    assert resume_commands(out) == [["matgraft", "tune", "--resume", str(out)]]
    with pytest.raises(OptionError, match="not empty") as error:
        opened(out, begun)
    assert error.value.commands == (("matgraft", "tune", "--resume", str(out)),)
    with pytest.raises(RunError, match=r"changed since the run began: option fit\.rate\n"):
        opened(out, Begun(kind="frames", decides={"train": "a1", "option fit.rate": 0.2}), resume=True)
    with pytest.raises(RunError, match="does not record what it began with: the encoder"):
        opened(out, Begun(kind="frames", decides=begun.decides | {"the encoder": "b2"}), resume=True)
    BEGUN.write(out, begun.model_copy(update={"version": VERSION + 1}))
    with pytest.raises(RunError, match=f"version {VERSION + 1} .* writes version {VERSION}"):
        opened(out, begun, resume=True)


def test_a_run_killed_before_it_wrote_what_was_asked_for_is_in_nobodys_way(tmp_path: Path) -> None:
    """No command is offered that would fail on it, and a new run takes the folder."""
    begun = Begun(kind="frames", decides={})
    BEGUN.write(tmp_path, begun)
    assert resume_commands(tmp_path) == []
    opened(tmp_path, begun)
    assert resume_commands(tmp_path) != []


@pytest.mark.parametrize("error", [AuditError("blocked"), KeyboardInterrupt(), Interrupted(143), RunError("no label")])
@pytest.mark.parametrize("kind", ["frames", "formulas", "pretraining"])
def test_a_run_that_is_refused_before_anything_is_fitted_leaves_nothing(
    tmp_path: Path, kind: Kind, error: BaseException
) -> None:
    begun, empty = Begun(kind=kind, decides={}), tmp_path / "empty"
    empty.mkdir()
    for out in (tmp_path / "runs" / "deep" / "a", empty):
        with pytest.raises(type(error)), open_run(out, begun, resume=False):
            for name in (ASKED[kind], *BEGINNING[kind]):
                (out / name).touch()
            (out / "checkpoints").mkdir()
            raise error
    assert [one.name for one in tmp_path.iterdir()] == ["empty"] and not any(empty.iterdir())


def test_a_run_that_fails_later_or_can_be_gone_on_with_keeps_its_folder(tmp_path: Path) -> None:
    begun = Begun(kind="frames", decides={})
    died = RunError("a worker died", commands=[["matgraft", "tune", "--resume", "x"]])
    full = OSError("No space left on device")
    for name, error in (("checkpoints/state.pt", KeyboardInterrupt()), ("audit.json", died), ("split.json", full)):
        out = tmp_path / name[:5]
        told = RunError if error is full else type(error)  # with the command that goes on
        with pytest.raises(told), open_run(out, begun, resume=False):
            (out / "recipe.yaml").touch()
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).touch()
            raise error
        assert (out / name).is_file() and resume_commands(out)
        with pytest.raises(KeyboardInterrupt), open_run(out, begun, resume=True):
            raise KeyboardInterrupt
        assert (out / name).is_file()


def test_a_folder_with_the_users_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    with pytest.raises(OptionError, match="not empty"):
        opened(tmp_path, Begun(kind="frames", decides={}))
    with pytest.raises(OptionError, match="not empty"), new_folder(tmp_path):
        raise AssertionError("not reached")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("recipe.yaml", "mine")]


def test_what_else_came_into_a_folder_above_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "runs" / "a"):
        (tmp_path / "runs" / "other").touch()
        raise KeyboardInterrupt
    assert [str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*")] == ["runs", "runs/other"]


def test_a_torn_run_json_takes_no_report_away(tmp_path: Path) -> None:
    (tmp_path / BEGUN.name).write_text('{"kind": "fra')
    with pytest.raises(RunError, match=r"run\.json cannot be read"):
        kind_of(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    assert kind_of(tmp_path) == "frames"
    with pytest.raises(RunError, match=r"run\.json cannot be read"):
        opened(tmp_path, Begun(kind="frames", decides={}), resume=True)


@pytest.mark.parametrize(("file", "command"), [("recipe.yaml", "tune"), ("settings.json", "tune"), ("notes.txt", None)])
def test_a_run_begun_before_its_kind_was_stated_is_known_by_its_files(
    tmp_path: Path, file: str, command: str | None
) -> None:
    (tmp_path / file).write_text("{}")
    assert resume_commands(tmp_path) == ([["matgraft", command, "--resume", str(tmp_path)]] if command else [])


def test_a_torn_statement_names_no_command(tmp_path: Path) -> None:
    (tmp_path / BEGUN.name).write_text('{"kind": "fra')
    (tmp_path / "split.json").touch()
    assert resume_commands(tmp_path) == []
    with pytest.raises(OptionError, match="not empty"):
        opened(tmp_path, Begun(kind="frames", decides={}))


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_file_in_the_way_of_a_folder_is_an_error_of_the_option(tmp_path: Path, below: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OptionError, match=r"notes\.txt is a file, and a folder is wanted"):
        opened(tmp_path / "notes.txt" / below, Begun(kind="frames", decides={}))


def test_a_run_may_begin_where_a_killed_one_had_hardly_begun(tmp_path: Path) -> None:
    """What a killed process has left of a file is in nobody's way; a file that looks like it is."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "run.json").write_text("{}")
    (out / ".4711.part.recipe.yaml").write_text("train: fra")
    with open_run(out, Begun(kind="frames", decides={}), resume=False):
        pass
    (out / "spare.part.txt").write_text("somebody's")
    with pytest.raises(OptionError, match="not empty"), new_folder(out):
        pass


def test_the_model_of_a_loop_is_the_last_that_was_written_down(tmp_path: Path) -> None:
    assert last_model(tmp_path) == tmp_path
    (tmp_path / ASKED["active"]).touch()
    assert last_model(tmp_path) == tmp_path
    for number, files in enumerate((["card.json"], ["card.json"], ["weights"])):  # the third was killed
        model = tmp_path / f"rounds/{number:02d}/run/model"
        model.mkdir(parents=True)
        for file in files:
            (model / file).touch()
    assert last_model(tmp_path) == tmp_path / "rounds/01/run"
