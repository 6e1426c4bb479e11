"""What a stranger types first: the help, the version, <TAB>."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import bulk
from rich.console import Console
from typer.main import get_command

from matgraft import cli
from matgraft.cli import completion, options, versions
from matgraft.core.errors import DataError
from matgraft.core.training.strategy import STRATEGIES
from matgraft.core.version import __version__
from matgraft.formulas.predictor import members
from matgraft.formulas.registry import ENCODERS
from matgraft.formulas.table.audit.audit import CODES
from matgraft.potentials.checks.settings import USES
from matgraft.potentials.checks.suite import SUITE
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.models.published import MACE, NEQUIX
from matgraft.potentials.models.registry import POTENTIALS
from matgraft.potentials.report.screen import show_backbones
from matgraft.potentials.tuning.purposes import PURPOSES

Matgraft = Callable[..., tuple[int, str, str]]
COMMANDS = get_command(cli.app).commands  # type: ignore[attr-defined]


def test_the_version_names_what_matgraft_runs_on(matgraft: Matgraft) -> None:
    code, said, _ = matgraft("--version")
    assert code == 0
    first, python, packages = said.splitlines()
    assert first == f"matgraft {__version__}"
    assert python.startswith("CPython 3.")
    assert "torch 2" in packages
    assert "chgnet 0" in packages


def test_a_package_that_is_not_there_is_not_installed() -> None:
    assert versions._version("no-such-package-of-matgraft") == "no-such-package-of-matgraft not installed"


def test_verbs_stand_under_headings(matgraft: Matgraft) -> None:
    _, said, _ = matgraft("--help")
    assert all(f"─ {heading} ─" in said for heading in cli.VERBS)
    assert {f"{name}_command" for name in COMMANDS} == {verb.__name__ for verbs in cli.VERBS.values() for verb in verbs}


def test_the_help_of_tune_parts_frames_from_tables(matgraft: Matgraft) -> None:
    _, said, _ = matgraft("tune", "--help")
    both, rest = said.split("─ Frames ─")
    frames, tables = rest.split("─ Tables of formulas ─")
    assert "--strategy" in both
    assert "--target" not in both
    assert "--max-minutes" in frames
    assert "--covariate" in tables.split("─ What is printed ─")[0]


@pytest.mark.parametrize("verb", COMMANDS)
def test_out_is_o_and_the_headings_are_three(verb: str) -> None:
    for one in COMMANDS[verb].params:
        if "--out" in one.opts:
            assert one.opts == ["-o", "--out"]
        assert getattr(one, "rich_help_panel", None) in (None, options.FRAMES, options.TABLES, options.SAID)


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("verb", ["tune", "audit"])
def test_without_data_the_ways_are_shown(matgraft: Matgraft, verb: str) -> None:
    code, _, said = matgraft(verb)
    assert code == 2
    assert "no data are named" in said
    assert f"matgraft {verb} TABLE.csv --target COLUMN" in said


def test_a_run_folder_is_no_data(matgraft: Matgraft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matgraft.core.run_folder.kind_of", lambda _: "frames")
    code, _, said = matgraft("tune", tmp_path, "-o", tmp_path / "new")
    assert code == 2
    assert "is a run folder, and data are wanted" in said
    assert "--from" in said
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_a_table_is_no_structure(matgraft: Matgraft, tmp_path: Path, verb: str) -> None:
    table = tmp_path / "a.csv"
    table.write_text("formula,gap\nNaCl,5\n")
    code, _, said = matgraft(verb, "chgnet", table)
    assert code == 2
    assert "is a table, and chgnet reads structures" in said


def test_frames_are_no_table(matgraft: Matgraft, tmp_path: Path) -> None:
    frames = tmp_path / "a.extxyz"
    frames.write_text("1\n\nSi 0 0 0\n")
    code, _, said = matgraft("tune", frames, "--target", "gap", "-o", tmp_path / "new")
    assert code == 3
    assert "not a table of a known type" in said
    assert "takes no --target" in said


def test_structures_without_results_are_told(tmp_path: Path) -> None:
    bulk("Si").write(tmp_path / "POSCAR", format="vasp")
    with pytest.raises(DataError, match="structures without results of a computation") as caught:
        read(tmp_path / "POSCAR")
    assert "vasprun.xml" in str(caught.value)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_name_of_a_foundation_is_cut(width: int) -> None:
    screen = Console(file=io.StringIO(), width=width)
    show_backbones(screen, POTENTIALS.data)
    words = screen.file.getvalue().replace(",", " ").split()  # type: ignore[attr-defined]
    assert {release for row in POTENTIALS.values() for release in row.releases} | set(POTENTIALS) <= set(words)


# ---------------------------------------------------------------------- completion


def test_words_that_are_offered_are_those_that_the_code_reads() -> None:
    of_tables = set(members.STRATEGIES)
    assert set(completion.STRATEGIES["tune"]) == {"ladder", *STRATEGIES, *of_tables}
    assert set(completion.STRATEGIES["crossval"]) == of_tables - {"domain"}
    assert set(completion.STRATEGIES["compare"]) == (of_tables - {"domain"}) | {"untrained"}
    assert tuple(check.code for check in SUITE) == completion.CHECKS
    assert set(completion.SUITES) == {check.suite for check in SUITE}
    assert tuple(CODES) == completion.FINDINGS
    assert tuple(PURPOSES) == completion.PURPOSES
    assert tuple(USES) == completion.USES
    assert set(completion.EXPORTS) == {one for row in POTENTIALS.values() for one in row.exports} | {"sklearn"}


def test_foundations_that_are_offered_are_those_of_the_registries() -> None:
    for rows, offered in ((POTENTIALS, completion.POTENTIALS), (ENCODERS, completion.ENCODERS)):
        without_hash = {name: row for name, row in rows.items() if "sha256" not in row.options}
        named = {f"{name}:{release}" for name, row in without_hash.items() for release in row.releases}
        assert set(offered) == named | set(rows)
    names = (*(f"mace:{name}" for name in MACE), *(f"nequix:{name}" for name in NEQUIX))
    assert names == completion.PUBLISHED


def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> set[str]:
    """What bash is handed behind these words, the last of which is not typed to its end."""
    monkeypatch.setattr("sys.argv", ["matgraft"])
    monkeypatch.setenv("_MATGRAFT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(["matgraft", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    with pytest.raises(SystemExit) as stop:
        cli.app(prog_name="matgraft")
    assert stop.value.code == 0
    return set(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("tu", {"tune"}),
        ("tune --strategy f", {"full", "feature"}),
        ("crossval t.csv --strategy d", {"descriptors"}),
        ("tune --from ch", {"chgnet", "chgnet:0.3.0", "chgnet:r2scan", "chgnet:0.2.0"}),
        ("crossval --from c", {"composition", "composition:1"}),
        ("check --only n", {"nve", "nvt", "npt"}),
        ("check --for ph", {"phonons", "phases"}),
        ("tune --for p", {"phases"}),
        ("export r --to s", {"sklearn"}),
        ("tune --allow im", {"imbalance", "impossible-value"}),
        ("tune --che", {"--check"}),
        ("tune --suite q", set()),
    ],
)
def test_tab_offers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, wanted: set[str]
) -> None:
    assert offered(monkeypatch, capsys, *words.split()) == wanted
