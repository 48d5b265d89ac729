"""A worker: claims trials one after another until none is left.

python -m spermjax.sweep.worker DIR [--most N]
"""

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import optuna

from spermjax.allocator import use_tcmalloc
from spermjax.errors import SpermjaxError
from spermjax.process import prepare_process
from spermjax.sweep import study as studies
from spermjax.sweep.devices import bind
from spermjax.sweep.folder import Folder, find
from spermjax.sweep.trial import run_trial

IDLE_SECONDS = 2.0


def work(path: Path, *, most: int | None = None, say: Callable[[str], None] = print) -> int:
    """Runs trials of a sweep until all are finished, whoever finishes them.

    Without a limit, this one waits while other workers still train, ready to take over
    from one that dies.

    Args:
        path: folder of the sweep.
        most: claim no more than this many, and don't wait for others.
        say: takes a line for each trial.

    Returns:
        How many trials this worker ran.

    Raises:
        Interrupted: the worker was told to stop; its trial waits for another.
        StorageError: the storage is gone.
    """
    prepare_process()
    folder = find(path)
    storage = studies.open_storage(folder.storage)
    owner, done = studies.identity(), 0
    while most is None or done < most:
        study = studies.load(folder.sweep, folder.study_name, storage)
        trial = studies.claim(folder.sweep, study, owner)
        if trial is None:
            if most is not None or not wait_for_others(study):
                break
            continue
        ended = run_trial(folder.sweep, folder.base, study, trial, owner, path)
        import jax  # heavy, and told by its environment where programs are kept

        # Each program takes memory maps, of which a process may have 65530.
        jax.clear_caches()
        say(f"trial {trial.number} of {count(study)}: {ended}")
        done += 1
    return done


def prepare(folder: Folder) -> optuna.Study:
    """Creates or joins the study, and lets trials wait again whose workers went down with a former sweep."""
    studies.prepare(folder.sweep, folder.study_name, studies.open_storage(folder.storage))
    study = folder.study()
    studies.give_back_abandoned(study, died=False)
    return study


def wait_for_others(study: optuna.Study) -> bool:
    """Waits a moment where other workers still train, for a trial of one that dies; else False."""
    states = (optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.WAITING)
    if not studies.patient(study.get_trials, deepcopy=False, states=states):
        return False
    studies.give_back_abandoned(study, died=True)
    time.sleep(IDLE_SECONDS * (0.5 + random.random()))
    return True


def count(study: optuna.Study) -> int:
    """All trials, whatever became of them."""
    return len(studies.patient(study.get_trials, deepcopy=False))


def _die_with_parent() -> None:
    """Ends this process when the one that started it is gone: its end of our input closes."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    """Works for the process that started this one, and dies with it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int)
    arguments = parser.parse_args()
    from spermjax.commands.parse import show_log

    bind()
    show_log()
    _die_with_parent()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        work(arguments.folder, most=arguments.most, say=lambda line: print(line, flush=True))
    except SpermjaxError as error:
        print(f"spermjax: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    use_tcmalloc()
    sys.exit(main())
