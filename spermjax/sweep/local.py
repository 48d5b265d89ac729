"""The local engine: worker processes on this machine, each with its share of the devices."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

from spermjax.errors import SpermjaxError
from spermjax.sweep.devices import shares
from spermjax.sweep.folder import Folder
from spermjax.sweep.worker import prepare

MOST_RESTARTS = 20
"""A worker that dies more often than this is not started again."""


class Stopped(SpermjaxError):
    """The sweep was told to stop by a signal; what was trained is kept."""

    def __init__(self, signum: int):
        super().__init__(
            f"Stopped by {signal.Signals(signum).name}. Give the same command again to go on; no trial is lost."
        )
        self.exit_code = 128 + signum


class Workers:
    """Worker processes, kept going until no trial is left or the sweep is told to stop.

    Args:
        folder: of the sweep.
        count: how many.
        say: takes a line for each trial.
    """

    def __init__(self, folder: Folder, count: int, say: Callable[[str], None]):
        self._folder, self._say = folder, say
        self._shares = shares(count)
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._lock, self._signum = threading.Lock(), 0
        self._problems: list[str] = []

    def run(self) -> None:
        """Returns when all workers have ended.

        Raises:
            Stopped: by SIGTERM or SIGINT.
            SpermjaxError: the workers can't go on.
        """
        with self._signals():
            threads = [
                threading.Thread(target=self._keep, args=(number, share)) for number, share in enumerate(self._shares)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if self._signum:
            raise Stopped(self._signum)
        if self._problems:
            raise SpermjaxError("\n".join(self._problems))

    def _keep(self, number: int, share: dict[str, str]) -> None:
        """Runs one worker, and another in its place when it dies."""
        log = self._folder.path / "workers" / f"{number}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "spermjax.sweep.worker", str(self._folder.path)]
        for _ in range(MOST_RESTARTS):
            with self._lock:
                if self._signum:
                    return
                file = log.open("a")
                process = self._processes[number] = subprocess.Popen(
                    command,
                    env=os.environ | share,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    text=True,
                    start_new_session=True,  # Ctrl-C reaches the workers through us, once.
                )
                file.close()
            assert process.stdout is not None
            for line in process.stdout:
                self._say(line.rstrip())
            code = process.wait()
            if code == 0 or self._signum:
                return
            last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
            if code == SpermjaxError.exit_code:
                self._problems.append(f"Worker {number} can't go on: {last.removeprefix('spermjax: ')} (see {log})")
                return
            self._say(f"worker {number} died (exit code {code}); starting another. See {log}")
        self._problems.append(f"Worker {number} died {MOST_RESTARTS} times. See {log}")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Passes SIGTERM and SIGINT on to the workers, which save and stop."""

        def stop(signum: int, frame: object) -> None:
            del frame
            self._signum = signum
            for process in self._processes.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def run(folder: Folder, workers: int, say: Callable[[str], None]) -> None:
    """Runs all trials of a sweep that are not finished, on this machine.

    Args:
        folder: of the sweep.
        workers: processes.
        say: takes a line for each trial.

    Raises:
        Stopped, SpermjaxError: as `Workers.run`.
    """
    prepare(folder)
    Workers(folder, workers, say).run()
