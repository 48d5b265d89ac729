"""All that is wrong with an experiment, said at once, before anything runs."""

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from spermjax.config import Experiment, Hosts
from spermjax.data.catalogue import builder_class
from spermjax.data.microscopy import NAMES as CHANGES
from spermjax.errors import ConfigError, nearest
from spermjax.interpret.methods import METHODS
from spermjax.interpret.metrics import METRICS
from spermjax.models.attention import VARIANTS
from spermjax.models.attention.options import parse_options
from spermjax.models.build import MODELS, attention_layers
from spermjax.models.named import CONVOLUTIONAL, SizedModel, contradictions, sized
from spermjax.train.patterns import parse_rates

SHARES = (
    "model.stochastic_depth",
    "model.dropout",
    "optim.ema",
    "optim.unfreeze_at",
    "schedule.warmup",
    "schedule.final_learning_rate",
    "loss.label_smoothing",
    "augment.magnitude",
    "guidance.warmup",
    "guidance.stop",
)
POSITIVE = (
    "data.image_size",
    "data.crop",
    "data.limit",
    "model.patch_size",
    "model.width",
    "model.depth",
    "model.heads",
    "model.mlp_dim",
    "model.layer_scale",
    "optim.learning_rate",
    "optim.clip",
    "optim.accumulate",
    "optim.loss_scale",
    "optim.loss_scale_every",
    "schedule.epochs",
    "schedule.steps",
    "schedule.batch_size",
    "schedule.eval_every",
    "schedule.keep_every",
    "interpret.examples",
    "interpret.chunk",
    "tracking.log_every",
    "checks.spike",
    "parallel.devices",
    "hosts.processes",
    "hosts.start_within",
    "hosts.lost_after",
)
NOT_NEGATIVE = (
    "data.margin",
    "data.fold",
    "data.repeat",
    "model.registers",
    "optim.weight_decay",
    "loss.focal",
    "loss.mixup",
    "loss.cutmix",
    "augment.rotate",
    "augment.scale",
    "augment.shift",
    "augment.brightness",
    "augment.contrast",
    "augment.blur",
    "augment.noise",
    "augment.randaugment",
    "guidance.weight",
    "hosts.process",
    "checks.cool_down",
    "seed",
)


def validate(experiment: Experiment) -> None:
    """Checks an experiment as far as can be done without its data.

    Raises:
        ConfigError: naming every problem, with its option and what is allowed.
    """
    found = problems(experiment)
    if found:
        raise ConfigError(
            f"The experiment {experiment.name!r} can't be run:\n" + "\n".join(f"  - {line}" for line in found)
        )


def problems(experiment: Experiment) -> list[str]:
    """What `validate` would say, a line each."""
    return [*_choices(experiment, ""), *_ranges(experiment), *_names(experiment), *_relations(experiment)]


def _option(path: str) -> str:
    return "--" + path.replace("_", "-")


def _at(experiment: Experiment, path: str) -> Any:
    value: Any = experiment
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _choices(node: Any, path: str) -> Iterable[str]:
    for name, annotation in get_type_hints(type(node)).items():
        value, here = getattr(node, name), f"{path}.{name}" if path else name
        if dataclasses.is_dataclass(value):
            yield from _choices(value, here)
            continue
        literals = [part for part in (annotation, *get_args(annotation)) if get_origin(part) is Literal]
        choices = [choice for literal in literals for choice in get_args(literal)]
        if literals and value not in choices and not (value is None and type(None) in get_args(annotation)):
            yield f"{_option(here)} is {value!r}; choose from {', '.join(map(str, choices))}"


def _ranges(experiment: Experiment) -> Iterable[str]:
    for paths, allowed, holds in (
        (SHARES, "a share from 0 to 1", lambda value: 0 <= value <= 1),
        (POSITIVE, "above 0", lambda value: value > 0),
        (NOT_NEGATIVE, "0 or more", lambda value: value >= 0),
    ):
        for path in paths:
            value = _at(experiment, path)
            if value is not None and not holds(value):
                yield f"{_option(path)} is {value}; it must be {allowed}"


