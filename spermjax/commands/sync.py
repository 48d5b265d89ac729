"""`spermjax sync RUN...`."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from spermjax.commands.parse import parse
from spermjax.errors import ConfigError, SpermjaxError


def main(arguments: Sequence[str]) -> int:
    """Sends offline records to W&B."""

    def sync(runs: Annotated[tuple[Path, ...], tyro.conf.Positional]) -> int:
        """Send runs that were recorded offline to Weights & Biases; what is there already is not sent again.

        Args:
            runs: run folders, or folders that hold runs, such as a sweep's.
        """
        records = sorted({record for run in runs for record in run.glob("**/wandb/offline-run-*") if record.is_dir()})
        if not records:
            raise ConfigError(f"No offline record lies in {', '.join(map(str, runs))}: nothing to send.")
        failed = []
        for record in records:
            command = [sys.executable, "-m", "wandb", "sync", "--append", str(record)]
            print(f"sending {record}", flush=True)
            if subprocess.run(command).returncode:
                failed.append(record)
        if failed:
            listed = "\n".join(f"  {record}" for record in failed)
            raise SpermjaxError(
                f"{len(failed)} of {len(records)} records were not sent; give the command again:\n{listed}"
            )
        return 0

    return parse(sync, arguments, "sync")
