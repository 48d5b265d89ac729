"""From the files a user has to a prepared set on disk: all or nothing.

A set is written beside its final place under a lock and then renamed, so a kill, a
full disk or a bad file leaves either the former set or none.
"""

import contextlib
import csv
import dataclasses
import fcntl
import hashlib
import io
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from spermjax.data.archives import find_archive, unpack
from spermjax.data.builder import Problem, SpermBuilder
from spermjax.data.catalogue import builder_class
from spermjax.data.progress import bar
from spermjax.errors import DataError

FINGERPRINT = "source.sha256"
SKIPPED = "skipped.csv"


@dataclasses.dataclass(frozen=True)
class PreparedSet:
    """A set on disk.

    Attributes:
        builder: reads it, through `as_data_source`.
        directory: where it lies.
        fingerprint: SHA-256 of what it was made from.
        skipped: what was left out of it and why, or None; a table on disk.
    """

    builder: SpermBuilder
    directory: Path
    fingerprint: str
    skipped: Path | None = None


def prepare(
    name: str,
    manual_dir: Path | None = None,
    data_dir: Path | None = None,
    *,
    overwrite: bool = False,
    skip_bad: bool = False,
    progress: bool = True,
) -> PreparedSet:
    """A prepared set, written now if it isn't there or was made from other files.

    Args:
        name: data set, or `set/configuration`.
        manual_dir: the archive as published, or the folder of the unpacked one. Not needed for a synthetic set, nor
            when the set is prepared; when given, the set is made sure to be of its files.
        data_dir: where prepared sets live; $TFDS_DATA_DIR or ~/tensorflow_datasets when
            not given.
        overwrite: prepare again in any case.
        skip_bad: leave out what is bad, and write `skipped.csv` beside the set.
        progress: show a bar on the standard error stream, if that is a terminal.

    Returns:
        The set, readable.

    Raises:
        ConfigError: for an unknown name.
        DataError: when the archive is missing or holds bad files (all of which are
            named) that are not to be skipped, or can't be; or the set can't be written.
    """
    cls, configuration = builder_class(name)
    data_dir = Path(data_dir or default_data_dir()).expanduser()
    if cls.needs_archive() and manual_dir is None:
        builder = cls.open(data_dir, configuration, None)
        stored = _stored_fingerprint(builder)
        if stored and not overwrite:
            return _prepared(builder, stored)
        lacking = "To prepare it again, its files are needed." if stored else f"It is not prepared in {data_dir}."
        raise DataError(
            f"Data set {name!r}: {lacking} {cls.MANUAL_DOWNLOAD_INSTRUCTIONS} "
            f"Then: spermjax data prepare {name} --manual-dir DIR"
        )
    with _source(cls, name, manual_dir, data_dir, skip_bad) as (root, damaged):
        builder = cls.open(data_dir, configuration, root)
        fingerprint = _source_fingerprint(builder, root)
        if _stored_fingerprint(builder) != fingerprint or overwrite:
            skipped = damaged + _check(builder, name, root, skip_bad, progress)
            with _private_folder(data_dir, f"preparing-{builder.info.full_name}", name) as workspace:
                stored = _stored_fingerprint(builder)
                if stored != fingerprint or overwrite:
                    if stored not in (None, fingerprint):
                        logging.warning(
                            "%s was prepared from other files than those in %s; preparing it again.", name, root
                        )
                    fresh = cls.open(workspace, configuration, root)
                    fresh.skipped = builder.skipped
                    _write(fresh, root, workspace, progress)
                    written = Path(fresh.data_path)
                    _write_skipped(written, skipped)
                    (written / FINGERPRINT).write_text(fingerprint + "\n")
                    _replace(written, Path(builder.data_path), workspace)
        return _prepared(cls.open(data_dir, configuration, root), fingerprint)


