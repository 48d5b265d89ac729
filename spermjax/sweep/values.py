"""What a run reached, by the names that a sweep file uses."""

from pathlib import Path

from spermjax.run import read_json
from spermjax.tracking import read


def reached(run: Path) -> dict[str, float | None]:
    """Every value of a finished run: that of its summary (the best checkpoint's), else the last one logged.

    Raises:
        SpermjaxError: the run has no summary, or a file of it is damaged.
    """
    logged: dict[str, float | None] = {}
    for line in read(run):
        logged |= {name: value for name, value in line.items() if value is not None}
    return logged | read_json(run / "summary.json")
