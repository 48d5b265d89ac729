"""How fast a training step and a prediction are, beside plain Flax and timm on PyTorch.

    python benchmarks/train_step.py --json train_step.json

runs one vision transformer of one size, batch, thread count and data type (float32)
four ways: spermjax' own step, a plain Flax one, and timm's with and without
torch.compile (left out, with a message, where torch is not installed). Each way is a
process of its own, which the others let rest while it measures; all take turns within a
round, and after some rounds are started anew in another order. A ratio is formed within
its round. `ratios` in the JSON are spermjax over the faster torch way: above 1, spermjax
is faster. Takes some twelve minutes on two cores.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tyro

OUTPUTS = 4
TORCH, WAYS = ("timm", "timm, compiled"), ("spermjax", "plain Flax", "timm", "timm, compiled")
PHASES = ("train", "infer")

Step = Callable[[], Any]
"""Runs once, and returns when it is done."""


@dataclasses.dataclass(frozen=True)
class Size:
    """A transformer and its batch."""

    image: int
    patch: int
    width: int
    depth: int
    heads: int
    batch: int


SIZES = {"vit_ti_16 at 224": Size(224, 16, 192, 12, 3, 8), "64 px, patch 8": Size(64, 8, 128, 6, 4, 64)}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured."""

    sizes: tuple[str, ...] = tuple(SIZES)
    """Names of `SIZES`."""
    ways: tuple[str, ...] = WAYS
    """Which ways run."""
    starts: int = 4
    """How often all ways are started anew, each time in another order: on a virtual machine, whoever is given memory
    first may have slower memory for good."""
    rounds: int = 4
    """How often all ways take their turn behind each start."""
    seconds: float = 1.0
    """About how long a turn of one phase takes."""
    json: Path | None = None
    """Write the numbers here."""
    worker: tuple[str, str] | None = None
    """Be the process of this way and size; the benchmark starts these itself."""


def main(settings: Settings) -> None:
    """Measures all ways in turns, prints a table and writes the numbers."""
    if settings.worker:
        work(*settings.worker, settings.seconds)
        return
    found = {size: measure(size, settings) for size in settings.sizes}
    ratios = {}
    for size, ways in found.items():
        print(f"\n{size}\n{'':18}{'train, images/s':>26}{'infer, images/s':>26}{'compile, s':>12}")
        for way, rates in ways.items():
            cells = "".join(f"{words(rates[phase]):>26}" for phase in PHASES)
            print(f"{way:18}{cells}{rates['compile']:>12.1f}")
        for other in ("torch", "plain Flax"):
            rivals = [way for way in ways if (way in TORCH if other == "torch" else way == other)]
            for phase in PHASES if rivals and "spermjax" in ways else ():
                rival = np.max([ways[way][phase] for way in rivals], axis=0)
                ratios[f"{size}/{phase}/spermjax over {other}"] = float(np.median(ways["spermjax"][phase] / rival))
    print(*(f"{name}: {ratio:.2f}" for name, ratio in ratios.items()), sep="\n")
    if settings.json:
        rates = {
            size: {way: {p: list(v[p]) for p in PHASES} for way, v in ways.items()} for size, ways in found.items()
        }
        stored = {"cores": os.cpu_count(), "ratios": ratios, "images_per_second": rates}
        settings.json.write_text(json.dumps(stored, indent=2) + "\n")


def words(rates: np.ndarray) -> str:
    """`120 [110, 130]`."""
    return f"{np.median(rates):.1f} [{rates.min():.1f}, {rates.max():.1f}]"


