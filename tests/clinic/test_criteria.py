"""The limits themselves, and what they make of a cell that breaks one of them."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from spermjax.clinic.criteria import StrictCriteria, deciding_parts, judge, label
from spermjax.clinic.morphometry import Morphometry
from spermjax.errors import ConfigError

NORMAL = Morphometry(
    head_length_px=90.0,
    head_width_px=60.0,
    length_to_width=1.5,
    acrosome_share=0.5,
    vacuoles=1,
    vacuole_share=0.02,
    posterior_vacuole_share=0.0,
    midpiece_angle=5.0,
)


@pytest.mark.parametrize(
    ("change", "failed", "parts"),
    [
        ({}, (), ()),
        ({"length_to_width": 1.29}, ("head",), ("acrosome", "nucleus")),
        ({"length_to_width": 1.81}, ("head",), ("acrosome", "nucleus")),
        ({"length_to_width": 1.8}, (), ()),
        ({"acrosome_share": 0.39}, ("acrosome",), ("acrosome",)),
        ({"acrosome_share": 0.71}, ("acrosome",), ("acrosome",)),
        ({"acrosome_share": 0.0, "posterior_vacuole_share": np.nan}, ("acrosome",), ("acrosome",)),
        ({"vacuoles": 3}, ("vacuole",), ("vacuole",)),
        ({"vacuoles": 2}, (), ()),
        ({"vacuole_share": 0.21}, ("vacuole",), ("vacuole",)),
        ({"posterior_vacuole_share": 0.01}, ("vacuole",), ("vacuole",)),
        ({"midpiece_angle": 21.0}, ("midpiece",), ("midpiece",)),
        ({"midpiece_angle": 90.0, "length_to_width": 2.5}, ("head", "midpiece"), ("acrosome", "nucleus", "midpiece")),
    ],
)
def test_each_broken_limit_names_its_part(change, failed, parts):
    """One measurement past one limit fails one criterion; a value on a limit passes."""
    verdicts = judge(dataclasses.replace(NORMAL, **change))
    assert tuple(name for name, verdict in verdicts.items() if verdict == "abnormal") == failed
    assert label(verdicts) == ("abnormal" if failed else "normal")
    assert deciding_parts(verdicts) == parts


def test_missing_parts_are_missing_not_abnormal():
    without_midpiece = judge(dataclasses.replace(NORMAL, midpiece_angle=np.nan))
    assert Counter(without_midpiece.values()) == {"normal": 3, "missing": 1}
    assert label(without_midpiece) == "normal"
    nothing = Morphometry(
        *[np.nan] * 4, vacuoles=0, vacuole_share=np.nan, posterior_vacuole_share=np.nan, midpiece_angle=np.nan
    )
    assert set(judge(nothing).values()) == {"missing"}


def test_limits_are_configurable_and_checked():
    cell = dataclasses.replace(NORMAL, length_to_width=1.9)
    assert judge(cell, StrictCriteria(length_to_width=(1.5, 2.0)))["head"] == "normal"
    with pytest.raises(ConfigError, match=r"acrosome_share.*lower limit first"):
        StrictCriteria(acrosome_share=(0.7, 0.4))
    with pytest.raises(ConfigError, match="midpiece_angle is -1"):
        StrictCriteria(midpiece_angle=-1)
