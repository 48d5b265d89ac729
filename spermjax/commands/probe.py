"""`spermjax probe EXPERIMENT [--FIELD VALUE ...]`."""

from collections.abc import Sequence

from spermjax.commands.parse import experiment_first, parse, print_json, print_table
from spermjax.commands.results import print_scores
from spermjax.config import Experiment
from spermjax.workflow import experiments

HELP = """\
Usage: spermjax probe EXPERIMENT [--FIELD VALUE ...] [--json]

Fits a logistic regression on the features that the experiment's head reads, with all
else as it is before training: how good pretrained weights are for these cells, in the
time of one pass over the images. Nothing is augmented, tuned or stored. Folds are taken
all; a division that has a seed is repeated five times.

  spermjax probe hushem_dinov2 --data.manual-dir DIR --model.weights FILE

`spermjax probe EXPERIMENT --help` shows each field with its default.
"""


def main(arguments: Sequence[str]) -> int:
    """Probes an experiment's model."""
    words = [word for word in arguments if word != "--json"]
    given = experiment_first(words, "probe", lambda: HELP)
    if given is None:
        return 0
    name, fields = given
    experiment = parse(Experiment, fields, f"probe {name}", default=experiments.load(name))
    from spermjax.workflow.probe import probe  # heavy: after --help

    scores = probe(experiment)
    if len(words) < len(arguments):
        print_json(scores)
        return 0
    print_scores(scores)
    rows = [(key, f"{v['mean']:.3f} +- {v['std']:.3f} (n={v['n']})") for key, v in scores["repeats"].items()]
    print_table(["metric", "mean +- standard deviation over repeats"], rows)
    return 0
