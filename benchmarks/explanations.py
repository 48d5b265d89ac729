"""Explanation methods beside their references: same weights, same images, same threads.

    python benchmarks/explanations.py --model small --batch 1 --methods grad_cam chefer2021b --json ratios.json

Needs torch, timm, grad-cam and captum beside spermjax. Each pair is timed in turn,
repetition by repetition, so that other work on the machine falls on both; a ratio
above one means that spermjax is faster. Chefer's methods, for which there is no
package, and rollout are transcribed for PyTorch here.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum.attr as captum
import jax
import numpy as np
import pytorch_grad_cam as grad_cam
import timm
import torch
from pytorch_grad_cam.ablation_layer import AblationLayerVit
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import save_file

from spermjax.interpret import METHODS
from spermjax.models.build import init_variables
from spermjax.models.pretrained import load_weights
from spermjax.models.vit import ViT

MODELS = {
    "small": {"img_size": 64, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4},
    "tiny_224": {"img_size": 224, "patch_size": 16, "embed_dim": 192, "depth": 12, "num_heads": 3},
}
OUTPUTS = 4
IG_STEPS, COALITIONS = 50, 200
OPTIONS = {"kernel_shap": {"coalitions": COALITIONS}}

CAMS = {
    "grad_cam": grad_cam.GradCAM,
    "grad_cam_plus_plus": grad_cam.GradCAMPlusPlus,
    "hires_cam": grad_cam.HiResCAM,
    "layer_cam": grad_cam.LayerCAM,
    "xgrad_cam": grad_cam.XGradCAM,
    "eigen_cam": grad_cam.EigenCAM,
    "score_cam": grad_cam.ScoreCAM,
    "ablation_cam": grad_cam.AblationCAM,
}


def pair_of_models(name: str) -> tuple[torch.nn.Module, ViT, dict]:
    """One random model in PyTorch and in Flax, with equal weights."""
    sizes = MODELS[name]
    torch.manual_seed(0)
    theirs = timm.models.VisionTransformer(num_classes=OUTPUTS, **sizes).eval()
    for block in theirs.blocks:
        block.attn.fused_attn = False
    ours = ViT(
        num_outputs=OUTPUTS,
        patch_size=sizes["patch_size"],
        width=sizes["embed_dim"],
        depth=sizes["depth"],
        heads=sizes["num_heads"],
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file({key: value.contiguous() for key, value in theirs.state_dict().items()}, path)
        shapes = jax.eval_shape(lambda: init_variables(ours, jax.random.key(0), sizes["img_size"]))
        return theirs, ours, load_weights(str(path), ours, shapes, sizes["img_size"])


def rollout(model: torch.nn.Module, x: torch.Tensor, targets: list[int], weighted: bool) -> torch.Tensor:
    """Attention rollout, or Chefer 2021b, of one batch, from hooks on each attention's dropout."""
    kept: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: torch.Tensor) -> None:
        if output.requires_grad:
            output.retain_grad()
        kept.append(output)

    hooks = [block.attn.attn_drop.register_forward_hook(keep) for block in model.blocks]
    with torch.set_grad_enabled(weighted):
        logits = model(x)
        if weighted:
            logits[torch.arange(len(x)), targets].sum().backward()
    for hook in hooks:
        hook.remove()
    identity = torch.eye(kept[0].shape[-1])
    relevance = identity.expand(len(x), -1, -1)
    for attention in kept:
        if weighted:
            relevance = relevance + (attention * attention.grad).clamp(min=0).mean(dim=1) @ relevance
        else:
            fused = attention.mean(dim=1) + identity
            relevance = fused / fused.sum(dim=-1, keepdim=True) @ relevance
    model.zero_grad()
    return relevance[:, 0, 1:]


