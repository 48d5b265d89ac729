"""SMIDS (Ilhan et al. 2020): stained human sperm and what is none, in three classes."""

from typing import ClassVar

import tensorflow_datasets as tfds

from spermjax.data.class_folders import ClassFolderBuilder


class Builder(ClassFolderBuilder):
    """Crops of many sizes around one object, as they were published; pixel-identical ones share a group."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get SMIDS.zip from https://doi.org/10.17632/6xvdhc9fyb.1 and give it, or the folder that it unpacks to, with "
        "SMIDS/Normal_Sperm, SMIDS/Abnormal_Sperm and SMIDS/Non-Sperm with their images."
    )
    LICENSE = "CC BY 4.0"
    HOMEPAGE = "https://doi.org/10.17632/6xvdhc9fyb.1"
    ARCHIVE_FOLDER = "SMIDS"
    FOLDERS: ClassVar[dict[str, str]] = {
        "normal": "Normal_Sperm",
        "abnormal": "Abnormal_Sperm",
        "non_sperm": "Non-Sperm",
    }
    SIDES_PX = (16, 528)
    DECIDING_PARTS: ClassVar[dict[str, tuple[str, ...]]] = {"normal": (), "abnormal": ("acrosome", "nucleus")}
