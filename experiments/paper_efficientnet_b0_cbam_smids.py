"""SMIDS with EfficientNet-B0, CBAM and Grad-CAM++, frozen then unfrozen, as the attention-guided literature has it.

spermjax train paper_efficientnet_b0_cbam_smids --data.manual-dir DIR --model.weights FILE
spermjax train paper_efficientnet_b0_cbam_smids --data.manual-dir DIR --model.weights FILE --data.split kfold

FILE is timm's `efficientnet_b0` as safetensors. The default split is the literature's, single
images 70/15/15, which lets near-duplicates straddle it; the second line is clean folds.
"""

from spermjax.config import Augment, Data, Experiment, Interpret, Loss, Model, Optim, Schedule


def experiment() -> Experiment:
    """Head and CBAM alone for a third of the steps, then the whole network."""
    return Experiment(
        name="paper_efficientnet_b0_cbam_smids",
        data=Data(name="smids", image_size=128, split="literature"),
        model=Model(name="efficientnet_b0", cbam="last", dropout=0.3, fresh=("head/.*", "cbam/.*")),
        optim=Optim(learning_rate=1e-3, weight_decay=1e-4, freeze=("(?!head/|cbam/).*",), unfreeze_at=0.33),
        schedule=Schedule(epochs=20, batch_size=32, eval_every=4),
        loss=Loss(label_smoothing=0.1, mixup=0.2),
        augment=Augment(flip=True, rotate=180.0, scale=0.1, shift=0.05, brightness=0.1, contrast=0.2),
        interpret=Interpret(methods=("grad_cam_plus_plus",), during_training=(), examples=32, chunk=8),
    )
