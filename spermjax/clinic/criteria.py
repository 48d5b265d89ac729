"""Strict criteria: which parts of a cell are normal, by ratios of its part masks.

The limits follow the WHO laboratory manual (5th edition 2010, 6th 2021) after Kruger
et al. 1986 and Menkveld et al. 2001, as far as masks without a scale can show them;
see docs/criteria.md for what they give on real cells.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

from spermjax.clinic.morphometry import Morphometry
from spermjax.errors import ConfigError

Verdict = Literal["normal", "abnormal", "missing"]

DECIDING_PARTS: dict[str, tuple[str, ...]] = {
    "head": ("acrosome", "nucleus"),
    "acrosome": ("acrosome",),
    "vacuole": ("vacuole",),
    "midpiece": ("midpiece",),
}
"""The part whose shape decides each criterion."""


@dataclasses.dataclass(frozen=True)
class StrictCriteria:
    """Limits of a normal cell; a value on a limit is normal.

    Attributes:
        length_to_width: of the head. WHO 2010 gives 1.3 to 1.8 as the 95 % range of
            selected Papanicolaou-stained cells, with a median of 1.5.
        acrosome_share: of the head's area. WHO 2010, after Menkveld et al. 2001.
        vacuoles: most vacuoles. WHO 2010: not more than two, small ones.
        vacuole_share: largest share of the head's area under vacuoles. WHO 2010.
        posterior_vacuole_share: largest share of the head's area under vacuoles behind
            the acrosome. WHO 2010: none.
        midpiece_angle: degrees that the midpiece's axis may depart from the head's. The
            manual asks for alignment and gives no number; this limit is a convention.
    """

    length_to_width: tuple[float, float] = (1.3, 1.8)
    acrosome_share: tuple[float, float] = (0.4, 0.7)
    vacuoles: int = 2
    vacuole_share: float = 0.2
    posterior_vacuole_share: float = 0.0
    midpiece_angle: float = 20.0

    def __post_init__(self):
        for name in ("length_to_width", "acrosome_share"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ConfigError(f"{name} is {(low, high)}; give the lower limit first, neither below 0.")
        for name in ("vacuoles", "vacuole_share", "posterior_vacuole_share", "midpiece_angle"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a limit that is not below 0.")


def judge(cell: Morphometry, criteria: StrictCriteria = StrictCriteria()) -> dict[str, Verdict]:
    """Each criterion's verdict on one cell.

    Args:
        cell: what it measures.
        criteria: the limits.

    Returns:
        `normal`, `abnormal`, or `missing` where the cell lacks what is measured: a head
        for the first three, a midpiece for the last. A head without an acrosome is
        abnormal in that, and one without vacuoles is normal.
    """
    missing_head, missing_midpiece = math.isnan(cell.head_length_px), math.isnan(cell.midpiece_angle)
    vacuoles_normal = (
        cell.vacuoles <= criteria.vacuoles
        and cell.vacuole_share <= criteria.vacuole_share
        and not cell.posterior_vacuole_share > criteria.posterior_vacuole_share
    )
    return {
        "head": _verdict(missing_head, _within(cell.length_to_width, criteria.length_to_width)),
        "acrosome": _verdict(missing_head, _within(cell.acrosome_share, criteria.acrosome_share)),
        "vacuole": _verdict(missing_head, vacuoles_normal),
        "midpiece": _verdict(missing_midpiece, cell.midpiece_angle <= criteria.midpiece_angle),
    }


def label(verdicts: Mapping[str, Verdict]) -> Literal["normal", "abnormal"]:
    """A cell is abnormal when any criterion is; what is missing is not held against it."""
    return "abnormal" if "abnormal" in verdicts.values() else "normal"


def deciding_parts(verdicts: Mapping[str, Verdict]) -> tuple[str, ...]:
    """The parts that make a cell abnormal; none for a normal one."""
    failed = [DECIDING_PARTS[name] for name, verdict in verdicts.items() if verdict == "abnormal"]
    return tuple(dict.fromkeys(part for parts in failed for part in parts))


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _verdict(missing: bool, normal: bool) -> Verdict:
    return "missing" if missing else "normal" if normal else "abnormal"
