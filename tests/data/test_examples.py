"""A set in memory: each image with its own label, whatever the division."""

import dataclasses
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from spermjax import config
from spermjax.data.catalogue import builder_class
from spermjax.data.examples import load, load_undivided, read_images
from spermjax.data.prepare import prepare
from spermjax.errors import ConfigError, DataError


def dummy(name, data_dir, **fields):
    cls, _ = builder_class(name)
    return config.Data(name=name, manual_dir=cls.root(None) / "dummy_data", data_dir=data_dir, **fields)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def test_official_split_holds_the_published_arrays(data_dir):
    """The `.npy` files are the witness."""
    data = dummy("mhsma", data_dir, image_size=64)
    dataset = load(data, progress=False)
    assert dataset.task.kind == "multi_attribute" and dataset.task.names == ("acrosome", "head", "vacuole", "tail")
    assert dataset.task.deciding_parts["head"] == ("acrosome", "nucleus")
    for split, suffix in (("train", "train"), ("validation", "valid"), ("test", "test")):
        examples, source = dataset.splits[split], data.manual_dir / "mhsma"
        np.testing.assert_array_equal(examples.image[..., 1], np.load(source / f"x_64_{suffix}.npy"))
        for column, name in enumerate(dataset.task.names):
            np.testing.assert_array_equal(examples.label[:, column], np.load(source / f"y_{name}_{suffix}.npy"))
        assert not examples.has_parts.any() and not examples.parts.any()
    assert dataset.protocol == "official split of mhsma: train 4, validation 3, test 2"
    assert "CC BY-NC-SA" in dataset.licence and "Javadi" in dataset.citation


def test_full_set_has_no_official_split(data_dir):
    with pytest.raises(ConfigError, match=r"--data.split kfold"):
        load(dummy("hushem", data_dir), progress=False)


def test_folds_cover_the_set_once_and_keep_duplicates_together(data_dir):
    seen = []
    for fold in range(3):
        dataset = load(dummy("hushem", data_dir, split="kfold", folds=3, fold=fold, image_size=32), progress=False)
        train, validation = dataset.splits["train"], dataset.splits["validation"]
        assert set(dataset.splits) == {"train", "validation"} and not set(train.group) & set(validation.group)
        assert f"fold {fold} of 3" in dataset.protocol and f"validation {len(validation)}" in dataset.protocol
        for examples in (train, validation):
            folders = [dataset.task.names[label] for label in examples.label]
            assert all(name in identity.lower() for name, identity in zip(folders, examples.id, strict=True))
            assert examples.image.shape == (len(examples), 32, 32, 3)
        seen += validation.id
    assert len(seen) == len(set(seen)) == 12


def grouped(path, data_dir, group_of) -> config.Data:
    """HuSHeM's dummy data with a file of groups."""
    whole = load_undivided(dummy("hushem", data_dir), progress=False).splits["full"]
    lines = [f'"{name}",{group_of(i)}' for i, name in enumerate(whole.id)]
    path.write_text("\n".join(["id,group", *lines]))
    return dummy("hushem", data_dir, groups=path, split="kfold", folds=2)


def test_given_groups_take_the_place_of_the_set_s_own(data_dir, tmp_path):
    data = grouped(tmp_path / "groups.csv", data_dir, lambda i: f"pair {i // 2}")
    dataset = load(data, progress=False)
    train, validation = dataset.splits["train"], dataset.splits["validation"]
    for examples in (train, validation):
        assert all(count == 2 for count in Counter(examples.group).values())
    assert not set(train.group) & set(validation.group) and "groups of groups.csv" in dataset.protocol


def test_official_split_that_divides_a_given_group_is_refused(data_dir, tmp_path):
    stored = load_undivided(dummy("mhsma", data_dir), progress=False).splits
    names = [name for examples in stored.values() for name in examples.id]
    (tmp_path / "groups.csv").write_text("id,group\n" + "".join(f"{name},one\n" for name in names))
    with pytest.raises(DataError, match=r"train and validation share 1 groups.*one.*--data.split kfold"):
        load(dummy("mhsma", data_dir, groups=tmp_path / "groups.csv"), progress=False)


