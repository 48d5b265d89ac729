"""Whether a run survives whatever befalls it, and ends as one to which nothing happened.

    python -m benchmarks.chaos --minutes 5 --json chaos.json

trains a small model again and again while its process is killed (`kill -9`) or told to
stop (SIGTERM) at random moments, its newest checkpoint is cut short or has a bit
flipped, its disk is full (a limit on file size), and a second process is started on
its folder. Each run is then compared with an unbroken one: all parameters, the
optimiser's state and each logged number must be the same, bit for bit. Ends with 1
where they are not.
"""

import dataclasses
import hashlib
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro

STEPS, EXAMPLES, EVERY = 400, 160, 2.0
"""Ten steps an epoch, so that a checkpoint is written every twenty steps."""
FULL_BYTES = (2_000, 60_000)
"""Least and largest limit on the size of a file: for the log, or for a checkpoint alone."""
STEPPING = 0.8
"""Share of the lives that meet their trouble while they take steps; the others while they import and compile."""
TROUBLES = ("kill", "terminate", "flip", "cut", "full", "twice")
ENDS = {
    "kill": (-signal.SIGKILL,),
    "terminate": (128 + signal.SIGTERM, -signal.SIGTERM),
    "full": (2,),
    "twice": (-signal.SIGKILL,),
}
"""Codes with which a life may end, besides 0 where it was done before: nothing else, no traceback."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long, and which troubles."""

    minutes: float = 5.0
    """Time for troubles; the runs that are under way are then brought to their ends."""
    seed: int = 0
    """Of the troubles and their moments."""
    folder: Path | None = None
    """Where the runs go (default: a temporary folder that is removed)."""
    json: Path | None = None
    """Write the counts here."""


def live(folder: Path) -> int:
    """One life of the process that trains; says when it starts to, and what it came to."""
    import jax

    from benchmarks import noise
    from spermjax.errors import SpermjaxError
    from spermjax.run import create
    from spermjax.tracking.jsonl import Jsonl
    from spermjax.train.loop import fit, locate
    from spermjax.train.session import build_session

    def evaluate(variables: Any) -> tuple[dict[str, float], float]:
        norm = float(sum(np.abs(np.asarray(leaf)).sum() for leaf in jax.tree.leaves(variables)))
        return {"validation/norm": norm}, -norm

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    experiment = noise.experiment(folder.parent.parent, folder.name, STEPS, EVERY)
    try:
        run = create(experiment)
        with run.lock():
            session = build_session(experiment, noise.dataset(EXAMPLES))
            position = locate(session, run)
            tracker = Jsonl(run.path, resume_step=position.step)
            print("training", flush=True)
            outcome = fit(session, position, evaluate, tracker)
            tracker.finish()
    except SpermjaxError as error:
        print(f"SpermjaxError: {error}", flush=True)
        return 2
    if outcome.signum is not None:
        return 128 + outcome.signum
    leaves = jax.tree.leaves(position.state)
    print(hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest(), flush=True)
    return 0


def start(folder: Path, largest: int | None = None) -> subprocess.Popen[str]:
    """Starts a life, with room for files of so many bytes alone where it is limited."""
    limit: Callable[[], None] | None = None
    if largest is not None:

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    command = [sys.executable, "-m", "benchmarks.chaos", "--live", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit)


class End(NamedTuple):
    """How a life ended: its code, its last words, and what it warned of or raised."""

    code: int
    words: str
    errors: str


def finish(process: subprocess.Popen[str]) -> End:
    """Waits for a life's end."""
    out, errors = process.communicate(timeout=600)
    return End(process.returncode, out.strip().splitlines()[-1] if out.strip() else "", errors[-2000:])


def wait_for_word(process: subprocess.Popen[str]) -> None:
    """Returns when a life has said that it starts to train, or has ended."""
    assert process.stdout is not None
    process.stdout.readline()


def wait_for_step(process: subprocess.Popen[str], log: Path) -> None:
    """Returns when a life has logged a step of its own, or has ended."""
    wait_for_word(process)  # It has cut from the log what no checkpoint knows of, and compiles.

    def size() -> int:
        return log.stat().st_size if log.exists() else 0

    before = size()
    while process.poll() is None and size() <= before:
        time.sleep(0.02)


