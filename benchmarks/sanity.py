"""Which maps depend on the parameters, and on the logit that is asked for.

    spermjax train phantom_quickstart --tracking.run-id sanity
    python benchmarks/sanity.py runs/phantom_quickstart/sanity [--examples 32] [--methods rollout ...]

Rank correlation of each map with itself after the parameters are shuffled, stage by
stage from the output down, and with the map of another logit. 1 is no dependence.
"""

import argparse
from pathlib import Path

import numpy as np

from spermjax.data.pipeline import padded_batches
from spermjax.evaluate import mean
from spermjax.interpret import METRICS, evaluate
from spermjax.workflow.evaluate import predict_logits
from spermjax.workflow.monitor import choose
from spermjax.workflow.trained import load_trained

METHODS = ("centre_gaussian", "edge_magnitude", "raw_attention", "rollout", "grad_cam", "chefer2021b")
COLUMNS = ("randomisation/output", "randomisation/spearman", "random_logit/spearman")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Which maps depend on the parameters.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    options = parser.parse_args()
    trained = load_trained(options.run)
    cells = trained.dataset().splits["validation"]
    cells = cells.take(choose(cells, options.examples))
    metrics = [METRICS[name].using(name, similarities=("spearman",)) for name in ("randomisation", "random_logit")]
    (batch,) = padded_batches(cells, len(cells))
    logits = predict_logits(trained, cells)
    values = evaluate(
        trained.model,
        trained.variables,
        batch,
        logits.argmax(axis=1),
        methods=options.methods,
        metrics=metrics,
        task=trained.task,
        chunk=len(cells),
    ).values
    right = np.mean(logits.argmax(axis=1) == cells.label)
    print(f"{len(cells)} validation cells, {len(set(cells.group))} groups, {right:.0%} classified rightly\n")
    print("| method | after the output layer | mean over stages | another logit | n |\n|---|---|---|---|---|")
    for method in options.methods:
        intervals = [mean(np.asarray(values[f"{method}/{column}"]), np.array(cells.group)) for column in COLUMNS]
        shown = " | ".join(f"{i.value:.2f} [{i.low:.2f}, {i.high:.2f}]" for i in intervals)
        print(f"| `{method}` | {shown} | {intervals[1].n} |")


if __name__ == "__main__":
    main()
