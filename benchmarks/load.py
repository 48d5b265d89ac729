"""Whether a long run, or many short ones in one process, grow in memory or slow down.

    python -m benchmarks.load --json load.json

takes 10 000 steps over 100 000 examples of noise by a small model, once with the examples
kept on the device and once streamed, with evaluations and checkpoints on the way, each in
a process of its own; and 200 runs of a few steps one after another in one process. Memory
and the median time of a step, or of a run, are told by tenths of the whole: what grows shows
in the last against the second, since the first still compiles. Memory is what is resident
and no file's: pages of files a system may take away, and they come back when they are
touched. Ends with 1 where memory grew by more than a tenth there.
"""

import dataclasses
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import psutil
import tyro

from benchmarks import noise
from spermjax.allocator import use_tcmalloc
from spermjax.process import prepare_process
from spermjax.run import create
from spermjax.tracking.jsonl import Jsonl
from spermjax.train.loop import fit, locate
from spermjax.train.session import build_session

Kind = Literal["device", "stream", "runs"]
KINDS: tuple[Kind, ...] = ("device", "stream", "runs")
TENTHS = 10
MOST_GROWTH = 1.1


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much."""

    steps: int = 10_000
    """Steps of the long runs."""
    examples: int = 100_000
    """Examples that they train on."""
    runs: int = 200
    """Short runs in one process."""
    json: Path | None = None
    """Write the numbers here."""
    worker: Kind | None = None
    """Be the process of one of them; the benchmark starts these itself."""


def main(settings: Settings) -> int:
    """Runs each, prints tables and writes the numbers."""
    prepare_process()  # JAX is imported already, but the workers inherit what their environment tells them.
    if settings.worker:
        rows = (
            short_runs(settings.runs)
            if settings.worker == "runs"
            else long_run(settings.steps, settings.examples, settings.worker)
        )
        print(json.dumps(rows))
        return 0
    found: dict[str, list[dict[str, float]]] = {}
    sizes = ["--steps", settings.steps, "--examples", settings.examples, "--runs", settings.runs]
    for kind in KINDS:
        command = [sys.executable, "-m", "benchmarks.load", *map(str, sizes), "--worker", kind]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[kind] = json.loads(done.stdout.splitlines()[-1])
    grown = {kind: rows[-1]["own_mib"] / rows[1]["own_mib"] for kind, rows in found.items()}
    print(f"| | {' | '.join(f'{tenth + 1}' for tenth in range(TENTHS))} | last over second |")
    print("|---|" + "---|" * (TENTHS + 1))
    for kind, rows in found.items():
        for what, digits in (("own_mib", 0), ("maps", 0), ("milliseconds", 2)):
            cells = " | ".join(f"{row[what]:.{digits}f}" for row in rows)
            print(f"| {kind}, {what} | {cells} | {rows[-1][what] / rows[1][what]:.2f} |")
    if settings.json:
        settings.json.write_text(json.dumps(found, indent=2) + "\n")
    return int(max(grown.values()) > MOST_GROWTH)


class Clock(Jsonl):
    """Logs as ever, and takes time and memory at the end of each tenth of the steps, or of the runs."""

    def __init__(self, run: Path, steps: int):
        super().__init__(run, resume_step=0)
        self._tenths, self._last = Tenths(steps), time.perf_counter()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        super().log(step, values)
        now = time.perf_counter()
        if "train/loss" in values:
            self._tenths.add(now - self._last)
        self._last = now

    @property
    def rows(self) -> list[dict[str, float]]:
        return self._tenths.rows


class Tenths:
    """Memory at the end of each tenth of so many pieces, and the median time of a piece in it."""

    def __init__(self, count: int):
        self._each, self._seconds = count // TENTHS, list[float]()
        self._process = psutil.Process()
        self.rows: list[dict[str, float]] = []

    def add(self, seconds: float) -> None:
        """Takes the time of one more piece."""
        self._seconds.append(seconds)
        if len(self._seconds) == self._each:
            gc.collect()
            memory = self._process.memory_info()
            self.rows.append(
                {
                    "own_mib": (memory.rss - memory.shared) / 2**20,
                    "maps": len(self._process.memory_maps(grouped=False)),
                    "milliseconds": 1e3 * statistics.median(self._seconds),
                }
            )
            self._seconds.clear()


def long_run(steps: int, examples: int, feed: Any) -> list[dict[str, float]]:
    """One run of many steps, evaluated and saved every 500."""
    with tempfile.TemporaryDirectory(prefix="spermjax-load-") as folder:
        every = 500 * noise.experiment(Path(folder), "", 1, 1).schedule.batch_size / examples
        experiment = noise.experiment(Path(folder), "one", steps, every)
        experiment = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, feed=feed))
        session, run = build_session(experiment, noise.dataset(examples)), create(experiment)
        clock = Clock(run.path, steps)
        fit(session, locate(session, run), evaluate, clock)
        clock.finish()
        return clock.rows


def short_runs(count: int) -> list[dict[str, float]]:
    """Many runs of ten steps, each built anew and let go of as a sweep's trials are."""
    tenths, dataset = Tenths(count), noise.dataset(160)
    for number in range(count):
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="spermjax-load-") as folder:
            experiment = noise.experiment(Path(folder), str(number), 10, 0.5)
            session, run = build_session(experiment, dataset), create(experiment)
            tracker = Jsonl(run.path, resume_step=0)
            fit(session, locate(session, run), evaluate, tracker)
            tracker.finish()
        jax.clear_caches()
        tenths.add(time.perf_counter() - begun)
    return tenths.rows


def evaluate(variables: Any) -> tuple[dict[str, float], float]:
    """A score of the parameters themselves."""
    norm = float(sum(np.abs(np.asarray(leaf)).sum() for leaf in jax.tree.leaves(variables)))
    return {"validation/norm": norm}, -norm


if __name__ == "__main__":
    use_tcmalloc()
    sys.exit(main(tyro.cli(Settings, description=__doc__)))
