"""HuSHeM, four classes of stained heads, one grouped stratified fold of five.

spermjax train hushem_vit --data.manual-dir DIR --data.fold 0

Six minutes on 2 CPU cores that had other work too. Accuracy on fold 0 (n = 35, seed 0): .714 [.549, .837]; 173 of the
216 images were at hand.
"""

from spermjax.config import Augment, Data, Experiment, Interpret, Loss, Model, Optim, Schedule


def experiment() -> Experiment:
    """A small vision transformer from scratch; the set is far too small for more."""
    return Experiment(
        name="hushem_vit",
        data=Data(name="hushem", image_size=64, crop=96, split="kfold", folds=5, fold=0),
        model=Model(stem="conv", patch_size=8, width=96, depth=4, heads=4, positions="sincos", stochastic_depth=0.1),
        optim=Optim(learning_rate=1e-3, weight_decay=0.1, ema=0.99),
        schedule=Schedule(epochs=200, batch_size=32, eval_every=20),
        loss=Loss(label_smoothing=0.1, mixup=0.2),
        augment=Augment(flip=True, rotate=180.0, scale=0.15, shift=0.05, brightness=0.1, contrast=0.2),
        interpret=Interpret(examples=40),
    )
