"""SVIA: classes from names and boxes, videos as groups, crops with the pixels of their frame."""

import io
import shutil
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from data_builders.svia.boxes import MARGIN, Box, cut_out
from spermjax.data.catalogue import builder_class
from spermjax.data.prepare import prepare
from spermjax.errors import DataError
from tests.data_builders.base import BuilderTest


class TestCrops(BuilderTest):
    NAME = "svia"
    SPLITS: ClassVar[dict[str, int]] = {"full": 6}


class TestBoxes(BuilderTest):
    NAME = "svia/boxes"
    SPLITS: ClassVar[dict[str, int]] = {"full": 6}


@pytest.fixture
def folder(tmp_path):
    cls, _ = builder_class("svia")
    return shutil.copytree(cls.root(None) / "dummy_data" / "Data Set", tmp_path / "source")


def test_names_of_crops_tell_class_and_video(folder, tmp_path):
    builder = prepare("svia/crops", folder, tmp_path / "data", progress=False).builder
    for record in builder.records("full"):
        name = record["id"].decode().removeprefix("Subset-C/")
        assert record["group"].decode() == f"video {name[1]}"
        assert ("sperm", "impurity")[record["label"]] == ("sperm" if "-S" in name else "impurity")


def test_boxes_are_cut_from_their_frame(folder, tmp_path):
    """Each dummy object has a gray of its own, by its number in the file; it fills the middle of its crop."""
    builder = prepare("svia/boxes", folder, tmp_path / "data", progress=False).builder
    for record in builder.records("full"):
        number = int(record["id"].decode()[-3:])
        with Image.open(io.BytesIO(record["image"])) as image:
            pixels = np.asarray(image)
        middle = tuple(side // 2 for side in pixels.shape[:2])
        assert (pixels[middle] == 60 + 40 * number).all()
        assert record["label"] == (number == 2)
        assert record["group"].decode() == "video " + record["id"].decode().removeprefix("Subset-A/")[:6]


def test_a_crop_is_its_box_with_a_margin():
    """Padding by NumPy, which repeats the border, is the witness."""
    frame = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    box = Box("sperm", left=32, top=2, right=40, bottom=6)
    padded = np.pad(frame, ((20, 20), (20, 20), (0, 0)), mode="edge")
    side = round(8 * MARGIN)
    top, left = 4 - side // 2 + 20, 36 - side // 2 + 20
    np.testing.assert_array_equal(cut_out(frame, box), padded[top : top + side, left : left + side])


def test_all_mistakes_are_named(folder, tmp_path):
    boxes = folder / "Subset-A" / "S_0001_0026.xml"
    text = boxes.read_text().replace("<name>S</name>", "<name>Sprm</name>", 1)
    text = text.replace("<xmax>50</xmax>", "<xmax>40</xmax>").replace("<xmax>64</xmax>", "<xmax>99</xmax>")
    boxes.write_text(text)
    (folder / "Subset-A" / "S_0002_0027.xml").write_text("<annotation>")
    (folder / "Subset-A" / "S_0002_0028.xml").write_text("<annotation></annotation>")
    (folder / "Subset-C" / "V1-F1-Q7.png").write_bytes(b"")
    with pytest.raises(DataError) as error:
        prepare("svia/boxes", folder, tmp_path / "data", progress=False)
    for words in (
        "object 0 ('Sprm') has an unknown class",
        "object 1 ('S') has an empty box",
        "object 2 ('Impurity') reaches out of the frame of 64x48",
        "S_0002_0027.xml: not a VOC file",
        "S_0002_0028.png: there is no such file",
    ):
        assert words in str(error.value), error.value
    with pytest.raises(DataError, match=r"V1-F1-Q7\.png: the name tells no class[^!]*V1-F1-Q7\.png: not an image"):
        prepare("svia/crops", folder, tmp_path / "data", progress=False)
    prepared = prepare("svia/crops", folder, tmp_path / "data", skip_bad=True, progress=False)
    assert prepared.builder.info.splits["full"].num_examples == 6
