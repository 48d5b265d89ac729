"""Sperm Parsing: exact masks, crops that show the field as it is, and what is said of damaged files."""

import io
import json
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.draw import polygon

from data_builders.sperm_parsing.cells import CROP_PX, crops, left_out
from data_builders.sperm_parsing.labelme import fill, parse, rasterize, read_field
from spermjax.clinic import criteria
from spermjax.clinic.morphometry import measure
from spermjax.data.catalogue import builder_class
from spermjax.data.images import read_image
from spermjax.data.prepare import prepare
from spermjax.errors import DataError
from spermjax.parts import PARTS, unpack
from tests.data_builders.base import BuilderTest


class TestSpermParsing(BuilderTest):
    NAME = "sperm_parsing"
    SPLITS: ClassVar[dict[str, int]] = {"train": 5, "validation": 2}


class TestSpermParsingAttributes(BuilderTest):
    NAME = "sperm_parsing/attributes"
    SPLITS: ClassVar[dict[str, int]] = {"train": 5, "validation": 2}


class TestSpermParsingRaters(BuilderTest):
    NAME = "sperm_parsing/raters"
    SPLITS: ClassVar[dict[str, int]] = {"train": 5, "validation": 2}


@pytest.fixture
def folder(tmp_path) -> Path:
    cls, _ = builder_class("sperm_parsing")
    return shutil.copytree(cls.root(None) / "dummy_data", tmp_path / "source")


def stored(name: str, folder: Path, tmp_path: Path) -> dict[str, dict]:
    builder = prepare(name, folder, tmp_path / "data", progress=False).builder
    return {r["id"].decode(): r for split in ("train", "validation") for r in builder.records(split)}


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image)


@given(st.lists(st.tuples(st.floats(-5, 45), st.floats(-5, 35)), min_size=3, max_size=12))
@settings(max_examples=60, deadline=None)
def test_fill_is_the_exact_even_odd_fill(points):
    """Witness: scikit-image's polygon, which tests each pixel's centre against each edge."""
    # Off the centres, where the two may break a tie differently, and not along a diagonal.
    points = np.array(points) + 1e-4 * np.array([np.pi, np.e])
    expected = np.zeros((30, 40), bool)
    expected[polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, expected.shape)] = True
    assert (fill(points, 30, 40) != expected).sum() == 0


@pytest.mark.golden
def test_areas_of_real_polygons_are_unbiased(assets):
    """Witness: the shoelace formula, over a field's polygons of each part."""
    root = assets / "data" / "sperm_parsing" / "spermparsing" / "Validation-2" / "JPEGImages"
    filled, exact = dict.fromkeys(PARTS, 0.0), dict.fromkeys(PARTS, 0.0)
    for path in sorted(root.glob("*.json"))[:6]:
        field = read_field(path)
        for part, points in (drawn for polygons in field.cells.values() for drawn in polygons):
            (x, y), (next_x, next_y) = points.T, np.roll(points, -1, axis=0).T
            filled[part] += fill(points, field.height, field.width).sum()
            exact[part] += abs(np.sum(x * next_y - next_x * y)) / 2
    for part in ("acrosome", "nucleus", "vacuole", "midpiece", "tail"):
        assert filled[part] == pytest.approx(exact[part], rel=0.004)


def test_pieces_of_one_part_are_united(folder):
    """A tail drawn in two polygons is one mask with the area of both."""
    path = folder / "spermparsing" / "Training" / "JPEGImages" / "field-1.json"
    content = json.loads(path.read_text())
    square = [[400.0, 300.0], [410.0, 300.0], [410.0, 310.0], [400.0, 310.0]]
    content["shapes"].append({"label": "Tail", "group_id": 1, "points": square, "shape_type": "polygon"})
    before = unpack(rasterize(read_field(path), 1))[..., PARTS.index("tail")].sum()
    path.write_text(json.dumps(content))
    assert unpack(rasterize(read_field(path), 1))[..., PARTS.index("tail")].sum() == before + 100


