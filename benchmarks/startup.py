"""How long a command takes to its first training step, and what takes it.

    python benchmarks/startup.py --json startup.json

starts `spermjax train phantom_quickstart` and waits until the first step's metrics are in
the run folder: once with no compiled programs and decoded images at hand, then several
times with those that were kept. The parts are those of one more process that does the
same piece by piece.
Processor seconds stand beside seconds, for a machine that has other work.
"""

import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import tyro

from spermjax.allocator import use_tcmalloc

EXPERIMENT = "phantom_quickstart"
LIMIT_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured."""

    repeats: int = 5
    """Starts with kept programs and images, of which the median and the extremes are told."""
    json: Path | None = None
    """Write the numbers here."""
    worker: Path | None = None
    """Be the process that tells the parts, with this folder for its run; the benchmark starts it itself."""


def main(settings: Settings) -> None:
    """Measures starts and parts, prints tables and writes the numbers."""
    if settings.worker:
        print(json.dumps([dataclasses.asdict(part) for part in parts(settings.worker)]))
        return
    with tempfile.TemporaryDirectory(prefix="spermjax-startup-") as name:
        folder = Path(name)
        environment = {**os.environ, "SPERMJAX_CACHE": str(folder / "cache"), "WANDB_MODE": "offline"}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        # An installed package has its bytecode beside it.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment.setdefault("PYTHONPYCACHEPREFIX", str(folder / "bytecode"))
        modules = "import spermjax.workflow.train, spermjax.report, spermjax.commands.train, wandb.apis.public"
        subprocess.run([sys.executable, "-c", modules], env=environment, check=True)
        first = start(folder / "first", environment)
        later = [start(folder / f"later_{number}", environment) for number in range(settings.repeats)]
        command = [sys.executable, "-m", "benchmarks.startup", "--worker", str(folder / "parts")]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    told = [Part(**part) for part in json.loads(done.stdout.splitlines()[-1])]
    print("| start | seconds | processor seconds |\n|---|---|---|")
    print(f"| nothing kept | {first.seconds:.1f} | {first.processor_seconds:.1f} |")
    print(f"| both kept | {spread([s.seconds for s in later])} | {spread([s.processor_seconds for s in later])} |")
    print("\n| part, both kept | seconds | processor seconds |\n|---|---|---|")
    for part in told:
        print(f"| {part.name} | {part.seconds:.2f} | {part.processor_seconds:.2f} |")
    if settings.json:
        rows = {"first": first, "later": later, "parts": told}
        settings.json.write_text(json.dumps(rows, indent=2, default=dataclasses.asdict) + "\n")


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a start, or a whole one."""

    name: str
    seconds: float
    processor_seconds: float


def spread(values: list[float]) -> str:
    """Median and extremes."""
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"


def start(runs: Path, environment: dict[str, str]) -> Part:
    """From the command to the first step's metrics in the run folder; the run is then told to stop."""
    options = ["--tracking.runs", str(runs), "--tracking.run-id", "one", "--tracking.log-every", "1"]
    begun = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, "-m", "spermjax.cli", "train", EXPERIMENT, *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    metrics = runs / EXPERIMENT / "one" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        if process.poll() is not None or time.perf_counter() - begun > LIMIT_SECONDS:
            raise SystemExit(f"The command ended or hung without a step (exit code {process.poll()}).")
        time.sleep(0.01)
    seconds, used = time.perf_counter() - begun, process.cpu_times()
    process.send_signal(signal.SIGTERM)
    process.wait()
    return Part("start", seconds, used.user + used.system)


def parts(runs: Path) -> Iterator[Part]:
    """The parts of a start, in their order, in a process that has imported little."""
    clocks = time.perf_counter(), time.process_time()

    def part(name: str) -> Part:
        nonlocal clocks
        before, clocks = clocks, (time.perf_counter(), time.process_time())
        return Part(name, clocks[0] - before[0], clocks[1] - before[1])

    from spermjax.process import prepare_process

    prepare_process()
    import jax

    yield part("import jax")
    import spermjax.workflow.train  # noqa: F401

    yield part("other imports")
    from spermjax.data.examples import load
    from spermjax.run import create
    from spermjax.tracking import open_trackers
    from spermjax.train.loop import locate
    from spermjax.train.session import build_session
    from spermjax.workflow import experiments

    experiment = experiments.load(EXPERIMENT)
    experiment = dataclasses.replace(experiment, tracking=dataclasses.replace(experiment.tracking, runs=runs))
    run, dataset = create(experiment), load(experiment.data)
    yield part("read 4200 images, decoded before")
    session = build_session(experiment, dataset)
    position = locate(session, run)
    tracker = open_trackers(experiment.tracking, run.path, experiment.to_dict(), resume_step=0)
    yield part("initial state, trackers")
    batch: Any = next(position.batches)
    state, metrics = session.train_step(position.state, batch)
    jax.block_until_ready(metrics)
    yield part("trace, load and take the first step")
    jax.block_until_ready(session.train_step(state, next(position.batches)))
    yield part("second step")
    tracker.log(2, {"train/loss": 1.0})
    tracker.finish()
    yield part("start and end of Weights & Biases, beside the steps in a run")


if __name__ == "__main__":
    use_tcmalloc()
    main(tyro.cli(Settings, description=__doc__))
