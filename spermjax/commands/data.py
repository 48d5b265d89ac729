"""`spermjax data prepare|check|show|describe NAME`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from spermjax.commands.parse import parse, print_json, print_table
from spermjax.data.catalogue import BUILDERS
from spermjax.errors import ConfigError, nearest

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Name = Annotated[str, tyro.conf.Positional]

HELP = """\
Usage: spermjax data COMMAND NAME [OPTIONS]

Commands:
  prepare   make a data set ready from its archive or folder
  check     find duplicates and re-crops of one cell, which must not be split
  show      write a contact sheet with part outlines
  describe  print splits, counts, licence and fingerprint

Data sets (NAME, or NAME/CONFIGURATION):
"""


def main(arguments: Sequence[str]) -> int:
    """Works on a data set."""
    actions = {"prepare": prepare, "check": check, "show": show, "describe": describe}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP + "\n".join(f"  {name}" for name in BUILDERS) + "\n\n`spermjax data COMMAND --help` explains each.")
        return 0
    if arguments[0] not in actions:
        raise ConfigError(f"There is no `spermjax data {arguments[0]}`. {nearest(arguments[0], actions)}")
    return parse(actions[arguments[0]], arguments[1:], f"data {arguments[0]}")


def prepare(
    name: Name,
    manual_dir: Path | None = None,
    data_dir: Path | None = None,
    overwrite: Flag = False,
    skip_bad: Flag = False,
) -> int:
    """Make a data set ready from its archive or folder.

    All files are checked first, and every bad one is named; a set is prepared whole or
    not at all, unless bad files are to be left out. Images never leave this machine.

    Args:
        name: data set, or set/configuration.
        manual_dir: the archive as published (zip, rar), or the folder that it unpacks to.
        data_dir: where prepared sets live (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets).
        overwrite: prepare again what is prepared already.
        skip_bad: leave out bad files, and write a list of them.
    """
    from spermjax.data.prepare import prepare as make_ready

    prepared = make_ready(name, manual_dir, data_dir, overwrite=overwrite, skip_bad=skip_bad)
    splits = {split: info.num_examples for split, info in prepared.builder.info.splits.items()}
    print_table(["split", "examples"], list(splits.items()), title=name)
    print(f"prepared: {prepared.directory}\nfingerprint: {prepared.fingerprint}")
    if prepared.skipped:
        print(f"left out: {prepared.skipped}")
    return 0


def check(
    name: Name,
    manual_dir: Path | None = None,
    data_dir: Path | None = None,
    out: Path | None = None,
    json: Flag = False,
) -> int:
    """Find images that show one cell twice, so that no split divides them.

    Looks for identical pixels, and for shifted, scaled, flipped and turned crops of one
    cell; tells conflicts of label among them and groups that straddle given splits.
    Writes pairs.csv, groups.csv (id,group) and index.html with the pairs side by side.

    Args:
        name: data set, or set/configuration.
        manual_dir: the archive as published (zip, rar), or the folder that it unpacks to.
        data_dir: where prepared sets live.
        out: folder for the results (default: check/NAME).
        json: print JSON.
    """
    from spermjax.workflow.check import check as look

    summary = look(name, manual_dir, data_dir, out or Path("check") / name.replace("/", "-"))
    if json:
        print_json(summary)
    else:
        print_table(["found", "number"], list(summary.items()), title=name)
    return 0


def show(
    name: Name,
    manual_dir: Path | None = None,
    data_dir: Path | None = None,
    out: Path | None = None,
    split: str | None = None,
    image_size: int = 128,
    examples: int = 48,
) -> int:
    """Write a contact sheet of a data set, with outlines of the parts.

    Args:
        name: data set, or set/configuration.
        manual_dir: the archive as published (zip, rar), or the folder that it unpacks to.
        data_dir: where prepared sets live.
        out: the PNG to write, or a folder for NAME.png (default: here).
        split: the split to show; all when not given.
        image_size: side of an image on the sheet, in pixels.
        examples: how many images.
    """
    from spermjax.workflow.show import show as draw

    path = out or Path()
    if path.suffix.lower() != ".png":
        path /= f"{name.replace('/', '-')}.png"
    draw(name, manual_dir, data_dir, path, split=split, image_size=image_size, examples=examples)
    print(f"contact sheet: {path}")
    return 0


def describe(
    name: Name,
    manual_dir: Path | None = None,
    data_dir: Path | None = None,
    json: Flag = False,
) -> int:
    """Print counts by split, class and group, sizes, licence, citation and fingerprint.

    Args:
        name: data set, or set/configuration.
        manual_dir: the archive as published (zip, rar), or the folder that it unpacks to.
        data_dir: where prepared sets live.
        json: print JSON.
    """
    from spermjax.workflow.describe import describe as of

    facts = of(name, manual_dir, data_dir)
    if json:
        print_json(facts)
        return 0
    rows = [
        (split, key, count, found["group_counts"][key])
        for split, found in facts["splits"].items()
        for key, count in found["counts"].items()
        if count
    ]
    print_table(["split", "class", "examples", "groups"], rows, title=name)
    for split, found in facts["splits"].items():
        least, median, greatest = ("x".join(map(str, size)) for size in zip(*found["sizes"].values(), strict=True))
        print(
            f"{split}: {found['n']} examples in {found['groups']} groups, the largest of {found['largest_group']}; "
            f"{least} to {greatest} pixels, median {median}"
        )
    for key in ("licence", "fingerprint", "citation"):
        print(f"{key}: {facts[key]}")
    if facts["skipped"]:
        print(f"left out: {facts['skipped']}")
    return 0
