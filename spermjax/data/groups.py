"""Groups from a file, in place of those that a data set was published with."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from spermjax.errors import DataError

_NAMED = 5


def read_groups(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """The group of each example, from a CSV file with the columns `id` and `group`.

    Args:
        path: such as the `groups.csv` of `spermjax data check`; other columns are not looked at.
        ids: all examples of the set.

    Returns:
        The group by the example's id.

    Raises:
        DataError: the file can't be read, or doesn't name each example once with a group; all problems at once.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            rows = [(row.get("id") or "", row.get("group") or "") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"--data.groups {path} can't be read: {error}.") from None
    if missing := [name for name in ("id", "group") if name not in columns]:
        raise DataError(f"--data.groups {path} has no column {' and no column '.join(missing)} in its first line.")
    counts = Counter(name for name, _ in rows)
    group_of = dict(rows)
    problems = {
        "examples have no line": sorted(set(ids) - set(counts)),
        "lines name no example of the set": sorted(set(counts) - set(ids)),
        "examples have more than one line": sorted(name for name, count in counts.items() if count > 1),
        "lines have no group": sorted(name for name, group in group_of.items() if not group),
    }
    if any(problems.values()):
        lines = [f"  - {len(names)} {what}: {_listed(names)}" for what, names in problems.items() if names]
        raise DataError(
            "\n".join([f"--data.groups {path} doesn't fit the data set:", *lines])
            + "\nWrite it anew: spermjax data check NAME --out DIR"
        )
    return group_of


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
