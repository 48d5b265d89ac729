"""Jobs for clusters and clouds: rendered from templates, checked by each system's own parser, started."""

import dataclasses
import re
import shlex
import shutil
import string
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import experiments as package
from spermjax.errors import ConfigError, SpermjaxError, nearest
from spermjax.files import write_atomic
from spermjax.sweep.sweepfile import read as read_sweep
from spermjax.workflow import experiments

TEMPLATES = Path(package.__path__[0]) / "cluster"


@dataclasses.dataclass(frozen=True)
class Target:
    """A place to run.

    Attributes:
        file: its template.
        what: in words.
        command: starts the rendered file, which is appended.
        train: of several hosts, the words that train one run on them.
        sweep: of several hosts, the words that share a sweep between them.
    """

    file: str
    what: str
    command: tuple[str, ...]
    train: str = ""
    sweep: str = ""


_SKY = ("sky", "launch", "--yes")
TARGETS = {
    "gpu": Target("sky_gpu.yaml", "one GPU of a cloud, by SkyPilot", _SKY),
    "gpu8": Target("sky_gpu8.yaml", "eight GPUs of one machine, by SkyPilot", _SKY),
    "tpu": Target("sky_tpu.yaml", "eight TPU chips, by SkyPilot", _SKY),
    "spot": Target("sky_spot.yaml", "a spot GPU with recovery, by SkyPilot", ("sky", "jobs", "launch", "--yes")),
    "slurm": Target("slurm_one_node.sh", "one node of a Slurm cluster", ("sbatch",)),
    "slurm-nodes": Target(
        "slurm_many_nodes.sh",
        "four nodes of a Slurm cluster, for one run or a sweep",
        ("sbatch",),
        train="--tracking.runs runs --tracking.run-id @{name} --hosts.cluster auto",
        sweep="--out sweeps/@{name}",
    ),
    "kubernetes": Target(
        "kubernetes_jobset.yaml",
        "four hosts of Kubernetes, for one run or a sweep",
        ("kubectl", "apply", "--filename"),
        train="--tracking.runs /runs --tracking.run-id @{name} --hosts.coordinator @{name}-worker-0-0.@{name}:1234 "
        "--hosts.processes 4 --hosts.process $JOB_COMPLETION_INDEX",
        sweep="--out /runs/@{name}",
    ),
}


class _Template(string.Template):
    delimiter = "@"


@dataclasses.dataclass(frozen=True)
class Job:
    """A rendered job.

    Attributes:
        path: of the file.
        text: its content.
        command: that starts it.
        checked: what looked at it and found it good.
        unchecked: what could not look at it here, with the command that would.
    """

    path: Path
    text: str
    command: tuple[str, ...]
    checked: list[str]
    unchecked: list[str]


def render(target: str, what: str, arguments: Sequence[str], out: Path) -> Job:
    """Writes the file of a job and checks it.

    Args:
        target: a key of `TARGETS`.
        what: an experiment, or a sweep file (.yaml) where the target has several hosts.
        arguments: further words of the command that runs there.
        out: folder for the file.

    Raises:
        ConfigError: an unknown target or experiment, or a rendered file that its own
            system refuses.
    """
    if target not in TARGETS:
        raise ConfigError(f"There is no target {target!r}. {nearest(target, TARGETS)}")
    chosen, sweep = TARGETS[target], Path(what).suffix in (".yaml", ".yml")
    if sweep and not chosen.sweep:
        several = ", ".join(name for name, other in TARGETS.items() if other.sweep)
        raise ConfigError(f"{target} takes an experiment, and {what} is a sweep file; {several} take one.")
    if sweep:
        read_sweep(Path(what))
    else:
        experiments.load(what)
    name = re.sub(r"[^a-z0-9-]+", "-", Path(what).stem.lower()).strip("-")[:40]
    words = " ".join(shlex.quote(word) for word in arguments)
    template = (TEMPLATES / chosen.file).read_text()
    given = {"name": name, "experiment": shlex.quote(what), "arguments": words}
    command = f"sweep @{{experiment}} {chosen.sweep}" if sweep else f"train @{{experiment}} {chosen.train}"
    given["command"] = _Template(f"{command} @{{arguments}}").substitute(given)
    text = _Template(template).substitute(given)
    path = out / f"{name}-{target}{Path(chosen.file).suffix}"
    write_atomic(path, text)
    checked, unchecked = _check(chosen, path, text)
    return Job(path, text, (*chosen.command, str(path)), checked, unchecked)


def start(job: Job) -> int:
    """Starts a rendered job; returns the exit code of its system's command.

    Raises:
        SpermjaxError: that command is not installed here.
    """
    if not shutil.which(job.command[0]):
        raise SpermjaxError(f"{job.command[0]} is not installed here. Where it is, run: {shlex.join(job.command)}")
    return subprocess.run(job.command).returncode


def _check(target: Target, path: Path, text: str) -> tuple[list[str], list[str]]:
    if target.file.startswith("sky"):
        return _sky(path)
    if target.file.endswith(".sh"):
        return _slurm(path)
    return _kubernetes(path, text)


def _sky(path: Path) -> tuple[list[str], list[str]]:
    try:
        import sky  # pyright: ignore[reportMissingImports]
    except ImportError:
        by_hand = f"python -c \"import sky; sky.Task.from_yaml('{path}')\""
        return [], [f"SkyPilot's parser, which is not installed here: pip install skypilot && {by_hand}"]
    try:
        sky.Task.from_yaml(str(path))
    except Exception as error:
        raise ConfigError(f"SkyPilot refuses {path}: {error}") from error
    return [f"SkyPilot {sky.__version__} parses it"], [f"prices and quotas: sky launch --dryrun {path}"]


def _slurm(path: Path) -> tuple[list[str], list[str]]:
    bash = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    if bash.returncode:
        raise ConfigError(f"bash refuses {path}: {bash.stderr.strip()}")
    checked, by_hand = ["bash parses it"], f"sbatch --test-only {path}"
    if not shutil.which("sbatch"):
        return checked, [f"Slurm, which is not installed here: {by_hand}"]
    tried = subprocess.run(["sbatch", "--test-only", str(path)], capture_output=True, text=True, timeout=60)
    if tried.returncode == 0:
        return [*checked, "sbatch --test-only accepts it"], []
    said = (tried.stderr.strip().splitlines() or ["no message"])[-1]
    if any(word in said.lower() for word in ("connect", "contact", "could not establish", "resolve", "no such file")):
        return checked, [f"Slurm, whose controller does not answer here ({said}): {by_hand}"]
    raise ConfigError(f"sbatch refuses {path}: {said}")


def _kubernetes(path: Path, text: str) -> tuple[list[str], list[str]]:
    """The jobs inside a JobSet are plain `batch/v1` jobs, whose schema is at hand; the JobSet's own is not."""
    import yaml

    by_hand = f"the cluster's own schema: kubectl apply --dry-run=server --filename {path}"
    jobset: dict[str, Any] = yaml.safe_load(text)
    try:
        import kubernetes_validate  # pyright: ignore[reportMissingImports]
    except ImportError:
        return ["YAML parses it"], ["the schema of its jobs: pip install 'spermjax[cluster]'", by_hand]
    for replicated in jobset["spec"]["replicatedJobs"]:
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": replicated["name"]}} | replicated[
            "template"
        ]
        try:
            kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            raise ConfigError(f"Kubernetes' schema refuses {path}: {error.message}") from error
    return [f"Kubernetes {kubernetes_validate.latest_version()} schema accepts its jobs"], [by_hand]
