"""SCIAN-MorphoSpermGS: majorities, agreement, patients, and what is said of a wrong table."""

import csv
import shutil
from collections import Counter
from typing import ClassVar

import pytest

from spermjax.data.catalogue import builder_class
from spermjax.data.prepare import prepare
from spermjax.errors import DataError
from tests.data_builders.base import BuilderTest


class TestPartialAgreement(BuilderTest):
    NAME = "scian_morpho"
    SPLITS: ClassVar[dict[str, int]] = {"full": 10}


class TestTotalAgreement(BuilderTest):
    NAME = "scian_morpho/total_agreement"
    SPLITS: ClassVar[dict[str, int]] = {"full": 5}


@pytest.fixture
def folder(tmp_path):
    cls, _ = builder_class("scian_morpho")
    return shutil.copytree(cls.root(None) / "dummy_data", tmp_path / "source")


@pytest.mark.parametrize(("name", "agreeing"), [("partial_agreement", 2), ("total_agreement", 3)])
def test_labels_are_majorities_and_experts_are_kept(folder, tmp_path, name, agreeing):
    """The table, counted here, is the witness."""
    said = {
        line["file"]: [line[f"expert_{i}"] for i in (1, 2, 3)]
        for line in csv.DictReader((folder / "labels.csv").open())
    }
    builder = prepare(f"scian_morpho/{name}", folder, tmp_path / "data", progress=False).builder
    names = builder.info.features["label"].names
    records = {record["id"].decode(): record for record in builder.records("full")}
    assert set(records) == {file for file, votes in said.items() if max(Counter(votes).values()) >= agreeing}
    for file, record in records.items():
        assert [names[record["experts"][f"expert_{i}"]] for i in (1, 2, 3)] == said[file]
        assert said[file].count(names[record["label"]]) >= agreeing
        assert record["group"].decode() == "patient " + file.split("_p")[1].split("-")[0]


def test_all_mistakes_of_the_table_are_named(folder, tmp_path):
    path = folder / "labels.csv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace(",normal", ",norml", 1)
    lines[2] = lines[3]
    lines.append("ch00_p1-pl1-sample1-sperm99.tif,small,small,small")
    shutil.copy(folder / "images" / lines[5].split(",")[0], folder / "images" / "head.tif")
    path.write_text("\n".join([*lines, "head.tif,small,small,small"]) + "\n")
    with pytest.raises(DataError) as error:
        prepare("scian_morpho", folder, tmp_path / "data", progress=False)
    for words in (
        "expert_1 says 'norml', which is no class. Did you mean 'normal'",
        "line 3 (",
        "line 4 (",
        "the file is named more than once",
        "sperm99.tif): there is no such file",
        "line 14 (head.tif): the name does not tell the patient",
        "no line of labels.csv names it",
    ):
        assert words in str(error.value), error.value
    assert not list((tmp_path / "data").rglob("*.array_record*"))


def test_bad_heads_are_left_out_on_request(folder, tmp_path):
    path = next((folder / "images").glob("*-sperm2.tif"))
    path.write_bytes(path.read_bytes()[:30])
    prepared = prepare("scian_morpho", folder, tmp_path / "data", skip_bad=True, progress=False)
    assert prepared.builder.info.splits["full"].num_examples == 9
    assert path.name in prepared.skipped.read_text()


def test_a_table_of_other_columns_is_refused(folder, tmp_path):
    (folder / "labels.csv").write_text("file,label\na.tif,normal\n")
    with pytest.raises(DataError, match="has no column expert_1, expert_2, expert_3"):
        prepare("scian_morpho", folder, tmp_path / "data", progress=False)
