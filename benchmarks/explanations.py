"""Explanation methods and metrics beside their references: same weights, images, batch and threads.

    python benchmarks/explanations.py --models small tiny_224 --batches 1 64 --json ratios.json

Needs the extra `references`. spermjax takes the cores as devices, as its commands do, and
PyTorch as threads. Each pair is timed in turns of some calls, repetition by repetition,
so that other work on the machine falls on both; a ratio above one means that spermjax is
faster. Methods for which there is no package are in `torch_methods`, and those of Chefer et al. also, as
their authors compute them, in `torch_chefer`. Where both sides
take random masks or coalitions, they take as many; `MOST_PASSES` and `MOST_PIXELS` leave
out what would take minutes for one batch.
"""

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytorch_grad_cam as grad_cam
import quantus
import timm
import torch
import torch_chefer
import torch_methods
from captum import attr as captum
from captum import metrics as captum_metrics
from pytorch_grad_cam.ablation_layer import AblationLayerVit
from pytorch_grad_cam.metrics.road import ROADCombined
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import save_file

from spermjax.allocator import keep_freed_memory, use_tcmalloc
from spermjax.interpret import METHODS, METRICS
from spermjax.kernels import choose_kernels
from spermjax.models.build import init_variables
from spermjax.models.pretrained import load_weights
from spermjax.models.vit import ViT
from spermjax.parallel import replicate
from spermjax.workflow.measure import over_devices

MODELS = {
    "small": {"img_size": 64, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4},
    "tiny_224": {"img_size": 224, "patch_size": 16, "embed_dim": 192, "depth": 12, "num_heads": 3},
}
OUTPUTS = 4
LEAN = ", lean"
"""Marks a method beside a reference that does the least work, instead of the one that its authors publish."""
IG_STEPS, NOISES, COALITIONS, MASKS, SUBSETS = 50, 50, 200, 200, 64
OPTIONS = {
    "kernel_shap": {"coalitions": COALITIONS},
    "token_kernel_shap": {"coalitions": COALITIONS},
    "rise": {"masks": MASKS},
    "token_rise": {"masks": MASKS},
}
PASSES = {
    "kernel_shap": COALITIONS,
    "token_kernel_shap": COALITIONS,
    "rise": MASKS,
    "token_rise": MASKS,
    "integrated_gradients": 3 * IG_STEPS,
    "smooth_grad": 3 * NOISES,
    "faithfulness_correlation_zero": SUBSETS,
    "occlusion": 65,
}
MOST_PASSES = {"small": 10**5, "tiny_224": 2500}
"""Forward passes of one batch, of what is timed unless it is named."""
MOST_PIXELS = 10**6
"""Of one batch, of what `BY_PIXEL` has unless it is named."""
TURN_SECONDS = 0.3
AT_ONCE, CHUNK = 64, 16
"""Perturbed images that a reference takes in one pass, and that spermjax takes."""

CAMS = {
    "grad_cam": grad_cam.GradCAM,
    "grad_cam_plus_plus": grad_cam.GradCAMPlusPlus,
    "hires_cam": grad_cam.HiResCAM,
    "layer_cam": grad_cam.LayerCAM,
    "xgrad_cam": grad_cam.XGradCAM,
    "eigen_cam": grad_cam.EigenCAM,
    "eigen_grad_cam": grad_cam.EigenGradCAM,
    "grad_cam_elementwise": grad_cam.GradCAMElementWise,
    "score_cam": grad_cam.ScoreCAM,
    "ablation_cam": grad_cam.AblationCAM,
}


