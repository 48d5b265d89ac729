"""Weight files as flat tables of arrays."""

import zipfile
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from spermjax.errors import DataError

Weights = dict[str, np.ndarray]


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
            weights = load_file(path)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                weights = {name: archive[name] for name in archive.files}
        else:
            raise DataError(
                f"{path}: weights are read from .safetensors or .npz files, not {path.suffix or 'a bare name'}; "
                "convert a .pth or .bin file with safetensors first, since pickle may run foreign code"
            )
    except FileNotFoundError:
        raise DataError(f"{path}: no such weight file") from None
    except (SafetensorError, zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: the weight file can't be read ({error}); fetch it again") from error
    return {name: value.astype(np.float32) for name, value in weights.items()}
