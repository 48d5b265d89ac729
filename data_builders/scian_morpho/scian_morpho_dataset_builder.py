"""SCIAN-MorphoSpermGS (Chang et al. 2017): stained sperm heads, each labelled by three experts."""

import csv
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from spermjax.data.builder import Example, Problem, SpermBuilder
from spermjax.data.images import image_files, image_problem, png, read_image
from spermjax.data.threads import map_threaded
from spermjax.errors import DataError, nearest

CLASSES = ("normal", "tapered", "pyriform", "small", "amorphous")
EXPERTS = ("expert_1", "expert_2", "expert_3")
TABLE = "labels.csv"
SIDES_PX = (16, 256)
_NAME = re.compile(r"ch(\d+)_p(?P<patient>\d+)-pl(\d+)-sample(\d+)-sperm(\d+)$")


@dataclasses.dataclass(eq=False, kw_only=True)
class Configuration(tfds.core.BuilderConfig):
    """Which heads make examples.

    Attributes:
        agreeing: how many of the three experts have to give one label.
    """

    agreeing: int


class Builder(SpermBuilder):
    """The label is the majority's; what each expert said is kept beside it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[Configuration]] = [
        Configuration(name="partial_agreement", agreeing=2, description="At least two of the experts agree."),
        Configuration(name="total_agreement", agreeing=3, description="All three experts agree."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get SCIAN-MorphoSpermGS from its authors (https://doi.org/10.1016/j.compbiomed.2017.03.004) and give the "
        f"folder that holds images/ch00_p4-pl2-sample16-sperm7.tif and so on, and {TABLE} with the columns file, "
        f"{', '.join(EXPERTS)}."
    )
    LICENSE = "free for research, as the authors publish it"
    HOMEPAGE = "https://doi.org/10.1016/j.compbiomed.2017.03.004"
    DECIDING_PARTS = {label: ("acrosome", "nucleus") for label in CLASSES if label != "normal"} | {"normal": ()}

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=list(CLASSES))
        return self.describe({"label": label, "experts": dict.fromkeys(EXPERTS, label)})

    def source_files(self, root: Path) -> list[Path]:
        return [root / TABLE, *image_files(root / "images")]

    def problems(self, root: Path) -> list[Problem]:
        files = {path.name: path for path in image_files(root / "images") if path.name not in self.skipped}
        if not files:
            return [Problem(f"{root / 'images'}: no images; give the folder that holds it.")]
        try:
            lines = _lines(root / TABLE)
        except DataError as error:
            return [Problem(str(error))]
        found, times = [], Counter(name for name, _ in lines)
        for number, (name, labels) in enumerate(lines, 2):
            if name not in self.skipped:
                where = f"{root / TABLE}: line {number} ({name})"
                found += [Problem(f"{where}: {what}", (name,)) for what in _line_problems(name, labels, times, files)]
        for name in sorted(files.keys() - times.keys()):
            found.append(Problem(f"{files[name]}: no line of {TABLE} names it; add one.", (name,)))
        messages = self.checked(lambda path: image_problem(path, SIDES_PX), list(files.values()))
        found += [Problem(said, (name,)) for name, said in zip(files, messages, strict=True) if said]
        if not found:
            counts = Counter(_majority(labels) for _, labels in self._kept(root))
            found = [
                Problem(
                    f"{root / TABLE}: no head is {label!r} by {self._agreeing} experts, so the class would be empty."
                )
                for label in CLASSES
                if not counts[label]
            ]
        return found

    def splits(self, root: Path) -> dict[str, int]:
        return {"full": len(self._kept(root))}

    def _generate_examples(self, root: Path, split: str) -> Iterator[Example]:
        def example(line: tuple[str, tuple[str, ...]]) -> Example:
            name, labels = line
            features = {
                "image": png(read_image(root / "images" / name)),
                "id": name,
                "group": _patient(name),
                "label": _majority(labels),
                "experts": dict(zip(EXPERTS, labels, strict=True)),
            }
            return name, features

        return map_threaded(example, self._kept(root))

    @property
    def _agreeing(self) -> int:
        assert isinstance(self.builder_config, Configuration)
        return self.builder_config.agreeing

    def _kept(self, root: Path) -> list[tuple[str, tuple[str, ...]]]:
        """The file and the experts' labels of each example."""
        return [
            (name, labels)
            for name, labels in _lines(root / TABLE)
            if name not in self.skipped and max(Counter(labels).values()) >= self._agreeing
        ]


def _lines(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The file and the experts' labels of each line of the table, in lower case; `DataError` if it is none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            columns, lines = reader.fieldnames or [], list(reader)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; it tells the experts' labels.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read as a table ({error}); save it as CSV in UTF-8.") from error
    missing = [name for name in ("file", *EXPERTS) if name not in columns]
    if missing:
        raise DataError(f"{path}: has no column {', '.join(missing)} but {list(columns)}; rename its columns.")
    return [(line["file"], tuple(line[expert].strip().lower() for expert in EXPERTS)) for line in lines]


def _line_problems(name: str, labels: tuple[str, ...], times: Counter[str], files: dict[str, Path]) -> Iterator[str]:
    """What is wrong with one line of the table."""
    if times[name] > 1:
        yield "the file is named more than once; keep one of the lines."
    if name not in files:
        yield "there is no such file in images; add it or remove the line."
    if not _NAME.match(Path(name).stem):
        yield "the name does not tell the patient, as ch00_p4-pl2-sample16-sperm7.tif does; keep the published names."
    for expert, label in zip(EXPERTS, labels, strict=True):
        if label not in CLASSES:
            yield f"{expert} says {label!r}, which is no class. {nearest(label, CLASSES)}"


def _majority(labels: tuple[str, ...]) -> str:
    return Counter(labels).most_common(1)[0][0]


def _patient(name: str) -> str:
    found = _NAME.match(Path(name).stem)
    assert found is not None
    return f"patient {found['patient']}"
