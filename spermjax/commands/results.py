"""What a run has come to, for a person or a machine."""

from spermjax.commands.parse import interval, print_json, print_table
from spermjax.run import Run, read_json


def print_run(run: Run, *, as_json: bool, split: str = "validation") -> int:
    """Prints the headline scores of a run and where its report is; of several processes the first one does."""
    from spermjax.parallel import is_first  # heavy: after --help

    if not is_first():
        return 0
    scores = read_json(run.evaluation(split))
    if as_json:
        print_json({"run": str(run.path), "report": str(run.report), "n": scores["n"], "overall": scores["overall"]})
        return 0
    print_scores(scores)
    print(f"run: {run.path}\nreport: {run.report}")
    return 0


def print_scores(scores: dict) -> None:
    """Prints every headline metric, then those of each class or attribute."""
    print(f"{scores['split']} split, n={scores['n']}, {scores['protocol']}")
    print_table(["metric", "value [95 % interval]"], [(name, interval(v)) for name, v in scores["overall"].items()])
    print_table(
        ["of", "metric", "value [95 % interval]"],
        [(name, metric, interval(v)) for name, metrics in scores["per_name"].items() for metric, v in metrics.items()],
    )