def damage(folder: Path, how: str, rng: np.random.Generator) -> bool:
    """Cuts a file of the newest checkpoint short or flips a bit in it, where there is an older one to go back to."""
    whole = sorted(int(path.name.split(".")[0]) for path in (folder / "checkpoints").glob("*.sha256.json"))
    if len(whole) < 2:
        return False
    files = [path for path in (folder / "checkpoints" / str(whole[-1])).rglob("*") if path.is_file()]
    files = sorted(path for path in files if path.stat().st_size)
    path = files[rng.integers(len(files))]
    content = bytearray(path.read_bytes())
    place = int(rng.integers(len(content)))
    if how == "flip":
        content[place] ^= 1 << int(rng.integers(8))
    else:
        del content[place:]
    path.write_bytes(content)
    return True


def trouble(folder: Path, kind: str, rng: np.random.Generator) -> tuple[str, End]:
    """One life with one trouble in it.

    Returns:
        What was done in the end, and how the life ended.
    """
    if kind == "full":
        return kind, finish(start(folder, int(rng.integers(*FULL_BYTES))))
    process = start(folder)
    if kind == "twice":
        wait_for_word(process)
        second = finish(start(folder))
        done = process.poll() is not None
        process.kill()
        if not done and (second.code != 2 or "Another process" not in second.words):
            raise AssertionError(f"a second process was not refused: {second}")
        return kind, finish(process)
    if rng.random() < STEPPING:
        wait_for_step(process, folder / "metrics.jsonl")
    time.sleep(rng.uniform(0.0, 2.0))
    process.send_signal(signal.SIGTERM if kind == "terminate" else signal.SIGKILL)
    ended = finish(process)
    if kind in ("flip", "cut") and not damage(folder, kind, rng):
        kind = "kill"
    return kind, ended


def lines(folder: Path) -> list[dict[str, Any]]:
    """What was logged, without the time."""
    logged = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "time"} for line in logged]


def storm(settings: Settings, runs: Path) -> dict[str, Any]:
    """All troubles, in random order, until time is up.

    Returns:
        How often each befell, runs completed, and how many of these differ from the unbroken one.
    """
    rng = np.random.default_rng(settings.seed)
    whole = runs / "noise" / "unbroken"
    code, expected, errors = finish(start(whole))
    assert code == 0, errors
    expected_lines, counts, ends = lines(whole), Counter(), []
    until, waiting = time.monotonic() + 60 * settings.minutes, []
    while time.monotonic() < until:
        folder, end = runs / "noise" / f"run-{len(ends)}", End(1, "", "not started")
        while end.code != 0 and time.monotonic() < until:
            waiting = waiting or rng.permutation(TROUBLES).tolist()
            wanted = waiting.pop()
            kind, end = trouble(folder, wanted, rng)
            if end.code not in (0, *ENDS.get(wanted, ENDS["kill"])):
                raise AssertionError(f"after {wanted!r} a process ended with {end.code}: {end.words}\n{end.errors}")
            counts[kind] += 1
        if end.code != 0:
            end = finish(start(folder))
        ends.append(end.code == 0 and end.words == expected and lines(folder) == expected_lines)
        if not ends[-1]:
            print(f"{folder} ended with {end}; unbroken: {expected}", file=sys.stderr)
    return {"troubles": dict(counts), "runs": len(ends), "differing": ends.count(False), "unbroken": expected}


def main(settings: Settings) -> int:
    """Runs the storm and says what it came to."""
    with tempfile.TemporaryDirectory() as temporary:
        result = storm(settings, settings.folder or Path(temporary))
    for kind in TROUBLES:
        print(f"{kind:<10} {result['troubles'].get(kind, 0)}")
    print(f"runs completed {result['runs']}, differing from the unbroken one {result['differing']}")
    if settings.json is not None:
        settings.json.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if result["differing"] else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--live"]:
        sys.exit(live(Path(sys.argv[2])))
    sys.exit(main(tyro.cli(Settings, description=__doc__)))
