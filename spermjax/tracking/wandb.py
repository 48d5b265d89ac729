"""Weights & Biases: online with a key, offline without, and never in the way of training."""

import contextlib
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from spermjax.config import Tracking
from spermjax.files import write_atomic
from spermjax.tracking.publish import publish, publish_explanations
from spermjax.tracking.records import mark_sent

CHECKPOINT_STEP = "checkpoint_step"
"""Field that says which step's model a figure or table is of."""
INIT_TIMEOUT_SECONDS = 10.0
FINISH_TIMEOUT_SECONDS = 60.0

_SENDER = ThreadPoolExecutor(1, "wandb")  # One for all runs: W&B's own process, which they share, starts once.
_log = logging.getLogger(__name__)


def wanted_mode(setting: str) -> str:
    """`auto`, `online`, `offline` or `disabled`: the setting, where it is `auto` the variable WANDB_MODE."""
    return setting if setting != "auto" else os.environ.get("WANDB_MODE", "auto")


class Wandb:
    """Sends a run to Weights & Biases, or records it under `<run>/wandb` for `spermjax sync`.

    A thread does so, in the order of the calls, and training doesn't wait for it: W&B is
    imported and started when there is something to send, beside the first steps. Whatever
    goes wrong there is said once and training goes on: `metrics.jsonl` holds the same
    numbers. A server that doesn't answer within ten seconds makes the run offline; at the
    end, uploading may take a minute. A resumed run keeps its identity, kept in
    `<run>/wandb/run_id`, and continues on the server when online.

    Args:
        tracking: project, tags and mode.
        run: the run's folder; its name becomes the run's; seeds and folds of one variant share a group.
        config: the experiment as JSON-able values.

    Raises:
        SpermjaxError: the run's folder can't be written.
    """

    def __init__(self, tracking: Tracking, run: Path, config: Mapping[str, Any]):
        self._said: set[str] = set()
        self._folder, self._step = run, 0
        self._mode, self._opened = wanted_mode(tracking.wandb), False
        self._run: Any = None
        self._arguments: dict[str, Any] = {
            "id": _run_id(run),
            "dir": run,
            "project": tracking.project,
            "name": run.name,
            "group": _group(run, config),
            "job_type": _job_type(config),
            "tags": list(tracking.tags),
            "config": dict(config),
        }

    def log(self, step: int, values: Mapping[str, float]) -> None:
        numbers = {name: float(value) for name, value in values.items()}

        def send(run: Any) -> None:
            self._step = int(step)
            run.log(numbers, step=int(step))

        self._send("log", send)

    def figure(self, step: int, name: str, image: UInt8[np.ndarray, "height width 3"], caption: str) -> None:
        def send(run: Any) -> None:
            picture = self._wandb.Image(image, caption=caption)
            run.log({name: picture, **self._of(step)}, step=max(int(step), self._step))

        self._send("log a figure", send)

    def summary(self, values: Mapping[str, float]) -> None:
        numbers = {name: float(value) for name, value in values.items()}
        self._send("store the summary", lambda run: run.summary.update(numbers))

    def explanations(self, folder: Path) -> None:
        """Stores explained cells as a table, and the attention of each head as a histogram."""
        self._send("store explanations", lambda run: publish_explanations(run, folder, self._step))

    def artifact(self, name: str, kind: str, folder: Path) -> None:
        """Stores all files of a folder under a name that W&B versions."""

        def send(run: Any) -> None:
            artifact = self._wandb.Artifact(re.sub(r"[^\w.-]+", "_", name), type=kind)
            artifact.add_dir(str(folder))
            run.log_artifact(artifact)

        self._send("store an artifact", send)

    def alert(self, title: str, text: str) -> None:
        self._send("send an alert", lambda run: run.alert(title=title, text=text, level="ERROR"))

    def complete(self) -> None:
        self._send("publish tables and artifacts", lambda run: publish(run, self._folder, self._step))

    def finish(self) -> None:
        """Waits until all is sent, or W&B gives up."""

        def send(run: Any) -> None:
            record, start = Path(run.dir).parent / f"run-{run.id}.wandb", time.monotonic()
            run.finish()
            if run.offline:
                return
            # W&B gives up in silence at its limit; what was not sent by then waits in the record.
            if time.monotonic() - start < FINISH_TIMEOUT_SECONDS:
                mark_sent(record)
            else:
                _log.warning(
                    "Weights & Biases did not take everything in %.0f s. Send the rest with: spermjax sync %s",
                    FINISH_TIMEOUT_SECONDS,
                    self._folder,
                )

        self._send("finish", send).result()

    def _send(self, action: str, send: Callable[[Any], object]) -> Future[None]:
        """Has the thread open the run, if it is not, and send something to it."""

        def work() -> None:
            if not self._opened:
                self._open()
            if self._run is not None:
                with self._shielded(action):
                    send(self._run)

        return _SENDER.submit(work)

    def _open(self) -> None:
        import wandb

        self._opened, self._wandb = True, wandb
        if self._mode in ("auto", "online") and self._has_key(asked_for=self._mode == "online"):
            with self._shielded("start online, the run is recorded offline"):
                self._run = wandb.init(mode="online", resume="allow", settings=self._settings(), **self._arguments)
            if self._run is None:
                wandb.teardown()  # W&B's own process would keep the identity of the run that failed to start.
        if self._run is None:
            with self._shielded("start"):
                self._run = wandb.init(mode="offline", settings=self._settings(), **self._arguments)
        if self._run is not None:
            self._step = self._run.starting_step

    def _of(self, step: int) -> dict[str, int]:
        """W&B's steps never go back, so what shows an earlier model, as the best one, says so in a field."""
        return {CHECKPOINT_STEP: int(step)} if step < self._step else {}

    def _has_key(self, *, asked_for: bool) -> bool:
        """Whether there are credentials; looks at the environment and netrc without a prompt."""
        with self._shielded("use the key"):
            if self._wandb.login(prompt=False, verify=False):
                return True
            if asked_for:
                _log.warning(
                    "Weights & Biases was asked for online, but there is no key: the run is recorded offline. "
                    "Run `wandb login`, or set WANDB_API_KEY."
                )
        return False

    def _settings(self):
        return self._wandb.Settings(
            init_timeout=INIT_TIMEOUT_SECONDS,
            finish_timeout=FINISH_TIMEOUT_SECONDS,
            console="off",
            silent=True,
            reinit="create_new",  # Several runs are trained in one process, side by side or one after another.
        )

    @contextlib.contextmanager
    def _shielded(self, action: str) -> Iterator[None]:
        """Says once that an action failed, and lets training go on."""
        try:
            yield
        except Exception as error:
            if action not in self._said:
                self._said.add(action)
                _log.warning(
                    "Weights & Biases could not %s (%s: %s). Training goes on; metrics.jsonl holds all numbers.",
                    action,
                    type(error).__name__,
                    str(error).splitlines()[0] if str(error) else "no message",
                )


def _run_id(run: Path) -> str:
    """The identity of this run on the server, the same after a resume; a sweep's agent hands one out."""
    if "WANDB_SWEEP_ID" in os.environ and "WANDB_RUN_ID" in os.environ:
        return os.environ["WANDB_RUN_ID"]
    path = run / "wandb" / "run_id"
    if not path.exists():
        write_atomic(path, os.urandom(8).hex())
    return path.read_text()


def _group(run: Path, config: Mapping[str, Any]) -> str:
    """One group for all seeds and folds of a variant: the experiment's name and a digest of the rest."""
    rest = {name: value for name, value in config.items() if name not in ("seed", "tracking", "parallel")}
    rest["data"] = {name: value for name, value in config.get("data", {}).items() if name != "fold"}
    return f"{run.parent.name}-{hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:6]}"


def _job_type(config: Mapping[str, Any]) -> str:
    """`train`, or the fold where there are folds."""
    data = config.get("data", {})
    return f"fold-{data['fold']}" if data.get("split") == "kfold" else "train"
