"""Names to things: attention variants, explanation methods, metrics, models.

A registry is filled by the modules that define the things, and an unknown name
is answered with the nearest known ones.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from spermjax.errors import ConfigError, nearest

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """A read-only mapping from names to things, filled by `register`.

    Args:
        kind: what the things are called in an error message.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._things: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that files its argument under `name`, once."""

        def file(thing: T) -> T:
            if name in self._things:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._things[name] = thing
            return thing

        return file

    def __getitem__(self, name: str) -> T:
        try:
            return self._things[name]
        except KeyError:
            raise ConfigError(f"There is no {self.kind} {name!r}. {nearest(name, self)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)
