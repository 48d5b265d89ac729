"""The W&B engine: the sweep on W&B's server, and agents here that ask it for runs."""

import subprocess
import sys
from typing import Any

from spermjax.errors import ConfigError, SpermjaxError
from spermjax.sweep.folder import Folder
from spermjax.sweep.sweepfile import Sweep


def configuration(folder: Folder) -> dict[str, Any]:
    """The sweep in W&B's schema proper, with the command that its agents run.

    Nested parameters become dotted paths, which are this command line's options; a fixed
    list goes into the command, since W&B's `${args}` can't write one.

    Raises:
        ConfigError: the sweep uses what W&B's server doesn't know.
    """
    sweep = folder.sweep
    problems = list(_problems(sweep))
    if problems:
        raise ConfigError("--engine wandb can't run this sweep:\n" + "\n".join(f"  - {line}" for line in problems))
    parameters, fixed = {}, []
    for parameter in sweep.parameters:
        value = parameter.options.get("value")
        if isinstance(value, list | tuple):
            fixed += [f"--{parameter.path}", *map(str, value)]
        else:
            # A constant or a list of values is told by its key; W&B takes no `distribution` beside it.
            named = {} if {"value", "values"} & parameter.options.keys() else {"distribution": parameter.distribution}
            parameters[parameter.path] = named | dict(parameter.options)
    for path in ("manual_dir", "data_dir"):
        if (place := getattr(folder.base.data, path)) is not None:
            fixed += [f"--data.{path}", str(place)]
    runs = ["--tracking.runs", str(folder.path.absolute() / "runs")]
    command = [sys.executable, "-m", "spermjax.cli", "train", sweep.experiment, *fixed, *runs, "${args}"]
    config: dict[str, Any] = {
        "name": sweep.name,
        "method": sweep.method,
        "metric": {"name": sweep.objectives[0].name, "goal": sweep.objectives[0].goal},
        "parameters": parameters,
        "command": ["${env}", *command],
    }
    for key in ("description", "run_cap", "early_terminate"):
        if key in sweep.raw:
            config[key] = sweep.raw[key]
    return config


def _problems(sweep: Sweep):
    if len(sweep.objectives) > 1:
        yield "W&B optimises a single metric; use --engine local for several"
    if sweep.early and sweep.early.kind == "asha":
        yield "W&B knows early_terminate of type hyperband only"
    for parameter in sweep.parameters:
        if parameter.when:
            yield f"W&B knows no conditions, and {parameter.path} has one"
        if any(isinstance(value, list | tuple) for value in parameter.options.get("values", ())):
            yield f"W&B can't hand lists to a command line, and {parameter.path} chooses between lists"


def run(folder: Folder, workers: int) -> int:
    """Registers the sweep and runs agents until the server has no run left.

    More machines join with the command that is printed.

    Raises:
        ConfigError: the sweep uses what W&B doesn't know, or there is no key.
        SpermjaxError: an agent failed.
    """
    import wandb

    project = str(folder.sweep.raw.get("project") or folder.base.tracking.project)
    entity = folder.sweep.raw.get("entity")
    config = configuration(folder)
    if not wandb.login(prompt=False, verify=False):
        raise ConfigError("--engine wandb needs a key: run `wandb login`, or set WANDB_API_KEY.")
    try:
        sweep_id = wandb.sweep(config, project=project, entity=entity)
    except wandb.Error as error:
        raise SpermjaxError(f"W&B did not take the sweep: {error}") from error
    address = "/".join(part for part in (entity, project, sweep_id) if part)
    print(f"sweep: {address}\nmore machines join with: wandb agent {address}", flush=True)
    agents = [subprocess.Popen([sys.executable, "-m", "wandb", "agent", address]) for _ in range(workers)]
    codes = [agent.wait() for agent in agents]
    if any(codes):
        raise SpermjaxError(f"An agent of the sweep {address} failed (exit codes {codes}).")
    print(f"next: spermjax compare {folder.path} --out {folder.path / 'comparison'}")
    return 0
