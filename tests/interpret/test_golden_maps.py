"""Witness: PyTorch with timm, captum, pytorch-grad-cam and Chefer's code, through the numbers in `golden/`."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.capture import capture_with_gradients
from spermjax.interpret.methods import METHODS
from spermjax.interpret.methods.attention import discard_lowest, fuse_heads, rollout_map
from spermjax.interpret.methods.attention_flow import flow_to_tokens
from spermjax.interpret.methods.gradient_attention import chefer2021b_all_classes
from spermjax.interpret.methods.gradients import mean_gradient, pixel_gradient
from spermjax.interpret.methods.integrated_gradients import along_path, quadrature
from spermjax.interpret.methods.legrad import legrad_layers
from spermjax.interpret.methods.part_shapley import PLAYERS, coalition_values, part_values, player_map
from spermjax.interpret.methods.propagate import add_identity
from spermjax.interpret.metrics import attention as statistics
from spermjax.interpret.model import probability
from spermjax.parts import PARTS
from tests.interpret.support import close_to_maximum
from tests.models.golden import NAMES

pytestmark = pytest.mark.golden


@functools.partial(jax.jit, static_argnames=("model", "method", "options"))
def _natives(model, method, options, variables, images, targets):
    return [METHODS[method].native(model, variables, images, targets, **dict(each)) for each in options]


def natives(golden, method, options, targets=None):
    """The method's maps with each of several options, in one program."""
    options = tuple(tuple(each.items()) for each in options)
    targets = golden.targets if targets is None else targets
    return _natives(golden.model, method, options, golden.variables, golden.images, targets)


def native(golden, method, targets=None, **options):
    return natives(golden, method, [options], targets)[0]


@pytest.mark.parametrize("name", NAMES)
def test_attention_and_its_gradients_in_one_pass(golden, name):
    model = golden(name)
    captured, gradients = jax.jit(lambda v, x, t: capture_with_gradients(model.model, v, x, t))(
        model.variables, model.images, model.targets
    )
    assert model.model.attention_spec(model.images.shape[1:3]).prefix == model.forward["num_prefix_tokens"]
    close_to_maximum(captured.logits, model.forward["logits"])
    every = range(captured.logits.shape[1])
    of_classes = [probability(captured.logits, jnp.full(len(captured.logits), target)) for target in every]
    close_to_maximum(np.stack(of_classes, axis=1), model.forward["probs"])
    close_to_maximum(captured.attention, model.forward["attn"])
    close_to_maximum(captured.features("output"), model.forward["block_out"])
    close_to_maximum(gradients.attention, model.forward["attn_grad"])


@pytest.mark.parametrize("name", NAMES)
def test_raw_attention(golden, name):
    model = golden(name)
    expected = dict(enumerate(np.moveaxis(model.maps["own:raw_last_cls_heads"], 1, 0)))
    expected["mean"] = model.maps["own:raw_last_cls_mean"]
    greatest = model.maps["own:raw_last_cls_max"]
    if name != "gap":
        expected["max"] = greatest
    actual = natives(model, "raw_attention", [{"fusion": fusion} for fusion in expected])
    for ours, reference in zip(actual, expected.values(), strict=True):
        close_to_maximum(ours, reference)
    # Of patch rows the reference takes the maximum over heads after their mean, we before it.
    heads = model.forward["attn"].shape[2]
    close_to_maximum(np.max(actual[:heads], axis=0), greatest)


@pytest.mark.parametrize("name", ["cls", "rand"])
def test_rollout_with_normalised_rows(golden, name):
    model = golden(name)
    spec = model.model.attention_spec(model.images.shape[1:3])
    attention = jnp.asarray(model.forward["attn"])
    keys = [key for key in model.maps if key.startswith("own:rollout_rownorm_")]
    assert keys
    of_keys = [re.fullmatch(r"own:rollout_rownorm_(\w+)_dr([\d.]+)", key).groups() for key in keys]
    options = [{"fusion": fusion, "discard_ratio": float(ratio)} for fusion, ratio in of_keys]
    for key, actual in zip(keys, natives(model, "rollout", options), strict=True):
        close_to_maximum(actual, model.maps[key])
    for start in (0, 1):
        expected = model.maps[f"ref:chefer_repo_rollout_start{start}"]
        close_to_maximum(rollout_map(attention, spec, start_layer=start), expected)
    every = [add_identity(fuse_heads(layer, "mean"), normalise=True) for layer in attention]
    tokens = functools.reduce(lambda below, layer: layer @ below, every)[:, 0]
    expected = model.maps["ref:abnar_rollout_17tok_img0-1"]
    close_to_maximum(tokens[: len(expected)], expected)


