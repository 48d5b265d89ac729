"""What XLA gives to YNNPACK."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

from spermjax.ynnpack import OPTION, only_sums


@pytest.mark.parametrize(("before", "after"), [("", f"--{OPTION}=reduce"), ("--a", f"--a --{OPTION}=reduce")])
def test_sums_alone(monkeypatch, before, after):
    monkeypatch.setenv("XLA_FLAGS", before)
    only_sums()
    only_sums()
    assert os.environ["XLA_FLAGS"] == after


def test_what_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--{OPTION}=")
    only_sums()
    assert os.environ["XLA_FLAGS"] == f"--{OPTION}="


def test_another_xla_is_told_nothing(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.11.0")
    only_sums()
    assert os.environ["XLA_FLAGS"] == ""


PROGRAM = """
from spermjax.ynnpack import only_sums
only_sums()
import jax, jax.numpy as jnp
for function in (lambda x: x @ x, jax.nn.softmax):
    print("ynn" in jax.jit(function).lower(jnp.ones((256, 256))).compile().as_text())
"""


def test_xla_takes_products_itself_and_leaves_sums_to_ynnpack():
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    told = subprocess.run([sys.executable, "-c", PROGRAM], env=kept, check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["False", "True"], told.stderr
