"""TensorBoard's files, read back record by record without TensorFlow."""

import struct
import subprocess
import sys

import numpy as np
import pytest

from spermjax.config import Tracking
from spermjax.tracking import open_trackers, read


def scalars(folder) -> dict[tuple[str, int], float]:
    """Scalars of the event files: TFRecord framing is a length, its checksum, the bytes, their checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in folder.glob("events*"):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            found |= {(v.tag, event.step): v.simple_value for v in event.summary.value if v.HasField("simple_value")}
    return found


def test_the_event_file_holds_what_the_jsonl_holds(tmp_path):
    pytest.importorskip("tensorboardX", reason="pip install 'spermjax[tensorboard]'")
    tracker = open_trackers(Tracking(tensorboard=True, wandb="disabled"), tmp_path, {}, resume_step=None)
    for step in (10, 20):
        tracker.log(step, {"train/loss": 1 / step, "epoch": step / 10})
    tracker.figure(20, "cell", np.zeros((4, 6, 3), np.uint8), "a cell")
    tracker.finish()
    lines = {
        (name, line["step"]): value
        for line in read(tmp_path)
        for name, value in line.items()
        if name not in ("step", "time")
    }
    written = scalars(tmp_path / "tensorboard")
    assert written.keys() == lines.keys()
    for key, value in written.items():
        assert value == pytest.approx(lines[key])


def test_tensorflow_is_not_loaded(tmp_path):
    pytest.importorskip("tensorboardX", reason="pip install 'spermjax[tensorboard]'")
    code = (
        "import sys; from pathlib import Path; from spermjax.tracking.tensorboard import TensorBoard;"
        "t = TensorBoard(Path(sys.argv[1]), resume_step=3); t.log(4, {'a': 1.0}); t.finish();"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
