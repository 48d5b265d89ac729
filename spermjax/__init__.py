"""spermjax: interpretable sperm-morphology classification in JAX and Flax.

Importing the package loads nothing heavy; each subpackage imports what it needs:

- `spermjax.config`: the typed tree of an experiment;
- `spermjax.data`, `spermjax.phantom`: real and synthetic cells;
- `spermjax.models`: vision transformers that expose their attention;
- `spermjax.interpret`: explanations, and the metrics that test them;
- `spermjax.train`, `spermjax.evaluate`, `spermjax.report`: from an experiment to a page.
"""

__version__ = "0.1.0"