def test_literature_s_split_divides_groups_and_says_how_many(data_dir, tmp_path, caplog):
    data = grouped(tmp_path / "groups.csv", data_dir, lambda i: f"pair {i // 2}")
    leaking = load(dataclasses.replace(data, split="literature"), progress=False)
    trained = set(leaking.splits["train"].group)
    count = sum(group in trained for group in leaking.splits["test"].group)
    assert set(leaking.splits) == {"train", "validation", "test"}
    assert f"{count} of {len(leaking.splits['test'])} test examples share a group" in leaking.protocol
    assert "not grouped" in leaking.protocol and "LEAKS" in leaking.protocol and "LEAKS" in caplog.text


def test_nested_division_leaves_the_official_test_split_out(data_dir):
    official = load(dummy("mhsma", data_dir), progress=False)
    nested = load(dummy("mhsma", data_dir, split="kfold", folds=2, inner_fold=0), progress=False)
    used = {name for examples in nested.splits.values() for name in examples.id}
    assert set(nested.splits) == {"train", "validation", "test"}
    assert used == set(official.splits["train"].id) | set(official.splits["validation"].id)
    assert "left out" in nested.protocol


def test_test_split_is_kept_apart_from_folds(data_dir):
    official = load(dummy("mhsma", data_dir), progress=False)
    folded = load(dummy("mhsma", data_dir, split="holdout", folds=3), progress=False)
    assert folded.splits["test"].id == official.splits["test"].id and "kept apart" in folded.protocol
    pool = set(official.splits["train"].id) | set(official.splits["validation"].id)
    assert set(folded.splits["train"].id) | set(folded.splits["validation"].id) == pool


def test_margin_is_of_training_alone_and_around_the_same_square(data_dir):
    """The source pixels are the witness: 32 px around the middle, 8 source pixels more on each side."""
    plain = load(dummy("mhsma", data_dir, crop=32, image_size=32), progress=False)
    wide = load(dummy("mhsma", data_dir, crop=32, image_size=32, margin=8), progress=False)
    whole = load(dummy("mhsma", data_dir, image_size=64), progress=False)
    np.testing.assert_array_equal(wide.splits["train"].image, whole.splits["train"].image[:, 8:-8, 8:-8])
    for split in ("train", "validation", "test"):
        seen = wide.splits[split].without_margin()
        np.testing.assert_array_equal(seen.image, plain.splits[split].image)
        assert seen.margin == 0 and wide.splits[split].margin == (8 if split == "train" else 0)
    assert wide.fingerprint == plain.fingerprint


def test_margin_of_enlarged_cells(data_dir):
    """Twice the size: the square is that without a margin, but for the last pixels, which interpolate beyond."""
    plain = load(dummy("mhsma", data_dir, crop=32, image_size=64), progress=False).splits["train"]
    wide = load(dummy("mhsma", data_dir, crop=32, image_size=64, margin=16), progress=False).splits["train"]
    assert wide.image.shape[1:3] == (96, 96)
    np.testing.assert_array_equal(wide.without_margin().image[:, 1:-1, 1:-1], plain.image[:, 1:-1, 1:-1])


def test_limit_takes_from_training_alone(data_dir):
    whole = load(dummy("mhsma", data_dir), progress=False)
    few = load(dummy("mhsma", data_dir, limit=2), progress=False)
    assert len(few.splits["train"]) == 2 and set(few.splits["train"].id) < set(whole.splits["train"].id)
    assert few.splits["validation"].id == whole.splits["validation"].id
    assert "train 2 chosen of 4" in few.protocol and few.fingerprint == whole.fingerprint


