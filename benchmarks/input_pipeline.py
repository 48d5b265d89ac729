"""How fast examples reach a training step, and whether the step waits for them.

    python benchmarks/input_pipeline.py --json input_pipeline.json

measures images per second of examples kept on the device, of examples streamed by
grain, and of a torch DataLoader with torchvision's transforms on the same work (left
out, with a message, where torch is not installed); and of the training step fed in
both ways and not fed at all, with the share of its time that it waits for its input.
All ways take turns within each round, and ratios are formed within a round, so that
what else the machine does falls on all of them. What a way has prefetched while others
had their turn is used up before its own turn is timed. Takes some four minutes on two cores.
"""

import dataclasses
import functools
import importlib.util
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from spermjax.config import Augment, Data, Experiment, Schedule
from spermjax.data.augment import augment
from spermjax.data.batch import BatchIndex, PackedBatch, unpack
from spermjax.data.examples import Dataset, Examples
from spermjax.data.pipeline import gather, training_batches, whole
from spermjax.data.task import Task
from spermjax.parallel import replicate
from spermjax.train.keys import per_example
from spermjax.train.session import Session, build_session

CLASSES = ("normal", "tapered", "pyriform", "amorphous")

Way = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured."""

    examples: int = 1024
    """Examples in the split."""
    image_size: int = 64
    """Side in pixels."""
    batch_size: int = 64
    """Examples in a batch."""
    seconds: float = 3.0
    """About how long a way's turn is."""
    rounds: int = 5
    """How often all ways take their turn."""
    workers: int = 2
    """Workers of the torch DataLoader, which is also measured without any."""
    prefetched: int = 8
    """Batches that are dropped before a turn is timed: more than any way keeps ready."""
    json: Path | None = None
    """Write the numbers here."""


def main(settings: Settings) -> None:
    """Measures all ways in turns, prints a table and writes the numbers."""
    ways = {**spermjax_ways(settings), **torch_ways(settings)}
    rates = {name: [] for name in ways}
    for _ in range(settings.rounds):
        for name, way in ways.items():
            rates[name].append(settings.batch_size * batches_per_second(way, settings))
    rates = {name: np.array(rate) for name, rate in rates.items()}
    step = rates["training step, not fed"]
    rows = {
        name: {"images_per_second": spread(rate), "of_the_step_not_fed": spread(rate / step)}
        for name, rate in rates.items()
    }
    for name, way in ways.items():
        if isinstance(way, Training):
            waited, taken = (np.array(times[settings.prefetched :]) for times in (way.waited, way.taken))
            rows[name]["waiting_for_input"] = spread(waited / taken)
    print(f"{'':42}{'images/s':>24}{'of the step not fed':>26}{'share of time waiting':>32}")
    for name, row in rows.items():
        waiting = words(row["waiting_for_input"], 5) if "waiting_for_input" in row else ""
        rate, share = words(row["images_per_second"], 0), words(row["of_the_step_not_fed"], 2)
        print(f"{name:42}{rate:>24}{share:>26}{waiting:>32}")
    if settings.json:
        machine = {"cores": os.cpu_count(), "device": jax.devices()[0].device_kind, "jax": jax.__version__}
        stored = dataclasses.asdict(settings) | {"json": str(settings.json)}
        settings.json.write_text(json.dumps({"settings": stored, "machine": machine, "ways": rows}, indent=2) + "\n")


def batches_per_second(way: Way, settings: Settings) -> float:
    """The rate of a way that has nothing ready when its turn begins; the first turn also compiles."""
    for _ in range(settings.prefetched):
        way()
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < settings.seconds:
        way()
        count += 1
    return count / passed


def spread(values: np.ndarray) -> dict[str, float]:
    """Median, least and largest over the rounds."""
    return {"median": float(np.median(values)), "least": float(values.min()), "largest": float(values.max())}


def words(value: dict[str, float], digits: int) -> str:
    """`1200 [1100, 1300]`."""
    return f"{value['median']:.{digits}f} [{value['least']:.{digits}f}, {value['largest']:.{digits}f}]"


def examples_of(settings: Settings) -> Examples:
    """Noise with masks: how fast it moves does not depend on what it shows."""
    rng, count, side = np.random.default_rng(0), settings.examples, settings.image_size
    return Examples(
        image=rng.integers(0, 256, (count, side, side, 3), np.uint8),
        parts=rng.integers(0, 64, (count, side, side), np.uint8),
        has_parts=np.ones(count, bool),
        label=rng.integers(0, len(CLASSES), count).astype(np.int32),
        id=tuple(str(number) for number in range(count)),
        group=tuple(str(number) for number in range(count)),
    )


