"""How XLA makes its kernels on a CPU."""

import importlib.metadata
import os

YNNPACK = "xla_cpu_experimental_ynn_fusion_type"
VECTORS = "xla_cpu_prefer_vector_width"
FLAGS = {YNNPACK: "reduce", VECTORS: "512"}
OF_ONE_IMAGE = {YNNPACK: "", "xla_disable_hlo_passes": "tree_reduction_rewriter"}
"""Compiler options where one image is a program's whole work, of some hundred short operations one after another.
YNNPACK takes more time than it saves there, and XLA by itself takes longer for a sum in a tree than in a row."""
_KNOWN = "0.10."
"""Versions of jaxlib whose XLA is known to have the flags: one that has not ends the process that names them."""


def choose_kernels() -> None:
    """Has XLA make the faster kernels; to be called before JAX is imported.

    YNNPACK is given sums and maxima and what is fused with them alone: products and
    convolutions are faster as XLA has them by itself. Vectors are as wide as the processor
    has them, up to 512 bits, where XLA stops at 256 by itself (docs/benchmarks.md,
    'Training step'). Who set one of the flags in XLA_FLAGS keeps it.
    """
    if not importlib.metadata.version("jaxlib").startswith(_KNOWN):
        return
    flags = os.environ.get("XLA_FLAGS", "")
    chosen = [f"--{flag}={value}" for flag, value in FLAGS.items() if flag not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *chosen]).strip()
