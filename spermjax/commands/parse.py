"""Parsing and printing that the commands share."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from spermjax.errors import ConfigError

T = TypeVar("T")


def parse(what: Callable[..., T], arguments: Sequence[str], command: str, **options: Any) -> T:
    """What the words of a command line say.

    Args:
        what: a dataclass to build or a function to call; its docstring is the help.
        arguments: the words.
        command: what stands before them, for the help.
        **options: of `tyro.cli`; `default` among them.
    """
    show_log()
    return tyro.cli(what, args=list(arguments), prog=f"spermjax {command}", **options)


def experiment_first(words: Sequence[str], command: str, usage: Callable[[], str]) -> tuple[str, list[str]] | None:
    """The experiment that a command's words begin with, and the words behind it.

    Args:
        words: of the command line, behind the command.
        command: its name.
        usage: gives its help.

    Returns:
        Name and words; None where help was asked for, which is printed.

    Raises:
        ConfigError: an option comes first.
    """
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return None
    name, *others = words
    if name.startswith("-"):
        raise ConfigError(f"The experiment comes first: spermjax {command} EXPERIMENT {name} ...")
    return name, others


def show_log() -> None:
    """Sends what spermjax reports, and what others warn of, to the standard error stream."""
    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    # Orbax warns of each read-only manager, which is what evaluation asks for.
    logging.getLogger("absl").setLevel(logging.ERROR)


def print_json(value: Any) -> None:
    """Prints JSON for a machine."""
    print(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Prints a table for a person; plain words where nobody looks on."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(str(cell) for cell in row))
        return
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)


def interval(estimate: dict[str, Any]) -> str:
    """`0.912 [0.884, 0.935] n=240`, or a dash where the metric is undefined."""
    if estimate["value"] is None:
        return f"- n={estimate['n']}"
    if estimate["low"] is None:
        return f"{estimate['value']:.3f} n={estimate['n']}"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}] n={estimate['n']}"
