"""What XLA gives to YNNPACK on a CPU."""

import importlib.metadata
import os

OPTION = "xla_cpu_experimental_ynn_fusion_type"
_KNOWN = "0.10."
"""Versions of jaxlib whose XLA is known to have the option: one that has not ends the process that names it."""


def only_sums() -> None:
    """Has XLA give YNNPACK sums and maxima and what is fused with them alone; to be called before JAX is imported.

    Products and convolutions are faster as XLA has them by itself, a softmax is not
    (docs/benchmarks.md, 'Training step'). Who set the option in XLA_FLAGS keeps it.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if OPTION not in flags and importlib.metadata.version("jaxlib").startswith(_KNOWN):
        os.environ["XLA_FLAGS"] = f"{flags} --{OPTION}=reduce".strip()
