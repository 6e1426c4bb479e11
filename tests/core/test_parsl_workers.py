"""What is asked of a scheduler is what the settings say; jobs do the tasks and are cancelled."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from matgraft.core.errors import OptionError, RunError
from matgraft.core.executor import executor, read_executor
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.parsl_workers import _private_folder, parsl_executor, provider_of


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "executor.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("name", ["with spaces and 'quotes'", "l" + 100 * "o" + "ng"])
def test_workers_begin_whatever_the_temporary_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    made = _private_folder(ExecutorSettings(workers=2), tmp_path)
    made.rmdir()
    assert made.parent == Path("/tmp")


SLURM = """\
provider: slurm
workers: 4
nodes: 2
jobs: 3
walltime: "02:30:00"
cores_per_worker: 8
memory_gb: 64
account: my-project
partition: standard
qos: high
constraint: cpu
scheduler_options: --mail-type=END
worker_init:
  - module load qe
  - source /envs/mine/bin/activate
"""
PBS = """\
provider: pbs
workers: 4
walltime: "02:30:00"
queue: long
account: my-project
select_options: mem=64gb
scheduler_options: -l place=scatter
worker_init: module load qe
"""
SCHEDULERS = {  # what stands for a scheduler: it runs a job at once, and knows it by its process
    "sbatch": 'cp "$1" "$JOBS/script"; setsid bash "$1" >/dev/null 2>&1 & echo "Submitted batch job $!"',
    "sacct": "exit 1",
    "squeue": 'for one in $(ps -e -o pid=); do echo "$one R"; done | grep -w "^$(echo $4 | tr -d "\'")"; true',
    "scancel": 'for one in "$@"; do echo "$one" >> "$JOBS/cancelled"; kill -KILL -- "-$one"; done',
    "qsub": 'echo "$@" > "$JOBS/told"; cp "${@: -1}" "$JOBS/script"; echo 7.server',
}


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what a scheduler was told."""
    jobs = tmp_path / "scheduler"
    jobs.mkdir()
    for name, script in SCHEDULERS.items():
        (jobs / name).write_text(f"#!/bin/bash\n{script}\n")
        (jobs / name).chmod(0o755)
    monkeypatch.setenv("JOBS", str(jobs))
    monkeypatch.setenv("PATH", f"{jobs}:{os.environ['PATH']}")
    return jobs


def script_of(settings: ExecutorSettings, jobs: Path) -> str:
    """Return the job script as the scheduler gets it."""
    provider = provider_of(settings)
    provider.script_dir = str(jobs)
    assert provider.submit("begin-workers", 1, "name")
    return (jobs / "script").read_text()


def test_a_job_of_slurm_says_what_was_asked_for(tmp_path: Path, scheduler: Path) -> None:
    settings = read_executor(written(tmp_path, SLURM))
    script = script_of(settings, scheduler)
    for line in (
        "#SBATCH --nodes=2",
        "#SBATCH --time=150",
        "#SBATCH --account=my-project",
        "#SBATCH --partition=standard",
        "#SBATCH --qos=high",
        "#SBATCH --constraint=cpu",
        "#SBATCH --mem=64g",
        "#SBATCH --cpus-per-task=32",
        "#SBATCH --mail-type=END",
        f"cd {Path.cwd()}",
        "export OMP_NUM_THREADS=1",
        "module load qe",
        "source /envs/mine/bin/activate",
    ):
        assert line in script.splitlines(), line
    assert "#SBATCH --exclusive" not in script and "srun" in script
    with executor(settings, tmp_path) as pool:
        assert pool.workers == 4 * 2 * 3


def test_a_job_of_pbs_says_what_was_asked_for(tmp_path: Path, scheduler: Path) -> None:
    script = script_of(read_executor(written(tmp_path, PBS)), scheduler)
    for line in (
        "#PBS -l walltime=02:30:00",
        "#PBS -l select=1:ncpus=4:mem=64gb",
        "#PBS -l place=scatter",
        "module load qe",
    ):
        assert line in script.splitlines(), line
    assert (scheduler / "told").read_text().startswith("-q long -A my-project ")


def test_workers_of_a_cluster_come_by_its_network_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address Parsl would ask a service in the internet for one."""
    monkeypatch.setattr("requests.get", lambda *a, **k: pytest.fail("the internet was asked"))
    settings = ExecutorSettings(provider="pbs", workers=4)
    made = parsl_executor(settings, provider_of(settings))
    assert made.encrypted and made.all_addresses and made.max_workers_per_node == 4
    at = settings.model_copy(update={"address": "10.0.0.7"})
    assert parsl_executor(at, provider_of(at)).all_addresses == {"10.0.0.7"}
    here = ExecutorSettings(workers=2)
    assert parsl_executor(here, provider_of(here)).all_addresses == {"127.0.0.1"}


def test_a_cluster_without_its_scheduler_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(OptionError, match="by the command qsub, which is not on this machine"),
        executor(ExecutorSettings(provider="pbs"), tmp_path) as pool,
    ):
        pool.run(abs, [1], print)


def test_a_folder_that_a_job_script_cannot_name_is_refused(tmp_path: Path, scheduler: Path) -> None:
    with (
        pytest.raises(OptionError, match="cannot stand in the script of a job"),
        executor(ExecutorSettings(provider="slurm"), tmp_path / "my $(folder)") as pool,
    ):
        pool.run(abs, [1], print)


def test_jobs_of_a_cluster_do_the_tasks_and_are_cancelled(tmp_path: Path, scheduler: Path) -> None:
    settings = ExecutorSettings(provider="slurm", workers=2)
    with executor(settings, tmp_path / "run") as pool:
        out = {}
        pool.run(abs, range(-50, 0), out.__setitem__)
    assert out == {i: 50 - i for i in range(50)}
    (job,) = (scheduler / "cancelled").read_text().split()
    while psutil.pid_exists(int(job)):
        time.sleep(0.02)
    assert not list((tmp_path / "run").iterdir())


def test_jobs_that_fail_one_after_another_end_the_run_with_what_they_said(tmp_path: Path, scheduler: Path) -> None:
    (scheduler / "sbatch").write_text("#!/bin/bash\necho invalid account >&2; exit 1\n")
    with (
        pytest.raises(
            RunError, match=r"3 jobs failed one after another before any task ended; the last: .*invalid account"
        ),
        executor(ExecutorSettings(provider="slurm", account="nobody"), tmp_path) as pool,
    ):
        pool.run(abs, [1], print)
