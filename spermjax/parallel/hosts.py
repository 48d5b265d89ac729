"""Several processes, on one host or many, as one run.

Each takes the same steps on its own share of every batch. Process 0 alone owns the run
folder: what the others must know of it, it tells them. They come together before JAX
has started and leave together; the loss of one ends all (`spermjax.parallel.watch`).
"""

import contextlib
import itertools
import json
import math
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax._src import distributed

from spermjax.config import Hosts
from spermjax.errors import ConfigError
from spermjax.parallel.abort import on_abort
from spermjax.parallel.watch import PeerError, Watch

_number = itertools.count()
_FOR_EVER_MS = 1 << 40
"""Processes wait for each other as long as all are there, which the watch sees to."""


def is_first() -> bool:
    """Whether this process writes: it is process 0, or alone."""
    return jax.process_index() == 0


def from_first(make: Callable[[], Any]) -> Any:
    """A value that process 0 makes and all get; all ask in the same order.

    Args:
        make: gives something JSON-able; called in process 0 alone.
    """
    if jax.process_count() == 1:
        return make()
    client, key = distributed.global_state.client, f"spermjax/told/{next(_number)}"
    assert client is not None
    if is_first():
        client.key_value_set(key, json.dumps(make()))
    return json.loads(client.blocking_key_value_get(key, _FOR_EVER_MS))


@contextlib.contextmanager
def joined(hosts: Hosts) -> Iterator[None]:
    """Makes this process one of several, for the duration; does nothing where none are asked for.

    Args:
        hosts: who coordinates, how many processes there are, and which one this is.

    Raises:
        ConfigError: JAX has started already, no cluster was found, or the coordinator does not answer.
        PeerError: another process failed or was lost.
    """
    if not hosts.several:
        yield
        return
    _connect(hosts)
    state = distributed.global_state
    assert state.client is not None and state.coordinator_address is not None
    watch = Watch(state.client, state.process_id, state.num_processes, state.coordinator_address, hosts.lost_after)
    watch.start()
    try:
        yield
        state.client.wait_at_barrier("spermjax/end", _FOR_EVER_MS)
    except BaseException as error:
        watch.fail(error)
        raise
    watch.close()
    jax.distributed.shutdown()
    on_abort(None)


def _connect(hosts: Hosts) -> None:
    address, seconds = hosts.coordinator, hosts.start_within
    if address is not None and hosts.process:
        _reach(address, seconds)
    # SIGTERM asks the training loop to stop, in all processes at once; JAX's service would swallow it.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    on_abort(lambda: (_missing(seconds), PeerError.exit_code))
    try:
        jax.distributed.initialize(
            coordinator_address=address,
            num_processes=hosts.processes,
            process_id=hosts.process,
            cluster_detection_method=None if hosts.cluster == "auto" else "deactivate",
            initialization_timeout=math.ceil(seconds),
            # Longer than the watch's, which names who is lost.
            heartbeat_timeout_seconds=math.ceil(10 * hosts.lost_after),
            shutdown_timeout_seconds=math.ceil(hosts.lost_after),
        )
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"These processes can't become one run: {error} Give --hosts.coordinator HOST:PORT, "
            "--hosts.processes N and --hosts.process I to each, or start them under Slurm, Kubernetes, Open MPI "
            "or on a TPU pod with --hosts.cluster auto."
        ) from error


def _reach(address: str, seconds: float) -> None:
    """Waits until something listens at the coordinator's address."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=max(1.0, seconds / 10)).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise ConfigError(
                    f"--hosts.coordinator {address} does not answer ({error}); waited {seconds:g} s "
                    "(--hosts.start-within). Start process 0 there, open the port, or mend the address."
                ) from None
        time.sleep(min(1.0, seconds / 10))


def _missing(seconds: float) -> str:
    state = distributed.global_state
    return (
        f"Process {state.process_id} of {state.num_processes} and the others did not meet at "
        f"{state.coordinator_address} within {seconds:g} s (--hosts.start-within). Start each number from 0 to "
        f"{state.num_processes - 1} once, with the same --hosts.coordinator and --hosts.processes."
    )
