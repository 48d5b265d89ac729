"""`spermjax sync RUN...`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from spermjax.commands.parse import parse
from spermjax.errors import ConfigError, SpermjaxError


def main(arguments: Sequence[str]) -> int:
    """Sends W&B what it has not got yet."""

    def sync(runs: Annotated[tuple[Path, ...], tyro.conf.Positional]) -> int:
        """Send Weights & Biases what it has not got of runs: recorded offline, or cut off from a server that failed.

        What is there already is not sent again.

        Args:
            runs: run folders, or folders that hold runs, such as a sweep's.
        """
        from spermjax.tracking.records import is_sent, records, send

        found = records(runs)
        if not found:
            raise ConfigError(f"No record of Weights & Biases lies in {', '.join(map(str, runs))}: nothing to send.")
        waiting = [record for record in found if not is_sent(record)]
        if len(waiting) < len(found):
            print(f"sent already: {len(found) - len(waiting)} of {len(found)} records", flush=True)
        failed = []
        for record in waiting:
            print(f"sending {record.parent}", flush=True)
            if not send(record):
                failed.append(record)
        if failed:
            listed = "\n".join(f"  {record.parent}" for record in failed)
            raise SpermjaxError(
                f"{len(failed)} of {len(waiting)} records were not sent; see that there is a key (`wandb login`) and a "
                f"way to the server, then give the command again:\n{listed}"
            )
        return 0

    return parse(sync, arguments, "sync")