@pytest.mark.parametrize("name", ["cls", "rand"])
def test_rollout_of_vit_explain(golden, name):
    """What it does otherwise is here alone: columns divided by sums of rows, then division by the maximum."""
    model = golden(name)
    spec = model.model.attention_spec(model.images.shape[1:3])
    attention, gradients = (jnp.asarray(model.forward[key]) for key in ("attn", "attn_grad"))

    def rolled(fused):
        with_residual = np.asarray(fused + jnp.eye(fused.shape[-1])) / 2
        divided = with_residual / with_residual.sum(axis=-1)[..., None, :]
        rows = functools.reduce(lambda below, layer: layer @ below, divided)[:, 0, spec.prefix :]
        with np.errstate(invalid="ignore"):
            return (rows / rows.max(axis=1, keepdims=True)).reshape(-1, *spec.grid)

    keys = [key for key in model.maps if key.startswith("ref:vit_explain_rollout_")]
    assert keys
    for key in keys:
        fusion, ratio = re.fullmatch(r"ref:vit_explain_rollout_(\w+)_dr([\d.]+)", key).groups()
        fused = discard_lowest(fuse_heads(attention, fusion), float(ratio), spec)
        defined = np.isfinite(model.maps[key]).all(axis=(1, 2))
        close_to_maximum(rolled(fused)[defined], model.maps[key][defined])

    # Its gradients are of the scores before the softmax, and the last layer's come first.
    of_scores = attention * (gradients - (attention * gradients).sum(axis=-1, keepdims=True))
    weighted = jax.nn.relu(fuse_heads(attention * of_scores[::-1], "mean"))
    nothing_spared = dataclasses.replace(spec, reads="mean")
    for ratio in (0.0, 0.9):
        fused = discard_lowest(weighted, ratio, nothing_spared)
        close_to_maximum(rolled(fused), model.maps[f"ref:vit_explain_gradrollout_asis_dr{ratio}"])


@pytest.mark.parametrize("name", ["cls", "rand", "reg"])
def test_keys_that_hold_most_of_the_attention(golden, name):
    """DINO's picture of raw attention: the fewest patches that hold more than .6 of a head's class row."""
    model = golden(name)
    masks = model.maps["ref:dino_threshold0.6_mask"]
    heads = natives(model, "raw_attention", [{"fusion": head} for head in range(masks.shape[1])])
    for head, maps in enumerate(heads):
        rows = np.asarray(maps).reshape(len(maps), -1)
        ascending = np.sort(rows, axis=1)
        held = ascending.cumsum(axis=1) / ascending.sum(axis=1, keepdims=True)
        least = np.where(held > 1 - 0.6, ascending, np.inf).min(axis=1)
        np.testing.assert_array_equal((rows >= least[:, None]).reshape(maps.shape), masks[:, head])


@pytest.mark.parametrize("name", NAMES)
def test_chefer2021b(golden, name):
    model = golden(name)
    close_to_maximum(native(model, "chefer2021b"), model.maps["own:chefer2021b"])
    if "ref:chefer2021b_notebook" in model.maps:
        close_to_maximum(native(model, "chefer2021b"), model.maps["ref:chefer2021b_notebook"])
    if "own:chefer2021b_all_classes" in model.maps:
        expected = model.maps["own:chefer2021b_all_classes"]
        for target in range(expected.shape[1]):
            close_to_maximum(native(model, "chefer2021b", np.full(len(expected), target)), expected[:, target])


@pytest.mark.parametrize("name", ["cls", "rand"])
def test_gradient_rollout(golden, name):
    model = golden(name)
    close_to_maximum(native(model, "gradient_rollout"), model.maps["own:gradrollout_fixed_dr0.0"])


@pytest.mark.parametrize("name", NAMES)
def test_all_classes_at_once(golden, name):
    model = golden(name)
    every = jax.jit(lambda v, x: chefer2021b_all_classes(model.model, v, x))(model.variables, model.images)
    if "own:chefer2021b_all_classes" in model.maps:
        close_to_maximum(every, model.maps["own:chefer2021b_all_classes"])
    of_targets = np.take_along_axis(np.asarray(every), model.targets[:, None, None, None], axis=1)[:, 0]
    close_to_maximum(of_targets, model.maps["own:chefer2021b"])


