"""A run on the dummy data of a real builder, made once by the command line itself."""

from pathlib import Path

import pytest

from spermjax.cli import main

DUMMY = Path(__file__).parents[2] / "data_builders"

EXPERIMENT = '''
"""A run of seconds."""

from pathlib import Path

from spermjax.config import *


def experiment():
    return Experiment(
        name="small",
        data=Data(
            name="{name}", manual_dir=Path("{manual}"), data_dir=Path("{data}"), image_size=32, split="{split}", folds=3
        ),
        model=Model(patch_size=8, width=16, depth=2, heads=2),
        schedule=Schedule(epochs=3, batch_size=8, eval_every=1),
        augment=Augment(rotate=0.0, scale=0.0, shift=0.0, brightness=0.0, contrast=0.0),
        interpret=Interpret(
            methods=("raw_attention", "grad_cam"), during_training=("raw_attention",), examples=4, chunk=2
        ),
        tracking=Tracking(runs=Path("{runs}"), run_id="one", wandb="offline", log_every=1),
        parallel=Parallel(devices=1),
    )
'''


def write_experiment(folder: Path, name: str, split: str) -> Path:
    """An experiment file of one's own, on the dummy data of the named set."""
    path = folder / f"{name}.py"
    path.write_text(
        EXPERIMENT.format(
            name=name, manual=DUMMY / name / "dummy_data", data=folder / "data", runs=folder / "runs", split=split
        )
    )
    return path


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    """The folder of a completed single-label run."""
    folder = tmp_path_factory.mktemp("small")
    assert main(["train", str(write_experiment(folder, "hushem", "kfold"))]) == 0
    return folder / "runs" / "small" / "one"
