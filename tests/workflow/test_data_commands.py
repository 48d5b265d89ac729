"""`spermjax data prepare`, `show` and `describe` on the dummy data of the builders."""

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spermjax.cli import main
from tests.workflow.conftest import DUMMY


@pytest.fixture
def folder(tmp_path) -> Path:
    return shutil.copytree(DUMMY / "hushem" / "dummy_data" / "HuSHeM", tmp_path / "source")


def run(capsys, *words) -> tuple[int, str]:
    code = main(["data", *(str(word) for word in words)])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return code, said.out + said.err


def spoil(folder: Path) -> set[str]:
    """One file of each kind that a single image can be bad in; returns their names."""
    normal, amorphous = folder / "01_Normal", folder / "04_Amorphous"
    whole = (normal / "image_001.BMP").read_bytes()
    (normal / "image_001.BMP").write_bytes(whole[: len(whole) // 2])
    (folder / "02_Tapered" / "text.bmp").write_text("no image at all")
    Image.fromarray(np.full((40, 40), 700, np.uint16)).save(folder / "02_Tapered" / "deep.png")
    Image.new("RGB", (4, 4)).save(amorphous / "tiny.png")
    Image.new("RGB", (999, 20)).save(amorphous / "wide.png")
    (amorphous / "nowhere.png").symlink_to(folder / "absent")
    (amorphous / "empty.png").write_bytes(b"")
    return {"image_001.BMP", "text.bmp", "deep.png", "tiny.png", "wide.png", "nowhere.png", "empty.png"}


def test_every_bad_image_is_named_and_nothing_is_left(folder, tmp_path, capsys):
    names = spoil(folder)
    code, said = run(capsys, "prepare", "hushem", "--manual-dir", folder, "--data-dir", tmp_path / "data")
    assert code == 2 and "(7 problems)" in said and "--skip-bad" in said
    for name in names:
        assert name in said
    for words in ("more than 8 bits", "4x4 pixels", "999x20 pixels", "no such file", "not an image"):
        assert words in said
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_skip_bad_goes_on_and_writes_the_list(folder, tmp_path, capsys):
    names = spoil(folder)
    words = ("hushem", "--manual-dir", folder, "--data-dir", tmp_path / "data")
    code, said = run(capsys, "prepare", *words, "--skip-bad")
    assert code == 0
    (path,) = (tmp_path / "data").rglob("skipped.csv")
    assert f"left out: {path}" in said
    assert {line["left_out"].split("/")[1] for line in csv.DictReader(path.open())} == names
    code, said = run(capsys, "describe", "hushem", "--data-dir", tmp_path / "data", "--json")
    facts, _ = json.JSONDecoder().raw_decode(said)
    assert facts["skipped"] == str(path) and facts["splits"]["full"]["n"] == 11


def test_a_zip_that_points_out_of_its_folder(folder, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("HuSHeM/01_Normal/a.bmp", b"1")
        archive.writestr("../../evil.txt", b"2")
    words = ("--manual-dir", tmp_path / "evil.zip", "--data-dir", tmp_path / "data")
    code, said = run(capsys, "prepare", "hushem", *words)
    assert code == 2 and "'../../evil.txt' points out of the folder" in said
    assert not list(tmp_path.rglob("evil.txt")) and not list((tmp_path / "data").rglob("*.bmp"))


def test_describe_counts_classes_splits_groups_and_sizes(tmp_path, capsys):
    """The dummy files are the witness: twelve heads, three pairs of which are one group."""
    source = DUMMY / "hushem" / "dummy_data"
    words = ("hushem", "--manual-dir", source, "--data-dir", tmp_path)
    facts = json.loads(run(capsys, "describe", *words, "--json")[1])
    full = facts["splits"]["full"]
    assert full["counts"] == dict.fromkeys(("normal", "tapered", "pyriform", "amorphous"), 3)
    assert full["group_counts"] == {"normal": 3, "tapered": 2, "pyriform": 2, "amorphous": 2}
    assert full["groups"] == 9 and full["largest_group"] == 2 and facts["skipped"] is None
    sizes = [Image.open(path).size for path in source.rglob("*.BMP")]
    assert full["sizes"]["width"] == [f(width for width, _ in sizes) for f in (min, lambda w: sorted(w)[6], max)]
    said = run(capsys, "describe", "hushem", "--data-dir", tmp_path)[1]
    for words in (
        "CC BY 4.0",
        facts["fingerprint"],
        "@article{shaker2017",
        "12 examples in 9 groups, the largest of 2",
    ):
        assert words in said


def test_describe_counts_both_sides_of_attributes(tmp_path, capsys):
    source = DUMMY / "mhsma" / "dummy_data"
    said = run(capsys, "describe", "mhsma", "--manual-dir", source, "--data-dir", tmp_path, "--json")[1]
    splits = json.loads(said)["splits"]
    assert set(splits) == {"train", "validation", "test"}
    labels = np.load(source / "mhsma" / "y_head_train.npy")
    assert splits["train"]["group_counts"]["head/abnormal"] == labels.sum()
    assert splits["train"]["counts"]["head/normal"] == (1 - labels).sum()


def test_show_draws_the_cells_of_all_splits_with_their_masks(tmp_path, capsys):
    """Seven cells of two splits in one row; the acrosome's colour is in each of them and in the legend."""
    source = DUMMY / "sperm_parsing" / "dummy_data"
    words = ("--manual-dir", source, "--data-dir", tmp_path / "data", "--out", tmp_path / "sheet.png")
    assert run(capsys, "show", "sperm_parsing", *words)[0] == 0
    with Image.open(tmp_path / "sheet.png") as image:
        both = np.asarray(image)
    assert run(capsys, "show", "sperm_parsing", *words, "--split", "validation")[0] == 0
    with Image.open(tmp_path / "sheet.png") as image:
        one = np.asarray(image)
    colour = (0x2F, 0x7D, 0xF6)
    tiles = range(6, both.shape[1], 134)
    drawn = [[(sheet[6:134, left : left + 128] == colour).all(-1).any() for left in tiles] for sheet in (both, one)]
    assert drawn == [[True] * 7 + [False], [True] * 2 + [False] * 6]
    assert run(capsys, "show", "sperm_parsing", *words[:-1], tmp_path / "sheets")[0] == 0
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["sperm_parsing.png"], "a folder holds NAME.png"
    code, said = run(capsys, "show", "sperm_parsing", *words, "--split", "trian")
    assert code == 2 and "'train'" in said
