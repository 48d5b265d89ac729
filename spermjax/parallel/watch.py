"""Whether all processes of a run are there: the loss of one ends the others with its name instead of a hang."""

import atexit
import itertools
import json
import math
import os
import socket
import sys
import threading
import time
from typing import Any

from jax.errors import JaxRuntimeError

from spermjax.errors import SpermjaxError
from spermjax.parallel.abort import end, leave, on_abort

GRACE = 5.0
"""Seconds that the main thread has to end by itself, once it is known that a process is lost."""
_ROOT = "spermjax/watch"


class PeerError(SpermjaxError):
    """Another process of the run failed or is lost; the run can be started again."""

    exit_code = 75


class Watch:
    """The heartbeats of a run's processes, through the key-value store of JAX's coordinator.

    Each process counts up a number of its own. Process 0 looks at the others' and tells
    all of one that stands still; whether process 0 is there shows in its answers. Silence is
    counted in looks, not by a clock, so that a machine that was asleep accuses nobody.

    Args:
        client: of the coordinator.
        process: this one's number.
        processes: how many there are.
        coordinator: address of process 0.
        silence: seconds after which a process counts as lost.
    """

    def __init__(self, client: Any, process: int, processes: int, coordinator: str, silence: float):
        self._client, self._process, self._processes = client, process, processes
        self._coordinator, self._silence = coordinator, silence
        self._interval = min(silence / 10, 3.0)
        self._looks = math.ceil(silence / self._interval)
        self._answers = 0
        self._verdict: tuple[str, int] | None = None
        self._known, self._closed = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._beat, self._listen)]

    def start(self) -> None:
        """Begins to beat and to look."""
        self._client.key_value_set(f"{_ROOT}/host/{self._process}", f"{socket.gethostname()}, pid {os.getpid()}")
        on_abort(lambda: self._verdict or self._silent())
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends the watch, when all processes have come to the end."""
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def fail(self, error: BaseException) -> None:
        """Tells the others why this process ends, and has it end without waiting for them.

        Raises:
            PeerError: it was another process that failed first.
        """
        if isinstance(error, JaxRuntimeError):
            # A sum over processes breaks before the loss of one is known.
            self._known.wait((self._looks + 2) * self._interval)
        verdict = self._verdict
        if verdict is None:
            known = isinstance(error, SpermjaxError)
            text, code = (str(error), error.exit_code) if known else (f"{type(error).__name__}: {error}", 1)
            self._tell(self._process, text, code)
        else:
            code = verdict[1]
        self._acknowledge()
        if self._process == 0:
            self._see_off()
        self._closed.set()
        # JAX's own farewell would wait for those that are gone.
        atexit.register(end, code)
        if verdict is not None:
            raise PeerError(verdict[0]) from error

    def _beat(self) -> None:
        seen: dict[int, tuple[str | None, int]] = {}
        for number in itertools.count():
            try:
                self._client.key_value_set(f"{_ROOT}/beat/{self._process}", str(number), allow_overwrite=True)
                if self._process == 0:
                    self._look(seen)
                told = [text for key, text in self._all("failed") if key != str(self._process)]
            except JaxRuntimeError:
                told = []  # Silence of the coordinator is counted by `_listen`.
            else:
                self._answers += 1
            if told:
                self._judge(tuple(json.loads(told[0])))
                return
            if self._closed.wait(self._interval):
                return

    def _look(self, seen: dict[int, tuple[str | None, int]]) -> None:
        """Process 0's look at the others' beats."""
        beats = dict(self._all("beat"))
        for process in range(1, self._processes):
            beat = beats.get(str(process))
            last, still = seen.get(process, (None, 0))
            seen[process] = (beat, still + 1 if beat == last else 0)
            if seen[process][1] >= self._looks:
                self._tell(process, f"not heard of for {self._silence:g} s. {_REMEDY}", PeerError.exit_code)

    def _listen(self) -> None:
        """Counts the looks at which the coordinator had not answered since the last."""
        last, still = self._answers, 0
        while not self._closed.wait(self._interval):
            last, still = self._answers, still + 1 if self._answers == last else 0
            # The coordinator's own time limits come first where it is there but slow.
            if still >= self._looks + 2 and not self._known.is_set():
                self._judge(self._silent())
                return

    def _silent(self) -> tuple[str, int]:
        return (
            f"Process 0 of {self._processes}, which coordinates at {self._coordinator}, is lost. {_REMEDY}",
            PeerError.exit_code,
        )

    def _judge(self, verdict: tuple[str, int]) -> None:
        self._verdict = verdict
        self._known.set()
        if not self._closed.wait(GRACE):
            # The main thread waits for a sum that will never come.
            leave(*verdict)

    def _tell(self, process: int, text: str, code: int) -> None:
        try:
            host = self._client.key_value_try_get(f"{_ROOT}/host/{process}")
            told = json.dumps([f"Process {process} of {self._processes} ({host}): {text}", code])
            self._client.key_value_set(f"{_ROOT}/failed/{process}", told, allow_overwrite=True)
        except JaxRuntimeError as error:
            print(f"spermjax: the other processes could not be told ({error})", file=sys.stderr)

    def _acknowledge(self) -> None:
        try:
            self._client.key_value_set(f"{_ROOT}/gone/{self._process}", "", allow_overwrite=True)
        except JaxRuntimeError as error:
            print(f"spermjax: process 0 could not be told ({error})", file=sys.stderr)

    def _see_off(self) -> None:
        """Keeps the coordinator up until all others know, or long enough."""
        latest = time.monotonic() + GRACE + self._interval
        while len(self._all("gone")) < self._processes and time.monotonic() < latest:
            time.sleep(0.1)

    def _all(self, what: str) -> list[tuple[str, str]]:
        found = self._client.key_value_dir_get(f"{_ROOT}/{what}/")
        return [(key.rsplit("/", 1)[1], value) for key, value in found]


_REMEDY = (
    "It was killed, or its machine or network is gone. All processes end here; what was saved is whole. "
    "Start all of them again, with `spermjax resume RUN` or the --tracking.run-id of before."
)
