"""`spermjax train EXPERIMENT [--FIELD VALUE ...]`."""

from collections.abc import Sequence

from spermjax import determinism
from spermjax.commands.parse import experiment_first, parse, print_table
from spermjax.commands.results import print_run
from spermjax.config import Experiment
from spermjax.workflow import experiments

HELP = """\
Usage: spermjax train EXPERIMENT [--FIELD VALUE ...] [--profile] [--json]

Trains an experiment, evaluates its best checkpoint on the validation split,
explains predictions, and writes a report; everything is in runs/EXPERIMENT/ID.
EXPERIMENT is a name from below, or a Python file of your own with a function
experiment() that returns a spermjax.config.Experiment.

Every field of the experiment is an option by its dotted path:
  spermjax train phantom_quickstart --model.depth 6 --optim.learning-rate 3e-4
  spermjax train mhsma_vit --data.manual-dir DIR --seed 1
With --profile, what a step's time goes to is measured when the run is done, and written
with a trace into the run's folder profile/; `--steps 1 --profile` is the quickest way.
Ctrl-C or SIGTERM saves and stops; `spermjax resume RUN` goes on.

`spermjax train EXPERIMENT --help` shows each field with its default.

Experiments:
"""


def usage() -> str:
    """What the command does, and the experiments that there are."""
    names = experiments.names()
    width = max(map(len, names))
    return HELP + "\n".join(f"  {name:<{width}}  {experiments.summary(name)}" for name in names)


def main(arguments: Sequence[str]) -> int:
    """Trains an experiment."""
    words = [word for word in arguments if word not in ("--json", "--profile")]
    given = experiment_first(words, "train", usage)
    if given is None:
        return 0
    name, fields = given
    experiment = parse(Experiment, fields, f"train {name}", default=experiments.load(name))
    if experiment.deterministic:
        determinism.ask()
    from spermjax.workflow.train import train  # heavy: after --help

    run = train(experiment)
    if "--profile" in arguments:
        from spermjax.data.examples import load
        from spermjax.workflow.profile import profile, rows

        table = profile(run, load(run.experiment().data))
        if "--json" not in arguments:
            print_table(["of a step", "median"], rows(table), "profile")
    return print_run(run, as_json="--json" in arguments)
