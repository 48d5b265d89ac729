"""Work on many files at once: decoding and encoding images release Python's lock."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = min(8, os.cpu_count() or 1)
_AHEAD = 4 * THREADS


def map_threaded(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`map` over several threads, in order; few results wait at a time, so that memory stays small.

    Raises:
        Whatever `function` raises, when its item's turn comes.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(function, item) for item in items[:_AHEAD]]
        for index in range(len(items)):
            result = waiting.pop(0).result()
            if index + _AHEAD < len(items):
                waiting.append(pool.submit(function, items[index + _AHEAD]))
            yield result
