"""The batch: what every step, explanation and metric receives.

On the host, and on the way to a device, a batch is packed: uint8 images and one
byte of part bits per pixel. `unpack`, the first thing inside a jitted step, turns
it into the batch of the contract.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from spermjax import parts as parts_lib


@flax.struct.dataclass
class PackedBatch:
    """A batch as it travels: NumPy arrays on the host, bytes on the wire.

    Attributes:
        image: pixels, 0 to 255.
        parts: bit `i` set where part `i` of `spermjax.parts.PARTS` is.
        has_parts: whether the example has masks at all.
        target: `[batch]` class of each example, or `[batch, attributes]` with
            0 normal, 1 abnormal, -1 missing.
        weight: 1 for an example, 0 for padding.
        index: position of the example in its data set, -1 for padding.
    """

    image: UInt8[Array | np.ndarray, "batch height width 3"]
    parts: UInt8[Array | np.ndarray, "batch height width"]
    has_parts: Bool[Array | np.ndarray, "batch"]
    label: Int[Array | np.ndarray, "batch *attributes"]
    weight: Float[Array | np.ndarray, "batch"]
    index: Int[Array | np.ndarray, "batch"]


@flax.struct.dataclass
class BatchIndex:
    """A batch of examples that lie on the device already.

    Attributes:
        index: position of each in its data set.
    """

    index: Int[Array | np.ndarray, "batch"]


@flax.struct.dataclass
class Batch:
    """A batch as it is used.

    Attributes:
        image: intensities in [0, 1], before the model's own normalisation.
        parts: one boolean channel per part.
        has_parts, label, weight, index: as in `PackedBatch`.
    """

    image: Float[Array, "batch height width 3"]
    parts: Bool[Array, "batch height width parts"]
    has_parts: Bool[Array, "batch"]
    label: Int[Array, "batch *attributes"]
    weight: Float[Array, "batch"]
    index: Int[Array, "batch"]


def unpack(packed: PackedBatch) -> Batch:
    """Bytes to intensities and part channels; pure, for use under `jit`."""
    return Batch(
        image=jnp.asarray(packed.image, jnp.float32) / 255.0,
        parts=parts_lib.unpack(packed.parts),
        has_parts=jnp.asarray(packed.has_parts),
        label=jnp.asarray(packed.label),
        weight=jnp.asarray(packed.weight),
        index=jnp.asarray(packed.index),
    )


def shard(tree, devices: int):
    """Splits the leading axis of every array over devices, as pmap wants it."""
    return jax.tree.map(lambda x: x.reshape(devices, x.shape[0] // devices, *x.shape[1:]), tree)
