"""jit over a mesh, and slices of the state, are the pmap step in other clothes."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from spermjax.config import Data, Model, Optim, Parallel
from spermjax.data.batch import BatchIndex
from spermjax.data.pipeline import gather
from spermjax.parallel import AXIS, share
from spermjax.parallel.fsdp import spec_of
from spermjax.train.checkpoints import Checkpoints
from spermjax.train.optim import kernels
from spermjax.train.session import build_session
from tests.train import tiny

WIDE = Model(patch_size=4, width=64, depth=1, heads=2, dropout=0.1)


def session_of(mode: str, devices: int, feed: str = "stream", **optim):
    """A session of so many devices in each process, whose optimiser clips, averages, and decays kernels."""
    experiment = tiny.experiment(
        model=WIDE,
        optim=Optim(**{"clip": 0.1, "ema": 0.9, **optim}),
        parallel=Parallel(mode=mode, devices=devices),
        data=Data(image_size=16, feed=feed),
    )
    return build_session(experiment, tiny.dataset())


def after(session, steps: int = 3):
    """The state after some steps, and the last metrics."""
    state, metrics = session.place(session.initial_state()), {}
    for step in range(steps):
        index = ((np.arange(16, dtype=np.int32) + 16 * step) % 45)[share(16, session.devices)]
        batch = BatchIndex(index) if session.resident else gather(session.dataset.splits["train"], index)
        state, metrics = session.train_step(state, batch)
    return state, {name: float(value) for name, value in metrics.items()}


@pytest.fixture(scope="module")
def by_pmap():
    return after(session_of("pmap", 4))


def compare(state, metrics, by_pmap):
    expected, expected_metrics = by_pmap
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    # Adam divides by the gradient's own size, so where that is rounding alone, as in a key's bias, so is the step.
    for tree, other in ((state.params, expected.params), (state.average, expected.average)):
        keep = kernels(tree)
        jax.tree.map(
            lambda kept, a, b: kept and np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=2e-5),
            keep,
            tree,
            other,
        )


@pytest.mark.multidevice
@pytest.mark.parametrize(("mode", "devices"), [("jit", 1), ("jit", 8), ("fsdp", 2), ("fsdp", 8)])
def test_the_state_is_that_of_pmap(by_pmap, mode, devices):
    """Witness: pmap on four devices; clipping, averaging and decay are on."""
    compare(*after(session_of(mode, devices)), by_pmap)


@pytest.mark.multidevice
def test_parts_of_a_batch_and_slices_of_the_state_go_together(by_pmap):
    compare(*after(session_of("fsdp", 4, accumulate=2)), by_pmap)


@pytest.mark.multidevice
def test_resident_examples_and_float16_work_in_slices():
    session = session_of("fsdp", 2, "device")
    half = dataclasses.replace(session.experiment, model=dataclasses.replace(WIDE, dtype="float16"))
    session = build_session(half, session.dataset)
    assert session.resident
    state = session.place(session.initial_state())
    state, metrics = session.train_step(state, BatchIndex(np.arange(16, dtype=np.int32)))
    assert float(metrics["loss_scale"]) == 2.0**15
    assert np.isfinite(float(metrics["gradient_norm"]))


def collectives(session) -> tuple[dict[str, int], object]:
    """How often each collective stands in the compiled step, and its memory."""
    batch = gather(session.dataset.splits["train"], np.arange(16))
    compiled = session.train_step.lower(session.place(session.initial_state()), batch).compile()
    found = re.findall(
        r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(", compiled.as_text()
    )
    return {name: found.count(name) for name in found}, compiled.memory_analysis()


@pytest.mark.multidevice
def test_one_group_of_sums_and_no_gathering_where_the_state_is_whole():
    """One all-reduce of all gradients at the end, and one of the losses' normalisers, which are known before them."""
    for mode in ("pmap", "jit"):
        assert collectives(session_of(mode, 4))[0] == {"all-reduce": 2}


@pytest.mark.multidevice
def test_slices_are_gathered_scattered_and_small():
    """Each device holds a fourth of what is sliced, and its program asks for less memory than that of whole states."""
    session = session_of("fsdp", 4)
    sliced = [spec for spec in jax.tree.leaves(session.specs.params) if spec]
    found, memory = collectives(session)
    assert len(sliced) >= 5
    assert (found["all-gather"], found["reduce-scatter"]) == (len(sliced), len(sliced))
    whole = collectives(session_of("jit", 4))[1]
    assert memory.argument_size_in_bytes < 0.4 * whole.argument_size_in_bytes
    held = [m.argument_size_in_bytes + m.temp_size_in_bytes for m in (memory, whole)]
    assert held[0] < held[1]
    state = session.place(session.initial_state())
    for tree in (state.params, state.average["params"], state.optimizer):
        for leaf in jax.tree.leaves(tree):
            share = 4 if spec_of(leaf.shape, 4) else 1
            assert {shard.data.size * share for shard in leaf.addressable_shards} == {leaf.size}
            assert len(leaf.addressable_shards) == 4


@pytest.mark.multidevice
def test_parameters_are_gathered_again_for_the_backward_pass():
    """All but positions and the stem, whose values no derivative asks for.

    In the program as written; compilers that take remat's barriers away, as that for CPUs, gather once.
    """
    session = session_of("fsdp", 4)
    batch = gather(session.dataset.splits["train"], np.arange(16))
    text = session.train_step.lower(session.place(session.initial_state()), batch).as_text()
    sliced = [spec for spec in jax.tree.leaves(session.specs.params) if spec]
    assert text.count("stablehlo.all_gather") == 2 * len(sliced) - 2


def test_the_longest_axis_that_divides_is_sliced():
    """Witness: by hand."""
    assert spec_of((64, 3, 2, 32), 4) == P(AXIS)
    assert spec_of((30, 256), 4) == P(None, AXIS)
    assert spec_of((33, 66), 4) == P()
    assert spec_of((128,), 4) == P()
    assert spec_of((64, 64), 1) == P()


@pytest.mark.multidevice
def test_a_checkpoint_of_one_mode_is_restored_under_another(tmp_path):
    sessions = {mode: session_of(mode, devices) for mode, devices in (("fsdp", 4), ("pmap", 2), ("jit", 8))}
    state, _ = after(sessions["fsdp"], 1)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, {}, 0.0)
    ends = {}
    for mode, session in sessions.items():
        restored, _ = checkpoints.restore(session.abstract_state())
        jax.tree.map(np.testing.assert_array_equal, restored, jax.tree.map(np.asarray, state))
        placed = session.place(restored)
        batch = gather(session.dataset.splits["train"], np.arange(16))
        ends[mode] = session.train_step(placed, batch)
    checkpoints.close()
    for mode in ("pmap", "jit"):
        compare(ends[mode][0], {name: float(v) for name, v in ends[mode][1].items()}, ends["fsdp"])
