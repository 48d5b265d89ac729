"""Properties of explanation methods, on models with and without a class token."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.errors import ConfigError
from spermjax.interpret import explain
from spermjax.interpret.capture import capture_with_gradients
from spermjax.interpret.grid import class_row, to_grid
from spermjax.interpret.methods import METHODS
from spermjax.interpret.methods.attention import fuse_heads
from spermjax.interpret.methods.integrated_gradients import attributions, quadrature
from spermjax.interpret.model import FunctionModel
from spermjax.interpret.suite import applicable
from tests.interpret.support import Foreign, close_to_maximum

TARGETS = np.array([0, 1, 2, 0, 1], np.int32)


FEWER = {
    "integrated_gradients": {"steps": 4},
    "smooth_grad": {"samples": 4},
    "rise": {"masks": 6},
    "kernel_shap": {"coalitions": 40},
    "token_rise": {"masks": 6},
    "token_kernel_shap": {"coalitions": 40},
    "occlusion": {"window_px": 8},
}
ALL = tuple(
    method.using(method.name, **FEWER.get(method.name, {})) for method in applicable(Foreign(), tuple(METHODS))[0]
)


@functools.partial(jax.jit, static_argnums=0, static_argnames=("methods",))
def native(model, variables, images, targets, methods):
    """Several methods at their own resolution, compiled once."""
    return {method: METHODS[method].native(model, variables, images, targets) for method in methods}


@pytest.mark.slow
def test_a_map_is_finite_and_the_same_in_any_batch(cells):
    model = Foreign(prefix=3)
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}
    together = explain(model, variables, cells, TARGETS, methods=ALL, chunk=5)
    apart = explain(model, variables, cells, TARGETS, methods=ALL, chunk=2)
    for method, maps in together.items():
        defined = cells.has_parts if "parts" in METHODS[method].needs else np.ones(5, bool)
        assert maps.shape == cells.image.shape[:3], method
        np.testing.assert_array_equal(np.isfinite(maps).all((1, 2)), defined, err_msg=method)
        # Layer-wise relevance divides by products that may be nearly zero.
        tolerance = 2e-2 if method.startswith(("chefer2021a", "lrp")) else 1e-3
        close_to_maximum(apart[method][defined], maps[defined], tolerance)


def test_models_that_average_patches_are_served(cells):
    model = Foreign(prefix=0, reads="mean")
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}
    methods = ("raw_attention", "chefer2021a", "legrad", "attn_lrp", "ablation_cam")
    for method, maps in native(model, variables, cells.image, TARGETS, methods=methods).items():
        assert np.isfinite(maps).all(), method
        assert np.ptp(maps) > 0, method


def test_products_of_matrices(foreign, cells):
    """Witness: NumPy's full matrix products, of which the methods carry one row."""
    model, variables = foreign
    spec = model.attention_spec(cells.image.shape[1:3])
    captured, gradients = jax.jit(lambda v, x, t: capture_with_gradients(model, v, x, t))(
        variables, cells.image, TARGETS
    )
    attention, gradient = np.asarray(captured.attention), np.asarray(gradients.attention)
    identity = np.eye(attention.shape[-1])
    rollout, relevance = identity, identity
    for layer, slope in zip(attention, gradient, strict=True):
        fused = layer.mean(1) + identity
        rollout = fused / fused.sum(-1, keepdims=True) @ rollout
        relevance = relevance + np.maximum(layer * slope, 0).mean(1) @ relevance
    actual = native(model, variables, cells.image, TARGETS, methods=("rollout", "chefer2021b"))
    close_to_maximum(actual["rollout"], to_grid(class_row(rollout, spec), spec))
    close_to_maximum(actual["chefer2021b"], to_grid(class_row(relevance, spec), spec))


def test_a_model_without_positions_moves_its_map_with_the_patches(cells):
    model = Foreign(positions=False)
    variables = {"params": jax.jit(model.init)(jax.random.key(3), cells.image)["params"]}
    methods = ("raw_attention", "rollout", "chefer2021b", "gradient_rollout", "grad_cam")
    maps = native(model, variables, cells.image, TARGETS, methods=methods)
    moved = native(model, variables, np.roll(cells.image, 4, axis=2), TARGETS, methods=methods)
    for method in methods:
        close_to_maximum(moved[method], np.roll(maps[method], 1, axis=2), 1e-4)


