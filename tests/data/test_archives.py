"""Archives as published: the same set comes out as of the unpacked folder, and nothing lands outside."""

import csv
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from spermjax.data import archives
from spermjax.data.catalogue import builder_class
from spermjax.data.prepare import prepare
from spermjax.errors import DataError

RAR_TOOLS = [name for name in ("unrar", "unar", "bsdtar", "7z", "7zz") if shutil.which(name)]


@pytest.fixture
def source() -> Path:
    return builder_class("hushem")[0].root(None) / "dummy_data"


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_rar(path: Path, files: dict[str, bytes]) -> Path:
    """A rar archive of version 4 whose files are stored, after the published description of the format."""

    def block(kind: int, flags: int, body: bytes) -> bytes:
        header = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(header) & 0xFFFF) + header

    content = b"Rar!\x1a\x07\x00" + block(0x73, 0, bytes(6))
    for name, data in files.items():
        encoded, time = name.replace("/", "\\").encode(), 0x5A210000
        numbers = (len(data), len(data), 3, zlib.crc32(data), time, 20, 0x30, len(encoded), 0o100644)
        content += block(0x74, 0x8000, struct.pack("<IIBIIBBHI", *numbers) + encoded) + data
    path.write_bytes(content + block(0x7B, 0x4000, b""))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, folder: Path) -> str:
    """What is said of an archive, of which nothing may have been unpacked beyond `folder`."""
    folder.mkdir(parents=True)
    outside = contents(folder.parents[1])
    with pytest.raises(DataError) as error:
        archives.unpack(archive, folder)
    assert {k: v for k, v in contents(folder.parents[1]).items() if f"/{folder.name}/" not in f"/{k}"} == outside
    return str(error.value)


@pytest.mark.parametrize("given", ["archive", "folder"])
def test_zip_gives_the_same_set_as_its_folder(source, tmp_path, given):
    """The fingerprint is over names and bytes, so equal fingerprints mean equal files."""
    (tmp_path / "manual").mkdir()
    archive = write_zip(tmp_path / "manual" / "HuSHeM.zip", contents(source))
    manual = archive if given == "archive" else archive.parent
    of_zip = prepare("hushem", manual, tmp_path / "one", progress=False)
    of_folder = prepare("hushem", source, tmp_path / "two", progress=False)
    assert of_zip.fingerprint == of_folder.fingerprint
    assert list(of_zip.builder.records("full")) == list(of_folder.builder.records("full"))
    assert sorted(path.name for path in (tmp_path / "one").iterdir() if path.suffix != ".lock") == ["hushem"]


def test_a_folder_around_the_archive_s_own_is_no_obstacle(source, tmp_path):
    files = {f"download-main/{name}": content for name, content in contents(source).items()}
    archive = write_zip(tmp_path / "HuSHeM.zip", files)
    prepared = prepare("hushem", archive, tmp_path / "data", progress=False)
    assert prepared.builder.info.splits["full"].num_examples == 12


@pytest.mark.skipif(not RAR_TOOLS, reason="no tool that unpacks rar is installed")
@pytest.mark.parametrize("tool", RAR_TOOLS)
def test_rar_gives_the_same_set_as_its_folder(source, tmp_path, monkeypatch, tool):
    monkeypatch.setattr(archives, "_TOOLS", {tool: archives._TOOLS[tool]})
    archive = write_rar(tmp_path / "HuSHeM.rar", contents(source))
    of_rar = prepare("hushem", archive, tmp_path / "one", progress=False)
    assert of_rar.fingerprint == prepare("hushem", source, tmp_path / "two", progress=False).fingerprint


@pytest.mark.skipif(not RAR_TOOLS, reason="no tool that unpacks rar is installed")
@pytest.mark.parametrize("tool", RAR_TOOLS)
def test_rar_that_points_out_of_the_folder_is_refused(tmp_path, monkeypatch, tool):
    monkeypatch.setattr(archives, "_TOOLS", {tool: archives._TOOLS[tool]})
    archive = write_rar(tmp_path / "a.rar", {"good.txt": b"1", "../evil.txt": b"2"})
    assert "'../evil.txt' points out of the folder" in refused(archive, tmp_path / "data" / "in")