def default_data_dir() -> Path:
    """Where prepared sets live when nothing else is said: TFDS's own place."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets").expanduser()


def _prepared(builder: SpermBuilder, fingerprint: str) -> PreparedSet:
    """The set on disk; says so when something was left out of it."""
    directory = Path(builder.data_path)
    skipped = directory / SKIPPED
    if not skipped.exists():
        return PreparedSet(builder, directory, fingerprint)
    logging.warning("%s was prepared without its bad files, which are listed in %s.", builder.info.full_name, skipped)
    return PreparedSet(builder, directory, fingerprint, skipped)


def _stored_fingerprint(builder: SpermBuilder) -> str | None:
    """The fingerprint beside a prepared set; it is the last file to be written."""
    path = Path(builder.data_path) / FINGERPRINT
    return path.read_text().strip() if path.exists() else None


@contextlib.contextmanager
def _source(
    cls: type[SpermBuilder], name: str, manual_dir: Path | None, data_dir: Path, skip_bad: bool
) -> Iterator[tuple[Path, list[Problem]]]:
    """The root of a set's source files, those of an archive as long as the context lasts; and what the archive lost."""
    if manual_dir is None or not cls.needs_archive():
        yield cls.root(None), []
        return
    source = Path(manual_dir).expanduser()
    try:
        if not source.exists() or (source.is_dir() and not any(source.iterdir())):
            state = "is empty" if source.exists() else "does not exist"
            raise DataError(f"The manual directory {source} of {name!r} {state}. {cls.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        archive = find_archive(source)
    except OSError as error:
        raise DataError(f"The manual directory {source} of {name!r} can't be read ({error.strerror}).") from error
    if archive is None:
        yield cls.root(source), []
        return
    with _private_folder(data_dir, f"unpacking-{name}", name) as folder:
        damaged = unpack(archive, folder, skip_damaged=skip_bad)
        lost = [Problem(f"{archive}: {message}", (member,)) for member, message in damaged.items()]
        yield cls.root(folder), lost


def _source_fingerprint(builder: SpermBuilder, root: Path) -> str:
    """SHA-256 over the builder's name and version, and each source file's path and bytes."""
    digest = hashlib.sha256(f"{builder.info.full_name}\n".encode())
    for path in sorted(builder.source_files(root)):
        try:
            content = path.read_bytes()
        except OSError:
            continue  # The check of the files, which follows, names it.
        digest.update(f"{Path(os.path.relpath(path, root)).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _check(builder: SpermBuilder, name: str, root: Path, skip_bad: bool, progress: bool) -> list[Problem]:
    """Looks at all source files; what is bad among them goes into the builder's `skipped`, if it may."""
    with bar(f"checking {name}", len(builder.source_files(root)), progress) as builder.advance:
        found = builder.problems(root)
        remaining = found
        if found and skip_bad:
            builder.skipped = frozenset(name for problem in found for name in problem.leaves_out)
            # Without them a class, or the whole set, may have become empty.
            remaining = builder.problems(root)
    if not remaining:
        return found
    listed = "\n".join(f"  - {problem.message}" for problem in remaining)
    hint = "--skip-bad leaves out what is bad and goes on.\n" if all(problem.leaves_out for problem in found) else ""
    raise DataError(
        f"Data set {name!r} can't be prepared from {root} ({len(remaining)} problem{'s' * (len(remaining) > 1)}); "
        f"nothing was written.\n{listed}\n{'' if skip_bad else hint}{builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
    )


def _write_skipped(directory: Path, problems: list[Problem]) -> None:
    if problems:
        with (directory / SKIPPED).open("w", newline="", encoding="utf-8") as file:
            rows = [(name, problem.message) for problem in problems for name in problem.leaves_out]
            csv.writer(file).writerows([("left_out", "problem"), *rows])


@contextlib.contextmanager
def _private_folder(data_dir: Path, purpose: str, name: str) -> Iterator[Path]:
    """An empty folder in `data_dir`, for one process at a time, removed at the end.

    What a killed process left in it is removed at the start.
    """
    folder = data_dir / f".{re.sub(r'[^A-Za-z0-9._]+', '-', purpose)}"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(folder.suffix + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"Data set {name!r} can't be written to {data_dir} ({error.strerror or error}); "
            "nothing was changed. Make room or give another folder: --data-dir DIR or $TFDS_DATA_DIR."
        ) from error


def _write(builder: SpermBuilder, root: Path, workspace: Path, progress: bool) -> None:
    """Writes all splits, quietly but for one bar."""
    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(manual_dir=root, try_download_gcs=False)
    total = sum(builder.splits(root).values())
    with (
        bar(f"preparing {builder.name}", total, progress) as builder.advance,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            builder.download_and_prepare(
                download_dir=workspace / "downloads", download_config=config, file_format="array_record"
            )
        except RuntimeError as error:
            # ArrayRecord reports a failed write so; any other error does not name a file in here.
            if str(workspace) not in str(error):
                raise
            raise OSError(str(error)) from error


def _replace(written: Path, directory: Path, workspace: Path) -> None:
    """Puts a whole folder in place of another, or of none."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    if directory.exists():
        directory.rename(workspace / "former")
    written.rename(directory)
