"""Notebooks of the documentation run from top to bottom, and show what they say."""

import json
from pathlib import Path

import numpy as np

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"


def run(name):
    """Names that the notebook's code leaves behind."""
    cells = json.loads((NOTEBOOKS / name).read_text())["cells"]
    names = {"__name__": "notebook"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}:{cell['id']}", "exec"), names)
    return names


def test_a_model_that_is_not_ours():
    names = run("foreign_model.ipynb")
    assert {values.shape for values in names["maps"].values()} == {(4, 32, 32)}
    np.testing.assert_allclose(names["of_function"].sum((1, 2)), names["rise"], atol=1e-5)
    # The upper half alone speaks in the first logit.
    assert not names["of_function"][:, 16:].any() and names["of_function"][:, :16].any()
    assert all(np.isfinite(values).all() for values in names["measured"].values.values())
    assert "FunctionModel has no attention_spec" in names["refusal"]
