"""Guidance losses agree with independent values, and ask for what was configured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.config import Guidance
from spermjax.data.batch import Batch
from spermjax.data.task import Task
from spermjax.errors import ConfigError
from spermjax.interpret.capture import capture
from spermjax.interpret.grid import class_row, reader_row
from spermjax.interpret.model import attention_spec
from spermjax.models.attention.contract import ATTENTION, AttentionSpec
from spermjax.parts import PARTS
from spermjax.train.attention_losses import LOSSES
from spermjax.train.guidance import deciding_table, guidance_loss, guidance_weight, target_parts
from tests.interpret.support import close_to_maximum
from tests.models.golden import images, model_and_variables

GOLDEN_LOSSES = {
    "kl": "kl",
    "reverse_kl": "rev_kl",
    "cross_entropy": "ce",
    "mse": "mse",
    "scaled_mse": "mse_max",
    "scaled_bce": "bce_max",
    "dice": "dice",
    "untouched_mass": "outside_mass",
    "outside_mass": "outside_mass_soft",
    "log_inside_mass": "neglog_inside",
    "cosine": "cosine",
}
GOLDEN_MASKS = {"head": "mask_head", "vacuole": "mask_vacuole", "diagnostic_by_class": "mask_diag"}

TASK = Task("single_label", ("normal", "vacuolated"), {"vacuolated": ("vacuole",)})
GOLDEN_NAMES = {"kl": "kl", "outside_mass": "outside_mass_soft", "log_inside_mass": "neglog_inside"}


@pytest.mark.golden
@pytest.mark.parametrize("mask", GOLDEN_MASKS)
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_attention_losses(assets, name, mask):
    """Witness: PyTorch autograd in double precision, through `golden/`; the mean over examples that show the part."""
    data = assets / "golden" / "data"
    golden, forward = np.load(data / "losses_cls.npz"), np.load(data / "forward_cls.npz")
    coverage = jnp.asarray(golden[GOLDEN_MASKS[mask]], jnp.float32)
    attention = jnp.asarray(forward["attn"][-1].mean(1)[:, 0], jnp.float32)
    prefix, heads = int(forward["num_prefix_tokens"]), forward["attn"].shape[2]
    shown = coverage.sum(-1) > 0

    def loss(tokens):
        row = tokens[:, prefix:]
        # What the reference scales by its maximum was not normalised before; only its epsilon can tell.
        row = row if name.startswith("scaled") else row / row.sum(-1, keepdims=True)
        return LOSSES[name](row, coverage).mean(where=shown)

    value, gradient = jax.value_and_grad(loss)(attention)
    key = f"attn_last_mean/{mask}/{GOLDEN_LOSSES[name]}"
    np.testing.assert_allclose(value, golden[f"{key}/value"], rtol=1e-4)
    # Golden gradients are with respect to one head's row, of which the map is the mean.
    expected = golden[f"{key}/grad_attn_last"] * heads
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.golden
def test_attention_losses_reach_the_weights(assets):
    """Witness: PyTorch, through `golden/`: the gradient of each loss by the last layer's queries, keys and values."""
    golden, data = assets / "golden", np.load(assets / "golden" / "data" / "losses_cls.npz")
    model, variables = model_and_variables(golden, "cls")
    x = images(golden)
    last = f"block_{model.depth - 1}"
    spec = attention_spec(model, x)
    attention = capture(model, variables, x, (ATTENTION,)).attention[-1].mean(axis=1)
    close_to_maximum(reader_row(attention, spec), data["cls_attn_last_mean_heads(B,17)"])

    def every_loss(kernel):
        blocks = dict(variables["params"])
        blocks[last] = {**blocks[last], "attention": {**blocks[last]["attention"], "qkv": kernel}}
        attention = capture(model, {"params": blocks}, x, (ATTENTION,)).attention[-1]
        row = class_row(attention.mean(axis=1), spec)
        share = row / row.sum(axis=-1, keepdims=True)
        return {
            f"attn_last_mean/{mask}/{key}": LOSSES[name](
                row if name.startswith("scaled") else share, jnp.asarray(data[GOLDEN_MASKS[mask]], jnp.float32)
            ).mean(where=data[GOLDEN_MASKS[mask]].sum(-1) > 0)
            for name, key in GOLDEN_LOSSES.items()
            for mask in GOLDEN_MASKS
        }

    slopes = jax.jit(jax.jacrev(every_loss))(variables["params"][last]["attention"]["qkv"])
    for key, slope in slopes.items():
        norm = np.linalg.norm(slope["kernel"])
        np.testing.assert_allclose(norm, data[f"{key}/grad_qkv_last_norm"], rtol=1e-3, err_msg=key)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_attention_on_the_part_costs_less_than_attention_off_it(name):
    coverage = jnp.array([0.0, 0.9, 0.6, 0.0])
    on, off = jnp.array([0.05, 0.55, 0.35, 0.05]), jnp.array([0.45, 0.05, 0.05, 0.45])
    assert LOSSES[name](on, coverage) < LOSSES[name](off, coverage)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("coverage", [[0.0, 0.9, 0.6, 0.0], [0.0, 0.0, 0.0, 0.0]])
def test_gradients_stay_finite_where_attention_or_part_are_empty(name, coverage):
    """An example without the part is left out by a product with zero, which NaN would survive."""
    gradient = jax.grad(lambda row: LOSSES[name](row, jnp.array(coverage)))(jnp.array([1.0, 0.0, 0.0, 0.0]))
    assert np.isfinite(gradient).all()


