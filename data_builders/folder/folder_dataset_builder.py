"""A folder of one's own images: `class/IMAGE`, masks beside them, and a table of attributes and patients."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import tensorflow_datasets as tfds

from data_builders.folder import layout
from spermjax.data.builder import Example, Problem, SpermBuilder, file_id
from spermjax.data.images import image_problem, pixel_digest, png, read_image
from spermjax.data.threads import map_threaded
from spermjax.errors import DataError
from spermjax.parts import PARTS

SIDES_PX = (8, 4096)
_DEFAULT = "images"


@dataclasses.dataclass(eq=False, kw_only=True)
class Configuration(tfds.core.BuilderConfig):
    """One folder, by the name that its user gives it.

    Attributes:
        classes: its class folders.
        attributes: the attribute columns of its table, in the alphabet's order; where
            there are any, they are what is asked, and not the class.
        masks: whether there are part masks.
    """

    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    masks: bool = False


class Builder(SpermBuilder):
    """Learns its classes, attributes and masks from the folder, and later from the prepared set."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Give a folder with a folder of images for each class, as in DIR/normal/cell1.png; optional are masks beside "
        f"the images (cell1.acrosome.png) and DIR/{layout.TABLE} with the columns file, group and attributes."
    )
    LICENSE = "that of your own images"
    HOMEPAGE = ""

    @classmethod
    def has_configuration(cls, name: str) -> bool:
        return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) is not None

    @classmethod
    def open(cls, data_dir: Path, configuration: str | None, root: Path | None) -> Self:
        name = configuration or _DEFAULT
        if root is not None:
            return cls(data_dir=data_dir, config=_look(name, root))
        folder = Path(data_dir) / cls.name / name / str(cls.VERSION)
        stored: Any = (
            tfds.features.FeatureConnector.from_config(str(folder)) if (folder / "features.json").exists() else {}
        )
        config = Configuration(
            name=name,
            classes=tuple(stored["label"].names) if "label" in stored else (),
            attributes=tuple(sorted(stored["attributes"])) if "attributes" in stored else (),
            masks="parts" in stored,
        )
        return cls(data_dir=data_dir, config=config)

    @property
    def deciding_parts(self) -> Mapping[str, tuple[str, ...]]:
        """An attribute that is named like a part is decided by it, and `head` by its outline."""
        known = {part: (part,) for part in PARTS} | {"head": ("acrosome", "nucleus")}
        return {name: known[name] for name in self._configuration.attributes if name in known}

    def _info(self) -> tfds.core.DatasetInfo:
        config = self._configuration
        if config.attributes:
            verdict = tfds.features.ClassLabel(names=["normal", "abnormal"])
            features: dict[str, Any] = {"attributes": dict.fromkeys(config.attributes, verdict)}
        else:
            features = {"label": tfds.features.ClassLabel(names=list(config.classes))}
        if config.masks:
            features["parts"] = tfds.features.Image(shape=(None, None, 1), dtype=np.uint8, encoding_format="png")
        return self.describe(features)

    def source_files(self, root: Path) -> list[Path]:
        table = [root / layout.TABLE] if (root / layout.TABLE).exists() else []
        found = [path for name in layout.classes(root) for path in layout.images(root / name)]
        return table + found + [mask for path in found for mask in layout.masks(path).values()]

    def problems(self, root: Path) -> list[Problem]:
        config, kept = self._configuration, self._kept(root)
        found = [
            Problem(f"{root / name}: no images, so class {name!r} would be empty; remove the folder or fill it.")
            for name in config.classes
            if not any(path.parent == root / name for path in kept)
        ]
        if len(config.classes) < 2 and not config.attributes:
            found.append(
                Problem(
                    f"{root}: {len(config.classes)} folders with images, but a class each needs at least 2; "
                    f"or give attributes in {layout.TABLE}."
                )
            )
        stems = Counter(path.with_suffix("") for path in kept)
        messages = self.checked(lambda path: _image_problems(path, config.masks), kept)
        for path, said in zip(kept, messages, strict=True):
            if stems[path.with_suffix("")] > 1:
                said = [f"{path}: another file has the same name but for its suffix; keep one of them.", *said]
            found += [Problem(message, (file_id(path, root),)) for message in said]
        for mask in (mask for name in config.classes for mask in layout.orphans(root / name)):
            if file_id(mask, root) not in self.skipped:
                found.append(Problem(f"{mask}: a mask beside no image; add the image.", (file_id(mask, root),)))
        return found + self._table_problems(root, kept)

    def splits(self, root: Path) -> dict[str, int]:
        return {"full": len(self._kept(root))}

    def _generate_examples(self, root: Path, split: str) -> Iterator[Example]:
        config, table = self._configuration, layout.read_table(root)
        rows = table.rows if table else {}

        def example(path: Path) -> Example:
            identity, image = file_id(path, root), read_image(path)
            group, attributes = rows.get(identity, ("", {}))
            group = group or f"pixels {pixel_digest(image)}"
            features: dict[str, Any] = {"image": png(image), "id": identity, "group": group}
            features |= {"attributes": attributes} if config.attributes else {"label": path.parent.name}
            if config.masks:
                features["parts"] = png(layout.read_parts(path, *image.shape[:2]))
            return identity, features

        return map_threaded(example, self._kept(root))

    @property
    def _configuration(self) -> Configuration:
        assert isinstance(self.builder_config, Configuration)
        return self.builder_config

    def _kept(self, root: Path) -> list[Path]:
        """The images that make examples."""
        found = [path for name in self._configuration.classes for path in layout.images(root / name)]
        return [path for path in found if file_id(path, root) not in self.skipped]

    def _table_problems(self, root: Path, kept: list[Path]) -> list[Problem]:
        """What is wrong with the table, or with it and the images together."""
        table, path = layout.read_table(root), root / layout.TABLE
        if table is None:
            return []
        found = [
            Problem(message, (name,) if name else ())
            for message, name in table.problems
            if name is None or name not in self.skipped
        ]
        names = {file_id(image, root) for image in kept}
        absent = [name for name in table.rows if name not in names and name not in self.skipped]
        wrong = f"is not in {root}; mend the name or remove the line."
        found += [Problem(f"{path}: {name} {wrong}", (name,)) for name in absent]
        if table.rows:
            unnamed = sorted(names - set(table.rows))
            found += [Problem(f"{path}: there is no line for {name}; add it.", (name,)) for name in unnamed]
        for attribute in table.attributes:
            if not {0, 1} <= {table.rows[name][1][attribute] for name in names & set(table.rows)}:
                found.append(Problem(f"{path}: {attribute} has one value only; remove the column."))
        return found


def _look(name: str, root: Path) -> Configuration:
    """What lies in a folder."""
    table, found = layout.read_table(root), layout.classes(root)
    return Configuration(
        name=name,
        description=f"The folder {root.name}.",
        classes=tuple(found),
        attributes=tuple(sorted(table.attributes)) if table else (),
        masks=any(layout.masks(image) for folder in found for image in layout.images(root / folder)),
    )


def _image_problems(path: Path, masks: bool) -> list[str]:
    """What is wrong with an image and its masks."""
    problem = image_problem(path, SIDES_PX)
    if problem:
        return [problem]
    if masks and not layout.masks(path):
        return [f"{path}: no mask beside it, as {path.stem}.nucleus.png; draw one (black if no part can be seen)."]
    try:
        layout.read_parts(path, *read_image(path).shape[:2])
    except DataError as error:
        return [str(error)]
    return []
