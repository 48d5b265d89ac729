"""HuSHeM: classes from folders, duplicates in one group, and what is said of damaged files."""

import io
import shutil
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from spermjax.data.catalogue import builder_class
from spermjax.data.prepare import prepare
from spermjax.errors import DataError
from tests.data_builders.base import BuilderTest


class TestHushem(BuilderTest):
    NAME = "hushem"
    SPLITS: ClassVar[dict[str, int]] = {"full": 12}


@pytest.fixture
def folder(tmp_path):
    cls, _ = builder_class("hushem")
    return shutil.copytree(cls.root(None) / "dummy_data" / "HuSHeM", tmp_path / "source")


def records(folder, data_dir):
    builder = prepare("hushem", folder, data_dir, progress=False).builder
    return builder.info.features["label"].names, list(builder.records("full"))


def test_ids_lead_to_the_file_and_its_class(folder, tmp_path):
    names, found = records(folder, tmp_path / "data")
    for record in found:
        file = folder / record["id"].decode()
        assert names[record["label"]] in file.parent.name.lower()
        with Image.open(file) as image, Image.open(io.BytesIO(record["image"])) as stored:
            np.testing.assert_array_equal(np.asarray(stored), np.asarray(image))


def test_known_duplicates_share_a_group(folder, tmp_path):
    _, found = records(folder, tmp_path / "data")
    group = {record["id"].decode(): record["group"] for record in found}
    for first, second in (
        ("02_Tapered/image_032.BMP", "02_Tapered/image_033.BMP"),
        ("03_Pyriform/image_031.BMP", "03_Pyriform/image_032.BMP"),
        ("04_Amorphous/image_042.BMP", "04_Amorphous/image_043.BMP"),
    ):
        assert group[first] == group[second]
    assert len(set(group.values())) == 9


def test_content_and_not_the_name_tells_the_format(folder, tmp_path):
    path = folder / "01_Normal" / "image_001.BMP"
    with Image.open(path) as image:
        pixels = np.asarray(image)
        image.save(path, format="PNG")
    _, found = records(folder, tmp_path / "data")
    stored = next(record["image"] for record in found if record["id"] == b"01_Normal/image_001.BMP")
    with Image.open(io.BytesIO(stored)) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_every_bad_file_is_named_at_once(folder, tmp_path):
    truncated = folder / "01_Normal" / "image_001.BMP"
    truncated.write_bytes(truncated.read_bytes()[:300])
    text = folder / "02_Tapered" / "image_004.BMP"
    text.write_text("no image at all")
    empty = folder / "02_Tapered" / "image_032.BMP"
    empty.write_bytes(b"")
    twin = folder / "04_Amorphous" / "image_001.png"
    shutil.copy(folder / "04_Amorphous" / "image_001.BMP", twin)
    shutil.rmtree(folder / "03_Pyriform")
    with pytest.raises(DataError) as error:
        prepare("hushem", folder, tmp_path / "data", progress=False)
    message = str(error.value)
    for path in (truncated, text, empty, twin):
        assert str(path) in message
    assert "03_Pyriform" in message and "pyriform" in message
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_other_files_beside_the_images_are_left_alone(folder, tmp_path):
    (folder / "01_Normal" / "Thumbs.db").write_bytes(b"\0")
    (folder / "01_Normal" / "._image_001.BMP").write_bytes(b"\0")
    assert len(records(folder, tmp_path / "data")[1]) == 12


def test_real_set(assets, tmp_path):
    """The files themselves are the witness."""
    source = assets / "data" / "hushem"
    names, found = records(source, tmp_path)
    folders = dict(zip(names, ("01_Normal", "02_Tapered", "03_Pyriform", "04_Amorphous"), strict=True))
    for label, name in enumerate(names):
        files = {f"{path.parent.name}/{path.name}" for path in (source / "HuSHeM" / folders[name]).iterdir()}
        assert {record["id"].decode() for record in found if record["label"] == label} == files
