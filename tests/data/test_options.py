"""What can't be asked of a data set is refused before anything is read, with the remedy."""

import pytest

from spermjax.config import Augment, Data, Experiment, Loss
from spermjax.errors import ConfigError
from spermjax.validation import validate


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Data(margin=8), "set the crop"),
        (Data(margin=-1), r"--data.margin is -1; it must be 0 or more"),
        (Data(crop=48, image_size=96, margin=3), "a multiple of 2 with --data.crop 48 and --data.image-size 96"),
        (Data(split="kfold", inner_fold=5), "--data.inner-fold is 5; with --data.folds 5 it runs from 0 to 4"),
        (Data(split="official", inner_fold=0), "official has a validation split of its own"),
        (Data(split="leave_one_group_out", fold=-1), "--data.fold is -1"),
        (Data(repeat=-1), "--data.repeat is -1"),
        (Data(crop=50, image_size=64, margin=8), "a multiple of 32"),
    ],
)
def test_refused(data, words):
    with pytest.raises(ConfigError, match=words):
        validate(Experiment(data=data))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": Augment(randaugment=6)}, "there are 5: stain, debris"),
        ({"augment": Augment(magnitude=1.5)}, "--augment.magnitude is 1.5; it must be a share"),
        ({"loss": Loss(focal=-1.0)}, "--loss.focal is -1.0"),
        ({"loss": Loss(effective_beta=1.0)}, "--loss.effective-beta is 1.0; it must be 0 or more and below 1"),
    ],
)
def test_refused_of_losses_and_augmentation(changes, words):
    with pytest.raises(ConfigError, match=words):
        validate(Experiment(**changes))


@pytest.mark.parametrize(
    "data",
    [
        Data(crop=48, image_size=48, margin=8),
        Data(crop=48, image_size=96, margin=16),
        Data(split="leave_one_group_out", fold=100, inner_fold=4),
    ],
)
def test_allowed(data):
    validate(Experiment(data=data))
