"""What must hold of every builder, checked without TensorFlow on a tiny or synthetic set."""

import io
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import dataset_metadata

from spermjax.data.catalogue import builder_class
from spermjax.data.prepare import PreparedSet, prepare
from spermjax.parts import PARTS


def png_size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return image.size


class BuilderTest:
    """Inherit, set `NAME` and `SPLITS`, and the checks run on the builder's `dummy_data`.

    Attributes:
        NAME: data set, or `set/configuration`.
        SPLITS: number of examples by split, of the dummy data or of the synthetic set.
    """

    NAME: ClassVar[str]
    SPLITS: ClassVar[dict[str, int]]

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls) -> Path | None:
        builder, _ = builder_class(cls.NAME)
        return builder.root(None) / "dummy_data" if builder.needs_archive() else None

    @pytest.fixture(scope="class")
    @classmethod
    def prepared(cls, source, tmp_path_factory) -> PreparedSet:
        return prepare(cls.NAME, source, tmp_path_factory.mktemp("data"), progress=False)

    @pytest.fixture(scope="class")
    @classmethod
    def records(cls, prepared) -> dict[str, list[dict]]:
        return {split: list(prepared.builder.records(split)) for split in prepared.builder.info.splits}

    def test_counts(self, prepared, records):
        assert {split: len(found) for split, found in records.items()} == self.SPLITS
        assert {split: info.num_examples for split, info in prepared.builder.info.splits.items()} == self.SPLITS

    def test_announced_counts_are_those_written(self, prepared, source):
        root = prepared.builder.root(source)
        assert dict(prepared.builder.splits(root)) == self.SPLITS

    def test_ids_are_unique_in_the_whole_set(self, records):
        ids = Counter(record["id"] for found in records.values() for record in found)
        assert all(ids) and set(ids.values()) == {1}

    def test_no_group_lies_in_two_splits(self, records):
        splits = [{record["group"] for record in found} for found in records.values()]
        assert sum(map(len, splits)) == len(set.union(*splits))

    def test_no_image_lies_in_two_splits(self, records):
        splits = [{record["image"] for record in found} for found in records.values()]
        assert sum(map(len, splits)) == len(set.union(*splits))

    def test_one_of_label_and_attributes(self, prepared):
        features = prepared.builder.info.features
        assert ("label" in features) != ("attributes" in features)
        if "attributes" in features:
            assert all(feature.names == ["normal", "abnormal"] for feature in features["attributes"].values())

    def test_labels_are_in_range_and_every_class_occurs(self, prepared, records):
        features = prepared.builder.info.features
        every = [record for found in records.values() for record in found]
        if "label" in features:
            assert {int(record["label"]) for record in every} == set(range(features["label"].num_classes))
        else:
            for name in features["attributes"]:
                assert {0, 1} <= {int(record["attributes"][name]) for record in every} <= {-1, 0, 1}

    def test_masks_have_the_image_s_size_and_known_parts(self, records):
        for record in (record for found in records.values() for record in found):
            size = png_size(record["image"])
            if "parts" in record:
                assert png_size(record["parts"]) == size
                with Image.open(io.BytesIO(record["parts"])) as bits:
                    assert np.asarray(bits).max() < 1 << len(PARTS)

    def test_deciding_parts_are_parts_of_known_questions(self, prepared):
        builder = prepared.builder
        features = builder.info.features
        known = features["label"].names if "label" in features else list(features["attributes"])
        deciding = {name: parts for name, parts in builder.deciding_parts.items() if name in known}
        assert deciding and all(set(parts) <= set(PARTS) for parts in deciding.values())
        assert builder.info.metadata["deciding_parts"] == {k: list(v) for k, v in builder.deciding_parts.items()}

    def test_folder_documents_the_set(self, prepared):
        metadata = prepared.builder.get_metadata()
        assert len(metadata.description) > 200 and "Licence" in metadata.description
        assert metadata.citation.lstrip().startswith("@")
        assert metadata.tags and set(metadata.tags) <= set(dataset_metadata.valid_tags())
        assert prepared.builder.LICENSE and prepared.builder.HOMEPAGE.startswith("https://")

    def test_prepared_twice_is_the_same(self, prepared, source, records, tmp_path):
        again = prepare(self.NAME, source, tmp_path, progress=False)
        assert again.fingerprint == prepared.fingerprint
        for split, found in records.items():
            assert list(again.builder.records(split)) == found

    def test_readable_by_tfds_alone(self, prepared, records):
        """TFDS's own reader of a folder, which knows nothing of the builder's code, is the witness."""
        split = min(self.SPLITS, key=self.SPLITS.__getitem__)
        plain = tfds.builder_from_directory(prepared.directory).as_data_source(split)
        record = records[split][0]
        assert len(plain) == self.SPLITS[split]
        assert plain[0]["id"] == record["id"]
        assert plain[0]["image"].shape == (*png_size(record["image"])[::-1], 3)
