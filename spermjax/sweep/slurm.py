"""The Slurm engine: an array of jobs through submitit, a trial each."""

from collections.abc import Callable

from spermjax.errors import ConfigError
from spermjax.sweep import rounds
from spermjax.sweep.folder import Folder
from spermjax.sweep.options import Slurm


def run(folder: Folder, workers: int, options: Slurm, say: Callable[[str], None]) -> None:
    """Runs all unfinished trials as an array of jobs, `workers` of them at once.

    The sweep's folder and the storage must be reachable from every node.

    Raises:
        ConfigError: submitit is not installed, or there is no Slurm.
        SpermjaxError: trials are left that no job finished.
    """
    try:
        import submitit
    except ImportError:
        raise ConfigError("--engine slurm needs submitit: pip install 'spermjax[cluster]'") from None
    executor = submitit.AutoExecutor(folder=folder.path / "slurm", cluster=options.cluster)
    if executor.cluster == "local" and options.cluster is None:
        raise ConfigError(
            "--engine slurm: this machine has no sbatch. Submit from a login node, or --slurm.cluster local."
        )
    executor.update_parameters(
        timeout_min=options.minutes,
        cpus_per_task=options.cpus,
        name="spermjax-sweep",
        slurm_array_parallelism=workers,
        **({"gpus_per_node": options.gpus} if options.gpus else {}),
        **({"slurm_partition": options.partition} if options.partition else {}),
        **({"slurm_account": options.account} if options.account else {}),
        **({"mem_gb": options.memory_gb} if options.memory_gb else {}),
    )

    def submit(count: int) -> list[str]:
        jobs = executor.map_array(rounds.one_trial, [folder.path.absolute()] * count)
        return [_outcome(job) for job in jobs]

    rounds.run(folder, submit, say)


def _outcome(job) -> str:
    """What a job's trial said, or how the job died."""
    error = job.exception()
    return str(job.result()) if error is None else f"job {job.job_id} died: {str(error).strip().splitlines()[-1]}"
