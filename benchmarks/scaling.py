"""What a training step costs on 1, 2, 4 and 8 devices, under each `--parallel.mode`.

    python benchmarks/scaling.py --json scaling.json
    python benchmarks/scaling.py --devices 4 --processes 1 2

takes the step that `spermjax train` takes with a batch of 16 per device (weak scaling), on
virtual CPU devices, each count in a process of its own. Virtual devices share the cores,
so a step on eight does eight times the work of one on the same machine: `efficiency` is
the work per second over that of the first row of its mode, 1 where spreading costs nothing. Several
processes share the devices between them, and meet over loopback.
"""

import dataclasses
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tyro

from spermjax.config import Hosts
from spermjax.parallel import joined

MODES = ("pmap", "jit", "fsdp")
PER_DEVICE = 16
COLLECTIVES = r" (all-reduce|all-gather|reduce-scatter)(?:-start)?\("


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured."""

    devices: tuple[int, ...] = (1, 2, 4, 8)
    """How many virtual devices, one after another."""
    processes: tuple[int, ...] = (1,)
    """How many processes, one after another, where they divide the devices."""
    steps: int = 10
    """Steps of which the median is taken."""
    json: Path | None = None
    """Write the numbers here."""
    worker: int | None = None
    """Be a process of this many devices; the benchmark starts these itself."""
    hosts: Hosts = Hosts()
    """Where that one meets the others."""


def main(settings: Settings) -> None:
    """Measures each count and mode, prints a table and writes the numbers."""
    if settings.worker:
        with joined(settings.hosts):
            print(json.dumps([measure(mode, settings.worker, settings.steps) for mode in MODES]))
        return
    rows: list[dict[str, Any]] = []
    for count in settings.devices:
        for processes in settings.processes:
            if count % processes == 0:
                rows += run(count, processes, settings.steps)
    alone = {row["mode"]: row["images_per_second"] for row in reversed(rows)}
    print("| mode | devices | processes | efficiency | state per device, MiB | temporary, MiB | collectives |")
    print("|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: MODES.index(row["mode"])):
        row["efficiency"] = row["images_per_second"] / alone[row["mode"]]
        cells = (f"{row['efficiency']:.2f}", f"{row['state_mib']:.1f}", f"{row['temporary_mib']:.0f}")
        words = ", ".join(f"{number} {name}" for name, number in sorted(row["collectives"].items())) or "none"
        counts = f"{row['devices']} | {row['processes']}"
        print(f"| {row['mode']} | {counts} | {' | '.join(cells)} | {words} |", flush=True)
    if settings.json:
        settings.json.write_text(json.dumps(rows, indent=2) + "\n")


def run(devices: int, processes: int, steps: int) -> list[dict[str, Any]]:
    """The rows of so many devices in so many processes."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices // processes}"
    command = [sys.executable, __file__, "--worker", str(devices), "--steps", str(steps)]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        command += ["--hosts.coordinator", address, "--hosts.processes", str(processes), "--hosts.process"]
    started = [
        subprocess.Popen(
            [*command, *([str(process)] if processes > 1 else [])],
            env={**os.environ, "XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            text=True,
        )
        for process in range(processes)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"{devices} devices in {processes} processes: not measured")
    return json.loads(said[0].splitlines()[-1])


def measure(mode: Any, devices: int, steps: int) -> dict[str, Any]:
    """One row: speed, what the compiled step holds on each device, and its collectives."""
    import jax
    import numpy as np

    from spermjax.config import Data, Experiment, Parallel, Schedule
    from spermjax.data.examples import load
    from spermjax.data.pipeline import gather
    from spermjax.parallel import share
    from spermjax.train.session import build_session

    size = PER_DEVICE * devices
    experiment = Experiment(
        data=Data(name="sperm_phantom", feed="stream"),
        schedule=Schedule(batch_size=size, steps=1000),
        parallel=Parallel(mode=mode, devices=devices // jax.process_count()),
    )
    session = build_session(experiment, load(experiment.data))
    state = session.place(session.initial_state())
    batch = gather(session.dataset.splits["train"], np.arange(size)[share(size, session.devices)])
    compiled = session.train_step.lower(state, batch).compile()
    memory, found = compiled.memory_analysis(), re.findall(COLLECTIVES, compiled.as_text())
    state_bytes = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))
    seconds = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        state, metrics = session.train_step(state, batch)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    return {
        "mode": mode,
        "devices": devices,
        "processes": jax.process_count(),
        "images_per_second": size / statistics.median(seconds[2:]),
        "state_mib": state_bytes / 2**20,
        "temporary_mib": memory.temp_size_in_bytes / 2**20,
        "collectives": {name: found.count(name) for name in found},
    }


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
