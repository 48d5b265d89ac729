"""A folder of one's own: what is laid out is what is stored, and each mistake is named."""

import io
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from spermjax import config
from spermjax.data.catalogue import builder_class
from spermjax.data.examples import load_undivided
from spermjax.data.prepare import prepare
from spermjax.errors import ConfigError, DataError
from spermjax.parts import PARTS, unpack
from tests.data_builders.base import BuilderTest


class TestFolder(BuilderTest):
    NAME = "folder/dummy"
    SPLITS: ClassVar[dict[str, int]] = {"full": 6}

    def test_deciding_parts_are_parts_of_known_questions(self, prepared):
        """Which part decides a class of one's own, only its owner knows."""
        assert prepared.builder.deciding_parts == {}

    def test_folder_documents_the_set(self, prepared):
        """There is nobody to cite; the rest is documented."""
        assert "Licence" in prepared.builder.get_metadata().description and prepared.builder.LICENSE


@pytest.fixture
def folder(tmp_path) -> Path:
    return shutil.copytree(builder_class("folder")[0].root(None) / "dummy_data", tmp_path / "source")


def stored(folder: Path, data_dir: Path, name: str = "folder/mine") -> dict[str, dict]:
    builder = prepare(name, folder, data_dir, progress=False).builder
    return {record["id"].decode(): record for record in builder.records("full")}


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def message(folder: Path, tmp_path: Path) -> str:
    with pytest.raises(DataError) as error:
        prepare("folder/mine", folder, tmp_path / "data", progress=False)
    assert not list((tmp_path / "data").rglob("*.array_record*"))
    return str(error.value)


def table(folder: Path, *lines: str) -> None:
    (folder / "cells.csv").write_text("\n".join(lines) + "\n")


def test_images_masks_and_patients_are_those_of_the_folder(folder, tmp_path):
    """Pillow, reading the files, is the witness."""
    records = stored(folder, tmp_path / "data")
    patients = dict(line.split(",") for line in (folder / "cells.csv").read_text().splitlines()[1:])
    assert {name: record["group"].decode() for name, record in records.items()} == patients
    for name, record in records.items():
        with Image.open(folder / name) as image:
            np.testing.assert_array_equal(decoded(record["image"]), np.asarray(image.convert("RGB")))
        assert ("normal", "tapered")[record["label"]] == Path(name).parent.name
        parts = unpack(decoded(record["parts"]))
        for index, part in enumerate(PARTS):
            path = (folder / name).with_suffix(f".{part}.png")
            expected = np.asarray(Image.open(path)) > 0 if path.exists() else np.zeros(parts.shape[:2], bool)
            np.testing.assert_array_equal(parts[..., index], expected)


