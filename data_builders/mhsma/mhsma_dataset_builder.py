"""MHSMA (Javadi & Mirroshandel 2019): unstained human sperm, four attributes a cell."""

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from spermjax.data.builder import Example, Problem, SpermBuilder
from spermjax.data.images import png
from spermjax.errors import DataError

SPLITS = {"train": "train", "validation": "valid", "test": "test"}


@dataclasses.dataclass(eq=False, kw_only=True)
class Configuration(tfds.core.BuilderConfig):
    """Which of the two published sizes.

    Attributes:
        size: side of the images in pixels; 64 is the centre of 128.
    """

    size: int


class Builder(SpermBuilder):
    """Gray crops around one cell, with the published division."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[Configuration]] = [
        Configuration(name="64px", size=64, description="The head and the start of the midpiece, 64x64 pixels."),
        Configuration(name="128px", size=128, description="The same cells with their surroundings, 128x128 pixels."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get the folder mhsma from https://github.com/soroushj/mhsma-dataset, so that it holds x_64_train.npy "
        "(or x_128_train.npy), y_acrosome_train.npy, y_head_train.npy, y_vacuole_train.npy, y_tail_train.npy, and "
        "the same for valid and test."
    )
    LICENSE = "CC BY-NC-SA 4.0"
    HOMEPAGE = "https://github.com/soroushj/mhsma-dataset"
    ARCHIVE_FOLDER = "mhsma"
    DECIDING_PARTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "acrosome": ("acrosome",),
        "head": ("acrosome", "nucleus"),
        "vacuole": ("vacuole",),
        "tail": ("tail",),
    }

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=["normal", "abnormal"])
        return self.describe({"attributes": dict.fromkeys(self.DECIDING_PARTS, label)})

    def source_files(self, root: Path) -> list[Path]:
        return [path for split in self._present(root) for path in self._files(root, split).values()]

    def problems(self, root: Path) -> list[Problem]:
        splits = self._present(root)
        if not splits:
            names = ", ".join(self._files(root, split)["image"].name for split in SPLITS)
            return [Problem(f"{root}: holds none of {names}; give the folder that does.")]
        for split in SPLITS.keys() - splits:
            logging.info("mhsma: no %s split, for there is no %s", split, self._files(root, split)["image"])
        return [problem for split in splits for problem in self._split_problems(root, split)]

    def splits(self, root: Path) -> dict[str, int]:
        return {split: len(self._rows(root, split)) for split in self._present(root)}

    def _generate_examples(self, root: Path, split: str) -> Iterator[Example]:
        files = self._files(root, split)
        arrays = {name: _read(path) for name, path in files.items()}
        for index in self._rows(root, split):
            identity = _identity(files, index)
            yield (
                identity,
                {
                    "image": png(np.repeat(arrays["image"][index][..., None], 3, axis=-1)),
                    "id": identity,
                    "group": f"{SPLITS[split]}/{index:04d}",
                    "attributes": {name: int(arrays[name][index]) for name in self.DECIDING_PARTS},
                },
            )

    @property
    def _size(self) -> int:
        assert isinstance(self.builder_config, Configuration)
        return self.builder_config.size

    def _files(self, root: Path, split: str) -> dict[str, Path]:
        """The images' file of a split, and the file of each attribute."""
        suffix = SPLITS[split]
        files = {"image": root / f"x_{self._size}_{suffix}.npy"}
        return files | {name: root / f"y_{name}_{suffix}.npy" for name in self.DECIDING_PARTS}

    def _present(self, root: Path) -> list[str]:
        return [split for split in SPLITS if self._files(root, split)["image"].exists()]

    def _rows(self, root: Path, split: str) -> list[int]:
        """The rows of a split's arrays that make examples."""
        files = self._files(root, split)
        return [index for index in range(len(_read(files["image"]))) if not self._skips(files, index)]

    def _split_problems(self, root: Path, split: str) -> list[Problem]:
        files, found, arrays = self._files(root, split), [], {}
        for name, path in files.items():
            try:
                arrays[name] = _read(path)
            except DataError as error:
                found.append(Problem(str(error)))
        images, size = arrays.pop("image", None), self._size
        if images is not None and (images.shape[1:] != (size, size) or images.dtype != np.uint8 or not len(images)):
            message = f"{images.dtype}{list(images.shape)} instead of uint8[N, {size}, {size}]; get it again."
            found.append(Problem(f"{files['image']}: {message}"))
        for name, labels in arrays.items():
            if images is not None and labels.shape != images.shape[:1]:
                message = (
                    f"shape {list(labels.shape)} does not go with {files['image'].name} of shape "
                    f"{list(images.shape)}; take both from one release."
                )
                found.append(Problem(f"{files[name]}: {message}"))
            values = {i: value for i, value in enumerate(labels.ravel().tolist()) if not self._skips(files, i)}
            wrong = {i: value for i, value in values.items() if value not in (0, 1)}
            if wrong:
                where = ", ".join(f"row {i} holds {value!r}" for i, value in list(wrong.items())[:5])
                message = f"{where}{', ...' * (len(wrong) > 5)}, but a label is 0 (normal) or 1 (abnormal)."
                found.append(Problem(f"{files[name]}: {message}", tuple(_identity(files, i) for i in wrong)))
            elif split == "train" and len(set(values.values())) < 2:
                message = f"holds one class only, so {name} can't be learnt; get it again."
                found.append(Problem(f"{files[name]}: {message}"))
        return found

    def _skips(self, files: dict[str, Path], index: int) -> bool:
        return _identity(files, index) in self.skipped


def _identity(files: dict[str, Path], index: int) -> str:
    """The id of the example in a row of a split's files."""
    return f"{files['image'].name}/{index:04d}"


def _read(path: Path) -> np.ndarray:
    """An array file; `DataError` when it is missing, damaged or no plain array."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a split needs its images and its four label files.") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a whole array file ({error}); get it again.") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: an archive of arrays instead of one array; get it again.")
    return array
