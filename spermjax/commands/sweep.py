"""`spermjax sweep FILE --out DIR`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from spermjax.commands.parse import parse, print_json, print_table
from spermjax.process import prepare_process
from spermjax.sweep.options import Ray, Slurm


def main(arguments: Sequence[str]) -> int:
    """Runs a sweep."""

    def sweep(
        file: Annotated[Path, tyro.conf.Positional],
        out: Path,
        engine: Literal["local", "vmap", "slurm", "ray", "wandb"] = "local",
        workers: int | None = None,
        storage: str | None = None,
        manual_dir: Path | None = None,
        data_dir: Path | None = None,
        slurm: Slurm = Slurm(),  # noqa: B008  frozen
        ray: Ray = Ray(),  # noqa: B008
        check: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> int:
        """Run a sweep file (W&B's schema) and write all its runs and a table into a folder.

        The same command goes on after a kill: no trial is lost or run twice. Compare the
        runs with `spermjax compare DIR --out PAGE`.

        Args:
            file: the sweep, such as experiments/sweeps/smoke.yaml.
            out: folder of the sweep.
            engine: processes of this machine, one compiled step over many trials, jobs of a
                Slurm array, Ray tasks, or a sweep on W&B's server with an agent here.
            workers: trials at once; on this machine each gets its share of the devices
                (default: 1, and for vmap all).
            storage: file, sqlite:///FILE or postgresql://USER@HOST/NAME, to share one
                sweep between machines (default: a journal in the folder).
            manual_dir: where the data set's unpacked archive is.
            data_dir: where prepared data sets are.
            slurm: for `--engine slurm`.
            ray: for `--engine ray`.
            check: only check the file, and say how many runs it makes.
            json: print JSON.
        """
        if engine == "vmap":  # Trains here; other engines' workers keep theirs.
            prepare_process()
        from spermjax.sweep import local, vectorised, wandb
        from spermjax.sweep import ray as ray_engine
        from spermjax.sweep import slurm as slurm_engine
        from spermjax.sweep.command import begin, finish

        folder = begin(file, out, storage=storage, manual_dir=manual_dir, data_dir=data_dir, dry=check)
        if check:
            print(f"{file}: {folder.sweep.trials()} runs of {folder.sweep.experiment}, in order")
            return 0
        if engine == "wandb":
            return wandb.run(folder, workers or 1)
        say = (lambda line: None) if json else lambda line: print(line, flush=True)
        with folder.lock():
            if engine == "local":
                local.run(folder, workers or 1, say)
            elif engine == "vmap":
                vectorised.run(folder, workers, say)
            elif engine == "slurm":
                slurm_engine.run(folder, workers or 1, slurm, say)
            else:
                ray_engine.run(folder, workers or 1, ray, say)
        result = finish(folder)
        if json:
            print_json(result)
            return 0
        print_table(["trial", "state", *result["objectives"], "parameters"], result["rows"])
        print(f"trials: {result['table']}\nnext: spermjax compare {out} --out {out / 'comparison'}")
        return 0

    return parse(sweep, arguments, "sweep")
