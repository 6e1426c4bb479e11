"""Memory and cores: the least of what machine, control groups, process limits and scheduler allow, on made trees."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from matgraft.core.machine import ASSUMED, Memory, available_memory, usable_cores

KB, MB, GB = 2**10, 2**20, 2**30
MACHINE = "MemTotal:       65536000 kB\nMemFree:         1000000 kB\nMemAvailable:   33554432 kB\nHugePages_Total:  0\n"
STATUS = "Name:\tpython\nVmSize:\t 4194304 kB\nVmRSS:\t  1048576 kB\nVmData:\t 2097152 kB\nThreads:\t3\n"
LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max data size             {data:<20} unlimited            bytes
Max address space         {address:<20} unlimited            bytes
"""
V1_UNLIMITED = "9223372036854771712"

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Write a machine of 32 GiB free, on which this process holds 1 GiB, and further files."""

    def make(files: dict[str, str]) -> Path:
        known = {"proc/meminfo": MACHINE, "proc/self/status": STATUS}
        known["proc/self/limits"] = LIMITS.format(data="unlimited", address="unlimited")
        for name, text in {**known, **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


def v2(path: str, **files: str) -> dict[str, str]:
    """Return the files of a group of version 2; names with _ for the dot."""
    return {f"sys/fs/cgroup{path}/{name.replace('_', '.', 1)}": text for name, text in files.items()}


def v1(controller: str, path: str, **files: str) -> dict[str, str]:
    return {f"sys/fs/cgroup/{controller}{path}/{name.replace('_', '.', 1)}": text for name, text in files.items()}


# ---------------------------------------------------------------------- memory


def test_alone_on_a_machine_what_is_free_counts(tree: Tree) -> None:
    assert available_memory(tree({}), {}) == Memory(32 * GB, "the free memory of this machine")


def test_where_nothing_is_known_some_is_assumed(tmp_path: Path) -> None:
    found = available_memory(tmp_path, {})
    assert found.bytes == ASSUMED
    assert "assumption" in found.by


def test_a_group_of_version_2_leaves_its_limit_less_what_is_used(tree: Tree) -> None:
    files = v2("/slurm/job_7", memory_max=f"{8 * GB}\n", memory_current=f"{3 * GB}\n", memory_high="max\n")
    root = tree({"proc/self/cgroup": "0::/slurm/job_7\n", **files})
    assert available_memory(root, {}) == Memory(5 * GB, "memory.max of the control group /slurm/job_7")


def test_the_file_cache_of_a_group_is_no_use_of_it(tree: Tree) -> None:
    """A group that has read 4 GiB of frames has used 4 GiB, which Linux drops when they are wanted."""
    statistics = f"anon {GB}\nfile {5 * GB}\ninactive_file {4 * GB}\nactive_file {GB}\n"
    files = v2("/box", memory_max=str(8 * GB), memory_current=str(6 * GB), memory_stat=statistics)
    assert available_memory(tree({"proc/self/cgroup": "0::/box\n", **files}), {}).bytes == 6 * GB


def test_a_group_that_is_slowed_down_counts_as_full(tree: Tree) -> None:
    files = v2("/user", memory_max="max", memory_high=str(4 * GB), memory_current=str(1 * GB))
    found = available_memory(tree({"proc/self/cgroup": "0::/user\n", **files}), {})
    assert found == Memory(3 * GB, "memory.high of the control group /user")


@pytest.mark.parametrize("tight", ["", "/a", "/a/b", "/a/b/c"])
def test_the_tightest_of_nested_groups_holds(tree: Tree, tight: str) -> None:
    files: dict[str, str] = {}
    for path in ("", "/a", "/a/b", "/a/b/c"):
        files |= v2(path, memory_max=str(2 * GB) if path == tight else "max", memory_current=str(GB))
    found = available_memory(tree({"proc/self/cgroup": "0::/a/b/c\n", **files}), {})
    assert found == Memory(GB, f"memory.max of the control group {tight or '/'}")


def test_a_full_group_leaves_nothing_and_not_less(tree: Tree) -> None:
    files = v2("/box", memory_max=str(GB), memory_current=str(2 * GB))
    assert available_memory(tree({"proc/self/cgroup": "0::/box\n", **files}), {}).bytes == 0


def test_a_group_without_a_bound_bounds_nothing(tree: Tree) -> None:
    files = v2("/box", memory_max="max\n", memory_current=str(2 * GB))
    assert available_memory(tree({"proc/self/cgroup": "0::/box\n", **files}), {}).bytes == 32 * GB


def test_a_path_that_leads_out_of_the_container_stays_in_it(tree: Tree) -> None:
    files = v2("", memory_max=str(6 * GB), memory_current=str(GB))
    assert available_memory(tree({"proc/self/cgroup": "0::/../../other\n", **files}), {}).bytes == 5 * GB


@pytest.mark.parametrize("path", ["/docker/abc", ""])
def test_a_group_of_version_1(tree: Tree, path: str) -> None:
    """Inside a container the path may name a folder that only the host has: the mount itself is the group."""
    files = v1("memory", path, memory_limit_in_bytes=str(8 * GB), memory_usage_in_bytes=str(5 * GB))
    files |= v1("memory", path, memory_stat=f"cache 9\ntotal_inactive_file {2 * GB}\n")
    lines = "12:cpu,cpuacct:/docker/abc\n9:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/system.slice\n"
    found = available_memory(tree({"proc/self/cgroup": lines, **files}), {})
    assert found == Memory(5 * GB, f"memory.limit_in_bytes of the control group {path or '/'}")


def test_a_group_of_version_1_without_a_bound(tree: Tree) -> None:
    files = v1("memory", "", memory_limit_in_bytes=V1_UNLIMITED, memory_usage_in_bytes=str(GB))
    assert available_memory(tree({"proc/self/cgroup": "9:memory:/\n", **files}), {}).bytes == 32 * GB


@pytest.mark.parametrize(
    ("limits", "left", "name"),
    [
        ({"data": "unlimited", "address": 10 * GB}, 6 * GB, "RLIMIT_AS"),
        ({"data": 7 * GB, "address": "unlimited"}, 5 * GB, "RLIMIT_DATA"),
        ({"data": 7 * GB, "address": 8 * GB}, 4 * GB, "RLIMIT_AS"),
        ({"data": "unlimited", "address": 3 * GB}, 0, "RLIMIT_AS"),
    ],
)
def test_limits_of_the_process(tree: Tree, limits: dict[str, object], left: int, name: str) -> None:
    """Less the 4 GiB of addresses and the 2 GiB of data that it has."""
    root = tree({"proc/self/limits": LIMITS.format(**limits)})
    assert available_memory(root, {}) == Memory(left, f"the limit {name} of this process")


SLURM = {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "2", "SLURM_GPUS_ON_NODE": "2"}


@pytest.mark.parametrize(
    ("granted", "left"),
    [
        ({"SLURM_MEM_PER_NODE": "8192"}, 7 * GB),  # megabytes; 1 GiB is held
        ({"SLURM_MEM_PER_NODE": "8G"}, 7 * GB),
        ({"SLURM_MEM_PER_NODE": "8388608K"}, 7 * GB),
        ({"SLURM_MEM_PER_CPU": "2048"}, 7 * GB),  # of four cores of the node
        ({"SLURM_MEM_PER_CPU": "2048", "SLURM_CPUS_ON_NODE": ""}, 3 * GB),
        ({"SLURM_MEM_PER_GPU": "4096"}, 7 * GB),
        ({"SLURM_MEM_PER_NODE": "512"}, 0),
        ({"SLURM_MEM_PER_NODE": "0"}, 32 * GB),  # the whole machine
        ({"SLURM_MEM_PER_NODE": "unlimited"}, 32 * GB),
        ({"SLURM_MEM_PER_GPU": "4096", "SLURM_GPUS_ON_NODE": "0"}, 32 * GB),
        ({}, 32 * GB),
    ],
)
def test_what_slurm_grants(tree: Tree, granted: dict[str, str], left: int) -> None:
    assert available_memory(tree({}), {**SLURM, **granted}).bytes == left
    assert available_memory(tree({}), granted).bytes == 32 * GB  # without a job the variables mean nothing


def test_the_least_of_all_holds_and_is_named(tree: Tree) -> None:
    files = v2("/job", memory_max=str(8 * GB), memory_current=str(3 * GB))
    files |= {"proc/self/cgroup": "0::/job\n", "proc/self/limits": LIMITS.format(data="unlimited", address=20 * GB)}
    assert available_memory(tree(files), {**SLURM, "SLURM_MEM_PER_NODE": "4096"}) == (3 * GB, "SLURM_MEM_PER_NODE")
    assert available_memory(tree(files), {**SLURM, "SLURM_MEM_PER_NODE": "65536"}).by.endswith("group /job")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_this_very_process_under_a_limit() -> None:
    """A child with 3 GiB of addresses is told less than that, by the limit's name."""
    code = "from matgraft.core.machine import available_memory as a; found = a(); print(found.bytes, found.by)"
    limit = 3 * GB
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    left, by = done.stdout.split(maxsplit=1)
    assert "RLIMIT_AS" in by
    assert 0 < int(left) < limit - 5 * MB


