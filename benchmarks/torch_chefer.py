"""Chefer 2021a and 2021b as their authors' repositories compute them, for timm's vision transformer.

What `torch_methods` does for a batch with the least work is done here in the way that
their users run: one image at a time; the logit is differentiated with respect to all
parameters, for the sake of the gradients at attention; and each rule of 2021a computes
its layer again and asks autograd for shares, the linear one also for inhibiting
contributions, which then count zero times.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_methods import Layer, forward, of_targets, quotient


def with_gradients(model: nn.Module, image: Tensor, target: int) -> tuple[Tensor, list[Layer], list[Tensor]]:
    """Logits of one image, what each block computed, and the gradient at each block's attention."""
    model.zero_grad()
    logits, layers = forward(model, image)
    for layer in layers:
        layer.weights.retain_grad()
    of_targets(logits, [target]).backward(retain_graph=True)
    return logits, layers, [layer.weights.grad for layer in layers]


def class_row(maps: list[Tensor]) -> Tensor:
    """The class token's row of the product of maps plus identity, the first map applied first."""
    relevance = torch.eye(maps[0].shape[-1])[None]
    for each in maps:
        relevance = relevance + each @ relevance
    return relevance[:, 0, 1:]


def chefer2021b_one(model: nn.Module, image: Tensor, target: int) -> Tensor:
    """R <- R + mean over heads of relu(A * G) @ R."""
    _, layers, gradients = with_gradients(model, image, target)
    pairs = zip(layers, gradients, strict=True)
    return class_row([(layer.weights.detach() * slope).clamp(min=0).mean(dim=1) for layer, slope in pairs])


def shares(function: Callable[..., Tensor], inputs: list[Tensor], relevance: Tensor) -> list[Tensor]:
    """Relevance by contribution: inputs times the derivatives of the result, weighted by relevance over result."""
    inputs = [each.detach().requires_grad_() for each in inputs]
    result = function(*inputs)
    derivatives = torch.autograd.grad(result, inputs, quotient(relevance, result), retain_graph=True)
    return [each.detach() * derivative for each, derivative in zip(inputs, derivatives, strict=True)]


def through_linear(layer: nn.Linear, x: Tensor, relevance: Tensor) -> Tensor:
    """Shares relevance among positive contributions (alpha one, beta zero)."""
    x = x.detach().requires_grad_()
    signed = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
    parts = x.clamp(min=0), x.clamp(max=0)

    def of(weights: tuple[Tensor, Tensor]) -> Tensor:
        results = [functional.linear(part, weight) for part, weight in zip(parts, weights, strict=True)]
        totals = [quotient(relevance, results[0] + results[1]) for _ in results]
        derivatives = (torch.autograd.grad(*each)[0] for each in zip(results, parts, totals, strict=True))
        first, second = (part * derivative for part, derivative in zip(parts, derivatives, strict=True))
        return first + second

    return (1 * of(signed) - 0 * of(signed[::-1])).detach()


def through_sum(first: Tensor, second: Tensor, relevance: Tensor) -> list[Tensor]:
    """Shares relevance between two branches, each rescaled to its share of the whole."""
    parts = shares(torch.add, [first, second], relevance)
    sums = [part.sum() for part in parts]
    magnitude = sums[0].abs() + sums[1].abs()
    factors = [quotient(each.abs(), magnitude) * relevance.sum() for each in sums]
    return [part * quotient(factor, part.sum()) for part, factor in zip(parts, factors, strict=True)]


def through_copy(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Gathers what two branches gave back to the value that both read."""
    return quotient(first, x.detach()) * x.detach() + quotient(second, x.detach()) * x.detach()


def chefer2021a_one(model: nn.Module, image: Tensor, target: int) -> Tensor:
    """Product over layers of the mean over heads of relu(G * relevance of A), plus identity."""
    logits, layers, gradients = with_gradients(model, image, target)
    wanted = functional.one_hot(torch.tensor([target]), logits.shape[1]).float()
    normed = model.norm(layers[-1].after)
    of_token = through_linear(model.head, normed[:, 0], wanted)
    [relevance] = shares(lambda tokens: tokens[:, 0], [normed], of_token)
    maps = []
    for block, layer, gradient in zip(model.blocks[::-1], layers[::-1], gradients[::-1], strict=True):
        skipped, through = through_sum(layer.between, layer.transformed, relevance)
        through = through_linear(block.mlp.fc2, layer.activated, through)
        through = through_linear(block.mlp.fc1, layer.normed_again, through)
        relevance = through_copy(layer.between, skipped, through)
        skipped, through = through_sum(layer.before, layer.attended, relevance)
        through = through_linear(block.attn.proj, layer.mixed, through)
        heads = through.reshape(*through.shape[:2], block.attn.num_heads, -1).transpose(1, 2)
        of_weights, of_value = shares(torch.matmul, [layer.weights, layer.value], heads)
        of_weights, of_value = of_weights / 2, of_value / 2
        of_query, of_key = shares(lambda q, k: q @ k.transpose(-2, -1), [layer.query, layer.key], of_weights)
        of_qkv = torch.stack([of_query / 2, of_key / 2, of_value]).permute(1, 3, 0, 2, 4).flatten(2)
        through = through_linear(block.attn.qkv, layer.normed, of_qkv)
        relevance = through_copy(layer.before, skipped, through)
        maps.append((gradient * of_weights).clamp(min=0).mean(dim=1))
    return class_row(maps[::-1])


def each_alone(method: Callable[[nn.Module, Tensor, int], Tensor]) -> Callable[[nn.Module, Tensor, list[int]], Tensor]:
    """A batch, one image after another."""
    return lambda model, x, targets: torch.cat([method(model, x[i : i + 1], t) for i, t in enumerate(targets)])


METHODS = {"chefer2021a": each_alone(chefer2021a_one), "chefer2021b": each_alone(chefer2021b_one)}
