"""What is read back is what was decoded, and nothing else than what would be decoded now."""

import ast
import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import pytest

import spermjax
from spermjax import cache, config
from spermjax.data import decoded, examples
from spermjax.data.catalogue import builder_class
from spermjax.errors import DataError


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Dummy HuSHeM, prepared, of a user who keeps nothing yet."""
    monkeypatch.setenv("SPERMJAX_CACHE", str(tmp_path / "cache"))
    cls, _ = builder_class("hushem")
    return config.Data("hushem", cls.root(None) / "dummy_data", tmp_path / "data", image_size=32, align_head=True)


@pytest.fixture
def count(monkeypatch):
    """How many splits were decoded."""
    calls, decode = [], examples._decode

    def counted(*arguments):
        calls.append(arguments[1])
        return decode(*arguments)

    monkeypatch.setattr(examples, "_decode", counted)
    return calls


def files() -> list[Path]:
    return sorted(cache.location("decoded").iterdir())


def assert_same(one: examples.Dataset, other: examples.Dataset):
    assert (one.fingerprint, one.task, list(one.splits)) == (other.fingerprint, other.task, list(other.splits))
    for split, cells in one.splits.items():
        for name in ("image", "parts", "has_parts", "label"):
            array, again = getattr(cells, name), getattr(other.splits[split], name)
            assert array.dtype == again.dtype
            np.testing.assert_array_equal(array, again)
        same = other.splits[split]
        assert (cells.id, cells.group, cells.margin) == (same.id, same.group, same.margin)


def test_read_back_as_decoded(data, count, monkeypatch):
    first = examples.load_undivided(data)
    again = examples.load_undivided(data)
    assert count == ["full"] and len(files()) == 1
    monkeypatch.setenv("SPERMJAX_CACHE", "off")
    fresh = examples.load_undivided(data)
    assert count == ["full", "full"]
    assert_same(first, fresh)
    assert_same(again, fresh)


@pytest.mark.parametrize("field", [{"image_size": 24}, {"crop": 20}, {"margin": 4}, {"align_head": False}])
def test_another_size_is_decoded(data, count, field):
    examples.load_undivided(data)
    examples.load_undivided(dataclasses.replace(data, **field))
    assert len(count) == len(files()) == 2


@pytest.mark.parametrize("how", ["changed", "cut short", "empty"])
def test_a_damaged_file_is_said_and_made_anew(data, count, how, caplog):
    first = examples.load_undivided(data)
    (path,) = files()
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    path.write_bytes({"changed": bytes(changed), "cut short": whole[:-99], "empty": b""}[how])
    assert_same(examples.load_undivided(data), first)
    assert len(count) == 2 and f"{path} is damaged" in caplog.text
    assert_same(examples.load_undivided(data), first)
    assert len(count) == 2


def test_records_damaged_since_are_still_refused(data):
    examples.load_undivided(data)
    (path,) = data.data_dir.glob("hushem/**/*.array_record*")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="Prepare it again"):
        examples.load_undivided(data)


def test_a_folder_open_to_others_is_not_used(data, count, caplog):
    cache.location("decoded").mkdir(parents=True, mode=0o777)
    cache.location("decoded").chmod(0o777)
    examples.load_undivided(data)
    assert "Decoded images are not kept" in caplog.text and not files()
    examples.load_undivided(data)
    assert len(count) == 2


def test_a_large_set_and_one_that_nobody_reads_are_not_kept(data, monkeypatch):
    examples.load_undivided(data)
    (old,) = files()
    long_ago = time.time() - (cache.UNREAD_DAYS + 1) * 86400
    os.utime(old, (long_ago, long_ago))
    examples.load_undivided(dataclasses.replace(data, image_size=24))
    (new,) = files()
    assert new != old
    monkeypatch.setattr(decoded, "MOST_BYTES", 1)
    examples.load_undivided(dataclasses.replace(data, image_size=16))
    assert files() == [new]


def test_all_code_that_makes_pixels_is_in_the_key():
    """Whatever those modules import of ours, but for errors and for what carries the data there."""
    package = Path(spermjax.__file__).parent
    found = set()
    for name in ("data/geometry.py", "data/images.py"):
        waiting = [name]
        while waiting:
            name = waiting.pop()
            found.add(name)
            for node in ast.walk(ast.parse((package / name).read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spermjax"):
                    modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                    paths = {f"{module.removeprefix('spermjax').strip('.').replace('.', '/')}.py" for module in modules}
                    waiting += [path for path in paths if (package / path).is_file() and path not in found]
    assert found - {"errors.py"} <= set(decoded.CODE)
