"""HuSHeM (Shaker et al. 2017): stained human sperm heads in four classes."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from spermjax.data.builder import Example, SpermBuilder
from spermjax.data.images import image_files, png, read_image
from spermjax.errors import DataError

FOLDERS = {
    "normal": "01_Normal",
    "tapered": "02_Tapered",
    "pyriform": "03_Pyriform",
    "amorphous": "04_Amorphous",
}

# One head photographed or cropped twice, seen in the published files: the second joins the first's group.
NEAR_DUPLICATES = {
    "02_Tapered/image_033": "02_Tapered/image_032",
    "03_Pyriform/image_032": "03_Pyriform/image_031",
    "04_Amorphous/image_043": "04_Amorphous/image_042",
}


class Builder(SpermBuilder):
    """Heads of 131x131 pixels, a few a little smaller, as they were published."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get HuSHeM.rar from https://doi.org/10.17632/tt3yj2pf38.3 and unpack it, so that the folder holds "
        "HuSHeM/01_Normal/image_001.BMP and so on, with 02_Tapered, 03_Pyriform and 04_Amorphous beside it."
    )
    LICENSE = "CC BY 4.0"
    HOMEPAGE = "https://doi.org/10.17632/tt3yj2pf38.3"
    ARCHIVE_FOLDER = "HuSHeM"
    DECIDING_PARTS = {label: ("acrosome", "nucleus") for label in FOLDERS if label != "normal"} | {"normal": ()}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.describe({"label": tfds.features.ClassLabel(names=list(FOLDERS))})

    def source_files(self, root: Path) -> list[Path]:
        return [path for folder in FOLDERS.values() for path in image_files(root / folder)]

    def problems(self, root: Path) -> list[str]:
        found = []
        for label, folder in FOLDERS.items():
            files = image_files(root / folder)
            if not files:
                found.append(
                    f"{root / folder}: no images, so class {label!r} would be empty; unpack the archive again."
                )
            stems = Counter(path.stem for path in files)
            found += [
                f"{path}: another file has the same name but for its suffix; keep one of them."
                for path in files
                if stems[path.stem] > 1
            ]
            for path in files:
                try:
                    read_image(path)
                except DataError as error:
                    found.append(str(error))
        return found

    def splits(self, root: Path) -> dict[str, int]:
        return {"full": len(self.source_files(root))}

    def _generate_examples(self, root: Path, split: str) -> Iterator[Example]:
        for label, folder in FOLDERS.items():
            for path in image_files(root / folder):
                name = f"{folder}/{path.stem}"
                identity = f"{folder}/{path.name}"
                yield (
                    identity,
                    {
                        "image": png(read_image(path)),
                        "id": identity,
                        "group": NEAR_DUPLICATES.get(name, name),
                        "label": label,
                    },
                )