@pytest.mark.golden
@pytest.mark.parametrize("name", sorted(GOLDEN_NAMES))
@pytest.mark.parametrize("part", ["head", "vacuole"])
def test_losses_and_gradients(assets, name, part):
    """Witness: PyTorch autograd, through `golden/`: the mean over examples that show the part."""
    data = assets / "golden" / "data"
    golden, forward, batch = (np.load(data / f"{file}.npz") for file in ("losses_cls", "forward_cls", "batch"))
    masks = dict(zip(batch["part_names"], batch["part_masks"].transpose(1, 0, 2, 3).astype(bool), strict=True))
    prefix = int(forward["num_prefix_tokens"])
    attention = jnp.asarray(forward["attn"][-1:], jnp.float32)
    side = int((attention.shape[-1] - prefix) ** 0.5)
    parts = np.zeros((*masks[part].shape, len(PARTS)), bool)
    parts[..., 0] = masks[part]
    examples = Batch(
        image=jnp.zeros((*masks[part].shape, 3)),
        parts=jnp.asarray(parts),
        has_parts=jnp.ones(len(parts), bool),
        label=jnp.zeros(len(parts), jnp.int32),
        weight=jnp.ones(len(parts)),
        index=jnp.arange(len(parts)),
    )
    wanted = jnp.tile(jnp.arange(len(PARTS)) == 0, (len(parts), 1))
    spec = AttentionSpec(prefix=prefix, grid=(side, side))

    def loss(row):
        # One map, as if there were one head: the golden losses are of the mean over heads.
        fused = attention.mean(2, keepdims=True).at[0, :, 0, 0].set(row)
        values, defined = guidance_loss(Guidance(loss=name), fused, spec, examples, wanted)
        return values.sum() / defined.sum()

    key = f"attn_last_mean/{part}/{GOLDEN_NAMES[name]}"
    value, gradient = jax.value_and_grad(loss)(attention[0].mean(1)[:, 0])
    np.testing.assert_allclose(value, golden[f"{key}/value"], rtol=1e-4)
    # Golden gradients are with respect to one head's row, of which the map is the mean.
    expected = golden[f"{key}/grad_attn_last"] * attention.shape[2]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_part_queries_are_guided_each_to_its_own_part_where_it_is_on_the_image():
    """Witness: NumPy on each row by itself; one cell with two parts on it, one with one, one without masks."""
    rng = np.random.default_rng(0)
    spec, size = AttentionSpec(prefix=len(PARTS), grid=(4, 4), class_tokens=len(PARTS)), 8
    parts = np.zeros((3, size, size, len(PARTS)), bool)
    parts[0, :4, :4, PARTS.index("acrosome")] = parts[0, 4:, 2:6, PARTS.index("tail")] = True
    parts[1, 1:3, 5:, PARTS.index("nucleus")] = parts[2, :, :, 0] = True
    attention = rng.dirichlet(np.ones(spec.prefix + 16), (2, 3, 2, spec.prefix + 16))
    batch = Batch(
        image=jnp.zeros((3, size, size, 3)),
        parts=jnp.asarray(parts),
        has_parts=jnp.array([True, True, False]),
        label=jnp.zeros(3, jnp.int32),
        weight=jnp.ones(3),
        index=jnp.arange(3),
    )
    guidance = Guidance(source="part_query", loss="outside_mass", heads=(1,))
    found, defined = guidance_loss(guidance, jnp.asarray(attention), spec, batch, jnp.zeros((3, len(PARTS)), bool))
    expected = np.zeros(3)
    for cell, part in ((0, "acrosome"), (0, "tail"), (1, "nucleus")):
        row = attention[-1, cell, 1, PARTS.index(part), spec.prefix :]
        share = parts[cell, :, :, PARTS.index(part)].reshape(4, 2, 4, 2).mean((1, 3)).reshape(16)
        expected[cell] += 1 - (row / row.sum()) @ share
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(defined, [2, 1, 0])


def test_table_takes_the_task_or_the_configuration():
    vacuole, head = PARTS.index("vacuole"), [PARTS.index(p) for p in ("acrosome", "nucleus", "vacuole")]
    assert np.flatnonzero(deciding_table(TASK, Guidance())[1]) == [vacuole]
    table = deciding_table(TASK, Guidance(parts=("normal=head+tail",)))
    assert set(np.flatnonzero(table[0])) == {*head, PARTS.index("tail")}
    assert not table[1].any()


@pytest.mark.parametrize(
    ("entry", "message"),
    [("vacuolated", "form name=part"), ("vacuolate=vacuole", "'vacuolated'"), ("normal=vacuol", "'vacuole'")],
)
def test_bad_parts_are_named_with_the_nearest(entry, message):
    with pytest.raises(ConfigError, match=message):
        deciding_table(TASK, Guidance(parts=(entry,)))


def test_attributes_ask_for_the_parts_of_what_is_abnormal():
    task = Task("multi_attribute", ("x", "y"), {"x": ("tail",), "y": ("nucleus",)})
    wanted = target_parts(task, jnp.array([[1, 0], [1, 1], [0, -1]]), jnp.asarray(deciding_table(task, Guidance())))
    names = [{PARTS[i] for i in np.flatnonzero(row)} for row in wanted]
    assert names == [{"tail"}, {"tail", "nucleus"}, set()]


def test_weight_rises_and_stops():
    guidance = Guidance(weight=2.0, warmup=0.5, stop=0.75)
    values = [float(guidance_weight(guidance, jnp.array(step), 100)) for step in (0, 25, 50, 74, 75, 99)]
    np.testing.assert_allclose(values, [0.0, 1.0, 2.0, 2.0, 0.0, 0.0])
