"""A prepared set is whole, of the files it was made from, or not there."""

import csv
import logging
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from spermjax.data.builder import SpermBuilder
from spermjax.data.catalogue import BUILDERS, builder_class
from spermjax.data.prepare import prepare
from spermjax.errors import ConfigError, DataError


@pytest.fixture
def source(tmp_path):
    cls, _ = builder_class("mhsma")
    return shutil.copytree(cls.root(None) / "dummy_data", tmp_path / "source")


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_listed_builder_can_be_imported(name):
    cls, configuration = builder_class(name)
    assert issubclass(cls, SpermBuilder) and cls.name == name and configuration is None


def test_own_builder_by_its_module():
    cls, configuration = builder_class("data_builders.mhsma.mhsma_dataset_builder:Builder/128px")
    assert cls is builder_class("mhsma")[0] and configuration == "128px"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hushen", "'hushem'"),
        ("mhsma/256px", "'128px'"),
        ("hushem/64px", "none"),
        ("no.such:Builder", "no.such:Builder"),
        ("json:Builder", "json:Builder"),
    ],
)
def test_unknown_names_get_a_hint(name, hint):
    with pytest.raises(ConfigError, match=hint):
        builder_class(name)


def test_catalogue_imports_no_tfds():
    code = "import sys, spermjax.data.catalogue; sys.exit('tensorflow_datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_prepared_set_needs_its_source_no_more(source, data_dir):
    first = prepare("mhsma", source, data_dir, progress=False)
    shutil.rmtree(source)
    second = prepare("mhsma", None, data_dir, progress=False)
    assert second.fingerprint == first.fingerprint and len(second.builder.records("train")) == 4


def test_folder_or_the_one_above_it(source, data_dir):
    assert (
        prepare("mhsma", source, data_dir, progress=False).fingerprint
        == prepare("mhsma", source / "mhsma", data_dir, progress=False).fingerprint
    )


def test_same_files_are_not_written_again(source, data_dir):
    directory = prepare("mhsma", source, data_dir, progress=False).directory
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    prepare("mhsma", source, data_dir, progress=False)
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before
    prepare("mhsma", source, data_dir, overwrite=True, progress=False)
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} != before


def test_other_files_are_prepared_loudly(source, data_dir, caplog):
    first = prepare("mhsma", source, data_dir, progress=False)
    path = source / "mhsma" / "y_head_train.npy"
    np.save(path, 1 - np.load(path))
    with caplog.at_level(logging.WARNING):
        second = prepare("mhsma", source, data_dir, progress=False)
    assert second.fingerprint != first.fingerprint and "other files" in caplog.text
    labels = {record["id"]: int(record["attributes"]["head"]) for record in second.builder.records("train")}
    assert [labels[f"x_64_train.npy/{row:04d}".encode()] for row in range(4)] == np.load(path).tolist()


def test_bad_files_leave_the_former_set_alone(source, data_dir):
    prepare("mhsma", source, data_dir, progress=False)
    before = files(data_dir)
    np.save(source / "mhsma" / "y_head_train.npy", np.full(4, 9))
    with pytest.raises(DataError, match="nothing was written"):
        prepare("mhsma", source, data_dir, progress=False)
    assert files(data_dir) == before


def test_an_error_while_writing_leaves_nothing(source, data_dir, monkeypatch):
    cls, _ = builder_class("mhsma")
    whole = cls._generate_examples

    def breaks(self, root, split):
        yield next(whole(self, root, split))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cls, "_generate_examples", breaks)
    with pytest.raises(DataError, match=r"No space left on device.*--data-dir"):
        prepare("mhsma", source, data_dir, progress=False)
    assert not files(data_dir)


def test_a_kill_leaves_nothing_that_looks_prepared(source, data_dir):
    code = f"""
        import os, time
        from pathlib import Path
        from spermjax.data.catalogue import builder_class
        from spermjax.data.prepare import prepare
        cls, _ = builder_class("mhsma")
        whole = cls._generate_examples
        def slow(self, root, split):
            yield next(whole(self, root, split))
            os.write(1, b"writing")
            time.sleep(60)
        cls._generate_examples = slow
        prepare("mhsma", Path({str(source)!r}), Path({str(data_dir)!r}))
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as process:
        assert process.stdout.read(7) == b"writing"
        process.send_signal(signal.SIGKILL)
    with pytest.raises(DataError, match="not prepared"):
        prepare("mhsma", None, data_dir, progress=False)
    prepare("mhsma", source, data_dir, progress=False)
    assert sorted(path.name for path in data_dir.iterdir() if path.suffix != ".lock") == ["mhsma"]


def test_two_at_once_both_succeed(source, data_dir):
    code = (
        "from pathlib import Path; from spermjax.data.prepare import prepare; "
        f"print(prepare('mhsma', Path({str(source)!r}), Path({str(data_dir)!r})).fingerprint)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1] and len(outputs[0].strip()) == 64


def test_a_full_disk_loses_nothing(source, data_dir):
    """A limit on the size of files stands for the disk; the operating system is the witness."""
    before = prepare("mhsma", source, data_dir, progress=False).fingerprint
    code = f"""
        import resource, sys
        from pathlib import Path
        from spermjax.data.prepare import prepare
        from spermjax.errors import DataError
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            prepare("mhsma", Path({str(source)!r}), Path({str(data_dir)!r}), overwrite=True)
        except DataError as error:
            sys.exit(str(error))
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert run.returncode == 1 and "can't be written" in run.stderr and "Traceback" not in run.stderr
    assert prepare("mhsma", None, data_dir, progress=False).fingerprint == before


