"""Experiments by name: modules of the package `experiments`, or a file of one's own."""

import importlib
import importlib.util
import pkgutil
from pathlib import Path

import experiments
from spermjax.config import Experiment
from spermjax.errors import ConfigError, nearest


def names() -> list[str]:
    """Experiments that come with the package."""
    return sorted(module.name for module in pkgutil.iter_modules(experiments.__path__))


def summary(name: str) -> str:
    """First line of an experiment's docstring, read without running the module."""
    import ast

    source = Path(experiments.__path__[0]) / f"{name}.py"
    return (ast.get_docstring(ast.parse(source.read_text())) or "").partition("\n")[0]


def load(name: str) -> Experiment:
    """Runs an experiment's module and returns what it defines.

    Args:
        name: one of `names()`, or the path of a Python file.

    Raises:
        ConfigError: there is no such experiment, or it defines none.
    """
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"There is no experiment file {name}.")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    elif name in names():
        module = importlib.import_module(f"experiments.{name}")
    else:
        raise ConfigError(
            f"There is no experiment {name!r}. {nearest(name, names())} "
            "`spermjax experiments` lists them; a file of your own is named by its path, my_experiment.py."
        )
    experiment = module.experiment() if hasattr(module, "experiment") else None
    if not isinstance(experiment, Experiment):
        raise ConfigError(f"{name} has no function experiment() that returns a spermjax.config.Experiment.")
    return experiment
