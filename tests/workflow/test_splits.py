"""A run goes on, and is evaluated, on the division that it was started with."""

import pytest

from spermjax.config import Data, Experiment, Tracking
from spermjax.data.examples import load, load_undivided
from spermjax.errors import DataError
from spermjax.run import create, find, write_json
from spermjax.workflow.train import describe
from spermjax.workflow.trained import check_same_data
from tests.workflow.conftest import DUMMY


def test_given_groups_are_kept_with_the_run(tmp_path):
    groups = tmp_path / "groups.csv"
    places = {"manual_dir": DUMMY / "hushem" / "dummy_data", "data_dir": tmp_path / "data"}
    names = load_undivided(Data(name="hushem", **places), progress=False).splits["full"].id
    data = Data(name="hushem", **places, split="kfold", folds=3, inner_fold=0, groups=groups)

    def write(path, per_group):
        path.write_text("id,group\n" + "".join(f'"{name}",{i // per_group}\n' for i, name in enumerate(names)))

    write(groups, 2)
    run = create(Experiment(data=data, tracking=Tracking(runs=tmp_path / "runs", run_id="one")))
    started = load(data, progress=False)
    write_json(run.path / "data.json", describe(started))
    groups.unlink()
    again = load(find(run.path).experiment().data, progress=False)
    check_same_data(run, again)
    assert again.splits["train"].group == started.splits["train"].group
    write(run.groups, 1)
    with pytest.raises(DataError, match=r"splits of .* are no longer those"):
        check_same_data(run, load(find(run.path).experiment().data, progress=False))