@pytest.mark.slow
def test_only_class_specific_methods_follow_the_target(cells):
    model = Foreign(prefix=3)
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}
    one, other = (
        explain(model, variables, cells, targets, methods=ALL, chunk=5) for targets in (TARGETS, (TARGETS + 1) % 3)
    )
    for method in ALL:
        name = method.name
        assert np.allclose(one[name], other[name], equal_nan=True) != method.class_specific, name


def test_fusions_are_ordered_and_one_head_is_itself():
    attention = jax.nn.softmax(jax.random.normal(jax.random.key(0), (2, 3, 4, 4)))
    least, mean, most = (fuse_heads(attention, fusion) for fusion in ("min", "mean", "max"))
    assert (least <= mean + 1e-6).all()
    assert (mean <= most + 1e-6).all()
    np.testing.assert_array_equal(fuse_heads(attention, 1), attention[:, 1])


def test_discarding_everything_but_the_residual_leaves_no_patch(cells):
    model = Foreign()
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}
    bare = METHODS["rollout"].using("bare", discard_ratio=1.0)
    np.testing.assert_array_equal(explain(model, variables, cells, TARGETS, methods=(bare,))["bare"], 0.0)


def test_grad_cam_refuses_tokens_that_reach_no_logit(cells):
    model = Foreign()
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}
    with pytest.raises(ConfigError, match="Use feature 'norm1'"):
        jax.eval_shape(lambda: METHODS["grad_cam"].native(model, variables, cells.image, TARGETS, feature="output"))


def test_integrated_gradients_are_complete(foreign, cells):
    model, variables = foreign
    maps, gap = jax.jit(lambda v, x, t: attributions(model, v, x, t, steps=64, chunk=20))(
        variables, cells.image, TARGETS
    )
    rise = model.apply(variables, cells.image) - model.apply(variables, np.full_like(cells.image, 0.5))
    np.testing.assert_allclose(gap, 0.0, atol=2e-3)
    np.testing.assert_allclose(maps.sum((1, 2, 3)), rise[np.arange(5), TARGETS] + gap, atol=1e-5)


@pytest.mark.parametrize("rule", ["gauss_legendre", "trapezoid", "middle", "left", "right"])
def test_a_linear_function_is_attributed_exactly(rule, cells):
    """For a linear score, attribution is weight times distance from the baseline, whatever the rule."""
    weights = jax.random.normal(jax.random.key(0), (*cells.image.shape[1:], 3))
    model = FunctionModel(lambda images: jnp.einsum("bhwc,hwco->bo", images, weights))
    baseline = jnp.linspace(0, 1, 16)[None, :, None, None]
    run = jax.jit(lambda x, t: attributions(model, {}, x, t, rule=rule, steps=7, baseline=baseline, chunk=10))
    maps, gap = run(cells.image, TARGETS)
    expected = (cells.image - baseline) * jnp.moveaxis(weights, 3, 0)[TARGETS]
    close_to_maximum(maps, expected)
    np.testing.assert_allclose(gap, 0.0, atol=1e-3)


def test_quadratures_integrate_what_they_promise():
    """Weights sum to one; n Gauss-Legendre nodes are exact for polynomials of degree 2n - 1."""
    for rule in ("gauss_legendre", "trapezoid", "middle", "left", "right"):
        assert quadrature(rule, 5)[1].sum() == pytest.approx(1.0)
    nodes, weights = quadrature("gauss_legendre", 5)
    assert (weights * nodes**9).sum() == pytest.approx(1 / 10, rel=1e-12)
    with pytest.raises(ConfigError, match="trapezoid"):
        quadrature("trapezoid", 1)
    with pytest.raises(ConfigError, match="gauss_legendre"):
        quadrature("gauss_legendr", 5)


def test_options_make_another_method(cells):
    model = Foreign()
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}
    second = METHODS["raw_attention"].using("first_head", layer=0, fusion=0)
    maps = explain(model, variables, cells, TARGETS, methods=("raw_attention", second))
    assert not np.allclose(maps["first_head"], maps["raw_attention"])
