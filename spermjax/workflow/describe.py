"""Facts about a data set."""

from pathlib import Path
from typing import Any

from spermjax.config import Data
from spermjax.data.examples import load_undivided
from spermjax.workflow.train import describe as of_dataset


def describe(name: str, manual_dir: Path | None, data_dir: Path | None) -> dict[str, Any]:
    """Splits, counts, groups, licence, citation and fingerprint of a data set; JSON-able."""
    return of_dataset(load_undivided(Data(name=name, manual_dir=manual_dir, data_dir=data_dir)))