def measure(size: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """Images per second of each way, phase and round, and seconds that compiling took (the median of starts)."""
    order, found = deque(settings.ways), {way: {what: [] for what in ("compile", *PHASES)} for way in settings.ways}
    for _ in range(settings.starts):
        workers = started(order, size, settings.seconds, found)
        for _ in range(settings.rounds):
            for phase in PHASES:
                for way, worker in workers.items():
                    found[way][phase].append(ask(worker, phase))
        for worker in workers.values():
            worker.communicate()
        order.rotate()
    return {
        way: {"compile": float(np.median(of_way["compile"]))} | {phase: np.array(of_way[phase]) for phase in PHASES}
        for way, of_way in found.items()
        if of_way["compile"]
    }


def started(
    order: Iterable[str], size: str, seconds: float, found: dict[str, dict[str, list[float]]]
) -> dict[str, subprocess.Popen[str]]:
    """A process of each way; one after another, so that compiling is measured undisturbed too."""
    workers = {}
    for way in order:
        command = [sys.executable, __file__, "--worker", way, size, "--seconds", str(seconds)]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = ask(worker, "ready")
        if answer is None:
            print(f"{way} is left out: it does not run here.")
            continue
        workers[way] = worker
        found[way]["compile"].append(answer)
    return workers


def ask(worker: subprocess.Popen[str], what: str) -> float | None:
    """Sends a worker a word, and waits for its number; None where it has died."""
    assert worker.stdin is not None and worker.stdout is not None
    try:
        print(what, file=worker.stdin, flush=True)
    except BrokenPipeError:
        return None
    answer = worker.stdout.readline()
    return float(answer) if answer else None


def work(way: str, size: str, seconds: float) -> None:
    """Answers `ready` with the seconds that compiling took, and a phase with images per second."""
    build = {
        "spermjax": spermjax_steps,
        "plain Flax": flax_steps,
        "timm": timm_steps,
        "timm, compiled": lambda size: timm_steps(size, compiled=True),
    }[way]
    steps = build(SIZES[size])
    start = time.perf_counter()
    for step in steps.values():
        step()
    compiling = time.perf_counter() - start
    once = {}
    for phase, step in steps.items():
        step()
        start = time.perf_counter()
        step()
        once[phase] = time.perf_counter() - start
    for line in sys.stdin:
        phase = line.strip()
        if phase == "ready":
            print(compiling, flush=True)
            continue
        count = max(1, round(seconds / once[phase]))
        start = time.perf_counter()
        for _ in range(count):
            steps[phase]()
        print(count * SIZES[size].batch / (time.perf_counter() - start), flush=True)


def batch_of(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Noise, as bytes, and classes."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (size.batch, size.image, size.image, 3), np.uint8)
    return image, rng.integers(0, OUTPUTS, size.batch).astype(np.int32)


def spermjax_steps(size: Size) -> dict[str, Step]:
    """The step that `spermjax train` takes, from bytes to new parameters, without augmentation, and its prediction."""
    from spermjax.allocator import keep_freed_memory, use_tcmalloc
    from spermjax.cores import use_cores
    from spermjax.kernels import choose_kernels

    use_tcmalloc()
    keep_freed_memory()
    choose_kernels()
    use_cores()
    import jax

    from spermjax.config import Augment, Data, Experiment, Model, Optim, Schedule
    from spermjax.data.batch import unpack
    from spermjax.data.examples import Dataset, Examples
    from spermjax.data.pipeline import gather
    from spermjax.data.task import Task
    from spermjax.parallel import choose_devices, pmap_examples, replicate
    from spermjax.train.session import build_session

    image, label = batch_of(size)
    names = tuple(map(str, range(size.batch)))
    examples = Examples(
        image=image,
        parts=np.zeros(image.shape[:3], np.uint8),
        has_parts=np.zeros(size.batch, bool),
        label=label,
        id=names,
        group=names,
    )
    classes = tuple(f"class {number}" for number in range(OUTPUTS))
    dataset = Dataset("noise", Task("single_label", classes, {}), {"train": examples}, "", "", "", "")
    still = Augment(flip=False, rotate=0.0, scale=0.0, shift=0.0, brightness=0.0, contrast=0.0)
    experiment = Experiment(
        data=Data(image_size=size.image, feed="stream"),
        model=Model(patch_size=size.patch, width=size.width, depth=size.depth, heads=size.heads),
        optim=Optim(clip=None),
        schedule=Schedule(batch_size=size.batch, steps=1_000_000),
        augment=still,
    )
    session = build_session(experiment, dataset)
    state = replicate(session.initial_state(), session.devices)
    batch = gather(examples, np.arange(size.batch))
    devices = choose_devices(None, size.batch)
    variables = replicate(session.initial_state().variables, devices)
    apply = pmap_examples(lambda variables, packed: session.model.apply(variables, unpack(packed).image), devices)

    def train() -> None:
        nonlocal state
        state, metrics = session.train_step(state, batch)
        jax.block_until_ready(metrics)

    return {"train": train, "infer": lambda: apply(variables, batch)}


def flax_steps(size: Size) -> dict[str, Step]:
    """As Flax' own attention, optax' AdamW and `jax.jit` have it."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import optax

    class PlainViT(nn.Module):
        """Pre-norm blocks behind a patch convolution, read by a class token."""

        @nn.compact
        def __call__(self, x):
            patch = (size.patch, size.patch)
            x = nn.Conv(size.width, patch, patch)(x).reshape(len(x), -1, size.width)
            token = self.param("token", nn.initializers.normal(0.02), (1, 1, size.width))
            x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, size.width)), x], axis=1)
            x = x + self.param("positions", nn.initializers.normal(0.02), x.shape[1:])
            for _ in range(size.depth):
                x = x + nn.MultiHeadDotProductAttention(size.heads)(nn.LayerNorm()(x))
                hidden = nn.gelu(nn.Dense(4 * size.width)(nn.LayerNorm()(x)), approximate=False)
                x = x + nn.Dense(size.width)(hidden)
            return nn.Dense(OUTPUTS)(nn.LayerNorm()(x)[:, 0])

    image, label = batch_of(size)
    model, optimizer = PlainViT(), optax.adamw(1e-3, weight_decay=0.05)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *image.shape[1:])))
    state = (jax.tree.map(jnp.copy, params), jax.jit(optimizer.init)(params))

    def logits(params, image):
        return model.apply(params, image.astype(jnp.float32) / 127.5 - 1.0)

    def update(state, image, label):
        def loss_of(params):
            return optax.softmax_cross_entropy_with_integer_labels(logits(params, image), label).mean()

        loss, gradients = jax.value_and_grad(loss_of)(state[0])
        updates, moments = optimizer.update(gradients, state[1], state[0])
        return (optax.apply_updates(state[0], updates), moments), loss

    jitted, apply = jax.jit(update, donate_argnums=0), jax.jit(logits)

    def train() -> None:
        nonlocal state
        state, loss = jitted(state, image, label)
        loss.block_until_ready()

    return {"train": train, "infer": lambda: apply(params, image).block_until_ready()}


def timm_steps(size: Size, *, compiled: bool = False) -> dict[str, Step]:
    """The vision transformer of timm and torch's AdamW."""
    import timm
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    model = timm.models.VisionTransformer(
        img_size=size.image,
        patch_size=size.patch,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        num_classes=OUTPUTS,
    )
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    image, label = batch_of(size)
    stored, wanted = torch.from_numpy(image).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(label).long()

    def train() -> None:
        model.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(forward(stored.float() / 127.5 - 1.0), wanted)
        loss.backward()
        optimizer.step()

    def infer() -> None:
        model.eval()
        with torch.inference_mode():
            forward(stored.float() / 127.5 - 1.0)

    return {"train": train, "infer": infer}


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