def references(model: torch.nn.Module, patch: int) -> dict[str, Callable[[torch.Tensor, list[int]], Any]]:
    """What each method is compared with, as functions of normalised images and targets."""

    def cam(kind: Any) -> Callable[[torch.Tensor, list[int]], Any]:
        def reshape(tokens: torch.Tensor) -> torch.Tensor:
            side = round((tokens.shape[1] - 1) ** 0.5)
            return tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)

        layers = [model.blocks[-1].norm1]
        more = {"ablation_layer": AblationLayerVit()} if kind is grad_cam.AblationCAM else {}
        explainer = kind(model=model, target_layers=layers, reshape_transform=reshape, **more)
        explainer.batch_size = 64
        return lambda x, targets: explainer(input_tensor=x, targets=[ClassifierOutputTarget(t) for t in targets])

    def players(x: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(x.shape[2]) // patch
        return rows[:, None] * (x.shape[3] // patch) + torch.arange(x.shape[3]) // patch

    window = MODELS["small"]["img_size"] // 8

    def occlude(x: torch.Tensor, targets: list[int]) -> torch.Tensor:
        side = max(window, x.shape[-1] // 8)
        return captum.Occlusion(model).attribute(
            x, (3, side, side), strides=(3, side, side), target=targets, perturbations_per_eval=16
        )

    return {
        **{name: cam(kind) for name, kind in CAMS.items()},
        "rollout": lambda x, targets: rollout(model, x, targets, weighted=False),
        "chefer2021b": lambda x, targets: rollout(model, x, targets, weighted=True),
        "saliency": lambda x, targets: captum.Saliency(model).attribute(x.requires_grad_(), targets),
        "input_x_gradient": lambda x, targets: captum.InputXGradient(model).attribute(x.requires_grad_(), targets),
        "integrated_gradients": lambda x, targets: captum.IntegratedGradients(model).attribute(
            x, target=targets, n_steps=IG_STEPS, internal_batch_size=max(64, len(x))
        ),
        "occlusion": occlude,
        "kernel_shap": lambda x, targets: [
            captum.KernelShap(model).attribute(
                one[None], target=t, feature_mask=players(x), n_samples=COALITIONS, perturbations_per_eval=64
            )
            for one, t in zip(x, targets, strict=True)
        ],
    }


def seconds(function: Callable[[], Any]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def main() -> None:
    """Times what was asked for, prints a table, and writes JSON if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(MODELS), default="small")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--methods", nargs="*", help="all that have a reference, unless named")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    theirs, ours, variables = pair_of_models(arguments.model)
    pairs = references(theirs, ours.patch_size)
    side = MODELS[arguments.model]["img_size"]
    images = np.random.default_rng(0).uniform(size=(arguments.batch, side, side, 3)).astype(np.float32)
    targets = np.arange(arguments.batch) % OUTPUTS
    normalised = torch.from_numpy(np.ascontiguousarray(np.moveaxis((images - 0.5) / 0.5, 3, 1)))

    rows = []
    print(f"{'method':22} {'ours ms':>9} {'reference ms':>13} {'ratio':>6}   per image")
    for name in arguments.methods or pairs:
        native = METHODS[name].using(name, **OPTIONS.get(name, {})).native
        chunk = {"chunk": max(64, arguments.batch)} if "chunk" in METHODS[name].needs else {}
        run = jax.jit(lambda v, x, t, native=native, chunk=chunk: native(ours, v, x, t, **chunk))

        def reference(name: str = name) -> Any:
            return pairs[name](normalised.clone(), targets.tolist())

        def mine(run: Callable[..., Any] = run) -> Any:
            return run(variables, images, targets)

        mine(), reference()
        times = [(seconds(mine), seconds(reference)) for _ in range(arguments.repetitions)]
        fastest = [1e3 * min(side) / arguments.batch for side in zip(*times, strict=True)]
        ratio = statistics.median(theirs_s / ours_s for ours_s, theirs_s in times)
        rows.append({"method": name, "ours_ms": fastest[0], "reference_ms": fastest[1], "ratio": ratio})
        print(f"{name:22} {fastest[0]:9.2f} {fastest[1]:13.2f} {ratio:6.2f}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"setting": vars(arguments) | {"json": None}, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
