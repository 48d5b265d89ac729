"""The Ray engine: a task for each trial, on a cluster that is there or a local one."""

import importlib
from collections.abc import Callable
from typing import Any

from spermjax.errors import ConfigError
from spermjax.sweep import rounds
from spermjax.sweep.folder import Folder
from spermjax.sweep.options import Ray


def run(folder: Folder, workers: int, options: Ray, say: Callable[[str], None]) -> None:
    """Runs all unfinished trials as Ray tasks.

    A task whose node is lost is started again elsewhere and takes its trial over. The
    sweep's folder and the storage must be reachable from every node.

    Args:
        folder: of the sweep.
        workers: tasks at once on a cluster that is started here.
        options: of the cluster.
        say: takes a line for each trial.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers.
        SpermjaxError: trials are left that no task finished.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise ConfigError("--engine ray needs Ray: pip install 'spermjax[ray]'") from None
    local = {"num_cpus": max(1, round(workers * options.cpus)), "include_dashboard": False}
    try:
        ray.init(address=options.address, log_to_driver=False, **({} if options.address else local))
    except (ConnectionError, RuntimeError) as error:
        raise ConfigError(f"--ray.address {options.address}: no Ray cluster answers ({error}).") from error
    task = ray.remote(num_cpus=options.cpus, num_gpus=options.gpus, max_retries=options.retries, max_calls=1)(
        rounds.one_trial
    )

    def submit(count: int) -> list[str]:
        path = folder.path.absolute()
        return [_outcome(ray, reference) for reference in [task.remote(path) for _ in range(count)]]

    try:
        rounds.run(folder, submit, say)
    finally:
        ray.shutdown()


def _outcome(ray, reference) -> str:
    """What a task's trial said, or how the task died."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return f"task died: {str(error).strip().splitlines()[0]}"
