"""Hi-LabSpermMorpho (Aktas et al. 2024): stained human sperm in eighteen classes and three stains."""

import re
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from spermjax.data.class_folders import ClassFolderBuilder

_OUTLINE = ("acrosome", "nucleus")


class Builder(ClassFolderBuilder):
    """Patches around one cell; each stain is a configuration, for cells don't compare across stains."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name="beslab", description="Diff-Quick of BesLab."),
        tfds.core.BuilderConfig(name="histoplus", description="Diff-Quick of Histoplus."),
        tfds.core.BuilderConfig(name="gbl", description="Diff-Quick of GBL."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get Hi-LabSpermMorpho from its authors (https://ieeexplore.ieee.org/document/10812754) and give the archive, "
        "or the folder that holds BesLab, Histoplus and GBL, each with a folder a class: Normal, AmorphHead and so on."
    )
    LICENSE = "that which the authors give with the images"
    HOMEPAGE = "https://ieeexplore.ieee.org/document/10812754"
    FOLDERS: ClassVar[dict[str, str]] = {
        "normal": "Normal",
        "amorphous_head": "AmorphHead",
        "tapered_head": "TaperedHead",
        "double_head": "DoubleHead",
        "pyriform_head": "PyriformHead",
        "pin_head": "PinHead",
        "vacuolated_head": "VacuolatedHead",
        "narrow_acrosome": "NarrowAcrosome",
        "round_head": "RoundHead",
        "thin_neck": "ThinNeck",
        "thick_neck": "ThickNeck",
        "twisted_neck": "TwistedNeck",
        "asymmetric_neck": "AsymmetricNeck",
        "double_tail": "DoubleTail",
        "curly_tail": "CurlyTail",
        "long_tail": "LongTail",
        "short_tail": "ShortTail",
        "twisted_tail": "TwistedTail",
    }
    SIDES_PX = (16, 1024)
    DECIDING_PARTS = (
        {label: _OUTLINE for label in FOLDERS if label.endswith("_head")}
        | {label: ("midpiece",) for label in FOLDERS if label.endswith("_neck")}
        | {label: ("tail",) for label in FOLDERS if label.endswith("_tail")}
        | {"normal": (), "vacuolated_head": ("vacuole",), "narrow_acrosome": ("acrosome",)}
    )

    def folder(self, root: Path, label: str) -> Path:
        assert self.builder_config is not None
        return _named(_named(root, self.builder_config.name), self.FOLDERS[label])


def _named(parent: Path, name: str) -> Path:
    """The folder in `parent` whose name has the same letters, whatever its case, numbers and separators."""
    candidates = sorted(parent.iterdir()) if parent.is_dir() else []
    same = [path for path in candidates if path.is_dir() and _letters(path.name) == _letters(name)]
    return same[0] if same else parent / name


def _letters(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())
