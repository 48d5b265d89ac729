"""What a step would cost is what the compiled step costs."""

import dataclasses
import json
import math
import re
from typing import get_args

import jax
import numpy as np
import pytest

from spermjax.cli import main
from spermjax.config import Augment, Data, Experiment, Mode, Model, Parallel, Schedule
from spermjax.data.pipeline import gather
from spermjax.errors import ConfigError
from spermjax.parallel.traffic import traffic
from spermjax.train.session import build_session
from spermjax.workflow import estimate
from tests.train import tiny

DEVICES, EACH = 4, 4
SIZES = {"f32": 4, "s32": 4, "pred": 1, "u32": 4}


def experiment(mode="pmap", **model) -> Experiment:
    """A model of which most lies in arrays that are worth slicing."""
    return Experiment(
        data=Data(name="sperm_phantom", image_size=16, feed="stream"),
        model=Model(patch_size=8, width=64, depth=1, heads=2, **model),
        augment=Augment(rotate=0.0, scale=0.0, shift=0.0),
        schedule=Schedule(batch_size=DEVICES * EACH, steps=10),
        parallel=Parallel(mode=mode, devices=DEVICES),
    )


@pytest.fixture(scope="module")
def compiled():
    """The step of a real session, compiled for its real arguments, by mode; and the memory that was estimated."""
    programs = {}
    for mode in ("pmap", "jit", "fsdp"):
        given = estimate.prepared(experiment(mode), DEVICES, None)
        task = estimate._task(given)
        examples = dataclasses.replace(tiny.examples(16, "single_label", 0))
        examples = dataclasses.replace(examples, label=np.arange(16, dtype=np.int32) % task.num_outputs)
        dataset = dataclasses.replace(tiny.dataset(), task=task, splits={"train": examples})
        session = build_session(given, dataset)
        state = session.place(session.initial_state())
        batch = gather(examples, np.arange(DEVICES * EACH))
        program = session.train_step.lower(state, batch).compile()
        bytes_of_state = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))
        programs[mode] = (program, bytes_of_state, estimate.compiled_memory(given))
    return programs


@pytest.mark.multidevice
@pytest.mark.parametrize("mode", get_args(Mode))
def test_memory_is_that_of_the_compiled_step(compiled, mode):
    program, bytes_of_state, memory = compiled[mode]
    found = program.memory_analysis()
    assert memory.temporary == found.temp_size_in_bytes
    assert memory.arguments == found.argument_size_in_bytes
    assert estimate.on_paper(estimate.shapes(experiment()), mode, DEVICES).state_bytes == bytes_of_state
    images = EACH * 16 * 16 * 3  # Nobody asks for part masks, so they are not sent.
    assert bytes_of_state + images <= memory.arguments < bytes_of_state + images + 1000
    assert memory.peak >= memory.arguments + memory.temporary


@pytest.mark.multidevice
def test_slices_lower_the_memory(compiled):
    whole, sliced = compiled["pmap"][2], compiled["fsdp"][2]
    assert sliced.arguments < 0.5 * whole.arguments
    assert sliced.peak < whole.peak


@pytest.mark.multidevice
def test_traffic_on_paper_is_that_of_the_compiled_collectives(compiled):
    params = estimate.shapes(experiment()).params
    ring = (DEVICES - 1) / DEVICES
    for mode in ("pmap", "fsdp"):
        paper = estimate.on_paper(estimate.shapes(experiment()), mode, DEVICES).sent_bytes
        reduced = _result_bytes(compiled[mode][0].as_text(), "all-reduce")
        # Losses and normalisers are summed as well: a few single numbers.
        assert 0 <= 2 * ring * reduced - paper["all_reduce"] < 200
        scattered = _result_bytes(compiled[mode][0].as_text(), "reduce-scatter") * DEVICES
        assert ring * scattered == paper["reduce_scatter"]
    total = sum(math.prod(leaf.shape) * 4 for leaf in jax.tree.leaves(params))
    assert traffic(params, None, 1) == {"all_reduce": 0, "all_gather": 0, "reduce_scatter": 0}
    assert traffic(params, None, 1024)["all_reduce"] == pytest.approx(2 * total, rel=0.01)


def _result_bytes(text: str, collective: str) -> int:
    """Bytes of all results of one kind of collective in a compiled program."""
    total = 0
    for result in re.findall(rf"= (\S.*?) {collective}(?:-start)?\(", text):
        for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", result):
            total += SIZES[kind] * math.prod(int(size) for size in shape.split(",") if size)
    return total


def test_operations_grow_with_examples_and_not_with_how_they_are_computed():
    def flops(each: int, **changes) -> float:
        given = dataclasses.replace(experiment(), **changes)
        return estimate.step_flops(estimate.prepared(given, 2, each))

    once = flops(4)
    assert flops(8) == pytest.approx(2 * once, rel=0.2)
    assert flops(4, model=Model(patch_size=8, width=64, depth=1, heads=2, remat=True, scan=True)) == once
    # Queries, keys and values of five tokens; what follows attention in the only block, of the class token alone.
    products = 3 * 2 * 4 * (5 * 3 * 64 * 64 + 64 * 64 + 2 * 64 * 256)
    assert products < once < 4 * products


def test_a_batch_that_cannot_be_split_is_told_with_the_remedy():
    with pytest.raises(ConfigError, match=r"16 can't be split over 3 devices; give --per-device"):
        estimate.prepared(experiment(), 3, None)
    assert estimate.prepared(experiment(), 3, 5).schedule.batch_size == 15


@pytest.fixture
def same_environment(monkeypatch):
    """The command tells JAX of devices through the environment, which must not outlive the test."""
    for name in ("JAX_NUM_CPU_DEVICES", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, "cpu" if name == "JAX_PLATFORMS" else "")


@pytest.mark.multidevice
@pytest.mark.usefixtures("same_environment")
def test_command_speaks_json_and_times_on_paper(capsys):
    small = "--data.image-size 16 --model.stem patch --model.width 64 --model.depth 1 --guidance.weight 0"
    words = f"estimate phantom_quickstart --devices 4 --per-device 2 --modes fsdp {small}"
    assert main([*words.split(), "--peak-tflops", "100", "--bandwidth-gb", "10", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["step"]["examples_per_device"] == 2
    (memory,) = found["memory"]
    assert memory["mode"] == "fsdp"
    assert memory["peak"] > memory["state"] > 0
    rows = {row["devices"]: row for row in found["paper"]}
    assert rows.keys() == {2**power for power in range(11)}
    assert rows[1]["sent"] == 0
    assert rows[1]["utilisation"] == 1
    assert rows[8]["state"] < rows[1]["state"]
    seconds = found["step"]["flops"] / 1e14 + rows[8]["sent"] / 1e10
    assert rows[8]["seconds"] == pytest.approx(seconds)


@pytest.mark.usefixtures("same_environment")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--devices 0", "--devices 0: it must be above 0"),
        ("--devices 2048", "at most 1024"),
        ("--peak-tflops 1", "belong together"),
        ("--devices 7", "can't be split over 7 devices"),
    ],
)
def test_what_makes_no_sense_is_refused(words, said, capsys):
    assert main(["estimate", "phantom_quickstart", *words.split()]) == 2
    assert said in capsys.readouterr().err
