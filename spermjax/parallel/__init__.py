"""How a step is spread over devices, and processes."""

from spermjax.parallel.hosts import from_first, is_first, joined
from spermjax.parallel.mesh import mesh_step, place, unslice
from spermjax.parallel.pmap import choose_devices, on_first, pmap_examples, pmap_same, pmap_step, replicate
from spermjax.parallel.spread import WHOLE, fetch, inward, of_first, one_of_each_process, outward, own, share
from spermjax.parallel.step import AXIS, STOP, Step

__all__ = [
    "AXIS",
    "STOP",
    "WHOLE",
    "Step",
    "choose_devices",
    "fetch",
    "from_first",
    "inward",
    "is_first",
    "joined",
    "mesh_step",
    "of_first",
    "on_first",
    "one_of_each_process",
    "outward",
    "own",
    "place",
    "pmap_examples",
    "pmap_same",
    "pmap_step",
    "replicate",
    "share",
    "unslice",
]
