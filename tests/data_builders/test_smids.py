"""SMIDS: formats told by content, identical images in one group."""

import hashlib
import io
from collections import defaultdict
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from spermjax.data.catalogue import builder_class
from spermjax.data.prepare import prepare
from tests.data_builders.base import BuilderTest


class TestSmids(BuilderTest):
    NAME = "smids"
    SPLITS: ClassVar[dict[str, int]] = {"full": 9}


def test_content_and_not_the_name_tells_the_format(tmp_path):
    """Pillow, told nothing of the names, is the witness; the dummy files are all named .bmp, as the archive's."""
    source = builder_class("smids")[0].root(None) / "dummy_data" / "SMIDS"
    formats = set()
    for record in prepare("smids", source, tmp_path, progress=False).builder.records("full"):
        content = (source / record["id"].decode()).read_bytes()
        with Image.open(io.BytesIO(content)) as image, Image.open(io.BytesIO(record["image"])) as stored:
            formats.add(image.format)
            np.testing.assert_array_equal(np.asarray(stored), np.asarray(image.convert("RGB")))
    assert formats == {"BMP", "PNG"}


def test_identical_images_share_a_group(tmp_path):
    """One dummy cell is stored twice, once as BMP and once as PNG; all others are alone."""
    source = builder_class("smids")[0].root(None) / "dummy_data"
    groups = defaultdict(set)
    for record in prepare("smids", source, tmp_path, progress=False).builder.records("full"):
        groups[record["group"]].add(record["id"].decode())
    assert sorted(map(len, groups.values())) == [1] * 7 + [2]
    assert {"Normal_Sperm/Normal_Sperm (1).bmp", "Normal_Sperm/Normal_Sperm (10).bmp"} in groups.values()


@pytest.mark.slow
def test_real_set(assets, tmp_path):
    """The files are the witness of the classes, and a digest of their decoded pixels that of the groups."""
    source = assets / "data" / "smids"
    builder = prepare("smids", source, tmp_path, progress=False).builder
    names, found = builder.info.features["label"].names, list(builder.records("full"))
    folders = dict(zip(names, ("Normal_Sperm", "Abnormal_Sperm", "Non-Sperm"), strict=True))
    assert {record["id"].decode() for record in found} == {
        path.relative_to(source / "SMIDS").as_posix() for path in (source / "SMIDS").glob("*/*")
    }
    assert all(record["id"].decode().startswith(folders[names[record["label"]]] + "/") for record in found)
    by_pixels, by_group = defaultdict(set), defaultdict(set)
    for record in found:
        with Image.open(source / "SMIDS" / record["id"].decode()) as image:
            by_pixels[image.size, hashlib.md5(image.convert("RGB").tobytes()).digest()].add(record["id"])
        by_group[record["group"]].add(record["id"])
    assert sorted(map(sorted, by_pixels.values())) == sorted(map(sorted, by_group.values()))