# ----------------------------------------------------------------------- cores


def test_alone_on_a_machine_all_of_them(tree: Tree) -> None:
    assert usable_cores(tree({}), {}, cpus=16) == 16
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("text", "cores"),
    [("400000 100000\n", 4), ("250000 100000", 2), ("50000 100000", 1), ("max 100000\n", 16), ("", 16)],
)
def test_a_groups_time_counts_in_whole_cores(tree: Tree, text: str, cores: int) -> None:
    """A third process on two and a half cores would be stopped for half of the time, and the others wait for it."""
    files = v2("/a", cpu_max="800000 100000") | v2("/a/b", cpu_max=text)
    assert usable_cores(tree({"proc/self/cgroup": "0::/a/b\n", **files}), {}, cpus=16) == min(cores, 8)


@pytest.mark.parametrize(("quota", "cores"), [("300000", 3), ("-1", 16)])
def test_a_groups_time_in_version_1(tree: Tree, quota: str, cores: int) -> None:
    files = v1("cpu,cpuacct", "/job", cpu_cfs_quota_us=quota, cpu_cfs_period_us="100000\n")
    assert usable_cores(tree({"proc/self/cgroup": "4:cpu,cpuacct:/job\n", **files}), {}, cpus=16) == cores


@pytest.mark.parametrize(
    ("environment", "cores"),
    [
        (SLURM, 2),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "4"}, 4),
        ({"SLURM_CPUS_PER_TASK": "4"}, 16),
        ({"PBS_JOBID": "1.host", "NCPUS": "6"}, 6),
        ({"PBS_JOBID": "1.host", "PBS_NUM_PPN": "8", "NCPUS": "1"}, 8),
        ({"NCPUS": "6"}, 16),
        ({"JOB_ID": "3", "NSLOTS": "12"}, 12),
        ({"LSB_JOBID": "3", "LSB_DJOB_NUMPROC": "5"}, 5),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "many"}, 16),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "64"}, 16),
    ],
)
def test_what_a_scheduler_grants(tree: Tree, environment: dict[str, str], cores: int) -> None:
    assert usable_cores(tree({}), environment, cpus=16) == cores


def test_there_is_always_one(tree: Tree) -> None:
    files = v2("", cpu_max="1000 100000")
    assert usable_cores(tree({"proc/self/cgroup": "0::/\n", **files}), {}, cpus=4) == 1
