"""HuSHeM (Shaker et al. 2017): stained human sperm heads in four classes."""

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8

from spermjax.data.class_folders import ClassFolderBuilder

# One head photographed or cropped twice, seen in the published files: the second joins the first's group.
NEAR_DUPLICATES = {
    "02_Tapered/image_033": "02_Tapered/image_032",
    "03_Pyriform/image_032": "03_Pyriform/image_031",
    "04_Amorphous/image_043": "04_Amorphous/image_042",
}


class Builder(ClassFolderBuilder):
    """Heads of 131x131 pixels, a few a little smaller, as they were published."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get HuSHeM.rar from https://doi.org/10.17632/tt3yj2pf38.3 and give it, or the folder that it unpacks to, with "
        "HuSHeM/01_Normal/image_001.BMP and so on, and 02_Tapered, 03_Pyriform and 04_Amorphous beside it."
    )
    LICENSE = "CC BY 4.0"
    HOMEPAGE = "https://doi.org/10.17632/tt3yj2pf38.3"
    ARCHIVE_FOLDER = "HuSHeM"
    FOLDERS: ClassVar[dict[str, str]] = {
        "normal": "01_Normal",
        "tapered": "02_Tapered",
        "pyriform": "03_Pyriform",
        "amorphous": "04_Amorphous",
    }
    SIDES_PX = (16, 262)
    DECIDING_PARTS = {label: ("acrosome", "nucleus") for label in FOLDERS if label != "normal"} | {"normal": ()}

    def group(self, identity: str, image: UInt8[np.ndarray, "height width 3"]) -> str:
        name = identity.rpartition(".")[0]
        return NEAR_DUPLICATES.get(name, name)
