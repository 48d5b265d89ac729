"""The typed tree of an experiment: what is run is exactly what stands here.

An experiment is a Python module with `def experiment() -> Experiment`; the command
line overrides single fields by dotted path (`--model.depth 6`). The tree is checked
once, at start, with all problems named together, and stored with each run.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from spermjax.errors import ConfigError

Stem = Literal["patch", "conv", "cct", "shifted"]
Positions = Literal["learned", "sincos", "none"]
Mode = Literal["pmap", "jit", "fsdp"]


@dataclasses.dataclass(frozen=True)
class Data:
    """Which cells, and how they are brought to one size."""

    name: str = "sperm_phantom"
    """Data set, or `set/configuration` (see `spermjax data --help`)."""
    manual_dir: Path | None = None
    """Folder that holds the unpacked public archive; not needed for `sperm_phantom`, nor once the set is prepared."""
    data_dir: Path | None = None
    """Where prepared sets live (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""
    image_size: int = 64
    """Side in pixels of the square that the model sees."""
    crop: int | None = None
    """Side in source pixels of the central square that is kept before resizing (default: all)."""
    margin: int = 0
    """Pixels kept on each side beyond `image_size` in training, so that a turned or shifted cell shows what lies there,
    not streaks of its edge. Taken from the source outside `crop`; evaluation sees the central square alone."""
    align_head: bool = False
    """Rotate each cell so that its head points up: by its part masks, or, without any, as the image suggests."""
    split: Literal["official", "holdout", "kfold", "leave_one_group_out", "literature", "literature_grouped"] = (
        "official"
    )
    """How examples are divided (see docs/splits.md). `literature` draws single images at random, 70/15/15, and leaks:
    it is there to measure by how much against `literature_grouped`, which keeps groups whole."""
    folds: int = 5
    """Number of folds for `--data.split kfold`; `holdout` keeps one part in `folds` for validation."""
    fold: int = 0
    """Which fold, or which group of `leave_one_group_out` in the order of their names, is held out."""
    inner_fold: int | None = None
    """Nested validation: what is held out becomes the test split, and this one of `folds` inner folds of the rest is
    the validation split."""
    repeat: int = 0
    """Which repetition of the division; each is another one, for repeated k-fold."""
    groups: Path | None = None
    """CSV file with columns `id` and `group` (`spermjax data check` writes it) that takes the place of the data set's
    own groups, so that no split divides duplicates."""
    split_seed: int = 0
    """Seed of the division; kept apart from the training seed so that seeds compare on the same split."""
    limit: int | None = None
    """Use only this many training examples (a data-fraction study, or a quick look)."""
    randomise_labels: bool = False
    """Train on labels that are permuted among the training examples, by `split_seed`: the label randomisation test of
    explanations (see docs/metrics.md). Validation and test labels stay as they are."""
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    """Order of training: every example once an epoch, or every class (or side of an attribute) equally often; the
    latter does already what class weights would."""
    feed: Literal["auto", "device", "stream"] = "auto"
    """How training examples reach a step: kept whole on every device, or streamed; `auto` keeps those that fit."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A vision transformer."""

    name: str = "vit"
    """Architecture (see `spermjax models`). One with sizes in its name, as `vit_s_16`, has these; sizes given beside it
    are an error."""
    weights: str | None = None
    """Pretrained weights to start from: a .safetensors or .npz file, or its address with its checksum,
    `https://HOST/FILE#sha256=HEX`."""
    fresh: tuple[str, ...] = ("head/.*",)
    """Parameters that start afresh, not from the weights: regular expressions of their whole paths."""
    patch_size: int | None = None
    """Side of a patch in pixels (default: as the name has it, else 8)."""
    width: int | None = None
    """Channels of a token (default: as the name has it, else 128)."""
    depth: int | None = None
    """Number of blocks (default: as the name has it, else 6)."""
    heads: int | None = None
    """Attention heads; must divide the width (default: as the name has it, else 4)."""
    mlp_dim: int | None = None
    """Hidden channels of the MLP (default: four times the width)."""
    stem: Stem | None = None
    """How pixels become tokens: one linear map per patch (the default), a small stack of convolutions, convolutions
    with pooling (Hassani et al. 2021), or one linear map of a patch with its shifted copies (Lee et al. 2021)."""
    pool: Literal["class_token", "mean", "class_and_mean", "sequence"] = "class_token"
    """What the logits are read from: the class token, the mean over patches, both side by side, or that mean under
    learned weights (Hassani et al. 2021). Attention `class_attention` and `part_query` bring tokens of their own."""
    positions: Positions | None = None
    """Position embedding (default: learned); `none` for variants of attention that know where patches lie."""
    registers: int | None = None
    """Register tokens besides the class token (Darcet et al. 2024; default: none)."""
    attention: str = "softmax"
    """Attention variant (see `spermjax models`)."""
    attention_options: tuple[str, ...] = ()
    """Options of the variant, as `window=4 shift=false`."""
    fused: Literal["auto", "always", "never"] = "auto"
    """Fused attention where a variant allows it and attention isn't captured; `auto` is on accelerators."""
    scan: bool = False
    """Compile one block and loop over it: a deep model compiles faster. Parameters keep their names."""
    remat: bool = False
    """Compute a block's inner values again in the backward pass: less memory, more time."""
    cbam: Literal["none", "last", "blocks"] = "none"
    """Convolutional block attention of a convolutional network: on its last feature map, or in every block."""
    layer_scale: float | None = None
    """Initial value of LayerScale (Touvron et al. 2021), or none."""
    stochastic_depth: float = 0.0
    """Probability that the last block is skipped, growing linearly from zero at the first."""
    dropout: float = 0.0
    """Dropout after the MLP's and the attention's projections."""
    normalise: Literal["colour", "image"] = "colour"
    """What intensities are brought to zero mean and unit size by: `mean` and `std` below, or each image's own, which
    takes out what light and focus do to unstained cells."""
    mean: tuple[float, float, float] | None = None
    """Mean of each colour over the training images, in [0, 1]; the model subtracts it (default: that of the
    architecture's published weights, else 0.5)."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of each colour; the model divides by it (default: that of the architecture's published
    weights, else 0.25). Unstained cells have little contrast: set it."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Computation type; parameters stay float32. In float16 the loss is scaled (`--optim.loss-scale`)."""


@dataclasses.dataclass(frozen=True)
class Optim:
    """AdamW (Loshchilov & Hutter 2019)."""

    learning_rate: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """Decoupled weight decay; kernels only."""
    beta1: float = 0.9
    beta2: float = 0.999
    clip: float | None = 1.0
    """Largest global gradient norm, or none."""
    ema: float = 0.0
    """Decay of the average of the parameters that is evaluated; 0 evaluates the parameters themselves."""
    accumulate: int = 1
    """Parts that each device takes its share of a batch in, one after another: the memory of one part, the gradients of
    the whole batch. Batch statistics of a convolutional network are those of a part."""
    loss_scale: float = 2.0**15
    """Factor of the loss at the start in float16; halved when a gradient overflows, and that step is skipped."""
    loss_scale_every: int = 2000
    """Steps without overflow after which the factor doubles."""
    freeze: tuple[str, ...] = ()
    """Parameters that are not trained: regular expressions of their whole paths. `(?!head/).*` leaves the head."""
    unfreeze_at: float | None = None
    """Share of the steps after which they are trained after all, or none for never."""
    learning_rates: tuple[str, ...] = ()
    """Multipliers of the learning rate, as `block_[0-5]/.*=0.1 .*=1`: the first pattern that matches a whole path
    counts, and every parameter must be matched by one."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Length of training and shape of the learning rate."""

    epochs: Annotated[float, tyro.conf.arg(aliases=["--epochs"])] = 20
    """Passes over the training split."""
    steps: Annotated[int | None, tyro.conf.arg(aliases=["--steps"])] = None
    """Optimiser steps; overrides `epochs`."""
    batch_size: int = 64
    """Examples in a step, over all devices."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises linearly."""
    final_learning_rate: float = 0.0
    """Share of the peak learning rate that the cosine ends at."""
    eval_every: float = 1
    """Epochs between evaluations on the validation split; each also saves a checkpoint; the two latest and the
    best stay."""
    keep_every: int | None = None
    """Steps between checkpoints that are kept for good, beside the two latest and the best."""


@dataclasses.dataclass(frozen=True)
class Loss:
    """What is minimised, besides guidance."""

    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes (Szegedy et al. 2016)."""
    class_weights: Literal["none", "balanced", "effective"] = "none"
    """`balanced` weighs each class (or each side of an attribute) by its inverse frequency in the training split,
    `effective` by the inverse of its effective number of examples (Cui et al. 2019), which is between that and none."""
    effective_beta: float = 0.999
    """Beta of the effective number: towards 0 all weights are one, towards 1 they are balanced."""
    focal: float = 0.0
    """Gamma of the focal loss (Lin et al. 2017), or 0 for cross-entropy."""
    mixup: float = 0.0
    """Alpha of MixUp (Zhang et al. 2018), or 0 for none."""
    cutmix: float = 0.0
    """Alpha of CutMix (Yun et al. 2019), or 0 for none; with MixUp, each pair of neighbours gets one of the two."""


@dataclasses.dataclass(frozen=True)
class Augment:
    """Random changes of image and part masks together, on the device, in training only."""

    flip: bool = True
    """Mirror left to right."""
    flip_vertical: bool = False
    """Mirror top to bottom."""
    rotate: float = 180.0
    """Largest rotation either way, in degrees."""
    scale: float = 0.1
    """Largest relative change of size."""
    shift: float = 0.05
    """Largest shift, as a share of the side."""
    brightness: float = 0.1
    """Largest change of intensity."""
    contrast: float = 0.2
    """Largest relative change of contrast."""
    blur: float = 0.0
    """Largest standard deviation of a Gaussian blur, in pixels."""
    noise: float = 0.0
    """Largest standard deviation of additive Gaussian noise."""
    randaugment: int = 0
    """How many of the microscope's own changes (stain, debris, illumination, defocus, JPEG) each image meets
    (RandAugment, Cubuk et al. 2020)."""
    magnitude: float = 0.5
    """Strength of the strongest of these changes, as a share of the largest there is."""


@dataclasses.dataclass(frozen=True)
class Guidance:
    """A loss that asks attention to lie on the parts that decide."""

    weight: float = 0.0
    """Weight against the classification loss; 0 switches guidance off."""
    source: Literal["class_attention", "rollout", "part_query"] = "class_attention"
    """The map that is guided: toward the deciding parts, or, with `part_query`, of each query toward its own part."""
    loss: Literal[
        "outside_mass",
        "log_inside_mass",
        "kl",
        "untouched_mass",
        "reverse_kl",
        "cross_entropy",
        "mse",
        "cosine",
        "scaled_mse",
        "scaled_bce",
        "dice",
    ] = "log_inside_mass"
    """How distance from the parts is measured (see docs/guidance.md)."""
    layers: tuple[int, ...] = (-1,)
    """Layers whose class attention is guided; negative counts from the last."""
    heads: tuple[int, ...] = ()
    """Heads that are guided; empty for all."""
    parts: tuple[str, ...] = ()
    """Parts by class or attribute, as `vacuolated=vacuole head_defect=acrosome+nucleus`; empty: the data set's own."""
    warmup: float = 0.0
    """Share of the steps in which the weight rises linearly."""
    stop: float = 1.0
    """Share of the steps after which guidance ends."""


@dataclasses.dataclass(frozen=True)
class Interpret:
    """Explanations at evaluation."""

    methods: tuple[str, ...] = (
        "raw_attention",
        "rollout",
        "grad_cam",
        "chefer2021b",
        "integrated_gradients",
        "part_shapley",
    )
    """Explanation methods for the final explanations."""
    metrics: tuple[str, ...] = ()
    """Metrics for the final explanations; empty for all that apply."""
    during_training: tuple[str, ...] = ("raw_attention", "rollout")
    """Methods that are measured at every evaluation while training."""
    examples: int = 64
    """Validation examples that are explained."""
    chunk: int = 16
    """Images in one forward pass, and the most examples at once, on each device: bounds the memory."""


@dataclasses.dataclass(frozen=True)
class Tracking:
    """Where results go. `metrics.jsonl` in the run folder is always written and is the truth."""

    runs: Path = Path("runs")
    """Folder of all runs."""
    run_id: str | None = None
    """Name of this run's folder (default: time and seed). A run of this name that exists is continued."""
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """Weights & Biases; `auto` is online with a key and offline without."""
    project: str = "spermjax"
    """Weights & Biases project."""
    tags: tuple[str, ...] = ()
    tensorboard: bool = False
    """Also write TensorBoard's event files into the run folder (`pip install 'spermjax[tensorboard]'`)."""
    log_every: int = 20
    """Steps between two lines of training metrics."""


@dataclasses.dataclass(frozen=True)
class Checks:
    """What is watched while a model trains. A loss that is not finite ends training, unless such steps are skipped."""

    on_spike: Literal["off", "warn", "stop", "skip"] = "off"
    """What follows a loss far above those before it: nothing is looked for, a warning, the end of training, or the step
    is left out (also one that is not finite) and the learning rate is a tenth for `cool_down` steps."""
    spike: float = 10.0
    """How far: in deviations from the median of the last 64 losses (see `spermjax.train.spikes`)."""
    cool_down: int = 50
    """Steps of lowered learning rate after one that was left out."""
    attention: bool = True
    """Count dead and collapsed heads at each evaluation: one forward pass of `interpret.examples`."""


@dataclasses.dataclass(frozen=True)
class Parallel:
    """How a step is spread over devices."""

    mode: Mode = "pmap"
    """`pmap`, or the same step under `jit` over a mesh: `jit` with the state whole on every device, `fsdp` with
    parameters and optimiser state in slices, for models that don't fit one (see docs/scaling.md)."""
    devices: int | None = None
    """Number of devices of each process (default: the most that divide the batch; of one or two cores of a CPU, one
    for training, which uses both)."""


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Several processes as one run (see docs/scaling.md). Not stored with it: it goes on under any number of them."""

    cluster: Literal["none", "auto"] = "none"
    """`auto` finds the processes under Slurm, Kubernetes and Open MPI and on TPU pods; elsewhere give each the three
    options that follow."""
    coordinator: str | None = None
    """Where process 0 listens, as `10.0.0.1:1234`."""
    processes: int | None = None
    """How many processes there are."""
    process: int | None = None
    """Number of this one, from 0."""
    start_within: float = 300.0
    """Seconds in which all processes must have come."""
    lost_after: float = 60.0
    """Seconds of silence after which a process counts as lost, and the others end."""

    @property
    def several(self) -> bool:
        """Whether this process is to be one of several."""
        return self.cluster == "auto" or self.coordinator is not None


@dataclasses.dataclass(frozen=True)
class Experiment:
    """All that determines a run."""

    name: str = "unnamed"
    """Folder under `tracking.runs`."""
    data: Data = Data()
    model: Model = Model()
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    loss: Loss = Loss()
    augment: Augment = Augment()
    guidance: Guidance = Guidance()
    interpret: Interpret = Interpret()
    tracking: Tracking = Tracking()
    parallel: Parallel = Parallel()
    hosts: Hosts = Hosts()
    checks: Checks = Checks()
    seed: int = 0
    """Seed of initialisation, order, augmentation and dropout."""
    deterministic: bool = False
    """The same numbers bit for bit on the same devices, at some cost of speed on GPUs; CPUs and TPUs give them anyway.
    Such a run is resumed only where devices and versions are those that it was started with."""

    def to_dict(self) -> dict[str, Any]:
        """The tree as JSON-able values; `from_dict` is the inverse."""
        return json.loads(_converter().dumps(self))

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Experiment":
        """The tree from what `to_dict` gave.

        Raises:
            ConfigError: a field is unknown or of another type.
        """
        import cattrs

        if not isinstance(value, dict):
            raise ConfigError(f"The stored configuration can't be read: {str(value)[:40]!r} is no table of fields.")
        try:
            return _converter().structure(value, cls)
        except cattrs.BaseValidationError as error:
            problems = "\n  ".join(cattrs.transform_error(error, path="experiment"))
            raise ConfigError(f"The stored configuration can't be read:\n  {problems}") from None


@functools.cache
def _converter():
    from cattrs.preconf.json import make_converter

    return make_converter(forbid_extra_keys=True)
