"""Sperm Parsing (Chen et al. 2024): stained cells with an outline of each part."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders.sperm_parsing.cells import crops, left_out
from data_builders.sperm_parsing.labelme import parse, read_field
from spermjax.clinic import criteria
from spermjax.clinic.morphometry import measure
from spermjax.data.builder import Example, SpermBuilder
from spermjax.data.images import image_files, png, read_image
from spermjax.errors import DataError

SPLITS = {"train": "Training", "validation": "Validation-2"}
_VERDICTS = {"normal": 0, "abnormal": 1, "missing": -1}
_THREADS = min(8, os.cpu_count() or 1)


class Builder(SpermBuilder):
    """One example a cell: the head in the middle, its own parts, and those of its neighbours.

    The set is published without a diagnosis. Labels are strict criteria on the parts'
    shapes (`spermjax.clinic.criteria`), so that what decides each of them is known.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name="label", description="Normal, or abnormal by any of the four criteria."),
        tfds.core.BuilderConfig(name="attributes", description="Each criterion: head, acrosome, vacuole, midpiece."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get the data set of CP-Net (https://doi.org/10.1016/j.media.2024.103243) from its authors and unpack it, so "
        "that the folder holds spermparsing/Training/JPEGImages/NAME.jpg with NAME.json beside it, and "
        "spermparsing/Validation-2/JPEGImages."
    )
    LICENSE = "Academic Public License of CP-Net: not for commercial use, share alike"
    HOMEPAGE = "https://doi.org/10.1016/j.media.2024.103243"
    ARCHIVE_FOLDER = "spermparsing"
    DECIDING_PARTS: ClassVar[dict[str, tuple[str, ...]]] = {**criteria.DECIDING_PARTS, "normal": (), "abnormal": ()}

    def _info(self) -> tfds.core.DatasetInfo:
        bits = tfds.features.Image(shape=(None, None, 1), dtype=np.uint8, encoding_format="png")
        verdict = tfds.features.ClassLabel(names=["normal", "abnormal"])
        if self._single_label:
            target = {"label": verdict}
        else:
            target = {"attributes": dict.fromkeys(criteria.DECIDING_PARTS, verdict)}
        return self.describe({"parts": bits, "neighbours": bits, **target})

    def source_files(self, root: Path) -> list[Path]:
        return [
            path
            for split in self._present(root)
            for image in _images(root, split)
            for path in (image, _polygons(image))
        ]

    def problems(self, root: Path) -> list[str]:
        splits = self._present(root)
        if not splits:
            folders = " nor ".join(str(_folder(root, split)) for split in SPLITS)
            return [f"There are images neither in {folders}; give the folder that holds spermparsing."]
        for split in SPLITS.keys() - splits:
            logging.info("sperm_parsing: no %s split, for there are no images in %s", split, _folder(root, split))
        images = [image for split in splits for image in _images(root, split)]
        pictured = {_polygons(image) for image in images}
        alone = [
            f"{path}: there is no image of this name beside it."
            for split in splits
            for path in sorted(_folder(root, split).glob("*.json"))
            if path not in pictured
        ]
        with ThreadPoolExecutor(_THREADS) as pool:
            found = [problem for problems in pool.map(_field_problems, images) for problem in problems]
        return found + alone

    def splits(self, root: Path) -> dict[str, int]:
        counts = {}
        for split in self._present(root):
            fields = [read_field(_polygons(image)) for image in _images(root, split)]
            reasons = [left_out(field) for field in fields]
            counts[split] = sum(map(len, (field.cells for field in fields))) - sum(map(len, reasons))
            for reason, number in Counter(why for cells in reasons for why in cells.values()).items():
                logging.info("sperm_parsing: %s, cells left out: %d, for each %s", split, number, reason)
        return counts

    def _generate_examples(self, root: Path, split: str) -> Iterator[Example]:
        images = _images(root, split)
        with ThreadPoolExecutor(_THREADS) as pool:
            # In portions, for all fields at once would fill the memory with crops.
            for start in range(0, len(images), 2 * _THREADS):
                for examples in pool.map(self._field_examples, images[start : start + 2 * _THREADS]):
                    yield from examples

    def _field_examples(self, image: Path) -> list[Example]:
        field_name = f"{image.parent.parent.name}/{image.name}"
        examples = []
        for crop in crops(read_image(image), read_field(_polygons(image))):
            identity = f"{field_name}/{crop.cell:02d}"
            verdicts = criteria.judge(measure(crop.parts))
            target = (
                {"label": criteria.label(verdicts)}
                if self._single_label
                else {"attributes": {name: _VERDICTS[verdict] for name, verdict in verdicts.items()}}
            )
            features = {
                "image": png(crop.image),
                "id": identity,
                "group": field_name,
                "parts": png(crop.parts),
                "neighbours": png(crop.neighbours),
            }
            examples.append((identity, features | target))
        return examples

    @property
    def _single_label(self) -> bool:
        return self.builder_config is not None and self.builder_config.name == "label"

    def _present(self, root: Path) -> list[str]:
        return [split for split in SPLITS if _images(root, split)]


def _folder(root: Path, split: str) -> Path:
    return root / SPLITS[split] / "JPEGImages"


def _images(root: Path, split: str) -> list[Path]:
    return image_files(_folder(root, split))


def _polygons(image: Path) -> Path:
    return image.with_suffix(".json")


def _field_problems(image: Path) -> list[str]:
    """What is wrong with an image, its polygons, or the two together."""
    field, found = parse(_polygons(image))
    try:
        height, width = read_image(image).shape[:2]
    except DataError as error:
        return [*found, str(error)]
    if field and (field.height, field.width) != (height, width):
        found.append(
            f"{_polygons(image)}: drawn on {field.width}x{field.height} pixels, but {image.name} has {width}x{height}; "
            "take both from the archive again."
        )
    return found
