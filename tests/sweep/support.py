"""A worker without training: claims trials, sleeps, tells a value. One may die on the way."""

import os
import signal
import sys
import time
from pathlib import Path

from optuna.trial import TrialState

from spermjax.sweep import study as studies
from spermjax.sweep.sweepfile import Sweep, from_dict

SWEEP = {
    "program": "phantom_quickstart",
    "method": "random",
    "run_cap": 8,
    "metric": {"name": "validation/accuracy", "goal": "maximize"},
    "parameters": {"optim.learning_rate": {"min": 0.0, "max": 1.0}},
}


def sweep(**changes) -> Sweep:
    return from_dict(SWEEP | changes, "sweep", "sweep")


def main(storage: str, journal: str, dies: str) -> None:
    """Writes `start N` and `done N` into a file of its own."""
    search, store = sweep(), studies.open_storage(storage)
    studies.prepare(search, "study", store)
    owner = studies.identity()
    with Path(journal).open("a") as file:
        while True:
            study = studies.load(search, "study", store)
            trial = studies.claim(search, study, owner)
            if trial is None:
                if not studies.patient(study.get_trials, states=(TrialState.RUNNING, TrialState.WAITING)):
                    return
                studies.give_back_abandoned(study, died=True)
                time.sleep(0.1)
                continue
            value = studies.patient(search.parameters[0].suggest, trial)
            print("start", trial.number, value, file=file, flush=True)
            if dies == "yes" and trial.number >= 2:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.05)
            studies.tell(study, trial.number, [value], TrialState.COMPLETE)
            print("done", trial.number, value, file=file, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
