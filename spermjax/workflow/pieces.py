"""Finished pieces of a long measurement, so that it goes on where it was killed."""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spermjax.files import write_atomic
from spermjax.interpret.suite import Measurements
from spermjax.npz import read_npz


class Pieces:
    """Measurements of one piece of the examples each, stored whole or not at all.

    Args:
        folder: where they are until all are there.
        key: all that decides their values, JSON-able; pieces of another key are removed.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]):
        self._folder = folder
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        stored = folder / "key"
        if not stored.is_file() or stored.read_text() != digest:
            self.clear()
            write_atomic(stored, digest)

    def load(self, number: int) -> Measurements | None:
        """The piece, if it was finished."""
        path = self._path(number)
        if not path.is_file():
            return None
        arrays = read_npz(path)
        return Measurements(
            *(
                {name.removeprefix(kind): array for name, array in arrays.items() if name.startswith(kind)}
                for kind in ("maps:", "values:")
            )
        )

    def save(self, number: int, measured: Measurements) -> None:
        """Stores a finished piece."""
        arrays = {f"maps:{name}": np.asarray(array) for name, array in measured.maps.items()}
        arrays |= {f"values:{name}": np.asarray(array) for name, array in measured.values.items()}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_atomic(self._path(number), content.getvalue())

    def clear(self) -> None:
        """Removes all pieces."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npz"
