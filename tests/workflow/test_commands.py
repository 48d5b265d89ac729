"""The commands, as a user calls them, on the dummy data of the builders."""

import csv
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from spermjax.cli import COMMANDS, main
from tests.workflow.conftest import DUMMY, write_experiment


def said(capsys) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_run_folder_holds_all_that_is_needed(small_run):
    files = {path.relative_to(small_run).as_posix() for path in small_run.rglob("*") if path.is_file()}
    assert {
        "config.json",
        "environment.json",
        "data.json",
        "metrics.jsonl",
        "summary.json",
        "evaluation/validation.json",
        "evaluation/validation.csv",
        "explanations/validation/examples.npz",
        "explanations/validation/table.csv",
        "explanations/validation/summary.json",
        "report/index.html",
    } <= files
    data = json.loads((small_run / "data.json").read_text())
    ids = [set(split["ids"]) for split in data["splits"].values()]
    assert not ids[0] & ids[1]
    assert "fold 0 of 3" in data["protocol"]


def test_scores_stored_are_those_of_the_predictions_stored(small_run):
    with (small_run / "evaluation" / "validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores = json.loads((small_run / "evaluation" / "validation.json").read_text())
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert scores["overall"]["accuracy"]["value"] == pytest.approx(right)
    assert scores["n"] == len(rows)
    for row in rows:
        probability = [float(value) for name, value in row.items() if name.startswith("probability")]
        assert sum(probability) == pytest.approx(1.0, abs=1e-4)


def test_methods_and_baselines_stand_in_one_table(small_run):
    rows = json.loads((small_run / "explanations" / "validation" / "summary.json").read_text())["rows"]
    methods = {row["method"]: row["baseline"] for row in rows}
    assert methods["grad_cam"] is False
    assert methods["centre_gaussian"] is True
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["n"] > 1 and row["low"] is not None)


def test_evaluate_explain_report_predict(small_run, tmp_path, capsys):
    assert main(["evaluate", str(small_run), "--split", "train", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "train"
    assert main(["report", str(small_run)]) == 0
    image = sorted((DUMMY / "hushem" / "dummy_data").rglob("*.BMP"))[0]
    capsys.readouterr()
    assert main(["predict", str(small_run), str(image), "--json"]) == 0
    (prediction,) = json.loads(capsys.readouterr().out)
    assert max(prediction["probability"], key=prediction["probability"].get) == prediction["predicted"]
    out = tmp_path / "maps"
    assert main(["explain", str(small_run), str(image), "--methods", "rollout", "--out", str(out)]) == 0
    stored = np.load(out / "examples.npz", allow_pickle=False)
    assert stored["maps/rollout"].shape == (1, 32, 32)
    assert np.ptp(stored["maps/rollout"]) > 0
    assert len(list((out / "overlays").glob("*.png"))) == 1


def test_predict_agrees_with_the_evaluation(small_run, capsys):
    with (small_run / "evaluation" / "validation.csv").open() as file:
        row = next(csv.DictReader(file))
    image = next(path for path in (DUMMY / "hushem" / "dummy_data").rglob("*.BMP") if row["id"].endswith(path.name))
    assert row["id"].split("/")[-2] in str(image)
    main(["predict", str(small_run), str(image), "--json"])
    (prediction,) = json.loads(capsys.readouterr().out)
    for name, value in prediction["probability"].items():
        assert value == pytest.approx(float(row[f"probability_{name}"]), abs=1e-4)


def test_multi_attribute_end_to_end(tmp_path, capsys):
    assert main(["train", str(write_experiment(tmp_path, "mhsma", "official")), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] > 0
    scores = json.loads((tmp_path / "runs" / "small" / "one" / "evaluation" / "validation.json").read_text())
    assert set(scores["per_name"]) == {"acrosome", "head", "vacuole", "tail"}


def test_the_same_run_again_goes_on_and_another_configuration_is_refused(small_run, capsys):
    file = small_run.parents[2] / "hushem.py"
    metrics = (small_run / "metrics.jsonl").read_text()
    assert main(["train", str(file)]) == 0
    assert (small_run / "metrics.jsonl").read_text() == metrics
    assert main(["train", str(file), "--model.depth", "1"]) == 2
    assert "model.depth" in said(capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("unwritten_cache")
def test_killed_from_outside_and_resumed_equals_unbroken(small_run, tmp_path):
    """SIGKILL at the first checkpoint, through the command line in another process."""
    path = write_experiment(tmp_path, "hushem", "kfold")
    run = tmp_path / "runs" / "small" / "one"
    process = subprocess.Popen([sys.executable, "-m", "spermjax.cli", "train", str(path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(run.glob("checkpoints/*.sha256.json")):
        assert time.monotonic() < deadline
        assert process.poll() in (None, 0)
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert main(["resume", str(run)]) == 0
    unbroken, broken = ((folder / "evaluation" / "validation.csv").read_text() for folder in (small_run, run))
    assert broken == unbroken


@pytest.mark.parametrize("command", [*COMMANDS, "data prepare", "data check", "data show", "data describe"])
def test_help_teaches(command, capsys):
    try:
        code = main([*command.split(), "--help"])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 0
    assert len(said(capsys)) > 100


def test_help_of_an_experiment_shows_each_field_with_its_default(capsys):
    with pytest.raises(SystemExit):
        main(["train", "phantom_quickstart", "--help"])
    text = said(capsys)
    assert "--model.depth" in text
    assert "--guidance.weight" in text


def test_help_imports_nothing_heavy():
    code = (
        "import sys, spermjax.cli as c; c.main(['--help']); c.main(['train', '--help']);"
        "print({'jax', 'tensorflow', 'wandb', 'matplotlib', 'flax', 'orbax', 'grain'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("set()")


def test_importing_the_training_code_loads_no_tensorflow():
    code = "import sys, spermjax.workflow.train; print({'tensorflow'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("set()")


def test_doctor_models_and_experiments_speak_json(capsys, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "s" * 40)
    # Of all models, each would be traced; of one, enough is.
    for command in ("doctor", "models vit_ti_16", "experiments"):
        assert main([*command.split(), "--json"]) == 0
        text = capsys.readouterr().out
        assert json.loads(text)
        assert "ssss" not in text


def test_a_convolutional_network_is_trained_explained_and_reported(tmp_path):
    file = write_experiment(tmp_path, "hushem", "kfold")
    words = ["--model.name", "simple_cnn", "--model.cbam", "last", "--tracking.wandb", "disabled"]
    for size in ("patch-size", "width", "depth", "heads"):
        words += [f"--model.{size}", "None"]
    words += ["--interpret.methods", "grad_cam_plus_plus", "cbam_spatial", "--interpret.during-training", "grad_cam"]
    assert main(["train", str(file), *words]) == 0
    run = tmp_path / "runs" / "small" / "one"
    assert (run / "report" / "index.html").exists()
    table = (run / "explanations" / "validation" / "table.csv").read_text()
    assert "grad_cam_plus_plus" in table and "cbam_spatial" in table and "centre_gaussian" in table
