"""A data set in memory: decoded once, brought to one size, divided into splits."""

import dataclasses
import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from spermjax import config
from spermjax.data import decoded, division, geometry, splits
from spermjax.data.builder import SpermBuilder
from spermjax.data.groups import read_groups
from spermjax.data.images import pixels, read_image
from spermjax.data.prepare import prepare
from spermjax.data.progress import bar
from spermjax.data.task import Task
from spermjax.errors import ConfigError, DataError

THREADS = min(16, os.cpu_count() or 1)
_STORED = ("image", "parts", "has_parts", "label", "id", "group")


@dataclasses.dataclass(frozen=True)
class Examples:
    """The cells of one split, all of one size.

    Attributes:
        image: pixels, 0 to 255.
        parts: part bits (see `spermjax.parts`), zeros without masks.
        has_parts: whether the cell has masks.
        label: class of each cell, or attributes with 0 normal, 1 abnormal, -1 missing.
        id: stable name, unique in the set.
        group: what must not be divided over splits.
        margin: pixels on each side that the model doesn't see, but augmentation may bring in.
    """

    image: UInt8[np.ndarray, "n size size 3"]
    parts: UInt8[np.ndarray, "n size size"]
    has_parts: Bool[np.ndarray, "n"]
    label: Int[np.ndarray, "n *attributes"]
    id: tuple[str, ...]
    group: tuple[str, ...]
    margin: int = 0

    def __len__(self) -> int:
        return len(self.id)

    def take(self, indices: Int[np.ndarray, "m"]) -> "Examples":
        """The cells at `indices`, in that order."""
        return dataclasses.replace(
            self,
            image=self.image[indices],
            parts=self.parts[indices],
            has_parts=self.has_parts[indices],
            label=self.label[indices],
            id=tuple(self.id[i] for i in indices),
            group=tuple(self.group[i] for i in indices),
        )

    def without_margin(self) -> "Examples":
        """The cells as the model sees them."""
        if not self.margin:
            return self
        inner = slice(self.margin, -self.margin)
        image, parts = self.image[:, inner, inner].copy(), self.parts[:, inner, inner].copy()
        return dataclasses.replace(self, image=image, parts=parts, margin=0)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set, divided.

    Attributes:
        name: set and configuration.
        task: what is asked.
        splits: `train`, `validation` and, where there is one, `test`; `train` alone has a margin.
        fingerprint: SHA-256 over the stored pixels, masks, labels, names and groups,
            whatever the size and the division asked for.
        protocol: how it was divided, in words for a report.
        licence: of the images.
        citation: BibTeX of the data set.
    """

    name: str
    task: Task
    splits: dict[str, Examples]
    fingerprint: str
    protocol: str
    licence: str
    citation: str


def load(data: config.Data, *, progress: bool = True) -> Dataset:
    """Prepares a data set if need be, decodes it and divides it.

    Args:
        data: which set, at what size, how divided.
        progress: show bars on the standard error stream, if that is a terminal.

    Returns:
        The set, always in one order: by stored split, then by id.

    Raises:
        ConfigError: for an unknown set, or a division that it doesn't have.
        DataError: when it can't be prepared or read, or splits share a group.
    """
    return divide(load_undivided(data, progress=progress), data)


def divide(undivided: Dataset, data: config.Data) -> Dataset:
    """A data set that was loaded whole, divided.

    Args:
        undivided: what `load_undivided` gave for the same set and size.
        data: how to divide it.

    Raises:
        As `load`.
    """
    stored = undivided.splits
    if data.groups is not None:
        group_of = read_groups(data.groups, [name for examples in stored.values() for name in examples.id])
        stored = {
            split: dataclasses.replace(examples, group=tuple(group_of[name] for name in examples.id))
            for split, examples in stored.items()
        }
    divided, protocol = _divide(stored, undivided.task, data)
    divided |= {split: examples.without_margin() for split, examples in divided.items() if split != "train"}
    return dataclasses.replace(undivided, splits=divided, protocol=protocol)


def load_undivided(data: config.Data, *, progress: bool = True) -> Dataset:
    """The whole of a data set, in the splits that it is stored in.

    Args:
        data: which set, at what size and with what margin; how to divide it is not looked at.
        progress: show bars on the standard error stream, if that is a terminal.

    Raises:
        ConfigError: for an unknown set.
        DataError: when it can't be prepared or read.
    """
    prepared = prepare(data.name, data.manual_dir, data.data_dir, progress=progress)
    builder = prepared.builder
    available = [split for split in (*splits.OFFICIAL, "full") if split in builder.info.splits]
    task = task_of(builder)

    def decode() -> dict[str, np.ndarray]:
        total = sum(builder.info.splits[split].num_examples for split in available)
        arrays, digest = {}, hashlib.sha256()
        with bar(f"reading {data.name}", total, progress) as advance:
            for split in available:
                examples, digests = _decode(builder, split, task, data, advance)
                arrays |= {f"{split}/{name}": np.asarray(getattr(examples, name)) for name in _STORED}
                digest.update(f"{split} {len(digests)}\n".encode() + b"".join(digests))
        return arrays | {"fingerprint": np.array(digest.hexdigest())}

    arrays = decoded.kept(decoded.key_of(prepared, data), decode)
    return Dataset(
        name=data.name,
        task=task,
        splits={split: _of_split(arrays, split, data.margin) for split in available},
        fingerprint=arrays["fingerprint"].item(),
        protocol="not divided",
        licence=builder.LICENSE,
        citation=builder.info.citation,
    )


def read_images(paths: Sequence[Path], data: config.Data) -> UInt8[np.ndarray, "n size size 3"]:
    """A user's own images, brought to the size that a model was trained on.

    Args:
        paths: image files of any common format and size.
        data: size, crop and alignment of the training data; the image alone tells a
            head's axis.

    Raises:
        DataError: naming every file that can't be read.
    """

    def read(path: Path) -> np.ndarray | DataError:
        try:
            image = read_image(Path(path))
        except DataError as error:
            return error
        bare = np.zeros(image.shape[:2], np.uint8)
        return geometry.fit(image, bare, size=data.image_size, crop=data.crop, align_head=data.align_head)[0]

    with ThreadPoolExecutor(THREADS) as pool:
        read_or_failed = list(pool.map(read, paths))
    errors = [str(result) for result in read_or_failed if isinstance(result, DataError)]
    if errors:
        raise DataError("\n".join([f"{len(errors)} of {len(paths)} images can't be read:", *errors]))
    images = [image for image in read_or_failed if isinstance(image, np.ndarray)]
    return np.stack(images) if images else np.zeros((0, data.image_size, data.image_size, 3), np.uint8)


def task_of(builder: SpermBuilder) -> Task:
    """What a data set asks, from its builder alone; nothing need be prepared."""
    features: Any = builder.info.features
    if "label" in features:
        kind, names = "single_label", tuple(features["label"].names)
    else:
        kind, names = "multi_attribute", tuple(features["attributes"])
    return Task(kind, names, {name: builder.deciding_parts[name] for name in names if name in builder.deciding_parts})


def _of_split(arrays: Mapping[str, np.ndarray], split: str, margin: int) -> Examples:
    """One split out of the arrays of all."""
    image, parts, has_parts, label, identity, group = (arrays[f"{split}/{name}"] for name in _STORED)
    return Examples(image, parts, has_parts, label, tuple(identity.tolist()), tuple(group.tolist()), margin)


def _decode(
    builder: SpermBuilder, split: str, task: Task, data: config.Data, advance: Callable[[], None]
) -> tuple[Examples, list[bytes]]:
    """A stored split in the order of its ids, and the digest of each example as stored."""
    records, source = builder.records(split), " --manual-dir DIR" if builder.needs_archive() else ""
    count, size = len(records), data.image_size + 2 * data.margin
    crop = data.crop and data.crop + 2 * data.margin * data.crop // data.image_size
    image, parts = np.zeros((count, size, size, 3), np.uint8), np.zeros((count, size, size), np.uint8)

    def decode(index: int) -> tuple[str, str, bool, list[int], bytes]:
        try:
            record = records[index]
            whole = pixels(record["image"])
            bits = pixels(record["parts"]) if "parts" in record else np.zeros(whole.shape[:2], np.uint8)
        except (OSError, ValueError, RuntimeError, IndexError) as error:
            raise DataError(
                f"Record {index} of {builder.data_path} ({split}) can't be read: {error}. "
                f"Prepare it again: spermjax data prepare {data.name}{source} --overwrite"
            ) from error
        label = [record["label"]] if task.kind == "single_label" else [record["attributes"][n] for n in task.names]
        label, identity, group = [int(value) for value in label], record["id"].decode(), record["group"].decode()
        image[index], parts[index] = geometry.fit(whole, bits, size=size, crop=crop, align_head=data.align_head)
        description = f"{identity}\0{group}\0{label}\0{whole.shape}\0".encode()
        digest = hashlib.sha256(description + whole.tobytes() + bits.tobytes()).digest()
        advance()
        return identity, group, bool(bits.any()), label, digest

    def decode_all(indices: np.ndarray) -> list[tuple[str, str, bool, list[int], bytes]]:
        return [decode(int(index)) for index in indices]

    with ThreadPoolExecutor(THREADS) as pool:
        # By runs of examples: handing over each by itself would cost a third of the time.
        runs = pool.map(decode_all, np.array_split(np.arange(count), 8 * THREADS))
        identity, group, has_parts, label, digests = zip(*itertools.chain.from_iterable(runs), strict=True)
    label = np.array(label, np.int32)
    examples = Examples(
        image=image,
        parts=parts,
        has_parts=np.array(has_parts),
        label=label[:, 0] if task.kind == "single_label" else label,
        id=identity,
        group=group,
        margin=data.margin,
    )
    order = np.array(sorted(range(count), key=identity.__getitem__))
    return examples.take(order), [digests[i] for i in order]


def _divide(stored: dict[str, Examples], task: Task, data: config.Data) -> tuple[dict[str, Examples], str]:
    """The splits asked for, and the words that say how they came about."""
    if data.split == "official":
        divided = {split: stored[split] for split in splits.official(list(stored), data.name)}
        how = f"official split of {data.name}"
    else:
        pool = concatenate([examples for split, examples in stored.items() if split != "test"])
        if task.kind == "single_label":
            splits.warn_of_rare(pool.label, task.names, pool.group, data.folds)
        chosen, how = division.divide(pool.id, pool.group, pool.label, data)
        divided = {split: pool.take(indices) for split, indices in chosen.items()}
        if "test" in stored and "test" in divided:
            how += ", the official test split left out"
        elif "test" in stored:
            divided["test"] = stored["test"]
            how += ", the official test split kept apart"
    if data.groups is not None:
        how += f", groups of {data.groups.name}"
    groups = {split: examples.group for split, examples in divided.items()}
    if data.split == "literature":
        how += f"; {division.leakage(groups)}"
        logging.warning("%s", how)
    else:
        splits.check_disjoint(groups)
    counts = {split: f"{split} {len(examples)}" for split, examples in divided.items()}
    if data.limit is not None:
        train = divided["train"]
        chosen = splits.subset(train.id, train.label, limit=data.limit, seed=data.split_seed)
        divided["train"] = train.take(chosen)
        counts["train"] = f"train {len(chosen)} chosen of {len(train)}"
    if data.randomise_labels:
        train = divided["train"]
        order = np.random.default_rng(data.split_seed).permutation(len(train))
        divided["train"] = dataclasses.replace(train, label=train.label[order])
        counts["train"] += " with permuted labels"
    return divided, f"{how}: {', '.join(counts.values())}"


def concatenate(examples: list[Examples]) -> Examples:
    """The cells of several splits, one after another.

    Raises:
        ConfigError: there are no splits.
    """
    if not examples:
        raise ConfigError("Only a test split is prepared, so there is nothing to train on; prepare the training files.")
    return dataclasses.replace(
        examples[0],
        image=np.concatenate([e.image for e in examples]),
        parts=np.concatenate([e.parts for e in examples]),
        has_parts=np.concatenate([e.has_parts for e in examples]),
        label=np.concatenate([e.label for e in examples]),
        id=tuple(name for e in examples for name in e.id),
        group=tuple(name for e in examples for name in e.group),
    )
