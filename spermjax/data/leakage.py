"""What the search for duplicates found, for people and for the splits: a table, a page, and groups."""

import base64
import csv
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import get_args

import jinja2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from spermjax.data.duplicates import Kind, Pair, clusters
from spermjax.data.images import png

_THUMBNAIL_PX = 160
_SHOWN = 400
_COLUMNS = (
    *("id_a", "id_b", "kind", "score", "local", "overlap", "scale"),
    *("label_a", "label_b", "conflict", "split_a", "split_b", "straddles"),
)


def write_report(
    out: Path,
    pairs: Sequence[Pair],
    images: Sequence[UInt8[np.ndarray, "height width 3"]],
    ids: Sequence[str],
    labels: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    title: str = "data set",
) -> dict[str, int]:
    """Writes `pairs.csv`, `groups.csv` and `index.html`.

    Args:
        out: the folder to write to, made if it isn't there.
        pairs: what `find_duplicates` found in `images`.
        images: all images, at their original sizes.
        ids: name of each image; each once.
        labels: what each image is labelled as, in words.
        groups: what each image is known to belong to, such as a patient or a field. A
            group and all duplicates of its images become one group.
        splits: the given split of each image, where there is one.
        title: what is called by the page's heading.

    Returns:
        Counts by what they count.
    """
    out.mkdir(parents=True, exist_ok=True)
    number = clusters(pairs, len(ids), groups)
    rows = [_row(pair, ids, labels, splits) for pair in pairs]
    summary = {
        "images": len(ids),
        **{f"{kind} pairs": sum(pair.kind == kind for pair in pairs) for kind in get_args(Kind)},
        "images with a duplicate": len({index for pair in pairs for index in (pair.a, pair.b)}),
        "pairs with conflicting labels": sum(row["conflict"] == "yes" for row in rows),
        "groups": int(number.max(initial=-1)) + 1,
    }
    if splits is not None:
        summary["pairs over two splits"] = sum(row["straddles"] == "yes" for row in rows)
        summary["groups over two splits"] = _straddling(number, splits)
    _write_csv(out / "pairs.csv", _COLUMNS, rows)
    names: dict[int, str] = {}
    for index in sorted(range(len(ids)), key=ids.__getitem__):
        names.setdefault(int(number[index]), ids[index])
    grouped = [{"id": name, "group": names[int(group)]} for name, group in zip(ids, number, strict=True)]
    _write_csv(out / "groups.csv", ("id", "group"), grouped)
    # Doubtful and conflicting pairs first, for those are what a person has to look at.
    order = sorted(range(len(pairs)), key=lambda index: (rows[index]["conflict"] == "no", pairs[index].score))[:_SHOWN]
    shown = [rows[i] | {"pictures": (_picture(images[pairs[i].a]), _picture(images[pairs[i].b]))} for i in order]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        resources.files("spermjax.data").joinpath("leakage.html").read_text(encoding="utf-8")
    )
    page = template.render(title=title, summary=summary, pairs=shown, total=len(pairs))
    (out / "index.html").write_text(page, encoding="utf-8")
    return summary


def _row(pair: Pair, ids: Sequence[str], labels: Sequence[str], splits: Sequence[str] | None) -> dict[str, str]:
    split_a, split_b = (splits[pair.a], splits[pair.b]) if splits else ("", "")
    values = (
        *(ids[pair.a], ids[pair.b], pair.kind, f"{pair.score:.3f}"),
        *(f"{pair.local:.3f}", f"{pair.overlap:.2f}", f"{pair.scale:.3f}"),
        *(labels[pair.a], labels[pair.b], "yes" if labels[pair.a] != labels[pair.b] else "no"),
        *(split_a, split_b, "yes" if split_a != split_b else "no"),
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _straddling(number: np.ndarray, splits: Sequence[str]) -> int:
    seen: dict[int, set[str]] = {}
    for group, split in zip(number, splits, strict=True):
        seen.setdefault(int(group), set()).add(split)
    return sum(len(found) > 1 for found in seen.values())


def _write_csv(path: Path, names: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def _picture(image: np.ndarray) -> str:
    """A small PNG as an address that a page can hold in itself."""
    small = Image.fromarray(image)
    small.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    return "data:image/png;base64," + base64.b64encode(png(np.asarray(small))).decode()
