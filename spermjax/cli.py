"""The command line: each command parses, calls one function, and prints where the results are."""

import importlib
import sys
from collections.abc import Sequence

from spermjax.allocator import use_tcmalloc
from spermjax.errors import SpermjaxError, nearest
from spermjax.process import prepare_process

COMMANDS = {
    "train": "train, evaluate, explain and report an experiment",
    "probe": "fit a linear classifier on a model's features before training",
    "resume": "go on with a run that was stopped or killed",
    "reproduce": "train once more from what a run recorded, and compare bit for bit",
    "evaluate": "score a run on a split, with intervals",
    "explain": "explain a run's predictions and measure the explanations",
    "report": "write a run's report again",
    "export": "write a run's model for use elsewhere",
    "predict": "classify image files",
    "compare": "compare runs or a sweep: one table with tests, one page",
    "sync": "send runs that were recorded offline to Weights & Biases",
    "launch": "render, check and start a job for a cluster or a cloud",
    "sweep": "run a sweep file: many runs of one experiment",
    "data": "prepare, check, show and describe data sets",
    "estimate": "say what a step would need on devices that are not at hand",
    "models": "list architectures, attention variants, methods and metrics",
    "experiments": "list experiments",
    "doctor": "tell devices, versions, prepared data and the state of W&B",
}

EXAMPLES = """\
Examples:
  spermjax train phantom_quickstart
  spermjax train mhsma_vit --data.manual-dir DIR --model.depth 4 --seed 1
  spermjax train phantom_quickstart --help           every option, with its default
  spermjax explain runs/phantom_quickstart/ID --methods rollout chefer2021b
  spermjax predict runs/phantom_quickstart/ID cell.png --json"""


def usage() -> str:
    """The text of `spermjax --help`."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    return (
        "Interpretable sperm-morphology classification in JAX and Flax.\n\n"
        f"Usage: spermjax COMMAND [OPTIONS]\n\nCommands:\n{commands}\n\n"
        f"{EXAMPLES}\n\n`spermjax COMMAND --help` explains a command."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: words after the program's name; those of the process when not given.

    Returns:
        0 when done; 2 for an error that the user can mend, which is printed without a
        traceback; 128 + n when signal n stopped it, after saving.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0
    if words[0] == "--version":
        from spermjax import __version__

        print(__version__)
        return 0
    name, arguments = words[0], words[1:]
    if name not in COMMANDS:
        return _fail(f"There is no command {name!r}. {nearest(name, COMMANDS)} See `spermjax --help`.")
    if argv is None:
        use_tcmalloc()
    if name != "sweep":  # Whose workers do so, each on its own machine.
        prepare_process()
    try:
        return importlib.import_module(f"spermjax.commands.{name}").main(arguments)
    except SpermjaxError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        return 141
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(f"{error.filename}: {error.strerror}. Make room, mend the permissions, or choose another folder.")
    except KeyboardInterrupt:
        return _fail("Stopped.", code=130)


def _fail(message: str, code: int = 2) -> int:
    sys.stdout.flush()
    print(f"spermjax: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
