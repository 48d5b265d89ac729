"""Defects change one part, and lie on the other side of the strict criteria.

Sizes are measured by scikit-image on masks rendered fine, independently of the
anatomy's own numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from skimage.measure import label as components
from skimage.measure import regionprops

from spermjax.errors import ConfigError
from spermjax.parts import PARTS, region
from spermjax.phantom.anatomy import Cell
from spermjax.phantom.defects import CLASSES, DECIDING_PARTS, DEFECTS, DRAWS, afflict, find_defect
from spermjax.phantom.normal import sample_normal
from spermjax.phantom.render import render

CELLS = 12
SIZE, PIXEL_UM = 176, 0.08


@pytest.fixture(scope="module")
def normal() -> Cell:
    cells = jax.jit(jax.vmap(sample_normal))(jax.random.split(jax.random.key(1), CELLS))
    return cells.replace(pose=jax.tree.map(jnp.zeros_like, cells.pose))


@pytest.fixture(scope="module")
def afflicted(normal) -> dict[str, Cell]:
    draws = jax.random.uniform(jax.random.key(2), (CELLS, DRAWS))
    return {name: jax.vmap(defect.edit)(draws, normal) for name, defect in DEFECTS.items()}


@pytest.fixture(scope="module")
def measured(normal, afflicted) -> dict[str, dict[str, np.ndarray]]:
    """Measures of each cell, for normal cells and for each defect."""
    return {name: measure(np.asarray(render(cells, SIZE, PIXEL_UM).parts)) for name, cells in
            {"normal": normal, **afflicted}.items()}  # fmt: skip


def measure(parts: np.ndarray) -> dict[str, np.ndarray]:
    rows = []
    for masks in parts:
        channel = dict(zip(PARTS, np.moveaxis(masks, -1, 0), strict=True))
        head = regionprops(region(masks, "head").astype(int))[0]
        outline = region(masks, "head")
        vacuoles = regionprops(components(channel["vacuole"]))
        columns = np.nonzero(channel["midpiece"])[1]
        rows.append(
            {
                "ratio": head.axis_major_length / head.axis_minor_length,
                "asymmetry": (outline ^ outline[:, ::-1]).sum() / outline.sum(),
                "narrowing": width_at(outline, 0.8) / width_at(outline, 0.3),
                "acrosome": channel["acrosome"].sum() / region(masks, "head").sum(),
                "vacuoles": len(vacuoles),
                "largest_vacuole": max((v.area for v in vacuoles), default=0) / region(masks, "head").sum(),
                "midpiece_area": channel["midpiece"].sum() * PIXEL_UM**2,
                "midpiece_span": np.ptp(columns) * PIXEL_UM,
                "tail_reaches_border": channel["tail"][-1].any(),
            }
        )
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def width_at(mask: np.ndarray, share: float) -> float:
    """Width of a mask at a share of its height from the top."""
    rows = np.flatnonzero(mask.any(1))
    return float(mask[round(rows[0] + share * (rows[-1] - rows[0]))].sum())


def test_normal_cells_meet_the_strict_criteria(measured):
    """WHO 2021: length/width 1.3 to 1.8, acrosome .4 to .7, vacuoles at most two and small."""
    m = measured["normal"]
    assert (m["ratio"] > 1.3).all() and (m["ratio"] < 1.8).all()
    assert (m["acrosome"] > 0.42).all() and (m["acrosome"] < 0.68).all()
    assert (m["vacuoles"] <= 2).all() and (m["largest_vacuole"] < 0.03).all()
    assert m["tail_reaches_border"].all()


@pytest.mark.parametrize(
    ("defect", "measure_name", "sign"),
    [
        ("tapered", "ratio", 1),
        ("pyriform", "narrowing", -1),
        ("amorphous", "asymmetry", 1),
        ("small_acrosome", "acrosome", -1),
        ("large_vacuole", "largest_vacuole", 1),
        ("many_vacuoles", "vacuoles", 1),
        ("thick_midpiece", "midpiece_area", 1),
        ("bent_midpiece", "midpiece_span", 1),
        ("short_tail", "tail_reaches_border", -1),
        ("coiled_tail", "tail_reaches_border", -1),
    ],
)
def test_each_defect_is_apart_from_every_normal_cell(measured, defect, measure_name, sign):
    normal, abnormal = (sign * measured[name][measure_name].astype(float) for name in ("normal", defect))
    assert abnormal.min() > normal.max()


def test_a_defect_changes_its_own_group_alone(normal, afflicted):
    for name, cells in afflicted.items():
        for group in Cell.__dataclass_fields__:
            before, after = getattr(normal, group), getattr(cells, group)
            same = all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), before, after)))
            assert same == (group != DEFECTS[name].group), (name, group)


def test_the_picture_changes_at_the_deciding_part_alone(normal, afflicted):
    """Away from the part, before or after, by more than the optics' reach, no pixel changes."""
    before = render(normal)
    for name, cells in afflicted.items():
        after = render(cells)
        change = np.abs(np.asarray(after.image - before.image)).max(-1)
        part = np.zeros(change.shape, bool)
        for deciding in DECIDING_PARTS[DEFECTS[name].label]:
            part |= np.asarray(region(before.parts, deciding) | region(after.parts, deciding))
        near = np.stack([dilate(mask, 5) for mask in part])
        assert change[~near].max() < 0.02, name
        assert (change.max((1, 2)) > 0.08).all(), name


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return binary_dilation(mask, structure=x**2 + y**2 <= radius**2)


def test_every_abnormal_cell_shows_its_deciding_parts(afflicted):
    """So that localisation is defined for every one of them."""
    for name, cells in afflicted.items():
        parts = render(cells).parts
        for part in DECIDING_PARTS[DEFECTS[name].label]:
            assert (np.asarray(region(parts, part)).sum((1, 2)) >= 3).all(), (name, part)


def test_each_class_has_its_defects_about_equally_often(normal):
    cell = jax.tree.map(lambda leaf: leaf[0], normal)
    keys = jax.random.split(jax.random.key(4), 600)
    cells = jax.jit(jax.vmap(lambda key: afflict(key, cell, jnp.array(CLASSES.index("head_defect")))))(keys)
    tapered = (cells.head.width_um != cell.head.width_um).mean()
    pyriform = (cells.head.taper != cell.head.taper).mean()
    np.testing.assert_allclose([tapered, pyriform], 1 / 3, atol=0.06)


def test_an_unknown_defect_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'taperd'.*'tapered'"):
        find_defect("taperd")
