"""HuSHeM with DINOv2's ViT-S/14: linear probe, then fine-tuning, one grouped stratified fold of five.

spermjax probe hushem_dinov2 --data.manual-dir DIR --model.weights FILE
spermjax train hushem_dinov2 --data.manual-dir DIR --model.weights FILE

FILE is timm's `vit_small_patch14_dinov2.lvd142m` as safetensors (float16 or float32).
"""

from spermjax.config import Augment, Data, Experiment, Interpret, Loss, Model, Optim, Schedule


def experiment() -> Experiment:
    """Fine-tunes the whole transformer, its first half at a tenth of the learning rate."""
    return Experiment(
        name="hushem_dinov2",
        data=Data(name="hushem", image_size=126, crop=96, split="kfold", folds=5, fold=0),
        model=Model(name="dinov2_vits14", pool="class_and_mean", stochastic_depth=0.1),
        optim=Optim(
            learning_rate=1e-4,
            weight_decay=0.05,
            learning_rates=("head/.*=10", "(norm|block_([6-9]|1.))/.*=1", ".*=0.1"),
        ),
        schedule=Schedule(epochs=30, batch_size=16, eval_every=5),
        loss=Loss(label_smoothing=0.1),
        augment=Augment(flip=True, rotate=180.0, scale=0.1, shift=0.05, brightness=0.1, contrast=0.2),
        interpret=Interpret(
            methods=("raw_attention", "rollout", "grad_cam", "chefer2021b"),
            metrics=("deletion", "entropy"),  # The standard ones cost hours of a CPU at this size.
            examples=16,
            chunk=4,
        ),
    )
