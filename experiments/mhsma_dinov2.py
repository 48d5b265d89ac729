"""MHSMA, four attributes at 64 px enlarged to 126, with DINOv2's ViT-S/14, official split.

spermjax probe mhsma_dinov2 --data.manual-dir DIR --model.weights FILE
spermjax train mhsma_dinov2 --data.manual-dir DIR --model.weights FILE

FILE is timm's `vit_small_patch14_dinov2.lvd142m` as safetensors (float16 or float32).
"""

from spermjax.config import Augment, Data, Experiment, Interpret, Loss, Model, Optim, Schedule


def experiment() -> Experiment:
    """Fine-tunes the whole transformer, its first half at a tenth of the learning rate."""
    return Experiment(
        name="mhsma_dinov2",
        data=Data(name="mhsma", image_size=126),
        model=Model(name="dinov2_vits14", pool="class_and_mean", stochastic_depth=0.1),
        optim=Optim(
            learning_rate=1e-4,
            weight_decay=0.05,
            learning_rates=("head/.*=10", "(norm|block_([6-9]|1.))/.*=1", ".*=0.1"),
        ),
        schedule=Schedule(epochs=15, batch_size=32, eval_every=3),
        loss=Loss(class_weights="balanced"),
        augment=Augment(flip=True, rotate=180.0, scale=0.1, shift=0.05, brightness=0.01, contrast=0.2),
        interpret=Interpret(
            methods=("raw_attention", "rollout", "grad_cam", "chefer2021b"),
            metrics=("deletion", "entropy"),  # The standard ones cost hours of a CPU at this size.
            examples=16,
            chunk=4,
        ),
    )
