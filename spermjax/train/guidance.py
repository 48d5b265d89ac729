"""Guidance: a loss that asks attention to lie on the parts that decide."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spermjax.config import Guidance
from spermjax.data.batch import Batch
from spermjax.data.task import Task
from spermjax.errors import ConfigError, nearest
from spermjax.interpret.grid import class_row, coverage, patch_mean
from spermjax.interpret.methods.attention import rollout_map
from spermjax.models.attention.contract import AttentionSpec
from spermjax.parts import PARTS, REGIONS, region
from spermjax.train.attention_losses import LOSSES, normalised


def deciding_table(task: Task, guidance: Guidance) -> Bool[np.ndarray, "outputs parts"]:
    """Which parts each class or attribute is guided to.

    Args:
        task: its own deciding parts are used where the configuration names none.
        guidance: `parts` as `name=part+part`.

    Raises:
        ConfigError: for an entry of another form, or an unknown class, attribute or part.
    """
    chosen = dict(task.deciding_parts)
    if guidance.parts:
        chosen = {}
        for entry in guidance.parts:
            name, separator, parts = entry.partition("=")
            if not separator:
                raise ConfigError(f"--guidance.parts {entry!r} is not of the form name=part+part")
            chosen[name] = tuple(parts.split("+"))
    table = np.zeros((task.num_outputs, len(PARTS)), bool)
    for name, parts in chosen.items():
        if name not in task.names:
            raise ConfigError(f"--guidance.parts names {name!r}. {nearest(name, task.names)}")
        for part in parts:
            if part not in REGIONS or part == "background":
                raise ConfigError(f"--guidance.parts names the part {part!r}. {nearest(part, REGIONS)}")
            table[task.names.index(name)] |= np.asarray(region(np.eye(len(PARTS), dtype=bool), part))
    return table


def target_parts(
    task: Task, label: Int[Array, "batch *attributes"], table: Bool[Array, "outputs parts"]
) -> Bool[Array, "batch parts"]:
    """The parts that decide each example: those of its class, or of its abnormal attributes."""
    if task.kind == "single_label":
        return table[label]
    return ((label == 1)[:, :, None] & table[None]).any(axis=1)


def patch_coverage(
    parts: Bool[Array, "batch height width parts"], wanted: Bool[Array, "batch parts"], grid: tuple[int, int]
) -> Float[Array, "batch patches"]:
    """Share of each patch that the wanted parts cover together, in [0, 1]."""
    mask = (parts & wanted[:, None, None, :]).any(-1)
    return patch_mean(mask.astype(jnp.float32), grid).reshape(len(mask), -1)


def guidance_loss(
    guidance: Guidance,
    attention: Float[Array, "layers batch heads queries keys"],
    spec: AttentionSpec,
    batch: Batch,
    wanted: Bool[Array, "batch parts"],
) -> tuple[Float[Array, "batch"], Float[Array, "batch"]]:
    """Guidance loss of each example, and how many rows it was measured on.

    The guided map is a row over patches, renormalised to sum to one: the class row of
    each chosen layer and head by itself (the loss is their mean), or of attention
    rollout, toward the wanted parts; or each part query's own row toward its own part,
    whatever the label (the loss is the sum over parts, to be divided by their number).
    It is defined where the example has masks and the part is on the image.

    Args:
        guidance: source, loss, layers and heads.
        attention: captured weights of all layers.
        spec: how to read them.
        batch: part masks, `has_parts` and `weight`.
        wanted: parts that decide each example.

    Returns:
        Loss and normaliser of each example, both zero where undefined.
    """
    covered, defined = _goal(guidance, spec, batch, wanted)
    count = _by_example(defined)
    if guidance.source == "part_query":
        rows = _part_rows(guidance, attention[-1], spec)
        losses = LOSSES[guidance.loss](normalised(rows), covered[:, None]).mean(axis=1)
        return jnp.where(defined, losses, 0.0).sum(-1), count
    if guidance.source == "rollout":
        rows = rollout_map(attention, spec).reshape(1, len(batch.weight), 1, -1)
    else:
        rows = class_row(_chosen_heads(guidance, attention[jnp.asarray(guidance.layers)]), spec)
    losses = LOSSES[guidance.loss](normalised(rows), covered[None, :, None]).mean(axis=(0, 2))
    return jnp.where(defined, losses, 0.0), count


def guidance_count(
    guidance: Guidance, spec: AttentionSpec, batch: Batch, wanted: Bool[Array, "batch parts"]
) -> Float[Array, "batch"]:
    """The normaliser of `guidance_loss`, known before there is any attention."""
    return _by_example(_goal(guidance, spec, batch, wanted)[1])


def _by_example(defined: Bool[Array, "batch *parts"]) -> Float[Array, "batch"]:
    return defined.reshape(len(defined), -1).sum(-1).astype(jnp.float32)


def _goal(
    guidance: Guidance, spec: AttentionSpec, batch: Batch, wanted: Bool[Array, "batch parts"]
) -> tuple[Float[Array, "batch *parts patches"], Bool[Array, "batch *parts"]]:
    """What each guided row should lie on, and whether there is anything to lie on."""
    usable = batch.has_parts & (batch.weight > 0)
    if guidance.source == "part_query":
        covered = _part_coverage(batch, spec)
        return covered, usable[:, None] & (covered.sum(-1) > 0)
    covered = patch_coverage(batch.parts, wanted, spec.grid)
    return covered, usable & (covered.sum(-1) > 0)


def _chosen_heads(guidance: Guidance, attention: Float[Array, "... heads queries keys"]) -> Array:
    return attention[..., jnp.asarray(guidance.heads), :, :] if guidance.heads else attention


def _part_rows(
    guidance: Guidance, last: Float[Array, "batch heads queries keys"], spec: AttentionSpec
) -> Float[Array, "batch heads parts patches"]:
    """What each part's query takes from each patch."""
    return _chosen_heads(guidance, last)[:, :, : len(PARTS), spec.prefix :]


def _part_coverage(batch: Batch, spec: AttentionSpec) -> Float[Array, "batch parts patches"]:
    """Share of each patch that each part covers."""
    covered = coverage(batch.parts, spec.grid)
    return jnp.moveaxis(covered, -1, 1).reshape(len(covered), len(PARTS), -1)


def is_guided(guidance: Guidance) -> bool:
    """Whether there is a guidance loss at all; a weight that is traced counts as more than zero."""
    return isinstance(guidance.weight, jax.Array) or guidance.weight > 0


def guidance_weight(guidance: Guidance, step: Int[Array, ""], total_steps: int) -> Float[Array, ""]:
    """The weight at a step: rises linearly during warm-up, and is zero after `stop`."""
    progress = step / total_steps
    ramp = jnp.minimum(1.0, progress / guidance.warmup) if guidance.warmup else 1.0
    return jnp.where(progress < guidance.stop, guidance.weight * ramp, 0.0)