def test_randomised_labels_are_those_of_other_training_examples(data_dir):
    """Only who has which label changes, by seed; attributes of one example stay together."""
    whole = load(dummy("mhsma", data_dir), progress=False)
    moved = 0
    for seed in range(4):
        mixed = load(dummy("mhsma", data_dir, randomise_labels=True, split_seed=seed), progress=False)
        before, after = whole.splits["train"], mixed.splits["train"]
        assert sorted(map(tuple, after.label.tolist())) == sorted(map(tuple, before.label.tolist()))
        np.testing.assert_array_equal(after.image, before.image)
        np.testing.assert_array_equal(mixed.splits["validation"].label, whole.splits["validation"].label)
        assert "permuted labels" in mixed.protocol and "permuted" not in whole.protocol
        moved += not np.array_equal(after.label, before.label)
    assert moved


def test_fingerprint_is_of_the_contents_alone(data_dir, tmp_path):
    first = load(dummy("mhsma", data_dir, image_size=64), progress=False)
    assert load(dummy("mhsma", data_dir, image_size=16, crop=40), progress=False).fingerprint == first.fingerprint
    assert load(dummy("mhsma/128px", data_dir), progress=False).fingerprint != first.fingerprint
    other = dataclasses.replace(dummy("mhsma", tmp_path / "data"), manual_dir=tmp_path / "source")
    shutil.copytree(dummy("mhsma", data_dir).manual_dir, other.manual_dir)
    path = other.manual_dir / "mhsma" / "x_64_train.npy"
    images = np.load(path)
    images[2, 5, 7] ^= 1
    np.save(path, images)
    assert load(other, progress=False).fingerprint != first.fingerprint


@pytest.mark.parametrize("damage", ["overwritten", "cut", "empty", "gone"])
def test_damaged_records_are_named_with_the_remedy(tmp_path, damage):
    data = dummy("hushem", tmp_path, split="kfold", folds=3)
    directory = prepare("hushem", data.manual_dir, tmp_path, progress=False).directory
    (path,) = directory.glob("*.array_record*")
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        damaged = {"overwritten": content[:2000] + bytes(400) + content[2400:], "cut": content[: len(content) // 2]}
        path.write_bytes(damaged.get(damage, b""))
    with pytest.raises(DataError, match=f"Record .* of {directory}.*--manual-dir DIR --overwrite"):
        load(data, progress=False)


def test_take_keeps_rows_together(data_dir):
    train = load(dummy("mhsma", data_dir), progress=False).splits["train"]
    taken = train.take(np.array([3, 0]))
    assert taken.id == (train.id[3], train.id[0]) and taken.group == (train.group[3], train.group[0])
    np.testing.assert_array_equal(taken.image, train.image[[3, 0]])
    np.testing.assert_array_equal(taken.label, train.label[[3, 0]])


def test_own_images_get_the_training_size(tmp_path):
    Image.new("L", (50, 40), 200).save(tmp_path / "gray.png")
    Image.new("RGB", (30, 90), (10, 20, 30)).save(tmp_path / "tall.tif")
    images = read_images([tmp_path / "gray.png", tmp_path / "tall.tif"], config.Data(image_size=32))
    assert images.shape == (2, 32, 32, 3) and images.dtype == np.uint8
    assert (images[0] == 200).all() and (images[1] == (10, 20, 30)).all()


def test_own_images_that_fail_are_all_named(tmp_path):
    Image.new("RGB", (30, 30)).save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:60])
    (tmp_path / "text.jpg").write_text("hello")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    names = ["good.png", "cut.png", "text.jpg", "deep.png", "absent.png", "."]
    with pytest.raises(DataError) as error:
        read_images([tmp_path / name for name in names], config.Data())
    message = str(error.value)
    assert "5 of 6" in message and "good.png" not in message
    assert all(str(tmp_path / name) in message for name in names[1:])


@pytest.mark.parametrize(("name", "split"), [("mhsma", "official"), ("hushem", "kfold")])
def test_real_sets(assets, tmp_path, name, split):
    source = assets / "data" / name
    if not source.is_dir():
        pytest.skip(f"no {name} in {assets / 'data'}")
    dataset = load(config.Data(name=name, manual_dir=source, data_dir=tmp_path, split=split), progress=False)
    for examples in dataset.splits.values():
        assert 20 < examples.image.mean() < 235 and examples.image.std() > 5
        assert len(set(examples.id)) == len(examples) > 20
