"""A run folder made of drawn cells and random scores, in the form that training leaves."""

import json

import numpy as np
import pytest

from spermjax.config import Experiment
from spermjax.data.task import Task
from spermjax.evaluate import score
from spermjax.parts import PARTS, pack

CLASSES = Task("single_label", ("normal", "head_defect", "vacuolated", "tail_defect"), {"vacuolated": ("vacuole",)})
ATTRIBUTES = Task("multi_attribute", ("acrosome", "head", "vacuole", "tail"))
METHODS = ("raw_attention", "rollout", "grad_cam", "integrated_gradients")


def draw_cell(rng, side=64):
    """A stained cell with exact masks."""
    y, x = np.mgrid[:side, :side] / side
    angle = rng.uniform(-0.5, 0.5)
    u = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.35)
    v = -np.sin(angle) * (x - 0.5) + np.cos(angle) * (y - 0.35)
    head = (u / 0.13) ** 2 + (v / rng.uniform(0.17, 0.22)) ** 2 < 1
    parts = np.zeros((side, side, len(PARTS)), bool)
    parts[..., PARTS.index("acrosome")] = head & (v < -0.02)
    parts[..., PARTS.index("nucleus")] = head & (v >= -0.02)
    parts[..., PARTS.index("vacuole")] = (u - 0.03) ** 2 + (v + 0.08) ** 2 < 0.03**2
    parts[..., PARTS.index("midpiece")] = (abs(u) < 0.025) & (v > 0.2) & (v < 0.34)
    parts[..., PARTS.index("tail")] = (abs(u - 0.04 * np.sin(14 * v)) < 0.012) & (v >= 0.34)
    shade = np.array([[0.62, 0.5, 0.72], [0.38, 0.26, 0.6], [0.8, 0.74, 0.86], [0.45, 0.4, 0.65], [0.5, 0.47, 0.7]])
    image = np.full((side, side, 3), 0.88) + rng.normal(0, 0.015, (side, side, 1))
    for part in range(5):
        image[parts[..., part]] = shade[part] + rng.normal(0, 0.02, (parts[..., part].sum(), 1))
    return np.clip(image * 255, 0, 255).astype(np.uint8), parts


