"""What XLA is told about its kernels."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

from spermjax.kernels import VECTORS, YNNPACK, choose_kernels

CHOSEN = f"--{YNNPACK}=reduce --{VECTORS}=512"


@pytest.mark.parametrize(("before", "after"), [("", CHOSEN), ("--a", f"--a {CHOSEN}")])
def test_what_is_chosen(monkeypatch, before, after):
    monkeypatch.setenv("XLA_FLAGS", before)
    choose_kernels()
    choose_kernels()
    assert os.environ["XLA_FLAGS"] == after


def test_what_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--{YNNPACK}= --{VECTORS}=128")
    choose_kernels()
    assert os.environ["XLA_FLAGS"] == f"--{YNNPACK}= --{VECTORS}=128"


def test_another_xla_is_told_nothing(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.11.0")
    choose_kernels()
    assert os.environ["XLA_FLAGS"] == ""


PROGRAM = """
from spermjax.kernels import choose_kernels
choose_kernels()
import jax, jax.numpy as jnp
for function in (lambda x: x @ x, jax.nn.softmax):
    print("ynn" in jax.jit(function).lower(jnp.ones((256, 256))).compile().as_text())
"""


def test_xla_takes_products_itself_and_leaves_sums_to_ynnpack():
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    told = subprocess.run([sys.executable, "-c", PROGRAM], env=kept, check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["False", "True"], told.stderr
