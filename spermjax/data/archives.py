"""Archives as they are published, unpacked so that nothing lands outside the folder meant for it.

Zip is read by Python. Rar is a closed format: the first tool that is installed unpacks it.
"""

import dataclasses
import shutil
import stat
import subprocess
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from spermjax.errors import DataError

_RAR = b"Rar!\x1a\x07"
_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class _Tool:
    """A program that unpacks rar.

    Attributes:
        lists: prints the names in an archive, one a line.
        unpacks: unpacks an archive; "{to}" stands for the folder, and the archive follows.
        named: what comes before a name in a line of the list; other lines are no names.
        header: how many lines come before the list.
    """

    lists: tuple[str, ...]
    unpacks: tuple[str, ...]
    named: str = ""
    header: int = 0


_TOOLS = {
    "unrar": _Tool(("unrar", "lb", "-p-", "--"), ("unrar", "x", "-idq", "-y", "-p-", "-op{to}", "--")),
    "unar": _Tool(("lsar",), ("unar", "-quiet", "-no-directory", "-output-directory", "{to}"), header=1),
    "bsdtar": _Tool(("bsdtar", "-tf"), ("bsdtar", "-x", "-C", "{to}", "-f")),
    "7z": _Tool(("7z", "l", "-ba", "-slt", "-p", "--"), ("7z", "x", "-y", "-p", "-o{to}", "--"), named="Path = "),
    "7zz": _Tool(("7zz", "l", "-ba", "-slt", "-p", "--"), ("7zz", "x", "-y", "-p", "-o{to}", "--"), named="Path = "),
}


def find_archive(source: Path) -> Path | None:
    """The archive that a user has given, or None where the files lie unpacked.

    Args:
        source: an archive, or a folder; in a folder, an archive counts when nothing is
            unpacked beside it.

    Raises:
        DataError: when several archives lie in the folder, or the file is none.
    """
    if source.is_file():
        if _is_archive(source):
            return source
        raise DataError(f"{source} is a file but neither a zip nor a rar archive; give an archive or a folder.")
    visible = [path for path in sorted(source.iterdir()) if path.name[0] != "."]
    if any(path.is_dir() for path in visible):
        return None
    archives = [path for path in visible if path.suffix.lower() in (".zip", ".rar") and _is_archive(path)]
    if len(archives) > 1:
        raise DataError(f"{source} holds several archives: {', '.join(p.name for p in archives)}; name the one meant.")
    return archives[0] if archives else None


def unpack(archive: Path, folder: Path, *, skip_damaged: bool = False) -> dict[str, str]:
    """Unpacks a zip or rar archive into an empty folder.

    Args:
        archive: the archive.
        folder: where to.
        skip_damaged: leave out files of a zip that can't be unpacked.

    Returns:
        What was left out, by its name in the archive, and why.

    Raises:
        DataError: naming everything in it that points out of the folder, is a link, is
            encrypted or damaged, or does not fit on the disk; or the tool that is missing.
    """
    if not zipfile.is_zipfile(archive):
        _unpack_rar(archive, folder)
        return {}
    try:
        return _unpack_zip(archive, folder, skip_damaged)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive} is damaged ({error}); get the archive again.") from error


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_RAR)) == _RAR or zipfile.is_zipfile(path)


def _unpack_zip(archive: Path, folder: Path, skip_damaged: bool) -> dict[str, str]:
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        found = _unsafe(member.filename for member in members)
        for member in members:
            if stat.S_ISLNK(member.external_attr >> 16):
                found.append(f"{member.filename!r} is a link")
            if member.flag_bits & 1:
                found.append(f"{member.filename!r} is encrypted")
        _refuse(archive, found)
        needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
        if needed > free:
            raise DataError(f"{archive} unpacks to {needed >> 20} MiB, but {folder.parent} has {free >> 20} MiB free.")
        damaged = {}
        for member in members:
            try:
                content.extract(member, folder)
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                damaged[member.filename] = f"{member.filename!r} is damaged ({error})"
                (folder / member.filename).unlink(missing_ok=True)  # What came before the damage.
        if not skip_damaged:
            _refuse(archive, list(damaged.values()), "--skip-bad leaves out what is damaged.")
        return damaged


def _unpack_rar(archive: Path, folder: Path) -> None:
    tool = next((tool for name, tool in _TOOLS.items() if shutil.which(name)), None)
    if tool is None:
        raise DataError(
            f"{archive} is a rar archive, and none of {', '.join(_TOOLS)} is installed to unpack it. "
            "Install one of them, or unpack the archive yourself and give the folder."
        )
    lines = _run((*tool.lists, str(archive)), archive).splitlines()[tool.header :]
    names = [line.removeprefix(tool.named) for line in lines if line.startswith(tool.named) and line]
    _refuse(archive, _unsafe(names))
    _run((*(word.format(to=f"{folder}/") for word in tool.unpacks), str(archive)), archive)
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    _refuse(archive, [f"{path.relative_to(folder).as_posix()!r} is a link" for path in links])


def _run(command: tuple[str, ...], archive: Path) -> str:
    """What a tool prints; it gets no input, so that it can't wait for a password."""
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip())[-500:]
        raise DataError(f"{archive} can't be unpacked; {command[0]} says: {said} Get the archive again.")
    return ended.stdout


def _unsafe(names: Iterable[str]) -> list[str]:
    """What is wrong with names that point out of the folder, on this system or another."""
    found = []
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or name[1:2] == ":":
            found.append(f"{name!r} has an absolute path")
        elif ".." in path.parts:
            found.append(f"{name!r} points out of the folder")
    return found


def _refuse(archive: Path, found: list[str], hint: str = "") -> None:
    if found:
        listed = "\n".join(f"  - {problem}" for problem in found[:_SHOWN])
        more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise DataError(
            f"{archive} is not unpacked ({len(found)} problem{'s' * (len(found) > 1)}); nothing was written.\n"
            f"{listed}{more}\nGet the archive again from where it was published. {hint}".rstrip()
        )
