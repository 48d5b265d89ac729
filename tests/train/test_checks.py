"""Each trouble that training watches for, provoked."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.config import Checks, Optim, Schedule
from spermjax.data.batch import BatchIndex
from spermjax.errors import DivergenceError
from spermjax.interpret.metrics import attention as statistics
from spermjax.parallel import replicate
from spermjax.run import create
from spermjax.tracking.jsonl import Jsonl, read
from spermjax.train.loop import fit, locate
from spermjax.train.replicas import checksum, replica_difference
from spermjax.train.session import build_session
from spermjax.train.spikes import FEWEST, LOWERED, is_spike, new_watch
from spermjax.train.trouble import judge_heads
from spermjax.workflow.heads import make_head_check
from tests.train import tiny

STEPS, SPIKE = 24, 20
WHEN = Schedule(batch_size=16, steps=STEPS, eval_every=100)


class Recording(Jsonl):
    """Keeps alerts."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.alerts = []

    def alert(self, title, text):
        self.alerts.append((title, text))


def shifted(params, by: float):
    """Logits moved apart: the loss of that step is as large as one wants it."""
    return {**params, "head": {**params["head"], "bias": params["head"]["bias"] + jnp.arange(4.0) * by}}


def spiking(on_spike: str, tmp_path, values=(1e3,)):
    """A run in which the steps from `SPIKE` on meet logits that are far off."""
    experiment = tiny.experiment(
        tmp_path, schedule=WHEN, checks=Checks(on_spike=on_spike, cool_down=3), optim=Optim(learning_rate=1e-3)
    )
    session = build_session(experiment, tiny.dataset())
    inner, steps = session.train_step, iter(range(1, 10_000))

    def train_step(state, batch, signum=0):
        at = next(steps) - SPIKE
        if not 0 <= at < len(values):
            return inner(state, batch)
        params = jax.tree.map(jnp.copy, state.params)
        after, metrics = inner(dataclasses.replace(state, params=shifted(state.params, values[at])), batch)
        # A step that is left out gives back what came in.
        left_out = float(metrics.get("skipped", 0.0))
        return dataclasses.replace(after, params=params if left_out else shifted(after.params, -values[at])), metrics

    session = dataclasses.replace(session, train_step=train_step)
    run = create(experiment)
    position = locate(session, run)
    return session, run, position, Recording(run.path, resume_step=None)


def evaluate(variables):
    del variables
    return {}, 0.0


def test_a_spike_is_warned_of_and_logged_whatever_the_step(tmp_path):
    session, run, position, tracker = spiking("warn", tmp_path)
    fit(session, position, evaluate, tracker)
    assert [title for title, _ in tracker.alerts] == ["Loss spike"]
    assert re.search(rf"spiked at step {SPIKE}: loss \d+.*Batch: 0-\d+", tracker.alerts[0][1])
    spikes = {line["step"]: line["train/spike"] for line in read(run.path) if "train/spike" in line}
    assert [step for step, spike in spikes.items() if spike] == [SPIKE]


def test_a_spike_stops_training(tmp_path):
    session, _, position, tracker = spiking("stop", tmp_path)
    with pytest.raises(DivergenceError, match=f"spiked at step {SPIKE}"):
        fit(session, position, evaluate, tracker)


@pytest.mark.parametrize("value", [1e3, float("nan")])
def test_a_skipped_step_changes_nothing_and_lowers_the_rate_for_a_while(tmp_path, value):
    session, run, position, tracker = spiking("skip", tmp_path, (value,))
    before = {}
    inner = session.train_step

    def noting(state, batch, signum=0):
        before[int(state.step) + 1] = np.asarray(state.params["head"]["kernel"]).copy()
        return inner(state, batch)

    fit(dataclasses.replace(session, train_step=noting), position, evaluate, tracker)
    np.testing.assert_array_equal(before[SPIKE], before[SPIKE + 1])
    assert not np.array_equal(before[SPIKE + 1], before[SPIKE + 2])
    assert len(tracker.alerts) == 1 and "left out" in tracker.alerts[0][1]
    factors = {line["step"]: line["train/rate_factor"] for line in read(run.path) if "train/rate_factor" in line}
    lowered = [step for step, factor in factors.items() if factor < 1]
    assert lowered == [SPIKE + 1, SPIKE + 2, SPIKE + 3]
    assert factors[SPIKE + 1] == pytest.approx(LOWERED)


def test_too_many_skipped_steps_in_succession_end_training(tmp_path):
    session, _, position, tracker = spiking("skip", tmp_path, (float("nan"),) * 10)
    schedule = dataclasses.replace(WHEN, steps=40)
    session = dataclasses.replace(session, total_steps=schedule.steps)
    with pytest.raises(DivergenceError, match="step 10 in succession"):
        fit(session, position, evaluate, tracker)


def test_spikes_are_told_from_noise():
    """Normal noise, ten deviations: none of many; a loss twenty deviations up: always, whatever spikes came before."""
    rng = np.random.default_rng(0)
    losses = jnp.asarray(2.0 + 0.2 * rng.normal(size=(200, 65)), jnp.float32)
    tell = jax.vmap(lambda row: is_spike(row[:-1], row[-1], 10.0))
    assert not tell(losses).any()
    assert tell(losses.at[:, 3:13].set(50.0).at[:, -1].set(7.0)).all()
    assert not is_spike(new_watch().losses.at[: FEWEST - 1].set(1.0), jnp.array(1e6), 10.0)
    assert not is_spike(jnp.full(64, 1e-4), jnp.array(0.1), 10.0), "a loss near zero may grow a little"


