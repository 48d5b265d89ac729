"""Test-time augmentation from the command line, beside the plain scores."""

import json
import shutil

from spermjax.cli import main
from tests.workflow.conftest import DUMMY


def test_scores_over_views_stand_beside_the_plain_ones_and_say_so(small_run, tmp_path, capsys):
    run = shutil.copytree(small_run, tmp_path / "one")
    plain = (run / "evaluation" / "validation.json").read_bytes()
    assert main(["evaluate", str(run), "--views", "4"]) == 0
    scores = json.loads((run / "evaluation" / "validation-4-views.json").read_text())
    assert scores["views"] == 4
    assert "averaged over 4 views" in scores["protocol"]
    assert (run / "evaluation" / "validation.json").read_bytes() == plain
    assert main(["report", str(run)]) == 0
    assert "averaged over 4 views" in (run / "report" / "index.html").read_text()
    capsys.readouterr()
    image = next((DUMMY / "hushem" / "dummy_data").rglob("*.BMP"))
    answers = []
    for views in ("1", "8"):
        assert main(["predict", str(run), str(image), "--views", views, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)[0]["probability"])
    assert answers[0] != answers[1]
    assert abs(sum(answers[1].values()) - 1) < 1e-4
