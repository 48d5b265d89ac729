"""Golden models and numbers, a foreign transformer, and a few cells with parts."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.data.batch import Batch
from spermjax.models.vit import ViT
from spermjax.parts import PARTS
from tests.interpret.support import Foreign, stored
from tests.models.golden import images, model_and_variables


@dataclasses.dataclass(frozen=True)
class Golden:
    """One golden model with its inputs and expected numbers."""

    model: ViT
    variables: dict
    images: jax.Array
    targets: np.ndarray
    forward: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def golden_data(assets):
    """Reads one file of the golden data."""

    def read(name):
        path = assets / "golden" / "data" / name
        if path.suffix == ".json":
            return json.loads(path.read_text())
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    return read


@pytest.fixture(scope="session")
def golden(assets, golden_data):
    """Builds a golden model by name: `cls`, `rand`, `reg` (registers) or `gap` (mean pooling)."""
    cache = {}

    def build(name):
        if name not in cache:
            forward = golden_data(f"forward_{name}.npz")
            cache[name] = Golden(
                *model_and_variables(assets / "golden", name),
                images=images(assets / "golden"),
                targets=forward["target"].astype(np.int32),
                forward=forward,
                maps=golden_data(f"maps_{name}.npz"),
            )
        return cache[name]

    return build


@pytest.fixture(scope="session")
def case(golden, golden_data):
    """The trained model, its reference values, and signed integrated gradients by colour."""
    pixels = golden_data("pixelmaps.npz")
    return golden("cls"), golden_data("faithfulness_cls.npz"), pixels["cls/ref:ig_gausslegendre_50"]


@pytest.fixture(scope="session")
def perturbations(case):
    """Stored by the reference in normalised units."""
    _, expected, _ = case
    return jnp.moveaxis(jnp.asarray(stored(expected, "stored_perturbations"), jnp.float32), 2, -1)


@pytest.fixture
def golden_in_double(golden, golden_data):
    """As `golden`, in double precision while the test runs; inputs are those that the references were given."""
    normalised = golden_data("batch.npz")["x_nhwc"].astype(np.float64)

    def build(name):
        single = golden(name)
        return dataclasses.replace(
            single,
            model=single.model.clone(dtype=jnp.float64),
            variables=jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), single.variables),
            images=jnp.asarray(normalised) * single.model.std[0] + single.model.mean[0],
        )

    with jax.enable_x64(True):
        yield build


@pytest.fixture(params=[("class_token", 3), ("mean", 0)], ids=["registers", "mean"])
def foreign(request):
    """A contract-filling model with its variables: with a class token and registers, or with patch tokens alone."""
    reads, prefix = request.param
    model = Foreign(prefix=prefix, reads=reads)
    return model, {"params": jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]}


@pytest.fixture(scope="session")
def cells():
    """Five small images with part masks, the last without; the vacuole is missing in the second."""
    rng = np.random.default_rng(0)
    parts = np.zeros((5, 16, 16, len(PARTS)), bool)
    parts[:, 4:8, 5:11, PARTS.index("acrosome")] = True
    parts[:, 8:11, 5:11, PARTS.index("nucleus")] = True
    parts[:, 5:7, 6:8, PARTS.index("vacuole")] = True
    parts[1, ..., PARTS.index("vacuole")] = False
    parts[:, 11:13, 7:9, PARTS.index("midpiece")] = True
    parts[:, 13:, 8, PARTS.index("tail")] = True
    image = np.float32(rng.uniform(0.6, 1.0, (5, 16, 16, 3)))
    image[parts.any(-1)] -= 0.5
    return Batch(
        image=image,
        parts=parts,
        has_parts=np.array([True, True, True, True, False]),
        label=np.array([0, 1, 2, 0, 1], np.int32),
        weight=np.ones(5, np.float32),
        index=np.arange(5, dtype=np.int32) + 100,
    )
