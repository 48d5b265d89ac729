"""Class activation maps, on the tokens of a transformer and on a network's last convolutional map.

F is a feature map with one vector of channels per place, G the gradient of the target
logit with respect to it. A rule turns both into one value per place.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.errors import ConfigError
from spermjax.interpret.capture import by_layer, capture_with_gradients
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, attention_spec
from spermjax.models.attention.contract import FEATURES

Maps = Float[Array, "batch rows columns channels"]
Map = Float[Array, "batch rows columns"]
PLACES = (1, 2)
SQUARINGS = 30


def grad_cam_map(features: Maps, gradients: Maps) -> Map:
    """Sum over channels of F weighted by its mean gradient (Selvaraju et al. 2017, eqs. 1 and 2)."""
    return _weighted(features, gradients.mean(axis=PLACES))


def grad_cam_plus_plus_map(features: Maps, gradients: Maps) -> Map:
    """F weighted by positive gradients, each place by a closed form (Chattopadhay et al. 2018, eqs. 10 and 19)."""
    squared = gradients**2
    total = features.sum(axis=PLACES, keepdims=True)
    share = squared / (2 * squared + total * squared * gradients + 1e-6)
    return _weighted(features, (jax.nn.relu(gradients) * jnp.where(gradients == 0, 0.0, share)).sum(axis=PLACES))


def hires_cam_map(features: Maps, gradients: Maps) -> Map:
    """Sum over channels of F * G (Draelos & Carin 2020)."""
    return (features * gradients).sum(axis=-1)


def grad_cam_elementwise_map(features: Maps, gradients: Maps) -> Map:
    """Sum over channels of relu(F * G)."""
    return jax.nn.relu(features * gradients).sum(axis=-1)


def layer_cam_map(features: Maps, gradients: Maps) -> Map:
    """Sum over channels of F * relu(G) (Jiang et al. 2021, eq. 5)."""
    return (features * jax.nn.relu(gradients)).sum(axis=-1)


def xgrad_cam_map(features: Maps, gradients: Maps) -> Map:
    """F weighted by its gradient averaged in proportion to F (Fu et al. 2020, eq. 8)."""
    total = features.sum(axis=PLACES)
    return _weighted(features, (features * gradients).sum(axis=PLACES) / (total + 1e-7))


def eigen_cam_map(features: Maps, gradients: Maps) -> Map:
    """F along its first principal component (Muhammad & Yeasin 2020), its largest value positive."""
    del gradients
    projection = _first_component(features)
    places = projection.reshape(len(projection), -1)
    largest = jnp.take_along_axis(places, jnp.abs(places).argmax(axis=1)[:, None], axis=1)
    return projection * jnp.sign(largest)[:, :, None]


def eigen_grad_cam_map(features: Maps, gradients: Maps) -> Map:
    """F * G along its first principal component, which points to where its sum is larger."""
    product = features * gradients
    projection, total = _first_component(product), product.sum(axis=-1)
    centred = total - total.mean(axis=PLACES, keepdims=True)
    return projection * jnp.where((projection * centred).sum(axis=PLACES, keepdims=True) < 0, -1.0, 1.0)


def _weighted(features: Maps, weights: Float[Array, "batch channels"]) -> Map:
    return jnp.einsum("brcd,bd->brc", features, weights)


def _first_component(maps: Maps) -> Map:
    places = maps.reshape(len(maps), -1, maps.shape[-1])
    centred = places - places.mean(axis=1, keepdims=True)
    return leading_component(centred).reshape(maps.shape[:-1])


def leading_component(rows: Float[Array, "batch rows columns"]) -> Float[Array, "batch rows"]:
    """Rows along their first right singular vector, up to sign: the first left one times its singular value.

    By squaring the rows' products with each other again and again, which leaves the first
    direction alone. LAPACK's decompositions wait within the threads that XLA runs them
    on: on two CPU devices at once, or two at once on one, they wait for ever (JAX 0.10.2).
    """
    products = jnp.einsum("bnd,bmd->bnm", rows, rows, precision="highest")

    def scaled(power: Array) -> Array:
        trace = jnp.trace(power, axis1=1, axis2=2)[:, None, None]
        return power / jnp.where(trace > 0, trace, 1.0)

    def squared(_: int, power: Array) -> Array:
        return scaled(jnp.einsum("bnm,bmk->bnk", power, power, precision="highest"))

    projector = jax.lax.fori_loop(0, SQUARINGS, squared, scaled(products))
    largest = jnp.diagonal(projector, axis1=1, axis2=2).argmax(axis=1)
    direction = jnp.take_along_axis(projector, largest[:, None, None], axis=1)[:, 0]
    length = jnp.linalg.norm(direction, axis=1, keepdims=True)
    direction = direction / jnp.where(length > 0, length, 1.0)
    value = jnp.einsum("bn,bnm,bm->b", direction, products, direction, precision="highest")
    return direction * jnp.sqrt(value)[:, None]


def feature_name(model: Any, feature: str | None) -> str:
    """The features that are meant if none are named: what enters an attention, or the last convolutional map."""
    return feature or ("norm1" if hasattr(model, "attention_spec") else "map")


def check_reaches_logits(
    model: Any, images: Float[Array, "batch height width 3"], feature: str, layer: int, layers: int
) -> None:
    """Refuses features of patches that no logit depends on.

    Raises:
        ConfigError: for the last output of a class-token model.
    """
    last = layer in (-1, layers - 1)
    if feature == "output" and last and attention_spec(model, images).reads == "class_token":
        raise ConfigError(
            "A class activation map of the last block's 'output': the logits of a class-token model don't depend on "
            "its patch tokens, so the map would be zero. Use feature 'norm1', or an earlier layer."
        )


def on_grid(model: Any, images: Float[Array, "batch height width 3"], features: Float[Array, "batch ..."]) -> Maps:
    """Tokens without those before the patches, or a convolutional map as it is, by place."""
    if features.ndim == 4:
        return features
    spec = attention_spec(model, images)
    return features[:, spec.prefix :].reshape(len(features), *spec.grid, features.shape[-1])


def maps_and_gradients(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    feature: str | None = None,
    layer: int = -1,
) -> tuple[Maps, Maps]:
    """F and G of one layer; arguments as in `spermjax.interpret.methods.cam.class_activation_map`."""
    feature = feature_name(model, feature)
    captured, gradients = capture_with_gradients(model, variables, images, targets, (FEATURES,))
    rank = 3 if hasattr(model, "attention_spec") else 4
    values, slopes = (by_layer(found.collections.get(FEATURES, {}), feature, rank) for found in (captured, gradients))
    check_reaches_logits(model, images, feature, layer, len(values))
    return on_grid(model, images, values[layer]), on_grid(model, images, slopes[layer])


def class_activation_map(
    rule: Callable[[Maps, Maps], Map],
) -> Callable[..., Map]:
    """A method of one rule.

    The method's `feature` names captured tokens, or a captured convolutional map:
    `norm1` if the model shows attention, else `map`. What enters the last attention
    is the last thing of a class-token model whose patches reach the logits. `layer`
    is the index of the block; negative counts from the last. `positive` sets negative
    values to zero, as most are published.
    """

    def native(
        model: Any,
        variables: Variables,
        images: Float[Array, "batch height width 3"],
        targets: Int[Array, "batch"],
        *,
        feature: str | None = None,
        layer: int = -1,
        positive: bool = True,
    ) -> Map:
        cam = rule(*maps_and_gradients(model, variables, images, targets, feature=feature, layer=layer))
        return jax.nn.relu(cam) if positive else cam

    native.__doc__ = rule.__doc__
    return native


for _name, _rule, _citation, _backward in (
    ("grad_cam", grad_cam_map, "Selvaraju et al. 2017", 1),
    ("grad_cam_plus_plus", grad_cam_plus_plus_map, "Chattopadhay et al. 2018", 1),
    ("hires_cam", hires_cam_map, "Draelos & Carin 2020", 1),
    ("grad_cam_elementwise", grad_cam_elementwise_map, "Gildenblat 2021 (pytorch-grad-cam)", 1),
    ("layer_cam", layer_cam_map, "Jiang et al. 2021", 1),
    ("xgrad_cam", xgrad_cam_map, "Fu et al. 2020", 1),
    ("eigen_cam", eigen_cam_map, "Muhammad & Yeasin 2020", 0),
    ("eigen_grad_cam", eigen_grad_cam_map, "Muhammad & Yeasin 2020; Gildenblat 2021", 1),
):
    register(
        Method(
            _name,
            class_activation_map(_rule),
            _citation,
            forward=1,
            backward=_backward,
            needs=frozenset({"features", "gradients"}) if _backward else frozenset({"features"}),
            class_specific=_backward > 0,
        )
    )
