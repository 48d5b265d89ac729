"""Who allocates a program's memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spermjax import allocator
from spermjax.allocator import VARIABLE, find_tcmalloc, use_tcmalloc

PROGRAM = """
import os, sys
from spermjax.allocator import allocator, use_tcmalloc
use_tcmalloc()
use_tcmalloc()  # Asked twice, it has it.
print(allocator(), *sys.argv[1:], "LD_PRELOAD" in os.environ)
"""

needs_tcmalloc = pytest.mark.skipif(find_tcmalloc() is None, reason="tcmalloc is not installed (libtcmalloc-minimal4)")


def words_of_program(**environment: str) -> list[str]:
    """What a fresh process says."""
    kept = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", VARIABLE)}
    program = [sys.executable, "-c", PROGRAM, "an", "argument"]
    return subprocess.run(
        program, env=kept | environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()


@pytest.fixture
def started(monkeypatch):
    """Programs that would have taken the place of this one; a library is at hand."""
    programs = []
    monkeypatch.setattr(allocator, "find_tcmalloc", lambda: Path("/library.so"))
    monkeypatch.setattr(os, "execve", lambda *program: programs.append(program))
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)
    return programs


@needs_tcmalloc
def test_a_program_starts_anew_with_tcmalloc_and_its_arguments_and_tells_its_children_nothing():
    assert words_of_program() == ["tcmalloc", "an", "argument", "False"]


def test_the_system_allocates_where_the_user_wants_it():
    assert words_of_program(**{VARIABLE: "off"})[-4:] == ["system's", "an", "argument", "False"]


def test_it_starts_anew_once(started, monkeypatch):
    """Also where the library could not be loaded."""
    use_tcmalloc()
    (executable, arguments, environment), *more = started
    assert executable == sys.executable and arguments[1:] == sys.orig_argv[1:] and not more
    assert environment["LD_PRELOAD"] == "/library.so" and environment["HOME"] == os.environ["HOME"]
    monkeypatch.setattr(os, "environ", environment)
    use_tcmalloc()
    use_tcmalloc()
    assert len(started) == 1 and "LD_PRELOAD" not in environment


@pytest.mark.parametrize(("name", "value"), [("LD_PRELOAD", "/mine.so"), (VARIABLE, "off")])
def test_what_the_user_chose_stays(started, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    use_tcmalloc()
    assert not started and os.environ[name] == value


def test_without_the_library_nothing_happens(started, monkeypatch):
    monkeypatch.setattr(allocator, "find_tcmalloc", lambda: None)
    use_tcmalloc()
    assert not started
