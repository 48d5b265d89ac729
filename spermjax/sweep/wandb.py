"""The W&B engine: the sweep on W&B's server, and agents here that ask it for runs.

An agent starts `python -m spermjax.sweep.wandb EXPERIMENT FIXED CHOSEN` for each run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from spermjax.allocator import use_tcmalloc
from spermjax.errors import ConfigError, SpermjaxError
from spermjax.files import write_atomic
from spermjax.process import prepare_process
from spermjax.sweep.fields import convert, put
from spermjax.sweep.folder import Folder
from spermjax.sweep.sweepfile import Sweep
from spermjax.workflow import experiments


def configuration(folder: Folder) -> dict[str, Any]:
    """The sweep in W&B's schema proper, with the command that its agents run.

    Raises:
        ConfigError: the sweep uses what W&B's server doesn't know.
    """
    sweep, data = folder.sweep, folder.base.data
    problems = list(_problems(sweep))
    if problems:
        raise ConfigError("--engine wandb can't run this sweep:\n" + "\n".join(f"  - {line}" for line in problems))
    parameters = {}
    for parameter in sweep.parameters:
        # A constant or a list of values is told by its key; W&B takes no `distribution` beside it.
        named = {} if {"value", "values"} & parameter.options.keys() else {"distribution": parameter.distribution}
        parameters[parameter.path] = named | dict(parameter.options)
    places = {"tracking.runs": folder.path.absolute() / "runs"}
    places |= {f"data.{name}": place for name in ("manual_dir", "data_dir") if (place := getattr(data, name))}
    fixed = json.dumps({path: str(place) for path, place in places.items()})
    config: dict[str, Any] = {
        "name": sweep.name,
        "method": sweep.method,
        "metric": {"name": sweep.objectives[0].name, "goal": sweep.objectives[0].goal},
        "parameters": parameters,
        "command": ["${env}", sys.executable, "-m", "spermjax.sweep.wandb", sweep.experiment, fixed, "${args_json}"],
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


def run(folder: Folder, workers: int) -> int:
    """Registers the sweep, unless that was done, and runs agents until the server has no run left.

    More machines join with the command that is printed.

    Raises:
        ConfigError: the sweep uses what W&B doesn't know, or there is no key.
        SpermjaxError: the server didn't take the sweep, or an agent failed.
    """
    import wandb

    config, registered = configuration(folder), folder.path / "wandb_sweep"
    if not wandb.login(prompt=False, verify=False):
        raise ConfigError("--engine wandb needs a key: run `wandb login`, or set WANDB_API_KEY.")
    if not registered.exists():
        project = str(folder.sweep.raw.get("project") or folder.base.tracking.project)
        entity = folder.sweep.raw.get("entity")
        try:
            sweep_id = wandb.sweep(config, project=project, entity=entity)
        except wandb.Error as error:
            raise SpermjaxError(f"W&B did not take the sweep: {error}") from error
        write_atomic(registered, "/".join(part for part in (entity, project, sweep_id) if part))
    address = registered.read_text()
    print(f"sweep: {address}\nmore machines join with: wandb agent {address}", flush=True)
    agents = [subprocess.Popen([sys.executable, "-m", "wandb", "agent", address]) for _ in range(workers)]
    codes = [agent.wait() for agent in agents]
    if any(codes):
        raise SpermjaxError(f"An agent of the sweep {address} failed (exit codes {codes}).")
    print(f"next: spermjax compare {folder.path} --out {folder.path / 'comparison'}")
    return 0


def train_run(experiment: str, fixed: str, chosen: str) -> None:
    """Trains one run of a sweep, whose identity and values an agent hands out.

    Args:
        experiment: name or file.
        fixed: JSON of paths by dotted field, the same for all runs.
        chosen: JSON of values by dotted field, as the sweep file writes them.
    """
    from spermjax.workflow.train import train

    places = {path: Path(place) for path, place in json.loads(fixed).items()}
    values = {path: convert(path, value) for path, value in json.loads(chosen).items()}
    # A run that the server gives out again, after its machine was lost, goes on where it was.
    identity = {"tracking.run_id": os.environ["WANDB_RUN_ID"]}
    train(put(experiments.load(experiment), values | places | identity))


def main() -> int:
    """Trains for an agent."""
    from spermjax.commands.parse import show_log

    show_log()
    try:
        train_run(*sys.argv[1:])
    except SpermjaxError as error:
        print(f"spermjax: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    use_tcmalloc()
    prepare_process()
    sys.exit(main())
