"""MHSMA, four attributes of 1240 unstained cells at 64 px, official split.

spermjax train mhsma_vit --data.manual-dir DIR
"""

from spermjax.config import Augment, Data, Experiment, Interpret, Loss, Model, Optim, Schedule


def experiment() -> Experiment:
    """A vision transformer from scratch with a convolutional stem."""
    return Experiment(
        name="mhsma_vit",
        data=Data(name="mhsma", image_size=64),
        model=Model(
            stem="conv",
            patch_size=8,
            width=128,
            depth=4,
            heads=4,
            positions="sincos",
            stochastic_depth=0.1,
            mean=(0.493, 0.493, 0.493),
            std=(0.05, 0.05, 0.05),
        ),
        optim=Optim(learning_rate=1e-3, weight_decay=0.1, ema=0.99),
        schedule=Schedule(epochs=60, batch_size=64, eval_every=4),
        loss=Loss(label_smoothing=0.0),
        augment=Augment(flip=True, rotate=180.0, scale=0.1, shift=0.05, brightness=0.01, contrast=0.2),
        interpret=Interpret(examples=64),
    )
