"""A process that is to run JAX."""

from spermjax.allocator import keep_freed_memory
from spermjax.cores import use_cores
from spermjax.kernels import choose_kernels
from spermjax.programs import keep_programs


def prepare_process() -> None:
    """Settles memory, compiled programs, kernels and devices; to be called before JAX is imported.

    All but memory is told through the environment, so that processes which this one
    starts have the same.
    """
    keep_freed_memory()
    keep_programs()
    choose_kernels()
    use_cores()