def make_run(run, task, *, with_parts=True, examples=12, seed=0):
    """Writes config, environment, data, metrics, evaluation and explanations."""
    rng = np.random.default_rng(seed)
    single = task.kind == "single_label"
    for folder in ("evaluation", "explanations/validation"):
        (run / folder).mkdir(parents=True)
    experiment = Experiment(name="phantom_quickstart" if single else "mhsma_vit").to_dict()
    dump(run / "config.json", experiment)
    dump(
        run / "environment.json",
        {
            "command": "spermjax train phantom_quickstart",
            "python": "3.11.7",
            "devices": "1 cpu",
            "versions": {"jax": "0.10.2"},
        },
    )
    n = 240
    label = rng.integers(0, 4, n) if single else (rng.random((n, 4)) < [0.3, 0.27, 0.17, 0.05]).astype(int)
    logits = rng.normal(size=(n, 4)) + (3 * np.eye(4)[label] if single else 3 * label - 1.5)
    names = task.names if single else [f"{name}/{side}" for name in task.names for side in ("normal", "abnormal")]
    about = {"n": n, "counts": {name: int(rng.integers(20, 80)) for name in names}, "groups": 60}
    dump(
        run / "data.json",
        {
            "name": "sperm_phantom" if single else "mhsma",
            "fingerprint": "5d41402abc4b2a76b9719d911017c592",
            "protocol": "official split",
            "licence": "CC BY 4.0",
            "citation": "Javadi & Mirroshandel 2019",
            "task": task.to_dict(),
            "splits": {"train": about | {"n": 1000}, "validation": about},
        },
    )
    scores = score(task, logits, label, np.arange(n) // 4).to_dict()
    about_scores = {"checkpoint_step": 640, "seed": 0, "command": "spermjax evaluate", "protocol": "official split"}
    dump(run / "evaluation/validation.json", scores | about_scores | {"fingerprint": "5d41"})
    write_metrics(run / "metrics.jsonl", task, rng)
    write_explanations(run / "explanations/validation", task, logits, label, with_parts, examples, rng)
    return run


def dump(path, value):
    path.write_text(json.dumps(value, default=str))


def write_metrics(path, task, rng):
    with path.open("w") as file:
        for epoch in range(20):
            learnt = 1 - np.exp(-epoch / 5)
            line = {"step": 32 * epoch, "epoch": epoch, "time": 1e9, "train/loss": 1.4 - learnt + 0.03 * rng.normal()}
            line |= {"validation/log_loss": 1.4 - 0.9 * learnt, "train/learning_rate": 1e-3}
            if task.kind == "single_label":
                line |= {f"validation/{m}": 0.25 + 0.6 * learnt - d for m, d in (("accuracy", 0), ("macro_f1", 0.04))}
            else:
                line |= {"validation/auroc": 0.5 + 0.3 * learnt}
                line |= {f"validation/auroc/{name}": 0.5 + 0.3 * learnt * rng.uniform(0.8, 1) for name in task.names}
            for method in ("raw_attention", "rollout"):
                line[f"interpret/{method}/relevance_mass"] = 0.1 + 0.3 * learnt * rng.uniform(0.8, 1)
                line[f"interpret/{method}/region_mass/nucleus"] = 0.1 + 0.1 * learnt
            line["interpret/attention/entropy"] = 3 - learnt
            file.write(json.dumps(line) + "\n")


def write_explanations(folder, task, logits, label, with_parts, n, rng):
    single = task.kind == "single_label"
    cells = [draw_cell(rng) for _ in range(n)]
    parts = np.stack([masks for _, masks in cells])
    predicted = logits.argmax(1) if single else (logits > 0).astype(int)
    target = predicted[:n] if single else logits[:n].argmax(1)
    y, x = np.mgrid[:64, :64] / 64
    blob = np.exp(-((x - 0.5) ** 2 + (y - 0.35) ** 2) / 0.03)
    maps = {
        f"maps/{method}": (
            blob + k / 8 * parts[..., 2] + (0.3 if k < 3 else 0.9) * rng.normal(size=(n, 64, 64)) * blob
        ).astype(np.float16)
        for k, method in enumerate(METHODS)
    }
    np.savez(
        folder / "examples.npz",
        image=np.stack([image for image, _ in cells]),
        parts=pack(parts) if with_parts else np.zeros((n, 64, 64), np.uint8),
        has_parts=np.full(n, with_parts),
        id=np.array([f"cell_{i:04d}.png" for i in range(n)]),
        label=label[:n],
        predicted=predicted[:n],
        target=target,
        probability=1 / (1 + np.exp(-np.take_along_axis(logits[:n], target[:, None], 1)[:, 0])),
        **maps,
    )
    rows = []
    for k, method in enumerate((*METHODS, "centre_gaussian", "uniform")):
        located = (("relevance_mass", "higher"), ("pointing_game", "higher"), ("region_mass/nucleus", None))
        for metric, better in (*(located if with_parts else ()), ("deletion", "lower"), ("gini", None)):
            value = 0.2 + 0.08 * (4 - k) + 0.02 * rng.normal()
            row = {"method": method, "metric": metric, "value": value, "low": value - 0.04, "high": value + 0.05}
            rows.append(row | {"n": n - k, "better": better})
    rows.append(
        {"method": "attention", "metric": "entropy", "value": None, "low": None, "high": None, "n": 0, "better": None}
    )
    dump(folder / "summary.json", {"n": n, "rows": rows})


@pytest.fixture(scope="session")
def single_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "phantom_quickstart" / "2026-05-01-seed-0", CLASSES)


@pytest.fixture(scope="session")
def attribute_run(tmp_path_factory):
    """Without part masks."""
    return make_run(tmp_path_factory.mktemp("runs") / "mhsma_vit" / "2026-05-01-seed-0", ATTRIBUTES, with_parts=False)
