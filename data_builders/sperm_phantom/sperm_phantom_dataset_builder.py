"""The phantom: synthetic stained sperm with one defect each and exact part masks."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds

from spermjax import parts as parts_lib
from spermjax.data.builder import Example, SpermBuilder
from spermjax.data.images import png
from spermjax.phantom import defects, population
from spermjax.phantom.render import render

_CHUNK = 100


@dataclasses.dataclass(eq=False, kw_only=True)
class Configuration(tfds.core.BuilderConfig):
    """How the cells lie.

    Attributes:
        max_rotation_deg: largest rotation either way from the head pointing up.
    """

    max_rotation_deg: float


class Builder(SpermBuilder):
    """Drawn when they are prepared: nothing is downloaded, and the same cells come out each time."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[Configuration]] = [
        Configuration(name="aligned", max_rotation_deg=20.0, description="Heads point up, give or take 20 degrees."),
        Configuration(name="free_rotation", max_rotation_deg=180.0, description="Heads point anywhere."),
    ]
    LICENSE = "CC0 1.0"
    HOMEPAGE = "https://www.who.int/publications/i/item/9789240030787"
    DECIDING_PARTS: ClassVar[dict[str, tuple[str, ...]]] = dict(defects.DECIDING_PARTS)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.describe(
            {
                "parts": tfds.features.Image(shape=(None, None, 1), dtype=np.uint8, encoding_format="png"),
                "label": tfds.features.ClassLabel(names=list(defects.CLASSES)),
            }
        )

    def splits(self, root: Path) -> dict[str, int]:
        return dict(population.SPLITS)

    def _generate_examples(self, root: Path, split: str) -> Iterator[Example]:
        assert isinstance(self.builder_config, Configuration)
        ids = population.ids(split)
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            drawn = population.population(chunk, self.builder_config.max_rotation_deg)
            rendering = render(drawn.cells)
            images = jnp.round(rendering.image * 255.0).astype(jnp.uint8)
            rows = zip(*jax.device_get((images, rendering.parts, drawn.label)), strict=True)
            for identity, (image, parts, label) in zip(chunk, rows, strict=True):
                yield (
                    identity,
                    {
                        "image": png(image),
                        "id": identity,
                        "group": identity,
                        "parts": png(parts_lib.pack(parts)),
                        "label": int(label),
                    },
                )
