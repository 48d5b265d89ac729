"""Attention methods without a package, written for timm's vision transformer from their papers' formulas.

Rollout (Abnar & Zuidema 2020), Chefer 2021a and 2021b, LeGrad (Bousselham et al. 2024),
AttnLRP (Achtibat et al. 2024), RISE (Petsiuk et al. 2018), and deletion and insertion as
RISE has them. Each takes a model, normalised images and targets.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

TINY = 1e-9


@dataclasses.dataclass
class Layer:
    """What one block computed on the way."""

    before: Tensor
    normed: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    scores: Tensor
    weights: Tensor
    mixed: Tensor
    attended: Tensor
    between: Tensor
    normed_again: Tensor
    hidden: Tensor
    activated: Tensor
    transformed: Tensor
    after: Tensor


def scaled_gradient(values: Tensor, share: float) -> Tensor:
    """The values, with a share of their gradient."""
    return values * share + (values * (1 - share)).detach()


def norm(layer: nn.LayerNorm, values: Tensor, held: bool) -> Tensor:
    """A layer norm whose deviation may count as a constant."""
    if not held:
        return layer(values)
    deviation = (values.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt().detach()
    return (values - values.mean(-1, keepdim=True)) / deviation * layer.weight + layer.bias


def forward(model: nn.Module, x: Tensor, lrp: bool = False) -> tuple[Tensor, list[Layer]]:
    """Logits, and what each block computed; with `lrp` gradients follow AttnLRP's rules."""
    tokens = model.patch_embed(x)
    tokens = torch.cat([model.cls_token.expand(len(x), -1, -1), tokens], dim=1) + model.pos_embed
    layers = []
    for block in model.blocks:
        before, heads = tokens, block.attn.num_heads
        normed = norm(block.norm1, before, lrp)
        qkv = block.attn.qkv(normed).reshape(len(x), -1, 3, heads, normed.shape[-1] // heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        if lrp:
            query, key, value = scaled_gradient(query, 0.25), scaled_gradient(key, 0.25), scaled_gradient(value, 0.5)
        scores = query @ key.transpose(-2, -1)
        weights = (scores * block.attn.scale).softmax(dim=-1)
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        attended = block.attn.proj(mixed)
        between = before + attended
        normed_again = norm(block.norm2, between, lrp)
        hidden = block.mlp.fc1(normed_again)
        activated = functional.gelu(hidden)
        if lrp:
            activated = hidden * (activated / (hidden + 1e-10)).detach()
        transformed = block.mlp.fc2(activated)
        tokens = between + transformed
        found = (before, normed, query, key, value, scores, weights, mixed, attended, between, normed_again, hidden)
        layers.append(Layer(*found, activated, transformed, tokens))
    return model.head(norm(model.norm, tokens, lrp)[:, 0]), layers


def of_targets(logits: Tensor, targets: list[int]) -> Tensor:
    """The sum of each example's own logit."""
    return logits[torch.arange(len(logits)), targets].sum()


def rollout(model: nn.Module, x: Tensor, targets: list[int]) -> Tensor:
    """Product over layers of attention plus identity, rows normalised."""
    del targets
    with torch.no_grad():
        _, layers = forward(model, x)
        relevance = torch.eye(layers[0].weights.shape[-1]).expand(len(x), -1, -1)
        for layer in layers:
            fused = layer.weights.mean(dim=1) + torch.eye(relevance.shape[-1])
            relevance = fused / fused.sum(dim=-1, keepdim=True) @ relevance
    return relevance[:, 0, 1:]


def chefer2021b(model: nn.Module, x: Tensor, targets: list[int]) -> Tensor:
    """R <- R + mean over heads of relu(A * G) @ R."""
    logits, layers = forward(model, x)
    gradients = torch.autograd.grad(of_targets(logits, targets), [layer.weights for layer in layers])
    relevance = torch.eye(layers[0].weights.shape[-1]).expand(len(x), -1, -1)
    with torch.no_grad():
        for layer, gradient in zip(layers, gradients, strict=True):
            relevance = relevance + (layer.weights * gradient).clamp(min=0).mean(dim=1) @ relevance
    return relevance[:, 0, 1:]


def quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Zero where the denominator is."""
    return torch.where(denominator == 0, 0.0, numerator / (denominator + TINY))


def through_linear(layer: nn.Linear, x: Tensor, relevance: Tensor) -> Tensor:
    """Shares relevance among positive contributions (alpha one)."""
    positive, negative = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
    x_positive, x_negative = x.clamp(min=0), x.clamp(max=0)
    total = functional.linear(x_positive, positive) + functional.linear(x_negative, negative)
    shares = quotient(relevance, total)
    return x_positive * (shares @ positive) + x_negative * (shares @ negative)


def through_sum(first: Tensor, second: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Shares relevance between two branches by contribution, each rescaled to its share of the whole."""
    shares = quotient(relevance, first + second)
    parts = first * shares, second * shares
    sums = [part.sum(dim=(1, 2), keepdim=True) for part in parts]
    magnitude, whole = sums[0].abs() + sums[1].abs(), relevance.sum(dim=(1, 2), keepdim=True)
    of_first, of_second = (
        part * quotient(quotient(value.abs(), magnitude) * whole, value)
        for part, value in zip(parts, sums, strict=True)
    )
    return of_first, of_second


def through_product(first: Tensor, second: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Shares relevance of `first @ second` by contribution, half to each."""
    shares = quotient(relevance, first @ second)
    return first * (shares @ second.transpose(-2, -1)) / 2, second * (first.transpose(-2, -1) @ shares) / 2


def chefer2021a(model: nn.Module, x: Tensor, targets: list[int]) -> Tensor:
    """Product over layers of the mean over heads of relu(G * relevance of A), plus identity."""
    logits, layers = forward(model, x)
    gradients = torch.autograd.grad(of_targets(logits, targets), [layer.weights for layer in layers])
    maps = []
    with torch.no_grad():
        relevance = torch.zeros_like(layers[-1].after)
        wanted = functional.one_hot(torch.as_tensor(targets), logits.shape[1]).float()
        relevance[:, 0] = through_linear(model.head, model.norm(layers[-1].after)[:, 0], wanted)
        for block, layer, gradient in zip(model.blocks[::-1], layers[::-1], gradients[::-1], strict=True):
            skipped, through = through_sum(layer.between, layer.transformed, relevance)
            through = through_linear(block.mlp.fc2, layer.activated, through)
            relevance = skipped + through_linear(block.mlp.fc1, layer.normed_again, through)
            skipped, through = through_sum(layer.before, layer.attended, relevance)
            through = through_linear(block.attn.proj, layer.mixed, through)
            heads = through.reshape(*through.shape[:2], block.attn.num_heads, -1).transpose(1, 2)
            of_weights, of_value = through_product(layer.weights, layer.value, heads)
            of_query, of_key = through_product(layer.query, layer.key.transpose(-2, -1), of_weights)
            of_qkv = torch.stack([of_query, of_key.transpose(-2, -1), of_value]).permute(1, 3, 0, 2, 4).flatten(2)
            relevance = skipped + through_linear(block.attn.qkv, layer.normed, of_qkv)
            maps.append((gradient * of_weights).clamp(min=0).mean(dim=1))
        row = functional.one_hot(torch.zeros(len(x), dtype=torch.long), maps[0].shape[-1]).float()[:, None]
        for each in maps:
            row = row + row @ each
    return row[:, 0, 1:]


def legrad(model: nn.Module, x: Tensor, targets: list[int]) -> Tensor:
    """Mean over layers, heads and queries of the positive gradient of each layer's own reading by its attention."""
    _, layers = forward(model, x)
    maps = []
    for layer in layers:
        reading = of_targets(model.head(model.norm(layer.after)[:, 0]), targets)
        [gradient] = torch.autograd.grad(reading, layer.weights, retain_graph=True)
        maps.append(gradient.clamp(min=0).mean(dim=(1, 2))[:, 1:])
    return torch.stack(maps).mean(dim=0)


def attn_lrp(model: nn.Module, x: Tensor, targets: list[int]) -> Tensor:
    """Input times gradient with AttnLRP's rules."""
    x = x.requires_grad_()
    logits, _ = forward(model, x, lrp=True)
    [gradient] = torch.autograd.grad(of_targets(logits, targets), x)
    return (x * gradient).sum(dim=1).detach()


def rise(model: nn.Module, x: Tensor, targets: list[int], masks: int, at_once: int) -> Tensor:
    """Mean of random masks weighted by the probability under them."""
    cells, size = 7, x.shape[-1]
    side = -(-size // cells)
    coarse = (torch.rand(masks, 1, cells, cells) < 0.5).float()
    enlarged = functional.interpolate(coarse, size=(cells + 1) * side, mode="bilinear", align_corners=False)
    corners = torch.randint(side, (masks, 2)).tolist()
    shown = torch.cat([m[None, :, r : r + size, c : c + size] for m, (r, c) in zip(enlarged, corners, strict=True)])
    total, per_image = torch.zeros(len(x), size, size), max(1, at_once // len(x))
    with torch.no_grad():
        for some in shown.split(per_image):
            probability = model((x[:, None] * some).flatten(0, 1)).softmax(dim=-1).reshape(len(x), len(some), -1)
            heights = probability[torch.arange(len(x)), :, targets]
            total += torch.einsum("bm,mhw->bhw", heights, some[:, 0])
    return total / masks / 0.5


def curve(
    model: nn.Module, x: Tensor, targets: list[int], order: Tensor, start: Tensor, end: Tensor, side: int
) -> Tensor:
    """Area under the probability while patches of `start` become those of `end`, in `order`."""
    shown, heights = start.clone(), []
    rows = x.shape[-1] // side
    with torch.no_grad():
        for step in range(order.shape[1] + 1):
            heights.append(model(shown).softmax(dim=-1)[torch.arange(len(x)), targets])
            if step < order.shape[1]:
                for example, patch in enumerate(order[:, step].tolist()):
                    r, c = side * (patch // rows), side * (patch % rows)
                    shown[example, :, r : r + side, c : c + side] = end[example, :, r : r + side, c : c + side]
    return torch.trapezoid(torch.stack(heights), dx=1 / order.shape[1], dim=0)


METHODS: dict[str, Callable[[nn.Module, Tensor, list[int]], Tensor]] = {
    "rollout": rollout,
    "chefer2021a": chefer2021a,
    "chefer2021b": chefer2021b,
    "legrad": legrad,
    "attn_lrp": attn_lrp,
}
