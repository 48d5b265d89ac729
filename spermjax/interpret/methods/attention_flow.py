"""Attention flow: how much can pass from the logits' token to each patch at most."""

from typing import Any

import jax
import numpy as np
import scipy
from jaxtyping import Array, Float, Int

from spermjax.interpret.capture import capture
from spermjax.interpret.grid import reader, to_grid
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.methods.propagate import add_identity
from spermjax.interpret.model import Variables, attention_spec
from spermjax.models.attention.contract import ATTENTION

UNIT = 10**9
"""Capacities are whole numbers of this part of one: rows sum to one, and a flow fits 32 bits."""


def flow_of_one(
    capacities: Float[np.ndarray, "layers tokens tokens"], start: Float[np.ndarray, "tokens"]
) -> Float[np.ndarray, "tokens"]:
    """Maximum flow from a source, joined to the top tokens by `start`, to each token at the bottom."""
    layers, tokens, _ = capacities.shape
    above = np.arange(layers)[::-1, None, None] * tokens + 1
    queries, keys = np.arange(tokens)[:, None], np.arange(tokens)[None, :]
    rows = np.broadcast_to(above + queries, capacities.shape).ravel()
    columns = np.broadcast_to(above + tokens + keys, capacities.shape).ravel()
    rows = np.concatenate([np.zeros(tokens, int), rows])
    columns = np.concatenate([np.arange(tokens) + 1, columns])
    whole = np.rint(np.concatenate([start, capacities.ravel()]).astype(np.float64) * UNIT).astype(np.int32)
    nodes = (layers + 1) * tokens + 1
    graph = scipy.sparse.coo_array((whole, (rows, columns)), shape=(nodes, nodes)).tocsr()
    bottom = layers * tokens + 1
    flows = [scipy.sparse.csgraph.maximum_flow(graph, 0, bottom + token).flow_value for token in range(tokens)]
    return np.array(flows, np.float32) / UNIT


def flow_to_tokens(
    model: Any, variables: Variables, images: Float[Array, "batch height width 3"]
) -> Float[Array, "batch tokens"]:
    """Attention flow (Abnar & Zuidema 2020, section 3) to every token, those before the patches among them.

    Capacities are the rows of the mean over heads of attention plus identity,
    normalised. The flow to each token is found alone, on the host: its cost grows with
    the third power of the number of tokens, so it is for small models.
    """
    spec = attention_spec(model, images)
    attention = capture(model, variables, images, (ATTENTION,)).attention
    capacities = add_identity(attention.mean(axis=2), normalise=True).swapaxes(0, 1)
    batch, _, tokens, _ = capacities.shape

    def on_host(capacities: Any, start: Any) -> Float[np.ndarray, "batch tokens"]:
        return np.stack([flow_of_one(np.asarray(one), np.asarray(start)) for one in capacities])

    shape = jax.ShapeDtypeStruct((batch, tokens), np.float32)
    return jax.pure_callback(on_host, shape, capacities, reader(spec, tokens))


def attention_flow(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
) -> Float[Array, "batch rows columns"]:
    """Attention flow to patches (see `flow_to_tokens`); it does not depend on the target."""
    del targets
    spec = attention_spec(model, images)
    return to_grid(flow_to_tokens(model, variables, images)[:, spec.prefix :], spec)


register(
    Method(
        "attention_flow",
        attention_flow,
        "Abnar & Zuidema 2020",
        forward=1,
        needs=frozenset({"attention"}),
        class_specific=False,
        alone=True,
    )
)
