"""Compiled programs are kept for their user alone, whole ones only."""

import os
import subprocess
import sys
import time
import zlib

import pytest

from spermjax.cache import UNREAD_DAYS
from spermjax.programs import default_folder, keep_programs

VARIABLES = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")

PROGRAM = """
from spermjax.programs import keep_programs
keep_programs()
import jax, jax.numpy as jnp
print(float(jax.jit(lambda x: jnp.tanh(x @ x).sum())(jnp.full((8, 8), 0.1))))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A user without a cache yet; what the command line would set is taken back after the test."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("SPERMJAX_CACHE", str(tmp_path / "cache"))
    return default_folder()


def test_folder_is_made_for_the_user_alone(cache):
    keep_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(cache)
    assert cache.stat().st_mode & 0o777 == 0o700


def test_users_cache_is_under_their_home_where_nothing_else_is_said(cache, tmp_path, monkeypatch):
    monkeypatch.delenv("SPERMJAX_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder().parent == tmp_path / ".cache" / "spermjax"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert default_folder().parent == tmp_path / "elsewhere" / "spermjax"


def test_folder_of_someone_else_is_refused(cache, monkeypatch, caplog):
    keep_programs()
    del os.environ["JAX_COMPILATION_CACHE_DIR"]
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert str(cache) in caplog.text
    assert "belongs to another user" in caplog.text
    assert "SPERMJAX_CACHE=off" in caplog.text


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o755])
def test_folder_that_others_reach_is_refused(cache, mode, caplog):
    cache.mkdir(parents=True)
    cache.chmod(mode)
    keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert "open to other users" in caplog.text


def test_link_to_a_folder_is_refused(cache, tmp_path, caplog):
    (tmp_path / "theirs").mkdir(mode=0o700)
    cache.parent.mkdir()
    cache.symlink_to(tmp_path / "theirs")
    keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert "is not a folder" in caplog.text


def test_a_disk_that_refuses_keeps_nobody_from_working(cache, caplog):
    cache.parent.write_text("a file where the folder would be")
    keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert "not kept" in caplog.text


def test_switched_off_or_chosen_by_jax_own_variable_nothing_is_touched(cache, monkeypatch):
    monkeypatch.setenv("SPERMJAX_CACHE", "off")
    keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    monkeypatch.setenv("SPERMJAX_CACHE", str(cache.parent))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "theirs")
    keep_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "theirs"
    assert not cache.exists()


def test_half_written_and_unread_programs_are_removed(cache):
    cache.mkdir(parents=True, mode=0o700)
    whole, other = zlib.compress(bytes(range(256)) * 99), b"(\xb5/\xfd of another compression"
    changed = bytearray(whole)
    changed[len(changed) // 2] ^= 1
    contents = {"whole": whole, "cut": whole[:-9], "empty": b"", "changed": bytes(changed), "old": whole, "zstd": other}
    for name, content in contents.items():
        (cache / f"{name}-cache").write_bytes(content)
    long_ago = time.time() - (UNREAD_DAYS + 1) * 86400
    os.utime(cache / "old-cache", (long_ago, long_ago))
    keep_programs()
    assert {path.name for path in cache.glob("*-cache")} == {"whole-cache", "zstd-cache"}
    before = (cache / ".looked").stat().st_mtime - 60
    (cache / "cut-cache").write_bytes(whole[:-9])
    os.utime(cache / "cut-cache", (before, before))
    del os.environ["JAX_COMPILATION_CACHE_DIR"]
    keep_programs()
    assert (cache / "cut-cache").exists(), "what was there at an earlier start is not read again"


def test_killed_in_the_middle_of_writing_a_program_is_compiled_again(cache):
    def run() -> tuple[str, str]:
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, done.stderr

    value, _ = run()
    entries = {path: path.read_bytes() for path in cache.glob("*-cache")}
    assert entries
    for path, content in entries.items():
        path.write_bytes(content[: len(content) // 2])
    assert run() == (value, "")
    assert {path: path.read_bytes() for path in cache.glob("*-cache")}.keys() == entries.keys()
    for path in entries:
        zlib.decompress(path.read_bytes())
