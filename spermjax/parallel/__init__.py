"""How a step is spread over devices."""

from spermjax.parallel.mesh import WHOLE, mesh_step, place
from spermjax.parallel.pmap import choose_devices, pmap_examples, pmap_step, replicate
from spermjax.parallel.step import AXIS, Step

__all__ = ["AXIS", "WHOLE", "Step", "choose_devices", "mesh_step", "place", "pmap_examples", "pmap_step", "replicate"]
