"""MHSMA: the published arrays, and what is said of damaged ones."""

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


class TestMhsma(BuilderTest):
    NAME = "mhsma"
    SPLITS: ClassVar[dict[str, int]] = {"train": 4, "validation": 3, "test": 2}


class TestMhsma128(BuilderTest):
    NAME = "mhsma/128px"
    SPLITS: ClassVar[dict[str, int]] = {"train": 4, "validation": 3, "test": 2}


@pytest.fixture
def folder(tmp_path):
    cls, _ = builder_class("mhsma")
    return shutil.copytree(cls.root(None) / "dummy_data" / "mhsma", tmp_path / "source")


def test_rows_keep_their_labels_and_pixels(folder, tmp_path):
    """The arrays read by NumPy are the witness."""
    builder = prepare("mhsma", folder, tmp_path / "data", progress=False).builder
    for split, suffix in (("train", "train"), ("validation", "valid"), ("test", "test")):
        images = np.load(folder / f"x_64_{suffix}.npy")
        for record in builder.records(split):
            file, row = record["id"].decode().split("/")
            assert file == f"x_64_{suffix}.npy"
            with Image.open(io.BytesIO(record["image"])) as image:
                np.testing.assert_array_equal(np.asarray(image), np.repeat(images[int(row)][..., None], 3, -1))
            for name, value in record["attributes"].items():
                assert value == np.load(folder / f"y_{name}_{suffix}.npy")[int(row)]


def test_sizes_share_groups(folder, tmp_path):
    groups = [
        {record["group"] for record in prepare(name, folder, tmp_path, progress=False).builder.records("train")}
        for name in ("mhsma/64px", "mhsma/128px")
    ]
    assert groups[0] == groups[1]


def test_missing_split_is_left_out_and_logged(folder, tmp_path, caplog):
    (folder / "x_64_test.npy").unlink()
    with caplog.at_level("INFO"):
        prepared = prepare("mhsma", folder, tmp_path / "data", progress=False)
    assert set(prepared.builder.info.splits) == {"train", "validation"}
    assert "x_64_test.npy" in caplog.text


def damage_pickle(folder):
    np.save(folder / "y_head_train.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    return "y_head_train.npy", "whole array"


def damage_truncate(folder):
    path = folder / "x_64_train.npy"
    path.write_bytes(path.read_bytes()[:500])
    return path.name, "whole array"


def damage_label(folder):
    np.save(folder / "y_tail_valid.npy", np.array([0, 1, 7], np.uint8))
    return "y_tail_valid.npy", "7"


def damage_count(folder):
    np.save(folder / "y_vacuole_test.npy", np.array([0, 1, 1], np.uint8))
    return "y_vacuole_test.npy", "[3]"


def damage_shape(folder):
    np.save(folder / "x_64_valid.npy", np.zeros((3, 64, 60), np.uint8))
    return "x_64_valid.npy", "[3, 64, 60]"


def damage_scalar(folder):
    np.save(folder / "x_64_valid.npy", np.uint8(3))
    return "x_64_valid.npy", "uint8[]"


def damage_text(folder):
    np.save(folder / "y_acrosome_valid.npy", np.array(["normal", "abnormal", "normal"]))
    return "y_acrosome_valid.npy", "'abnormal'"


def damage_nan(folder):
    np.save(folder / "y_acrosome_valid.npy", np.array([0, 1, np.nan]))
    return "y_acrosome_valid.npy", "nan"


def damage_archive(folder):
    with (folder / "y_head_valid.npy").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    return "y_head_valid.npy", "archive"


def damage_missing(folder):
    (folder / "y_acrosome_train.npy").unlink()
    return "y_acrosome_train.npy", "missing"


def damage_one_class(folder):
    np.save(folder / "y_tail_train.npy", np.zeros(4, np.uint8))
    return "y_tail_train.npy", "one class"


DAMAGE = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_named(folder, tmp_path, damage):
    file, reason = damage(folder)
    with pytest.raises(DataError) as error:
        prepare("mhsma", folder, tmp_path / "data", progress=False)
    line = next(line for line in str(error.value).splitlines() if file in line)
    assert reason in line
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_all_damage_is_named_at_once(folder, tmp_path):
    files = {damage(folder)[0] for damage in (damage_pickle, damage_label, damage_count, damage_missing)}
    with pytest.raises(DataError) as error:
        prepare("mhsma", folder, tmp_path / "data", progress=False)
    assert all(file in str(error.value) for file in files) and len(files) == 4


def test_real_shares(assets, tmp_path):
    """Abnormal shares in training as the set's authors print them: 301, 273, 170 and 46 of 1000."""
    builder = prepare("mhsma", assets / "data" / "mhsma", tmp_path, progress=False).builder
    attributes = [record["attributes"] for record in builder.records("train")]
    abnormal = {name: sum(int(a[name]) for a in attributes) for name in attributes[0]}
    assert abnormal == {"acrosome": 301, "head": 273, "vacuole": 170, "tail": 46}
