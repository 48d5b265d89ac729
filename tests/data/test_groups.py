"""A file of groups names each example once, or is refused with all that is wrong."""

import pytest

from spermjax.data.groups import read_groups
from spermjax.errors import DataError


def test_groups_are_read_by_column_whatever_else_there_is(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text('\ufeffnote,group,id\nx,g1,"a, b"\ny,g2,c\n', encoding="utf-8")
    assert read_groups(path, ["a, b", "c"]) == {"a, b": "g1", "c": "g2"}


def test_all_problems_are_named_at_once(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("id,group\na,1\na,2\nb,\nelse,3\n")
    with pytest.raises(DataError) as error:
        read_groups(path, ["a", "b", "c"])
    for words in (str(path), "no line: c", "of the set: else", "more than one line: a", "no group: b", "data check"):
        assert words in str(error.value)


@pytest.mark.parametrize("content", [None, b"", b"name,group\na,b\n", b"\xff\xfe\x00"])
def test_files_that_hold_no_groups(tmp_path, content):
    path = tmp_path / "groups.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"--data.groups"):
        read_groups(path, ["a"])
