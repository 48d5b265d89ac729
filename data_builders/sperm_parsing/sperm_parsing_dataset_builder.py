"""Sperm Parsing (Chen et al. 2024): stained cells with an outline of each part."""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders.sperm_parsing.cells import crops, left_out
from data_builders.sperm_parsing.labelme import parse, read_field
from spermjax.clinic import criteria
from spermjax.clinic.morphometry import measure
from spermjax.data.builder import Example, Problem, SpermBuilder
from spermjax.data.images import image_files, png, read_image
from spermjax.data.threads import map_threaded
from spermjax.errors import DataError

SPLITS = {"train": "Training", "validation": "Validation-2"}
RATERS = {"parts_rater_2": "label-2-newgroup", "parts_rater_3": "label-3-newgroup"}
"""Feature and folder of each further rater."""
_VERDICTS = {"normal": 0, "abnormal": 1, "missing": -1}


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
        tfds.core.BuilderConfig(name="raters", description="As label, with the parts as two more raters drew them."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get the data set of CP-Net (https://doi.org/10.1016/j.media.2024.103243) from its authors and unpack it, so "
        "that the folder holds spermparsing/Training/JPEGImages/NAME.jpg with NAME.json beside it, and "
        "spermparsing/Validation-2/JPEGImages (for sperm_parsing/raters also Annotations/label-2-newgroup and "
        "label-3-newgroup, beside spermparsing)."
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
        return self.describe({"parts": bits, "neighbours": bits, **dict.fromkeys(self._raters, bits), **target})

    def source_files(self, root: Path) -> list[Path]:
        return [
            path
            for split in self._present(root)
            for image in _images(root, split)
            for path in (image, _polygons(image), *self._drawn_again(root, image))
        ]

    def problems(self, root: Path) -> list[Problem]:
        splits = self._present(root)
        if not splits:
            folders = " nor ".join(str(_folder(root, split)) for split in SPLITS)
            return [Problem(f"There are images neither in {folders}; give the folder that holds spermparsing.")]
        for split in SPLITS.keys() - splits:
            logging.info("sperm_parsing: no %s split, for there are no images in %s", split, _folder(root, split))
        pictured = {_polygons(image) for split in splits for image in _images(root, split)}
        alone = [
            Problem(f"{path}: there is no image of this name beside it.", (_field_name(path),))
            for split in splits
            for path in sorted(_folder(root, split).glob("*.json"))
            if path not in pictured and _field_name(path) not in self.skipped
        ]
        images = [image for split in splits for image in self._kept(root, split)]
        found = self.checked(lambda image: _field_problems(image, self._drawn_again(root, image)), images)
        empty = [
            Problem(f"{_folder(root, split)}: no field is left of the split {split}; mend its files.")
            for split in splits
            if not self._kept(root, split)
        ]
        return [problem for problems in found for problem in problems] + alone + empty

    def splits(self, root: Path) -> dict[str, int]:
        counts = {}
        for split in self._present(root):
            fields = [read_field(_polygons(image)) for image in self._kept(root, split)]
            reasons = [left_out(field) for field in fields]
            counts[split] = sum(map(len, (field.cells for field in fields))) - sum(map(len, reasons))
            for reason, number in Counter(why for cells in reasons for why in cells.values()).items():
                logging.info("sperm_parsing: %s, cells left out: %d, for each %s", split, number, reason)
        return counts

    def _generate_examples(self, root: Path, split: str) -> Iterator[Example]:
        for examples in map_threaded(lambda image: self._field_examples(root, image), self._kept(root, split)):
            yield from examples

    def _field_examples(self, root: Path, image: Path) -> list[Example]:
        field_name = _field_name(image)
        raters = [read_field(path, need_cell=False) for path in self._drawn_again(root, image)]
        examples = []
        for crop in crops(read_image(image), read_field(_polygons(image)), raters):
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
            again = {name: png(parts) for name, parts in zip(self._raters, crop.raters, strict=True)}
            examples.append((identity, features | again | target))
        return examples

    @property
    def _single_label(self) -> bool:
        return self.builder_config is not None and self.builder_config.name != "attributes"

    @property
    def _raters(self) -> dict[str, str]:
        return RATERS if self.builder_config is not None and self.builder_config.name == "raters" else {}

    def _drawn_again(self, root: Path, image: Path) -> list[Path]:
        """The polygons of a field by each further rater of this configuration."""
        inside = root / "Annotations"
        annotations = inside if inside.is_dir() else root.parent / "Annotations"
        return [annotations / folder / f"{image.stem}.json" for folder in self._raters.values()]

    def _present(self, root: Path) -> list[str]:
        return [split for split in SPLITS if _images(root, split)]

    def _kept(self, root: Path, split: str) -> list[Path]:
        """The fields of a split that make examples."""
        return [image for image in _images(root, split) if _field_name(image) not in self.skipped]


def _folder(root: Path, split: str) -> Path:
    return root / SPLITS[split] / "JPEGImages"


def _images(root: Path, split: str) -> list[Path]:
    return image_files(_folder(root, split))


def _field_name(path: Path) -> str:
    """What a field is called in ids and groups: its split's folder and its file."""
    return f"{path.parent.parent.name}/{path.name}"


def _polygons(image: Path) -> Path:
    return image.with_suffix(".json")


def _field_problems(image: Path, drawn_again: list[Path]) -> list[Problem]:
    """What is wrong with an image, its polygons, those of further raters, or all together."""
    drawn = {_polygons(image): parse(_polygons(image))}
    drawn |= {path: parse(path, need_cell=False) for path in drawn_again}
    messages = [message for _, found in drawn.values() for message in found]
    try:
        height, width = read_image(image).shape[:2]
        messages += [
            f"{path}: drawn on {field.width}x{field.height} pixels, but {image.name} has {width}x{height}; "
            "take both from the archive again."
            for path, (field, _) in drawn.items()
            if field and (field.height, field.width) != (height, width)
        ]
    except DataError as error:
        messages.append(str(error))
    return [Problem(message, (_field_name(image),)) for message in messages]
