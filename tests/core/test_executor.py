"""Where tasks run is said in a few keys, and a single worker is this process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from matgraft.core.errors import DataError, OptionError
from matgraft.core.executor import Serial, executor, read_executor
from matgraft.core.executor_settings import READ_BY, ExecutorSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clusters.md"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "executor.yaml"
    file.write_text(text)
    return file


def test_without_a_file_work_is_done_on_all_cores_of_this_machine() -> None:
    settings = read_executor()
    assert settings.provider == "local" and settings.workers_per_node >= 1
    assert read_executor(workers=3).workers_per_node == 3


def test_workers_of_the_command_take_the_place_of_those_in_the_file(tmp_path: Path) -> None:
    file = written(
        tmp_path, "provider: slurm\nworkers: 32\nworker_init: |\n  module load qe\n\n  source env/activate\n"
    )
    assert read_executor(file).workers == 32
    assert read_executor(file, 4).workers == 4
    assert read_executor(file).worker_init == ("module load qe", "source env/activate")


@pytest.mark.parametrize("walltime", ["02:30:00", "12:00:00", "'12:00:00'", "1:00:00", "100:00:59", "9999:59:59"])
def test_a_walltime_is_what_was_written_though_yaml_reads_some_as_numbers(tmp_path: Path, walltime: str) -> None:
    read = read_executor(written(tmp_path, f"provider: pbs\nwalltime: {walltime}\n")).walltime
    assert read.lstrip("0") == walltime.strip("'").lstrip("0")


@pytest.mark.parametrize(
    ("text", "found", "remedy"),
    [
        ("provider: slrum", "provider='slrum'", "'slurm'"),
        ("wrokers: 4", "unknown key 'wrokers'", "did you mean 'workers'?"),
        ("workers: 0", "workers=0", "greater than or equal to 1"),
        ("workers: many", "workers='many'", "integer"),
        ("provider: slurm\nwalltime: 30", "walltime=30", "string"),
        ("provider: slurm\nwalltime: 2h", "walltime='2h'", "match"),
        ("provider: slurm\npartition: 'a b'", "partition='a b'", "match"),
        ("provider: pbs\nqueue: long;reboot", "queue='long;reboot'", "match"),
        ('provider: slurm\naccount: "me\\n#SBATCH --uid=0"', "account=", "match"),
        ("provider: slurm\nqueue: long", "'queue' is not read by provider 'slurm'", "belongs to provider pbs"),
        ("walltime: '01:00:00'", "'walltime' is not read by provider 'local'", "slurm or pbs"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_allowed(tmp_path: Path, text: str, found: str, remedy: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(OptionError) as error:
        read_executor(file)
    assert found in str(error.value) and remedy in str(error.value) and str(file) in str(error.value)


@pytest.mark.parametrize("text", ["- 1\n- 2", "provider: [", "!!python/object/apply:os.system ['false']"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        read_executor(written(tmp_path, text))


def test_settings_made_by_hand_are_refused_as_well(tmp_path: Path) -> None:
    with (
        pytest.raises(OptionError, match="'partition' is not read by provider 'local'"),
        executor(ExecutorSettings(workers=2, partition="short"), tmp_path),
    ):
        pass


def test_every_key_is_read_by_some_provider_and_stands_in_the_docs_with_it() -> None:
    assert set().union(*READ_BY.values()) == set(ExecutorSettings.model_fields)
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    said = {key: row[3].strip() for row in rows for key in re.findall(r"`([a-z_]+)`", row[1])}
    names = {"local": "this machine", "slurm": "Slurm", "pbs": "PBS"}
    for key in ExecutorSettings.model_fields:
        readers = [names[provider] for provider, keys in READ_BY.items() if key in keys]
        assert said[key] == ("all" if len(readers) == len(READ_BY) else ", ".join(readers)), key


def test_the_files_of_the_docs_are_read_and_take_a_dozen_lines(tmp_path: Path) -> None:
    files = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [read_executor(written(tmp_path, text)).provider for text in files] == ["local", "slurm", "pbs"]
    assert max(len(text.splitlines()) for text in files) <= 14


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    with executor(read_executor(workers=1), tmp_path) as one:
        assert isinstance(one, Serial)
        out: list[object] = []
        one.run(lambda x: (x, os.getpid()), [5, 6], lambda i, result: out.append((i, result)))
    assert out == [(0, (5, os.getpid())), (1, (6, os.getpid()))]


def test_a_single_worker_imports_no_parsl() -> None:
    code = (
        "import sys; from pathlib import Path; from matgraft.core.executor import executor, read_executor\n"
        "with executor(read_executor(workers=1), Path()) as one: one.run(abs, [-1], print)\n"
        "assert not {'parsl', 'zmq', 'torch'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "0 1\n"