def test_nothing_on_standard_output(source, data_dir, capfd):
    prepare("mhsma", source, data_dir)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["mhsma", "hushem"])
def test_without_source_it_says_what_to_get(name, data_dir):
    with pytest.raises(DataError) as error:
        prepare(name, None, data_dir, progress=False)
    assert "https://" in str(error.value) and f"spermjax data prepare {name} --manual-dir" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("absent", "does not exist"), ("empty", "is empty"), ("file", "is a file but neither")],
)
def test_wrong_manual_directory(kind, words, tmp_path, data_dir):
    folder = tmp_path / kind
    if kind == "empty":
        folder.mkdir()
    if kind == "file":
        folder.write_text("")
    with pytest.raises(DataError, match=words):
        prepare("mhsma", folder, data_dir, progress=False)


def test_folder_of_something_else(tmp_path, data_dir):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"holds none of x_64_train.npy"):
        prepare("mhsma", tmp_path, data_dir, progress=False)


def test_data_dir_that_is_a_file(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--data-dir"):
        prepare("mhsma", source, tmp_path / "file", progress=False)


def test_data_dir_of_the_environment(source, data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    assert prepare("mhsma", source, progress=False).directory.is_relative_to(data_dir)


def test_bad_records_are_left_out_on_request_and_listed(source, data_dir, caplog):
    """The list beside the set has each left-out example with the words that a refusal would have had."""
    np.save(source / "mhsma" / "y_head_train.npy", np.array([0, 0, 1, 7]))
    with pytest.raises(DataError, match="--skip-bad"):
        prepare("mhsma", source, data_dir, progress=False)
    with caplog.at_level(logging.WARNING):
        prepared = prepare("mhsma", source, data_dir, skip_bad=True, progress=False)
    assert sorted(record["id"] for record in prepared.builder.records("train")) == [
        b"x_64_train.npy/0000",
        b"x_64_train.npy/0001",
        b"x_64_train.npy/0002",
    ]
    assert prepared.skipped is not None and str(prepared.skipped) in caplog.text
    (row,) = csv.DictReader(prepared.skipped.open())
    assert row["left_out"] == "x_64_train.npy/0003" and "y_head_train.npy: row 3 holds 7" in row["problem"]
    # The same files are now taken as prepared, and it is said again what they lack.
    assert prepare("mhsma", source, data_dir, progress=False).skipped == prepared.skipped


def test_what_nothing_can_be_left_out_for_is_refused_all_the_same(source, data_dir):
    (source / "mhsma" / "y_head_train.npy").unlink()
    with pytest.raises(DataError, match="missing") as error:
        prepare("mhsma", source, data_dir, skip_bad=True, progress=False)
    assert "--skip-bad" not in str(error.value) and not files(data_dir)


def test_a_class_is_not_emptied_by_leaving_out(tmp_path, data_dir):
    cls, _ = builder_class("hushem")
    folder = shutil.copytree(cls.root(None) / "dummy_data" / "HuSHeM", tmp_path / "source")
    for path in (folder / "01_Normal").iterdir():
        path.write_text("no image")
    with pytest.raises(DataError, match="'normal' would be empty"):
        prepare("hushem", folder, data_dir, skip_bad=True, progress=False)
    assert not files(data_dir)


def test_a_file_that_cannot_be_opened_is_named(tmp_path, data_dir):
    """A link to nowhere and a folder named like an image can't be opened by anyone, root included."""
    cls, _ = builder_class("hushem")
    folder = shutil.copytree(cls.root(None) / "dummy_data" / "HuSHeM", tmp_path / "source")
    (folder / "01_Normal" / "link.bmp").symlink_to(tmp_path / "nowhere")
    (folder / "02_Tapered" / "folder.bmp").mkdir()
    with pytest.raises(DataError) as error:
        prepare("hushem", folder, data_dir, progress=False)
    assert "link.bmp" in str(error.value) and "folder.bmp" in str(error.value) and "(2 problems)" in str(error.value)
    prepared = prepare("hushem", folder, data_dir, skip_bad=True, progress=False)
    assert prepared.builder.info.splits["full"].num_examples == 12
