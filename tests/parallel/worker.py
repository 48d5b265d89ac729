"""One of several processes: `python -m tests.parallel.worker WHAT ADDRESS PROCESS FOLDER`, for test_hosts.py.

What it is to meet comes first, as in a user's program: several processes are one before JAX starts.
"""

import dataclasses
import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from spermjax.config import Experiment, Hosts, Optim
from spermjax.errors import ConfigError, SpermjaxError
from spermjax.parallel import AXIS, joined

FEEDS = (("pmap", "device"), ("pmap", "stream"), ("jit", "stream"), ("fsdp", "stream"))
STOP_AFTER = 6


def steps(hosts: Hosts, folder: Path) -> None:
    """Some steps under each mode, an evaluation, and a look at whether all devices hold the same."""
    with joined(hosts):
        import jax

        from spermjax.parallel import fetch
        from spermjax.train.replicas import replica_difference
        from spermjax.workflow.monitor import make_monitor
        from tests.parallel.test_mesh import after, session_of

        for mode, feed in FEEDS:
            session = session_of(mode, 2, feed)
            state, metrics = after(session)
            values, score = make_monitor(session)(session.whole(state.evaluated))
            differing = replica_difference(session.everywhere(state))
            # One host's copy, changed on both of its devices.
            tampered = jax.tree.map(lambda x: x + hosts.process, state) if mode == "pmap" else state
            numbers = {
                **metrics,
                **values,
                "score": score,
                "differing": differing,
                "tampered": replica_difference(session.everywhere(tampered)),
            }
            arrays = jax.tree.leaves(jax.tree.map(fetch, state))
            np.savez(folder / f"{mode}-{feed}-{hosts.process}.npz", *arrays)
            (folder / f"{mode}-{feed}-{hosts.process}.json").write_text(json.dumps(numbers))


def train(hosts: Hosts, folder: Path, *arguments: str) -> int:
    """The command line; with `STOP` in the environment process 1 is told to stop after some steps."""
    from spermjax.cli import main
    from spermjax.parallel.step import Step

    os.chdir(folder / str(hosts.process))
    if "STOP" in os.environ and hosts.process == 1:
        call, taken = Step.__call__, itertools.count(1)

        def stopped(self, *given):
            if next(taken) == STOP_AFTER:
                signal.raise_signal(signal.SIGTERM)
            return call(self, *given)

        Step.__call__ = stopped
    asked = {field.name.replace("_", "-"): getattr(hosts, field.name) for field in dataclasses.fields(hosts)}
    return main([*arguments, *(word for name, value in asked.items() for word in (f"--hosts.{name}", str(value)))])


def sums(hosts: Hosts, folder: Path, victim: str = "none", how: str = "") -> None:
    """Sums over all devices, until one process is killed or fails."""
    with joined(hosts):
        import jax

        summed = jax.pmap(lambda x: jax.lax.psum(x, AXIS), axis_name=AXIS)
        for number in range(200 if victim != "none" else 3):
            assert np.asarray(summed(np.ones(2)))[0] == 4
            me = jax.process_index()
            (folder / f"summed-{me}").write_text("")
            if number == 2 and victim == str(me):
                while not (folder / f"summed-{1 - me}").exists():
                    time.sleep(0.1)
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise ConfigError("no such thing")
            time.sleep(0.1)


def differ(hosts: Hosts, folder: Path) -> None:
    """Two processes of which one has another learning rate."""
    from spermjax.workflow.agreement import check_same_experiment

    del folder
    with joined(hosts):
        check_same_experiment(Experiment(optim=Optim(learning_rate=1.0 + (hosts.process or 0))))


if __name__ == "__main__":
    what, address, process, place, *more = sys.argv[1:]
    seconds = {
        "start_within": float(os.environ.get("START_WITHIN", 240)),
        "lost_after": float(os.environ.get("LOST_AFTER", 120)),
    }
    asked = Hosts(coordinator=address, processes=2, process=int(process), **seconds)
    if "SLURM_JOB_ID" in os.environ:
        asked = Hosts(cluster="auto", **seconds)
    try:
        sys.exit({"steps": steps, "train": train, "sums": sums, "differ": differ}[what](asked, Path(place), *more))
    except SpermjaxError as error:
        print(f"spermjax: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
