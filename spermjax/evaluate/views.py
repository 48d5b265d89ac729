"""Test-time augmentation: one cell seen mirrored and turned by right angles, and the mean of the answers."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int

from spermjax.data.task import Kind

Views = Literal[1, 2, 4, 8]
"""The image alone; with its mirror image; with both also turned by 180 degrees; and by 90 and 270 degrees."""


def seen(image: Float[Array, "size size 3"], view: Int[Array, ""]) -> Float[Array, "size size 3"]:
    """One of the eight views of a square; pixels move and none is interpolated.

    Args:
        image: the square.
        view: from 0 for the image itself; bit 0 mirrors left to right, bit 1 then turns by
            180 degrees, bit 2 then by 90 degrees.
    """
    image = jnp.where(view & 1, image[:, ::-1], image)
    image = jnp.where(view & 2, image[::-1, ::-1], image)
    return jnp.where(view & 4, jnp.rot90(image), image)


def mean_logits(kind: Kind, logits: Float[np.ndarray, "views n outputs"]) -> Float[np.ndarray, "n outputs"]:
    """Logits whose probabilities are the mean of those of all views.

    Args:
        kind: softmax over classes, or a sigmoid for each attribute.
        logits: of each view.
    """
    wide = logits.astype(np.float64)
    if kind == "single_label":
        mean = np.logaddexp.reduce(scipy.special.log_softmax(wide, axis=-1), axis=0) - np.log(len(wide))
    else:
        abnormal, normal = (np.logaddexp.reduce(scipy.special.log_expit(side), axis=0) for side in (wide, -wide))
        mean = abnormal - normal
    return np.asarray(mean, np.float32)
