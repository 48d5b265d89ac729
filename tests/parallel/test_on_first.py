"""What runs on the first device alone sees the variables that it is given now."""

import jax
import numpy as np

from spermjax.parallel import on_first, replicate


def test_changed_variables_are_seen():
    """Also where a tree is changed in place, or holds the same arrays in other places. Witness: NumPy."""
    devices = jax.devices()
    one, two = replicate((np.float32(1), np.float32(2)), devices)
    run = on_first(lambda variables, x: 10 * variables["tens"] + variables["ones"] + x, devices)
    variables = {"tens": one, "ones": two}
    assert run(variables, np.float32(0)) == run(variables, np.float32(0)) == 12
    variables["ones"] = one
    assert run(variables, np.float32(0.5)) == 11.5
    assert run({"ones": one, "tens": two}, np.float32(0)) == 21
    assert run({"tens": np.float32(3), "ones": one}, np.float32(0)) == 31
