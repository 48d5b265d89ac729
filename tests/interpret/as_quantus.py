"""Images, models and attributions laid out as Quantus flattens them: colours above each other, one channel."""

import jax.numpy as jnp
import numpy as np

from spermjax.interpret.model import FunctionModel

GROUP = 128
"""Values of all colours that Quantus was told to take in one step."""


def by_feature(model):
    """The model on images laid out as the references flatten them: colours above each other, one channel."""

    def logits(flat):
        batch, height, width, _ = flat.shape
        return model.model.apply(model.variables, jnp.moveaxis(flat.reshape(batch, 3, height // 3, width), 1, -1))

    return FunctionModel(logits)


def flattened(images):
    return jnp.moveaxis(jnp.asarray(images), -1, 1).reshape(len(images), -1, images.shape[2], 1)


def darkest(images):
    """What Quantus calls black: each image's least intensity."""
    return jnp.broadcast_to(images.min(axis=(1, 2, 3), keepdims=True), images.shape)


def by_value(images, gradients):
    """Images and attributions as Quantus flattens them, and the group of `GROUP` values that each belongs to."""
    flat = np.asarray(gradients).reshape(len(gradients), -1)
    rank = np.argsort(np.argsort(-flat, axis=1, kind="stable"), axis=1, kind="stable")
    return flattened(images), flat, rank // GROUP
