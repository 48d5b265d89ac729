"""The leakage check on drawn cells with planted duplicates, and on the known pairs of public sets."""

import csv
import html.parser
import time

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from spermjax.data.duplicates import Pair, clusters, find_duplicates
from spermjax.data.images import read_image
from spermjax.data.leakage import write_report
from spermjax.data.registration import VARIANTS, align, detail, resized, turned, turned_point
from spermjax.phantom.defects import CLASSES
from spermjax.phantom.population import population
from spermjax.phantom.render import PIXEL_UM, render


def scene(seed: int, side: int = 150) -> np.ndarray:
    """A stained head with a tail, specks and grain, all of them random: one cell that exists once."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    angle = rng.uniform(0, 2 * np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    length, width = rng.uniform(19, 24), rng.uniform(11, 14)
    head = (along / length) ** 2 + (across / width) ** 2
    image = np.full((side, side), rng.uniform(200, 215))
    image -= 90 / (1 + np.exp(12 * (head.clip(0, 5) - 1))) * (1.1 + 0.4 * np.tanh(along / rng.uniform(4, 12)))
    bend = across + rng.uniform(3, 8) * np.sin(along / rng.uniform(12, 20))
    image -= 45 * np.exp(-((bend / 2) ** 2)) * (along < -length)
    for _ in range(rng.integers(4, 9)):
        row, column = rng.uniform(-side / 2, side / 2, 2)
        image -= rng.uniform(15, 60) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / rng.uniform(3, 25))
    image += ndimage.gaussian_filter(rng.normal(0, 12, image.shape), 2.5)
    return np.repeat(image.clip(0, 255)[..., None], 3, -1).astype(np.uint8)


def crop(image, top, left, side, *, variant=0, scale=1.0, noise=2.0, seed=0):
    """A part of a scene, turned, scaled and stored again with fresh noise."""
    part = image[top : top + side, left : left + side].astype(np.float32)
    part = np.stack([turned(resized(np.ascontiguousarray(part[..., c]), scale), variant) for c in range(3)], -1)
    return (part * 0.97 + np.random.default_rng(seed).normal(0, noise, part.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def planted():
    """Sixty cells and eight duplicates: exact, stored again, shifted, scaled, mirrored, turned, all at once."""
    images = [scene(seed) for seed in range(60)]
    plan = [
        (0, "identical", images[0].copy()),
        (1, "near", crop(images[1], 0, 0, 150)),
        (2, "recrop", crop(images[2], 20, 5, 125)),
        (3, "recrop", crop(images[3], 5, 15, 130, scale=1.25)),
        (4, "recrop", crop(images[4], 10, 10, 130, scale=0.8)),
        (5, "turned", crop(images[5], 10, 0, 135, variant=4)),
        (6, "turned", crop(images[6], 0, 12, 130, variant=1)),
        (7, "turned", crop(images[7], 12, 8, 128, variant=6, scale=1.15)),
    ]
    expected = {(first, 60 + number): kind for number, (first, kind, _) in enumerate(plan)}
    return images + [image for *_, image in plan], expected


def test_planted_duplicates_are_found_and_nothing_else(planted):
    """Each kind of change is undone, and no two different cells are taken for one."""
    images, expected = planted
    found = {(pair.a, pair.b): pair for pair in find_duplicates(images)}
    assert {key: pair.kind for key, pair in found.items()} == expected
    assert found[3, 63].scale == pytest.approx(1 / 1.25, rel=0.04)
    assert found[4, 64].scale == pytest.approx(1.25, rel=0.04)
    assert found[7, 67].scale == pytest.approx(1 / 1.15, rel=0.04)
    assert found[0, 60].score == 1 and min(pair.score for pair in found.values()) > 0.85


def test_phantom_cells_of_one_class_are_told_apart():
    """Sixty normal cells, alike by construction, are no pairs; a re-crop of each of eight is found."""
    drawn = population([f"train/{number:05d}" for number in range(0, 360, len(CLASSES))], max_rotation_deg=180.0)
    assert len(set(drawn.label.tolist())) == 1
    rendering = render(drawn.cells, size=112, pixel_um=PIXEL_UM * 64 / 112)
    images = list(np.round(np.asarray(rendering.image) * 255).astype(np.uint8))
    changes = [(0, 0.9), (0, 1.2), (4, 1.0), (1, 1.0), (2, 1.0), (3, 1.15), (5, 1.0), (6, 0.9)]
    planted = [
        crop(images[number], 3 + number, 14 - number, 94, variant=variant, scale=scale, noise=1.0, seed=number)
        for number, (variant, scale) in enumerate(changes)
    ]
    found = {(pair.a, pair.b): pair.kind for pair in find_duplicates([*images, *planted])}
    assert found == {(n, 60 + n): "turned" if changes[n][0] else "recrop" for n in range(8)}


def test_order_does_not_matter(planted):
    """The same pairs are found when the images come in reverse."""
    images, expected = planted
    subset = [*range(8), *range(20, 32), *range(60, 68)]
    found = find_duplicates([images[index] for index in reversed(subset)])
    assert {(subset[::-1][pair.b], subset[::-1][pair.a]) for pair in found} == set(expected)


def test_images_without_structure_are_no_pairs():
    """Flat images of many sizes, and one pixel; equal ones are identical and only they."""
    shapes = [(40, 50), (35, 35), (1, 1), (9, 120), (35, 35)]
    images = [np.full((*shape, 3), 100 + 9 * (shape == (40, 50)), np.uint8) for shape in shapes]
    assert find_duplicates(images) == [Pair(1, 4, "identical", 1.0, 1.0, 1.0, 1.0)]
    assert find_duplicates([]) == []


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_a_turned_point_stays_on_its_pixel(variant):
    image = np.zeros((20, 31), np.float32)
    image[4, 22] = 1
    row, column = turned_point(4.5, 22.5, image.shape, variant)
    assert turned(image, variant)[int(row), int(column)] == 1


def test_alignment_finds_the_shift_and_the_overlap():
    """Two windows of one scene, guessed a few pixels off: the true shift, and a score near 1."""
    gray = scene(99)[..., 0].astype(np.float32)
    first, second = detail(gray[:120, :110]), detail(gray[25:, 14:])
    found = align(first, second, 31, 8)
    assert (found.row, found.column) == (25, 14)
    assert found.score > 0.95
    assert found.overlap == pytest.approx(95 * 96 / min(first.size, second.size))
    assert align(first, second, 500, 0).score == -1


def test_clusters_join_chains_and_given_groups():
    """0-1-2 by pairs, 2-3 by a common patient; 4 alone."""
    pairs = [Pair(0, 1, "near", 0.9, 0.8, 1.0, 1.0), Pair(1, 2, "recrop", 0.9, 0.8, 0.8, 1.0)]
    number = clusters(pairs, 5)
    assert len({*number[:3]}) == 1 and len({*number}) == 3
    number = clusters(pairs, 5, ["p", "q", "r", "r", "s"])
    assert len({*number[:4]}) == 1 and number[4] not in number[:4]
    assert clusters([], 3).tolist() == [0, 1, 2]


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_report_has_every_example_once_and_escapes_names(tmp_path):
    """The groups are complete, the page shows both pictures of each pair, and a name that is markup stays text."""
    images = [scene(seed, 60) for seed in range(4)]
    ids = ["b.png", "<script>alert(1)</script>.png", 'c,"d".png', "a.png"]
    pairs = [Pair(0, 1, "identical", 1.0, 1.0, 1.0, 1.0), Pair(1, 3, "recrop", 0.91, 0.8, 0.7, 1.0)]
    summary = write_report(
        tmp_path / "new" / "check",
        pairs,
        images,
        ids,
        ["normal", "normal", "tapered", "tapered"],
        splits=["train", "train", "train", "test"],
        title="A & B",
    )
    assert summary["identical pairs"] == 1 and summary["recrop pairs"] == 1 and summary["turned pairs"] == 0
    assert summary["pairs with conflicting labels"] == 1 and summary["pairs over two splits"] == 1
    assert summary["images with a duplicate"] == 3 and summary["groups"] == 2 and summary["groups over two splits"] == 1
    with (tmp_path / "new" / "check" / "groups.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ids
    assert [row["group"] for row in rows] == [min(ids[0], ids[1], ids[3])] * 2 + [ids[2]] + [
        min(ids[0], ids[1], ids[3])
    ]
    with (tmp_path / "new" / "check" / "pairs.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["id_a"], row["id_b"], row["conflict"], row["straddles"]) for row in table] == [
        (ids[0], ids[1], "no", "no"),
        (ids[1], ids[3], "yes", "yes"),
    ]
    page = Page()
    page.feed((tmp_path / "new" / "check" / "index.html").read_text())
    assert "script" not in page.tags and page.tags.count("img") == 4
    assert ids[1] in page.text and "A & B" in page.text


@pytest.mark.golden
def test_known_pairs_of_hushem(assets):
    """The near-duplicates that are known in the published files, as far as both are here, and no other."""
    files = sorted((assets / "data" / "hushem" / "HuSHeM").glob("*/*.BMP"))
    names = [f"{path.parent.name}/{path.stem}" for path in files]
    known = [
        ("02_Tapered/image_032", "02_Tapered/image_033"),
        ("03_Pyriform/image_031", "03_Pyriform/image_032"),
        ("04_Amorphous/image_042", "04_Amorphous/image_043"),
    ]
    present = {pair for pair in known if set(pair) <= set(names)}
    assert len(present) >= 2
    found = find_duplicates([read_image(path) for path in files])
    assert {(names[pair.a], names[pair.b]) for pair in found} == present


@pytest.mark.golden
def test_smids_sample(assets):
    """All identical pairs, found by comparing pixels here, among other crops; and turned copies of some."""
    folder = assets / "data" / "smids" / "SMIDS" / "Abnormal_Sperm"
    files = sorted([*folder.glob("Acrosome_Abnormality (1*"), *folder.glob("Acrosome_Defect_60*")])
    images = []
    for path in files:
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB")))
    count = len(images)
    images += [np.ascontiguousarray(np.rot90(image[12:, 9:], 1)) for image in images[:10]]
    start = time.process_time()
    found = {(pair.a, pair.b): pair for pair in find_duplicates(images)}
    assert time.process_time() - start < 60
    same = {
        (a, b)
        for a in range(count)
        for b in range(a + 1, count)
        if images[a].shape == images[b].shape and (images[a] == images[b]).all()
    }
    assert same and {key for key, pair in found.items() if pair.kind == "identical"} == same
    assert all(found[index, count + index].kind == "turned" for index in range(10))
