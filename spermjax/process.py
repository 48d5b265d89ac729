"""A process that is to run JAX."""

from spermjax.allocator import keep_freed_memory
from spermjax.cores import use_cores
from spermjax.programs import keep_programs


def prepare_process() -> None:
    """Settles memory, compiled programs and devices; to be called before JAX is imported.

    Compiled programs and devices are told through the environment, so that processes
    which this one starts have the same.
    """
    keep_freed_memory()
    keep_programs()
    use_cores()