@pytest.mark.parametrize("name", ["cls", "rand"])
def test_attention_grad_cam(golden, name):
    """The reference stretches each map to [0, 1]."""
    model = golden(name)
    actual = native(model, "attention_grad_cam")
    low, high = (f(actual, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    expected = model.maps["ref:chefer_repo_gradcam_attn"]
    known = np.isfinite(expected).all(axis=(1, 2))
    assert known.any()
    np.testing.assert_allclose(((actual - low) / (high - low))[known], expected[known], atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_legrad(golden, name):
    model = golden(name)
    maps = jax.jit(lambda v, x, t: legrad_layers(model.model, v, x, t))(model.variables, model.images, model.targets)
    for layer, actual in enumerate(maps):
        close_to_maximum(actual, model.maps[f"own:legrad_layer{layer}"])
    close_to_maximum(maps.mean(axis=0), model.maps["own:legrad_all"])


@pytest.mark.parametrize("name", ["cls", "rand"])
def test_attention_flow(golden, name):
    """Witness: the maximum flow of networkx, by Edmonds and Karp."""
    model = golden(name)
    expected = model.maps["ref:attention_flow_normalised_17tok_img0-1"]
    actual = np.asarray(flow_to_tokens(model.model, model.variables, model.images[: len(expected)]))
    close_to_maximum(actual / actual.sum(axis=1, keepdims=True), expected)


@pytest.mark.parametrize("name", ["cls", "rand"])
def test_pixel_gradients(golden, golden_data, name):
    """The reference's input is (image - 0.5) / 0.5, so its gradient is half of ours."""
    model, pixel_maps = golden(name), golden_data("pixelmaps.npz")
    expected = np.moveaxis(pixel_maps[f"{name}/ref:saliency_signed_grad"], 1, 3)
    run = jax.jit(lambda v, x, t: pixel_gradient(model.model, v, x, t))
    close_to_maximum(run(model.variables, model.images, model.targets) / 2, expected)
    close_to_maximum(native(model, "saliency") / 2, np.abs(expected).max(axis=-1))
    close_to_maximum(native(model, "input_x_gradient"), pixel_maps[f"{name}/ref:input_x_grad_chansum"])


def test_smooth_grad(golden, golden_data):
    model, pixel_maps = golden("cls"), golden_data("pixelmaps.npz")
    draws = np.moveaxis(pixel_maps["smoothgrad_noise_z"].astype(np.float32), 2, 4)
    count = draws.shape[1]
    noise = jnp.asarray(draws * pixel_maps["smoothgrad_sigma"][:, None, None, None] / 2, jnp.float32)
    run = jax.jit(lambda v, x, t: mean_gradient(model.model, v, x, t, lambda sample: noise[sample], len(noise), 6))
    actual = run(model.variables, model.images[:count], model.targets[:count]) / 2
    close_to_maximum(actual, np.moveaxis(pixel_maps["cls/ref:smoothgrad8_signed_img0-1"], 1, 3))


@pytest.mark.parametrize("name", ["cls", "rand"])
def test_occlusion(golden, golden_data, name):
    model = golden(name)
    side = model.model.patch_size
    apart = native(model, "occlusion", window_px=side, stride_px=side)
    close_to_maximum(apart[:, ::side, ::side], model.maps["ref:occlusion_8_8"])
    overlapping = native(model, "occlusion", window_px=side, stride_px=side // 2)
    close_to_maximum(overlapping, golden_data("pixelmaps.npz")[f"{name}/ref:occlusion_8_4"])


@pytest.mark.parametrize("name", ["cls", "rand"])
def test_integrated_gradients(golden, golden_data, name):
    """Captum's trapezoid weights sum to 49/50; ours sum to one, so its values are scaled."""
    model, pixel_maps = golden(name), golden_data("pixelmaps.npz")
    run = jax.jit(lambda v, x, t, nodes, weights: along_path(model.model, v, x, t, nodes, weights, chunk=60))

    def explained(rule):
        return run(model.variables, model.images, model.targets, *map(jnp.float32, quadrature(rule, 50)))

    maps, gap = explained("gauss_legendre")
    close_to_maximum(maps, np.moveaxis(pixel_maps[f"{name}/ref:ig_gausslegendre_50"], 1, 3))
    if name == "cls":
        signed = golden_data("faithfulness_cls.npz")["ig_signed"]
        close_to_maximum(native(model, "integrated_gradients"), signed)
    np.testing.assert_allclose(gap, pixel_maps[f"{name}/ref:ig_gausslegendre_50_delta"], atol=2e-5)
    for rule, scale in (("trapezoid", 50 / 49), ("middle", 1.0), ("right", 1.0)):
        maps, gap = explained(rule)
        close_to_maximum(maps.sum(-1), scale * pixel_maps[f"{name}/ref:ig_riemann_{rule}_50_chansum"])
        total = maps.sum(axis=(1, 2, 3))
        delta = pixel_maps[f"{name}/ref:ig_riemann_{rule}_50_delta"]
        np.testing.assert_allclose(gap + (1 / scale - 1) * total, delta, atol=2e-5)


def test_gauss_legendre_nodes(golden_data):
    pixel_maps = golden_data("pixelmaps.npz")
    nodes, weights = quadrature("gauss_legendre", len(pixel_maps["ig_gausslegendre_alphas"]))
    np.testing.assert_allclose(nodes, pixel_maps["ig_gausslegendre_alphas"], atol=1e-6)
    np.testing.assert_allclose(weights, pixel_maps["ig_gausslegendre_weights"], atol=1e-6)


def golden_parts(golden_data):
    batch = golden_data("batch.npz")
    names = list(batch["part_names"])
    masks = batch["part_masks"].astype(bool)
    empty = np.zeros_like(masks[:, 0])
    return np.stack([masks[:, names.index(part)] if part in names else empty for part in PARTS], axis=-1)


def test_exact_part_shapley(golden, golden_data):
    model, pixel_maps, parts = golden("cls"), golden_data("pixelmaps.npz"), golden_parts(golden_data)
    players = list(pixel_maps["part_players"])
    assigned = np.array([PLAYERS.index(player) for player in players])[pixel_maps["part_label_map"]]
    np.testing.assert_array_equal(player_map(parts), assigned)
    expected = pixel_maps["cls/ref:part_shapley_exact"]
    actual = np.asarray(
        jax.jit(lambda v, x, t, p: part_values(model.model, v, x, t, parts=p))(
            model.variables, model.images, model.targets, parts
        )
    )
    known = np.isfinite(expected).all(axis=1)
    assert known.any()
    order = [PLAYERS.index(player) for player in players]
    close_to_maximum(actual[:, order][known], expected[known])

    values = np.asarray(
        jax.jit(lambda v, x, t, p: coalition_values(model.model, v, x, t, p))(
            model.variables, model.images, model.targets, player_map(parts)
        )
    )
    everyone = values.shape[1] - 1
    without = values[:, everyone - 2 ** np.array(order)]
    drops = pixel_maps["cls/ref:part_ablation_logit_drop"]
    shown = np.isfinite(drops)
    np.testing.assert_allclose((values[:, [everyone]] - without)[shown], drops[shown], atol=1e-5 * np.nanmax(drops))


@pytest.mark.parametrize("name", NAMES)
def test_attention_statistics(golden, golden_data, name):
    model, expected = golden(name), golden_data("attention_stats.npz")
    spec = model.model.attention_spec(model.images.shape[1:3])
    coverage = np.moveaxis(expected["patch_fraction(B,P,16)"], 1, 2)
    coverage = coverage.reshape(len(coverage), *spec.grid, -1)

    @jax.jit
    def measured(attention):
        return (
            statistics.entropy(attention),
            statistics.mean_distance(attention, spec) * model.model.patch_size,
            statistics.class_row_entropy(attention, spec),
            statistics.prefix_mass(attention, spec),
            statistics.part_budget(attention, spec, jnp.asarray(coverage)),
        )

    keys = [
        "entropy_nats_all_queries(L,B,H)",
        "mean_distance_px_renorm(L,B,H)",
        "cls_entropy_nats_patches_renorm(L,B,H)",
        "cls_to_prefix_mass(L,B,H)",
        "part_budget_cls(L,B,H,P)",
    ]
    for key, actual in zip(keys, measured(model.forward["attn"]), strict=True):
        if f"{name}/{key}" in expected:
            close_to_maximum(actual, expected[f"{name}/{key}"])
