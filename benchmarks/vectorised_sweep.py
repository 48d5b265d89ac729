"""Trials of a sweep trained side by side under `vmap`, beside the same trials one after another.

    python benchmarks/vectorised_sweep.py --json vectorised.json

takes the steps that `spermjax sweep` takes under `--engine vmap` and under `--engine local`
with one worker, on the phantom, compilation included. Each way and number of trials is a
process of its own, and they are measured in turn; the table shows the best round. Seconds
on the clock hang on what else the machine does, seconds of the processor hardly.
"""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tyro

WAYS = ("after_another", "vmap")
MODELS: dict[str, dict[str, Any]] = {
    "patch stem, width 32, depth 2, 32 px": {
        "model.stem": "patch",
        "model.width": 32,
        "model.depth": 2,
        "data.image_size": 32,
    },
    "convolutional stem, width 32, depth 2, 32 px": {"model.width": 32, "model.depth": 2, "data.image_size": 32},
    "convolutional stem, width 64, depth 4, 64 px": {},
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured."""

    trials: tuple[int, ...] = (2, 8, 24)
    """How many trials, each number by itself."""
    steps: int = 40
    """Steps of a trial."""
    batch: int = 16
    """Examples in a step of a trial."""
    models: tuple[int, ...] = (0, 1, 2)
    """Which of the three models."""
    rounds: int = 2
    """How often each is measured."""
    json: Path | None = None
    """Write the numbers here."""
    worker: tuple[str, int, int] | None = None
    """Be the process of one way, model and number of trials; the benchmark starts these itself."""


def main(settings: Settings) -> None:
    """Measures each way in turn, prints a table and writes the numbers."""
    if settings.worker:
        print(json.dumps(measure(*settings.worker, settings.steps, settings.batch)))
        return
    rows = []
    print("| model | trials | one after another, s | side by side, s | ratio | ratio of processor seconds |")
    print("|---|---|---|---|---|---|")
    for model in settings.models:
        for trials in settings.trials:
            rounds = [{way: _process(settings, way, model, trials) for way in WAYS} for _ in range(settings.rounds)]
            best = {way: {key: min(r[way][key] for r in rounds) for key in rounds[0][way]} for way in WAYS}
            alone, together = (best[way] for way in WAYS)
            row = {"model": list(MODELS)[model], "trials": trials, **best}
            row |= {f"ratio_{key}": alone[key] / together[key] for key in ("seconds", "processor_seconds")}
            rows.append(row)
            print(
                f"| {row['model']} | {trials} | {alone['seconds']:.1f} | {together['seconds']:.1f} "
                f"| {row['ratio_seconds']:.2f} | {row['ratio_processor_seconds']:.2f} |",
                flush=True,
            )
    if settings.json:
        settings.json.write_text(json.dumps({"settings": dataclasses.asdict(settings), "rows": rows}, default=str))


def _process(settings: Settings, way: str, model: int, trials: int) -> dict[str, float]:
    worker = ["--worker", way, str(model), str(trials), "--steps", str(settings.steps), "--batch", str(settings.batch)]
    done = subprocess.run([sys.executable, __file__, *worker], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measure(way: str, model: int, trials: int, steps: int, batch: int) -> dict[str, float]:
    """Seconds from the first trace to the last parameters, on the clock and of the processor."""
    import jax

    from experiments.phantom_quickstart import experiment
    from spermjax.data.examples import load
    from spermjax.data.pipeline import training_batches
    from spermjax.sweep.fields import put
    from spermjax.sweep.lanes import Lanes
    from spermjax.train.session import build_session

    jax.config.update("jax_enable_compilation_cache", False)
    base = put(experiment(), {"schedule.batch_size": batch, "data.limit": 512, **MODELS[list(MODELS)[model]]})
    own = [put(base, {"seed": i, "optim.learning_rate": 1e-3 * 1.1**i, "schedule.steps": steps}) for i in range(trials)]
    dataset = load(base.data)
    train = dataset.splits["train"]
    feeds = [training_batches(train, batch, one.seed, yields="index") for one in own]
    start, processor = time.perf_counter(), time.process_time()
    if way == "vmap":
        sessions = [build_session(own[0], dataset)]
        together = Lanes(
            sessions[0], own, [dataclasses.replace(sessions[0], experiment=e).initial_state() for e in own]
        )
        for _ in range(steps):
            metrics = together.step([next(feed) for feed in feeds])
        jax.block_until_ready((metrics, together.state(trials - 1)))
    else:
        for one, feed in zip(own, feeds, strict=True):
            session = build_session(one, dataset)
            state = session.place(session.initial_state())
            for _ in range(steps):
                state, metrics = session.train_step(state, next(feed))
            jax.block_until_ready((state, metrics))
    return {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}


if __name__ == "__main__":
    main(tyro.cli(Settings))
