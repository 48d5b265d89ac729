"""What a model shows of itself by how it is built: part queries, and CBAM's spatial maps."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.errors import ConfigError, nearest
from spermjax.interpret.capture import capture, capture_with_gradients, in_order
from spermjax.interpret.grid import plane, to_grid, upsample
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, attention_spec, has_part_queries, has_spatial_attention
from spermjax.models.attention.contract import ATTENTION, AttentionSpec
from spermjax.parts import PARTS

OfParts = Float[Array, "batch heads parts patches"]


def part_query_attention(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    part: str | None = None,
) -> Float[Array, "batch rows columns"]:
    """Where a part's query looks, mean over heads; it sums to one and does not depend on the target.

    Args:
        model: with part queries (`--model.attention part_query`).
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        part: one of `spermjax.parts.PARTS`; None for the mean over all.

    Raises:
        ConfigError: a model without part queries, or an unknown part.
    """
    del targets
    spec = _spec(model, images, "part_query_attention")
    weights = _of_parts(capture(model, variables, images, (ATTENTION,)).collections, spec)
    return to_grid(_chosen(weights, part).mean(axis=(1, 2)), spec)


def part_query(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    part: str | None = None,
) -> Float[Array, "batch rows columns"]:
    """What each patch brings to the target's logit through the part queries, signed.

    The logits are linear in the queries' attention A, so A times the gradient by A,
    summed over heads and parts, is exact: the map sums to the logit without its bias,
    and with `part` to that part's contribution. Blocks before have mixed the patches:
    what is a patch here is its token behind them.

    Args:
        model: with part queries (`--model.attention part_query`).
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        part: one of `spermjax.parts.PARTS`; None for the sum over all.

    Raises:
        ConfigError: a model without part queries, or an unknown part.
    """
    spec = _spec(model, images, "part_query")
    values, gradients = capture_with_gradients(model, variables, images, targets, (ATTENTION,))
    brought = _of_parts(values.collections, spec) * _of_parts(gradients.collections, spec)
    return to_grid(_chosen(brought, part).sum(axis=(1, 2)), spec)


def cbam_spatial(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    layer: int | None = -1,
) -> Float[Array, "batch rows columns"]:
    """Spatial weights of a convolutional block attention module (Woo et al. 2018, eq. 3), in (0, 1).

    They don't depend on the target.

    Args:
        model: with CBAM (`--model.cbam`).
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        layer: which module, in the order of the network; negative counts from the
            last, None is the mean over all, at the size of the image.

    Raises:
        ConfigError: a model without CBAM.
    """
    del targets
    if not (isinstance(model, nn.Module) and has_spatial_attention(model)):
        raise ConfigError(
            f"cbam_spatial shows the spatial weights of CBAM, which {type(model).__name__} doesn't have. "
            "Train a convolutional network with --model.cbam last or blocks, or use another method."
        )
    captured = model.apply(variables, images, mutable=[ATTENTION])[1]
    maps = in_order(captured[ATTENTION], "spatial")
    if layer is not None:
        return maps[layer]
    return jnp.stack([upsample(each, plane(images)) for each in maps]).mean(axis=0)


def _spec(model: Any, images: Float[Array, "batch height width 3"], method: str) -> AttentionSpec:
    if not has_part_queries(model):
        raise ConfigError(
            f"{method} shows part queries, which {type(model).__name__} doesn't have. "
            "Train with --model.attention part_query, or use another method."
        )
    return attention_spec(model, images)


def _of_parts(captured: dict[str, Any], spec: AttentionSpec) -> OfParts:
    """Rows of the part queries, over patches."""
    return captured[ATTENTION]["part_query"]["weights"][:, :, : len(PARTS), spec.prefix :]


def _chosen(of_parts: OfParts, part: str | None) -> OfParts:
    if part is None:
        return of_parts
    if part not in PARTS:
        raise ConfigError(f"There is no part {part!r}. {nearest(part, PARTS)}")
    place = PARTS.index(part)
    return of_parts[:, :, place : place + 1]


register(
    Method(
        name="part_query_attention",
        native=part_query_attention,
        citation="spermjax",
        forward=1,
        needs=frozenset({"part_queries"}),
        class_specific=False,
    )
)
register(
    Method(
        name="part_query",
        native=part_query,
        citation="spermjax",
        forward=1,
        backward=1,
        needs=frozenset({"part_queries", "gradients"}),
    )
)
register(
    Method(
        name="cbam_spatial",
        native=cbam_spatial,
        citation="Woo et al. 2018",
        forward=1,
        needs=frozenset({"spatial_attention"}),
        class_specific=False,
    )
)
