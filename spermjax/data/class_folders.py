"""Builders of sets that come as one folder of images a class."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8

from spermjax.data.builder import Example, Problem, SpermBuilder, file_id
from spermjax.data.images import image_files, image_problem, pixel_digest, png, read_image
from spermjax.data.threads import map_threaded


class ClassFolderBuilder(SpermBuilder, skip_registration=True):
    """Base of the builders of undivided sets whose folders are classes.

    An example's id is its file's path from the root, so that the single split `full`
    can be traced to the files.

    Attributes:
        FOLDERS: for each class its folder under the root.
        SIDES_PX: least and greatest height and width that an image of the set can have.
    """

    FOLDERS: ClassVar[Mapping[str, str]]
    SIDES_PX: ClassVar[tuple[int, int]]

    def folder(self, root: Path, label: str) -> Path:
        """The folder of a class."""
        return root / self.FOLDERS[label]

    def group(self, identity: str, image: UInt8[np.ndarray, "height width 3"]) -> str:
        """What must not be divided over splits; here, images of the same pixels are together.

        Args:
            identity: the example's id.
            image: its pixels.
        """
        return f"pixels {pixel_digest(image)}"

    def _info(self) -> tfds.core.DatasetInfo:
        return self.describe({"label": tfds.features.ClassLabel(names=list(self.FOLDERS))})

    def source_files(self, root: Path) -> list[Path]:
        return [path for label in self.FOLDERS for path in image_files(self.folder(root, label))]

    def problems(self, root: Path) -> list[Problem]:
        kept = [path for _, path in self._kept(root)]
        found = [
            Problem(f"{folder}: no images, so class {label!r} would be empty; unpack the archive again.")
            for label, folder in ((label, self.folder(root, label)) for label in self.FOLDERS)
            if not any(path.parent == folder for path in kept)
        ]
        stems = Counter(path.with_suffix("") for path in kept)
        twice = "another file has the same name but for its suffix; keep one of them."
        messages = self.checked(lambda path: image_problem(path, self.SIDES_PX), kept)
        for path, message in zip(kept, messages, strict=True):
            left_out = (file_id(path, root),)
            if stems[path.with_suffix("")] > 1:
                found.append(Problem(f"{path}: {twice}", left_out))
            if message:
                found.append(Problem(message, left_out))
        return found

    def splits(self, root: Path) -> dict[str, int]:
        return {"full": len(self._kept(root))}

    def _generate_examples(self, root: Path, split: str) -> Iterator[Example]:
        def example(labelled: tuple[str, Path]) -> Example:
            label, path = labelled
            identity, image = file_id(path, root), read_image(path)
            features = {"image": png(image), "id": identity, "group": self.group(identity, image), "label": label}
            return identity, features

        return map_threaded(example, self._kept(root))

    def _kept(self, root: Path) -> list[tuple[str, Path]]:
        """The class and the file of each example, in order."""
        return [
            (label, path)
            for label in self.FOLDERS
            for path in image_files(self.folder(root, label))
            if file_id(path, root) not in self.skipped
        ]
