"""What a training step costs on 1, 2, 4 and 8 devices, under each `--parallel.mode`.

    python benchmarks/scaling.py --json scaling.json

takes the step that `spermjax train` takes with a batch of 16 per device (weak scaling), on
virtual CPU devices, each count in a process of its own. Virtual devices share the cores,
so a step on eight does eight times the work of one on the same machine: `efficiency` is
the work per second over that of one device, 1 where spreading costs nothing.
"""

import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tyro

MODES = ("pmap", "jit", "fsdp")
PER_DEVICE = 16
COLLECTIVES = r" (all-reduce|all-gather|reduce-scatter)(?:-start)?\("


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured."""

    devices: tuple[int, ...] = (1, 2, 4, 8)
    """How many virtual devices, one after another."""
    steps: int = 10
    """Steps of which the median is taken."""
    json: Path | None = None
    """Write the numbers here."""
    worker: int | None = None
    """Be the process of this many devices; the benchmark starts these itself."""


def main(settings: Settings) -> None:
    """Measures each count and mode, prints a table and writes the numbers."""
    if settings.worker:
        print(json.dumps([measure(mode, settings.worker, settings.steps) for mode in MODES]))
        return
    rows: list[dict[str, Any]] = []
    for count in settings.devices:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
        command = [sys.executable, __file__, "--worker", str(count), "--steps", str(settings.steps)]
        done = subprocess.run(
            command, env={**os.environ, "XLA_FLAGS": flags}, stdout=subprocess.PIPE, text=True, check=True
        )
        rows += json.loads(done.stdout)
    alone = {row["mode"]: row["images_per_second"] for row in rows if row["devices"] == min(settings.devices)}
    print("| mode | devices | efficiency | state per device, MiB | temporary, MiB | collectives |")
    print("|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: MODES.index(row["mode"])):
        row["efficiency"] = row["images_per_second"] / alone[row["mode"]]
        cells = (f"{row['efficiency']:.2f}", f"{row['state_mib']:.1f}", f"{row['temporary_mib']:.0f}")
        words = ", ".join(f"{number} {name}" for name, number in sorted(row["collectives"].items())) or "none"
        print(f"| {row['mode']} | {row['devices']} | {' | '.join(cells)} | {words} |", flush=True)
    if settings.json:
        settings.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(mode: Any, devices: int, steps: int) -> dict[str, Any]:
    """One row: speed, what the compiled step holds on each device, and its collectives."""
    import jax
    import numpy as np

    from spermjax.config import Data, Experiment, Parallel, Schedule
    from spermjax.data.examples import load
    from spermjax.data.pipeline import gather
    from spermjax.train.session import build_session

    size = PER_DEVICE * devices
    experiment = Experiment(
        data=Data(name="sperm_phantom", feed="stream"),
        schedule=Schedule(batch_size=size, steps=1000),
        parallel=Parallel(mode=mode, devices=devices),
    )
    session = build_session(experiment, load(experiment.data))
    state = session.place(session.initial_state())
    batch = gather(session.dataset.splits["train"], np.arange(size))
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
        "images_per_second": size / statistics.median(seconds[2:]),
        "state_mib": state_bytes / 2**20,
        "temporary_mib": memory.temp_size_in_bytes / 2**20,
        "collectives": {name: found.count(name) for name in found},
    }


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