def test_rar_without_a_tool_names_the_tools(source, tmp_path, monkeypatch):
    archive = write_rar(tmp_path / "HuSHeM.rar", contents(source))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError) as error:
        prepare("hushem", archive, tmp_path / "data", progress=False)
    assert all(name in str(error.value) for name in ("unrar", "unar", "bsdtar", "7z", str(archive)))


def test_a_tool_that_fails_is_quoted(tmp_path, monkeypatch):
    """A stand-in for unrar that finds the archive damaged."""
    tool = tmp_path / "unrar"
    tool.write_text("#!/bin/sh\necho 'checksum error in a.bmp' >&2\nexit 3\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    archive = write_rar(tmp_path / "a.rar", {"a.bmp": b"1"})
    assert "unrar says: checksum error in a.bmp" in refused(archive, tmp_path / "data" / "in")


def test_all_that_points_out_of_the_folder_is_named(tmp_path):
    names = ("../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "..\\evil.txt")
    archive = write_zip(tmp_path / "a.zip", dict.fromkeys(("good.txt", *names), b"1"))
    message = refused(archive, tmp_path / "data" / "in")
    assert "(5 problems)" in message and "good.txt" not in message
    assert not contents(tmp_path / "data" / "in")
    assert message.count("points out of the folder") == 3 and message.count("has an absolute path") == 2


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("HuSHeM/link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc")
    assert "'HuSHeM/link' is a link" in refused(tmp_path / "a.zip", tmp_path / "data" / "in")


def test_damaged_members_are_all_named(tmp_path):
    files = {f"{name}.txt": bytes(range(256)) * 20 for name in "abc"}
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for name, content in files.items():
            writer.writestr(name, content)
    damaged = bytearray(archive.read_bytes())
    damaged[200] ^= 255
    damaged[-6000] ^= 255
    archive.write_bytes(damaged)
    message = refused(archive, tmp_path / "data" / "in")
    assert "'a.txt' is damaged" in message and "(2 problems)" in message


def test_damaged_members_are_left_out_on_request_and_listed(source, tmp_path):
    """What remains is what would remain of a folder without the file, and the list names the file."""
    files = contents(source)
    archive, lost = tmp_path / "HuSHeM.zip", sorted(name for name in files if name.lower().endswith(".bmp"))[0]
    with zipfile.ZipFile(archive, "w") as writer:  # Stored, so that one flipped bit is one bad checksum.
        for name, content in files.items():
            writer.writestr(name, content)
        at = writer.getinfo(lost).header_offset
    damaged = bytearray(archive.read_bytes())
    damaged[at + 30 + len(lost) + 100] ^= 255
    archive.write_bytes(damaged)
    with pytest.raises(DataError, match="--skip-bad leaves out what is damaged"):
        prepare("hushem", archive, tmp_path / "data", progress=False)
    prepared = prepare("hushem", archive, tmp_path / "data", skip_bad=True, progress=False)
    assert prepared.builder.info.splits["full"].num_examples == len(files) - 1
    assert prepared.skipped is not None
    (row,) = csv.DictReader(prepared.skipped.open())
    assert row["left_out"] == lost and "is damaged" in row["problem"]


@pytest.mark.parametrize("length", [40, 3000])
def test_an_archive_cut_short_is_refused(source, tmp_path, length):
    archive = write_zip(tmp_path / "HuSHeM.zip", contents(source))
    archive.write_bytes(archive.read_bytes()[:length])
    with pytest.raises(DataError, match=r"HuSHeM\.zip"):
        prepare("hushem", archive, tmp_path / "data", progress=False)


def test_several_archives_need_a_choice(source, tmp_path):
    for name in ("a.zip", "b.zip"):
        write_zip(tmp_path / name, contents(source))
    with pytest.raises(DataError, match=r"a\.zip, b\.zip"):
        archives.find_archive(tmp_path)