def _names(experiment: Experiment) -> Iterable[str]:
    try:
        builder_class(experiment.data.name)
    except ConfigError as error:
        yield f"--data.name: {error}"
    interpret = experiment.interpret
    for option, wanted, known in (
        ("--model.name", (experiment.model.name,), MODELS),
        ("--model.attention", (experiment.model.attention,), VARIANTS),
        ("--interpret.methods", interpret.methods, METHODS),
        ("--interpret.during-training", interpret.during_training, METHODS),
        ("--interpret.metrics", interpret.metrics, METRICS),
    ):
        for name in wanted:
            if name not in known:
                yield f"{option} names {name!r}. {nearest(name, known)}"
    for option, name in (("--name", experiment.name), ("--tracking.run-id", experiment.tracking.run_id)):
        if name is not None and (not name or "/" in name or name.startswith(".")):
            yield f"{option} is {name!r}; it names a folder, so it can't be empty, hold a slash or start with a dot"


def _attention_options(model: SizedModel) -> Iterable[str]:
    options, problems = parse_options(model.attention, model.attention_options)
    if model.heads > 0:
        problems += VARIANTS[model.attention].problems(model.width // model.heads, options)
    for problem in problems:
        yield f"--model.attention-options: {problem}"
    if VARIANTS[model.attention].readout and model.pool != "class_token":
        yield (
            f"--model.pool is {model.pool!r}, but --model.attention {model.attention} reads the logits from tokens of "
            "its own; leave --model.pool class_token"
        )


def _hosts(hosts: Hosts) -> Iterable[str]:
    meeting = {f"--hosts.{name}": getattr(hosts, name) for name in ("coordinator", "processes", "process")}
    lacking = [option for option, value in meeting.items() if value is None]
    if hosts.cluster == "none" and 0 < len(lacking) < len(meeting):
        yield f"{' and '.join(lacking)} missing; give all of {', '.join(meeting)}, or --hosts.cluster auto"
    if hosts.process is not None and hosts.processes is not None and hosts.process >= hosts.processes > 0:
        yield (
            f"--hosts.process is {hosts.process}; with --hosts.processes {hosts.processes} it runs from 0 to "
            f"{hosts.processes - 1}"
        )
    if hosts.coordinator is not None and not re.fullmatch(r"\S+:\d{1,5}", hosts.coordinator):
        yield f"--hosts.coordinator is {hosts.coordinator!r}; it must be HOST:PORT, as 10.0.0.1:1234"


def _relations(experiment: Experiment) -> Iterable[str]:
    yield from _hosts(experiment.hosts)
    data, model, guidance, optim = experiment.data, sized(experiment.model), experiment.guidance, experiment.optim
    transformer = model.name not in CONVOLUTIONAL
    for name, size in contradictions(model).items():
        yield (
            f"{_option(f'model.{name}')} is {getattr(model, name)}, but {model.name} has {size}; "
            f"leave it out (or {_option(f'model.{name}')} None), or choose --model.name vit for sizes of your own"
        )
    if model.cbam != "none" and transformer:
        yield f"--model.cbam is {model.cbam}, but {model.name} has no feature maps; choose {', '.join(CONVOLUTIONAL)}"
    if model.stochastic_depth > 0 and model.name == "simple_cnn":
        yield f"--model.stochastic-depth is {model.stochastic_depth}, but simple_cnn has no branches to skip"
    if guidance.weight > 0 and not transformer:
        yield f"--guidance.weight is {guidance.weight}, but {model.name} has no attention between patches to guide"
    if transformer and model.patch_size > 0 and data.image_size % model.patch_size:
        yield (
            f"--model.patch-size {model.patch_size} doesn't divide --data.image-size {data.image_size}; "
            f"the nearest sizes are {data.image_size // model.patch_size * model.patch_size or model.patch_size} "
            f"and {(data.image_size // model.patch_size + 1) * model.patch_size}"
        )
    if transformer and model.heads > 0 and model.width % model.heads:
        yield f"--model.heads {model.heads} doesn't divide --model.width {model.width}"
    if model.attention in VARIANTS:
        yield from _attention_options(model)
    if model.positions == "sincos" and model.width % 4:
        yield f"--model.width is {model.width}; sincos positions ask for a multiple of 4"
    if experiment.augment.randaugment > len(CHANGES):
        count = experiment.augment.randaugment
        yield f"--augment.randaugment is {count}; there are {len(CHANGES)}: {', '.join(CHANGES)}"
    if not 0 <= experiment.loss.effective_beta < 1:
        yield f"--loss.effective-beta is {experiment.loss.effective_beta}; it must be 0 or more and below 1"
    if min(model.std) <= 0:
        yield f"--model.std is {model.std}; each value must be above 0"
    if data.margin > 0 and data.crop is None:
        yield f"--data.margin is {data.margin}, but without --data.crop nothing of an image lies outside; set the crop"
    elif data.margin > 0 and data.image_size > 0 and data.margin * (data.crop or 0) % data.image_size:
        step = data.image_size // math.gcd(data.crop or 0, data.image_size)
        yield (
            f"--data.margin is {data.margin}; it must be whole source pixels: a multiple of {step} "
            f"with --data.crop {data.crop} and --data.image-size {data.image_size}"
        )
    size = experiment.schedule.batch_size
    if optim.accumulate > 0 and size % optim.accumulate:
        yield f"--optim.accumulate {optim.accumulate} doesn't divide --schedule.batch-size {size}"
    if optim.loss_scale > 0 and math.frexp(optim.loss_scale)[0] != 0.5:
        yield f"--optim.loss-scale is {optim.loss_scale}; it must be a power of two, so that scaling rounds nothing"
    if optim.unfreeze_at is not None and not optim.freeze:
        yield f"--optim.unfreeze-at is {optim.unfreeze_at}, but --optim.freeze names nothing to unfreeze"
    for option, patterns in (("--model.fresh", model.fresh), ("--optim.freeze", optim.freeze)):
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                yield f"{option} {pattern!r} is no regular expression: {error}"
    try:
        parse_rates(optim.learning_rates)
    except ConfigError as error:
        yield str(error)
    if data.folds < 2:
        yield f"--data.folds is {data.folds}; it must be 2 or more"
    else:
        numbered = {"--data.inner-fold": data.inner_fold}
        if data.split != "leave_one_group_out":
            numbered["--data.fold"] = data.fold
        for option, fold in numbered.items():
            if fold is not None and not 0 <= fold < data.folds:
                yield f"{option} is {fold}; with --data.folds {data.folds} it runs from 0 to {data.folds - 1}"
    if data.inner_fold is not None and data.split in ("official", "literature", "literature_grouped"):
        yield (
            f"--data.inner-fold is given, but --data.split {data.split} has a validation split of its own; "
            "choose kfold, holdout or leave_one_group_out"
        )
    if guidance.weight > 0:
        if guidance.source == "part_query" != model.attention:
            yield (
                f"--guidance.source is part_query, but --model.attention {model.attention} has no part queries; "
                "choose --model.attention part_query"
            )
        layers = attention_layers(model) if model.attention in VARIANTS else model.depth
        for layer in guidance.layers:
            if not -layers <= layer < layers:
                yield f"--guidance.layers names {layer}; the model has {layers}, from 0 to {layers - 1}"
            elif layers > model.depth > layer % layers and guidance.source == "class_attention":
                yield (
                    f"--guidance.layers names {layer}, but in this model only layers {model.depth} to {layers - 1} "
                    "read the class; name one of them, or -1"
                )
        for head in guidance.heads:
            if not 0 <= head < model.heads:
                yield f"--guidance.heads names {head}; the model has {model.heads}, from 0 to {model.heads - 1}"
        if not guidance.layers:
            yield "--guidance.layers is empty; name at least one layer, such as -1"
    if not experiment.interpret.methods:
        yield "--interpret.methods is empty; name at least one method"