def test_crop_shows_the_field_around_the_head(folder):
    """Pixels and parts of each crop are those of the field, shifted; beyond it the border repeats and parts end."""
    path = folder / "spermparsing" / "Training" / "JPEGImages" / "field-1.jpg"
    image, field = read_image(path), read_field(path.with_suffix(".json"))
    bits = {cell: rasterize(field, cell) for cell in field.cells}
    for crop in crops(image, field):
        rows, columns = np.nonzero(bits[crop.cell] & 7)
        top, left = (round(float(axis.mean() + 0.5)) - CROP_PX // 2 for axis in (rows, columns))
        for offset in ((0, 0), (70, 99), (CROP_PX // 2, CROP_PX // 2), (CROP_PX - 1, CROP_PX - 1)):
            row, column = top + offset[0], left + offset[1]
            inside = 0 <= row < field.height and 0 <= column < field.width
            at = min(max(row, 0), field.height - 1), min(max(column, 0), field.width - 1)
            np.testing.assert_array_equal(crop.image[offset], image[at])
            assert crop.parts[offset] == (bits[crop.cell][at] if inside else 0)
            others = np.bitwise_or.reduce([bits[other][at] for other in field.cells if other != crop.cell])
            assert crop.neighbours[offset] == (others if inside else 0)
        assert (crop.parts & 7 > 0).sum() == len(rows)


def test_labels_follow_from_the_stored_parts(folder, tmp_path):
    """Whoever has an example can judge it again, and the two configurations agree."""
    single, several = (stored(name, folder, tmp_path) for name in ("sperm_parsing/label", "sperm_parsing/attributes"))
    assert single.keys() == several.keys()
    for identity, record in several.items():
        verdicts = criteria.judge(measure(decoded(record["parts"])))
        named = {name: ("normal", "abnormal", "missing")[value] for name, value in record["attributes"].items()}
        assert named == verdicts
        assert ("normal", "abnormal")[single[identity]["label"]] == criteria.label(verdicts)


def test_drawn_defects_are_found(folder, tmp_path):
    """The dummy fields were drawn with these defects; nothing else about them is abnormal."""
    records = stored("sperm_parsing/attributes", folder, tmp_path)
    found = {
        identity: {name for name, value in record["attributes"].items() if value == 1}
        for identity, record in records.items()
    }
    assert found == {
        "Training/field-1.jpg/01": set(),
        "Training/field-1.jpg/02": {"acrosome"},
        "Training/field-1.jpg/03": {"head"},
        "Training/field-2.jpg/01": {"vacuole"},
        "Training/field-2.jpg/02": {"midpiece"},
        "Validation-2/field-3.jpg/01": set(),
        "Validation-2/field-3.jpg/02": {"acrosome"},
    }


def test_cells_that_serve_not_are_named_with_the_reason(folder):
    field = read_field(folder / "spermparsing" / "Training" / "JPEGImages" / "field-2.json")
    assert left_out(field) == {3: "has a head cut by the border", 4: "has no nucleus"}
    moved = [(part, points + np.array([300, 0])) for part, points in field.cells[1]]
    field.cells[2].extend(moved)
    field.cells[1].extend(moved)
    assert left_out(field)[1] == "has two heads under one number"


def test_manual_directory_may_be_the_archive_s_own_folder(folder, tmp_path):
    folders = folder, folder / "spermparsing"
    fingerprints = {
        prepare("sperm_parsing", path, tmp_path / path.name, progress=False).fingerprint for path in folders
    }
    assert len(fingerprints) == 1


def damage(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content["shapes"])
    path.write_text(json.dumps(content))


def test_every_bad_file_and_polygon_is_named_at_once(folder, tmp_path):
    """One run of the check names all that is wrong, and nothing is written."""
    training = folder / "spermparsing" / "Training" / "JPEGImages"
    for number in (3, 4, 5, 6):
        for suffix in (".jpg", ".json"):
            shutil.copy(training / f"field-1{suffix}", training / f"field-{number}{suffix}")

    def three_bad_polygons(shapes):
        shapes[0]["label"] = "Acrosom"
        shapes[1]["points"] = shapes[1]["points"][:2]
        shapes[2]["points"][0] = [5000.0, 10.0]
        shapes[3]["group_id"] = None
        shapes[4]["points"] = "somewhere"

    damage(training / "field-1.json", three_bad_polygons)
    (training / "field-2.json").unlink()
    (training / "field-3.jpg").unlink()
    whole = (training / "field-4.jpg").read_bytes()
    (training / "field-4.jpg").write_bytes(whole[: len(whole) // 2])
    (training / "field-5.json").write_text("{")
    Image.new("RGB", (50, 40)).save(training / "field-6.jpg")
    with pytest.raises(DataError) as error:
        prepare("sperm_parsing", folder, tmp_path / "data", progress=False)
    lines = str(error.value).splitlines()
    for file, words in [
        ("field-1.json", "unknown label. Did you mean 'Acrosome'"),
        ("field-1.json", "has 2 points"),
        ("field-1.json", "out of the field of 480x360"),
        ("field-1.json", "belongs to no cell"),
        ("field-1.json", "not pairs of numbers"),
        ("field-2.json", "no such file"),
        ("field-3.json", "no image of this name"),
        ("field-4.jpg", "can't be read as an image"),
        ("field-5.json", "not a labelme file"),
        ("field-6.json", "drawn on 480x360 pixels, but field-6.jpg has 50x40"),
    ]:
        assert any(file in line and words in line for line in lines), (file, words, lines)
    assert "(10 problems)" in lines[0]
    assert not list((tmp_path / "data").rglob("*.array_record*"))


def test_folder_without_fields_is_refused(tmp_path):
    (tmp_path / "source" / "spermparsing" / "Training").mkdir(parents=True)
    with pytest.raises(DataError, match=r"images neither in .*Training.* nor .*Validation-2"):
        prepare("sperm_parsing", tmp_path / "source", tmp_path / "data", progress=False)


@pytest.mark.golden
def test_real_fields(assets):
    """Counts of the archive's Validation-2 fields, and heads that measure as published measurements say."""
    root = assets / "data" / "sperm_parsing" / "spermparsing"
    cls, _ = builder_class("sperm_parsing")
    fields = [parse(path) for path in sorted((root / "Validation-2" / "JPEGImages").glob("*.json"))]
    assert not [line for _, found in fields for line in found]
    assert sum(len(field.cells) for field, _ in fields if field) == 104
    kept = cls.splits(cls.__new__(cls), root)["validation"]
    assert kept == 102
    whole = [(field, cell) for field, _ in fields[:8] if field for cell in field.cells.keys() - left_out(field)]
    measured = [measure(rasterize(field, cell)) for field, cell in whole]
    assert np.median([cell.head_length_px for cell in measured]) == pytest.approx(89, rel=0.08)
    assert np.median([cell.head_width_px for cell in measured]) == pytest.approx(54, rel=0.08)
    assert np.median([cell.length_to_width for cell in measured]) == pytest.approx(1.66, rel=0.08)


def test_a_bad_field_is_left_out_whole(folder, tmp_path):
    """A field with one bad polygon goes with all its cells, for its neighbours' masks would lack one."""
    damage(
        folder / "spermparsing" / "Training" / "JPEGImages" / "field-1.json", lambda shapes: shapes[0].update(label="x")
    )
    prepared = prepare("sperm_parsing", folder, tmp_path / "data", skip_bad=True, progress=False)
    assert {record["group"] for record in prepared.builder.records("train")} == {b"Training/field-2.jpg"}
    assert len(prepared.builder.records("validation")) == 2


def test_raters_cells_are_matched_by_place_and_not_by_number(folder, tmp_path):
    """Drawn with other numbers: rater 2 one pixel to the right, rater 3 one pixel down and without a cell."""
    plain, raters = (stored(name, folder, tmp_path) for name in ("sperm_parsing/label", "sperm_parsing/raters"))
    for identity, record in raters.items():
        parts, second, third = (decoded(record[name]) for name in ("parts", "parts_rater_2", "parts_rater_3"))
        np.testing.assert_array_equal(parts, decoded(plain[identity]["parts"]))
        assert record["label"] == plain[identity]["label"]
        # The last column and row of the crop are cut off differently, and so is what lies at the field's border.
        assert (second[:, 1:] != parts[:, :-1]).sum() <= 4
        if identity == "Training/field-1.jpg/02":
            assert not third.any()
        else:
            assert (third[1:] != parts[:-1]).sum() <= 4


def test_a_rater_without_a_field_is_named(folder, tmp_path):
    missing = folder / "Annotations" / "label-3-newgroup" / "field-2.json"
    missing.unlink()
    with pytest.raises(DataError, match=r"label-3-newgroup/field-2\.json: there is no such file"):
        prepare("sperm_parsing/raters", folder, tmp_path / "data", progress=False)
    assert prepare("sperm_parsing/label", folder, tmp_path / "data", progress=False)


@pytest.mark.golden
@pytest.mark.slow
def test_real_raters_agree_as_published(assets, tmp_path):
    """Witness: the mean Dice of raters 2 and 3 for the nucleus, taken over whole fields, is .914."""
    source = tmp_path / "source"
    root = assets / "data" / "sperm_parsing"
    (source / "spermparsing").mkdir(parents=True)
    (source / "spermparsing" / "Validation-2").symlink_to(root / "spermparsing" / "Validation-2")
    (source / "Annotations").symlink_to(root / "Annotations")
    builder = prepare("sperm_parsing/raters", source, tmp_path / "data", progress=False).builder
    dice = []
    for record in builder.records("validation"):
        first, second = (unpack(decoded(record[f"parts_rater_{n}"]))[..., PARTS.index("nucleus")] for n in (2, 3))
        if first.any() and second.any():
            dice.append(2 * (first & second).sum() / (first.sum() + second.sum()))
    assert len(dice) >= 99 and np.mean(dice) == pytest.approx(0.914, abs=0.02)
