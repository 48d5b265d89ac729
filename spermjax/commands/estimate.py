"""`spermjax estimate EXPERIMENT [--devices N] [--FIELD VALUE ...]`."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Annotated, get_args

import tyro

from spermjax.commands.parse import experiment_first, parse, print_json, print_table
from spermjax.config import Experiment, Mode
from spermjax.errors import ConfigError
from spermjax.workflow import experiments

HELP = """\
Usage: spermjax estimate EXPERIMENT [--devices N] [--per-device N] [--modes MODE ...]
                         [--peak-tflops F --bandwidth-gb F] [--FIELD VALUE ...] [--json]

Says what a training step would need on devices that are not at hand: parameters, FLOPs,
memory on each device from the step as compiled for so many virtual ones, and, on paper,
what each sends over the network on up to 1024. Nothing is trained and no data is read.
With the speed of a device (--peak-tflops) and of its network (--bandwidth-gb, gigabytes
per second each way) it also says how long that takes at least.

  spermjax estimate phantom_quickstart --devices 256 --per-device 16
  spermjax estimate mhsma_vit --model.name vit_b_16 --devices 64 --per-device 32 --peak-tflops 312 --bandwidth-gb 25

`spermjax estimate EXPERIMENT --help` shows each option and field with its default.
"""

MOST_DEVICES = 1024
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Options:
    """Memory, arithmetic and traffic of a training step, before it runs."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    devices: int = 8
    """Devices that share a batch."""
    per_device: int | None = None
    """Examples in a step on each device (default: the batch of the experiment, split)."""
    modes: tuple[Mode, ...] = get_args(Mode)
    """Which of `--parallel.mode`; each is compiled."""
    peak_tflops: float | None = None
    """What one device computes at most, in 1e12 floating-point operations per second."""
    bandwidth_gb: float | None = None
    """What one device sends, while it receives as much, in 1e9 bytes per second."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Estimates what a step of an experiment would cost."""
    given = experiment_first(arguments, "estimate", lambda: HELP)
    if given is None:
        return 0
    name, words = given
    options = parse(Options, words, f"estimate {name}", default=Options(experiments.load(name)))
    _check(options)
    # Before JAX starts: the compiler is told of devices that need not be there.
    os.environ["JAX_NUM_CPU_DEVICES"] = str(options.devices)
    os.environ["JAX_PLATFORMS"] = "cpu"
    found = _estimate(options)
    if options.json:
        print_json(found)
        return 0
    one = found["step"]
    print(
        f"{one['parameters']:,} parameters, {one['flops'] / 1e9:.4g} GFLOP on each device in a step of "
        f"{one['examples_per_device']} examples"
    )
    print_table(
        ["mode", "devices", "state, MiB", "temporary, MiB", "in all, MiB"],
        [
            [row["mode"], row["devices"], *(f"{row[key] / MIB:.1f}" for key in ("state", "temporary", "peak"))]
            for row in found["memory"]
        ],
        "memory of each device, as compiled for virtual CPU devices",
    )
    timed = options.peak_tflops is not None
    print_table(
        ["mode", "devices", "state, MiB", "sends, MiB", *(("step, ms", "of the peak") if timed else ())],
        [
            [
                row["mode"],
                row["devices"],
                f"{row['state'] / MIB:.1f}",
                f"{row['sent'] / MIB:.1f}",
                *((f"{1e3 * row['seconds']:.3g}", f"{row['utilisation']:.0%}") if timed else ()),
            ]
            for row in found["paper"]
        ],
        "on paper: network and arithmetic one after the other" if timed else "on paper",
    )
    return 0


def _check(options: Options) -> None:
    numbers = {"--devices": options.devices, "--per-device": options.per_device}
    numbers |= {"--peak-tflops": options.peak_tflops, "--bandwidth-gb": options.bandwidth_gb}
    for option, value in numbers.items():
        if value is not None and not value > 0:
            raise ConfigError(f"{option} {value}: it must be above 0")
    if options.devices > MOST_DEVICES:
        raise ConfigError(f"--devices {options.devices}: at most {MOST_DEVICES}")
    if (options.peak_tflops is None) != (options.bandwidth_gb is None):
        raise ConfigError("--peak-tflops and --bandwidth-gb belong together: a step's time needs both")


def _estimate(options: Options) -> dict:
    """JSON-able numbers: bytes, seconds, floating-point operations."""
    from spermjax.workflow import estimate

    experiment = estimate.prepared(options.experiment, options.devices, options.per_device)
    each = experiment.schedule.batch_size // options.devices
    state, flops, memory, paper = estimate.shapes(experiment), estimate.step_flops(experiment), [], []
    for mode in options.modes:
        parallel = dataclasses.replace(experiment.parallel, mode=mode)
        found = estimate.compiled_memory(dataclasses.replace(experiment, parallel=parallel))
        kept = estimate.on_paper(state, mode, options.devices).state_bytes
        memory.append({"mode": mode, "devices": options.devices, "state": kept, **dataclasses.asdict(found)})
        for count in sorted({options.devices, *(2**power for power in range(11))}):
            work = estimate.on_paper(state, mode, count)
            row = {"mode": mode, "devices": count, "state": work.state_bytes, "sent": sum(work.sent_bytes.values())}
            if options.peak_tflops is not None and options.bandwidth_gb is not None:
                arithmetic, network = work.seconds(flops, options.peak_tflops * 1e12, options.bandwidth_gb * 1e9)
                row |= {"seconds": arithmetic + network, "utilisation": arithmetic / (arithmetic + network)}
            paper.append({**row, "by_collective": work.sent_bytes})
    step = {"parameters": estimate.parameters(state), "flops": flops, "examples_per_device": each}
    return {"step": step, "memory": memory, "paper": paper}
