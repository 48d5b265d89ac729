"""Weight files as flat tables of arrays."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from spermjax.errors import DataError
from spermjax.npz import read_npz

Weights = dict[str, np.ndarray]

MALFORMED = (ValueError, TypeError, KeyError, MemoryError)
"""What readers raise for a header that lies about types or sizes."""


def read_weights(path: Path) -> Weights:
    """Reads a `.safetensors` or `.npz` file.

    Args:
        path: the file; half-precision values are widened to float32.

    Returns:
        Arrays by the names that the file gives them.

    Raises:
        DataError: the file is missing, of another format, damaged, or holds objects.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return _as_float32(load_file(path))
        if path.suffix == ".npz":
            return _as_float32(read_npz(path))
        raise DataError(
            f"{path}: weights are read from .safetensors or .npz files, not {path.suffix or 'a bare name'}; "
            "convert a .pth or .bin file with safetensors first, since pickle may run foreign code"
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such weight file") from None
    except (SafetensorError, *MALFORMED, OSError) as error:
        raise DataError(f"{path}: the weight file can't be read ({error}); fetch it again") from error


def _as_float32(weights: Weights) -> Weights:
    return {name: value.astype(np.float32) for name, value in weights.items()}
