"""Engines that hand each trial to a task of a cluster's own scheduler."""

import time
from collections.abc import Callable
from pathlib import Path

from optuna.trial import TrialState

from spermjax.errors import SpermjaxError
from spermjax.sweep import study as studies
from spermjax.sweep.folder import Folder
from spermjax.sweep.worker import prepare, work

MOST_ROUNDS = 5


def one_trial(path: Path) -> str:
    """Runs a single waiting trial, in a task of its own; says how it ended."""
    said: list[str] = []
    work(path, most=1, say=said.append)
    return said[0] if said else ""


def run(folder: Folder, submit: Callable[[int], list[str]], say: Callable[[str], None]) -> None:
    """Submits a task for each waiting trial, and again for those whose node was lost.

    Args:
        folder: of the sweep.
        submit: starts so many tasks of `one_trial`, waits for them, and returns what they said.
        say: takes a line for each trial.

    Raises:
        SpermjaxError: trials are left although tasks were started again and again.
    """
    study = prepare(folder)
    for _ in range(MOST_ROUNDS):
        waiting = studies.patient(study.get_trials, deepcopy=False, states=(TrialState.WAITING,))
        if not waiting:
            if not _left_running(study):
                return
            continue
        for line in submit(len(waiting)):
            if line:
                say(line)
        studies.give_back_abandoned(study, died=True)
    raise SpermjaxError(
        f"Trials are left after {MOST_ROUNDS} rounds of tasks; see {folder.path} and the cluster's logs."
    )


def _left_running(study) -> bool:
    """Waits until trials of lost nodes are given back, or other machines' are done."""
    while studies.patient(study.get_trials, deepcopy=False, states=(TrialState.RUNNING,)):
        studies.give_back_abandoned(study, died=True)
        if studies.patient(study.get_trials, deepcopy=False, states=(TrialState.WAITING,)):
            return True
        time.sleep(studies.RENEW_SECONDS)
    return False
