"""One progress bar on the standard error stream, for a person only."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def bar(description: str, total: int, enabled: bool) -> Iterator[Callable[[], None]]:
    """A bar that is gone when the work is done, and absent where nobody looks on.

    Args:
        description: what is being done.
        total: number of steps.
        enabled: False shows nothing; neither does a stream that is no terminal.

    Yields:
        A function to call after each step; any thread may call it.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not (enabled and console.is_terminal)) as progress:
        task = progress.add_task(description, total=total)
        yield lambda: progress.advance(task)