def spermjax_ways(settings: Settings) -> dict[str, Way]:
    """Batches, augmented on the device, and training steps."""
    examples = examples_of(settings)
    keys = per_example(jax.random.key(0), np.arange(settings.batch_size))
    stored = jax.device_put(whole(examples))

    @jax.jit
    def from_batch(packed: PackedBatch):
        return augment(keys, unpack(packed), Augment())

    @functools.partial(jax.jit, static_argnums=2)
    def from_index(chosen: BatchIndex, stored: PackedBatch, how: Augment):
        return augment(keys, unpack(gather(stored, chosen.index)), how)

    def indices():
        return training_batches(examples, settings.batch_size, 0, yields="index")

    streamed = training_batches(examples, settings.batch_size, 0)
    chosen = indices()
    placed = jax.device_put(gather(examples, np.arange(settings.batch_size)))
    plain, microscope = Augment(), Augment(randaugment=2)
    return {
        "on the device, augmented": lambda: jax.block_until_ready(from_index(next(chosen), stored, plain)),
        "on the device, RandAugment of 2 besides": lambda: jax.block_until_ready(
            from_index(next(chosen), stored, microscope)
        ),
        "streamed, augmented": lambda: jax.block_until_ready(from_batch(next(streamed))),
        "streamed, not augmented": lambda: next(streamed),
        "training step, not fed": Training(settings, examples, "stream", itertools.repeat(placed)),
        "training step, on the device": Training(settings, examples, "device", indices()),
        "training step, streamed": Training(
            settings, examples, "stream", training_batches(examples, settings.batch_size, 0)
        ),
    }


class Training:
    """A way that takes steps of the default model with what `batches` gives.

    Attributes:
        waited, taken: seconds of each step that went by before it had its batch, and all.
    """

    def __init__(self, settings: Settings, examples: Examples, feed: Any, batches: Iterator[Any]):
        self.session = session_of(settings, examples, feed)
        self.state = replicate(self.session.initial_state(), self.session.devices)
        self.batches, self.waited, self.taken = batches, [], []

    def __call__(self) -> None:
        start = time.perf_counter()
        batch = next(self.batches)
        self.waited.append(time.perf_counter() - start)
        self.state, metrics = self.session.train_step(self.state, batch)
        jax.block_until_ready(metrics)
        self.taken.append(time.perf_counter() - start)


def session_of(settings: Settings, examples: Examples, feed: Any) -> Session:
    """The default model on these examples."""
    experiment = Experiment(
        data=Data(image_size=settings.image_size, feed=feed),
        schedule=Schedule(batch_size=settings.batch_size, steps=1_000_000),
    )
    dataset = Dataset(
        name="noise",
        task=Task("single_label", CLASSES, {}),
        splits={"train": examples},
        fingerprint="",
        protocol="",
        licence="",
        citation="",
    )
    return build_session(experiment, dataset)


@dataclasses.dataclass(frozen=True)
class Augmented:
    """A map-style data set of torch, here so that its workers can be sent it.

    Attributes:
        image, parts: tensors, `uint8[n, channels, side, side]`.
        label: classes.
        transform: of an image and its masks.
    """

    image: Any
    parts: Any
    label: np.ndarray
    transform: Any

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        from torchvision import tv_tensors

        image, parts = self.transform(tv_tensors.Image(self.image[index]), tv_tensors.Mask(self.parts[index]))
        return image, parts, int(self.label[index])


def torch_ways(settings: Settings) -> dict[str, Way]:
    """The same flips, turns, shifts and intensities by torchvision, from images decoded in memory."""
    if not all(importlib.util.find_spec(name) for name in ("torch", "torchvision")):
        print("torch and torchvision are not installed here, so their DataLoader is left out.")
        return {}
    import torch
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    torch.set_num_threads(1)  # As in a worker; a small image is no work for two.
    config, examples = Augment(), examples_of(settings)
    image = torch.from_numpy(examples.image).permute(0, 3, 1, 2).contiguous()
    parts = torch.from_numpy(examples.parts)[:, None]
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(
                degrees=config.rotate,
                translate=(config.shift, config.shift),
                scale=(1 - config.scale, 1 + config.scale),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            v2.ColorJitter(brightness=config.brightness, contrast=config.contrast),
        ]
    )

    augmented = Augmented(image, parts, examples.label, transform)

    def endless(workers: int) -> Iterator[Any]:
        loader = torch.utils.data.DataLoader(
            augmented,
            settings.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,  # JAX has threads, which a fork would not survive.
        )
        while True:
            yield from loader

    return {
        f"torch DataLoader, {workers} workers, augmented": endless(workers).__next__
        for workers in sorted({0, settings.workers})
    }


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