def test_the_step_is_the_same_where_spikes_are_not_looked_for():
    """No value of the watch is in the state or among the results."""
    session = build_session(tiny.experiment(), tiny.dataset())
    state = replicate(session.initial_state(), session.devices)
    assert state.watch is None
    _, metrics = session.train_step(state, BatchIndex(np.arange(16, dtype=np.int32)))
    assert not {"spike", "rate_factor", "skipped"} & set(metrics)


def altered(tree, device: int, bit: int):
    """The tree with one bit of one leaf changed on one device."""
    leaves, structure = jax.tree.flatten(tree)
    leaf = leaves[-1]
    parts = [np.array(shard.data) for shard in leaf.addressable_shards]
    parts[device].view(np.uint32).reshape(-1)[0] ^= 1 << bit
    placed = [jax.device_put(part, shard.device) for part, shard in zip(parts, leaf.addressable_shards, strict=True)]
    leaves[-1] = jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, placed)
    return jax.tree.unflatten(structure, leaves)


@pytest.mark.multidevice
def test_one_bit_on_one_device_is_found():
    tree = {"a": jnp.ones((3, 4)), "b": jnp.arange(5), "c": jnp.zeros(7, jnp.bfloat16), "d": jnp.full(6, -0.25)}
    for count in (2, 4):
        placed = replicate(tree, jax.local_devices()[:count])
        assert replica_difference(placed) == 0
        for bit in (0, 17, 31):
            assert replica_difference(altered(placed, count - 1, bit)) == 1
    assert replica_difference(replicate(tree, jax.local_devices()[:1])) == 0


def test_checksum_sees_order_and_sign_of_zero():
    def of(*values):
        return int(checksum([jnp.array(values)]))

    assert len({of(1.0, 2.0), of(2.0, 1.0), of(0.0, 0.0), of(-0.0, 0.0), of(0.0, -0.0)}) == 5


@pytest.mark.multidevice
def test_diverged_replicas_end_training_and_nothing_is_saved(tmp_path):
    """The parameters of one of two devices are altered between two evaluations."""
    experiment = tiny.experiment(tmp_path, schedule=Schedule(batch_size=16, epochs=3, eval_every=1))
    experiment = dataclasses.replace(experiment, parallel=dataclasses.replace(experiment.parallel, devices=2))
    session = build_session(experiment, tiny.dataset())
    run = create(experiment)
    position = locate(session, run)
    inner = session.train_step

    def train_step(state, batch, signum=0):
        if int(state.step) == 4:
            state = dataclasses.replace(state, params=altered(state.params, 1, 20))
        return inner(state, batch)

    tracker = Recording(run.path, resume_step=None)
    with pytest.raises(DivergenceError, match=r"1 device\(s\) hold other parameters.* checkpoint of step 3"):
        fit(dataclasses.replace(session, train_step=train_step), position, evaluate, tracker)
    logged = {line["step"]: line["train/replica_difference"] for line in read(run.path) if len(line) == 4}
    assert logged == {3: 0.0, 6: 1.0}
    assert locate(session, run).step == 3


def test_constancy_is_one_for_blind_heads_and_small_for_seeing_ones():
    """Witness: the share of the rows' power that their mean over images and queries carries, in NumPy."""
    rng = np.random.default_rng(0)
    blind = np.broadcast_to(rng.dirichlet(np.ones(9)), (1, 5, 1, 9, 9))
    seeing = np.eye(9)[rng.integers(0, 9, (1, 5, 1, 9))]
    attention = np.concatenate([blind, seeing], axis=2).astype(np.float32)
    actual = statistics.constancy(*statistics.row_moments(jnp.asarray(attention)))
    rows = attention[0].transpose(1, 0, 2, 3).reshape(2, -1, 9)
    expected = np.square(rows.mean(1)).sum(-1) / np.square(rows).sum(-1).mean(-1)
    np.testing.assert_allclose(actual[0], expected, rtol=1e-5)
    assert actual[0, 0] == pytest.approx(1.0, abs=1e-5) and actual[0, 1] < 0.4


def silenced(variables, heads: int):
    """The model's variables with the queries of its first heads at zero: their attention is uniform."""
    variables = jax.tree.map(np.array, variables)
    for block in ("block_0", "block_1"):
        qkv = variables["params"][block]["attention"]["qkv"]
        qkv["kernel"][..., 0, :heads, :] = 0.0
        qkv["bias"][..., 0, :heads, :] = 0.0
    return variables


@pytest.mark.multidevice
def test_dead_heads_and_collapse_are_counted_on_any_number_of_devices():
    data = tiny.dataset()
    session = build_session(tiny.experiment(), data)
    variables = jax.tree.map(lambda p: 8 * p, session.initial_state().variables)
    for count in (1, 2):
        check = make_head_check(session.model, jax.local_devices()[:count], 2)
        shares = []
        for heads in (0, 1, 2):
            values = check(silenced(variables, heads), data.splits["validation"])
            shares.append((values["checks/dead_heads"], values["checks/collapsed_heads"]))
        assert shares == [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]
    assert values["checks/lowest_entropy"] == pytest.approx(np.log(17), rel=1e-3)
    assert set(judge_heads(values, 0.5)) == {"Dead heads", "Attention collapse"}
    assert judge_heads(values, 0.1) == {}
