"""What each engine can be told; apart from the engines, so that `--help` loads none of them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Slurm:
    """What a job of the array asks for."""

    cluster: str | None = None
    """`slurm`, or `local` for processes of this machine (default: slurm, which must be there)."""
    partition: str | None = None
    """Partition of the jobs."""
    account: str | None = None
    """Account that pays."""
    minutes: int = 240
    """Time limit of a job."""
    gpus: int = 0
    """GPUs of a job."""
    cpus: int = 4
    """Cores of a job."""
    memory_gb: int | None = None
    """Memory of a job."""


@dataclasses.dataclass(frozen=True)
class Ray:
    """Which cluster, and what a trial takes of it."""

    address: str | None = None
    """Of an existing cluster, such as `auto`; a local one is started when not given."""
    gpus: float = 0
    """GPUs of a trial."""
    cpus: float = 1
    """Cores of a trial."""
    retries: int = 3
    """How often a task is started again whose node was lost."""
