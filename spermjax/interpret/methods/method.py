"""What an explanation method is, and the registry of methods."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, Int

from spermjax.interpret.grid import plane, upsample
from spermjax.interpret.model import Variables
from spermjax.registry import Registry


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to say which pixels a model's logit rests on.

    Attributes:
        name: how it is asked for.
        native: `(model, variables, images, targets, **options) -> [batch, rows, columns]`,
            the map at the method's own resolution: patches or pixels. Pure and jittable.
        citation: author and year.
        forward: forward passes per image at the default options.
        backward: backward passes per image.
        needs: what it asks for besides images and logits: `attention` (captured
            weights), `features` (captured tokens), `gradients`, `part_queries`,
            `spatial_attention` (of CBAM), `class_token` (logits that exist without any
            patch), and the keyword arguments `parts` and `index`
            of the batch and `chunk` (images in one pass).
        class_specific: whether the map depends on the target.
        alone: whether it waits within XLA's threads, as LAPACK and callbacks do: on CPUs it
            then runs on one device, since several at once wait for ever (JAX 0.10.2).
    """

    name: str
    native: Callable[..., Float[Array, "batch rows columns"]]
    citation: str
    forward: int
    backward: int = 0
    needs: frozenset[str] = frozenset()
    class_specific: bool = True
    alone: bool = False

    def explain(
        self,
        model: Any,
        variables: Variables,
        images: Float[Array, "batch height width 3"],
        targets: Int[Array, "batch"],
        **options: Any,
    ) -> Float[Array, "batch height width"]:
        """The map at the resolution of the image, raw: bilinear between patch centres, unscaled."""
        return upsample(self.native(model, variables, images, targets, **options), plane(images))

    def using(self, name: str, **options: Any) -> "Method":
        """This method with other options, under another name."""
        return dataclasses.replace(self, name=name, native=functools.partial(self.native, **options))


METHODS: Registry[Method] = Registry("explanation method")


def register(method: Method) -> Method:
    """Files a method under its own name."""
    return METHODS.register(method.name)(method)
