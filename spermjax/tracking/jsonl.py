"""The record of a run in its own folder: `metrics.jsonl`, which is the truth, and the figures."""

import io
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from spermjax.errors import SpermjaxError
from spermjax.files import write_atomic, writing

METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
FIGURES = "figures"


class Jsonl:
    """Appends one JSON object a line: `step`, `epoch` if given, `time` and the values.

    `time` is in seconds since 1970; a value that is not finite is null. Each line is
    handed to the operating system at once, so a kill loses at most a torn last line.

    Args:
        run: the run's folder.
        resume_step: step of the checkpoint that the run goes on from. Lines after it
            are cut off, since they will be written again; None cuts off all.

    Raises:
        SpermjaxError: the folder can't be written, or a line in the middle is no JSON.
    """

    def __init__(self, run: Path, *, resume_step: int | None):
        self._run = run
        self._path = run / METRICS
        if self._path.exists():
            self._cut(-1 if resume_step is None else resume_step)
        with writing(self._path):
            run.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        line: dict[str, float | int | None] = {"step": int(step)}
        if "epoch" in values:
            line["epoch"] = _number(values["epoch"])
        line["time"] = round(time.time(), 3)
        line |= {name: _number(value) for name, value in values.items() if name != "epoch"}
        with writing(self._path):
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._file.flush()

    def figure(self, step: int, name: str, image: UInt8[np.ndarray, "height width 3"], caption: str) -> None:
        """Stores a PNG under `figures/`, its caption inside."""
        text, png = PngInfo(), io.BytesIO()
        text.add_itxt("Description", caption)
        Image.fromarray(image).save(png, "PNG", pnginfo=text)
        write_atomic(self._run / FIGURES / f"{name.replace('/', '-')}-{step:08d}.png", png.getvalue())

    def summary(self, values: Mapping[str, float]) -> None:
        """Stores `summary.json`."""
        numbers = {name: _number(value) for name, value in values.items()}
        write_atomic(self._run / SUMMARY, json.dumps(numbers, indent=2, allow_nan=False) + "\n")

    def alert(self, title: str, text: str) -> None:
        """The error that follows is for whoever started the run."""

    def complete(self) -> None:
        """Nothing is left to write."""

    def finish(self) -> None:
        with writing(self._path):
            self._file.close()

    def _cut(self, last_step: int) -> None:
        """Drops a torn last line and the lines after `last_step`, in one atomic step."""
        before = self._path.read_bytes()
        kept = [line for line in _lines(self._path, before) if json.loads(line)["step"] <= last_step]
        after = b"".join(kept)
        if after != before:
            write_atomic(self._path, after)


def read(run: Path) -> list[dict[str, float | None]]:
    """The lines of a run's `metrics.jsonl`, a torn last one left out; none where there is no file.

    Raises:
        SpermjaxError: a line in the middle is no JSON object with a step.
    """
    path = run / METRICS
    return [json.loads(line) for line in _lines(path, path.read_bytes())] if path.exists() else []


def _lines(path: Path, content: bytes) -> list[bytes]:
    lines = content.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    for number, line in enumerate(lines, start=1):
        try:
            json.loads(line)["step"]
        except (ValueError, TypeError, KeyError):
            raise SpermjaxError(
                f"Line {number} of {path} is not a JSON object with a step: {line[:60]!r}. "
                "The file was changed by something else; remove or mend that line."
            ) from None
    return lines


def _number(value: float) -> float | int | None:
    """A plain number from Python's, NumPy's or JAX's; None where it is not finite."""
    number = value if isinstance(value, int) else float(value)
    return number if math.isfinite(number) else None