def test_attribute_columns_are_what_is_asked(folder, tmp_path):
    names = sorted(stored(folder, tmp_path / "data"))
    values = ("normal,0,abnormal", ",1,normal", "abnormal,-1,", "Abnormal,0,0", "1,1,1", "0,0,0")
    table(folder, "file,head,acrosome,motile", *(f"{n},{v}" for n, v in zip(names, values, strict=True)))
    data = config.Data(name="folder/mine", manual_dir=folder, data_dir=tmp_path / "data", image_size=32)
    dataset = load_undivided(data, progress=False)
    assert dataset.task.names == ("acrosome", "head", "motile")
    assert dataset.task.deciding_parts == {"acrosome": ("acrosome",), "head": ("acrosome", "nucleus")}
    expected = [[0, 0, 1], [1, -1, 0], [-1, 1, -1], [0, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert dataset.splits["full"].label.tolist() == expected


def test_a_prepared_set_needs_its_folder_no_more(folder, tmp_path):
    first = stored(folder, tmp_path / "data")
    shutil.rmtree(folder)
    builder = prepare("folder/mine", None, tmp_path / "data", progress=False).builder
    assert builder.info.features["label"].names == ["normal", "tapered"]
    assert {record["id"].decode() for record in builder.records("full")} == set(first)


def test_sets_of_two_names_live_side_by_side(folder, tmp_path):
    stored(folder, tmp_path / "data", "folder/one")
    shutil.rmtree(folder / "tapered")
    shutil.copytree(folder / "normal", folder / "round")
    (folder / "cells.csv").unlink()
    assert len(stored(folder, tmp_path / "data", "folder/two")) == 6
    one, two = (prepare(f"folder/{name}", None, tmp_path / "data", progress=False).builder for name in ("one", "two"))
    assert one.info.features["label"].names == ["normal", "tapered"]
    assert two.info.features["label"].names == ["normal", "round"]


def test_images_alone_are_enough(folder, tmp_path):
    """Without masks and a table there are neither parts nor patients; equal pixels still share a group."""
    (folder / "cells.csv").unlink()
    for path in folder.rglob("*.*.png"):
        path.unlink()
    shutil.copy(folder / "normal" / "cell 2.png", folder / "normal" / "copy.png")
    records = stored(folder, tmp_path / "data")
    assert len(records) == 7 and not any("parts" in record for record in records.values())
    assert records["normal/cell 2.png"]["group"] == records["normal/copy.png"]["group"]
    assert len({record["group"] for record in records.values()}) == 6


def test_masks_are_all_there_or_named(folder, tmp_path):
    normal = folder / "normal"
    for path in normal.glob("cell 1.*.png"):
        path.unlink()
    Image.new("L", (9, 7)).save(normal / "cell 2.nucleus.png")
    (normal / "cell 3.nucleus.png").write_text("no image")
    Image.new("L", (9, 7)).save(normal / "ghost.tail.png")
    text = message(folder, tmp_path)
    assert "(4 problems)" in text
    assert "cell 1.bmp: no mask beside it" in text
    assert "cell 2.nucleus.png: 9x7 pixels, but cell 2.png has 42x40" in text
    assert "cell 3.nucleus.png: not an image" in text and "ghost.tail.png: a mask beside no image" in text


def test_mistakes_of_the_table_are_named_with_their_lines(folder, tmp_path):
    table(
        folder,
        "file,group,head",
        "normal/cell 1.bmp,a,normal",
        "normal/cell 1.bmp,a,normal",
        "normal/cell 2.png,b,abnormall",
        "normal/cell 9.png,b,abnormal",
        "tapered/cell 4.bmp,c,abnormal,more",
    )
    text = message(folder, tmp_path)
    for words in (
        "line 2 (normal/cell 1.bmp): the file is named more than once",
        "line 3 (normal/cell 1.bmp): the file is named more than once",
        "line 4 (normal/cell 2.png): head is 'abnormall', no value of an attribute. Did you mean 'abnormal'",
        "line 6 (tapered/cell 4.bmp): has more fields",
        "normal/cell 9.png is not in",
        "there is no line for tapered/cell 5.png",
    ):
        assert words in text, text


def test_a_table_without_files_is_refused(folder, tmp_path):
    table(folder, "image,group", "normal/cell 1.bmp,a")
    assert "has no column 'file' but ['image', 'group']" in message(folder, tmp_path)


def test_empty_and_lone_classes_are_refused(folder, tmp_path):
    (folder / "pyriform").mkdir()
    assert "'pyriform' would be empty" in message(folder, tmp_path)
    shutil.rmtree(folder / "tapered")
    shutil.rmtree(folder / "pyriform")
    (folder / "cells.csv").unlink()
    assert "1 folders with images, but a class each needs at least 2" in message(folder, tmp_path)


def test_bad_cells_are_left_out_on_request(folder, tmp_path):
    (folder / "normal" / "cell 1.bmp").write_text("no image")
    (folder / "tapered" / "cell 4.nucleus.png").unlink()
    (folder / "tapered" / "cell 4.acrosome.png").unlink()
    prepared = prepare("folder/mine", folder, tmp_path / "data", skip_bad=True, progress=False)
    assert {record["id"] for record in prepared.builder.records("full")} == {
        *(b"normal/cell 2.png", b"normal/cell 3.png", b"tapered/cell 5.png", b"tapered/cell 6.png")
    }


def test_names_of_sets_are_plain(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"\.\./out"):
        prepare("folder/../out", folder, tmp_path / "data", progress=False)
