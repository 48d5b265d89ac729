"""What `spermjax sweep` does before and after its engine."""

import dataclasses
from pathlib import Path
from typing import Any

from spermjax.config import Experiment
from spermjax.errors import SpermjaxError
from spermjax.sweep.check import check
from spermjax.sweep.folder import Folder, create, table
from spermjax.sweep.sweepfile import read
from spermjax.workflow import experiments


def begin(
    file: Path,
    out: Path,
    *,
    storage: str | None = None,
    manual_dir: Path | None = None,
    data_dir: Path | None = None,
    dry: bool = False,
) -> Folder:
    """Reads a sweep file, checks it, and makes its folder.

    Args:
        file: the sweep.
        out: its folder.
        storage: of the study; a journal in the folder when not given.
        manual_dir: where the data set's archive is.
        data_dir: where prepared sets are.
        dry: make nothing.

    Raises:
        ConfigError: naming every problem of the file.
    """
    sweep = read(file)
    base = experiments.load(sweep.experiment)
    data = dataclasses.replace(
        base.data, manual_dir=manual_dir or base.data.manual_dir, data_dir=data_dir or base.data.data_dir
    )
    base = Experiment.from_dict(dataclasses.replace(base, data=data).to_dict())  # As it will be read back.
    check(sweep, base)
    return Folder(out, sweep, base, "") if dry else create(out, sweep, base, storage)


def finish(folder: Folder) -> dict[str, Any]:
    """Writes the table of trials; JSON-able.

    Raises:
        SpermjaxError: no trial came to a result.
    """
    study = folder.study()
    rows = table(folder, study)
    path = folder.write_table(rows)
    objectives = [objective.name for objective in folder.sweep.objectives]
    done = [row for row in rows if row["state"] == "complete"]
    if not done:
        errors = "\n".join(f"  trial {row['trial']}: {row['error']}" for row in rows if row["error"])
        raise SpermjaxError(f"No trial of {folder.path} came to a result. All are in {path}.\n{errors}")
    best = [trial.number for trial in study.best_trials] if len(objectives) > 1 else [study.best_trial.number]
    varied = [parameter.path for parameter in folder.sweep.parameters if parameter.count() > 1]
    shown = [
        (
            f"{row['trial']}{' *' if row['trial'] in best else ''}",
            row["state"],
            *("-" if row[name] is None else f"{row[name]:.4f}" for name in objectives),
            ", ".join(f"{path}={row[path]}" for path in varied if path in row)
            + (f"  {str(row['error']).splitlines()[0]}" if row["error"] else ""),
        )
        for row in rows
    ]
    return {"objectives": objectives, "rows": shown, "best": best, "trials": rows, "table": str(path)}