TORCH_METHODS = {
    **torch_methods.METHODS,
    **{f"{name}{LEAN}": torch_methods.METHODS[name] for name in torch_chefer.METHODS},
    **torch_chefer.METHODS,
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


def cam(kind: Any, model: torch.nn.Module) -> Callable[[torch.Tensor, list[int]], Any]:
    """A method of pytorch-grad-cam on what enters the last attention."""

    def reshape(tokens: torch.Tensor) -> torch.Tensor:
        side = round((tokens.shape[1] - 1) ** 0.5)
        return tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)

    more = {"ablation_layer": AblationLayerVit()} if kind is grad_cam.AblationCAM else {}
    explainer = kind(model=model, target_layers=[model.blocks[-1].norm1], reshape_transform=reshape, **more)
    explainer.batch_size = AT_ONCE
    return lambda x, targets: explainer(input_tensor=x, targets=[ClassifierOutputTarget(t) for t in targets])


def reference_methods(model: torch.nn.Module, patch: int) -> dict[str, Callable[[torch.Tensor, list[int]], Any]]:
    """What each method is compared with, as functions of normalised images and targets."""

    def occlude(x: torch.Tensor, targets: list[int]) -> torch.Tensor:
        window = (3, x.shape[-1] // 8, x.shape[-1] // 8)
        return captum.Occlusion(model).attribute(x, window, strides=window, target=targets, perturbations_per_eval=16)

    def shapley(x: torch.Tensor, targets: list[int]) -> list[torch.Tensor]:
        rows = torch.arange(x.shape[2]) // patch
        players = rows[:, None] * (x.shape[3] // patch) + torch.arange(x.shape[3]) // patch
        return [
            captum.KernelShap(model).attribute(
                one[None], target=t, feature_mask=players, n_samples=COALITIONS, perturbations_per_eval=AT_ONCE
            )
            for one, t in zip(x, targets, strict=True)
        ]

    def masked(x: torch.Tensor, targets: list[int]) -> torch.Tensor:
        return torch_methods.rise(model, x, targets, MASKS, AT_ONCE)

    return {
        # Each hangs hooks on its model, which would keep what all others compute.
        **{name: cam(kind, copy.deepcopy(model)) for name, kind in CAMS.items()},
        **{name: lambda x, t, f=function: f(model, x, t) for name, function in TORCH_METHODS.items()},
        "saliency": lambda x, targets: captum.Saliency(model).attribute(x.requires_grad_(), targets),
        "input_x_gradient": lambda x, targets: captum.InputXGradient(model).attribute(x.requires_grad_(), targets),
        "smooth_grad": lambda x, targets: captum.NoiseTunnel(captum.Saliency(model)).attribute(
            x, target=targets, abs=False, nt_samples=NOISES, nt_samples_batch_size=max(1, AT_ONCE // len(x)), stdevs=0.3
        ),
        "integrated_gradients": lambda x, targets: captum.IntegratedGradients(model).attribute(
            x, target=targets, n_steps=IG_STEPS, internal_batch_size=max(AT_ONCE, len(x))
        ),
        "occlusion": occlude,
        "rise": masked,
        "token_rise": masked,
        "kernel_shap": shapley,
        "token_kernel_shap": shapley,
    }


LOCALISATION = {
    "pointing_game": quantus.PointingGame,
    "attribution_localisation": quantus.AttributionLocalisation,
    "relevance_mass_accuracy": quantus.RelevanceMassAccuracy,
    "relevance_rank_accuracy": quantus.RelevanceRankAccuracy,
    "top_k_intersection": quantus.TopKIntersection,
    "auroc": quantus.AUC,
}
TOGETHER = "localisation, one call"
BY_PIXEL = frozenset({*LOCALISATION, TOGETHER, "road"})
"""Whose reference takes Python, or a system of equations, for the pixels of each image."""


def reference_metrics(
    model: torch.nn.Module, patch: int, maps: np.ndarray, masks: np.ndarray
) -> dict[str, Callable[[torch.Tensor, list[int]], Any]]:
    """What each metric is compared with, on these maps."""
    side = maps.shape[1] // patch
    scores = torch.from_numpy(maps).reshape(-1, side, patch, side, patch).mean(dim=(2, 4)).flatten(1)
    order = scores.argsort(dim=1, descending=True)

    def of_quantus(metric: Any, **more: Any) -> Callable[[torch.Tensor, list[int]], Any]:
        return lambda x, targets: metric(
            model=model, x_batch=x.numpy(), y_batch=np.array(targets), a_batch=maps[:, None], device="cpu", **more
        )

    def deletion(x: torch.Tensor, targets: list[int]) -> torch.Tensor:
        return torch_methods.curve(model, x, targets, order, x, torch.zeros_like(x), patch)

    def insertion(x: torch.Tensor, targets: list[int]) -> torch.Tensor:
        return torch_methods.curve(model, x, targets, order, torch.zeros_like(x), x, patch)

    quiet = {"disable_warnings": True, "display_progressbar": False}
    road = ROADCombined(percentiles=[10, 20, 30, 40, 50, 60, 70, 80, 90])
    placed = {name: of_quantus(kind(**quiet), s_batch=masks[:, None]) for name, kind in LOCALISATION.items()}
    correlation = quantus.FaithfulnessCorrelation(
        nr_runs=SUBSETS, subset_size=maps[0].size // 4, perturb_baseline="black", **quiet
    )
    return {
        "deletion": deletion,
        "insertion": insertion,
        "deletion_zero": deletion,
        "insertion_zero": insertion,
        "faithfulness_correlation_zero": of_quantus(correlation),
        "infidelity": lambda x, targets: captum_metrics.infidelity(
            model, noisy, x, torch.from_numpy(maps)[:, None].expand_as(x), target=targets, n_perturb_samples=16
        ),
        "road": lambda x, targets: road(x, maps, [ClassifierOutputTarget(t) for t in targets], model),
        **placed,
        TOGETHER: lambda x, targets: [metric(x, targets) for metric in placed.values()],
    }


def noisy(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussian noise, and what is left of the images."""
    noise = 0.2 * torch.randn_like(x)
    return noise, x - noise


def our_method(name: str, model: ViT, variables: dict, images: np.ndarray, targets: np.ndarray) -> Callable[[], Any]:
    """One call, spread over the devices as `spermjax explain` spreads it."""
    method, devices = METHODS[name.removesuffix(LEAN)], jax.devices()
    chunk = max(CHUNK, len(images) // len(devices))

    def explain(variables: dict, images: jax.Array, targets: jax.Array, index: jax.Array) -> jax.Array:
        given = {key: value for key, value in {"chunk": chunk, "index": index}.items() if key in method.needs}
        return method.native(model, variables, images, targets, **given | OPTIONS.get(name, {}))

    run, placed = over_devices(explain, devices, in_steps="chunk" in method.needs), replicate(variables, devices)
    return lambda: run(placed, images, targets, np.arange(len(images)))


def our_metric(
    name: str, model: ViT, variables: dict, images: np.ndarray, targets: np.ndarray, maps: np.ndarray, masks: np.ndarray
) -> Callable[[], Any]:
    """One call of one metric or of all that localise, spread over the devices."""
    devices = jax.devices()
    names = tuple(LOCALISATION) if name == TOGETHER else (name,)
    side = images.shape[1] // model.patch_size
    scores = maps.reshape(len(maps), side, model.patch_size, side, model.patch_size).mean((2, 4))
    arrays = {"images": images, "targets": targets, "map": maps, "mask": masks, "patch_scores": scores}
    arrays["index"] = np.arange(len(images))
    needed = frozenset().union(*(METRICS[each].needs for each in names))
    arrays = {key: array for key, array in arrays.items() if key in needed}
    chunk = max(CHUNK, len(images) // len(devices))

    def evaluate(variables: dict, arrays: dict) -> dict:
        given = arrays | {"model": model, "variables": variables, "kind": "single_label", "chunk": chunk}
        return {each: METRICS[each].function(**{k: given[k] for k in METRICS[each].needs}) for each in names}

    run, placed = over_devices(evaluate, devices, in_steps="chunk" in needed), replicate(variables, devices)
    return lambda: run(placed, arrays)


def seconds(function: Callable[[], Any]) -> float:
    """Time of one call, of as many as fill a turn: threads of the other side still spin for a while after theirs."""
    start, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - start < TURN_SECONDS:
        function()
        calls += 1
    return (time.perf_counter() - start) / calls


def compare(model_name: str, batch: int, wanted: list[str] | None, repetitions: int) -> dict[str, float]:
    """Ratios by method and metric of one model and batch; prints a row for each."""
    theirs, ours, variables = pair_of_models(model_name)
    side = MODELS[model_name]["img_size"]
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(batch, side, side, 3)).astype(np.float32)
    maps = rng.uniform(0.01, 1, (batch, side, side)).astype(np.float32)
    distance = np.hypot(*np.meshgrid(*(np.arange(side) - side / 2,) * 2))
    masks = np.broadcast_to(distance < side / 4, maps.shape).copy()
    targets = np.arange(batch) % OUTPUTS
    normalised = torch.from_numpy(np.ascontiguousarray(np.moveaxis((images - 0.5) / 0.5, 3, 1)))
    references = reference_methods(theirs, ours.patch_size)
    references |= reference_metrics(theirs, ours.patch_size, maps, masks)

    ratios = {}
    print(f"\n{model_name}, batch {batch}\n{'':30} {'ours ms':>9} {'reference ms':>13} {'ratio':>6}   per image")
    for name in dict.fromkeys(wanted or references):
        curves = (side // ours.patch_size) ** 2 if name.startswith(("deletion", "insertion")) else 2
        channels = ours.width if name in ("score_cam", "ablation_cam") else 2
        passes = PASSES.get(name, max(curves, channels))
        long = passes * batch > MOST_PASSES[model_name] or (name in BY_PIXEL and images[..., 0].size > MOST_PIXELS)
        if long and wanted is None:
            continue
        if name.removesuffix(LEAN) in METHODS:
            mine = our_method(name, ours, variables, images, targets)
        else:
            mine = our_metric(name, ours, variables, images, targets, maps, masks)

        function = references.pop(name)  # A CAM keeps its last graph, gigabytes of it, for as long as it lives.

        def reference(function: Callable = function) -> Any:
            return function(normalised.clone(), targets.tolist())

        for _ in range(2):  # Once to compile, once to have the memory.
            mine(), reference()
        times = [(seconds(mine), seconds(reference)) for _ in range(repetitions)]
        fastest = [1e3 * min(side) / batch for side in zip(*times, strict=True)]
        ratios[name] = statistics.median(theirs_s / ours_s for ours_s, theirs_s in times)
        print(f"{name:30} {fastest[0]:9.3f} {fastest[1]:13.3f} {ratios[name]:6.2f}", flush=True)
    return ratios


def main() -> None:
    """Times what was asked for, prints tables, and writes JSON if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=["small"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 64])
    parser.add_argument("--only", nargs="*", help="methods and metrics; all that have a reference, unless named")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", type=Path, help="receives a flat table `ratios`, by model/batch/name")
    options = parser.parse_args()
    use_tcmalloc()
    keep_freed_memory()
    choose_kernels()
    cores = len(os.sched_getaffinity(0))
    jax.config.update("jax_num_cpu_devices", cores)
    torch.set_num_threads(cores)
    warnings.filterwarnings("ignore")
    ratios = {}
    for model in options.models:
        for batch in options.batches:
            measured = compare(model, batch, options.only, options.repetitions)
            ratios |= {f"{model}/{batch}/{name}": round(ratio, 3) for name, ratio in measured.items()}
            if options.json:
                setting = {"cores": cores, "repetitions": options.repetitions}
                options.json.write_text(json.dumps({"setting": setting, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
