import jax
import jax.numpy as jnp
import numpy as np

from spermjax.data.batch import unpack
from spermjax.data.pipeline import gather
from spermjax.data.task import Task
from spermjax.train.losses import targets_of
from spermjax.train.mixup import mixup
from tests.train import tiny

TASK = Task("single_label", tuple("abcd"))


def mixed(index, key=0):
    batch = unpack(gather(tiny.dataset().splits["train"], np.asarray(index)))
    soft, known = targets_of(TASK, batch.label, 0.0)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(key), jnp.arange(len(index)))
    return batch, soft, *mixup(keys, batch, soft, known, 0.5)


def test_image_and_label_are_blended_by_the_same_share_and_the_own_prevails():
    batch, soft, after, soft_after, _ = mixed(range(8))
    for i, partner in enumerate([1, 0, 3, 2, 5, 4, 7, 6]):
        difference = batch.image[i] - batch.image[partner]
        share = ((after.image[i] - batch.image[partner]) * difference).sum() / (difference**2).sum()
        assert 0.5 <= share <= 1.0 + 1e-5
        np.testing.assert_allclose(soft_after[i], share * soft[i] + (1 - share) * soft[partner], atol=1e-5)


def test_padding_lends_nothing():
    batch, soft, after, soft_after, _ = mixed([0, -1])
    np.testing.assert_array_equal(after.image[0], batch.image[0])
    np.testing.assert_array_equal(soft_after[0], soft[0])
