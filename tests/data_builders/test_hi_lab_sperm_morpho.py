"""Hi-LabSpermMorpho: eighteen classes a stain, found by the letters of their folders' names."""

import shutil
from typing import ClassVar

import pytest

from spermjax.data.catalogue import builder_class
from spermjax.data.prepare import prepare
from spermjax.errors import DataError
from tests.data_builders.base import BuilderTest


class TestHiLabSpermMorpho(BuilderTest):
    NAME = "hi_lab_sperm_morpho"
    SPLITS: ClassVar[dict[str, int]] = {"full": 20}


class TestGbl(BuilderTest):
    NAME = "hi_lab_sperm_morpho/gbl"
    SPLITS: ClassVar[dict[str, int]] = {"full": 18}


@pytest.fixture
def folder(tmp_path):
    cls, _ = builder_class("hi_lab_sperm_morpho")
    return shutil.copytree(cls.root(None) / "dummy_data", tmp_path / "source")


def test_stains_stay_apart_and_labels_follow_the_folders(folder, tmp_path):
    for configuration, stain in (("beslab", "BesLab"), ("gbl", "GBL")):
        builder = prepare(f"hi_lab_sperm_morpho/{configuration}", folder, tmp_path, progress=False).builder
        names = builder.info.features["label"].names
        assert len(names) == 18
        for record in builder.records("full"):
            found, folder_name, _ = record["id"].decode().split("/")
            label = names[record["label"]]
            assert found == stain
            # The witness is English: both names have the same words.
            assert all(word[:5] in folder_name.lower() for word in label.split("_"))


def test_names_differ_in_case_numbers_and_separators(folder, tmp_path):
    stain = (folder / "BesLab").rename(folder / "1-BESLAB")
    (stain / "AmorphHead").rename(stain / "02_amorph_head")
    prepared = prepare("hi_lab_sperm_morpho/beslab", folder, tmp_path / "data", progress=False)
    ids = {record["id"].decode().rpartition("/")[0] for record in prepared.builder.records("full")}
    assert "1-BESLAB/02_amorph_head" in ids and len(ids) == 18


def test_an_absent_stain_names_the_folder_that_was_looked_for(folder, tmp_path):
    with pytest.raises(DataError, match=r"histoplus/Normal: no images"):
        prepare("hi_lab_sperm_morpho/histoplus", folder, tmp_path / "data", progress=False)
