"""SVIA (Chen et al. 2022): sperm and impurities in videos of unstained semen."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from data_builders.svia.boxes import LABELS, cut_out, read_boxes
from spermjax.data.builder import Example, Problem, SpermBuilder, file_id
from spermjax.data.images import image_files, image_problem, png, read_image
from spermjax.data.threads import map_threaded
from spermjax.errors import DataError

FRAMES = "Frames from original videos"
SIDES_PX = (4, 512)
_CROP = re.compile(r"V(?P<video>\d+)-F(?P<frame>\d+)-(?P<label>[A-Za-z]+?)(?P<index>\d+)$")
_FRAME = re.compile(r"(?P<video>.+)_\d+$")


class Builder(SpermBuilder):
    """One object an example; all objects of one video share a group, for the same cells swim through its frames."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name="crops", description="Subset C: crops as they were published."),
        tfds.core.BuilderConfig(name="boxes", description="Subset A: boxes, cut from their frames with a margin."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get the archive from https://doi.org/10.6084/m9.figshare.15074253 and give it, or the folder 'Data Set' that "
        "it unpacks to, with Subset-C/V1-F1-S1.png and so on (crops), or Subset-A/S_0001_0026.xml and "
        f"{FRAMES!r}/S_0001/S_0001_0026.png (boxes)."
    )
    LICENSE = "for non-commercial research, as the authors publish it"
    HOMEPAGE = "https://doi.org/10.6084/m9.figshare.15074253"
    ARCHIVE_FOLDER = "Data Set"
    DECIDING_PARTS: ClassVar[dict[str, tuple[str, ...]]] = {"impurity": ()}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.describe({"label": tfds.features.ClassLabel(names=list(LABELS.values()))})

    def source_files(self, root: Path) -> list[Path]:
        if not self._cuts_boxes:
            return image_files(root / "Subset-C")
        files = _box_files(root)
        return files + [frame for path in files if (frame := _frame(root, path)).exists()]

    def problems(self, root: Path) -> list[Problem]:
        kept = self._kept(root)
        if not kept:
            folder = root / ("Subset-A" if self._cuts_boxes else "Subset-C")
            return [Problem(f"{folder}: nothing to make examples from; give the folder that holds it.")]
        check = (lambda path: _frame_problems(root, path)) if self._cuts_boxes else _crop_problems
        messages = self.checked(check, kept)
        found = [
            Problem(said, (file_id(path, root),)) for path, lines in zip(kept, messages, strict=True) for said in lines
        ]
        if not found:
            labels = {label for path in kept for label in self._labels(path)}
            found = [Problem(f"{root}: no {label} in it.") for label in LABELS.values() if label not in labels]
        return found

    def splits(self, root: Path) -> dict[str, int]:
        return {"full": sum(len(self._labels(path)) for path in self._kept(root))}

    def _generate_examples(self, root: Path, split: str) -> Iterator[Example]:
        make = self._cut if self._cuts_boxes else self._crop
        for examples in map_threaded(lambda path: make(root, path), self._kept(root)):
            yield from examples

    @property
    def _cuts_boxes(self) -> bool:
        return self.builder_config is not None and self.builder_config.name == "boxes"

    def _kept(self, root: Path) -> list[Path]:
        """The files that examples are made from: crops, or the boxes of a frame."""
        files = _box_files(root) if self._cuts_boxes else image_files(root / "Subset-C")
        return [path for path in files if file_id(path, root) not in self.skipped]

    def _labels(self, path: Path) -> list[str]:
        """The label of each example that a file gives."""
        if self._cuts_boxes:
            return [box.label for box in read_boxes(path)[0]]
        return [_label(path)]

    def _crop(self, root: Path, path: Path) -> list[Example]:
        identity, name = file_id(path, root), _CROP.match(path.stem)
        assert name is not None
        features = {"image": png(read_image(path)), "id": identity, "group": f"video {int(name['video'])}"}
        return [(identity, features | {"label": _label(path)})]

    def _cut(self, root: Path, path: Path) -> list[Example]:
        frame, group, examples = read_image(_frame(root, path)), f"video {_video(path)}", []
        for number, box in enumerate(read_boxes(path)[0]):
            identity = f"{file_id(path, root)}/{number:03d}"
            features = {"image": png(cut_out(frame, box)), "id": identity, "group": group, "label": box.label}
            examples.append((identity, features))
        return examples


def _box_files(root: Path) -> list[Path]:
    return sorted((root / "Subset-A").rglob("*.xml"))


def _frame(root: Path, boxes: Path) -> Path:
    """The picture that boxes were drawn on."""
    return root / FRAMES / _video(boxes) / f"{boxes.stem}.png"


def _video(boxes: Path) -> str:
    name = _FRAME.match(boxes.stem)
    return name["video"] if name else boxes.stem


def _label(path: Path) -> str:
    """The label that a crop's name tells: by its class, or by the class's first letter."""
    name = _CROP.match(path.stem)
    given = name["label"].lower() if name else ""
    return next((label for key, label in LABELS.items() if given in (key.lower(), key[0].lower())), "")


def _crop_problems(path: Path) -> list[str]:
    """What is wrong with a crop or its name."""
    found = []
    if not _label(path):
        classes = " or ".join(LABELS)
        found.append(f"{path}: the name tells no class; a crop is V<video>-F<frame>-<class><number>, class {classes}.")
    problem = image_problem(path, SIDES_PX)
    return [*found, problem] if problem else found


def _frame_problems(root: Path, path: Path) -> list[str]:
    """What is wrong with a frame's boxes, or with the frame."""
    boxes, found = read_boxes(path)
    frame = _frame(root, path)
    try:
        height, width = read_image(frame).shape[:2]
    except DataError as error:
        return [*found, str(error)]
    if any(box.right > width or box.bottom > height for box in boxes):
        found.append(f"{path}: boxes reach out of {frame.name} of {width}x{height}; take both from the archive again.")
    return found
