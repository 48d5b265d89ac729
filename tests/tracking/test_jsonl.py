"""The record in the run folder: complete, cut at the resume step, and clear when it can't be written."""

import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from spermjax.errors import SpermjaxError
from spermjax.files import write_atomic
from spermjax.tracking.jsonl import Jsonl, read


def write(run, steps, resume_step=None):
    tracker = Jsonl(run, resume_step=resume_step)
    for step in steps:
        tracker.log(step, {"train/loss": step / 10, "epoch": step / 4})
    tracker.finish()


def test_each_line_is_a_plain_json_object_readable_before_the_end(tmp_path):
    tracker = Jsonl(tmp_path / "run", resume_step=None)
    tracker.log(3, {"epoch": 1, "train/loss": jnp.float32(0.5), "lr": np.float64(1e-3), "bad": float("nan")})
    tracker.log(4, {"inf": np.inf})
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert list(lines[0]) == ["step", "epoch", "time", "train/loss", "lr", "bad"]
    assert lines[0] | {"time": 0} == {"step": 3, "epoch": 1, "time": 0, "train/loss": 0.5, "lr": 1e-3, "bad": None}
    assert lines[1]["inf"] is None
    assert lines == read(tmp_path / "run")
    tracker.finish()


def test_resume_gives_the_lines_of_an_unbroken_run(tmp_path):
    """Killed at step 9 in the middle of a line, resumed from the checkpoint of step 5."""
    write(tmp_path / "unbroken", range(12))
    write(tmp_path / "killed", range(9))
    with (tmp_path / "killed/metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "train/lo')
    write(tmp_path / "killed", range(6, 12), resume_step=5)
    unbroken, resumed = ([{**line, "time": 0} for line in read(tmp_path / run)] for run in ("unbroken", "killed"))
    assert resumed == unbroken


def test_resume_without_anything_to_cut_leaves_the_file_alone(tmp_path):
    write(tmp_path, range(3))
    before = (tmp_path / "metrics.jsonl").stat()
    Jsonl(tmp_path, resume_step=2).finish()
    after = (tmp_path / "metrics.jsonl").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_start_from_nothing_replaces_lines_of_a_run_that_left_no_checkpoint(tmp_path):
    write(tmp_path, range(5))
    write(tmp_path, range(2))
    assert [line["step"] for line in read(tmp_path)] == [0, 1]


def test_damage_in_the_middle_is_named_and_nothing_is_lost(tmp_path):
    write(tmp_path, range(3))
    path = tmp_path / "metrics.jsonl"
    damaged = path.read_text().replace('{"step": 1', '"step": 1')
    path.write_text(damaged)
    with pytest.raises(SpermjaxError, match=r"Line 2 of .*metrics\.jsonl"):
        Jsonl(tmp_path, resume_step=2)
    assert path.read_text() == damaged


def test_figures_and_summary_are_kept_in_the_run(tmp_path):
    tracker = Jsonl(tmp_path, resume_step=None)
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    tracker.figure(40, "interpret/rollout", image, "Zelle 3: normal")
    tracker.summary({"accuracy": np.float32(0.5), "auroc": float("nan")})
    tracker.finish()
    with Image.open(tmp_path / "figures/interpret-rollout-00000040.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), image)
        assert stored.info["Description"] == "Zelle 3: normal"
    assert json.loads((tmp_path / "summary.json").read_text()) == {"accuracy": 0.5, "auroc": None}


def test_a_folder_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpermjaxError, match=r"file/run/metrics\.jsonl can't be written: Not a directory"):
        Jsonl(tmp_path / "file/run", resume_step=None)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from spermjax.errors import SpermjaxError
from spermjax.tracking.jsonl import Jsonl
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run = Path(sys.argv[1])
tracker = Jsonl(run, resume_step=None)
resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
try:
    for step in range(100):
        tracker.log(step, {"train/loss": 0.5})
except SpermjaxError as error:
    print(error)
"""


def test_a_full_disk_is_one_clear_error_and_leaves_a_record_that_resumes(tmp_path):
    """The file-size limit of a child process stands for the disk's end."""
    out = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=False)
    assert f"{tmp_path / 'metrics.jsonl'} can't be written: File too large." in out.stdout
    steps = [line["step"] for line in read(tmp_path)]
    assert steps == list(range(len(steps))) and len(steps) > 3
    write(tmp_path, [4, 5], resume_step=3)
    assert [line["step"] for line in read(tmp_path)] == [0, 1, 2, 3, 4, 5]


def test_an_atomic_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    write_atomic(path, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(SpermjaxError, match=r"config\.json can't be written: No space left on device\. Free some"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
