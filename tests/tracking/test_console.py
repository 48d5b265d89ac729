"""What a person sees while a run goes: a bar on a terminal, lines in a log file."""

import io
import re

from rich.console import Console as Terminal

from spermjax.tracking.console import Console


def test_a_log_file_gets_a_line_for_each_validation_and_few_for_training():
    out = io.StringIO()
    console = Console(
        first_step=100, total_steps=400, metric="validation/accuracy", terminal=Terminal(file=out, width=80)
    )
    for step in range(120, 220, 20):
        console.log(step, {"train/loss": 0.5})
    console.log(200, {"validation/loss": 9.0, "validation/accuracy": 0.875})
    console.finish()
    (line,) = out.getvalue().splitlines()
    assert re.fullmatch(r"step 200/400  \S+ steps/s  loss 0\.5000  validation/accuracy 0\.8750  0 min 00 s left", line)


def test_training_lines_come_at_intervals(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    out = io.StringIO()
    console = Console(total_steps=1000, terminal=Terminal(file=out, width=80))
    for step in range(10, 500, 10):  # one second each
        now[0] += 1
        console.log(step, {"train/loss": 1.0})
    lines = out.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "step 100/1000",
        "step 200/1000",
        "step 300/1000",
        "step 400/1000",
    ]
    assert "10 steps/s" in lines[0] and "1 min 30 s left" in lines[0]


def test_a_terminal_gets_a_bar_with_the_latest_numbers():
    out = io.StringIO()
    console = Console(total_steps=50, terminal=Terminal(file=out, force_terminal=True, width=120))
    console.log(25, {"train/loss": 0.125, "validation/auroc": 0.75})
    console.finish()
    shown = out.getvalue()
    assert "25/50" in shown and "50%" in shown
    assert "loss 0.1250  validation/auroc 0.7500" in shown


def test_names_in_brackets_are_not_markup():
    out = io.StringIO()
    console = Console(terminal=Terminal(file=out, width=80))
    console.log(1, {"validation/[bold]accuracy": 0.5})
    assert "validation/[bold]accuracy 0.5" in out.getvalue()
