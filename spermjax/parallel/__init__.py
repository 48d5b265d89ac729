"""How a step is spread over devices."""

from spermjax.parallel.pmap import AXIS, choose_devices, pmap_examples, pmap_step, replicate

__all__ = ["AXIS", "choose_devices", "pmap_examples", "pmap_step", "replicate"]
