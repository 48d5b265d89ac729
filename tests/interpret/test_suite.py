"""The suite: one result in any batch, chunk or form, and errors that name the thing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax import parts as parts_lib
from spermjax.data.batch import PackedBatch
from spermjax.data.task import Task
from spermjax.errors import ConfigError
from spermjax.interpret import METHODS, FunctionModel, applicable, deciding_regions, evaluate, explain, measure
from spermjax.models.cnn.simple import SimpleCnn
from spermjax.parts import REGIONS
from tests.interpret.support import Foreign

TASK = Task("single_label", ("head", "vacuolated", "other"), {"head": ("head",), "vacuolated": ("vacuole",)})
METHODS_HERE = ("chefer2021b", "random", "part_shapley")
METRICS_HERE = ("pointing_game", "energy_pointing_game", "region_mass", "deletion", "entropy", "part_budget")
TARGETS = np.array([0, 1, 2, 1, 0], np.int32)


def test_one_jitted_batch_equals_chunks_from_the_host(cells):
    model = Foreign(prefix=3)
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}
    whole = jax.jit(
        lambda v, batch, targets: measure(
            model, v, batch, targets, methods=METHODS_HERE, metrics=METRICS_HERE, deciding=deciding_regions(TASK)
        )
    )(variables, cells, TARGETS)
    done = []
    chunked = evaluate(
        model,
        variables,
        cells,
        TARGETS,
        methods=METHODS_HERE,
        metrics=METRICS_HERE,
        task=TASK,
        chunk=2,
        on_chunk=done.append,
    )
    assert done == [2, 4, 5]
    assert whole.values.keys() == chunked.values.keys()
    for name, expected in {**whole.maps, **whole.values}.items():
        actual = chunked.maps.get(name, chunked.values.get(name))
        np.testing.assert_allclose(actual, expected, atol=2e-4, err_msg=name)
    values = chunked.values
    # Undefined: image 1 lacks the vacuole that decides, 2 has no known deciding part, 4 has no masks.
    np.testing.assert_array_equal(np.isnan(values["random/pointing_game"]), [False, True, True, False, True])
    np.testing.assert_array_equal(np.isnan(values["random/region_mass/background"]), [False] * 4 + [True])
    np.testing.assert_array_equal(np.isnan(values["attention/part_budget/vacuole"]), [False, True, False, False, True])
    np.testing.assert_array_equal(np.isnan(values["part_shapley/deletion"]), [False] * 4 + [True])
    assert np.isfinite(values["chefer2021b/deletion"]).all()
    assert np.isfinite(values["attention/entropy"]).all()


def test_maps_coarser_than_the_patches_of_faithfulness_are_measured(cells):
    """A feature map of 2 x 2 on images that are deleted in 8 x 8 patches."""
    model = SimpleCnn(num_outputs=3, channels=(4, 8), cbam="last")
    variables = jax.jit(model.init)(jax.random.key(0), cells.image)
    found = measure(
        model, variables, cells, TARGETS, methods=("grad_cam", "cbam_spatial"), metrics=("deletion_blur", "map_entropy")
    )
    assert found.maps["cbam_spatial"].shape == cells.image.shape[:3]
    assert found.values.keys() == {
        f"{method}/{metric}" for method in ("grad_cam", "cbam_spatial") for metric in ("deletion_blur", "map_entropy")
    }
    assert np.isfinite(found.values["cbam_spatial/deletion_blur"]).all()


def test_a_packed_batch_gives_the_same_maps(cells):
    pixels = np.round(cells.image * 255).astype(np.uint8)
    packed = PackedBatch(
        image=pixels,
        parts=parts_lib.pack(cells.parts),
        has_parts=cells.has_parts,
        label=cells.label,
        weight=cells.weight,
        index=np.arange(5),
    )
    model = FunctionModel(lambda images: images.mean((1, 2)))
    expected = explain(model, {}, pixels, 0, methods=("random", "integrated_gradients"))
    actual = explain(model, {}, packed, 0, methods=("random", "integrated_gradients"))
    for method, maps in expected.items():
        np.testing.assert_allclose(actual[method], maps, atol=1e-6)


def test_any_function_serves_methods_and_metrics_that_ask_no_more(cells):
    model = FunctionModel(lambda images: images[:, 2:6, 2:6].mean((1, 2)))
    methods, metrics = applicable(model, tuple(METHODS), has_parts=False)
    names = {method.name for method in methods}
    assert {"integrated_gradients", "edge_magnitude"} <= names
    assert not names & {"rollout", "grad_cam", "part_shapley"}
    result = evaluate(model, {}, cells.image, methods=methods, metrics=(*metrics, "deletion_mean"))
    assert np.isfinite(result.values["integrated_gradients/deletion_mean"]).all()
    with pytest.raises(ConfigError, match="FunctionModel has no attention_spec"):
        explain(model, {}, cells.image, methods=("rollout",))


def test_predicted_class_is_explained_by_default(foreign, cells):
    model, variables = foreign
    predicted = np.asarray(model.apply(variables, cells.image).argmax(1))
    expected = explain(model, variables, cells.image, predicted, methods=("chefer2021b",))
    actual = explain(model, variables, cells.image, methods=("chefer2021b",))
    np.testing.assert_array_equal(actual["chefer2021b"], expected["chefer2021b"])


def test_an_attribute_is_followed_by_its_own_sigmoid(cells):
    """Deletion of a score that ignores the image is the constant probability itself."""
    model = FunctionModel(lambda images: jnp.tile(jnp.array([0.3, -2.0]), (len(images), 1)))
    task = Task("multi_attribute", ("head", "tail"), {"tail": ("tail", "midpiece")})
    result = evaluate(model, {}, cells, 1, methods=("uniform",), metrics=("deletion_zero", "enrichment"), task=task)
    np.testing.assert_allclose(result.values["uniform/deletion_zero"], 1 / (1 + np.exp(2.0)), rtol=1e-5)
    np.testing.assert_allclose(result.values["uniform/enrichment"][:4], 1.0, rtol=1e-5)
    with pytest.raises(ConfigError, match="name the attribute"):
        evaluate(model, {}, cells, methods=("uniform",), metrics=(), task=task)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ("rolout",)}, "Did you mean 'rollout'"),
        ({"methods": (), "metrics": ("pointing",)}, "pointing_game"),
        ({"targets": 3}, "outputs 0 to 2"),
        ({"targets": np.zeros(2, int)}, "one for each of 5 images"),
        ({"images": np.zeros((5, 16, 16))}, "expected \\[examples, height, width, 3\\]"),
        ({"images": np.full((1, 8, 8, 3), 255.0)}, "floats in \\[0, 1\\]"),
        ({"images": np.zeros((0, 8, 8, 3))}, "no images"),
        ({"parts": np.zeros((5, 16, 16, 2), bool)}, "one channel per part"),
        ({"task": Task("single_label", ("a", "b", "c"), {"a": ("flagellum",)})}, "'flagellum'"),
    ],
)
def test_bad_input_is_named(cells, arguments, message):
    model = FunctionModel(lambda images: images.mean((1, 2)))
    with pytest.raises(ConfigError, match=message):
        evaluate(model, {}, **{"images": cells.image, "methods": ("uniform",), "metrics": (), **arguments})


def test_deciding_regions_follow_the_task():
    table = deciding_regions(TASK)
    assert [list(np.array(REGIONS)[row]) for row in table] == [["head"], ["vacuole"], []]
