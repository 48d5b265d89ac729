"""What the guides show runs as it stands there."""

import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from spermjax.data.prepare import prepare

ROOT = Path(__file__).parents[1]


def test_the_builder_of_ones_own_data(tmp_path, monkeypatch):
    code = re.search(r"```python\n# mylab/.*?\n(.*?)```", (ROOT / "docs" / "own_data.md").read_text(), re.DOTALL)
    assert code is not None
    package = tmp_path / "mylab"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mylab_dataset_builder.py").write_text(code[1])
    rng = np.random.default_rng(0)
    for name in ("normal", "abnormal"):
        (tmp_path / "images" / "mylab" / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 255, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / "mylab" / name / f"p{number // 2}_{number}.png")
    monkeypatch.syspath_prepend(tmp_path)
    prepared = prepare("mylab.mylab_dataset_builder:Builder", tmp_path / "images", tmp_path / "data")
    records = prepared.builder.records("full")
    assert len(records) == 6
    assert {record["group"] for record in records} == {b"p0", b"p1"}
    sys.modules.pop("mylab.mylab_dataset_builder", None)


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "experiments" / "RESULTS.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
