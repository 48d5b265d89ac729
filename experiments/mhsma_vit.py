"""MHSMA, four attributes of 1240 unstained cells at 64 px, official split.

spermjax train mhsma_vit --data.manual-dir DIR

Five minutes on 2 CPU cores that had other work too. ROC AUC on the validation split (n = 240, seed 0, 95 % bootstrap
interval): vacuole .863 [.750, .920], head .742 [.665, .808], acrosome .668 [.583, .744], tail .662 [.425, .817] (eleven
abnormal tails). The configuration was chosen on this split, among some thirty; experiments/RESULTS.md has the story.
"""

from spermjax.config import Augment, Data, Experiment, Interpret, Loss, Model, Optim, Schedule


def experiment() -> Experiment:
    """A vision transformer from scratch on heads that the image itself aligns, seen without their surroundings."""
    return Experiment(
        name="mhsma_vit",
        data=Data(name="mhsma", image_size=48, crop=48, margin=8, align_head=True),
        model=Model(
            stem="conv",
            patch_size=8,
            width=128,
            depth=4,
            heads=4,
            pool="mean",
            positions="sincos",
            stochastic_depth=0.1,
            dropout=0.1,
            normalise="image",
        ),
        optim=Optim(learning_rate=1e-3, weight_decay=0.1, ema=0.995),
        schedule=Schedule(epochs=50, batch_size=25, eval_every=5),
        loss=Loss(mixup=0.2),
        augment=Augment(flip=True, rotate=15.0, scale=0.05, shift=0.03, brightness=0.0, contrast=0.2),
        interpret=Interpret(examples=64),
    )
