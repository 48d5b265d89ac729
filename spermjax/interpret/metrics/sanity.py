"""Does a map depend on what it is said to explain: the parameters, and the logit (Adebayo et al. 2018)?

A map that stays the same when the model's parameters are destroyed, or when another
class is asked for, does not explain the model's decision, however well it localises.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spermjax.errors import ConfigError
from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.metrics.robustness import NEEDS, Explain
from spermjax.interpret.metrics.similarity import SIMILARITIES, STANDARD
from spermjax.interpret.model import Variables

Mode = Literal["cascading", "independent"]
Params = Mapping[str, Any]


def stages(model: Any, variables: Variables, images: Float[Array, "batch height width 3"]) -> list[tuple[str, ...]]:
    """The model's parts from the output down: top-level names of parameters, grouped.

    A module is a stage; parameters of the model itself (class token, positions) belong
    to the stage nearest the input.

    Raises:
        ConfigError: the model is no Flax module with parameters, so there is nothing to randomise.
    """
    params = variables.get("params", {})
    called: list[str] = []

    def record(function: Any, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
        path = context.module.path
        if path and path[0] not in called:
            called.append(path[0])
        return function(*arguments, **keywords)

    with nn.intercept_methods(record):
        jax.eval_shape(model.apply, variables, images)
    found = [(name,) for name in reversed(called) if name in params]
    if not found:
        raise ConfigError(
            f"{type(model).__name__} shows no modules with parameters, so they can't be randomised; "
            "leave out the randomisation metrics."
        )
    own = tuple(name for name in params if name not in called)
    return [*found[:-1], (*found[-1], *own)]


def shuffled(params: Params, seed: int = 0) -> Params:
    """Parameters with the entries of each array permuted.

    Adebayo et al. (2018) draw new parameters from the initialiser. A permutation destroys
    what was learnt just as well, but keeps each array's distribution, so the signal
    neither vanishes nor explodes, and it needs no initialiser (which may be zero).
    """

    def permute(path: Any, leaf: Array) -> Array:
        name = zlib.crc32(jax.tree_util.keystr(path).encode())
        key = jax.random.fold_in(jax.random.key(seed), name)
        return jax.random.permutation(key, leaf.reshape(-1)).reshape(leaf.shape)

    return jax.tree_util.tree_map_with_path(permute, params)


def randomised_maps(
    explain: Explain,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    parts: Bool[Array, "batch height width parts"],
    groups: Sequence[tuple[str, ...]],
    *,
    mode: Mode = "cascading",
    replacement: Params | None = None,
) -> Float[Array, "stages batch height width"]:
    """Maps after each stage's parameters are randomised.

    Args:
        explain: the method.
        variables: the model's parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit, per example; not chosen anew.
        parts: part masks.
        groups: of `stages`.
        mode: `cascading` randomises a stage and all before it in `groups`, `independent`
            that stage alone.
        replacement: random parameters; None for `shuffled` ones.
    """
    params = variables["params"]
    other = shuffled(params) if replacement is None else replacement
    place = {name: stage for stage, names in enumerate(groups) for name in names}

    def after(stage: Int[Array, ""]) -> Float[Array, "batch height width"]:
        def choose(name: str) -> Any:
            random = place[name] <= stage if mode == "cascading" else place[name] == stage
            return jax.tree.map(lambda new, old: jnp.where(random, new, old), other[name], params[name])

        mixed = {name: choose(name) if name in place else params[name] for name in params}
        return explain({**variables, "params": mixed}, images, targets, parts)

    return jax.lax.map(after, jnp.arange(len(groups)))


def _similarities(
    original: Float[Array, "batch height width"],
    others: Float[Array, "stages batch height width"],
    names: Sequence[str],
) -> dict[str, Float[Array, "batch"]]:
    """Mean over the stages that define it."""
    return {
        name: jnp.nanmean(jax.vmap(SIMILARITIES[name], in_axes=(None, 0))(original, others), axis=0) for name in names
    }


def randomisation(
    explain: Explain,
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    parts: Bool[Array, "batch height width parts"],
    *,
    mode: Mode = "cascading",
    similarities: Sequence[str] = STANDARD,
) -> dict[str, Float[Array, "batch"]]:
    """Similarity of maps before and after randomisation, mean over stages.

    Args:
        explain: the method.
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit, per example.
        parts: part masks.
        mode: as for `randomised_maps`.
        similarities: names out of `spermjax.interpret.metrics.similarity.SIMILARITIES`.

    Returns:
        By similarity; `output` is the rank correlation after the stage nearest the output
        alone, to which no map can respond that looks at attention only. 1 is a map that
        does not depend on the parameters. NaN where maps are constant.
    """
    original = explain(variables, images, targets, parts)
    maps = randomised_maps(explain, variables, images, targets, parts, stages(model, variables, images), mode=mode)
    return _similarities(original, maps, similarities) | {"output": SIMILARITIES["spearman"](original, maps[0])}


def independent_randomisation(**arguments: Any) -> dict[str, Float[Array, "batch"]]:
    """`randomisation` of one stage at a time, the others as they were trained."""
    return randomisation(mode="independent", **arguments)


def random_logit(
    explain: Explain,
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    parts: Bool[Array, "batch height width parts"],
    index: Int[Array, "batch"],
    *,
    similarities: Sequence[str] = STANDARD,
) -> dict[str, Float[Array, "batch"]]:
    """Similarity of the target's map with that of another logit, drawn at random (Sixt, Granz & Landgraf 2020).

    Arguments as for `randomisation`; `index` draws the other logit. 1 is a map that does
    not depend on what is asked. NaN for a model with one output.
    """
    outputs = jax.eval_shape(model.apply, variables, images).shape[1]
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(3), index)
    steps = jax.vmap(lambda key: jax.random.randint(key, (), 1, max(outputs, 2)))(keys)
    original = explain(variables, images, targets, parts)
    other = explain(variables, images, (targets + steps) % outputs, parts)
    similar = _similarities(original, other[None], similarities)
    return similar if outputs > 1 else {name: jnp.full(len(targets), jnp.nan) for name in similar}


for _name, _function, _citation, _needs in (
    ("randomisation", randomisation, "Adebayo et al. 2018", frozenset()),
    ("independent_randomisation", independent_randomisation, "Adebayo et al. 2018", frozenset()),
    ("random_logit", random_logit, "Sixt, Granz & Landgraf 2020", frozenset({"index"})),
):
    register(Metric(_name, _function, NEEDS | {"model"} | _needs, "lower", _citation, standard=False))
