"""SMIDS with EfficientNet-Lite0 and its ImageNet weights, frozen then unfrozen, on clean folds.

spermjax train smids_lite0 --data.manual-dir DIR --model.weights FILE
spermjax train smids_lite0 --data.manual-dir DIR --model.weights FILE --model.cbam last

FILE is timm's `tf_efficientnet_lite0` as safetensors (float16 or float32): B0 without
squeeze-and-excitation.
"""

from spermjax.config import Augment, Data, Experiment, Interpret, Loss, Model, Optim, Schedule


def experiment() -> Experiment:
    """The recipe of `paper_efficientnet_b0_cbam_smids`, without CBAM unless it is asked for."""
    return Experiment(
        name="smids_lite0",
        data=Data(name="smids", image_size=128, split="kfold", folds=5, fold=0),
        model=Model(name="efficientnet_lite0", dropout=0.3, fresh=("head/.*", "cbam/.*")),
        optim=Optim(learning_rate=1e-3, weight_decay=1e-4, freeze=("(?!head/|cbam/).*",), unfreeze_at=0.33),
        schedule=Schedule(epochs=20, batch_size=32, eval_every=4),
        loss=Loss(label_smoothing=0.1, mixup=0.2),
        augment=Augment(flip=True, rotate=180.0, scale=0.1, shift=0.05, brightness=0.1, contrast=0.2),
        interpret=Interpret(methods=("grad_cam",), during_training=(), examples=32, chunk=8),
    )
