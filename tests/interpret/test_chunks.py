"""Evaluations in chunks are those one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.chunks import in_one_batch, map_in_chunks, shared_over, sum_in_chunks
from spermjax.parallel import AXIS, pmap_same


@pytest.mark.parametrize("count", [1, 7, 8, 50])
@pytest.mark.parametrize("size", [1, 3, 8, 64])
def test_chunks_cover_each_index_once(count, size):
    values = jnp.asarray(np.random.default_rng(0).normal(size=(count, 2)))
    np.testing.assert_array_equal(map_in_chunks(lambda index: values[index], count, size), values)
    np.testing.assert_allclose(sum_in_chunks(lambda index: values[index], count, size), values.sum(0), atol=1e-5)


@pytest.mark.multidevice
@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("count, size", [(1, 4), (7, 2), (16, 16), (50, 3)])
def test_devices_share_the_indices(devices, count, size):
    """Inner chunks belong to one index, so they are not shared again."""
    values = jnp.asarray(np.random.default_rng(0).normal(size=(count, 2)), jnp.float32)
    lengths = []

    def function(_, values):
        def inner(index):
            jax.debug.callback(lambda index: lengths.append(index), index)
            return values[index] * sum_in_chunks(lambda place: values[place, 0], count, size)

        with shared_over(AXIS):
            return map_in_chunks(inner, count, size), sum_in_chunks(lambda index: values[index], count, size)

    mapped, summed = pmap_same(function, jax.devices()[:devices])({}, values)
    jax.effects_barrier()
    np.testing.assert_allclose(mapped, values * values[:, 0].sum(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(summed, values.sum(0), atol=1e-5)
    each = -(-count // devices)
    assert len(lengths) < devices * (each + -(-each // size))


@pytest.mark.parametrize("count, size, least", [(50, 16, 52), (65, 16, 65), (64, 16, 64), (9, 8, 10)])
def test_chunks_waste_less_than_one_evaluation_each(count, size, least):
    lengths = []

    def seen(index):
        jax.debug.callback(lambda index: lengths.append(index), index)
        return index

    jax.block_until_ready(map_in_chunks(seen, count, size))
    jax.effects_barrier()
    assert len(lengths) == least


@pytest.mark.parametrize("axes", [(None, 0, None), (None, 0, 0), (None, None, 0), (0, 0, None)])
def test_one_batch_has_the_values_of_many(axes):
    """Beside plain vmap, with variables mapped as well."""
    shapes = ((3, 2), (4, 3), (4,))
    rng = np.random.default_rng(1)
    arguments = [
        jnp.asarray(rng.normal(size=shape if axis is None else (5, *shape)))
        for shape, axis in zip(shapes, axes, strict=True)
    ]
    sizes = []

    def function(variables, images, targets):
        sizes.append(len(images))
        return jnp.tanh(images @ variables) * targets[:, None]

    found = jax.vmap(in_one_batch(function), in_axes=axes)(*arguments)
    np.testing.assert_allclose(found, jax.vmap(function, in_axes=axes)(*arguments), rtol=1e-6)
    assert (20 in sizes) == (axes[0] is None)
