"""What every data set's builder shares: one form of example, checked source files.

A builder lives in `data_builders/NAME/` and is a TFDS builder that runs without
TensorFlow: it encodes its own PNG bytes and is stored as ArrayRecord files. It adds
to TFDS what a researcher with a folder of images needs: every bad file is named
before anything is written.
"""

import abc
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import tensorflow_datasets as tfds

from spermjax.data.threads import map_threaded

Example = tuple[str, dict[str, Any]]
T = TypeVar("T")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the source files.

    Attributes:
        message: names the file, the record in it, and the remedy.
        leaves_out: what has to be left out to go on without mending it, as the builder
            knows it: ids of examples, or a file of many. Nothing, where nothing less
            than the whole set would do, as for a class without images.
    """

    message: str
    leaves_out: tuple[str, ...] = ()


def file_id(path: Path, root: Path) -> str:
    """A file's path from the root, alike on every system: the id of what is made from it."""
    return path.relative_to(root).as_posix()


class SpermBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base of the builders.

    A subclass sets the class attributes, and writes `_info` (through `describe`),
    `splits`, `_generate_examples` and, where it reads an archive, `source_files` and
    `problems`. An archive is announced by `MANUAL_DOWNLOAD_INSTRUCTIONS`: where to get
    it, and its layout.

    Attributes:
        LICENSE: licence of the images.
        HOMEPAGE: address of the data set.
        ARCHIVE_FOLDER: top folder of the unpacked archive.
        DECIDING_PARTS: for each class or attribute the parts that decide it.
        skipped: what is left out, each as a `Problem.leaves_out` names it. `splits`,
            `problems` and `_generate_examples` act as if it were not there.
        advance: called after each file that is checked and each example that is
            written; for progress.
    """

    LICENSE: ClassVar[str]
    HOMEPAGE: ClassVar[str]
    ARCHIVE_FOLDER: ClassVar[str] = ""
    DECIDING_PARTS: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    skipped: frozenset[str] = frozenset()
    advance: Callable[[], None] | None = None

    @classmethod
    def needs_archive(cls) -> bool:
        """Whether the set is made from files that the user provides."""
        return cls.MANUAL_DOWNLOAD_INSTRUCTIONS is not None

    @classmethod
    def has_configuration(cls, name: str) -> bool:
        """Whether there is a configuration of this name."""
        return name in cls.builder_configs

    @classmethod
    def open(cls, data_dir: Path, configuration: str | None, root: Path | None) -> Self:
        """A builder, which reads the set in `data_dir` if it is prepared.

        Args:
            data_dir: where prepared sets live.
            configuration: its name; None for the default.
            root: the source files, where they are at hand. A set of one's own learns
                its classes from them.
        """
        return cls(data_dir=data_dir, config=configuration)

    @classmethod
    def root(cls, manual_dir: Path | None) -> Path:
        """The folder that the other methods get.

        Args:
            manual_dir: the archive's top folder, or one or two above it; ignored by a
                set without an archive, whose root is the builder's own package folder.
        """
        if manual_dir is None or not cls.needs_archive():
            return Path(inspect.getfile(cls)).parent
        root = manual_dir
        while cls.ARCHIVE_FOLDER:
            inner = (*root.glob(cls.ARCHIVE_FOLDER), *sorted(root.glob(f"*/{cls.ARCHIVE_FOLDER}")))
            found = [path for path in inner if path.is_dir()]
            if not found:
                break
            root = found[0]
        return root

    @property
    def deciding_parts(self) -> Mapping[str, tuple[str, ...]]:
        """For each class or attribute of this configuration the parts that decide it, where that is known."""
        return self.DECIDING_PARTS

    def source_files(self, root: Path) -> list[Path]:
        """The files under `root` that the set is made from, skipped ones too; none for a synthetic set."""
        return []

    def problems(self, root: Path) -> list[Problem]:
        """What is wrong with the source files, but for those in `skipped`.

        All files are looked at, so that the user mends them in one go. An empty list
        means that `_generate_examples` will succeed.
        """
        return []

    def checked(self, check: Callable[[T], Result], items: Sequence[T]) -> list[Result]:
        """What `check` says of each item, in order; several at a time, each advancing the progress."""
        results = []
        for result in map_threaded(check, items):
            results.append(result)
            if self.advance:
                self.advance()
        return results

    @abc.abstractmethod
    def splits(self, root: Path) -> dict[str, int]:
        """Names of the splits that `root` holds, with the number of examples in each.

        `train`, `validation` and `test` are official splits. A set that was published
        undivided has the single split `full`.
        """

    @abc.abstractmethod
    def _generate_examples(self, root: Path, split: str) -> Iterator[Example]:
        """Yields the id and the features of each example of one split.

        Args:
            root: what the class method `root` gives.
            split: a name out of `splits`.
        """

    def describe(self, features: Mapping[str, Any]) -> tfds.core.DatasetInfo:
        """The set's `DatasetInfo`, with README and citation from the builder's folder.

        Args:
            features: `label` or `attributes`, and `parts` where there are masks; `image`,
                `id` and `group` are added.
        """
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "id": tfds.features.Text(),
                    "group": tfds.features.Text(),
                    **features,
                }
            ),
            homepage=self.HOMEPAGE,
            license=self.LICENSE,
            metadata=tfds.core.MetadataDict(
                deciding_parts={name: list(parts) for name, parts in self.deciding_parts.items()}
            ),
        )

    def records(self, split: str) -> Sequence[dict[str, Any]]:
        """The examples of a prepared split, in the order on disk; images and masks are PNG bytes.

        They stay encoded because TFDS would decode them with whichever library it finds.
        """
        features: Any = self.info.features
        undecoded = {
            name: tfds.decode.SkipDecoding()
            for name, feature in features.items()
            if isinstance(feature, tfds.features.Image)
        }
        as_data_source: Any = self.as_data_source
        return as_data_source(split, decoders=undecoded)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Example]]:
        root = self.root(Path(dl_manager.manual_dir) if self.needs_archive() else None)
        return {split: self._reported(self._generate_examples(root, split)) for split in self.splits(root)}

    def _reported(self, examples: Iterator[Example]) -> Iterator[Example]:
        for example in examples:
            yield example
            if self.advance:
                self.advance()
