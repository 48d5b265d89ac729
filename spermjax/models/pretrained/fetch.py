"""Weight files at an address, fetched once and checked."""

import hashlib
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from spermjax import cache
from spermjax.errors import DataError
from spermjax.files import write_atomic

TIMEOUT_S = 30


def local_file(source: str) -> Path:
    """The file that a source of weights names, downloaded if it is an address.

    Args:
        source: a path, or `https://HOST/FILE#sha256=HEX`. Downloads are kept in the
            user's cache folder (see `spermjax.cache`), or for once where it is switched off.

    Raises:
        DataError: the address has no checksum, can't be reached, or holds other bytes.
    """
    if not re.match(r"https?://", source):
        return Path(source).expanduser()
    address, _, pin = source.partition("#sha256=")
    if not re.fullmatch(r"[0-9a-f]{64}", pin):
        raise DataError(
            f"--model.weights {source}: an address needs the checksum of its file behind it, `{address}#sha256=` and "
            "64 hexadecimal digits, so that the weights are what they were"
        )
    folder = cache.location("weights") if cache.wanted() else Path(tempfile.mkdtemp(prefix="spermjax-weights-"))
    path = folder / f"{pin[:16]}-{Path(urlsplit(address).path).name}"
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == pin:
        return path
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as response:
            content = response.read()
    except (urllib.error.URLError, OSError) as error:
        raise DataError(
            f"{address} can't be fetched ({error}). Fetch it where there is a network, and give the file: "
            f"--model.weights FILE"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != pin:
        raise DataError(
            f"{address} holds other bytes than those asked for: SHA-256 {found}, not {pin}; nothing is kept"
        )
    write_atomic(path, content)
    return path
