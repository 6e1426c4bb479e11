"""Where tasks run, as a YAML file or the command line says it, and what stands for a result that never came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from matgraft.core.frozen import Frozen
from matgraft.core.machine import usable_cores

Provider = Literal["local", "slurm", "pbs"]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[\w.@:+/-]+$")]
"""Of a scheduler's things: one word without signs of the shell, since it stands in commands."""
Term = Annotated[str, Field(pattern=r"^[\w.@:+/=,&|*()\[\]-]+$")]
"""The same in a comment of a job's script, where a scheduler knows some signs."""
Line = Annotated[str, Field(pattern=r"^[^\n\r]+$")]


def _clock(value: object) -> object:
    """Return 12:00:00 as it was written: YAML reads it as a number to the base of 60, which is seconds."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 3600:
        return f"{value // 3600:02d}:{value // 60 % 60:02d}:{value % 60:02d}"
    return value


_EVERYWHERE = ("provider", "workers", "tries")
_OF_JOBS = (
    *_EVERYWHERE,
    *("nodes", "jobs", "walltime", "cores_per_worker", "account", "scheduler_options", "worker_init", "address"),
)
READ_BY: dict[Provider, tuple[str, ...]] = {
    "local": _EVERYWHERE,
    "slurm": (*_OF_JOBS, "partition", "qos", "constraint", "memory_gb", "exclusive"),
    "pbs": (*_OF_JOBS, "queue", "select_options"),
}
"""Provider -> the keys that it reads."""


class ExecutorSettings(Frozen):
    """Where tasks run.

    Attributes
    ----------
    provider
        ``local``: processes of this machine; ``slurm`` and ``pbs``: jobs of a cluster, by Parsl.
    workers
        Processes of this machine, or of each node; each does one task at a time. Default: one a core, and on a
        cluster, whose nodes are unknown here, one a node.
    tries
        How often a task is begun when the process that works on it dies.
    nodes, jobs
        Nodes of a job, and how many jobs stand in the queue or run at once.
    walltime
        Of a job, as hours:minutes:seconds. What runs when it is over is begun again in the next job.
    cores_per_worker
        Cores that are asked for each worker, as for a calculator that runs under ``mpirun``.
    account, partition, qos, constraint, queue
        Names that the cluster knows; the first three and the fourth go to Slurm, the first and the last to PBS.
    memory_gb
        Of a node, asked of Slurm. Default: what the cluster gives.
    exclusive
        Take whole nodes.
    select_options
        What follows PBS's ``select=N:ncpus=M``, such as ``mem=64gb``.
    scheduler_options
        Further lines of the job script, such as ``--gres=gpu:1``.
    worker_init
        Commands that a job runs before its workers begin, such as ``module load qe``.
    address
        The address at which the nodes reach this machine. Default: all that it has are tried.
    """

    provider: Provider = "local"
    workers: Count | None = None
    tries: Count = 3
    nodes: Count = 1
    jobs: Count = 1
    walltime: Annotated[str, Field(pattern=r"^\d{1,4}:[0-5]\d:[0-5]\d$"), BeforeValidator(_clock)] = "01:00:00"
    cores_per_worker: Count = 1
    account: Name | None = None
    partition: Name | None = None
    qos: Name | None = None
    constraint: Term | None = None
    queue: Name | None = None
    memory_gb: Count | None = None
    exclusive: bool = False
    select_options: Term | None = None
    scheduler_options: tuple[Line, ...] = ()
    worker_init: tuple[Line, ...] = ()
    address: Name | None = None

    @property
    def workers_per_node(self) -> int:
        """How many processes a node has."""
        return self.workers or (usable_cores() if self.provider == "local" else 1)


@dataclass(frozen=True)
class Lost:
    """What stands for a result where the process that worked on a task died, again and again."""

    reason: str
