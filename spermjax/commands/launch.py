"""`spermjax launch TARGET EXPERIMENT [--dry-run] [-- WORDS]`."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from spermjax.commands.parse import parse, print_json


def main(arguments: Sequence[str]) -> int:
    """Launches a job."""
    words = list(arguments)
    split = words.index("--") if "--" in words else len(words)
    further = words[split + 1 :]

    def launch(
        target: Annotated[str, tyro.conf.Positional],
        experiment: Annotated[str, tyro.conf.Positional],
        dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        out: Path = Path("jobs"),
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> int:
        """Render the job of an experiment for a cluster or a cloud, check it, and start it.

        Words after `--` go to the command that runs there, as in
        `spermjax launch gpu mhsma_vit --dry-run -- --model.depth 6`.

        Args:
            target: gpu, gpu8, tpu, spot (SkyPilot), slurm, slurm-nodes or kubernetes; the last
                two take a sweep file as well.
            experiment: an experiment, or a sweep file.
            dry_run: render and check only.
            out: folder for the rendered file.
            json: print JSON.
        """
        from spermjax.sweep.launch import render, start

        job = render(target, experiment, further, out)
        if json:
            facts = {"file": str(job.path), "checked": job.checked, "unchecked": job.unchecked}
            print_json(facts | {"command": shlex.join(job.command)})
        else:
            for line in job.checked:
                print(f"checked: {line}")
            for line in job.unchecked:
                print(f"not checked here: {line}")
            print(f"file: {job.path}\n{'start it with' if dry_run else 'starting'}: {shlex.join(job.command)}")
        return 0 if dry_run else start(job)

    return parse(launch, words[:split], "launch")
