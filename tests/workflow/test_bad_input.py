"""Each mistake gets one clear error that names the thing and the remedy, and loses nothing."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from spermjax.cli import main
from spermjax.config import Data, Experiment, Guidance, Interpret, Model
from spermjax.errors import ConfigError
from spermjax.run import create
from spermjax.validation import validate
from tests.workflow.conftest import DUMMY, write_experiment


def refused(capsys, *words: str) -> str:
    """What is said when a command ends with an error of the user's; no traceback."""
    try:
        code = main([str(word) for word in words])
    except SystemExit as stopped:
        code = stopped.code
    captured = capsys.readouterr()
    assert code == 2, captured
    assert "Traceback" not in captured.out + captured.err
    return captured.out + captured.err


def test_unknown_names_are_answered_with_the_nearest(capsys):
    assert "'train'" in refused(capsys, "trian")
    assert "'mhsma_vit'" in refused(capsys, "train", "mhsma_vt")
    assert "--model.depth" in refused(capsys, "train", "phantom_quickstart", "--model.depht", "3")
    assert "'sperm_phantom'" in refused(capsys, "train", "phantom_quickstart", "--data.name", "sperm_fantom")
    assert "'prepare'" in refused(capsys, "data", "prepar")


def test_all_problems_are_named_at_once():
    experiment = Experiment(
        data=Data(image_size=65, folds=1),
        model=Model(heads=5, dropout=1.5, attention="sofmax"),
        interpret=Interpret(methods=("rolout",)),
        guidance=Guidance(weight=1.0, layers=(9,), heads=(7,)),
    )
    with pytest.raises(ConfigError) as error:
        validate(experiment)
    for words in (
        "--model.patch-size 8 doesn't divide --data.image-size 65",
        "--model.heads 5 doesn't divide",
        "--model.dropout is 1.5; it must be a share",
        "'sofmax'. Did you mean 'softmax'",
        "'rolout'. Did you mean 'rollout'",
        "--guidance.layers names 9",
        "--guidance.heads names 7",
        "--data.folds is 1",
    ):
        assert words in str(error.value)


def test_sizes_beside_a_name_that_has_its_own_are_refused():
    """None is lost in silence, also not one that happens to be the default of another architecture."""
    with pytest.raises(ConfigError) as error:
        validate(Experiment(data=Data(image_size=64), model=Model(name="vit_s_16", depth=6, heads=6, stem="conv")))
    assert "--model.depth is 6, but vit_s_16 has 12" in str(error.value)
    assert "--model.heads" not in str(error.value)
    validate(Experiment(data=Data(image_size=64), model=Model(name="vit_s_16", stem="conv", mean=(0.4, 0.4, 0.4))))


def test_configuration_survives_its_own_storage():
    experiment = Experiment(data=Data(crop=96), guidance=Guidance(layers=(0, -1), parts=("a=tail",)))
    stored = json.loads(json.dumps(experiment.to_dict()))
    assert Experiment.from_dict(stored) == experiment
    stored["model"]["depht"] = 3
    with pytest.raises(ConfigError, match="depht"):
        Experiment.from_dict(stored)


@pytest.mark.parametrize("content", ["empty", "wrong", "missing"])
def test_manual_directory(tmp_path, capsys, content):
    folder = tmp_path / "manual"
    if content != "missing":
        folder.mkdir()
    if content == "wrong":
        (folder / "holiday.txt").write_text("sun")
    words = ("--manual-dir", folder, "--data-dir", tmp_path / "data")
    message = refused(capsys, "data", "prepare", "hushem", *words)
    assert str(folder) in message
    assert "HuSHeM" in message
    assert not list((tmp_path / "data").glob("hushem/**/*.array_record*"))


def test_truncated_and_mislabelled_images_are_all_named(tmp_path, capsys):
    shutil.copytree(DUMMY / "hushem" / "dummy_data", tmp_path / "manual")
    images = sorted((tmp_path / "manual").rglob("*.BMP"))
    images[0].write_bytes(images[0].read_bytes()[:60])
    images[1].write_text("this is no image")
    message = refused(
        capsys, "data", "prepare", "hushem", "--manual-dir", tmp_path / "manual", "--data-dir", tmp_path / "d"
    )
    assert images[0].name in message
    assert images[1].name in message


def test_no_run_folder(tmp_path, capsys, small_run):
    assert str(small_run) in refused(capsys, "evaluate", small_run.parent)
    assert "no run folder" in refused(capsys, "report", tmp_path)


def test_predict_names_every_bad_image(small_run, tmp_path, capsys):
    (tmp_path / "a.png").write_text("no image")
    message = refused(capsys, "predict", small_run, tmp_path / "a.png", tmp_path / "b.png")
    assert "a.png" in message
    assert "b.png" in message


def test_unknown_split_method_and_metric(small_run, capsys):
    assert "'validation'" in refused(capsys, "evaluate", small_run, "--split", "validaton")
    assert "'rollout'" in refused(capsys, "explain", small_run, "--methods", "rolout")
    assert "'insertion'" in refused(capsys, "explain", small_run, "--metrics", "insertoin")


def test_run_folder_that_cannot_be_written(tmp_path, capsys):
    path = write_experiment(tmp_path, "hushem", "kfold")
    (tmp_path / "file").write_text("in the way")
    message = refused(capsys, "train", path, "--tracking.runs", tmp_path / "file")
    assert str(tmp_path / "file") in message


def test_full_disk_ends_with_the_path_and_keeps_the_checkpoint(small_run, tmp_path):
    """A limit on file size stands for the full disk; the run is continued when there is room."""
    run = tmp_path / "runs" / "small" / "one"
    path = write_experiment(tmp_path, "hushem", "kfold")
    shutil.copytree(small_run.parents[2] / "data", tmp_path / "data")
    code = (
        "import resource, signal, sys, spermjax.cli, spermjax.workflow.train;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
        "sys.exit(spermjax.cli.main(sys.argv[1:]))"
    )
    words = ["train", str(path), "--tracking.wandb", "disabled"]
    # What the fixture compiled is read, and nothing is left half written for other tests.
    environment = {**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
    full = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment)
    assert full.returncode == 2, full.stderr
    # The checkpoint library's threads print what they met, before our line, after it or on it.
    (message,) = re.findall("spermjax: .*", full.stderr)
    assert str(run) in message
    assert main(words) == 0


def test_a_run_is_held_by_one_process(small_run):
    experiment = Experiment.from_dict(json.loads((small_run / "config.json").read_text()))
    run = create(experiment)
    code = f"from spermjax.run import find\nwith find({str(small_run)!r}).lock(): pass"
    with run.lock():
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Another process is training" in second.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_data_that_changed_are_refused(small_run, tmp_path, capsys):
    """Resuming or evaluating on other pixels than those of the run would be silent nonsense."""
    shutil.copytree(DUMMY / "hushem" / "dummy_data", tmp_path / "manual")
    images = sorted((tmp_path / "manual").rglob("*.BMP"))
    images[0].write_bytes(images[1].read_bytes())
    words = ("--manual-dir", tmp_path / "manual", "--data-dir", tmp_path / "data")
    assert "have changed" in refused(capsys, "evaluate", small_run, *words)
