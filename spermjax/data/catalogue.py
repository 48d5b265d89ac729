"""Which data sets there are, without importing any of them."""

import importlib
from typing import TYPE_CHECKING

from spermjax.errors import ConfigError, nearest

if TYPE_CHECKING:
    from spermjax.data.builder import SpermBuilder

BUILDERS = {
    name: f"data_builders.{name}.{name}_dataset_builder:Builder"
    for name in (
        "folder",
        "hi_lab_sperm_morpho",
        "hushem",
        "mhsma",
        "scian_morpho",
        "smids",
        "sperm_parsing",
        "sperm_phantom",
        "svia",
    )
}


def builder_class(name: str) -> "tuple[type[SpermBuilder], str | None]":
    """The builder of a data set, and the configuration asked for.

    Args:
        name: one of `BUILDERS`, or `package.module:Builder` for a builder of one's own;
            either may be followed by `/configuration`, as in `mhsma/128px`.

    Returns:
        The builder's class, and the configuration's name or None for the default.

    Raises:
        ConfigError: when there is no such data set, builder or configuration.
    """
    dataset, _, configuration = name.partition("/")
    if dataset not in BUILDERS and ":" not in dataset:
        raise ConfigError(f"There is no data set {dataset!r}. {nearest(dataset, BUILDERS)}")
    module, _, attribute = BUILDERS.get(dataset, dataset).partition(":")
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"The builder {module}:{attribute} can't be imported: {error}.") from error
    if configuration and not cls.has_configuration(configuration):
        hint = nearest(configuration, cls.builder_configs)
        raise ConfigError(f"Data set {dataset!r} has no configuration {configuration!r}. {hint}")
    return cls, configuration or None
