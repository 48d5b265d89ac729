"""Linear attention (Katharopoulos et al. 2020)."""

import flax.linen as nn

from spermjax.models.attention.kernelised import KernelisedAttention


class LinearAttention(KernelisedAttention):
    """Features elu(x) + 1, in time linear in the number of tokens (Katharopoulos et al. 2020, eq. 7)."""

    def feature_maps(self, query, key, mask):
        """One feature per channel."""
        del mask
        return nn.elu(query) + 1.0, nn.elu(key) + 1.0
